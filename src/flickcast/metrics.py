"""The challenge's measures: SRC, MAE, MSE and MAPE."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]
AT_ONCE = 1_000_000  # resampled rows: few rows are quicker in one go, for many the memory would not do


def spearman(label: ArrayLike, prediction: ArrayLike) -> float:
    """SRC with average ranks for ties; a constant scores 0.

    >>> spearman([1, 2, 3], [10, 20, 30])
    1.0
    >>> spearman([1, 2, 3], [5, 5, 5])
    0.0
    """
    return float(_spearman(label, prediction))


def _spearman(label: ArrayLike, prediction: ArrayLike) -> Values:
    """The same of each row of matrices."""
    from scipy.stats import rankdata  # here: its import takes most of a second

    ranks = [rankdata(np.asarray(values, float), axis=-1) for values in (label, prediction)]
    first, second = (rank - rank.mean(axis=-1, keepdims=True) for rank in ranks)
    scale = np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))
    products = (first * second).sum(axis=-1)
    return np.asarray(np.round(np.where(scale > 0, products / np.where(scale > 0, scale, 1), 0.0), 12), np.float64)


def measures(label: ArrayLike, prediction: ArrayLike) -> dict[str, float]:
    """SRC, MAE, MSE and MAPE of predictions against labels, shape (n,) each. MAPE leaves out labels of 0."""
    return {name: float(values) for name, values in _measures(label, prediction).items()}


def _measures(label: ArrayLike, prediction: ArrayLike) -> dict[str, Values]:
    """The same of each row of matrices (rounds, n): (rounds,) each."""
    y, p = np.asarray(label, float), np.asarray(prediction, float)
    error = y - p
    nonzero = y != 0
    relative = np.where(nonzero, np.abs(error / np.where(nonzero, y, 1)), 0.0)
    return {
        "src": _spearman(y, p),
        "mae": np.abs(error).mean(axis=-1),
        "mse": (error**2).mean(axis=-1),
        "mape": relative.sum(axis=-1) / np.maximum(nonzero.sum(axis=-1), 1),
    }


def bootstrap_interval(
    label: ArrayLike, prediction: ArrayLike, *, rounds: int, seed: int, level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """An interval per measure from resampled rows, at the given level."""
    y, p = np.asarray(label, float), np.asarray(prediction, float)
    generator = np.random.default_rng(seed)
    rows: NDArray[np.int64] = generator.integers(0, len(y), (rounds, len(y)))
    tail = (1 - level) / 2
    ends = {name: np.quantile(values, [tail, 1 - tail]) for name, values in resampled(y, p, rows).items()}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def resampled(label: ArrayLike, prediction: ArrayLike, rows: NDArray[np.int64]) -> dict[str, Values]:
    """Each measure of every resample, (rounds,): `rows` (rounds, n) are the positions that a resample takes."""
    y, p = np.asarray(label, float), np.asarray(prediction, float)
    at_once = max(1, AT_ONCE // max(1, len(y)))
    parts = [rows[start : start + at_once] for start in range(0, len(rows), at_once)]
    samples = [_measures(y[part], p[part]) for part in parts]
    return {name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]}
