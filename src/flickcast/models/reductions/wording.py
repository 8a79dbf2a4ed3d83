"""Reduction `wording`: how popular the wording of title and tags lets a post be, by pieces of its words."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from flickcast.models.reductions.latent import inverse_frequency, weighted
from flickcast.models.reductions.pieces import pieces_of
from flickcast.models.reductions.protocol import Arrays, Json, Matrix, Training, out_of_fold
from flickcast.params import Section

STEPS = 40  # of the solver: further ones changed no out-of-fold figure (2026-11-22)


class WordingSettings(Section):
    """One entry of a recipe's `reductions`."""

    kind: Literal["wording"]
    column: Literal["words"] = "words"
    shortest: int = Field(3, ge=1, description="bytes of a piece, the edges of a word counted")
    longest: int = Field(5, ge=1)
    min_posts: int = Field(2, ge=1, description="pieces in fewer posts are left out")
    buckets: int = Field(131_072, ge=2, description="pieces are told apart by a hash of so many values")
    penalty: float = Field(5.0, gt=0, description="of ridge regression, on rows of length 1")
    most_posts: int = Field(50_000, ge=10, description="it learns from the newest so many")
    folds: int = Field(5, ge=2)


@dataclass(frozen=True)
class Wording:
    """Ridge regression of the label on tf-idf of the words' pieces, so that `estespark` knows of `estesparkcolorado`.

    One number instead of thousands of sparse columns: trees can use what words say of a few thousand posts only once
    it has been added up. On SMPD-Video (training part of P3, folds by user) the same trees' mean absolute error fell
    from 1.452 to 1.417 by it.
    """

    makes_codes: ClassVar[bool] = False
    name: str
    column: str
    lengths: tuple[int, int]
    mean: float
    idf: Matrix  # (buckets,)
    effects: Matrix  # (buckets,)

    @property
    def names(self) -> list[str]:
        """Its name alone."""
        return [self.name]

    @classmethod
    def fit(cls, training: Training, name: str, settings: WordingSettings) -> tuple[Self, Matrix] | None:
        """The effects of pieces, and out of fold what they say of the rows; None where too few rows have words."""
        training = training.narrow(settings.column)
        rows = training.rows
        order = rows.select(pl.arg_sort_by("posted_at", "post_id")).to_series().to_numpy()
        order = order[_has_words(rows, settings.column)[order]]
        fold_of = training.folds(settings.folds)
        learnt = [order[-settings.most_posts :]]
        learnt += [order[fold_of[order] != fold][-settings.most_posts :] for fold in range(fold_of.max(initial=0) + 1)]
        counted = np.unique(np.concatenate(learnt))
        if not len(counted):
            return None
        lengths = settings.shortest, settings.longest
        counts = pieces_of(rows[counted][settings.column], *lengths, settings.buckets)  # once for all that learn

        def of(positions: NDArray[np.int64]) -> Self | None:
            return cls._of(rows[positions], counts[np.searchsorted(counted, positions)], name, settings)

        found = of(learnt[0])
        if found is None:
            return None
        own = out_of_fold(training, settings.folds, lambda fold: of(learnt[1 + fold_of[fold][0]]))
        return None if own is None else (found, own)

    @classmethod
    def _of(cls, newest: pl.DataFrame, counts: Any, name: str, settings: WordingSettings) -> Self | None:
        """The effects of pieces on these rows; `counts` (rows, buckets): how often each has them."""
        from scipy.sparse.linalg import lsqr

        if newest.height < 3:
            return None
        posts_with = np.bincount(counts.indices, minlength=settings.buckets)
        idf = inverse_frequency(posts_with, newest.height) * (posts_with >= settings.min_posts)
        labels = newest["popularity"].to_numpy()
        mean = float(labels.mean())
        used = np.flatnonzero(idf)
        matrix = weighted(counts, idf)[:, used].astype(np.float64)
        effects = np.zeros(settings.buckets, np.float32)
        effects[used] = lsqr(matrix, labels - mean, damp=np.sqrt(settings.penalty), iter_lim=STEPS)[0]
        lengths = settings.shortest, settings.longest
        return cls(name, settings.column, lengths, mean, idf.astype(np.float32), effects)

    def transform(self, rows: pl.DataFrame) -> Matrix:
        """(rows, 1): the popularity by its words alone; NaN where a row has none."""
        found = np.full((rows.height, 1), np.nan, np.float32)
        there = _has_words(rows, self.column)
        counts = pieces_of(rows.filter(there)[self.column], *self.lengths, len(self.idf))
        found[there, 0] = self.mean + weighted(counts, self.idf) @ self.effects
        return found

    def facts(self) -> Json:
        """Kind, column, lengths of pieces, and the mean of all labels."""
        return {"kind": "wording", "column": self.column, "lengths": list(self.lengths), "mean": self.mean}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """idf and effects, (buckets,) each."""
        return {"idf": self.idf, "effects": self.effects}

    @classmethod
    def restore(cls, name: str, facts: Json, arrays: Arrays) -> Self:
        """The same reduction from its facts and arrays."""
        shortest, longest = facts["lengths"]
        return cls(name, facts["column"], (shortest, longest), facts["mean"], arrays["idf"], arrays["effects"])


def _has_words(rows: pl.DataFrame, column: str) -> NDArray[np.bool_]:
    if column not in rows.columns:
        return np.zeros(rows.height, bool)
    return rows[column].str.contains(r"\w").fill_null(False).to_numpy()
