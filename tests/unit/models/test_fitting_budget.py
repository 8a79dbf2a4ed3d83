"""What fits into a time limit, and in which order things are left out."""

from dataclasses import replace

import pytest

from flickcast.errors import UserError
from flickcast.models.budget import Estimate, planned, seconds_in, unfinished


def estimate(fit: float, learners: dict[str, float], *drop_first: str) -> Estimate:
    after = [0.7 - 0.01 * count for count in range(len(drop_first) + 1)]
    return Estimate(0.0, 0.0, fit, learners, drop_first, after, trial_rows=300)


ROWS = {
    "quick": estimate(10, {"a": 4, "b": 6}, "b"),
    "slow": estimate(100, {"a": 10, "b": 40, "c": 50}, "c", "b"),
}


def test_what_fits_stays_whole() -> None:
    plan = planned(ROWS, folds=5, seeds=1, available=550)
    assert [one.left_out for one in plan.estimates.values()] == [(), ()]
    assert (plan.seconds, plan.seeds, plan.left_out) == (550, 1, ())


def test_seeds_go_before_learners() -> None:
    assert planned(ROWS, folds=5, seeds=3, available=1100).seeds == 2


def test_the_slowest_recipe_gives_first_and_in_its_declared_order() -> None:
    plan = planned(ROWS, folds=5, seeds=2, available=320)
    assert plan.seeds == 1
    assert {name: one.left_out for name, one in plan.estimates.items()} == {"quick": (), "slow": ("c",)}
    assert plan.seconds == 300


def test_when_nothing_is_left_to_give_rows_go_from_the_end_and_the_first_stays() -> None:
    plan = planned(ROWS, folds=5, seeds=1, available=25)
    assert plan.left_out == ("slow",)
    assert plan.estimates["quick"].left_out == ("b",)
    assert planned(ROWS, folds=5, seeds=1, available=0).left_out == ("slow",)


def test_a_recipe_keeps_a_learner_whatever_it_declares() -> None:
    probe = {
        "rows": 10,
        "of": 100,
        "reading": 1.0,
        "seconds": 2.0,
        "learners": {"a": 1.0, "b": 1.0},
        "src_after": [0.5],
    }
    one = Estimate.of(probe, wall=4.0, drop_first=["a", "b"])
    assert one.drop_first == ("a",)
    assert (one.start, one.fit, one.learners["a"]) == (1.0, 20.0, 10.0)
    assert one.seconds(folds=5, seeds=2) == 1.0 + 10 * 21.0


def test_what_does_not_grow_with_the_rows_is_not_scaled() -> None:
    probe = {"rows": 10, "of": 100, "reading": 0.0, "seconds": 4.0, "learners": {"a": 1.0, "b": 2.0}}
    most, fixed = {"b": 20}, {"c": 60.0}
    one = Estimate.of(probe | {"src_after": [0.5, 0.4]}, 4.0, ["c", "a"], most, fixed)
    assert one.learners == {"a": 10.0, "b": 4.0, "c": 60.0}
    assert one.fit == 10.0 + 10.0 + 4.0 + 60.0, "what is prepared grows with the rows, too"
    dropped = replace(one, dropped=1)
    assert dropped.cost() == "Left out for time: c; what that cost is not known, as its trial fit did without c."


def test_what_is_left_out_is_said_with_its_cost() -> None:
    slow = planned(ROWS, folds=5, seeds=1, available=320).estimates["slow"]
    assert slow.cost() == "Left out for time: c; in a trial fit of 300 posts SRC went from 0.700 to 0.690 without it."
    assert ROWS["slow"].cost() == ""


def test_a_trial_that_was_stopped_tells_no_cost_and_that_is_said() -> None:
    one = Estimate(0.0, 0.0, 10.0, {"a": 5.0, "b": 5.0}, ("b",), (), dropped=1)
    assert one.cost() == "Left out for time: b; what that cost is not known, as its trial fit was stopped."


BEGUN = {"rows": 300, "of": 3000, "reading": 1.0, "learners": ["a", "b", "c"], "fits": 15}


@pytest.mark.parametrize(
    ("moments", "learners"),
    [
        ([10, 12, 16, 17, 19, 25], {"a": 10, "b": 25, "c": 5}),  # b: 4 s, and for 6 s when it was stopped
        ([10, 12, 16, 17, 19, 20], {"a": 10, "b": 20, "c": 5}),  # b had 1 s, which says nothing
        ([10, 14], {"a": 20, "b": 20, "c": 20}),  # amid the first fit
        ([10, 12, 16], {"a": 10, "b": 20, "c": 15}),  # c was not begun: as any
    ],
)
def test_a_stopped_trial_tells_of_each_learner_what_it_saw(moments: list[float], learners: dict[str, float]) -> None:
    found = unfinished(BEGUN, moments)
    assert found["learners"] == learners
    assert found["seconds"] == sum(learners.values())
    assert Estimate.of(found, 20.0, ["b"]).learners == {name: 10 * seconds for name, seconds in learners.items()}


def test_what_is_prepared_before_the_first_fit_counts_once() -> None:
    found = unfinished(BEGUN, [10, 12, 16], prepared=100.0)
    assert found["learners"] == {"a": 10, "b": 20, "c": 15}
    assert found["seconds"] == 145


def test_a_learner_that_is_to_go_twice_goes_once() -> None:
    probe = {"rows": 1, "of": 1, "reading": 0.0, "seconds": 3.0, "learners": {"a": 1.0, "b": 2.0}, "src_after": []}
    assert Estimate.of(probe, 3.0, ["a", "a", "b"]).drop_first == ("a",)


@pytest.mark.parametrize(("text", "seconds"), [("40m", 2400), ("1h30m", 5400), ("90s", 90), ("0.5h", 1800)])
def test_durations(text: str, seconds: float) -> None:
    assert seconds_in(text) == seconds


@pytest.mark.parametrize("text", ["", "40", "m", "0m", "40 minutes", "-5m", "5m1h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="write it as 40m"):
        seconds_in(text)
