"""Any model of open_clip, as two encoders of one space: <model>-picture and <model>-text."""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flickcast.embeddings.open_clip_tokenizers import open_tokenizer
from flickcast.embeddings.passes import device, in_passes, on_device, torch_threads
from flickcast.embeddings.pretrained import PACKAGED, EncoderFiles, find
from flickcast.embeddings.protocol import Choice, Encoder, Family, Kind, Sample, Vectors

if TYPE_CHECKING:
    import torch

# Rows of a pass, see passes.py.
ROWS = {"cpu": 16, "cuda": 256}
# Pixels of the largest picture that is resized as bytes: a copy of a larger one would take too much memory.
MOST_AS_BYTES = 2_000_000
# These models read at most some 77 tokens; a title of a megabyte would keep the tokenizer busy for minutes.
MOST_CHARACTERS = 1000


def model_and_kind(name: str) -> tuple[str, Kind] | None:
    """The model and the half of it that an encoder's name stands for, whether such a model exists or not.

    >>> model_and_kind("ViT-B-32-picture"), model_and_kind("glove")
    (('ViT-B-32', 'picture'), None)
    """
    model, _, kind = name.rpartition("-")
    kinds: dict[str, Kind] = {"picture": "picture", "text": "text"}
    return (model, kinds[kind]) if model and kind in kinds else None


def family(kind: Kind) -> Family:
    """The entry of every model's pictures or texts."""
    return Family(build, meaning=f"open_clip: {kind}s", facts={"reads": (kind,)})


def build(name: str, choice: Choice) -> Encoder:
    """One half of a model; `choice.weights` is one of open_clip's tags or a safetensors file."""
    model, kind = _named(name)
    return OpenClipEncoder(name, kind, find(model, choice.weights, choice.root), choice)


def _named(name: str) -> tuple[str, Kind]:
    found = model_and_kind(name)
    assert found is not None, name
    return found


class OpenClipEncoder:
    """Unit vectors of pictures, or of texts, that lie side by side in one space."""

    def __init__(self, name: str, kind: Kind, files: EncoderFiles, choice: Choice) -> None:
        self.name = name
        self.reads: tuple[Kind, ...] = (kind,)
        self.dimension = files.dimension()
        self._model, preprocess, self._device = _opened(files, choice.number_type)
        self.rows = ROWS[self._device]
        # Its products are so small that a second thread only waits: ten times slower beside a busy process (2 cores).
        self._threads = choice.threads or (1 if files.name == PACKAGED else None)
        is_picture = kind == "picture"
        settings = dict(self._model.visual.preprocess_cfg) if is_picture else {"characters": MOST_CHARACTERS}
        if not is_picture:
            tag = choice.weights if files.tag else None
            self._tokenize, tokenizer = open_tokenizer(files.name, files.weights, tag)
            settings |= {"tokenizer": tokenizer} if tokenizer else {}
        self.shortest_edge = _longest(settings["size"]) if is_picture else None
        # of the weights that take part in products; norms are in float32
        self._dtype = max(self._model.visual.parameters(), key=lambda weight: weight.ndim).dtype
        self._shrink, self._normalise = _parts(preprocess)
        run = self._picture_vectors if is_picture else self._text_vectors
        self._run: Callable[..., torch.Tensor] = _compiled(run) if choice.compile else run
        self.weights_sha256 = files.weights_sha256
        self.version = files.version(
            {
                **settings,
                "half": kind,
                "resized as bytes": MOST_AS_BYTES,
                "scaled": self.shortest_edge,
                "compiled": choice.compile,
            },
            choice.number_type,
        )

    def prepare(self, sample: Sample) -> "torch.Tensor":
        """A picture as bytes (3, height, width) of the model's size, or a text as its tokens (length,)."""
        if self.reads == ("text",):
            tokens: torch.Tensor = self._tokenize([(sample.text or "")[:MOST_CHARACTERS]])[0]
            return tokens
        pixels: torch.Tensor = self._shrink(sample.picture)
        return pixels

    def encode(self, prepared: Sequence[Any]) -> Vectors:
        """One unit vector per prepared post."""
        import torch

        def run(some: Sequence[torch.Tensor]) -> torch.Tensor:
            return self._run(on_device(some, self._device))

        with torch.inference_mode(), torch_threads(self._threads):
            return in_passes(prepared, self.rows, run, self.dimension)

    def _picture_vectors(self, pictures: "torch.Tensor") -> "torch.Tensor":
        """(rows, 3, height, width) of bytes -> (rows, dimension)."""
        import torch

        numbers = self._normalise(pictures.float().div(255)).to(self._dtype)
        found = self._model.encode_image(numbers.contiguous(memory_format=torch.channels_last))
        return _unit(found)

    def _text_vectors(self, tokens: "torch.Tensor") -> "torch.Tensor":
        """(rows, length) -> (rows, dimension)."""
        return _unit(self._model.encode_text(tokens))


def _opened(files: EncoderFiles, number_type: str) -> tuple[Any, Any, str]:
    """Model, preprocessing, device; both halves of a model share what is opened."""
    stat, place = files.weights.stat(), device()
    tag = json.dumps(files.tag, sort_keys=True)
    return (*_open(files.name, files.weights, tag, place, number_type, stat.st_mtime_ns, stat.st_size), place)


@lru_cache(maxsize=1)
def _open(name: str, weights: Path, tag: str, device: str, number_type: str, *stamp: int) -> tuple[Any, Any]:
    import torch

    model, preprocess = EncoderFiles(name, weights, json.loads(tag)).open(device, number_type)
    model.visual.to(memory_format=torch.channels_last)
    return model, preprocess


def _parts(preprocess: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """open_clip's preprocessing in two: what is done to a picture, and what, on the device, to its numbers."""
    from torchvision.transforms import Compose
    from torchvision.transforms.functional import pil_to_tensor

    resize, *others, _, normalise = preprocess.transforms
    on_pictures, on_bytes = Compose([resize, *others, pil_to_tensor]), _quicker(resize, others)

    def shrink(picture: Any) -> Any:
        return (on_pictures if picture.width * picture.height > MOST_AS_BYTES else on_bytes)(picture)

    return shrink, normalise


def _quicker(resize: Any, others: list[Any]) -> Any:
    """The same on bytes: torch's resizing is Pillow's in vector instructions (values differ by 1 at most), 4 times
    quicker.
    """
    from torchvision.transforms import Compose, Resize, v2
    from torchvision.transforms.functional import pil_to_tensor

    if not isinstance(resize, Resize):  # open_clip's own, of pictures only
        return Compose([resize, *others, pil_to_tensor])
    same = v2.Resize(resize.size, v2.InterpolationMode(resize.interpolation.value), antialias=True)
    return Compose([pil_to_tensor, same, *others])


def _compiled(run: Callable[..., Any]) -> Callable[..., Any]:
    import torch

    compiled: Callable[..., Any] = torch.compile(run, dynamic=False)
    return compiled


def _unit(vectors: "torch.Tensor") -> "torch.Tensor":
    """Each row of length 1, in float32 whatever the model computes in."""
    from torch.nn.functional import normalize

    return normalize(vectors.float(), dim=-1)


def _longest(size: int | Sequence[int]) -> int:
    return size if isinstance(size, int) else max(size)
