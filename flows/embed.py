"""The embed stage on a worker of another machine, as the `gpu` work pool runs it in a clone of its own.

The parent's commit says which inputs; they come from DVC's remote, and the vectors go back there. Nothing is committed
before all of them have arrived, so that a worker that dies leaves nothing but files that nobody names.
"""

import re
from pathlib import Path

from prefect import flow, get_run_logger

from flickcast import graph, history
from flickcast.errors import UserError
from flickcast.leftovers import clear_leftovers
from flickcast.workspace import Workspace

REVISION = re.compile("[0-9a-f]{40}")
BRANCH = re.compile("embedded/[0-9]{4}-[0-9]{2}-[0-9]{2}")


@flow(name="embed", persist_result=False, result_serializer="json")
def embed(workspace: Path, rev: str, branch: str) -> None:
    """Embed what a commit of the parent lacks; push the vectors, then the commit that names them."""
    if not REVISION.fullmatch(rev) or not BRANCH.fullmatch(branch):
        raise UserError(f"'{rev}' is no commit, or '{branch}' no branch, of a night.")
    root = Workspace(workspace).root
    with Workspace(root).night_lock():
        history.begin_at(root, rev, branch)
        clear_leftovers(root)
        history.initialise(root)
        history.pull_inputs(root, "embed")
        graph.run_stage(root, "embed", show=get_run_logger().info)
        history.hand_back(root, "embed", branch)
