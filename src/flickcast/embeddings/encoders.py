"""Encoders: pretrained models that turn pictures and texts into unit vectors of one space."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flickcast.embeddings.pretrained import PACKAGED, EncoderFiles, find, list_encoders, pull
from flickcast.params import EmbedParams
from flickcast.pictures import decode

if TYPE_CHECKING:
    import torch

__all__ = ["Encoder", "OpenClipEncoder", "list_encoders", "load_encoder", "pull"]

Vectors = NDArray[np.float32]
Failures = list[tuple[int, str]]

# Every pass has this many rows, the last one filled up: a vector then does not depend on its neighbours or on the
# caller's batch size (matrix products of another shape round differently).
_ROWS = {"cpu": 16, "cuda": 128}
# Encoders read at most some 77 tokens; a title of a megabyte would keep the tokenizer busy for minutes.
_MOST_CHARACTERS = 1000


class Encoder(Protocol):
    """Turns pictures and texts into unit vectors of one space."""

    name: str
    version: str  # short hash of weights, configuration and preprocessing
    dimension: int

    def embed_pictures(self, pictures: Sequence[bytes]) -> tuple[Vectors, Failures]:
        """One row per picture that decodes, in order, and (index, reason) of those that do not."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """One row per text."""
        ...


def load_encoder(params: EmbedParams, threads: int | None = None, root: Path = Path()) -> Encoder:
    """The encoder that params.yaml names, from weights on this machine; never reaches for the network.

    `pretrained` may be a file, seen from `root`. UserError if the name is unknown or there are no weights here.
    """
    # Its products are so small that a second thread only waits: ten times slower beside a busy process (2 cores).
    if params.encoder == PACKAGED and threads is None:
        threads = 1
    return OpenClipEncoder(find(params.encoder, params.pretrained, root), threads)


class OpenClipEncoder:
    """Any model that open_clip can build and whose weights are a safetensors file."""

    def __init__(self, files: EncoderFiles, threads: int | None = None) -> None:
        import torch

        self._threads = threads or torch.get_num_threads()
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model, self._preprocess, self._tokenize = files.open(self._device)
        self.name = files.name
        self.version = files.version(self._model.visual.preprocess_cfg)
        self.dimension = files.dimension()

    def embed_pictures(self, pictures: Sequence[bytes]) -> tuple[Vectors, Failures]:
        """One row per picture that decodes, in order, and (index, reason) of those that do not."""
        failures: Failures = []

        def tensors() -> Iterator["torch.Tensor"]:
            for index, content in enumerate(pictures):
                picture = decode(content)
                if isinstance(picture, str):
                    failures.append((index, picture))
                else:
                    yield self._preprocess(picture.rgb)

        return self._vectors(tensors(), self._model.encode_image), failures

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """One row per text."""
        tokens = (self._tokenize([text[:_MOST_CHARACTERS]])[0] for text in texts)
        return self._vectors(tokens, self._model.encode_text)

    def _vectors(self, inputs: Iterator["torch.Tensor"], encode: Callable[..., Any]) -> Vectors:
        """Encode the inputs in passes of equal shape: (inputs, dimension)."""
        import torch

        rows = _ROWS[self._device]
        found = [np.empty((0, self.dimension), dtype=np.float32)]
        with torch.inference_mode(), _threads(self._threads):
            for some in _chunks(inputs, rows):
                filled = torch.stack(some + [some[-1]] * (rows - len(some))).to(self._device)
                found.append(encode(filled, normalize=True)[: len(some)].float().cpu().numpy())
        return np.concatenate(found)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """torch on this many threads, and as before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _chunks(inputs: Iterator["torch.Tensor"], rows: int) -> Iterator[list["torch.Tensor"]]:
    some: list[torch.Tensor] = []
    for item in inputs:
        some.append(item)
        if len(some) == rows:
            yield some
            some = []
    if some:
        yield some
