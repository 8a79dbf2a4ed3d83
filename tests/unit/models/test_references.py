"""What recipes are measured against, on a few hundred made-up posts."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from flickcast.models.references import REFERENCES, raw_columns
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


def target_of(raw: pl.DataFrame) -> np.ndarray:
    """Popularity that followers and category decide."""
    followers = raw["followers"].fill_null(0).to_numpy()
    return np.log1p(followers) + (raw["category"] == "c1").to_numpy() * 2.0


def test_raw_columns_are_those_with_a_value_and_of_the_moment() -> None:
    posts, users = tables()
    later = users.with_columns(observed_at=pl.lit(START + timedelta(days=10)), followers=pl.lit(77, pl.Int64))
    raw = raw_columns(posts, pl.concat([users, later]))
    assert set(raw.columns) == {"post_id", "followers", "category", "hour", "weekday", "words"}
    assert raw["category"].null_count() == 0
    early = raw.filter(posts.sort("post_id")["posted_at"] < START + timedelta(days=10))
    assert early["followers"].max() == 10_000
    assert raw["followers"][-1] == 77


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_finds_a_planted_signal_and_says_the_same_twice(name: str) -> None:
    raw = raw_columns(*tables())
    target = target_of(raw)
    learnt, tested = np.arange(raw.height) % 3 != 0, np.arange(raw.height) % 3 == 0
    first, second = (REFERENCES[name](raw.filter(learnt), target[learnt], 0, 1)(raw.filter(tested)) for _ in range(2))
    error = np.abs(first - target[tested]).mean()
    assert error < 0.5 * np.abs(target[tested] - target[learnt].mean()).mean()
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("name", REFERENCES)
def test_a_category_that_was_never_seen_is_predicted_all_the_same(name: str) -> None:
    raw = raw_columns(*tables())
    predict = REFERENCES[name](raw, target_of(raw), 0, 1)
    strange = raw.head(5).with_columns(category=pl.lit("never seen"), followers=pl.lit(None, pl.Float64))
    assert np.isfinite(predict(strange)).all()
