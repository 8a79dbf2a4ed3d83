"""Labels that lie far from the others, by the interquartile range."""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def fences(values: Values, factor: float) -> tuple[float, float]:
    """Tukey's fences: `factor` interquartile ranges below the first and above the third quartile of (n,)."""
    first, third = np.quantile(values, [0.25, 0.75])
    return float(first - factor * (third - first)), float(third + factor * (third - first))


def within_fences(values: Values, factor: float) -> NDArray[np.bool_]:
    """Which of the values (n,) are no outliers (HyperFusion 2025, section 3.3).

    All are kept where half of them are equal: their range is 0 and would call everything else an outlier.
    """
    low, high = fences(values, factor) if len(values) else (0.0, 0.0)
    return np.ones(len(values), bool) if low == high else (values >= low) & (values <= high)
