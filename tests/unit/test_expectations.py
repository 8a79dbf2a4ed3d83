"""What past nights teach: the plan of a night, when a night counts as short, how dense uploads lie."""

from typing import Any

import pytest

from flickcast.expectations import DAY_SECONDS, HOUR_SECONDS, plan, posts_per_second, shortness
from flickcast.params import IngestParams

SEARCH, INFO = "flickr.photos.search", "flickr.people.getInfo"
SLOW = IngestParams(calls_per_second=0.8, pictures_per_second=0.4)


def night(**others: Any) -> dict[str, Any]:
    """A Monday with 240 posts, ten in each hour, as ingest leaves its facts."""
    usual: dict[str, Any] = {
        "since": "2026-03-02T00:00:00+00:00",
        "weekday": 0,
        "new_seconds": DAY_SECONDS,
        "walked_seconds": 5 * DAY_SECONDS,
        "stored": 240,
        "calls": {SEARCH: 10, INFO: 60},
        "pictures": 200,
        "pictures_quarantined": 40,
        "hours": [10] * 24,
        "told": 1000,
        "read": 1000,
        "broken_seconds": 0,
    }
    return usual | others


def test_without_a_past_there_is_no_plan():
    assert plan([], 0, 5 * DAY_SECONDS, DAY_SECONDS, SLOW) == {}


def test_a_usual_night_is_planned_as_the_past_one_was():
    planned = plan([night()], 1, 5 * DAY_SECONDS, DAY_SECONDS, SLOW)
    assert (planned["posts"], planned["calls"], planned["calls_in_all"]) == (240, {SEARCH: 10, INFO: 60}, 70)
    assert (planned["pictures"], planned["as_on"]) == (240, "2026-03-02")


def test_the_hours_follow_from_both_limits_of_speed():
    many = night(calls={INFO: 2880}, pictures=1440, pictures_quarantined=0)  # 0.8 and 0.4 a second: an hour each
    assert plan([many], 0, 5 * DAY_SECONDS, DAY_SECONDS, SLOW)["hours"] == 2.0


def test_the_limit_of_an_hour_counts_where_it_is_the_lower_one():
    quick = IngestParams(calls_per_second=100, calls_per_hour=35)
    assert plan([night(pictures=0, pictures_quarantined=0)], 0, 5 * DAY_SECONDS, DAY_SECONDS, quick)["hours"] == 2.0


def test_a_night_that_makes_up_for_another_costs_more():
    planned = plan([night()], 0, 6 * DAY_SECONDS, 2 * DAY_SECONDS, SLOW)
    assert (planned["posts"], planned["calls"]) == (480, {SEARCH: 12, INFO: 120})


def test_the_same_weekday_tells_more_than_yesterday():
    past = [night(stored=500), night(stored=100, weekday=6)]
    assert plan(past, 0, 5 * DAY_SECONDS, DAY_SECONDS, SLOW)["posts"] == 500
    assert plan(past, 3, 5 * DAY_SECONDS, DAY_SECONDS, SLOW)["posts"] == 100


def test_density_is_told_by_the_hour_of_the_day():
    hours = [0] * 23 + [7199]
    assert posts_per_second([night(hours=hours)]) == [1 / HOUR_SECONDS] * 23 + [2.0]
    assert posts_per_second([]) is None


def test_a_usual_night_is_not_short():
    assert shortness(night(), [night()] * 7) == []


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (night(read=900), "the service told of 1000 posts and gave 900"),
        (night(broken_seconds=60), "searches of 60 s of uploads failed"),
        (night(hours=[4] * 24), "96 posts were uploaded, 240 are usual"),
    ],
)
def test_what_is_missing_is_named(facts, reason):
    assert reason in shortness(facts, [night()] * 7)


def test_an_empty_hour_is_named_where_many_posts_are_usual():
    past = [night(hours=[20] * 24)] * 7
    reasons = shortness(night(hours=[20] * 13 + [0] + [20] * 10), past)
    assert reasons == ["none was uploaded from 13 to 14 UTC, 20 are usual"]


def test_few_past_nights_or_posts_judge_nobody():
    assert shortness(night(hours=[0] * 24), [night()] * 4) == []
    assert shortness(night(hours=[0] * 24), [night(hours=[8] * 24)] * 7) == []


def test_a_quiet_weekday_is_judged_by_its_own_kind():
    sundays = [night(weekday=6, hours=[10] * 24)] * 3
    past = [night(hours=[40] * 24)] * 18 + sundays
    assert shortness(night(weekday=6, hours=[9] * 24), past) == []
    assert shortness(night(weekday=6, hours=[5] * 24), past) == ["120 posts were uploaded, 240 are usual"]
