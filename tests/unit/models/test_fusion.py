import numpy as np
import pytest

from flickcast.models.fusion import FUSIONS, mean, non_negative

TARGET = np.array([1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize("name", sorted(FUSIONS))
def test_weights_are_shares(name: str) -> None:
    predictions = np.column_stack([TARGET + 0.1, TARGET[::-1], TARGET - 0.2])
    weights = FUSIONS[name](predictions, TARGET)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()


def test_the_learner_that_is_right_gets_all() -> None:
    weights = non_negative(np.column_stack([TARGET[::-1], TARGET]), TARGET)
    np.testing.assert_allclose(weights, [0, 1], atol=1e-9)


def test_useless_learners_share_alike() -> None:
    useless = np.zeros((4, 2))
    assert non_negative(useless, TARGET).tolist() == mean(useless, TARGET).tolist() == [0.5, 0.5]
