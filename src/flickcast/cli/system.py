"""Commands about the system as a whole: `demo`, `nightly`, `encoders`."""

from pathlib import Path
from typing import Annotated

import typer

from flickcast.cli.encoders import encoders_app
from flickcast.cli.nights import nights_table
from flickcast.cli.options import HERE, JsonOption, WorkspaceOption, show
from flickcast.console import say
from flickcast.params import night_of
from flickcast.workspace import Workspace


def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo lives; removed and made anew.")] = Path("demo"),
    nights: Annotated[int, typer.Option(min=1, max=30, help="How many nights.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Three nights of the whole system on the simulated service, offline, in a folder of its own."""
    from flickcast.demo import DemoSize, run_demo

    summaries = run_demo(folder, DemoSize(nights=nights))
    if as_json:
        show({"nights": summaries}, as_json=True)
    else:
        typer.echo(nights_table(summaries))


def nightly(
    workspace: WorkspaceOption = HERE,
    night: Annotated[str | None, typer.Option("--date", help="One night, YYYY-MM-DD; else all missed ones.")] = None,
    as_json: JsonOption = False,
) -> None:
    """One night, as the scheduled flow runs it: every stage of dvc.yaml, then push and commit."""
    from flickcast.history import missed_dates
    from flows.local import run_nights

    ws = Workspace(workspace)
    dates = [night_of(night)] if night else missed_dates(ws.root)
    if not dates:
        say("No night is missing. Name one with --date to run it again.")
    summaries = run_nights(ws.root, dates)
    if as_json:
        show({"nights": summaries}, as_json=True)
    elif summaries:
        typer.echo(nights_table(summaries))


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("demo", rich_help_panel="System")(demo)
    app.command("nightly", rich_help_panel="System")(nightly)
    app.add_typer(encoders_app, name="encoders", rich_help_panel="System")
