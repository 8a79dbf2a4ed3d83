"""What every encoder is: a name, a version, what it reads, and two steps from a post to its vector."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Kind = Literal["picture", "text"]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Sample:
    """What of a post an encoder reads: its picture in RGB, its text, or both."""

    picture: "Image | None" = None
    text: str | None = None
    mode: str | None = None  # of the picture as it is in its file


class Encoder(Protocol):
    """Turns posts into vectors: `prepare` in any thread, one post at a time, `encode` in one thread, many at once."""

    name: str  # of its table, embeddings/<name>
    version: str  # short hash of all that a vector depends on besides its input
    reads: tuple[Kind, ...]
    dimension: int
    shortest_edge: int | None  # pixels needed of a picture's shorter side; None: all there are

    def prepare(self, sample: Sample) -> Any:
        """The processor's part: resize, normalise, tokenise."""
        ...

    def encode(self, prepared: Sequence[Any]) -> Vectors:
        """One row per prepared post, float32; the same row whatever the others are."""
        ...


@runtime_checkable
class Captioner(Protocol):
    """Says what pictures show: `prepare` in any thread, one post at a time, `generate` in one thread, many at once."""

    name: str
    version: str  # short hash of all that a caption depends on besides its input
    reads: tuple[Kind, ...]
    shortest_edge: int | None  # pixels needed of a picture's shorter side; None: all there are

    def prepare(self, sample: Sample) -> Any:
        """The processor's part: resize, normalise, tokenise."""
        ...

    def generate(self, prepared: Sequence[Any]) -> list[str]:
        """One caption per prepared post; the same one whatever the others are."""
        ...

    def scores(self, prepared: Sequence[Any]) -> Vectors:
        """One row per prepared post: what the model thinks of some words as the first of the caption, mean zero."""
        ...


@dataclass(frozen=True)
class Choice:
    """What params.yaml says of an encoder: where its weights are, in which numbers it computes, on how many threads."""

    weights: str | None = None  # a path seen from the workspace, or a repository of the hub; None: the family's own
    root: Path = Path()
    number_type: Literal["float32", "bfloat16", "float16"] = "float32"
    threads: int | None = None
    compile: bool = False  # let torch compile the model: minutes at the start, for devices that gain by it


@dataclass(frozen=True)
class Family:
    """An entry of the registry: how an encoder is built, where its weights come from, and whether they are here."""

    build: "Callable[[str, Choice], Encoder | Captioner]"
    repository: str | None = None  # on the Hugging Face hub; None: a file that the user brings, or nothing at all
    files: tuple[str, ...] = ()  # of the repository, that `flickcast encoders pull` fetches
    meaning: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
