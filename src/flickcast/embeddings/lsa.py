"""Latent semantic analysis of titles and tags: tf-idf of the words, then a truncated singular value decomposition.

It needs no weights: words and components are learned from the texts known when `flickcast encoders fit lsa-text` runs,
or when the stage first finds enough of them. No label is read, but posts older than that moment are seen through words
that only later ones made frequent. The champion therefore does not read these vectors: it learns its own components
from its training rows (models/reductions.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flickcast.embeddings.fitted import (
    LEAST_TEXTS,
    State,
    TooFewTextsError,
    corpus,
    is_fitted,
    load_state,
    readable,
    save_state,
)
from flickcast.embeddings.protocol import Choice, Encoder, Family, Kind, Sample, Vectors

_MOST_DIMENSIONS = 64
_MIN_POSTS = 3  # words in fewer posts are left out
_MOST_WORDS = 20_000


class LsaEncoder:
    """Coordinates of a text along the components; zero where none of its words is known, or there is no text."""

    reads: tuple[Kind, ...] = ("text",)
    shortest_edge: int | None = None

    def __init__(self, name: str, state: State) -> None:
        self.name = name
        self.version = state.version
        self._components = state.arrays["components"]  # (dimensions, words)
        self.dimension = len(self._components)
        self._tfidf = _vectorizer({word: row for row, word in enumerate(state.facts["words"])})
        self._tfidf.idf_ = state.arrays["idf"]  # (words,)

    def prepare(self, sample: Sample) -> str:
        """The text's beginning in lower case."""
        return readable(sample.text)

    def encode(self, prepared: Sequence[str]) -> Vectors:
        """(texts, dimension). A sparse row times the components is summed by itself, whatever the other rows are."""
        if not prepared:
            return np.empty((0, self.dimension), np.float32)
        return np.asarray(self._tfidf.transform(prepared) @ self._components.T, np.float32)


def fit(texts: Iterable[str | None], folder: Path, choice: Choice) -> None:
    """Learn words and components from one text per post, in any order. TooFewTextsError if too few words recur."""
    from sklearn.decomposition import TruncatedSVD

    known = corpus(texts)
    try:
        tfidf = _vectorizer(None)
        weighted = tfidf.fit_transform(known)
    except ValueError:  # no word is in _MIN_POSTS texts
        raise TooFewTextsError(_too_few(0)) from None
    words = list(tfidf.get_feature_names_out())
    if len(words) < 3:
        raise TooFewTextsError(_too_few(len(words)))
    dimensions = min(_MOST_DIMENSIONS, len(words) - 1)
    svd = TruncatedSVD(dimensions, n_iter=3, random_state=0).fit(weighted)
    arrays = {"idf": tfidf.idf_.astype(np.float32), "components": svd.components_.astype(np.float32)}
    save_state(folder, {"kind": "lsa", "texts": len(known), "words": words}, arrays)


def build(name: str, choice: Choice) -> Encoder:
    """The encoder with the workspace's state. UserError if there is none or if it was changed."""
    return LsaEncoder(name, load_state(name, choice.root))


def _vectorizer(vocabulary: Mapping[str, int] | None) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        token_pattern=r"\w{2,}",
        sublinear_tf=True,
        lowercase=False,  # `readable` did that
        dtype=np.float32,
        vocabulary=vocabulary,
        min_df=_MIN_POSTS,
        max_features=_MOST_WORDS,
    )


def _too_few(words: int) -> str:
    return f"Latent semantic analysis needs 3 words that are each in {_MIN_POSTS} posts or more; there are {words}."


FAMILIES = {
    "lsa-text": Family(
        build,
        meaning="title and tags by latent semantic analysis, learned from the corpus",
        facts={
            "reads": ("text",),
            "text": "words",
            "fit": fit,
            "least_texts": LEAST_TEXTS,
            "here": lambda choice: is_fitted("lsa-text", choice.root),
        },
    )
}
