"""Categories that a recipe may read beside the matrix: who posted, when, and numbers that stand for classes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from flickcast.models.reductions.owners import Salt, owners

Manifest = Mapping[str, Mapping[str, Any]]


class Beside(NamedTuple):
    """A category of the rows, not of the matrix: `column` is read, and `group` is where it would belong."""

    column: str
    value: pl.Expr
    group: str
    like: str | None = None  # the number of the matrix that says the same: what takes that away takes this away too


USER = "user_id"
POSTED_AT = pl.col("posted_at").dt
BESIDE = {
    USER: Beside(USER, pl.col(USER), "user_behaviour"),
    "is_public": Beside("is_public", pl.col("is_public"), "people"),
    "posted_hour": Beside("posted_at", POSTED_AT.hour(), "time_place", "hour"),
    "posted_weekday": Beside("posted_at", POSTED_AT.weekday(), "time_place", "weekday"),
    "posted_month": Beside("posted_at", POSTED_AT.month(), "time_place", "season_sine"),
}


def class_groups(rows: pl.DataFrame, names: Sequence[str], manifest: Manifest) -> dict[str, str]:
    """The feature group of each category, by name; one of which these rows say nothing is left out.

    One that is not of the matrix is read only while its group, and the number that says the same, are in the manifest.
    """
    found = {name: _group(name, manifest) for name in sorted(names)}
    return {name: group for name, group in found.items() if group and _values(rows, name).count()}


def class_values(rows: pl.DataFrame, name: str, salt: Salt) -> pl.Series:
    """The category of each row as a string, null where it has none; of users a number, so that no model names them."""
    values = _values(rows, name)
    return pl.Series(name, owners(values, salt)).cast(pl.String) if name == USER and values.count() else values


def _values(rows: pl.DataFrame, name: str) -> pl.Series:
    own = BESIDE.get(name, Beside(name, pl.col(name), ""))
    if own.column not in rows.columns:
        return pl.Series(name, [None] * rows.height, pl.String)
    return rows.select(own.value.cast(pl.String).alias(name)).to_series()


def _group(name: str, manifest: Manifest) -> str | None:
    if name not in BESIDE:
        return manifest[name]["group"] if name in manifest else None
    own, groups = BESIDE[name], {entry["group"] for entry in manifest.values()}
    return own.group if own.group in groups and (own.like is None or own.like in manifest) else None
