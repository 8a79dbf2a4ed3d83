"""The recipe hyperfusion: its filter, its weights fold by fold, and what it makes of much or little input."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from reducible import reducible

from flickcast.models import recipe_of
from flickcast.models.folds import Fitted, held_parts
from flickcast.models.fusion import simplex
from flickcast.models.model import Member
from flickcast.models.reductions import without_labels
from flickcast.params import Section
from flickcast.workspace import template_root

MANIFEST = {
    "log_followers": {"group": "people", "kind": "number"},
    "category": {"group": "categories", "kind": "category"},
    "subcategory": {"group": "categories", "kind": "category"},
    "country": {"group": "time_place", "kind": "category"},
}
ROWS = reducible(200, users=30)
POOL = without_labels(reducible(60, seed=5)).with_columns(post_id="x" + pl.col("post_id"))
SHIPPED = yaml.safe_load((template_root() / "recipes" / "hyperfusion.yaml").read_text())


def quick(**changes: Any) -> dict[str, Any]:
    """The shipped recipe, its learners small, its folds few."""
    passes = {"max_iterations": 4, "batch_size": 32}
    learners = {
        "catboost": {**SHIPPED["learners"]["catboost"], "max_iterations": 30, "depth": 3},
        "tabm": {**SHIPPED["learners"]["tabm"], **passes, "members": 2, "width": 16},
        "coattention": {**SHIPPED["learners"]["coattention"], **passes},
        "hierarchical": {**SHIPPED["learners"]["hierarchical"], **passes},
    }
    reductions = {name: dict(part) for name, part in SHIPPED["reductions"].items()}
    for part in reductions.values():
        part |= {"levels": [2, 6], "dimensions": 4} if part["kind"] == "clusters" else {"dimensions": 4}
    return {**SHIPPED, "folds": 2, "learners": learners, "reductions": reductions, **changes}


def fit(rows: pl.DataFrame = ROWS, pool: pl.DataFrame | None = POOL, **changes: Any) -> tuple[Any, dict[str, Any]]:
    steps = recipe_of("hyperfusion", quick(**changes), 0, 1)
    return steps.fit(rows, MANIFEST, lambda count: None, None, pool)


def test_shipped_numbers_are_the_papers() -> None:
    settings = recipe_of("hyperfusion", SHIPPED, 0, 1).settings
    assert (settings.folds, settings.outlier_factor, settings.fusion) == (5, 1.5, "simplex")
    assert {name: getattr(part, "dimensions", 0) for name, part in settings.reductions.items()}["user"] == 399
    assert settings.reductions["place"].dimensions == 400
    assert set(settings.learners) == {"catboost", "tabm", "coattention", "hierarchical"}
    assert settings.pseudo.rounds == 2


def test_all_inputs_give_a_model_of_all_learners() -> None:
    model, metrics = fit()
    assert metrics["fused"]["src"] > 0.5
    assert set(metrics["learners"]) == {"catboost", "coattention", "hierarchical", "tabm"}
    assert metrics["pseudo"]["pool"] == POOL.height
    assert metrics["left_out"]["vectors"] == ["glove300-tags", "glove300-title"]
    assert {"picture", "text", "user", "place", "picture_class"} <= {*model.members[0].preparation.groups().values()}
    assert np.isfinite(model.members_say(POOL)).all()


def test_without_vectors_it_fits_and_says_so() -> None:
    nowhere = {name: pl.lit(None, pl.Float64) for name in ("latitude", "longitude")}
    bare, pool = (rows.drop("picture", "text").with_columns(**nowhere) for rows in (ROWS, POOL))
    model, metrics = fit(bare, pool)
    assert metrics["fused"]["src"] > 0.5
    assert {"picture", "text"} <= {*metrics["left_out"]["vectors"]}
    assert {"picture", "picture_class", "place"} <= {*metrics["left_out"]["reductions"]}
    assert np.isfinite(model.members_say(POOL)).all()


def test_other_encoders_stand_in_for_glove() -> None:
    model, metrics = fit(ROWS.rename({"text": "lsa-tags"}), None)
    assert metrics["left_out"]["instead"] == {"glove300-tags": "lsa-tags"}
    assert "glove300-tags" in model.members[0].preparation.widths


def test_weights_of_each_fold_are_the_best_for_its_held_rows() -> None:
    steps = recipe_of("hyperfusion", quick(pseudo=None), 0, 1)
    folds = [steps._fold(ROWS, held, MANIFEST, None) for held in held_parts(ROWS, steps.settings, 2, steps.seed)]
    target, random = ROWS["popularity"].to_numpy(), np.random.default_rng(0)
    said = [
        {
            name: target[fold.held] + random.normal(0, size, fold.held.sum())
            for name, size in zip("abcd", sizes, strict=True)
        }
        for fold, sizes in zip(folds, ([1, 2, 3, 9], [9, 2, 2, 1]), strict=True)
    ]
    member = Member(folds[0].preparation, {}, {})
    fitted = [Fitted(member, fold.held, unseen) for fold, unseen in zip(folds, said, strict=True)]
    weights = replace(steps, learner_settings=dict.fromkeys("abcd", Section())).fused(fitted, target)
    for one, own in zip(fitted, weights, strict=True):
        assert sum(own.values()) == pytest.approx(1)
        assert min(own.values()) >= 0
        expected = simplex(np.column_stack([*one.unseen.values()]), target[one.held])
        np.testing.assert_allclose([*own.values()], expected)
    assert weights[0]["a"] > 0.5 > weights[1]["a"]
    assert weights[0]["d"] < 0.5 < weights[1]["d"]


def test_outliers_are_not_learnt_from_but_are_judged() -> None:
    far = ROWS.with_columns(popularity=pl.when(pl.col("post_id") == "p0007").then(500.0).otherwise("popularity"))
    steps = recipe_of("hyperfusion", quick(pseudo=None), 0, 1)
    folds = [steps._fold(far, held, MANIFEST, None) for held in held_parts(far, steps.settings, 2, steps.seed)]
    assert all("p0007" not in fold.rows["post_id"].to_list() for fold in folds)
    assert sum("p0007" in fold.stopping["post_id"].to_list() for fold in folds) == 1
    kept = recipe_of("hyperfusion", quick(outlier_factor=None), 0, 1).chosen(far)
    assert kept.height == far.height


def test_same_seed_and_any_order_of_the_rows_give_the_same_model() -> None:
    first, _ = fit()
    second, _ = fit(pool=POOL.reverse())
    assert first.name == second.name


@pytest.mark.parametrize("rows", [10, 14])
def test_a_handful_of_posts_gives_a_model(rows: int) -> None:
    model, metrics = fit(ROWS[:rows])
    assert metrics["rows"] == rows
    assert np.isfinite(model.members_say(POOL)).all()


def test_equal_labels_give_a_finite_model() -> None:
    model, _ = fit(ROWS.with_columns(popularity=pl.lit(6.0)))
    np.testing.assert_allclose(model.members_say(POOL), 6.0, atol=1.0)
