"""A recipe without one of its learners, from what its fusion was given."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from reducible import reducible

from flickcast.models.ensemble import Ensemble
from flickcast.models.without import model_without, predictions_without, unseen_without, watched

LEARNERS = {
    "good": {"learner": "lightgbm", "max_iterations": 30, "min_child_samples": 5},
    "small": {"learner": "lightgbm", "max_iterations": 3, "min_child_samples": 5},
}
MANIFEST = {"category": {"group": "some", "kind": "category"}, "log_followers": {"group": "some", "kind": "number"}}


def recipe(**changes: Any) -> Ensemble:
    content = {"folds": 2, "rare_below": 2, "fusion": "non_negative", "learners": LEARNERS, **changes}
    return Ensemble.from_yaml(content, "tried", 0, 1)


def rows(seed: int = 0) -> pl.DataFrame:
    made = reducible(200, users=30, seed=seed)
    return made.with_columns(popularity=pl.col("popularity") + pl.col("log_followers").fill_null(0) * 2)


@pytest.mark.parametrize("fusion", ["non_negative", "mean"])
def test_without_a_learner_the_recipe_says_what_it_says_when_it_never_had_it(fusion: str) -> None:
    steps, tested = recipe(fusion=fusion), rows(seed=1).drop("popularity", "label_known_at")
    seeing, seen = watched(steps)
    model, _ = seeing.fit(rows(), MANIFEST, lambda count: None)
    found = predictions_without(steps, seen, model, tested)
    for gone, left in (("good", "small"), ("small", "good")):
        alone, _ = recipe(fusion=fusion, learners={left: LEARNERS[left]}).fit(rows(), MANIFEST, lambda count: None)
        expected = alone.calibration.finish(tested, alone.members_say(tested))["prediction"]
        assert found[gone] == pytest.approx(expected)


def test_watching_changes_nothing() -> None:
    steps = recipe()
    seeing, _ = watched(steps)
    models = [one.fit(rows(), MANIFEST, lambda count: None)[0] for one in (steps, seeing)]
    assert models[0].name == models[1].name


def test_the_unseen_predictions_are_fused_with_the_weights_that_are_left() -> None:
    steps = recipe()
    seeing, seen = watched(steps)
    seeing.fit(rows(), MANIFEST, lambda count: None)
    known, said = unseen_without(steps, seen, ["small"])
    assert [one.weights for one in model_without(steps, seen, ["small"]).members] == [{"good": 1.0}] * 2
    assert said == pytest.approx(np.concatenate([one.unseen["good"] for one in seen.fitted]))
    assert sorted(known) == sorted(rows()["popularity"].to_list())


def test_a_single_learner_cannot_be_missed() -> None:
    steps = recipe(learners={"good": LEARNERS["good"]})
    seeing, seen = watched(steps)
    model, _ = seeing.fit(rows(), MANIFEST, lambda count: None)
    assert predictions_without(steps, seen, model, rows()) == {}
