"""What could not be used, and trying it again: `quarantine list`, `show`, `retry`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from flickcast.cli.options import HERE, JsonOption, WorkspaceOption, notes, show, working_in
from flickcast.console import printable
from flickcast.workspace import Workspace

if TYPE_CHECKING:
    from flickcast.stages.quarantine import Entry

quarantine_app = typer.Typer(no_args_is_help=True, help="Records that could not be used, each with its reason.")

HASH = "The record's hash, or its first characters, as the list shows it."
SHOWN_HASH = 12


@quarantine_app.command("list")
def quarantine_list(
    workspace: WorkspaceOption = HERE,
    stage: Annotated[str | None, typer.Option(help="Only what this stage refused: ingest or embed.")] = None,
    as_json: JsonOption = False,
) -> None:
    """What is quarantined: stage, source, hash, post, when, bytes and reason; at the end how many of each reason."""
    from flickcast.stages.quarantine import entries, totals

    listed = list(entries(Workspace(workspace), stage))
    counted = totals(listed)
    if as_json:
        show({"records": [entry.as_json() for entry in listed], "totals": counted}, as_json)
        return
    for entry in listed:
        typer.echo(_line(entry))
    typer.echo(f"{len(listed)} records")
    for reason, count in counted.items():
        typer.echo(f"  {count}  {_one_line(reason)}")


def _line(entry: "Entry") -> str:
    facts = (entry.stage, entry.source, entry.record_sha256[:SHOWN_HASH], entry.post_id or "-")
    moment = f"{entry.quarantined_at:%Y-%m-%d %H:%M}"
    return _one_line("  ".join((*facts, moment, f"{entry.size_bytes} bytes", entry.reason)))


def _one_line(text: str) -> str:
    """Ids and reasons quote what came from outside."""
    return printable(text).replace("\n", " ").replace("\t", " ")


@quarantine_app.command("show")
def quarantine_show(
    record: Annotated[str, typer.Argument(metavar="HASH", help=HASH)], workspace: WorkspaceOption = HERE
) -> None:
    """The raw record on stdout, byte for byte; on a terminal as text that cannot do anything to it."""
    from flickcast.stages.quarantine import raw_record

    content = raw_record(Workspace(workspace), record)
    if sys.stdout.isatty():
        typer.echo(printable(content.decode(errors="replace")))
    else:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


@quarantine_app.command("retry")
def quarantine_retry(
    records: Annotated[list[str] | None, typer.Argument(metavar="[HASH]", help=f"{HASH} Without: all.")] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Try again with the code and the service of today; what works is stored and leaves, what fails stays.

    Photos of the service are parsed again and pictures downloaded again; what embed refused waits for the next embed;
    what came with an imported folder comes again with that folder. tried = stored + known + unusable.
    """
    from flickcast.stages.quarantine import retry

    ws = Workspace(workspace)
    with working_in(ws.root), ws.night_lock(), ws.lock("flickcast quarantine retry"):
        report = retry(ws, records or ())
    show(report.as_json() if as_json else report.facts, as_json, "tried again:")
    notes(report.notes)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(quarantine_app, name="quarantine", rich_help_panel="Data")
