"""The embed stage of a night, run by a work pool's worker on another machine (`flows.embed`) while the parent waits.

The two share DVC's remote and git: the worker's clone has this workspace's repository, or one that both push to, as its
`origin`. Nothing but a commit's name goes through Prefect.
"""

import datetime as dt
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.states import Cancelling

from flickcast import history
from flickcast.errors import TryAgainError, UserError
from flickcast.workspace import Workspace

POLL_SECONDS = 5.0


def embed_on_pool(root: Path, date: dt.date) -> bool:
    """Have the night's posts embedded by the pool; True when the vectors are here, TryAgainError otherwise.

    A worker that died never says so: the wait ends after `compute.pool_seconds`, and the run is cancelled.
    """
    compute = Workspace(root).params.compute
    branch = f"embedded/{date.isoformat()}"
    rev = history.offer(root, f"Night of {date}, to be embedded", branch)
    name = f"embed/{compute.pool}"
    try:
        run = run_deployment(
            name,
            parameters={"rev": rev, "branch": branch},
            timeout=compute.pool_seconds,
            poll_interval=min(POLL_SECONDS, compute.pool_seconds),
        )
    except Exception as error:
        if type(error).__name__ != "ObjectNotFound":
            raise
        raise UserError(
            f"compute.pool is {compute.pool}, and the Prefect server of this night has no deployment {name}. "
            "Deploy prefect.yaml there, or set compute.pool to null."
        ) from None
    assert isinstance(run, FlowRun)
    state = run.state
    if state is None or not state.is_final():
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run.id, Cancelling(), force=True)
        told = state.name if state else "unknown"
        raise TryAgainError(
            f"The pool {compute.pool} has not embedded the night within {compute.pool_seconds:.0f} s "
            f"(its run: {told}). See that a worker runs there, then run the same command again."
        )
    if not state.is_completed():
        raise TryAgainError(f"The pool {compute.pool} could not embed the night: {state.name}: {state.message}")
    history.take_over(root, "embed", rev, branch)
    return True
