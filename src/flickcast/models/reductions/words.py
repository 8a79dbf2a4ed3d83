"""Reduction `words`: latent semantic analysis of title and tags."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from flickcast.models.reductions.latent import components, counts_of, inverse_frequency, recurring, weighted
from flickcast.models.reductions.protocol import Arrays, Json, Matrix, Training, numbered
from flickcast.params import Section


class WordSettings(Section):
    """One entry of a recipe's `reductions`."""

    kind: Literal["words"]
    column: Literal["words"] = "words"
    dimensions: int = Field(ge=1)
    min_posts: int = Field(3, ge=1, description="words in fewer posts are left out")
    max_words: int = Field(20_000, ge=1)


@dataclass(frozen=True)
class Words:
    """Latent semantic analysis: tf-idf of the words, then a truncated singular value decomposition."""

    makes_codes: ClassVar[bool] = False
    name: str
    column: str
    vocabulary: list[str]
    idf: Matrix  # (words,)
    components: Matrix  # (dimensions, words)

    @property
    def names(self) -> list[str]:
        """title_tags_1, title_tags_2, ..."""
        return numbered(self.name, len(self.components))

    @classmethod
    def fit(cls, training: Training, name: str, settings: WordSettings) -> tuple[Self, Matrix] | None:
        """Vocabulary and components of these rows' words; None if too few words recur."""
        rows = training.everything
        words = _words(rows[settings.column])
        vocabulary = recurring(words.list.unique().explode(), settings.min_posts, settings.max_words)
        if len(vocabulary) < 3 or rows.height < 3:
            return None
        counts = counts_of(words, vocabulary)
        idf = inverse_frequency(np.bincount(counts.indices, minlength=len(vocabulary)), rows.height)
        found = components(weighted(counts, idf), settings.dimensions, training.seed)
        reduction = cls(name, settings.column, vocabulary, idf, found)
        return reduction, reduction.transform(training.rows)

    def transform(self, rows: pl.DataFrame) -> Matrix:
        """Coordinates along the components; zero for a row none of whose words is known."""
        counts = weighted(counts_of(_words(rows[self.column]), self.vocabulary), self.idf)
        return np.asarray(counts @ self.components.T, np.float32)

    def facts(self) -> Json:
        """Kind, column and vocabulary."""
        return {"kind": "words", "column": self.column, "vocabulary": self.vocabulary}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """idf (words,) and components (dimensions, words)."""
        return {"idf": self.idf, "components": self.components}

    @classmethod
    def restore(cls, name: str, facts: Json, arrays: Arrays) -> Self:
        """The same reduction from its facts and arrays."""
        return cls(name, facts["column"], facts["vocabulary"], arrays["idf"], arrays["components"])


def _words(texts: pl.Series) -> pl.Series:
    """The words of each text, in small letters; one letter alone is none."""
    return texts.str.to_lowercase().str.extract_all(r"\w{2,}")
