"""How the predictions of several learners become one: weights that are never negative and add up to 1."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from flickcast.errors import UserError

Values = NDArray[np.float64]


def non_negative(predictions: Values, target: Values) -> Values:
    """Least squares without negative weights. `predictions` (rows, learners) must come from rows not fitted on."""
    from scipy.optimize import nnls

    weights, _ = nnls(predictions, target)
    return weights / weights.sum() if weights.sum() > 0 else mean(predictions, target)


def simplex(predictions: Values, target: Values) -> Values:
    """The least squares of all weights that are not negative and add up to 1, to the last digits.

    Where they add up to 1, the errors are D w with D = predictions - target. Least squares of [D; 1'] u = [0; 1] with
    no negative u lies on a ray whose direction does not depend on how far along it is: w is u over its sum.
    """
    from scipy.optimize import nnls

    apart = predictions - target[:, None]
    size = max(float(np.linalg.norm(apart)), 1e-12)
    weights, _ = nnls(np.vstack([apart / size, np.ones(apart.shape[1])]), np.append(np.zeros(len(apart)), 1.0))
    shares: Values = weights / weights.sum()
    return shares


def mean(predictions: Values, target: Values) -> Values:
    """The same weight for each learner."""
    return np.full(predictions.shape[1], 1 / predictions.shape[1])


def one_lambda(predictions: Values, target: Values) -> Values:
    """lambda and 1 - lambda, of two learners (HVLA 2024, section 3.3, equation 1), with the least mean absolute error.

    The paper does not say how its lambda was found. This one is exact, not of a grid: with d the difference of the two,
    |y - b - lambda d| = |d| |(y - b) / d - lambda|, so that a weighted median minimises the sum, which is convex.
    """
    if predictions.shape[1] == 1:
        return np.ones(1)
    if predictions.shape[1] != 2:
        raise UserError(f"fusion: 'lambda' weighs two learners, not {predictions.shape[1]}; use non_negative or mean.")
    first, second = predictions.T
    apart = first != second
    if not apart.any():
        return mean(predictions, target)
    lengths = (first - second)[apart]
    wanted = (target - second)[apart] / lengths
    order = np.argsort(wanted, kind="stable")
    heft = np.abs(lengths[order]).cumsum()
    share = np.clip(wanted[order][np.searchsorted(heft, heft[-1] / 2)], 0, 1)
    return np.array([share, 1 - share])


FUSIONS: dict[str, Callable[[Values, Values], Values]] = {
    "non_negative": non_negative,
    "simplex": simplex,
    "mean": mean,
    "lambda": one_lambda,
}
