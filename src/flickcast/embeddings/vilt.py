"""Vectors of a picture and its text, together or each alone, by ViLT, through transformers.

FAME (2025, section 3.1) has vectors of title, tags and picture from ViLT but does not say what stands in the place of
the other input. Here it is nothing: a text alone attends to no picture, a picture alone has an empty text beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flickcast.embeddings.checkpoints import FILES, Checkpoint, find, words
from flickcast.embeddings.names import kinds
from flickcast.embeddings.passes import in_passes, torch_threads
from flickcast.embeddings.protocol import Choice, Family, Kind, Sample, Vectors

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

VILT, PICTURES, TEXTS = "vilt-both", "vilt-picture", "vilt-text"
# FAME used ViLT after Flickr30k (dandelin/vilt-b32-finetuned-flickr30k): name that in embed.weights to do the same.
REPOSITORY = "dandelin/vilt-b32-mlm"

# ViLT keeps a picture's shape: the longer side is at most so much of the shorter one (the authors' 800 x 1333).
_LONGEST = 1333 / 800
# Posts in a pass, 281 tokens each.
_ROWS = {"cpu": 8, "cuda": 128}


@dataclass(frozen=True)
class Prepared:
    """A post as ViLT reads it: its picture (3, height, width), None where it is to read none, and its text's tokens."""

    pixels: "torch.Tensor | None"
    tokens: list[int]


class ViltEncoder:
    """A ViLT checkpoint; its pooled output. A post without text is one with an empty text."""

    def __init__(self, checkpoint: Checkpoint, choice: Choice) -> None:
        from transformers import BertTokenizer, ViltImageProcessor, ViltModel

        self.name = checkpoint.name
        self.reads: tuple[Kind, ...] = kinds(self.name)
        self._model = checkpoint.model(ViltModel, choice)
        self._tokenizer = checkpoint.tokenizer(BertTokenizer, self._model.config.vocab_size)
        self._processor = checkpoint.pixels(ViltImageProcessor)
        self._threads = choice.threads
        self.rows = _ROWS[self._model.device.type]
        self.dimension: int = self._model.config.hidden_size
        self._cell: int = self._processor.size_divisor
        short: int = self._processor.size["shortest_edge"]
        self.shortest_edge: int | None = short if "picture" in self.reads else None
        self._short: int = short // self._cell * self._cell
        self._long: int = int(_LONGEST * short) // self._cell * self._cell
        processor = type(self._processor).__name__
        settings = {"numbers": choice.number_type, "processor": processor, "thin": self._thin, "reads": self.reads}
        self.weights_sha256 = checkpoint.weights_sha256
        self.version = checkpoint.version(settings)

    def prepare(self, sample: Sample) -> Prepared:
        """The picture scaled in its own shape and normalised; the text cut to what the model can read."""
        most = self._model.config.max_position_embeddings - 2
        between = words(self._tokenizer, sample.text or "", most) if "text" in self.reads else []
        tokens = [self._tokenizer.cls_token_id, *between, self._tokenizer.sep_token_id]
        if "picture" not in self.reads:
            return Prepared(None, tokens)
        read = self._processor(self._thickened(sample.picture), return_tensors="pt")
        return Prepared(read["pixel_values"][0], tokens)

    def encode(self, prepared: Sequence[Prepared]) -> Vectors:
        """(posts, dimension)."""
        import torch

        # ViLT draws at random which of the empty patches it puts where; they are masked, so no vector depends on it.
        with torch.inference_mode(), torch_threads(self._threads), torch.random.fork_rng(devices=[]):
            return in_passes(prepared, self.rows, self._pass, self.dimension)

    def _pass(self, some: Sequence[Prepared]) -> Vectors:
        batch = self._tokens(some) | (self._pictures(some) if "picture" in self.reads else self._no_pictures(some))
        pooled = self._model(**{name: values.to(self._model.device) for name, values in batch.items()}).pooler_output
        vectors: Vectors = pooled[: len(some)].float().cpu().numpy()
        return vectors

    def _tokens(self, some: Sequence[Prepared]) -> dict[str, "torch.Tensor"]:
        """Tokens and their mask, always of one shape, with one empty post more than asked for."""
        import torch

        posts, tokens = len(some) + 1, self._model.config.max_position_embeddings
        ids = torch.full((posts, tokens), self._tokenizer.pad_token_id)
        mask = torch.zeros(posts, tokens, dtype=torch.long)
        for row, post in enumerate(some):
            ids[row, : len(post.tokens)] = torch.tensor(post.tokens)
            mask[row, : len(post.tokens)] = 1
        mask[-1, 0] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def _pictures(self, some: Sequence[Prepared]) -> dict[str, "torch.Tensor"]:
        """Pictures and their mask, always of one shape.

        ViLT cuts a batch to the patches of its largest picture, and shuffles the patches of that one. The empty post
        is larger than any picture, so that nothing is cut or shuffled in the others.
        """
        import torch

        posts = len(some) + 1
        pixels = torch.zeros(posts, 3, self._long, self._long + self._cell, dtype=self._model.dtype)
        mask = torch.zeros(posts, self._long, self._long + self._cell, dtype=torch.long)
        for row, post in enumerate(some):
            assert post.pixels is not None
            _, height, width = post.pixels.shape
            pixels[row, :, :height, :width] = post.pixels
            mask[row, :height, :width] = 1
        mask[-1, : self._short] = 1
        return {"pixel_values": pixels, "pixel_mask": mask}

    def _no_pictures(self, some: Sequence[Prepared]) -> dict[str, "torch.Tensor"]:
        """The place of one patch that nothing attends to."""
        import torch

        posts = len(some) + 1
        nothing = torch.zeros(posts, 1, self.dimension, dtype=self._model.dtype)
        return {"image_embeds": nothing, "pixel_mask": torch.zeros(posts, 1, dtype=torch.long)}

    @property
    def _thin(self) -> int:
        """How many times as long as wide a picture may be so that its shorter side still fills a patch."""
        return self._long // self._cell

    def _thickened(self, picture: "Image | None") -> Any:
        """The picture; a thinner strip is stretched, as the processor would leave nothing of it."""
        if picture is None:
            raise ValueError(f"{self.name} reads pictures, and this post has none")
        width, height = picture.size
        least = math.ceil(max(width, height) / self._thin)
        return picture if min(width, height) >= least else picture.resize((max(width, least), max(height, least)))


def build(name: str, choice: Choice) -> ViltEncoder:
    """The encoder, from weights on this machine. UserError if they are not here or are not its own."""
    return ViltEncoder(find(name, choice, REPOSITORY, "vilt"), choice)


FAMILIES = {
    VILT: Family(build, REPOSITORY, FILES, "ViLT's pooled output over picture and text"),
    PICTURES: Family(build, REPOSITORY, FILES, "ViLT's pooled output over the picture alone"),
    TEXTS: Family(build, REPOSITORY, FILES, "ViLT's pooled output over the text alone"),
}
