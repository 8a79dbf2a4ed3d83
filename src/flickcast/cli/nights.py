"""Nights as tables that a person reads in half a minute."""

import io
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from flickcast.console import printable

Json = dict[str, Any]
WIDTH = 110


def nights_table(summaries: Sequence[Json]) -> str:
    """What came in each night, how good the model was, whether the world has drifted, where the report lies."""
    with io.StringIO() as text:
        console = Console(file=text, width=WIDTH, highlight=False, markup=False)
        console.print(_came_in(summaries))
        console.print(_accuracy(summaries))
        for summary in summaries:
            console.print(f"{summary['night']}: {printable(summary['drift']['summary'] or 'no drift report')}")
        for report in summaries[-1]["reports"]:
            console.print(f"Drift report: {report}")
        return text.getvalue().rstrip()


def _came_in(summaries: Sequence[Json]) -> Table:
    posts, calls = ("found", "stored", "known", "quarantined"), ("calls", "planned")
    table = _table("What came in", "night", *posts, "embedded", "users", *calls, "seconds")
    for summary in summaries:
        stages = summary["stages"]
        taken = stages["ingest"]["facts"]
        table.add_row(
            summary["night"],
            *(str(taken.get(name, 0)) for name in posts),
            str(stages["embed"]["facts"].get("embedded", 0)),
            str(taken.get("users", 0)),
            *(str(facts.get("calls_in_all", "-")) for facts in (taken, taken.get("planned", {}))),
            f"{sum(stage['seconds'] for stage in stages.values()):.0f}",
        )
    return table


def _accuracy(summaries: Sequence[Json]) -> Table:
    """The model between the floor (user mean) and the ceiling (oracle, simulated data only)."""
    predictors = [name for name in ("model", "user_mean", "oracle") if name in summaries[-1]["measures"]]
    heads = [f"{name.replace('_', ' ')} {measure}" for name in predictors for measure in ("SRC", "MAE")]
    table = _table("How good it was on the newest fifth", "night", *heads, "drift")
    for summary in summaries:
        measured = [summary["measures"].get(name, {}) for name in predictors]
        cells = [_figure(values.get(measure)) for values in measured for measure in ("src", "mae")]
        table.add_row(summary["night"], *cells, printable(summary["drift"]["verdict"] or "none"))
    return table


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(heads[0])
    for head in heads[1:]:
        table.add_column(head, justify="right")
    return table


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
