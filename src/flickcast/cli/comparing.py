"""`flickcast compare`: every recipe on one split, beside what any library gives."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flickcast.cli.options import HERE, JsonOption, WorkspaceOption, notes, show, working_in
from flickcast.errors import UserError, nearest
from flickcast.splits import PROTOCOLS
from flickcast.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl

FOLDER = "comparison"


def compare(
    split: Annotated[str, typer.Option(help="time, user, random or smpd.")] = "time",
    recipes: Annotated[
        str | None,
        typer.Option(help="With commas between them; learners too, each alone. Default: all."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How many seeds of the models.")] = 1,
    budget: Annotated[
        str | None, typer.Option(help="No longer than this, e.g. 40m: learners are left out as each recipe says.")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(help="With --split smpd: the folder of official files that has the test labels.")
    ] = None,
    references: Annotated[bool, typer.Option(help="Also ridge, CatBoost and LightGBM with their defaults.")] = True,
    plan: Annotated[bool, typer.Option("--plan", help="Only say how long it will take, by small timed fits.")] = False,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Fit and judge recipes on the same folds; rows appear as they finish, and finished ones are kept.

    Examples: `flickcast compare --split time` · `flickcast compare --split user --recipes champion,fame --budget 40m`.
    Tables, plot, folds and predictions are written to `comparison/` in the workspace.
    """
    from flickcast.models.budget import seconds_in
    from flickcast.stages.comparing import plan_of_comparison

    if split not in PROTOCOLS:
        raise UserError(f"--split: there is no split '{split}'; {nearest(split, PROTOCOLS)}")
    if answers is not None and split != "smpd":
        raise UserError("--answers goes with --split smpd only: other splits test on posts whose labels are stored.")
    names = [name.strip() for name in (recipes or "").split(",") if name.strip()]
    if recipes is not None and not names:
        raise UserError("--recipes names none; write e.g. champion,fame, or leave it out for all.")
    limit = None if budget is None else seconds_in(budget)
    ws = Workspace(workspace)
    with working_in(ws.root), ws.night_lock(), ws.lock("flickcast compare"), ws.naming_damage():
        options: dict[str, Any] = {"seeds": seeds, "budget_seconds": limit, "references": references}
        options["answers"] = None if answers is None else _labels_in(ws, answers)
        if plan:
            _show_plan(plan_of_comparison(ws, names, split, **options), as_json)
        else:
            _compare(ws, names, split, as_json, options)


def _labels_in(ws: Workspace, folder: Path) -> "pl.DataFrame":
    """post_id and popularity of official files, for posts that have no label here. UserError where there is none."""
    import polars as pl

    from flickcast.stages import read_source

    kind = ws.read("posts", ("source",))["source"].unique().sort().to_list() or ["smpd-image"]
    found = read_source(kind[0], folder).imported_labels.select("post_id", pl.col("popularity").cast(pl.Float64))
    asked = ws.read("posts", ("post_id",)).join(ws.read("labels", ("post_id",)), on="post_id", how="anti")
    found = found.drop_nulls().drop_nans().join(asked, on="post_id", how="semi")
    if found.is_empty():
        raise UserError(f"--answers {folder} holds no label of a post that is stored without one.")
    return found


def _compare(ws: Workspace, names: list[str], split: str, as_json: bool, options: dict[str, Any]) -> None:
    from flickcast.comparison.text import markdown
    from flickcast.stages.comparing import compare_recipes, write_comparison

    result = compare_recipes(ws, names, split, **options, shown=partial(write_comparison, ws.root / FOLDER))
    typer.echo(json.dumps(result.as_json(), indent=1, allow_nan=False) if as_json else markdown(result))


def _show_plan(found: dict[str, Any], as_json: bool) -> None:
    show(found, as_json, "the comparison would take:")
    if found["rows_without_time"]:
        notes(("Some rows do not fit into the budget at all; name fewer recipes or give more time.",))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare", rich_help_panel="Models")(compare)
