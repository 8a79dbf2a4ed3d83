"""A comparison as Markdown and as CSV."""

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from flickcast.comparison import MEASURES, Comparison

Json = Mapping[str, Any]
SHOWN = {"src": "SRC", "mae": "MAE", "mse": "MSE", "mape": "MAPE"}
COSTS = {"fit_seconds": "fit, s", "predict_seconds": "predict, s", "peak_mib": "peak, MiB"}
COLUMNS = (
    *("row", "kind", "runs", *(f"{name}{end}" for name in MEASURES for end in ("", "_spread", "_low", "_high"))),
    *("fit_seconds", "predict_seconds", "total_seconds", "peak_mib", "front", "note"),
)
TEXTS = ("row", "kind", "note")
LEGEND = (
    "Best first. Of one run: the value and its 95 % interval from resampled posts; of several: mean and standard "
    "deviation over folds and seeds. Seconds are those of one fit and of its predictions, memory is the largest of the "
    "row's process. * no other row is both more exact and quicker."
)
TESTS = "First less second, with the 95 % interval of a paired bootstrap; bold where it is clear of zero."
MEMBERS = (
    "The recipe's figures less those it would have without the learner, the others weighed and calibrated anew: "
    "above zero in SRC and below zero in MAE the learner helps."
)
ORDERS_OF_A_SHEET = ("=", "+", "-", "@", "\t", "\r")


def by_error(rows: Sequence[Json]) -> list[Json]:
    """The best (lowest MAE) first, rows without figures last."""
    return sorted(rows, key=lambda row: (row["mae"] is None, row["mae"] or 0.0))


def markdown(comparison: Comparison) -> str:
    """Rows, paired tests and gains of ensemble members as Markdown tables."""
    rows = by_error(comparison.rows)
    parts = [f"# Recipes on the split `{comparison.split}`", *(_cell(note) for note in comparison.notes)]
    parts += [_table(["", *SHOWN.values(), *COSTS.values(), "note"], [_row(row) for row in rows])]
    parts += [LEGEND]
    if comparison.tests:
        parts += [
            "## Paired differences",
            TESTS,
            _table(["first", "second", *SHOWN.values()], list(_test_rows(comparison))),
        ]
    if comparison.members:
        parts += ["## What each member of an ensemble adds", MEMBERS, _member_table(comparison)]
    return "\n\n".join(parts) + "\n"


def csv(comparison: Comparison) -> str:
    """One line per row with every figure; empty where there is none."""
    kinds: dict[str, pl.DataType] = {name: pl.String() if name in TEXTS else pl.Float64() for name in COLUMNS}
    kinds |= {"runs": pl.Int64(), "front": pl.Boolean()}
    rows = [[row.get(name) for name in COLUMNS] for row in by_error(comparison.rows)]
    frame = pl.DataFrame(rows, schema=kinds, orient="row")
    return frame.with_columns(pl.col(name).map_elements(plain, pl.String) for name in TEXTS).write_csv()


def plain(text: str) -> str:
    """A text that a spreadsheet does not take for a formula.

    >>> plain("=1+1")
    "'=1+1"
    """
    return f"'{text}" if text.startswith(ORDERS_OF_A_SHEET) else text


def is_single(row: Json) -> bool:
    """Whether a row has one run, so that its interval is shown and not its spread."""
    return bool(row["runs"] == 1 and "mae_low" in row)


def _row(row: Json) -> list[str]:
    figures = [_figure(row, name) for name in MEASURES]
    costs = [_cost(row[name]) for name in COSTS]
    return [f"{_cell(row['row'])}{' *' if row.get('front') else ''}", *figures, *costs, _cell(row["note"])]


def _figure(row: Json, name: str) -> str:
    if row[name] is None:
        return ""
    if is_single(row):
        return f"{row[name]:.4f} [{row[f'{name}_low']:.4f}, {row[f'{name}_high']:.4f}]"
    return f"{row[name]:.4f} ± {row[f'{name}_spread']:.4f}" if row["runs"] > 1 else f"{row[name]:.4f}"


def _cost(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _test_rows(comparison: Comparison) -> Iterator[list[str]]:
    for test in comparison.tests:
        yield [_cell(test["first"]), _cell(test["second"]), *(_difference(test[name]) for name in MEASURES)]


def _difference(found: Json) -> str:
    value = f"{found['difference']:+.4f}"
    return f"{f'**{value}**' if found['clear'] else value} [{found['low']:+.4f}, {found['high']:+.4f}]"


def _member_table(comparison: Comparison) -> str:
    rows = [
        [_cell(one["row"]), _cell(one["learner"]), f"{one['weight']:.3f}", *(_difference(one[name]) for name in SHOWN)]
        for one in comparison.members
    ]
    return _table(["recipe", "learner", "weight", *SHOWN.values()], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """User text is never markup: no HTML, no end of a cell or a line."""
    return html.escape(" ".join(str(text).split()), quote=False).replace("|", "\\|")
