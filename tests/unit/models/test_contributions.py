"""What predictions are made of: by learner with and without an exact method of its own, and of a whole model."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from planted import planted

from flickcast.models.contributions import BASE, of_learner, sampled
from flickcast.models.design import Design
from flickcast.models.learners.catboost import CatBoost, CatBoostSettings
from flickcast.models.learners.lightgbm import LightGBM, LightGBMSettings

Values = NDArray[np.float64]
DESIGN, TARGET = planted(60)


def numbers(design: Design) -> Values:
    return np.nan_to_num(design.numbers.astype(np.float64), nan=0.0)


def linear(design: Design) -> Values:
    """3 signal - 2 kind, with 5 where nothing is known; noise is no part of it."""
    return 5 + 3 * numbers(design)[:, 0] - 2 * np.maximum(design.codes[:, 0], 0)


def product(design: Design) -> Values:
    """Columns that act together only: Shapley shares what they bring equally."""
    return numbers(design)[:, 0] * numbers(design)[:, 1]


def wordy(design: Design) -> Values:
    """What a text, and the first number of a picture's vector, say."""
    lengths = [len(text) for text in design.texts["words"]]
    return np.array(lengths, float) + np.nan_to_num(design.vectors["picture"][:, 0].astype(np.float64))


def total(found: dict[str, Values]) -> Values:
    return np.sum(list(found.values()), axis=0)


@pytest.mark.parametrize("predict", [linear, product, wordy])
def test_sampled_contributions_add_up(predict: Callable[[Design], Values]) -> None:
    np.testing.assert_allclose(total(sampled(predict, DESIGN, orders=1)), predict(DESIGN), atol=1e-9)


def test_of_a_sum_each_column_has_its_own_term() -> None:
    found = sampled(linear, DESIGN, orders=2)
    np.testing.assert_allclose(found["signal"], 3 * numbers(DESIGN)[:, 0], atol=1e-9)
    np.testing.assert_allclose(found["kind"], -2 * np.maximum(DESIGN.codes[:, 0], 0), atol=1e-9)
    np.testing.assert_array_equal(found["noise"], 0)
    np.testing.assert_allclose(found[BASE], 5, atol=1e-9)


def test_two_columns_that_act_together_share_equally() -> None:
    """By hand: alone each brings nothing, second it brings all; an order and its reverse give each a half."""
    found = sampled(product, DESIGN, orders=3)
    np.testing.assert_allclose(found["signal"], product(DESIGN) / 2, atol=1e-9)
    np.testing.assert_allclose(found["noise"], product(DESIGN) / 2, atol=1e-9)


def test_a_missing_text_and_vector_count_for_nothing() -> None:
    found = sampled(wordy, DESIGN, orders=1)
    np.testing.assert_allclose(found["words"], [len(text) for text in DESIGN.texts["words"]], atol=1e-9)
    np.testing.assert_allclose(found["picture"], np.nan_to_num(DESIGN.vectors["picture"][:, 0]), atol=1e-6)
    np.testing.assert_array_equal(found["title"], 0)


def test_a_row_has_the_same_contributions_alone() -> None:
    one = DESIGN.take(np.array([7]))
    together, alone = sampled(product, DESIGN, orders=2), sampled(product, one, orders=2)
    assert {name: values[7] for name, values in together.items()} == {name: values[0] for name, values in alone.items()}


def test_sampled_ones_come_near_the_exact_ones_of_trees() -> None:
    """Both share out the same predictions; they start from different rows, so what is compared is how columns rank."""
    fitted = LightGBM.fit(
        DESIGN, TARGET, settings=LightGBMSettings(min_child_samples=3), seed=0, threads=1, iterations=40
    )
    exact, near = of_learner(fitted, DESIGN), sampled(fitted.predict, DESIGN)
    assert np.corrcoef(exact["signal"], near["signal"])[0, 1] > 0.95
    assert np.abs(near["noise"]).mean() < 0.25 * np.abs(near["signal"]).mean()


def test_of_a_post_of_which_nothing_is_known_all_is_base() -> None:
    nothing = Design(np.full((2, 1), np.nan, np.float32), np.full((2, 1), -1, np.int32), ["signal"], ["kind"])
    found = sampled(lambda design: np.full(design.rows, 5.0), nothing, orders=1)
    assert {name: values.tolist() for name, values in found.items()} == {
        "signal": [0, 0],
        "kind": [0, 0],
        BASE: [5, 5],
    }


@pytest.mark.parametrize("loss", ["RMSE", "MAE", "Huber:delta=1"])
@pytest.mark.parametrize("weights", [None, np.linspace(0.1, 1, 60)])
def test_catboosts_own_add_up_whatever_its_loss(loss: str, weights: Values | None) -> None:
    """Its bias is set by hand after a fit with the Huber loss."""
    settings = CatBoostSettings(loss_function=loss)
    fitted = CatBoost.fit(DESIGN, TARGET + 9, settings=settings, seed=0, threads=1, iterations=10, weights=weights)
    for learner in (fitted, CatBoost.from_bytes(fitted.to_bytes())):
        found = of_learner(learner, DESIGN)
        np.testing.assert_allclose(total(found), learner.predict(DESIGN), atol=1e-6)
        assert found[BASE].mean() > 3


@pytest.mark.parametrize("objective", ["l2", "l1", "huber"])
def test_lightgbms_own_add_up_whatever_its_objective(objective: str) -> None:
    settings = LightGBMSettings(objective=objective, min_child_samples=3)
    held, label = planted(60, seed=1)
    fitted = LightGBM.fit(DESIGN, TARGET, settings=settings, seed=0, threads=1, validation=(held, label))
    np.testing.assert_allclose(total(of_learner(fitted, held)), fitted.predict(held), atol=1e-6)
