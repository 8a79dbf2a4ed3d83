import numpy as np
import pytest

from flickcast.models.outliers import fences, within_fences


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("factor", [0.5, 1.5, 3.0])
def test_fences_are_those_of_numpy(seed: int, factor: float) -> None:
    values = np.random.default_rng(seed).standard_t(2, 301)
    first, third = np.percentile(values, 25), np.percentile(values, 75)
    low, high = first - factor * (third - first), third + factor * (third - first)
    assert fences(values, factor) == pytest.approx((low, high))
    kept = within_fences(values, factor)
    assert kept.tolist() == [low <= value <= high for value in values]
    assert not kept.all()


def test_one_far_label_is_an_outlier_and_the_fences_themselves_are_not() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 100.0])  # quartiles 2 and 4: fences -1 and 7
    assert within_fences(values, 1.5).tolist() == [True, True, True, True, False]
    assert within_fences(np.array([-1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 7.0]), 1.5).all()


def test_labels_without_a_range_are_kept() -> None:
    assert within_fences(np.array([6.0] * 9 + [1.0]), 1.5).all()
    assert within_fences(np.array([]), 1.5).shape == (0,)
