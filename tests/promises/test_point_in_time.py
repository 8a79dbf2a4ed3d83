"""Promise 3: no feature of a post changes when something is added that became known after it appeared."""

from datetime import datetime
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from table_rows import day, observations, posts, users, vectors

from flickcast import features
from flickcast.aggregates import as_of, user_days
from flickcast.labels import popularity_labels
from flickcast.params import LabelParams
from flickcast.schemas import TABLES

POISON = 1_000_000_000
DAYS = 30


class World(NamedTuple):
    """All that is known, with the moments at which it became known."""

    posts: pl.DataFrame
    users: pl.DataFrame
    observations: pl.DataFrame


def matrix(world: World) -> pl.DataFrame:
    """Every feature of every post."""
    known = popularity_labels(world.posts, world.observations, TABLES["imported_labels"].empty(), LabelParams())
    states = as_of(world.posts, user_days(world.posts, known))
    return features.build(world.posts, world.users, states, vectors(), list(features.GROUPS))[0]


def until(world: World, moment: datetime) -> World:
    """The world as it was known at a moment."""
    return World(
        world.posts.filter(pl.max_horizontal("posted_at", "first_seen_at") <= moment),
        world.users.filter(pl.col("observed_at") <= moment),
        world.observations.filter(pl.col("observed_at") <= moment),
    )


def poisoned(world: World, moment: datetime) -> World:
    """The same world, everything that became known after the moment replaced by absurd values."""

    def poison(rows: pl.DataFrame, known_at: pl.Expr, *columns: str) -> pl.DataFrame:
        return rows.with_columns(
            pl.when(known_at > moment).then(POISON).otherwise(name).alias(name) for name in columns
        )

    seen = pl.max_horizontal("posted_at", "first_seen_at")
    late_words = pl.when(seen > moment).then(pl.lit("poison " * 500)).otherwise("title")
    return World(
        poison(world.posts, seen, "width").with_columns(title=late_words),
        poison(world.users, pl.col("observed_at"), "followers", "photo_count", "total_faves"),
        poison(world.observations, pl.col("observed_at"), "views"),
    )


def assert_unmoved(before: pl.DataFrame, after: pl.DataFrame) -> None:
    """The features of the posts of `before` are the same bytes in `after`; columns new in it hold nothing for them."""
    same_posts = after.join(before.select("post_id"), on="post_id", how="semi")
    assert_frame_equal(before, same_posts.select(before.columns), check_exact=True)
    assert same_posts.drop(before.columns).null_count().row(0) == (same_posts.height,) * (after.width - before.width)


moments = st.floats(0, DAYS, allow_nan=False).map(lambda number: day(round(number, 3)))
user_ids = st.sampled_from(["u1", "u2", "u3"])
counts = st.integers(0, 10_000)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    post_rows = []
    for number in range(draw(st.integers(1, 12))):
        posted_at = draw(moments)
        post_rows.append(
            {
                "post_id": f"p{number}",
                "user_id": draw(user_ids),
                "posted_at": posted_at,
                "first_seen_at": max(posted_at, draw(st.one_of(st.just(posted_at), moments))),
                "title": draw(st.sampled_from([None, "sea", "Blue Sea"])),
                "tags": draw(st.sampled_from([None, ["a"], ["a", "b"]])),
                "width": draw(st.integers(1, 2000)),
            }
        )
    snapshot = st.fixed_dictionaries(
        {"user_id": user_ids, "observed_at": moments, "followers": counts, "photo_count": counts, "total_faves": counts}
    )
    count = st.fixed_dictionaries(
        {
            "post_id": st.sampled_from([row["post_id"] for row in post_rows]),
            "observed_at": moments,
            "views": counts,
        }
    )
    once = {"unique_by": lambda row: (row.get("post_id", row.get("user_id")), row["observed_at"])}
    return World(
        posts(*post_rows),
        users(*draw(st.lists(snapshot, max_size=6, **once))),
        observations(*draw(st.lists(count, max_size=12, **once))),
    )


@settings(deadline=None, max_examples=100)
@given(world=worlds(), moment=moments)
def test_what_comes_later_moves_no_feature(world: World, moment: datetime) -> None:
    known = until(world, moment)
    assert_unmoved(matrix(known), matrix(world))


@settings(deadline=None, max_examples=100)
@given(world=worlds(), moment=moments)
def test_poisoning_the_future_moves_no_feature(world: World, moment: datetime) -> None:
    known = until(world, moment).posts.select("post_id")
    before, after = (matrix(state).join(known, on="post_id", how="semi") for state in (world, poisoned(world, moment)))
    assert_frame_equal(before, after.select(before.columns), check_exact=True)


def leaky(rows: pl.DataFrame) -> pl.DataFrame:
    """A group that looks ahead: how many posts the user will ever have."""
    return rows.select("post_id", posts_ever=pl.len().over("user_id"))


@pytest.fixture
def leaky_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(features.GROUPS, "leaky", features.Group(leaky, reads=("posts",)))


@pytest.mark.usefixtures("leaky_group")
def test_the_check_catches_a_group_that_looks_ahead() -> None:
    rows = posts({"post_id": "a", "posted_at": day(1)}, {"post_id": "b", "posted_at": day(5)})
    world = World(rows, users(), observations())
    with pytest.raises(AssertionError, match="posts_ever"):
        assert_unmoved(matrix(until(world, day(2))), matrix(world))


def test_the_check_catches_a_snapshot_from_the_future() -> None:
    world = World(
        posts({"post_id": "a", "posted_at": day(1)}), users({"observed_at": day(2), "followers": 5}), observations()
    )
    early = world.users.with_columns(observed_at=pl.lit(day(0)))
    with pytest.raises(AssertionError):
        assert_unmoved(matrix(until(world, day(1))), matrix(world._replace(users=early)))
