"""Reduction `clusters`: classes of pictures or texts at several levels, found in their vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from flickcast.models.reductions.protocol import Arrays, Json, Matrix, Training, numbered
from flickcast.models.reductions.vectors import principal_components, reduced, scattered, vectors_in
from flickcast.params import Section

POSTS_PER_CLUSTER = 5  # on average, at least


class ClusterSettings(Section):
    """One entry of a recipe's `reductions`."""

    kind: Literal["clusters"]
    column: Literal["picture", "text"]
    dimensions: int = Field(32, ge=1, description="vectors are reduced to so many before they are compared")
    levels: list[int] = Field([8, 32, 128], min_length=1, description="how many clusters, from coarse to fine")


@dataclass(frozen=True)
class Clusters:
    """Clusters by k-means, merged into coarser ones by Ward's method (HyperFusion 2025, section 3.3: hierarchical).

    The hierarchy is built on the finest clusters' centres: on all posts it would need all their distances.
    """

    makes_codes: ClassVar[bool] = True
    name: str
    column: str
    mean: Matrix  # (width,)
    components: Matrix  # (dimensions, width)
    centres: Matrix  # (finest, dimensions)
    levels: NDArray[np.int32]  # (levels, finest): the code of each finest cluster at each level

    @property
    def names(self) -> list[str]:
        """picture_clusters_1 (the coarsest), picture_clusters_2, ..."""
        return numbered(self.name, len(self.levels))

    @classmethod
    def fit(cls, training: Training, name: str, settings: ClusterSettings) -> tuple[Self, Matrix] | None:
        """Clusters of all posts with a vector; None if they are too few for two."""
        _, vectors = vectors_in(training.everything, settings.column)
        if len(vectors) < 2 * POSTS_PER_CLUSTER:
            return None
        vectors = _by_content(vectors)
        mean, components = principal_components(vectors, settings.dimensions)
        coordinates = np.asarray((vectors - mean) @ components.T, np.float32)
        centres = _centres(coordinates, max(settings.levels), training.seed)
        if len(centres) < 2:
            return None
        made = cls(name, settings.column, mean, components, centres, _merged(centres, settings.levels))
        return made, made.transform(training.rows)

    def transform(self, rows: pl.DataFrame) -> Matrix:
        """The codes (1, 2, ...) of the nearest centre at each level, NaN without a vector."""
        usable, coordinates = reduced(rows, self.column, self.mean, self.components)
        distances = (self.centres**2).sum(axis=1) - 2 * coordinates @ self.centres.T
        return scattered(usable, self.levels.T[distances.argmin(axis=1)].astype(np.float32))

    def facts(self) -> Json:
        """Kind and column."""
        return {"kind": "clusters", "column": self.column}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """mean, components, centres and levels."""
        return {name: getattr(self, name) for name in ("mean", "components", "centres", "levels")}

    @classmethod
    def restore(cls, name: str, facts: Json, arrays: Arrays) -> Self:
        """The same reduction from its facts and arrays."""
        return cls(name, facts["column"], **arrays)


def _by_content(vectors: Matrix) -> Matrix:
    """In an order that the rows' ids and places have no part in, on which mini-batches would otherwise depend."""
    direction = np.random.default_rng(0).normal(size=vectors.shape[1])
    return vectors[np.argsort(np.einsum("ij,j->i", vectors, direction), kind="stable")]


def _centres(coordinates: Matrix, most: int, seed: int) -> Matrix:
    """(clusters, dimensions), fewer than `most` where there are few posts."""
    from sklearn.cluster import MiniBatchKMeans

    count = min(most, len(coordinates) // POSTS_PER_CLUSTER)
    means = MiniBatchKMeans(count, random_state=seed, n_init=1, batch_size=4096).fit(coordinates)
    return np.unique(means.cluster_centers_.astype(np.float32), axis=0)


def _merged(centres: Matrix, levels: Sequence[int]) -> NDArray[np.int32]:
    """(levels, clusters): at each level, from coarse to fine, the code of the class that a cluster belongs to."""
    from sklearn.cluster import AgglomerativeClustering

    def at(level: int) -> NDArray[np.int32]:
        if level >= len(centres):
            return np.arange(1, len(centres) + 1, dtype=np.int32)
        return np.asarray(AgglomerativeClustering(level).fit_predict(centres) + 1, np.int32)

    return np.stack([at(level) for level in sorted(levels)])
