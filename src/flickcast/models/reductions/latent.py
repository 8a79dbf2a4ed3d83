"""Truncated singular value decomposition of weighted counts: what `words` and the users' items share."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Matrix = NDArray[np.float32]


def recurring(things: pl.Series, least: int, most: int) -> list[str]:
    """The texts that stand there at least `least` times, the `most` most frequent of them, in alphabetical order."""
    counts = things.drop_nulls().rename("thing").value_counts(name="times").filter(pl.col("times") >= least)
    return sorted(counts.sort(["times", "thing"], descending=[True, False]).head(most)["thing"])


def counts_of(lists: pl.Series, vocabulary: list[str]) -> Any:
    """A sparse matrix (rows, things): how often each thing of the vocabulary stands in the row's list."""
    from scipy.sparse import csr_matrix

    table = pl.DataFrame({"thing": vocabulary, "place": pl.Series(range(len(vocabulary)), dtype=pl.Int32)})
    pairs = lists.to_frame("thing").with_row_index("row").explode("thing").join(table, on="thing")
    counts = pairs.group_by("row", "place").agg(times=pl.len().cast(pl.Float32)).sort("row", "place")
    places = counts["row"].to_numpy(), counts["place"].to_numpy()
    return csr_matrix((counts["times"].to_numpy(), places), (len(lists), len(vocabulary)))


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
