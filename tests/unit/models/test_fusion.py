import numpy as np
import pytest

from flickcast.errors import UserError
from flickcast.models.fusion import FUSIONS, mean, non_negative, one_lambda, simplex

TARGET = np.array([1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize("name", sorted(FUSIONS))
def test_weights_are_shares(name: str) -> None:
    predictions = np.column_stack([TARGET + 0.1, TARGET[::-1], TARGET - 0.2])[:, : 2 if name == "lambda" else 3]
    weights = FUSIONS[name](predictions, TARGET)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()


def test_the_learner_that_is_right_gets_all() -> None:
    weights = non_negative(np.column_stack([TARGET[::-1], TARGET]), TARGET)
    np.testing.assert_allclose(weights, [0, 1], atol=1e-9)


def test_useless_learners_share_alike() -> None:
    useless = np.zeros((4, 2))
    assert non_negative(useless, TARGET).tolist() == mean(useless, TARGET).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("seed", range(20))
def test_lambda_is_no_worse_than_any_of_a_fine_grid(seed: int) -> None:
    random = np.random.default_rng(seed)
    target = random.normal(6, 2, 201)
    first = target + random.normal(random.normal(), 1, 201)
    second = target + random.standard_t(2, 201) * random.gamma(1, 1)
    grid = np.linspace(0, 1, 10_001)
    errors = np.abs(target[:, None] - grid * first[:, None] - (1 - grid) * second[:, None]).mean(axis=0)
    share, rest = one_lambda(np.column_stack([first, second]), target)
    error = np.abs(target - share * first - rest * second).mean()
    assert error <= errors.min() + 1e-12
    assert share == pytest.approx(grid[errors.argmin()], abs=2e-4)


def test_lambda_is_the_same_whichever_learner_comes_first() -> None:
    random = np.random.default_rng(0)
    predictions = TARGET[:, None] + random.normal(size=(4, 2))
    np.testing.assert_allclose(one_lambda(predictions, TARGET), one_lambda(predictions[:, ::-1], TARGET)[::-1])


def test_lambda_of_equal_learners_and_of_one_alone() -> None:
    assert one_lambda(np.column_stack([TARGET, TARGET]), TARGET).tolist() == [0.5, 0.5]
    assert one_lambda(TARGET[:, None], TARGET).tolist() == [1]


def test_lambda_refuses_three() -> None:
    with pytest.raises(UserError, match="'lambda' weighs two learners, not 3"):
        one_lambda(np.zeros((4, 3)), TARGET)


@pytest.mark.parametrize("seed", range(10))
def test_simplex_is_no_worse_than_any_of_a_fine_grid(seed: int) -> None:
    random = np.random.default_rng(seed)
    target = random.normal(6, 2, 120)
    predictions = target[:, None] + random.normal(random.normal(0, 1, 3), random.gamma(2, 1, 3), (120, 3))
    first, second = np.meshgrid(np.linspace(0, 1, 201), np.linspace(0, 1, 201))
    grid = np.column_stack([first.ravel(), second.ravel(), 1 - first.ravel() - second.ravel()])
    grid = grid[grid[:, 2] >= -1e-12]
    errors = ((target - grid @ predictions.T) ** 2).mean(axis=1)
    weights = simplex(predictions, target)
    assert ((target - predictions @ weights) ** 2).mean() <= errors.min() + 1e-12
    np.testing.assert_allclose(weights, grid[errors.argmin()], atol=0.01)


def test_simplex_of_learners_that_are_all_right_or_all_the_same() -> None:
    for predictions in (np.column_stack([TARGET, TARGET]), np.zeros((4, 2))):
        weights = simplex(predictions, TARGET)
        assert weights.sum() == pytest.approx(1)
        assert (weights >= 0).all()
