"""Commands that take something out again: `forget post`, `forget user`."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from flickcast.cli.options import HERE, JsonOption, WorkspaceOption, notes, show, working_in
from flickcast.console import printable, say
from flickcast.workspace import Workspace

forget_app = typer.Typer(no_args_is_help=True, help="Remove posts or users for good; they are never taken in again.")

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. (Off a terminal nothing is asked anyway.)")]
UnknownOption = Annotated[
    bool, typer.Option("--even-if-unknown", help="Also ids of which nothing is stored: to keep them out from now on.")
]


@forget_app.command("post")
def forget_post(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Ids of posts.")],
    workspace: WorkspaceOption = HERE,
    yes: YesOption = False,
    even_if_unknown: UnknownOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove posts from every table, vector, aggregate and report, and say which older versions still hold them.

    The models learnt from them and are deleted, too; the next `train` makes new ones.

    Cannot be undone. Put `--` before an id that begins with a dash. Killed on the way: run it again, it completes.
    """
    _forget("post", ids, workspace, yes, even_if_unknown, as_json)


@forget_app.command("user")
def forget_user(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Ids of users, like 12345678@N00.")],
    workspace: WorkspaceOption = HERE,
    yes: YesOption = False,
    even_if_unknown: UnknownOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove users with all their posts, as `forget post` does with posts.

    Cannot be undone. Put `--` before an id that begins with a dash. Killed on the way: run it again, it completes.
    """
    _forget("user", ids, workspace, yes, even_if_unknown, as_json)


def _forget(kind: str, ids: list[str], workspace: Path, yes: bool, even_if_unknown: bool, as_json: bool) -> None:
    from flickcast.history import versions_with_removed_parts
    from flickcast.stages.forgetting import forget, stored_posts

    ws = Workspace(workspace)
    if not yes and sys.stdin.isatty():
        posts = stored_posts(ws, kind, ids)
        names = printable(", ".join(ids))
        if not typer.confirm(
            f"Forget {kind} {names}, {posts} stored posts in all and every model, for good?", err=True
        ):
            say("Nothing was changed.")
            raise typer.Exit(1)
    with working_in(ws.root), ws.night_lock(), ws.lock(f"flickcast forget {kind}"):
        report = forget(ws, kind, set(ids), datetime.now(UTC), even_if_unknown=even_if_unknown)
        older = versions_with_removed_parts(ws.root)
    facts = report.facts | {"older_versions": _span(older), "to_remove_older_versions": list(REMOVAL)}
    if as_json:
        show({**facts, "notes": report.notes}, as_json)
        return
    show(report.facts, as_json, "forgotten:")
    notes((*report.notes, _about_older(older), *NEXT))


REMOVAL = ("flickcast nightly", "dvc gc --workspace --cloud --force")
NEXT = (
    "The next version, without them, is made by `flickcast nightly` (or `dvc repro`, `dvc push` and a commit).",
    "After it, `dvc gc --workspace --cloud --force` removes the data of every older version, here and on the remote.",
)


def _span(commits: list[dict[str, str]]) -> dict[str, Any]:
    return {"count": len(commits), "first": commits[0] if commits else None, "last": commits[-1] if commits else None}


def _about_older(commits: list[dict[str, str]]) -> str:
    if not commits:
        return "No commit lists parts from which rows were taken out."
    first, last = (f"{one['commit'][:10]} of {one['at'][:10]}" for one in (commits[0], commits[-1]))
    return f"{len(commits)} older versions still hold what was removed: commit {first} to {last}."


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(forget_app, name="forget", rich_help_panel="Data")
