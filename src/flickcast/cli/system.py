"""Commands about the system as a whole: `demo`, `nightly`, `encoders`."""

from pathlib import Path
from typing import Annotated

import typer

from flickcast.cli.nights import nights_table
from flickcast.cli.options import HERE, JsonOption, WorkspaceOption, show
from flickcast.console import say
from flickcast.params import night_of
from flickcast.workspace import Workspace

encoders_app = typer.Typer(no_args_is_help=True, help="Pretrained models that turn pictures and texts into vectors.")


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


@encoders_app.command("list")
def encoders_list(
    as_json: JsonOption = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also the models of open_clip without weights here.")
    ] = False,
) -> None:
    """Which encoders exist, what they read, how long their vectors are, and which have their weights here."""
    from flickcast.embeddings.encoders import list_encoders

    found = list(list_encoders())
    if as_json:
        show({"encoders": found}, as_json=True)
        return
    shown = [one for one in found if everything or one["here"] or not one["of_open_clip"]]
    for one in shown:
        typer.echo(
            f"{one['encoder']:<32} {' and '.join(one['reads']):<17} {one['dimension'] or '':<5} "
            f"{'here' if one['here'] else '':<5} {one['weights']:<40} {one['meaning']}"
        )
    if more := len(found) - len(shown):
        say(f"and {more} more of open_clip: `flickcast encoders list --all`")


@encoders_app.command("pull")
def encoders_pull(
    name: Annotated[str, typer.Argument(help="An encoder, e.g. ViT-B-32-picture, or a model of open_clip.")],
    pretrained: Annotated[
        str | None, typer.Option(help="Which of open_clip's weights, or another repository of the hub.")
    ] = None,
) -> None:
    """Fetch an encoder's weights."""
    from flickcast.embeddings.encoders import pull

    say(f"{name}: {pull(name, pretrained)}")


@encoders_app.command("fit")
def encoders_fit(
    name: Annotated[str, typer.Argument(help="An encoder that learns from the corpus, e.g. lsa-text.")],
    workspace: WorkspaceOption = HERE,
) -> None:
    """Let an encoder learn from the texts known now; `flickcast embed` then makes all its vectors anew."""
    from flickcast.stages.embedding import fit

    ws = Workspace(workspace)
    with ws.lock(f"flickcast encoders fit {name}"):
        say(f"{name} has learned from {fit(ws, name)} posts.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("demo", rich_help_panel="System")(demo)
    app.command("nightly", rich_help_panel="System")(nightly)
    app.add_typer(encoders_app, name="encoders", rich_help_panel="System")
