"""The challenge's measures: SRC, MAE, MSE and MAPE."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def spearman(label: ArrayLike, prediction: ArrayLike) -> float:
    """SRC with average ranks for ties; a constant scores 0.

    >>> spearman([1, 2, 3], [10, 20, 30])
    1.0
    >>> spearman([1, 2, 3], [5, 5, 5])
    0.0
    """
    from scipy.stats import rankdata  # here: its import takes most of a second

    ranks = rankdata(np.asarray(label, float)), rankdata(np.asarray(prediction, float))
    first, second = (rank - rank.mean() for rank in ranks)
    scale = np.sqrt((first**2).sum() * (second**2).sum())
    return float(np.round((first * second).sum() / scale, 12)) if scale > 0 else 0.0


def measures(label: ArrayLike, prediction: ArrayLike) -> dict[str, float]:
    """SRC, MAE, MSE and MAPE of predictions against labels, shape (n,) each. MAPE leaves out labels of 0."""
    y, p = np.asarray(label, float), np.asarray(prediction, float)
    error = y - p
    nonzero = y != 0
    return {
        "src": spearman(y, p),
        "mae": float(np.abs(error).mean()),
        "mse": float((error**2).mean()),
        "mape": float(np.abs(error[nonzero] / y[nonzero]).mean()) if nonzero.any() else 0.0,
    }


def bootstrap_interval(
    label: ArrayLike, prediction: ArrayLike, *, rounds: int, seed: int, level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """An interval per measure from resampled rows, at the given level."""
    y, p = np.asarray(label, float), np.asarray(prediction, float)
    generator = np.random.default_rng(seed)
    rows: NDArray[np.int64] = generator.integers(0, len(y), (rounds, len(y)))
    samples = [measures(y[row], p[row]) for row in rows]
    tail = (1 - level) / 2
    return {
        name: (
            float(np.quantile([sample[name] for sample in samples], tail)),
            float(np.quantile([sample[name] for sample in samples], 1 - tail)),
        )
        for name in samples[0]
    }
