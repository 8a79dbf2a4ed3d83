"""The model matrix: groups of columns, one pure function each, joined on post_id."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from flickcast.errors import UserError, nearest
from flickcast.features import (
    categories,
    known_popularity,
    people,
    picture_statistics,
    picture_text,
    time_place,
    trends,
    user_behaviour,
    user_cadence,
    user_popularity,
    user_recent_popularity,
    user_tags,
    words,
)
from flickcast.features.feature import Feature

Inputs = Mapping[str, pl.DataFrame]


@dataclass(frozen=True)
class Group:
    """A feature group: a function from its inputs to one row per post, unfitted, and what each column means.

    `reads` names the inputs in the order of the function's arguments (see docs/features.md for what each holds).
    """

    columns: Callable[..., pl.DataFrame]
    reads: tuple[str, ...]
    about: Mapping[str, Feature]
    reads_labels: bool = False

    def clock(self, wanted: str) -> str:
        """By which clock its columns are: what is known of labels is never taken from later."""
        return "point_in_time" if self.reads_labels else wanted


# The states of all that a post belongs to besides its user.
WORLD = (
    "tags_states",
    "categories_states",
    "subcategories_states",
    "concepts_states",
    "places_states",
    "calendar_states",
    "world_states",
)

GROUPS: dict[str, Group] = {
    "words": Group(words.words, ("posts",), words.ABOUT),
    "time_place": Group(time_place.time_place, ("posts",), time_place.ABOUT),
    "people": Group(people.people, ("posts", "users", "time_zones"), people.ABOUT),
    "user_behaviour": Group(user_behaviour.user_behaviour, ("posts", "users_states", "history"), user_behaviour.ABOUT),
    "user_tags": Group(user_tags.user_tags, ("posts", "history"), user_tags.ABOUT),
    "user_cadence": Group(user_cadence.user_cadence, ("posts", "users", "history"), user_cadence.ABOUT),
    "user_popularity": Group(
        user_popularity.user_popularity,
        ("posts", "users_states", "world_states", "history"),
        user_popularity.ABOUT,
        reads_labels=True,
    ),
    "user_recent_popularity": Group(
        user_recent_popularity.user_recent_popularity,
        ("posts", "history"),
        user_recent_popularity.ABOUT,
        reads_labels=True,
    ),
    "categories": Group(categories.categories, ("posts",), categories.ABOUT),
    "trends": Group(trends.trends, ("posts", *WORLD), trends.ABOUT),
    "known_popularity": Group(
        known_popularity.known_popularity, ("posts", *WORLD), known_popularity.ABOUT, reads_labels=True
    ),
    "picture_text": Group(picture_text.picture_text, ("posts", "cosines"), picture_text.ABOUT),
    "picture_statistics": Group(
        picture_statistics.picture_statistics, ("posts", "picture_statistics"), picture_statistics.ABOUT
    ),
}


def build(inputs: Inputs, groups: Sequence[str]) -> pl.DataFrame:
    """Rows of the table `features` for the posts among the inputs, by post_id: every column of these groups.

    A column that the source has no values for is null throughout.
    """
    matrix = inputs["posts"].select("post_id").sort("post_id")
    for name in groups:
        group = group_named(name)
        columns = _typed(group.columns(*(inputs[one] for one in group.reads)), group.about)
        matrix = matrix.join(columns, on="post_id", how="left", maintain_order="left")
    return matrix


def with_other_labels(matrix: pl.DataFrame, inputs: Inputs, groups: Sequence[str]) -> pl.DataFrame:
    """The rows of the posts among the inputs, every group that reads labels computed again from these inputs.

    For judging a model: the challenge's protocol lets nobody learn from a test label, though a night would know the
    older ones.
    """
    again = build(inputs, [name for name in groups if GROUPS[name].reads_labels])
    kept = [name for name in matrix.columns if name == "post_id" or name not in again.columns]
    return again.select("post_id").join(matrix.select(kept), on="post_id").join(again, on="post_id")


def manifest(groups: Sequence[str], present: Sequence[str], clock: str) -> dict[str, dict[str, Any]]:
    """What the matrix's columns are: group, kind, clock, inputs, meaning, unit and source of each that has values."""
    return {
        column: {
            "group": name,
            "kind": feature.kind,
            "clock": GROUPS[name].clock(clock),
            "inputs": list(GROUPS[name].reads),
            "meaning": feature.meaning,
            "unit": feature.unit,
            "source": feature.source,
        }
        for name in groups
        for column, feature in GROUPS[name].about.items()
        if column in present
    }


def left_out(columns: Mapping[str, Mapping[str, Any]], groups: Sequence[str]) -> list[str]:
    """A note for each wanted group of which no column has a value."""
    filled = {entry["group"] for entry in columns.values()}
    return [
        f"feature group {name} is left out: this source has no values for it (it reads {', '.join(GROUPS[name].reads)})"
        for name in groups
        if name not in filled
    ]


def group_named(name: str) -> Group:
    """The group of a name; UserError with the nearest one where there is none."""
    if name not in GROUPS:
        raise UserError(f"params.yaml, features.groups: there is no feature group '{name}'; {nearest(name, GROUPS)}")
    return GROUPS[name]


def _typed(columns: pl.DataFrame, about: Mapping[str, Feature]) -> pl.DataFrame:
    """The columns that are declared, in this order: numbers as float32, null for what is none; classes as text."""
    numbers = [name for name, feature in about.items() if feature.kind == "number"]
    finite = (
        pl.when(pl.col(name).cast(pl.Float32).is_finite()).then(pl.col(name).cast(pl.Float32)) for name in numbers
    )
    texts = (pl.col(name).cast(pl.String) for name, feature in about.items() if feature.kind == "category")
    return columns.with_columns(*finite, *texts).select("post_id", *about)
