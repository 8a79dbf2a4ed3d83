"""`flickcast evaluate`: the stage, and the studies behind its figures."""

import io
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from flickcast.cli.options import HERE, JsonOption, WorkspaceOption, show
from flickcast.console import printable
from flickcast.errors import UserError
from flickcast.workspace import Workspace

WIDTH = 140
SHOWN_COLUMNS = 40
THEME_FIGURES = ("src", "mae", "paper_src", "paper_mae")
WITHOUT = (
    "Refit the recipe without a part and show the difference: visual, text, user, time, place, topic, a feature "
    "group, a reduction, an encoder, a learner, pseudo-labels, filter or folds. Can be given again; visual+text: both."
)


def evaluate(
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
    without: Annotated[list[str] | None, typer.Option("--without", metavar="PART", help=WITHOUT)] = None,
    univariate: Annotated[
        bool, typer.Option("--univariate", help="What each theme and each column tells of popularity alone.")
    ] = False,
) -> None:
    """The holdout model on the newest 20 %, beside the naive baselines and, on simulated data, the oracle.

    With --without or --univariate a study instead: it writes a table to reports/ and leaves models and metrics alone.

    Examples: `flickcast evaluate --without visual --without user`, `flickcast evaluate --univariate`.
    """
    if without and univariate:
        raise UserError("--without and --univariate are two studies: ask for one at a time.")
    if not without and not univariate:
        from flickcast.cli.stages import run_stage  # here: it lists this command

        run_stage("evaluate", workspace, as_json)
        return
    from flickcast.stages import studying

    ws = Workspace(workspace)
    with ws.naming_damage():
        report = studying.ablate(ws, without) if without else studying.univariate(ws)
    if as_json:
        show(report.as_json(), as_json)
        return
    typer.echo(_ablation(report.facts) if without else _univariate(report.facts))


def _ablation(facts: dict[str, Any]) -> str:
    title = f"{facts['recipe']} without a part, on {facts['test_posts']} test posts; differences with 95 % intervals"
    heads = ("", "SRC", "MAE", "SRC difference", "MAE difference", "paper's SRC", "paper's MAE")
    return _text(title, heads, [_ablation_row(name, row) for name, row in facts["rows"].items()])


def _ablation_row(name: str, row: dict[str, Any]) -> list[str]:
    paper = row.get("paper", {})
    differences = row.get("differences", {})
    return [
        name,
        *(f"{row[key]:.4f}" for key in ("src", "mae")),
        *(_interval(differences.get(key)) for key in ("src", "mae")),
        *(f"{paper[key]:+.4f}" if key in paper else "" for key in ("src", "mae")),
    ]


def _interval(found: dict[str, float] | None) -> str:
    return "" if found is None else f"{found['difference']:+.4f} ({found['low']:+.4f} .. {found['high']:+.4f})"


def _univariate(facts: dict[str, Any]) -> str:
    themes = _text(
        f"Each theme alone: boosted trees on {facts['rows']} training posts, judged on users they never met",
        ("theme", "columns", "SRC", "MAE", "Ding 2019: SRC", "MAE"),
        [
            [
                row["theme"],
                str(row["columns"]),
                *(_number(row[key]) for key in ("src", "mae", "paper_src", "paper_mae")),
            ]
            for row in facts["themes"]
        ],
    )
    columns = facts["columns"]
    told = [row for place, row in enumerate(columns) if place < SHOWN_COLUMNS or row["paper_src"] is not None]
    return (
        themes
        + "\n\n"
        + _text(
            f"The {min(SHOWN_COLUMNS, len(columns))} strongest of {len(columns)} columns alone; all with --json",
            ("column", "group", "known", "SRC", "Ding 2019: SRC", "source"),
            [
                [
                    *(row["column"], row["group"], f"{row['known']:.0%}"),
                    *(_number(row[key]) for key in ("src", "paper_src")),
                    row["source"],
                ]
                for row in told
            ],
        )
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _text(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as plain text; what it quotes is no markup."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head, justify="left" if head in ("", "theme", "column", "group", "source") else "right")
    for row in rows:
        table.add_row(*map(printable, row))
    with io.StringIO() as text:
        Console(file=text, width=WIDTH, highlight=False, markup=False).print(table)
        return "\n".join([title, *(line.rstrip() for line in text.getvalue().rstrip().splitlines())])
