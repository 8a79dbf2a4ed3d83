"""What recipes are measured against, on a few hundred made-up posts."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from flickcast.models.references import REFERENCES, simple_columns
from flickcast.schemas import TABLES

START = datetime(2026, 1, 1, tzinfo=UTC)


def tables(count: int = 240) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Posts of a few categories, and a snapshot of each user's followers, with a hole."""
    numbers = range(count)
    posts = pl.DataFrame(
        {
            "post_id": [f"p{number:04d}" for number in numbers],
            "source": ["smpd-image"] * count,
            "user_id": [f"u{number % 20}" for number in numbers],
            "posted_at": [START + timedelta(hours=7 * number) for number in numbers],
            "first_seen_at": [START] * count,
            "category": [None if number % 50 == 0 else f"c{number % 3}" for number in numbers],
            "title": ["two words" if number % 2 else None for number in numbers],
        }
    )
    users = pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in range(20)],
            "observed_at": [START - timedelta(days=1)] * 20,
            "followers": [None if number == 3 else 10 ** (number % 5) for number in range(20)],
        }
    )
    return TABLES["posts"].conform(posts), TABLES["users"].conform(users)


def target_of(simple: pl.DataFrame) -> np.ndarray:
    """Popularity that followers and category decide."""
    followers = simple["followers"].fill_null(0).to_numpy()
    return np.log1p(followers) + (simple["category"] == "c1").to_numpy() * 2.0


def test_simple_columns_are_those_with_a_value_and_of_the_moment() -> None:
    posts, users = tables()
    later = users.with_columns(observed_at=pl.lit(START + timedelta(days=10)), followers=pl.lit(77, pl.Int64))
    simple = simple_columns(posts, pl.concat([users, later]))
    assert set(simple.columns) == {"post_id", "followers", "category", "hour", "weekday", "words"}
    assert simple["category"].null_count() == 0
    early = simple.filter(posts.sort("post_id")["posted_at"] < START + timedelta(days=10))
    assert early["followers"].max() == 10_000
    assert simple["followers"][-1] == 77


@pytest.mark.parametrize("name", [name for name in REFERENCES if name.endswith(", raw columns")])
def test_raw_columns_are_what_the_tables_have_and_nothing_made_of_it(name: str) -> None:
    simple = simple_columns(*tables())
    hours = simple["hour"].to_numpy()
    made = simple.select("post_id", "hour", "weekday", "words")
    assert set(REFERENCES[name](made, hours, 0, 1)(made[:3])) == {hours.mean()}
    said = REFERENCES[name](simple, hours, 0, 1)(simple)
    assert np.abs(said - hours).mean() > 0.5 * np.abs(hours - hours.mean()).mean(), "the hour itself is not shown"
    raw = simple.drop("hour", "weekday", "words")
    np.testing.assert_array_equal(said, REFERENCES[name](raw, hours, 0, 1)(raw))


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_finds_a_planted_signal_and_says_the_same_twice(name: str) -> None:
    simple = simple_columns(*tables())
    target = target_of(simple)
    learnt, tested = np.arange(simple.height) % 3 != 0, np.arange(simple.height) % 3 == 0
    first, second = (
        REFERENCES[name](simple.filter(learnt), target[learnt], 0, 1)(simple.filter(tested)) for _ in range(2)
    )
    error = np.abs(first - target[tested]).mean()
    assert error < 0.5 * np.abs(target[tested] - target[learnt].mean()).mean()
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("name", REFERENCES)
def test_a_category_that_was_never_seen_is_predicted_all_the_same(name: str) -> None:
    simple = simple_columns(*tables())
    predict = REFERENCES[name](simple, target_of(simple), 0, 1)
    strange = simple.head(5).with_columns(category=pl.lit("never seen"), followers=pl.lit(None, pl.Float64))
    assert np.isfinite(predict(strange)).all()
