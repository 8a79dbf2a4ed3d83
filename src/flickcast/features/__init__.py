"""The model matrix: groups of columns, one pure function each, joined on post_id."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from flickcast.errors import UserError, nearest
from flickcast.features.categories import categories
from flickcast.features.people import people
from flickcast.features.picture_text import picture_text
from flickcast.features.time_place import time_place
from flickcast.features.user_behaviour import user_behaviour
from flickcast.features.user_popularity import user_popularity
from flickcast.features.words import words


@dataclass(frozen=True)
class Group:
    """A feature group: a function from the tables it reads to one row per post, unfitted and point in time."""

    columns: Callable[..., pl.DataFrame]
    reads: tuple[str, ...]
    reads_labels: bool = False


GROUPS: dict[str, Group] = {
    "words": Group(words, reads=("posts",)),
    "time_place": Group(time_place, reads=("posts",)),
    "people": Group(people, reads=("posts", "users")),
    "user_behaviour": Group(user_behaviour, reads=("posts", "states")),
    "user_popularity": Group(user_popularity, reads=("states",), reads_labels=True),
    "categories": Group(categories, reads=("posts",)),
    "picture_text": Group(picture_text, reads=("posts", "embeddings")),
}


def build(
    posts: pl.DataFrame, users: pl.DataFrame, states: pl.DataFrame, embeddings: pl.DataFrame, groups: Sequence[str]
) -> tuple[pl.DataFrame, dict[str, dict[str, Any]]]:
    """Rows of the table `features`, by post_id, and the manifest: column to group, kind, clock and inputs.

    Columns without a single value are left out: the source does not have what they need (see `left_out`).
    """
    tables = {"posts": posts, "users": users, "states": states, "embeddings": embeddings}
    matrix = posts.select("post_id").sort("post_id")
    manifest: dict[str, dict[str, Any]] = {}
    for name in groups:
        group = _group_named(name)
        columns = _without_empty(_typed(group.columns(*(tables[table] for table in group.reads))))
        matrix = matrix.join(columns, on="post_id", how="left", maintain_order="left")
        manifest |= {
            column: _entry(name, group, dtype) for column, dtype in columns.schema.items() if column != "post_id"
        }
    return matrix, manifest


def with_other_labels(
    matrix: pl.DataFrame,
    manifest: Mapping[str, Mapping[str, Any]],
    posts: pl.DataFrame,
    users: pl.DataFrame,
    states: pl.DataFrame,
    embeddings: pl.DataFrame,
) -> pl.DataFrame:
    """The rows of these posts, every group that reads labels computed again from other states.

    For judging a model: the challenge's protocol lets nobody learn from a test label, though a night would know the
    older ones.
    """
    label_groups = [name for name, group in GROUPS.items() if group.reads_labels]
    columns = [name for name, entry in manifest.items() if entry["group"] in label_groups]
    known, _ = build(posts, users, states, embeddings, label_groups)
    absent = [pl.lit(None, pl.Float32).alias(name) for name in columns if name not in known.columns]
    others = matrix.join(posts, on="post_id", how="semi").drop(columns)
    return others.join(known.with_columns(absent).select("post_id", *columns), on="post_id", how="left")


def left_out(manifest: dict[str, dict[str, Any]], groups: Sequence[str]) -> list[str]:
    """A note for each wanted group of which no column is in the matrix."""
    present = {entry["group"] for entry in manifest.values()}
    return [
        f"feature group {name} is left out: this source has no values for it (it reads {', '.join(GROUPS[name].reads)})"
        for name in groups
        if name not in present
    ]


def _group_named(name: str) -> Group:
    if name not in GROUPS:
        raise UserError(f"params.yaml, features.groups: there is no feature group '{name}'; {nearest(name, GROUPS)}")
    return GROUPS[name]


def _typed(columns: pl.DataFrame) -> pl.DataFrame:
    """Numbers as float32 with null for what is not a number; text stays text."""
    numbers = [name for name, dtype in columns.schema.items() if dtype != pl.String and name != "post_id"]
    return columns.with_columns(pl.col(numbers).cast(pl.Float32).fill_nan(None))


def _without_empty(columns: pl.DataFrame) -> pl.DataFrame:
    return columns.select(
        name for name in columns.columns if name == "post_id" or columns[name].null_count() < columns.height
    )


def _entry(name: str, group: Group, dtype: pl.DataType) -> dict[str, Any]:
    kind = "category" if dtype == pl.String else "number"
    return {"group": name, "kind": kind, "clock": "point_in_time", "inputs": list(group.reads)}
