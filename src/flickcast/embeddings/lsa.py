"""Latent semantic analysis of titles and tags: tf-idf of the words, then a truncated singular value decomposition.

It needs no weights: words and components are learned from the texts known when `flickcast encoders fit lsa-text` runs,
or when the stage first finds enough of them. Learning alone takes scikit-learn; a night that has learned imports none.
No label is read, but posts older than that moment are seen through words that only later ones made frequent. The
champion therefore does not read these vectors: it learns its own components from its training rows
(models/reductions.py).
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flickcast.embeddings.fitted import State, TooFewTextsError, corpus, load_state, readable, save_state
from flickcast.embeddings.protocol import Choice, Encoder, Family, Kind, Sample, Vectors

_WORD = re.compile(r"\w{2,}")
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
        self.learned_from = int(state.facts["texts"])
        self._of_words = np.ascontiguousarray(state.arrays["components"].T)  # (words, dimension)
        self.dimension = self._of_words.shape[1]
        self._idf = state.arrays["idf"]  # (words,)
        self._rows = {word: row for row, word in enumerate(state.facts["words"])}

    def prepare(self, sample: Sample) -> list[int]:
        """The rows of the known words in the text's beginning, each as often as it is there."""
        return [self._rows[word] for word in _WORD.findall(readable(sample.text)) if word in self._rows]

    def encode(self, prepared: Sequence[list[int]]) -> Vectors:
        """(texts, dimension), each row summed by itself."""
        found = np.zeros((len(prepared), self.dimension), np.float32)
        for text, rows in enumerate(prepared):
            if rows:
                words, counts = np.unique(rows, return_counts=True)
                weights = (1 + np.log(counts)) * self._idf[words]
                found[text] = (weights / np.linalg.norm(weights)) @ self._of_words[words]
        return found


def fit(texts: Iterable[str | None], folder: Path, choice: Choice) -> None:
    """Learn words and components from one text per post, in any order. TooFewTextsError if too few words recur."""
    from sklearn.decomposition import TruncatedSVD

    known = corpus(texts)
    tfidf = _vectorizer()
    try:
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


def are_common(words: Iterable[str], texts: Iterable[str | None]) -> bool:
    """Whether each of the words is in as many of the texts as one must be in to be learned."""
    counts = Counter(word for text in texts for word in set(_WORD.findall(readable(text))))
    return all(counts[word] >= _MIN_POSTS for word in words)


def build(name: str, choice: Choice) -> Encoder:
    """The encoder with the workspace's state. UserError if there is none or if it was changed."""
    return LsaEncoder(name, load_state(name, choice.root))


def _vectorizer() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        token_pattern=_WORD.pattern,
        sublinear_tf=True,
        lowercase=False,  # `readable` did that
        dtype=np.float32,
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
        },
    )
}
