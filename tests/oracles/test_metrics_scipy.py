"""A second opinion on the measures: SciPy and scikit-learn, which define them on their own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, mean_absolute_percentage_error, mean_squared_error

from flickcast.metrics import bootstrap_interval, measures, spearman

values = st.lists(st.tuples(st.integers(1, 8), st.integers(-8, 8)), min_size=3, max_size=40)


@settings(deadline=None)
@given(values)
def test_measures_equal_the_libraries(pairs: list[tuple[int, int]]) -> None:
    label, prediction = (np.array(side, float) for side in zip(*pairs, strict=True))
    ours = measures(label, prediction)
    assert ours["mae"] == pytest.approx(mean_absolute_error(label, prediction))
    assert ours["mse"] == pytest.approx(mean_squared_error(label, prediction))
    assert ours["mape"] == pytest.approx(mean_absolute_percentage_error(label, prediction))
    if len(set(label)) > 1 and len(set(prediction)) > 1:
        assert ours["src"] == pytest.approx(spearmanr(label, prediction).statistic)


def test_a_constant_ranks_nothing() -> None:
    assert spearman([1, 2, 3], [5, 5, 5]) == 0.0


def test_interval_holds_the_measure_and_narrows_with_rows() -> None:
    random = np.random.default_rng(0)
    label = random.normal(6, 2, 2000)
    prediction = label + random.normal(0, 1, 2000)
    widths = []
    for rows in (100, 2000):
        low, high = bootstrap_interval(label[:rows], prediction[:rows], rounds=100, seed=0)["mae"]
        assert low < mean_absolute_error(label[:rows], prediction[:rows]) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2
