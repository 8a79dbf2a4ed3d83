"""Long inputs made short: picture and text vectors by principal components, words by latent semantic analysis."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from flickcast.params import Section

Json = dict[str, Any]
Matrix = NDArray[np.float32]


class ReductionSettings(Section):
    """One entry of a recipe's `reductions`."""

    kind: Literal["vectors", "words"]
    column: Literal["picture", "text", "words"]
    dimensions: int = Field(ge=1)
    min_posts: int = Field(3, ge=1, description="words in fewer posts are left out")
    max_words: int = Field(20_000, ge=1)


class Reduction(Protocol):
    """Fitted on training rows; turns rows into a few float32 columns, NaN where a row has no input."""

    @property
    def names(self) -> list[str]:
        """The columns it makes."""
        ...

    def transform(self, rows: pl.DataFrame) -> Matrix:
        """Shape (rows, len(names))."""
        ...

    def facts(self) -> Json:
        """All but the arrays, as JSON."""
        ...

    def arrays(self) -> dict[str, Matrix]:
        """Its matrices."""
        ...

    @classmethod
    def fit(cls, rows: pl.DataFrame, name: str, settings: ReductionSettings, seed: int) -> "Reduction | None":
        """Learn from the rows; None where they have no input for it."""
        ...

    @classmethod
    def restore(cls, name: str, facts: Json, arrays: Mapping[str, Matrix]) -> "Reduction":
        """The same reduction from its facts and arrays."""
        ...


@dataclass(frozen=True)
class VectorReduction:
    """Principal components of the vectors in a list column."""

    name: str
    column: str
    mean: Matrix  # (width,)
    components: Matrix  # (dimensions, width)

    @property
    def names(self) -> list[str]:
        """picture_1, picture_2, ..."""
        return _numbered(self.name, len(self.components))

    @classmethod
    def fit(cls, rows: pl.DataFrame, name: str, settings: ReductionSettings, seed: int) -> Self | None:
        """Components of the rows that have a vector; None if they are too few to span a plane."""
        from sklearn.decomposition import PCA

        vectors = rows[settings.column].drop_nulls() if settings.column in rows.columns else pl.Series([])
        if len(vectors) < 3:
            return None
        matrix = np.stack(vectors.to_list()).astype(np.float32)
        dimensions = min(settings.dimensions, len(matrix) - 1, matrix.shape[1])
        pca = PCA(dimensions, svd_solver="covariance_eigh").fit(matrix)
        return cls(name, settings.column, pca.mean_.astype(np.float32), pca.components_.astype(np.float32))

    def transform(self, rows: pl.DataFrame) -> Matrix:
        """Coordinates along the components; NaN for a row without a vector or with one of another length."""
        reduced = np.full((rows.height, len(self.components)), np.nan, np.float32)
        if self.column in rows.columns:
            usable = (rows[self.column].list.len() == len(self.mean)).fill_null(False)
            if usable.any():
                vectors = np.stack(rows[self.column].filter(usable).to_list()).astype(np.float32)
                reduced[usable.to_numpy()] = (vectors - self.mean) @ self.components.T
        return reduced

    def facts(self) -> Json:
        """Kind and column."""
        return {"kind": "vectors", "column": self.column}

    def arrays(self) -> dict[str, Matrix]:
        """mean (width,) and components (dimensions, width)."""
        return {"mean": self.mean, "components": self.components}

    @classmethod
    def restore(cls, name: str, facts: Json, arrays: Mapping[str, Matrix]) -> Self:
        """The same reduction from its facts and arrays."""
        return cls(name, facts["column"], arrays["mean"], arrays["components"])


@dataclass(frozen=True)
class WordReduction:
    """Latent semantic analysis: tf-idf of the words, then a truncated singular value decomposition."""

    name: str
    column: str
    vocabulary: list[str]
    idf: Matrix  # (words,)
    components: Matrix  # (dimensions, words)

    @property
    def names(self) -> list[str]:
        """title_tags_1, title_tags_2, ..."""
        return _numbered(self.name, len(self.components))

    @classmethod
    def fit(cls, rows: pl.DataFrame, name: str, settings: ReductionSettings, seed: int) -> Self | None:
        """Vocabulary and components of these rows' words; None if too few words recur."""
        from sklearn.decomposition import TruncatedSVD

        vocabulary = _recurring(rows[settings.column], settings)
        if len(vocabulary) < 3 or rows.height < 3:
            return None
        counts = _counts(rows[settings.column], vocabulary)
        posts_with_word = np.bincount(counts.indices, minlength=len(vocabulary))
        idf = (np.log((1 + rows.height) / (1 + posts_with_word)) + 1).astype(np.float32)
        dimensions = min(settings.dimensions, len(vocabulary) - 1, rows.height - 1)
        svd = TruncatedSVD(dimensions, n_iter=3, random_state=seed).fit(_weighted(counts, idf))
        return cls(name, settings.column, vocabulary, idf, svd.components_.astype(np.float32))

    def transform(self, rows: pl.DataFrame) -> Matrix:
        """Coordinates along the components; zero for a row none of whose words is known."""
        weighted = _weighted(_counts(rows[self.column], self.vocabulary), self.idf)
        return np.asarray(weighted @ self.components.T, np.float32)

    def facts(self) -> Json:
        """Kind, column and vocabulary."""
        return {"kind": "words", "column": self.column, "vocabulary": self.vocabulary}

    def arrays(self) -> dict[str, Matrix]:
        """idf (words,) and components (dimensions, words)."""
        return {"idf": self.idf, "components": self.components}

    @classmethod
    def restore(cls, name: str, facts: Json, arrays: Mapping[str, Matrix]) -> Self:
        """The same reduction from its facts and arrays."""
        return cls(name, facts["column"], facts["vocabulary"], arrays["idf"], arrays["components"])


REDUCTIONS: dict[str, type[Reduction]] = {"vectors": VectorReduction, "words": WordReduction}


def _numbered(name: str, count: int) -> list[str]:
    return [f"{name}_{number}" for number in range(1, count + 1)]


def _recurring(texts: pl.Series, settings: ReductionSettings) -> list[str]:
    """The words of at least `min_posts` texts, the most frequent `max_words` of them, in alphabetical order."""
    words = texts.str.to_lowercase().str.extract_all(r"\w{2,}").list.unique().explode().drop_nulls().rename("word")
    counts = words.value_counts(name="posts").filter(pl.col("posts") >= settings.min_posts)
    return sorted(counts.sort(["posts", "word"], descending=[True, False]).head(settings.max_words)["word"])


def _counts(texts: pl.Series, vocabulary: list[str]) -> Any:
    """A sparse matrix (texts, words) of counts."""
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(vocabulary=vocabulary, token_pattern=r"\w{2,}", dtype=np.float32)
    return vectorizer.transform(texts.fill_null("").to_list())


def _weighted(counts: Any, idf: Matrix) -> Any:
    """Counts on a log scale times idf, each row of length 1."""
    from sklearn.preprocessing import normalize

    weighted = counts.copy()
    weighted.data = (1 + np.log(weighted.data)) * idf[weighted.indices]
    return normalize(weighted)
