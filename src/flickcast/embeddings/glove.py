"""Texts as the mean of their words' GloVe vectors: in 20 dimensions, as FAME (2025, section 3.1) has title and tags,
or as long as they are in the file, as HyperFusion (2025) has them.

The vectors come from a file in the authors' text format (glove.6B.300d.txt) that the user brings. It is read when the
state is learned and not again: the mean of words is linear, so that each word's vector is projected once and a state
holds all of them in 20 dimensions, 32 MB for 400,000 words. A worker elsewhere needs the state alone.

The 20 directions are learned from the texts known when `flickcast encoders fit glove-text` runs, or when the stage
first finds enough of them. No label is read, but posts older than that moment are seen along directions that later ones
helped to choose. The whole vectors depend on no text: their state is the file's content in float16 (240 MB for 400,000
words of 300), one for all that is read with it.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flickcast.embeddings.fitted import (
    Matrix,
    State,
    TooFewTextsError,
    corpus,
    load_state,
    readable,
    save_state,
    upright,
)
from flickcast.embeddings.protocol import Choice, Encoder, Family, Kind, Sample, Vectors
from flickcast.errors import UserError

REDUCED, WHOLE = "glove-text", "glove300-text"
_DIMENSIONS = 20
_WORD = re.compile(r"[^\W_]+")
_LINES = 5000  # parsed at a time: 14 MB of text
_MOST_BYTES = 1_000_000  # of a line; a longer one is none


class GloveEncoder:
    """The mean of the known words' projected vectors; zero where no word is known, or there is no text."""

    reads: tuple[Kind, ...] = ("text",)
    shortest_edge: int | None = None

    def __init__(self, name: str, state: State) -> None:
        self.name = name
        self.version = state.version
        self.learned_from: int | None = state.facts.get("texts")
        self._vectors = state.arrays["vectors"]  # (words, dimension)
        self.dimension = self._vectors.shape[1]
        self._rows = {word: row for row, word in enumerate(state.facts["words"])}

    def prepare(self, sample: Sample) -> list[int]:
        """The rows of the text's known words, in their order."""
        return _known(readable(sample.text), self._rows)

    def encode(self, prepared: Sequence[list[int]]) -> Vectors:
        """(texts, dimension), each row summed by itself."""
        found = np.zeros((len(prepared), self.dimension), np.float32)
        for text, rows in enumerate(prepared):
            if rows:
                found[text] = self._vectors[rows].mean(axis=0, dtype=np.float64)
        return found


def fit(texts: Iterable[str | None], folder: Path, choice: Choice) -> None:
    """Learn the directions from one text per post, in any order, and project the file's vectors on them.

    UserError without a file or with one that is damaged; TooFewTextsError if the texts have too few of its words.
    """
    known = corpus(texts)
    path = _file(choice, REDUCED)
    used = {word for text in known for word in _WORD.findall(text)}
    rows: dict[str, int] = {}
    kept: list[Matrix] = []
    for words, vectors in _blocks(path):
        places = [place for place, word in enumerate(words) if word in used]
        kept.append(vectors[places][_new([words[place] for place in places], rows)])
    components = _components(known, rows, np.concatenate(kept))
    words, projected = _projected(path, components)
    facts = {"kind": "glove", "file_sha256": _sha256(path), "texts": len(known), "words": words}
    save_state(folder, facts, {"vectors": projected, "components": components})


def take_whole(texts: Iterable[str | None], folder: Path, choice: Choice) -> None:
    """Keep the file's vectors as they are, whatever the texts. UserError without a file or with one that is damaged."""
    path = _file(choice, WHOLE)
    rows: dict[str, int] = {}
    vectors = [found[_new(words, rows)].astype(np.float16) for words, found in _blocks(path)]
    facts = {"kind": "glove", "file_sha256": _sha256(path), "words": list(rows)}
    save_state(folder, facts, {"vectors": np.concatenate(vectors)})


def build(name: str, choice: Choice) -> Encoder:
    """The encoder with the workspace's state. UserError if there is none or if it was changed."""
    return GloveEncoder(name, load_state(name, choice.root))


def _known(text: str, rows: dict[str, int]) -> list[int]:
    return [rows[word] for word in _WORD.findall(text) if word in rows]


def _components(texts: list[str], rows: dict[str, int], vectors: Matrix) -> Matrix:
    """The 20 leading right singular vectors of the texts' means (20, width), not centred, as in the paper."""
    width = vectors.shape[1]
    products = np.zeros((width, width))
    means = (vectors[found].mean(axis=0, dtype=np.float64) for text in texts if (found := _known(text, rows)))
    count = 0
    while some := list(islice(means, 1000)):
        products += np.stack(some).T @ np.stack(some)
        count += len(some)
    if count < _DIMENSIONS or width < _DIMENSIONS:
        raise TooFewTextsError(
            f"GloVe needs {_DIMENSIONS} texts with a known word, and vectors as long; "
            f"there are {count} texts, and vectors of {width}."
        )
    directions: NDArray[np.float64] = np.linalg.eigh(products).eigenvectors[:, ::-1]
    return upright(directions[:, :_DIMENSIONS].T)


