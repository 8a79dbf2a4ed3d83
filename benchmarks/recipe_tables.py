"""What a comparison looks like on docs/performance.md: Markdown tables and the sentences between them."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from flickcast.comparison import Comparison
from flickcast.workspace import Workspace

LIGHTGBM, SIMPLE_LIGHTGBM = "lightgbm default, raw columns", "lightgbm default, simple columns"
AUTOGLUON, CHAMPION = "autogluon, simple columns", "champion"
SHOWN = ("src", "mae", "mape")
Json = dict[str, Any]
Predictions = pl.DataFrame  # post_id, fold, popularity, and a column per row


def rows_table(found: Comparison, more: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """A line per row, best MAE last; `more`: further columns, their heads to row to text."""
    more = more or {}
    rows = sorted((row for row in found.rows if row["mae"] is not None), key=lambda row: -row["mae"])
    folded = found.facts["folds"] > 1
    lines = [
        [
            row["row"],
            *(measure(row, name, folded) for name in SHOWN),
            *(texts[row["row"]] for texts in more.values()),
            number(row["fit_seconds"]),
            number(row["predict_seconds"], 1),
            number(row["peak_mib"]),
        ]
        for row in rows
    ]
    head = ["", "SRC", "MAE", "MAPE", *more, "fit, seconds", "predict, seconds", "peak memory, MiB"]
    return table(head, lines)


def measure(row: Json, name: str, folded: bool) -> str:
    """With the spread over folds, or the 95 % interval of the one fold."""
    if folded:
        return f"{row[name]:.3f} ± {row[f'{name}_spread']:.3f}"
    return f"{row[name]:.3f} [{row[f'{name}_low']:.3f}, {row[f'{name}_high']:.3f}]"


def number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def tests_table(found: Comparison) -> str:
    """The champion less each other row, paired."""
    tests = [one for one in found.tests if one["first"] == CHAMPION]
    lines = [[one["second"], *(difference(one[name]) for name in SHOWN)] for one in tests]
    return table(["champion minus", *(name.upper() for name in SHOWN)], lines)


def difference(one: Json) -> str:
    text = f"{one['difference']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]"
    return f"**{text}**" if one["clear"] else text


def goals(found: Comparison) -> str:
    """How far the champion is ahead of the rows that it is held against."""
    rows = {row["row"]: row for row in found.rows if row["mae"] is not None}
    if CHAMPION not in rows:
        return ""
    own = rows[CHAMPION]
    lines = [
        f"{100 * (1 - own['mae'] / rows[other]['mae']):.1f} % in MAE and {own['src'] - rows[other]['src']:+.3f} in SRC "
        f"to {other}"
        for other in (LIGHTGBM, SIMPLE_LIGHTGBM, AUTOGLUON, "oracle")
        if other in rows
    ]
    return f"The champion's lead: {'; '.join(lines)}.\n"


def notes_of(found: Comparison) -> str:
    """What rows had to leave out, once for each row."""
    told = [(row["row"], row["note"]) for row in found.rows if row["note"]]
    return "".join(f"- {note}\n" if note.startswith(name) else f"- {name}: {note}\n" for name, note in told)


def table(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def known_users(ws: Workspace, predictions: Predictions) -> dict[str, float]:
    """The MAE of each row over tested posts whose user has a post among the others."""
    users = ws.read("posts", ("post_id", "user_id"))
    trained = ws.read("labels", ("post_id",)).join(predictions, on="post_id", how="anti").join(users, on="post_id")
    rows = predictions.join(users, on="post_id").join(trained, on="user_id", how="semi")
    names = predictions.columns[3:]
    return rows.select((pl.col(name) - pl.col("popularity")).abs().mean() for name in names).row(0, named=True)


def curve_line(posts: int, found: Comparison, known: Mapping[str, float]) -> list[str]:
    rows = {row["row"]: row for row in found.rows}
    pairs = [f"{rows[name][key]:.3f}" for name in (CHAMPION, "oracle") for key in ("src", "mae")]
    own = [f"{known[CHAMPION]:.3f}", f"{known['oracle']:.3f}", f"{known[CHAMPION] / known['oracle']:.3f}"]
    return [f"{posts:,}", *pairs, f"{rows[LIGHTGBM]['mae']:.3f}", *own]
