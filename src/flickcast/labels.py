"""Views become popularity, once a post is old enough."""

from datetime import timedelta

import polars as pl

from flickcast.params import LabelParams
from flickcast.schemas import TABLES

SECONDS_PER_DAY = 86_400


def popularity_labels(
    posts: pl.DataFrame, observations: pl.DataFrame, imported_labels: pl.DataFrame, params: LabelParams
) -> pl.DataFrame:
    """Rows of the table `labels`, by post_id: one per matured post. An imported label wins over an observed one."""
    imported = _imported(posts, imported_labels, params)
    observed = _observed(posts, observations, params).join(imported, on="post_id", how="anti")
    return TABLES["labels"].conform(pl.concat([imported, observed])).sort("post_id")


def _imported(posts: pl.DataFrame, imported_labels: pl.DataFrame, params: LabelParams) -> pl.DataFrame:
    maturity = timedelta(days=params.maturity_days)
    return imported_labels.join(posts, on="post_id").select(
        "post_id",
        pl.col("popularity").cast(pl.Float64),
        matured_at=pl.col("posted_at") + maturity,
        kind=pl.lit("imported"),
        age_days=pl.lit(None, pl.Float64),
    )


def _observed(posts: pl.DataFrame, observations: pl.DataFrame, params: LabelParams) -> pl.DataFrame:
    """The first count taken at or after the age of maturity; one taken much later tells of another age: no label."""
    age = pl.col("observed_at") - pl.col("posted_at")
    first = (
        observations.filter(pl.col("views").is_not_null())
        .join(posts.select("post_id", "posted_at"), on="post_id")
        .filter(age >= timedelta(days=params.maturity_days))
        .filter(age < timedelta(days=params.maturity_days + params.tolerance_days))
        .sort("post_id", "observed_at")
        .unique("post_id", keep="first", maintain_order=True)
    )
    days = age.dt.total_microseconds() / (SECONDS_PER_DAY * 1e6)
    return first.select(
        "post_id",
        popularity=_popularity(pl.col("views"), days, params.formula),
        matured_at=pl.col("observed_at"),
        kind=pl.lit("observed"),
        age_days=days,
    )


def _popularity(views: pl.Expr, days: pl.Expr, formula: str) -> pl.Expr:
    if formula == "log2_views":
        return (views + 1).log(2)
    # The papers' formula has no value at 0 views; such a post ranks with those seen once.
    return (views.clip(lower_bound=1) / days).log(2) + 1
