"""Reduction `nearest`: how popular the most alike earlier posts of others were, as far as was known at the time."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from flickcast.models.reductions.owners import Salt, microseconds, owners, salt_of
from flickcast.models.reductions.protocol import Arrays, Json, Matrix, Training, out_of_fold
from flickcast.models.reductions.search import Events, first_of_newest, nearest_before
from flickcast.models.reductions.vectors import principal_components, reduced, scattered, vectors_in
from flickcast.params import Section

MEASURES = ("mean", "weighted_mean", "deviation", "similarity", "found")
LEAST_WEIGHT = 1e-3


class NearestSettings(Section):
    """One entry of a recipe's `reductions`."""

    kind: Literal["nearest"]
    column: Literal["picture", "text"]
    dimensions: int = Field(64, ge=1, description="vectors are reduced to so many before they are compared")
    neighbours: int = Field(20, ge=1)
    most_posts: int = Field(
        25_000, ge=1, description="only so many posts are looked through, those whose labels became known last before"
    )
    folds: int = Field(5, ge=2)


@dataclass(frozen=True)
class Nearest:
    """Training posts with their labels, searched exactly: by cosine, strictly earlier, never one of the same user.

    Each row looks through the `most_posts` posts whose labels became known last before it (and those that became known
    together with the oldest of them), so the time of training grows with the number of rows and not with its square;
    a model keeps the newest so many. Posts that are as alike as the last neighbour count in equal shares.

    The posts of a training row's own user are in its fold and so out of its sight; for a new row they are passed over
    as well, so that the columns mean the same for both. What a user's own posts tell is in other feature groups.
    """

    makes_codes: ClassVar[bool] = False
    name: str
    column: str
    neighbours: int
    most_posts: int
    mean: Matrix  # (width,)
    components: Matrix  # (dimensions, width)
    vectors: NDArray[np.float16]  # (posts, dimensions), of length 1; sorted by the moment a label became known
    labels: Matrix  # (posts,)
    known_at: NDArray[np.int64]  # (posts,) microseconds
    owners: NDArray[np.int64]  # (posts,)
    salt: Salt  # of the owners

    @property
    def names(self) -> list[str]:
        """mean, weighted_mean, deviation, similarity, found (after the reduction's name)."""
        return [f"{self.name}_{measure}" for measure in MEASURES]

    @classmethod
    def fit(cls, training: Training, name: str, settings: NearestSettings) -> tuple[Self, Matrix] | None:
        """All training posts with a vector, and the rows' own columns out of fold; None where there are too few."""
        training = training.narrow(settings.column)
        made = cls.fit_all(training, name, settings)
        if made is None:
            return None
        users = owners(training.rows["user_id"], made.salt)
        own = out_of_fold(training, settings.folds, lambda fold: made._of_posts(~np.isin(made.owners, users[fold])))
        newest = np.arange(len(made.known_at)) >= first_of_newest(made.known_at, settings.most_posts)
        return None if own is None else (made._of_posts(newest), own)

    @classmethod
    def fit_all(cls, training: Training, name: str, settings: NearestSettings) -> Self | None:
        """All training rows that have a vector and a label, old ones too."""
        rows = training.rows.filter(pl.col("label_known_at").is_not_null()).sort("label_known_at", "post_id")
        _, vectors = vectors_in(rows, settings.column)
        if len(vectors) < 3:
            return None
        mean, components = principal_components(vectors, settings.dimensions)
        usable, coordinates = reduced(rows, settings.column, mean, components)
        kept = rows.filter(pl.Series(usable))
        salt = salt_of(kept["user_id"], training.seed)
        return cls(
            name,
            settings.column,
            settings.neighbours,
            settings.most_posts,
            mean,
            components,
            _unit(coordinates).astype(np.float16),
            kept["popularity"].to_numpy().astype(np.float32),
            microseconds(kept["label_known_at"]),
            owners(kept["user_id"], salt),
            salt,
        )

    def _of_posts(self, kept: NDArray[np.bool_]) -> Self:
        """The same, as if it had met these posts alone; how vectors are reduced has to do with no label."""
        parts = {name: getattr(self, name)[kept] for name in ("vectors", "labels", "known_at", "owners")}
        return replace(self, **parts)

    def transform(self, rows: pl.DataFrame) -> Matrix:
        """NaN without a vector; without any earlier neighbour `found` is 0 and the rest NaN."""
        usable, coordinates = reduced(rows, self.column, self.mean, self.components)
        asked = rows.select("posted_at", "user_id").filter(pl.Series(usable))
        queries = Events(_unit(coordinates), microseconds(asked["posted_at"]), owners(asked["user_id"], self.salt))
        known = Events(self.vectors.astype(np.float32), self.known_at, self.owners)
        labels = self.labels.astype(np.float64)
        values = np.column_stack([labels, labels**2])
        cosines, found = nearest_before(queries, known, values, self.neighbours, self.most_posts)
        return scattered(usable, _measures(cosines, found[..., 0], found[..., 1]))

    def facts(self) -> Json:
        """Kind, column, how many neighbours are asked, and of how many posts."""
        return {
            "kind": "nearest",
            "column": self.column,
            "neighbours": self.neighbours,
            "most_posts": self.most_posts,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Its mean, components, vectors, labels, known_at, owners and salt."""
        names = ("mean", "components", "vectors", "labels", "known_at", "owners", "salt")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def restore(cls, name: str, facts: Json, arrays: Arrays) -> Self:
        """The same reduction from its facts and arrays."""
        return cls(name, facts["column"], facts["neighbours"], facts["most_posts"], **arrays)


def _unit(vectors: Matrix) -> Matrix:
    """Of length 1; a vector of length 0 stays as it is and is like nothing."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)


def _measures(cosines: Matrix, labels: NDArray[np.float64], squares: NDArray[np.float64]) -> Matrix:
    """(n, 5) of cosines (n, k), -inf without a neighbour, and of the neighbours' labels and their squares (n, k)."""
    there = np.isfinite(cosines)
    found = there.sum(axis=1)
    weights = np.where(there, np.maximum(cosines, LEAST_WEIGHT), 0)
    some, several = np.where(found > 0, found, np.nan), np.where(found > 1, found, np.nan)
    mean = (there * labels).sum(axis=1) / some
    weighted = (weights * labels).sum(axis=1) / np.where(found > 0, weights.sum(axis=1), np.nan)
    variance = np.maximum((there * squares).sum(axis=1) / several - mean**2, 0)
    nearest = np.where(found > 0, cosines.max(axis=1, initial=-np.inf), np.nan)
    return np.column_stack([mean, weighted, np.sqrt(variance), nearest, found]).astype(np.float32)
