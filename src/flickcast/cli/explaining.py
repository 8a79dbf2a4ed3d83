"""`flickcast explain POST_ID`: why a post is predicted as it is."""

from pathlib import Path
from typing import Annotated

import typer

from flickcast.cli.options import HERE, JsonOption, WorkspaceOption, show
from flickcast.console import say
from flickcast.workspace import Workspace


def explain(
    post_id: Annotated[str, typer.Argument(metavar="POST_ID", help="A post of the workspace.")],
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write the picture (SVG).", show_default="reports/explain")
    ] = None,
) -> None:
    """Why this prediction: what pushed it up and down, in words and as a picture.

    Contributions of groups and columns add up to the prediction. It is that of the model in use; of a post that judged
    the model (the newest 20 % of the labelled ones), that of the model that had not learnt from it.

    Examples: `flickcast explain 12345`, `flickcast explain 12345 --json`.
    """
    from flickcast.explain.words import sentences
    from flickcast.stages.explaining import explain as explained
    from flickcast.stages.explaining import keep_picture

    ws = Workspace(workspace)
    with ws.naming_damage():
        told = explained(ws, post_id)
    path = keep_picture(ws, told, out)
    if as_json:
        show({**told.as_json(), "words": sentences(told), "picture": str(path)}, as_json)
        return
    for line in sentences(told):
        typer.echo(line)
    say(f"Its picture: {path}")


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command(rich_help_panel="Models")(explain)
