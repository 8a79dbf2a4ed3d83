"""Commands that bring data in or make it up: `init`, `import`, `simulate`."""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated

import typer

from flickcast.cli.options import HERE, JsonOption, WorkspaceOption, notes, show, working_in
from flickcast.console import progress, say
from flickcast.errors import UserError
from flickcast.workspace import Workspace, create_workspace

import_app = typer.Typer(no_args_is_help=True, help="Read the challenge's official files into the tables.")
simulate_app = typer.Typer(no_args_is_help=True, help="A made-up world with a known law of popularity.")

FolderArgument = Annotated[Path, typer.Argument(help="The folder of the official files.")]
WORLD_START = date(2026, 1, 1)


def init(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="The folder to make a workspace.")] = HERE,
    values: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter, e.g. --set embed.encoder=flickcast-tiny.")
    ] = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="For nights on `flickcast simulate serve`: no limits, small encoder.")
    ] = False,
) -> None:
    """Make a folder a workspace: params.yaml, dvc.yaml, recipes, git and DVC with a local remote."""
    from flickcast.demo import VALUES
    from flickcast.history import initialise

    create_workspace(folder, {**(VALUES if simulated else {}), **dict(_assignment(value) for value in values or ())})
    ws = Workspace(folder)
    _ = ws.params  # a wrong value is said now, not at the first run
    initialise(ws.root)
    live = ws.params.ingest.source == "flickr"
    going_on = (
        "set FLICKCAST_FLICKR_KEY, then `flickcast nightly`" if live else "`flickcast import ...`, then `dvc repro`"
    )
    if simulated:
        going_on = (
            "let `flickcast simulate serve` run, set FLICKCAST_FLICKR_URL to the address it prints and "
            "FLICKCAST_FLICKR_KEY to anything, then `flickcast nightly --date 2026-03-01`"
        )
    say(f"{ws.root} is a workspace. Next, in it: {going_on}.")


def _assignment(text: str) -> tuple[str, str]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set '{text}' has no value; write it as --set name=value.")
    try:
        YAML(typ="safe").load(value)
    except YAMLError:
        raise UserError(f"--set '{text}': the value is not valid YAML; put it in quotes.") from None
    return name.strip(), value.strip()


@import_app.command("smpd-image")
def smpd_image(folder: FolderArgument, workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """The SMPD-Image files (train, test or both; zipped or not)."""
    import_folder("smpd-image", folder, workspace, as_json)


@import_app.command("smpd-video")
def smpd_video(folder: FolderArgument, workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """The SMPD-Video files (train, test or both)."""
    import_folder("smpd-video", folder, workspace, as_json)


def import_folder(source: str, folder: Path, workspace: Path, as_json: bool) -> None:
    """Read a folder and store what is new; the same folder again changes nothing."""
    from flickcast.stages import import_batch, read_source

    ws = Workspace(workspace)
    batch = read_source(source, folder)
    with working_in(ws.root), ws.lock(f"flickcast import {source}"):
        report = import_batch(ws, batch)
    show(report.facts, as_json, f"import {source}:")
    notes(report.notes)


UsersOption = Annotated[int, typer.Option(min=1, help="Accounts in the world.")]
PostsOption = Annotated[float, typer.Option(min=0.1, help="Posts a day, on average.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Another seed, another world.")]


@simulate_app.command("corpus")
def corpus(
    folder: Annotated[Path, typer.Argument(help="Where to write the files.")],
    users: UsersOption = 300,
    posts_per_day: PostsOption = 60.0,
    days: Annotated[int, typer.Option(min=2, help="How many days of posts.")] = 60,
    test_days: Annotated[int, typer.Option(min=0, help="The last days become the test split, without labels.")] = 7,
    seed: SeedOption = 0,
    pictures: Annotated[bool, typer.Option(help="Also draw the pictures.")] = True,
) -> None:
    """Write a synthetic corpus in the official SMPD-Image format."""
    from flickcast.simulate.corpus import write_corpus
    from flickcast.simulate.world import World, WorldParams

    world = World(WorldParams(seed=seed, users=users, posts_per_day=posts_per_day, start=WORLD_START))
    if days <= (unlabelled := max(test_days, world.params.maturity_days)):
        raise UserError(f"--days {days}: the last {unlabelled:.0f} days have no labels; write more days than that.")
    last = WORLD_START + timedelta(days=days - 1)
    now = datetime.combine(last + timedelta(days=1), time(0, 30), UTC)
    test_from = last - timedelta(days=test_days - 1) if test_days else None
    with progress("corpus", days) as advance:
        write_corpus(world, folder, WORLD_START, last, now, pictures=pictures, test_from=test_from, advance=advance)
    say(f"{folder}: {days} days of posts in the SMPD-Image format. Next: `flickcast import smpd-image {folder}`.")


@simulate_app.command("serve")
def serve(
    users: UsersOption = 300,
    posts_per_day: PostsOption = 60.0,
    seed: SeedOption = 0,
    now: Annotated[str, typer.Option(help="The world's clock, ISO 8601, by default in UTC.")] = "2026-03-02T00:30:00",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8765,
    faults: Annotated[float, typer.Option(min=0, max=1000, help="Of 1,000 requests so many go wrong.")] = 0.0,
    fault_seed: Annotated[int, typer.Option(help="Another seed, other requests go wrong.")] = 0,
    fault: Annotated[list[str] | None, typer.Option(help="Only this kind of fault; may be given again.")] = None,
    oddities: Annotated[
        float,
        typer.Option(
            min=0, max=1000, help="Of 1,000 posts so many appear late, are dated anew, removed or unusable, each."
        ),
    ] = 0.0,
) -> None:
    """Serve the world as a Flickr-like API (any key works); set FLICKCAST_FLICKR_URL to the address it prints."""
    from flickcast.simulate.faults import ALL_KINDS, Faults
    from flickcast.simulate.oddities import Oddities
    from flickcast.simulate.service import run
    from flickcast.simulate.world import World, WorldParams

    try:
        moment = datetime.fromisoformat(now)
    except ValueError:
        raise UserError(f"--now '{now}' is no moment; write it like 2026-03-02T00:30:00.") from None
    clock = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    share = oddities / 1000.0
    odd = Oddities(late=share, redated=share, removed=share, unusable=share)
    world = World(WorldParams(seed=seed, users=users, posts_per_day=posts_per_day, start=WORLD_START, oddities=odd))
    run(
        world,
        host=host,
        port=port,
        now=clock,
        faults=Faults(faults, fault_seed, tuple(fault or ALL_KINDS)),
        announce=lambda address: say(f"FLICKCAST_FLICKR_URL={address}/services/rest/"),
    )


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("init", rich_help_panel="Data")(init)
    app.add_typer(import_app, name="import", rich_help_panel="Data")
    app.add_typer(simulate_app, name="simulate", rich_help_panel="Data")
