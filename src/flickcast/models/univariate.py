"""What each column, and each theme, tells of popularity alone (Ding 2019, section 5.3, Table 2)."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flickcast.metrics import spearman
from flickcast.models.ablation import TOGETHER, only
from flickcast.models.ensemble import Ensemble
from flickcast.models.published import ALONE
from flickcast.models.themes import THEMES, of_column
from flickcast.splits import user_folds

Manifest = Mapping[str, Mapping[str, Any]]
Values = NDArray[np.float64]
MOST_ROWS = 20_000  # training rows that are looked at: an SRC of 20,000 rows is known to 0.01
FOLDS = 5
# Ding's network given one theme; here trees with settings that fit any of them, judged on users they never met.
RECIPE: dict[str, Any] = {
    "folds": FOLDS,
    "learners": {"lightgbm": {"max_iterations": 300, "num_leaves": 15, "max_bin": 63}},
    "reductions": {
        "title_tags": {"kind": "words", "dimensions": 32},
        "picture": {"kind": "vectors", "column": "picture", "dimensions": 32},
        "text": {"kind": "vectors", "column": "text", "dimensions": 32},
    },
}
TOLD = {name: figures.src for name, figures in ALONE.items()}


def sample_of(rows: pl.DataFrame, seed: int, most: int = MOST_ROWS) -> pl.DataFrame:
    """At most so many of the rows, by post_id; the same whatever their order."""
    rows = rows.sort("post_id")
    return rows if rows.height <= most else rows.sample(most, seed=seed).sort("post_id")


def columns_alone(rows: pl.DataFrame, manifest: Manifest, seed: int) -> pl.DataFrame:
    """column, theme, group, known, src, paper_src, source: SRC of each column of the matrix with the label, as it is.

    `known`: the share of rows that have a value; the others count as the mean of those that have. A category is taken
    as the mean label of its class among users of other folds, so that a class of one post does not tell its own label.
    The strongest first; a negative SRC says that popularity falls as the column rises.
    """
    label = rows["popularity"].to_numpy().astype(np.float64)
    folds = user_folds(rows["user_id"], min(FOLDS, rows["user_id"].n_unique()), seed).to_numpy()
    found = []
    for name, entry in manifest.items():
        values = _class_means(rows[name], label, folds) if entry["kind"] == "category" else _numbers(rows[name])
        there = np.isfinite(values)
        filled = np.where(there, values, values[there].mean() if there.any() else 0.0)
        found.append(
            {
                "column": name,
                "theme": of_column(name, entry["group"]),
                "group": entry["group"],
                "known": 1 - rows[name].null_count() / max(rows.height, 1),
                "src": spearman(label, filled),
                "paper_src": TOLD.get(name),
                "source": entry.get("source", ""),
            }
        )
    table = pl.DataFrame(found, schema_overrides={"paper_src": pl.Float64})
    return table.sort(pl.col("src").abs(), "column", descending=[True, False])


def themes_alone(
    rows: pl.DataFrame,
    manifest: Manifest,
    vectors: list[str],
    seed: int,
    threads: int,
    advance: Callable[[int], None] = lambda count: None,
) -> pl.DataFrame:
    """theme, columns, src, mae, paper_src, paper_mae: boosted trees given one theme alone, judged on unseen users.

    The rounds of each fold were chosen on the posts that judge it: the figures are a little too good, all alike.
    """
    found = []
    for themes in study(manifest, vectors):
        reduced = only(themes, RECIPE, manifest, vectors)
        recipe = Ensemble.from_yaml(reduced.content, "univariate", seed, threads)
        model, metrics = recipe.fit(reduced.rows(rows), reduced.manifest, advance)
        paper = ALONE.get(themes)
        found.append(
            {
                "theme": themes,
                "columns": len(model.members[0].preparation.groups()),
                **{name: metrics["fused"][name] for name in ("src", "mae")},
                "paper_src": paper.src if paper else None,
                "paper_mae": paper.mae if paper else None,
            }
        )
    table = pl.DataFrame(found, schema_overrides={"paper_src": pl.Float64, "paper_mae": pl.Float64})
    return table.sort("src", "theme", descending=[True, False])


def study(manifest: Manifest, vectors: list[str]) -> list[str]:
    """The themes that have anything to tell here, and Ding's time and place together."""
    asked = [*THEMES, f"time{TOGETHER}place"]
    return [
        name
        for name in asked
        if (reduced := only(name, RECIPE, manifest, vectors)).manifest
        or any(part.get("column") in vectors for part in reduced.content["reductions"].values())
    ]


def _numbers(values: pl.Series) -> Values:
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _class_means(values: pl.Series, label: Values, folds: NDArray[np.int64]) -> Values:
    """The mean label of each row's class among the rows of other folds; NaN where none is there or no class."""
    rows = pl.DataFrame({"value": values, "label": label, "fold": folds}).with_row_index("row")
    of_class = rows.group_by("value").agg(sum=pl.col("label").sum(), count=pl.len())
    of_fold = rows.group_by("value", "fold").agg(own=pl.col("label").sum(), own_count=pl.len())
    joined = rows.join(of_class, on="value", how="left").join(of_fold, on=["value", "fold"], how="left")
    others = pl.col("count") - pl.col("own_count")
    mean = pl.when(others > 0).then((pl.col("sum") - pl.col("own")) / others)
    return joined.sort("row").select(mean.fill_null(float("nan"))).to_series().to_numpy()
