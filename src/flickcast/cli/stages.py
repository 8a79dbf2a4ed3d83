"""One command per stage: `flickcast ingest`, `embed`, ... `drift`. DVC calls these; so can you."""

import inspect
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from flickcast.cli.evaluating import evaluate
from flickcast.cli.options import HERE, JsonOption, WorkspaceOption, notes, show, working_in
from flickcast.errors import FlickcastError, UserError
from flickcast.records import StageReport
from flickcast.retelling import plan_lines, told_of
from flickcast.workspace import Workspace


def run_stage(name: str, folder: Path, as_json: bool, stage: Callable[[Workspace], StageReport] | None = None) -> None:
    """Run a stage under the workspace's lock, keep its report (or its last words), and show it."""
    from flickcast.stages import STAGES

    ws = Workspace(folder)
    try:
        with working_in(ws.root), ws.lock(f"flickcast {name}"), ws.naming_damage():
            report = (stage or STAGES[name])(ws)
            ws.keep_report(report)
    except FlickcastError as error:
        with suppress(OSError):  # a full disk takes no last words; they are shown all the same
            ws.keep_error(name, error)
        raise
    _show_report(report, as_json)


def ingest(
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what the night will cost, by past nights.")] = False,
) -> None:
    """The new posts of the night's window, and the counts of posts that have come of age."""
    if not plan:
        run_stage("ingest", workspace, as_json)
        return
    from flickcast.stages.asking import plan_of_night

    report = plan_of_night(Workspace(workspace))
    show(report.as_json() if as_json else plan_lines(report.facts), as_json, "the next ingest:")
    notes(report.notes)


def embed(
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what is missing, and for how long it is.")] = False,
) -> None:
    """Vectors of every picture and text that an encoder has not seen yet, on the engine of params.yaml."""
    if not plan:
        from flows import engines

        run_stage("embed", workspace, as_json, engines.embed)
        return
    from flickcast.stages.embedding import plan_of_embedding

    report = plan_of_embedding(Workspace(workspace))
    show(report.as_json() if as_json else report.facts, as_json, "still to embed:")
    notes(report.notes)


def predict(
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
    source: Annotated[str | None, typer.Option("--from", help="smpd-image or smpd-video: predict its posts.")] = None,
    folder: Annotated[Path | None, typer.Argument(help="With --from: the folder of the source's files.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="With --from: the Parquet file to write.")] = None,
) -> None:
    """Predict the posts whose label is not known; with --from, posts that are not in the workspace."""
    if source is None:
        if folder is not None or out is not None:
            raise UserError("`flickcast predict` takes a folder and --out only with --from smpd-image or smpd-video.")
        run_stage("predict", workspace, as_json)
        return
    if folder is None or out is None:
        raise UserError("`flickcast predict --from SOURCE DIR --out FILE` needs both the folder and the file.")
    from flickcast.elsewhere import predict_elsewhere

    _show_report(predict_elsewhere(Workspace(workspace), source, folder, out), as_json)


def _show_report(report: StageReport, as_json: bool) -> None:
    facts = told_of(report.stage, report.facts)
    show(report.as_json() if as_json else facts, as_json, f"{report.stage}:")
    notes(report.notes)


OWN_OPTIONS: dict[str, Callable[..., None]] = {
    "ingest": ingest,
    "embed": embed,
    "evaluate": evaluate,
    "predict": predict,
}


def register(app: typer.Typer) -> None:
    """Add the stages' commands."""
    from flickcast.stages import STAGES

    for name, stage in STAGES.items():
        command = OWN_OPTIONS.get(name) or _command(name)
        app.command(name, help=inspect.getdoc(command if name in OWN_OPTIONS else stage), rich_help_panel="Stages")(
            command
        )


def _command(name: str) -> Any:
    def command(workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
        run_stage(name, workspace, as_json)

    return command
