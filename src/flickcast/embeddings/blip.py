"""Vectors of pictures by BLIP and BLIP-2, and of texts by BLIP, through transformers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flickcast.embeddings.checkpoints import FILES, Checkpoint, find
from flickcast.embeddings.passes import in_passes, torch_threads
from flickcast.embeddings.protocol import Choice, Encoder, Family, Kind, Sample, Vectors
from flickcast.embeddings.sentences import SentenceEncoder

if TYPE_CHECKING:
    import torch

BLIP = "blip-picture"
BLIP_2 = "blip2-picture"
BLIP_TEXT = "blip-text"
# A BLIP of the base size, 768 numbers as in FAME. The hub has blip-image-captioning-base as pickle only (seen in a
# list of May 2026).
BLIP_REPOSITORY = "Salesforce/blip-vqa-base"
BLIP_2_REPOSITORY = "Salesforce/blip2-opt-2.7b"

_MODEL_TYPES = {BLIP: "blip", BLIP_2: "blip-2"}
# Pictures in a pass: 577 and 257 tokens each. An encoder's `rows` may be lowered where memory runs out.
_ROWS = {"cpu": 4, "cuda": 64}


class BlipEncoder:
    """The vision part of a BLIP or BLIP-2 checkpoint; vectors as the model makes them, not of unit length."""

    reads: tuple[Kind, ...] = ("picture",)

    def __init__(self, checkpoint: Checkpoint, tower: Any, choice: Choice) -> None:
        self.name = checkpoint.name
        self._tower = checkpoint.model(tower, choice)
        self._pixels = Pixels(checkpoint, self._tower.config.vision_config.image_size)
        self._threads = choice.threads
        self.rows = _ROWS[self._tower.device.type]
        self.dimension: int = self._tower.dimension
        self.shortest_edge: int | None = self._pixels.shortest_edge
        self.weights_sha256 = checkpoint.weights_sha256
        self.version = checkpoint.version({"numbers": choice.number_type, "vector": self.name, **self._pixels.settings})

    def prepare(self, sample: Sample) -> "torch.Tensor":
        """(3, height, width), resized to the model's size and normalised."""
        return self._pixels(sample)

    def encode(self, prepared: Sequence["torch.Tensor"]) -> Vectors:
        """(posts, dimension)."""
        import torch

        with torch.inference_mode(), torch_threads(self._threads):
            return in_passes(prepared, self.rows, self._pass, self.dimension)

    def _pass(self, some: Sequence["torch.Tensor"]) -> Vectors:
        import torch

        pixels = torch.stack(list(some)).to(self._tower.device, self._tower.dtype)
        vectors: Vectors = self._tower(pixels).cpu().numpy()
        return vectors


class Pixels:
    """The picture as BLIP and BLIP-2 read it: squeezed to the model's own size, normalised as its folder says."""

    def __init__(self, checkpoint: Checkpoint, image_size: int | Sequence[int]) -> None:
        from transformers import BlipImageProcessor

        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        self._size = {"height": height, "width": width}
        self._processor = checkpoint.pixels(BlipImageProcessor)
        self.shortest_edge = max(height, width)
        self.settings = {"processor": type(self._processor).__name__, "size": self._size}

    def __call__(self, sample: Sample) -> "torch.Tensor":
        """(3, height, width)."""
        if sample.picture is None:
            raise ValueError("BLIP reads pictures, and this post has none")
        read = self._processor(
            sample.picture, size=self._size, do_resize=True, do_center_crop=False, return_tensors="pt"
        )
        pixels: torch.Tensor = read["pixel_values"][0]
        return pixels


def build(name: str, choice: Choice) -> BlipEncoder:
    """The encoder of this name, from weights on this machine. UserError if they are not here or are not its own."""
    checkpoint = find(name, choice, str(FAMILIES[name].repository), _MODEL_TYPES[name])
    from flickcast.embeddings.blip_towers import Blip2Tower, BlipTower

    return BlipEncoder(checkpoint, {BLIP: BlipTower, BLIP_2: Blip2Tower}[name], choice)


def build_of_texts(name: str, choice: Choice) -> Encoder:
    """BLIP's encoder of texts by itself, as its contrastive part reads them: the class token, of unit length."""
    checkpoint = find(name, choice, BLIP_REPOSITORY, _MODEL_TYPES[BLIP])
    from flickcast.embeddings.blip_towers import BlipTextTower

    return SentenceEncoder(checkpoint, choice, BlipTextTower, pooling="cls")


FAMILIES = {
    BLIP_TEXT: Family(build_of_texts, BLIP_REPOSITORY, FILES, "class token of BLIP's text transformer"),
    BLIP: Family(build, BLIP_REPOSITORY, FILES, "class token of BLIP's vision transformer"),
    BLIP_2: Family(build, BLIP_2_REPOSITORY, FILES, "mean of BLIP-2's queries to the picture"),
}