def _projected(path: Path, components: Matrix) -> tuple[list[str], Matrix]:
    """All words of the file, and their vectors along the components (words, 20)."""
    rows: dict[str, int] = {}
    found = [vectors[_new(words, rows)] @ components.T for words, vectors in _blocks(path)]
    return list(rows), np.concatenate(found)


def _new(words: list[str], rows: dict[str, int]) -> list[int]:
    """Places of the words that have no row yet, which they get: of a word given twice, the first counts."""
    places = []
    for place, word in enumerate(words):
        if word not in rows:
            rows[word] = len(rows)
            places.append(place)
    return places


def _blocks(path: Path) -> Iterator[tuple[list[str], Matrix]]:
    """The file's words and vectors, some thousand lines at a time. UserError naming the first line that is damaged."""
    with path.open("rb") as file:
        lines = iter(lambda: file.readline(_MOST_BYTES), b"")
        width, before = _width(next(lines, b""), path), 0
        file.seek(0)
        while some := list(islice(lines, _LINES)):
            yield _table(some, width) or _one_by_one(some, width, before, path)
            before += len(some)


def _width(line: bytes, path: Path) -> int:
    if line.count(b" ") < 2:
        raise UserError(f"{path} holds no GloVe vectors: its first line is not a word and its numbers.")
    return line.count(b" ")


def _table(lines: list[bytes], width: int) -> tuple[list[str], Matrix] | None:
    """The lines read at once; None where one of them is odd in any way (four times as fast as one by one)."""
    from pyarrow import ArrowInvalid, csv, float32, string

    names = ["word", *map(str, range(width))]
    try:
        table = csv.read_csv(
            BytesIO(b"".join(lines)),
            csv.ReadOptions(column_names=names, use_threads=False),
            csv.ParseOptions(delimiter=" ", quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(column_types=dict.fromkeys(names, float32()) | {"word": string()}, null_values=[]),
        )
    except ArrowInvalid:
        return None
    vectors = np.stack([column.to_numpy() for column in table.columns[1:]], axis=1)
    words = table["word"].to_pylist()
    sound = len(words) == len(lines) and lines[-1].endswith(b"\n") and all(words) and np.isfinite(vectors).all()
    return (words, vectors) if sound else None


def _one_by_one(lines: list[bytes], width: int, before: int, path: Path) -> tuple[list[str], Matrix]:
    """The lines, of which some have a word with spaces in it, or bytes that are no text; UserError on any other."""
    vectors = np.empty((len(lines), width), np.float32)
    words = []
    for place, line in enumerate(lines):
        word, *numbers = line.rsplit(b" ", width)
        vector = _numbers(numbers) if line.endswith(b"\n") else None
        # More numbers than expected are no word.
        if vector is None or len(vector) != width or not word or _numbers(word.split(b" ")[1:][-1:]) is not None:
            raise UserError(f"{path} is damaged at line {before + place + 1}: no word followed by {width} numbers.")
        words.append(word.decode(errors="replace"))
        vectors[place] = vector
    return words, vectors


def _numbers(parts: list[bytes]) -> Matrix | None:
    """The parts as finite numbers; None if one of them is none, or there are no parts."""
    try:
        with np.errstate(over="ignore"):
            found = np.array(parts, dtype=np.float32)
    except ValueError:
        return None
    return found if len(found) and np.isfinite(found).all() else None


def _file(choice: Choice, name: str) -> Path:
    if choice.weights is None:
        raise UserError(_bring(name))
    path = choice.root / choice.weights
    if not path.is_file():
        raise UserError(f"embed.weights names {path} for {name}, which is not there; correct it in params.yaml.")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bring(name: str) -> str:
    return (
        f"Encoder {name} needs a file of GloVe vectors, such as glove.6B.300d.txt of "
        f"https://nlp.stanford.edu/projects/glove, which `flickcast encoders pull {name}` cannot fetch: name its path "
        f"in params.yaml, embed.weights: {{{name}: PATH}}."
    )


FAMILIES = {
    REDUCED: Family(
        build,
        meaning="the mean of the words' GloVe vectors, in 20 dimensions learned from the corpus",
        facts={"reads": ("text",), "text": "words", "dimension": _DIMENSIONS, "fit": fit, "bring": _bring(REDUCED)},
    ),
    WHOLE: Family(
        build,
        meaning="the mean of the words' GloVe vectors, as long as they are in the file",
        facts={"reads": ("text",), "text": "words", "fit": take_whole, "one_state": True, "bring": _bring(WHOLE)},
    ),
}
