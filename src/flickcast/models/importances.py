"""What a model looks at: each feature group and each column by gain, by SHAP and alone, with whose idea it is."""

import numpy as np
import polars as pl

from flickcast.models.ablation import TOGETHER
from flickcast.models.contributions import Contributions, contributions
from flickcast.models.model import Model
from flickcast.models.univariate import sample_of

# Rows whose predictions are taken apart: trees do that in milliseconds, other learners are asked column by column.
ROWS, SAMPLED_ROWS, SAMPLED_ORDERS = 200, 12, 1
GROUP, COLUMN = "group", "column"


def importances(model: Model, rows: pl.DataFrame, alone: pl.DataFrame, seed: int) -> pl.DataFrame:
    """name, level, theme, group, gain, shap, alone, source: groups first, then columns, each by shap.

    gain: share of what the learners say of themselves, in their weights (LightGBM: the loss that its splits take away;
    others: how far predictions move with it). shap: mean absolute contribution to a prediction, in the label's unit; of
    a group that of its columns together, which may cancel out. alone: SRC of the column by itself (`columns_alone`).
    source: the paper that a column's idea is from. `rows`: as `gather` makes them, of posts not learnt from.
    """
    taken = _taken_apart(model, rows, seed)
    gains = model.importances().select("column", "group", gain="importance")
    columns = (
        _frame(taken)
        .join(gains, on=["column", "group"], how="left", maintain_order="left")
        .join(alone.select("column", "source", alone="src"), on="column", how="left", maintain_order="left")
    )
    themes = pl.col("theme").unique().sort().str.join(TOGETHER)
    groups = columns.group_by("group").agg(themes, pl.col("gain").sum())
    shap = {name: float(np.abs(values).mean()) for name, values in taken.by("group").items()}
    groups = groups.with_columns(shap=pl.col("group").replace_strict(shap, return_dtype=pl.Float64))
    return pl.concat([_listed(groups, GROUP), _listed(columns, COLUMN)], how="diagonal")


def _taken_apart(model: Model, rows: pl.DataFrame, seed: int) -> Contributions:
    exact = all(hasattr(learner, "contributions") for member in model.members for learner in member.learners.values())
    if exact:
        return contributions(model, sample_of(rows, seed, ROWS))
    return contributions(model, sample_of(rows, seed, SAMPLED_ROWS), SAMPLED_ORDERS)


def _frame(taken: Contributions) -> pl.DataFrame:
    rows = [(*one, float(np.abs(values).mean())) for one, values in taken.columns.items()]
    names = {"column": pl.String, "group": pl.String, "theme": pl.String, "shap": pl.Float64}
    return pl.DataFrame(rows, schema=names, orient="row")


def _listed(table: pl.DataFrame, level: str) -> pl.DataFrame:
    named = table.with_columns(name=pl.col(level), level=pl.lit(level))
    ordered = named.sort("shap", "name", descending=[True, False])
    return ordered.select(
        "name",
        "level",
        "theme",
        "group",
        "gain",
        "shap",
        *(name for name in ("alone", "source") if name in ordered.columns),
    )
