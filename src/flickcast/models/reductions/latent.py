"""Truncated singular value decomposition of weighted counts: what `words` and the users' items share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]


def inverse_frequency(rows_with: NDArray[Any], rows: int) -> Matrix:
    """What a thing found in so many of the rows weighs; never zero."""
    return (np.log((1 + rows) / (1 + rows_with)) + 1).astype(np.float32)


def weighted(counts: Any, idf: Matrix) -> Any:
    """Sparse counts (rows, things) on a log scale times idf, each row of length 1."""
    from sklearn.preprocessing import normalize

    found = counts.copy()
    found.data = (1 + np.log(found.data)) * idf[found.indices]
    return normalize(found) if found.shape[0] else found


def components(matrix: Any, dimensions: int, seed: int) -> Matrix:
    """(dimensions, things), fewer where the matrix (rows, things) is small; of settled sign."""
    from sklearn.decomposition import TruncatedSVD

    width = min(dimensions, matrix.shape[1] - 1, matrix.shape[0] - 1)
    with np.errstate(invalid="ignore"):  # rows that are all alike have no variance to explain
        svd = TruncatedSVD(width, n_iter=3, random_state=seed).fit(matrix)
    return np.asarray(svd.components_, np.float32)
