"""What single columns about users mean, on a few rows; oracles/ has all of them on random ones."""

import math
from typing import Any

import polars as pl
import pytest
from feature_inputs import inputs
from table_rows import day, labels, posts, users

from flickcast.features import build

HOUR, MINUTE = 1 / 24, 1 / 1440


def last(group: str, *rows: dict[str, Any], clock: str = "point_in_time", **popularity: float) -> dict[str, Any]:
    """The columns of the last post, named "own"; labels mature after a week."""
    made = [{"post_id": f"p{number}", **row} for number, row in enumerate(rows[:-1])]
    known = [{"post_id": key, "popularity": value, "matured_at": day(7)} for key, value in popularity.items()]
    read = inputs(posts(*made, {"post_id": "own", **rows[-1]}), OFFSET, labels(*known), clock=clock)
    return build(read, [group]).row(by_predicate=pl.col("post_id") == "own", named=True)


OFFSET = users({"observed_at": day(-1), "timezone_offset": -3.5})


def test_intervals_lie_between_posts_as_they_came_to_be_known() -> None:
    rows = [{"posted_at": day(moment)} for moment in (0, 1, 4)]
    late = {"posted_at": day(0.5), "first_seen_at": day(5)}
    row = last("user_behaviour", *rows, late, {"posted_at": day(6)})
    assert (row["interval_mean"], row["interval_deviation"], row["days_since_last_post"]) == (2, 1, 2)
    assert row["log_interval_minimum"] == pytest.approx(math.log1p(86_400))
    assert row["log_interval_last"] == pytest.approx(math.log1p(3 * 86_400))


def test_a_single_earlier_post_has_no_interval() -> None:
    row = last("user_behaviour", {"posted_at": day(0)}, {"posted_at": day(1)})
    assert row["interval_mean"] is row["log_interval_last"] is row["interval_skewness"] is None
    assert row["days_since_last_post"] == 1


def test_a_batch_goes_on_while_posts_follow_within_an_hour() -> None:
    rows = [{"posted_at": day(moment)} for moment in (0, 1, 1 + 50 * MINUTE, 1 + 100 * MINUTE)]
    assert last("user_behaviour", *rows)["log_batch_posts"] == pytest.approx(math.log(3))
    assert last("user_behaviour", *rows, {"posted_at": day(1.5)})["log_batch_posts"] == 0


def test_activity_compares_the_last_month_with_the_one_before() -> None:
    rows = [{"posted_at": day(moment)} for moment in (0, 1, 2, 35, 50)]
    assert last("user_behaviour", *rows)["activity_change"] == pytest.approx(math.log(2 / 4))


def test_first_year_counts_from_the_first_known_post() -> None:
    rows = [{"posted_at": day(moment)} for moment in (0, 300, 364, 365, 900)]
    row = last("user_behaviour", *rows)
    assert row["log_first_year_posts"] == pytest.approx(math.log(4))
    assert row["last_year_over_first"] == pytest.approx(math.log(1 / 4))


def test_tags_are_new_or_repeated() -> None:
    tags = (["sea", "sky"], ["sea", "boat"], ["sea", "boat", "harbour", "crane"])
    row = last("user_tags", *({"posted_at": day(n), "tags": some} for n, some in enumerate(tags)))
    assert (row["new_tags_share"], row["repeated_tags_share"], row["repeated_tags_jaccard"]) == (0.5, 0.5, 0.5)
    assert (row["earlier_new_tags_mean"], row["distinct_tags_share"]) == (0.75, 0.75)
    assert row["earlier_tags_entropy"] == pytest.approx(1.5 * math.log(2))


def test_a_post_without_tags_says_nothing_of_them() -> None:
    row = last("user_tags", {"posted_at": day(0), "tags": ["sea"]}, {"posted_at": day(1)})
    assert row["new_tags_share"] is row["repeated_tags_jaccard"] is row["tag_chars_above_usual"] is None
    assert row["earlier_tag_chars_mean"] == 3


def test_interest_drifts_with_tags_that_were_taken_up_of_late() -> None:
    rows = [{"posted_at": day(0), "tags": ["sea"]}, {"posted_at": day(200), "tags": ["sea", "snow", "ice"]}]
    row = last("user_tags", *rows, {"posted_at": day(201)})
    assert row["interest_drift"] == pytest.approx(2 / 3)


def test_hours_and_weekdays_are_by_the_users_clock() -> None:
    rows = [{"posted_at": day(2 + moment * HOUR)} for moment in (3, 3.4, 4)]  # 2026-01-03 was a Saturday
    row = last("user_cadence", *rows)
    assert (row["local_hour"], row["local_weekday"], row["is_local_weekend"]) == (0.5, 6, 1)
    assert (row["local_hour_share"], row["local_weekday_share"], row["local_weekend_share"]) == (0, 0, 0)
    assert (row["local_hours_entropy"], row["local_weekdays_entropy"]) == pytest.approx((0, 0), abs=1e-8)


def test_latest_labels_are_those_of_the_latest_posts() -> None:
    rows = [{"posted_at": day(moment)} for moment in (3, 0, 1, 2, 20)]
    row = last("user_recent_popularity", *rows, p0=9.0, p1=2.0, p2=4.0, p3=6.0)
    assert (row["user_popularity_last"], row["user_popularity_last_3"]) == (9, pytest.approx(19 / 3))
    assert (row["user_popularity_trend"], row["days_since_last_label"]) == (pytest.approx(2.3), 17)


def test_windows_hold_what_became_known_in_them() -> None:
    rows = [{"posted_at": day(0)}, {"posted_at": day(0), "first_seen_at": day(50)}, {"posted_at": day(60)}]
    row = last("user_recent_popularity", *rows, p0=2.0, p1=6.0)
    windows = [row[f"user_popularity_{number}_days"] for number in (7, 30, 90)]
    assert windows == [None, 6, 4]


def test_categories_are_compared_within_the_user() -> None:
    kinds = ("Food", "Food", "Urban", "Food")
    rows = [{"posted_at": day(10 * number), "category": kind} for number, kind in enumerate(kinds)]
    row = last("user_recent_popularity", *rows, p0=2.0, p1=4.0, p2=9.0)
    assert (row["user_popularity_in_category"], row["user_popularity_in_category_above"]) == (3, -2)


def test_spread_of_labels_that_are_nearly_the_same_is_exact() -> None:
    rows = [{"posted_at": day(number / 9)} for number in range(3)]
    row = last("user_popularity", *rows, {"posted_at": day(9)}, p0=5.0, p1=5.01, p2=5.01)
    assert row["user_popularity_deviation"] == pytest.approx(0.01 * math.sqrt(2) / 3, rel=1e-5)
    assert row["user_popularity_skewness"] == pytest.approx(-1 / math.sqrt(2), rel=1e-5)


def test_times_since_are_never_negative_by_the_transductive_clock() -> None:
    rows = [{"posted_at": day(moment)} for moment in (0, 1, 9, 30)]
    first = build(
        inputs(posts(*({"post_id": f"p{n}", **row} for n, row in enumerate(rows))), clock="transductive"),
        ["user_behaviour"],
    )
    assert first["days_since_last_post"].to_list() == [None, 1, 8, 21]
    assert first["log_earlier_posts"].to_list() == pytest.approx([math.log(5)] * 4)
