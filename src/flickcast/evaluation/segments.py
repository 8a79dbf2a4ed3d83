"""How good the predictions are in parts of the test posts: new users, each category, each tenth of popularity."""

from typing import Any

import polars as pl

from flickcast.evaluation import TENTHS, measured_with_intervals, with_predictors
from flickcast.params import EvaluateParams

PREDICTORS = ("model", "user_mean", "oracle")
SHOWN = [f"{measure}{end}" for measure in ("src", "mae") for end in ("", "_low", "_high")]
CATEGORIES = 15  # with a row of their own; those with fewer posts share one
WORST_OF = 30  # rows: the worst of fewer is chance


def segments(
    test: pl.DataFrame, train: pl.DataFrame, oracle: pl.DataFrame | None, params: EvaluateParams, seed: int
) -> pl.DataFrame:
    """One row per segment; within each kind (user, category, popularity) every test row is in exactly one.

    kind, segment, rows; SRC and MAE of the model with 95 % intervals; the same of user_mean and, where it is known, of
    the oracle, after their names. `test` and `train` as `evaluate` takes them, `test` also with is_cold_start and
    category. Within a tenth of popularity labels are nearly equal: its SRC is low by design, its MAE tells.
    """
    rows = with_predictors(test, train, oracle)
    found = []
    for kind, names in _kinds(rows).items():
        parts = rows.with_columns(segment=names)
        for segment in sorted(names.unique()):
            own = parts.filter(pl.col("segment") == segment)
            found.append({"kind": kind, "segment": segment, "rows": own.height, **_figures(own, params, seed)})
    return pl.DataFrame(found)


def as_json(table: pl.DataFrame) -> dict[str, Any]:
    """The same as kind to segment to rows and, per predictor, its figures."""
    found: dict[str, Any] = {}
    for row in table.iter_rows(named=True):
        figures = {name: {key: row[_column(name, key)] for key in SHOWN} for name in _predictors(table)}
        known = {name: values for name, values in figures.items() if values["mae"] is not None}
        found.setdefault(row["kind"], {})[row["segment"]] = {"rows": row["rows"], **known}
    return found


def worst(table: pl.DataFrame) -> str | None:
    """The segment of users or categories with the largest MAE, in words; None where none has 30 rows but not all."""
    part = pl.col("rows") < pl.col("rows").sum().over("kind")
    large = table.filter(part & (pl.col("kind") != "popularity") & (pl.col("rows") >= WORST_OF))
    if large.is_empty():
        return None
    row = large.sort("mae", "segment", descending=[True, False]).row(0, named=True)
    return f"{row['kind']} {row['segment']}: MAE {row['mae']:.3f}, SRC {row['src']:.3f} of {row['rows']} posts"


def _kinds(rows: pl.DataFrame) -> dict[str, pl.Series]:
    """The segment of each row, by kind; no categories where the source has none."""
    is_new = pl.when("is_cold_start").then(pl.lit("first posts")).otherwise(pl.lit("known users"))
    tenth = (rows["popularity"].rank("ordinal") - 1) * TENTHS // rows.height + 1
    return {
        "user": rows.select(is_new).to_series(),
        **({"category": _categories(rows["category"])} if rows["category"].is_not_null().any() else {}),
        "popularity": "tenth " + tenth.cast(pl.String).str.zfill(2),
    }


def _categories(values: pl.Series) -> pl.Series:
    """The most frequent by name, all others as one; a post without one is `none`."""
    named = values.fill_null("none").alias("category").to_frame()
    frequent = named["category"].value_counts().sort("count", "category", descending=[True, False])["category"]
    is_own = pl.col("category").is_in(frequent.head(CATEGORIES).implode())
    return named.select(pl.when(is_own).then("category").otherwise(pl.lit("all others"))).to_series()


def _figures(rows: pl.DataFrame, params: EvaluateParams, seed: int) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name in _predictors(rows):
        figures = measured_with_intervals(rows, name, params, seed)
        found |= {_column(name, key): figures.get(key) for key in SHOWN}
    return found


def _predictors(table: pl.DataFrame) -> list[str]:
    return [name for name in PREDICTORS if name in table.columns or _column(name, "mae") in table.columns]


def _column(predictor: str, figure: str) -> str:
    return figure if predictor == "model" else f"{predictor}_{figure}"
