"""Captions: what BLIP-2 says of a picture when it is told the post's title and tags, as in HVLA (2024)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from flickcast.embeddings.blip import BLIP_2_REPOSITORY, Pixels
from flickcast.embeddings.checkpoints import FILES, Checkpoint, find, words
from flickcast.embeddings.passes import torch_threads
from flickcast.embeddings.protocol import Choice, Family, Kind, Sample, Vectors
from flickcast.errors import UserError

if TYPE_CHECKING:
    import torch

Made = TypeVar("Made", list[str], Vectors)

BLIP_2 = "blip2"

# HVLA says that its prompt is made of title and tags, but not its words. These are the form of question on which
# BLIP-2's authors report; the post's text stands in the middle, and is left out where there is none.
HEAD, TAIL = "Question:", " What does the image show? Answer:"
MOST_TEXT_TOKENS = 64
# Its authors' defaults for captions (LAVIS): five beams, no chance, at most 30 tokens.
GENERATION = {"do_sample": False, "num_beams": 5, "max_new_tokens": 30, "min_new_tokens": 1, "length_penalty": 1.0}
MOST_SCORED = 512  # words, evenly out of all
# Posts in a pass.
_ROWS = {"cpu": 2, "cuda": 32}


@dataclass(frozen=True)
class Prepared:
    """A post as BLIP-2 reads it: its picture (3, height, width) and the tokens of the question."""

    pixels: "torch.Tensor"
    tokens: list[int]


class Blip2Captioner:
    """A BLIP-2 checkpoint whose language model is a decoder (OPT). Beam search without chance: equal in, equal out."""

    reads: tuple[Kind, ...] = ("picture", "text")

    def __init__(self, checkpoint: Checkpoint, choice: Choice) -> None:
        from transformers import AutoTokenizer, Blip2ForConditionalGeneration

        self.name = checkpoint.name
        self._model = checkpoint.model(Blip2ForConditionalGeneration, choice)
        config = self._model.config
        self._tokenizer = checkpoint.tokenizer(AutoTokenizer, config.text_config.vocab_size)
        if not config.use_decoder_only_language_model or config.image_token_id is None:
            raise UserError(
                f"{checkpoint.folder} holds a BLIP-2 without an image token or with a language model that is no "
                f"decoder; captions need one such as {BLIP_2_REPOSITORY}."
            )
        self._pixels = Pixels(checkpoint, config.vision_config.image_size)
        self.shortest_edge: int | None = self._pixels.shortest_edge
        self._threads = choice.threads
        self.rows = _ROWS[self._model.device.type]
        self._start = [config.image_token_id] * config.num_query_tokens + [self._tokenizer.bos_token_id]
        self._head, self._tail = (words(self._tokenizer, text, len(text)) for text in (HEAD, TAIL))
        prompt = {"head": HEAD, "tail": TAIL, "most": MOST_TEXT_TOKENS}
        settings = {"numbers": choice.number_type, "prompt": prompt, "generation": GENERATION}
        self.weights_sha256 = checkpoint.weights_sha256
        self.version = checkpoint.version(settings | self._pixels.settings)

    def prepare(self, sample: Sample) -> Prepared:
        """The picture, and a question with the post's text, which is data: no token of it is a command."""
        text = words(self._tokenizer, f" {sample.text}.", MOST_TEXT_TOKENS) if sample.text else []
        return Prepared(self._pixels(sample), [*self._start, *self._head, *text, *self._tail])

    def generate(self, prepared: Sequence[Prepared]) -> list[str]:
        """One caption per post, in one line."""
        return [caption for some in self._passes(prepared, self._captions) for caption in some]

    def scores(self, prepared: Sequence[Prepared]) -> Vectors:
        """(posts, words): by these a captioner is proven. A caption itself may turn on the last place of a number."""
        import numpy as np

        return np.concatenate([np.empty((0, self._words), np.float32), *self._passes(prepared, self._scores)])

    def _passes(self, prepared: Sequence[Prepared], run: Callable[[dict[str, Any]], Made]) -> Iterator[Made]:
        import torch

        with torch.inference_mode(), torch_threads(self._threads):
            for start in range(0, len(prepared), self.rows):
                some = list(prepared[start : start + self.rows])
                # Always as many posts, and as many tokens: see flickcast.embeddings.passes.
                yield run(self._batch(some + some[-1:] * (self.rows - len(some))))[: len(some)]

    def _batch(self, some: list[Prepared]) -> dict[str, Any]:
        """Pictures, and questions that end at the same place."""
        import torch

        device, length = self._model.device, self._length
        padding = self._model.config.text_config.pad_token_id
        tokens = torch.tensor([[padding] * (length - len(post.tokens)) + post.tokens for post in some])
        mask = torch.tensor([[0] * (length - len(post.tokens)) + [1] * len(post.tokens) for post in some])
        pixels = torch.stack([post.pixels for post in some]).to(device, self._model.dtype)
        return {"pixel_values": pixels, "input_ids": tokens.to(device), "attention_mask": mask.to(device)}

    def _captions(self, batch: dict[str, Any]) -> list[str]:
        made = self._model.generate(**batch, generation_config=self._settings())
        texts = self._tokenizer.batch_decode(made[:, self._length :], skip_special_tokens=True)
        return [_one_line(text) for text in texts]

    def _scores(self, batch: dict[str, Any]) -> Vectors:
        logits = self._model(**batch).logits[:, -1].float()
        some = logits[:, :: self._stride][:, : self._words]
        found: Vectors = (some - some.mean(dim=1, keepdim=True)).cpu().numpy()
        return found

    @property
    def _words(self) -> int:
        return int(min(MOST_SCORED, self._model.config.text_config.vocab_size))

    @property
    def _stride(self) -> int:
        return int(self._model.config.text_config.vocab_size) // self._words

    @property
    def _length(self) -> int:
        return len(self._start) + len(self._head) + MOST_TEXT_TOKENS + len(self._tail)

    def _settings(self) -> Any:
        """How to generate, and the tokens that end a caption and fill up a row."""
        from transformers import GenerationConfig

        text = self._model.config.text_config
        ends = {"eos_token_id": text.eos_token_id, "pad_token_id": text.pad_token_id, "bos_token_id": text.bos_token_id}
        return GenerationConfig(**GENERATION, **ends)


def _one_line(text: str) -> str:
    """The text without anything that would move a cursor.

    >>> _one_line(" a red\\nmill\\x1b ")
    'a red mill'
    """
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def build(name: str, choice: Choice) -> Blip2Captioner:
    """The captioner, from weights on this machine. UserError if they are not here or are not its own."""
    return Blip2Captioner(find(name, choice, BLIP_2_REPOSITORY, "blip-2"), choice)


CAPTIONERS = {
    BLIP_2: Family(
        build,
        BLIP_2_REPOSITORY,
        FILES,
        "a caption in words (embed.captions): what BLIP-2 says of the picture, told title and tags",
        facts={"reads": get_args(Kind)},
    )
}
