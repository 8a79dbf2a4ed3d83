from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from autogluon_here import skip_without_autogluon
from shipped_recipes import MANIFEST, corpus, fitted, small

from flickcast import models
from flickcast.errors import UserError
from flickcast.models.design import Preparation

QUICK: dict[str, Any] = {
    "first_passes": 3,
    "max_iterations": 3,
    "code": 8,
    "predictor_units": 8,
    "first_batch_size": 32,
}
FEW = {"catboost": {"max_iterations": 20, "depth": 4}, "lightgbm": {"max_iterations": 20}, "autoencoder": QUICK}
FAME = small("fame", **FEW)
BLIP = {"blip_picture": "picture", "blip_title": "text", "blip_tags": "text"}


def weights(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: learner["weight"] for name, learner in metrics["learners"].items()}


def test_weights_are_the_papers() -> None:
    assert FAME["weights"] == {"catboost": 0.40, "lightgbm": 0.35, "autogluon": 0.15, "autoencoder": 0.10}
    assert sum(FAME["weights"].values()) == pytest.approx(1)


def test_weights_are_scaled_up_where_autogluon_is_missing() -> None:
    model, metrics = fitted("fame", FAME, corpus(**BLIP))
    assert weights(metrics) == pytest.approx(
        {"catboost": 0.4 / 0.85, "lightgbm": 0.35 / 0.85, "autoencoder": 0.1 / 0.85}
    )
    assert "no saved model may hold it" in metrics["left_out"]["learners"]["autogluon"]
    assert set(model.kinds) == set(weights(metrics))


def test_autoencoder_reads_blip_alone_and_trees_its_components() -> None:
    rows = corpus(**BLIP, glove_title="text")
    model, metrics = fitted("fame", FAME, rows)
    member = model.members[0]
    assert set(member.learners["autoencoder"].importances()) == {"blip-picture", "blip-title", "blip-tags"}
    assert {"blip_picture_1", "glove_title_1", "category"} <= set(member.learners["lightgbm"].importances())
    assert {"vilt_picture", "glove_tags"} <= set(metrics["left_out"]["reductions"])
    assert metrics["left_out"].keys() == {"columns", "reductions", "learners"}


def test_pair_stands_in_for_blip_and_is_said() -> None:
    rows = corpus(picture="picture", text="text")
    model, metrics = fitted("fame", FAME, rows)
    assert metrics["left_out"]["instead"] == {"blip-picture": "picture", "blip-title": "text"}
    assert metrics["left_out"]["vectors"] == ["blip-tags"]
    note = "fame reads other encoders in the place of those it names: picture for blip-picture, text for blip-title."
    assert note in models.notes("fame", metrics["left_out"])
    moved = rows.with_columns(picture=pl.col("picture").list.eval(pl.element() + 5))
    assert np.abs(model.members_say(rows) - model.members_say(moved)).max() > 0.01


def test_without_vectors_trees_go_on_and_the_autoencoder_is_left_out() -> None:
    rows = corpus()
    model, metrics = fitted("fame", FAME, rows)
    assert weights(metrics) == pytest.approx({"catboost": 0.4 / 0.75, "lightgbm": 0.35 / 0.75})
    assert set(metrics["left_out"]["learners"]) == {"autogluon", "autoencoder"}
    assert metrics["left_out"]["vectors"] == ["blip-picture", "blip-tags", "blip-title"]
    assert metrics["fused"]["src"] > 0.6
    assert np.isfinite(model.members_say(rows)).all()


def test_learner_that_one_fold_leaves_out_is_left_out_of_all() -> None:
    """Vectors of one user's posts: the fold that holds this user trains on none."""
    rows = corpus(**BLIP)
    user = rows["user_id"].mode().sort()[0]
    rows = rows.with_columns(
        pl.when(user_id=user).then(pl.col(name)).alias(name) for name in ("blip-picture", "blip-title", "blip-tags")
    )
    content = {**FAME, "reductions": {}}
    model, metrics = fitted("fame", content, rows)
    assert "autoencoder" in metrics["left_out"]["learners"]
    assert all(set(member.learners) == set(member.weights) == {"catboost", "lightgbm"} for member in model.members)


def test_loaded_model_says_the_same(tmp_path: Path) -> None:
    rows = corpus(picture="picture", text="text")
    model, _ = fitted("fame", FAME, rows)
    model.save(tmp_path)
    loaded = models.load(tmp_path)
    assert loaded.name == model.name
    assert loaded.reads == model.reads == []
    np.testing.assert_array_equal(loaded.members_say(rows), model.members_say(rows))


def test_nothing_left_to_learn_with_is_one_sentence() -> None:
    content = {**FAME, "learners": {"autoencoder": QUICK}, "weights": {"autoencoder": 1.0}, "drop_first": []}
    with pytest.raises(UserError, match=r"recipes/fame\.yaml: no learner can take part: .*nothing that it could read"):
        fitted("fame", content, corpus())


def test_stand_in_is_read_in_one_place() -> None:
    recipe = models.recipe_of("fame", {**FAME, "instead": {"blip-title": "text", "blip-tags": "text"}}, 0, 1)
    model, _ = recipe.to_save().fit(corpus(text="text"), {}, lambda count: None)
    preparations: list[Preparation] = [member.preparation for member in model.members]
    assert [one.instead for one in preparations] == [{"blip-title": "text"}] * 3
    assert [set(one.reductions) for one in preparations] == [{"blip_title"}] * 3


@pytest.mark.slow
def test_comparison_has_all_four_in_the_papers_weights_and_saves_none(tmp_path: Path) -> None:
    skip_without_autogluon()
    quick = {"presets": "medium_quality", "included_model_types": ["GBM"], "time_limit": 300}
    content = {**small("fame", **FEW, autogluon=quick), "folds": 2}
    model, metrics = models.recipe_of("fame", content, 0, 1).fit(corpus(**BLIP), MANIFEST, lambda count: None)
    assert weights(metrics) == pytest.approx(content["weights"])
    assert "learners" not in metrics["left_out"]
    with pytest.raises(UserError, match="'autogluon' has no stored form"):
        model.save(tmp_path)
