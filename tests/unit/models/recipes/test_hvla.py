import numpy as np
import pytest
from shipped_recipes import corpus, fitted, small

from flickcast import models
from flickcast.features import GROUPS
from flickcast.models.model import Model

HVLA = small("hvla", catboost={"max_iterations": 20, "depth": 4}, lightgbm={"max_iterations": 20})
ENCODERS = ("gemma", "glove300", "ViT-B-32")
ALL = {f"{encoder}_{part}".replace("-", "_"): "text" for encoder in ENCODERS for part in ("caption", "title", "tags")}


def lambdas(model: Model) -> list[tuple[float, float]]:
    return [(member.weights["catboost"], member.weights["lightgbm"]) for member in model.members]


def test_one_lambda_weighs_both_learners_of_every_fold() -> None:
    model, metrics = fitted("hvla", HVLA, corpus(picture="picture", text="text"))
    assert len(set(lambdas(model))) == 1
    assert sum(lambdas(model)[0]) == pytest.approx(1)
    assert metrics["fused"]["mae"] <= min(learner["mae"] for learner in metrics["learners"].values()) + 1e-12


def test_reads_caption_title_and_tags_by_each_model() -> None:
    model, metrics = fitted("hvla", HVLA, corpus(**ALL))
    made = {name.rpartition("_")[0] for name in model.members[0].learners["lightgbm"].importances()}
    assert {f"{short}_{part}" for short in ("gemma", "glove", "clip") for part in ("caption", "title", "tags")} <= made
    assert metrics["left_out"].keys() == {"groups"}
    assert model.reads == sorted(f"{encoder}-{part}" for encoder in ENCODERS for part in ("caption", "title", "tags"))


def test_picture_stands_in_for_its_caption_and_is_said() -> None:
    _, metrics = fitted("hvla", HVLA, corpus(picture="picture", text="text"))
    assert metrics["left_out"]["instead"] == {"ViT-B-32-title": "text", "ViT-B-32-caption": "picture"}
    assert "picture for ViT-B-32-caption" in " ".join(models.notes("hvla", metrics["left_out"]))


def test_without_vectors_there_is_a_model_and_what_is_missing_is_said() -> None:
    rows = corpus()
    model, metrics = fitted("hvla", HVLA, rows)
    assert metrics["fused"]["src"] > 0.6
    assert np.isfinite(model.members_say(rows)).all()
    assert len(metrics["left_out"]["reductions"]) == 9
    assert "trends" in metrics["left_out"]["groups"]


def test_groups_are_features_and_none_reads_labels() -> None:
    assert not any(GROUPS[name].reads_labels for name in HVLA["groups"])
