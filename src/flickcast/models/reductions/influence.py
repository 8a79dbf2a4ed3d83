"""Reduction `influence`: how far a user reaches, as levels of follower counts."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from flickcast.models.reductions.protocol import Arrays, Json, Matrix, Training
from flickcast.params import Section


class InfluenceSettings(Section):
    """One entry of a recipe's `reductions`."""

    kind: Literal["influence"]
    column: str = Field("log_followers", description="of the matrix")
    levels: int = Field(40, ge=2)


@dataclass(frozen=True)
class Influence:
    """k-means of the followers of all posts' users, 40 levels (PPCL 2024, section 5.3), on a log scale."""

    makes_codes: ClassVar[bool] = False
    name: str
    column: str
    centres: NDArray[np.float64]  # (levels,) in ascending order

    @property
    def names(self) -> list[str]:
        """The level (0 for the fewest followers) and the distance from its centre."""
        return [f"{self.name}_level", f"{self.name}_distance"]

    @classmethod
    def fit(cls, training: Training, name: str, settings: InfluenceSettings) -> tuple[Self, Matrix] | None:
        """Levels of the rows that have a count; None where there are fewer than two different ones."""
        rows = training.everything
        values, weights = np.unique(_values(rows, settings.column), return_counts=True)
        finite = np.isfinite(values)
        if finite.sum() < 2:
            return None
        centres = centres_of(values[finite], weights[finite], settings.levels, training.seed)
        made = cls(name, settings.column, centres)
        return made, made.transform(training.rows)

    def transform(self, rows: pl.DataFrame) -> Matrix:
        """The nearest centre's place and how far the count lies above it; NaN without a count."""
        values = _values(rows, self.column)
        known = np.isfinite(values)
        level = np.searchsorted((self.centres[1:] + self.centres[:-1]) / 2, values)
        columns = np.column_stack([level, values - self.centres[level]]).astype(np.float32)
        columns[~known] = np.nan
        return columns

    def facts(self) -> Json:
        """Kind and column."""
        return {"kind": "influence", "column": self.column}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The centres."""
        return {"centres": self.centres}

    @classmethod
    def restore(cls, name: str, facts: Json, arrays: Arrays) -> Self:
        """The same reduction from its facts and arrays."""
        return cls(name, facts["column"], arrays["centres"])


def _values(rows: pl.DataFrame, column: str) -> NDArray[np.float64]:
    if column not in rows.columns:
        return np.full(rows.height, np.nan)
    return rows[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def centres_of(values: NDArray[np.float64], weights: NDArray[np.int64], levels: int, seed: int) -> NDArray[np.float64]:
    """k-means of the distinct values (n,), ascending: the same as of all of them, and no order of rows in it."""
    from sklearn.cluster import KMeans

    if levels >= len(values):
        return values
    means = KMeans(levels, random_state=seed, n_init=1).fit(values[:, None], sample_weight=weights)
    return np.unique(means.cluster_centers_[:, 0])
