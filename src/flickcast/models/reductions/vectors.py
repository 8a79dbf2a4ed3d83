"""Reduction `vectors`: principal components of picture or text vectors."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from flickcast.models.reductions.protocol import Arrays, Json, Matrix, Training, numbered
from flickcast.params import Section


class VectorSettings(Section):
    """One entry of a recipe's `reductions`."""

    kind: Literal["vectors"]
    column: str = Field(description="picture, text, or an encoder such as RN101-picture")
    dimensions: int = Field(ge=1)


@dataclass(frozen=True)
class Vectors:
    """Principal components of the vectors in a list column."""

    makes_codes: ClassVar[bool] = False
    name: str
    column: str
    mean: Matrix  # (width,)
    components: Matrix  # (dimensions, width)

    @property
    def names(self) -> list[str]:
        """picture_1, picture_2, ..."""
        return numbered(self.name, len(self.components))

    @classmethod
    def fit(cls, training: Training, name: str, settings: VectorSettings) -> tuple[Self, Matrix] | None:
        """Components of the rows that have a vector; None if they are too few to span a plane."""
        _, vectors = vectors_in(training.everything, settings.column)
        if len(vectors) < 3:
            return None
        reduction = cls(name, settings.column, *principal_components(vectors, settings.dimensions))
        return reduction, reduction.transform(training.rows)

    def transform(self, rows: pl.DataFrame) -> Matrix:
        """Coordinates along the components; NaN for a row without a vector or with one of another length."""
        return scattered(*reduced(rows, self.column, self.mean, self.components))

    def facts(self) -> Json:
        """Kind and column."""
        return {"kind": "vectors", "column": self.column}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """mean (width,) and components (dimensions, width)."""
        return {"mean": self.mean, "components": self.components}

    @classmethod
    def restore(cls, name: str, facts: Json, arrays: Arrays) -> Self:
        """The same reduction from its facts and arrays."""
        return cls(name, facts["column"], arrays["mean"], arrays["components"])


def holds_vectors(rows: pl.DataFrame, column: str) -> bool:
    """Whether there is such a column, and it holds lists of numbers: not tags, nor a title."""
    kind = rows.schema.get(column)
    return isinstance(kind, pl.List) and kind.inner.is_numeric()


def vectors_in(rows: pl.DataFrame, column: str, width: int | None = None) -> tuple[NDArray[np.bool_], Matrix]:
    """Which rows have a finite vector of this width (None: of the widest), and those vectors (n, width)."""
    if not holds_vectors(rows, column):
        return np.zeros(rows.height, bool), np.empty((0, width or 0), np.float32)
    lengths = rows[column].list.len().fill_null(0)
    wanted = int(width or lengths.max() or 0)  # type: ignore[arg-type]
    usable = ((lengths == wanted) & (lengths > 0)).to_numpy().copy()
    if not usable.any():
        return usable, np.empty((0, wanted), np.float32)
    some = rows[column] if usable.all() else rows[column].filter(pl.Series(usable))
    vectors = some.cast(pl.List(pl.Float32)).list.to_array(wanted).to_numpy()
    finite = np.isfinite(vectors.sum(axis=1))  # a sum of finite float32 numbers of this size is finite
    if finite.all():
        return usable, vectors
    usable[usable] = finite
    return usable, vectors[finite]


def principal_components(vectors: Matrix, dimensions: int) -> tuple[Matrix, Matrix]:
    """mean (width,) and components (at most `dimensions`, width) of vectors (n, width)."""
    from sklearn.decomposition import PCA

    pca = PCA(min(dimensions, len(vectors) - 1, vectors.shape[1]), svd_solver="covariance_eigh").fit(vectors)
    return pca.mean_.astype(np.float32), pca.components_.astype(np.float32)


def reduced(rows: pl.DataFrame, column: str, mean: Matrix, components: Matrix) -> tuple[NDArray[np.bool_], Matrix]:
    """Which rows have a vector, and the coordinates of those along the components."""
    usable, vectors = vectors_in(rows, column, len(mean))
    return usable, np.asarray((vectors - mean) @ components.T, np.float32)


def scattered(usable: NDArray[np.bool_], values: Matrix) -> Matrix:
    """Values (n, width) of the usable rows among all rows; NaN in the others."""
    columns = np.full((len(usable), values.shape[1]), np.nan, np.float32)
    columns[usable] = values
    return columns
