"""How the predictions of several learners become one: weights that are never negative and add up to 1."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def non_negative(predictions: Values, target: Values) -> Values:
    """Least squares without negative weights. `predictions` (rows, learners) must come from rows not fitted on."""
    from scipy.optimize import nnls

    weights, _ = nnls(predictions, target)
    return weights / weights.sum() if weights.sum() > 0 else mean(predictions, target)


def mean(predictions: Values, target: Values) -> Values:
    """The same weight for each learner."""
    return np.full(predictions.shape[1], 1 / predictions.shape[1])


FUSIONS: dict[str, Callable[[Values, Values], Values]] = {"non_negative": non_negative, "mean": mean}
