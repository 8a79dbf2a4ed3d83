"""Vectors of a picture and its text together by ViLT, through transformers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flickcast.embeddings.checkpoints import FILES, Checkpoint, find, words
from flickcast.embeddings.passes import in_passes, torch_threads
from flickcast.embeddings.protocol import Choice, Family, Kind, Sample, Vectors

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

VILT = "vilt-both"
# FAME used ViLT after Flickr30k (dandelin/vilt-b32-finetuned-flickr30k): name that in embed.weights to do the same.
REPOSITORY = "dandelin/vilt-b32-mlm"

# ViLT keeps a picture's shape: the longer side is at most so much of the shorter one (the authors' 800 x 1333).
_LONGEST = 1333 / 800
# Posts in a pass, 281 tokens each.
_ROWS = {"cpu": 8, "cuda": 128}


@dataclass(frozen=True)
class Prepared:
    """A post as ViLT reads it: its picture (3, height, width) and the tokens of its text."""

    pixels: "torch.Tensor"
    tokens: list[int]


class ViltEncoder:
    """A ViLT checkpoint; its pooled output. A post without text is one with an empty text."""

    reads: tuple[Kind, ...] = ("picture", "text")

    def __init__(self, checkpoint: Checkpoint, choice: Choice) -> None:
        from transformers import BertTokenizer, ViltImageProcessor, ViltModel

        self.name = checkpoint.name
        self._model = checkpoint.model(ViltModel, choice)
        self._tokenizer = checkpoint.tokenizer(BertTokenizer, self._model.config.vocab_size)
        self._processor = checkpoint.pixels(ViltImageProcessor)
        self._threads = choice.threads
        self.rows = _ROWS[self._model.device.type]
        self.dimension: int = self._model.config.hidden_size
        self._cell: int = self._processor.size_divisor
        short: int = self._processor.size["shortest_edge"]
        self.shortest_edge: int | None = short
        self._short: int = short // self._cell * self._cell
        self._long: int = int(_LONGEST * short) // self._cell * self._cell
        processor = type(self._processor).__name__
        self.version = checkpoint.version({"numbers": choice.number_type, "processor": processor, "thin": self._thin})

    def prepare(self, sample: Sample) -> Prepared:
        """The picture scaled in its own shape and normalised; the text cut to what the model can read."""
        most = self._model.config.max_position_embeddings - 2
        between = words(self._tokenizer, sample.text or "", most)
        tokens = [self._tokenizer.cls_token_id, *between, self._tokenizer.sep_token_id]
        read = self._processor(self._thickened(sample.picture), return_tensors="pt")
        return Prepared(read["pixel_values"][0], tokens)

    def encode(self, prepared: Sequence[Prepared]) -> Vectors:
        """(posts, dimension)."""
        import torch

        # ViLT draws at random which of the empty patches it puts where; they are masked, so no vector depends on it.
        with torch.inference_mode(), torch_threads(self._threads), torch.random.fork_rng(devices=[]):
            return in_passes(prepared, self.rows, self._pass, self.dimension)

    def _pass(self, some: Sequence[Prepared]) -> Vectors:
        pooled = self._model(**self._batch(some)).pooler_output
        vectors: Vectors = pooled[: len(some)].float().cpu().numpy()
        return vectors

    def _batch(self, some: Sequence[Prepared]) -> dict[str, "torch.Tensor"]:
        """Tokens, pictures and masks, always of one shape, with one empty post more than asked for.

        ViLT cuts a batch to the patches of its largest picture, and shuffles the patches of that one. The empty post
        is larger than any picture, so that nothing is cut or shuffled in the others.
        """
        import torch

        posts, tokens = len(some) + 1, self._model.config.max_position_embeddings
        batch = {
            "input_ids": torch.full((posts, tokens), self._tokenizer.pad_token_id),
            "attention_mask": torch.zeros(posts, tokens, dtype=torch.long),
            "pixel_values": torch.zeros(posts, 3, self._long, self._long + self._cell),
            "pixel_mask": torch.zeros(posts, self._long, self._long + self._cell, dtype=torch.long),
        }
        for row, post in enumerate(some):
            _, height, width = post.pixels.shape
            batch["input_ids"][row, : len(post.tokens)] = torch.tensor(post.tokens)
            batch["attention_mask"][row, : len(post.tokens)] = 1
            batch["pixel_values"][row, :, :height, :width] = post.pixels
            batch["pixel_mask"][row, :height, :width] = 1
        batch["attention_mask"][-1, 0] = 1
        batch["pixel_mask"][-1, : self._short] = 1
        return {name: values.to(self._model.device) for name, values in batch.items()}

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


FAMILIES = {VILT: Family(build, REPOSITORY, FILES, "ViLT's pooled output over picture and text")}
