"""Vectors of texts by any language model that transformers' AutoModel opens: BERT, Gemma, sentence encoders.

Tokens become one vector as the checkpoint says (sentence-transformers' 1_Pooling/config.json). Where it says nothing:
the mean of all tokens for a model that reads in both directions (Reimers and Gurevych, arXiv 1908.10084), and the last
token for a decoder, as no other has seen the whole text (Neelakantan et al., arXiv 2201.10005; for classification as
good as more elaborate designs: Tang and Yang, arXiv 2409.02727). Which of the two a model is shows when it is loaded.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flickcast.embeddings.checkpoints import FILES, Checkpoint, find
from flickcast.embeddings.passes import in_passes, torch_threads
from flickcast.embeddings.protocol import Choice, Encoder, Family, Kind, Sample, Vectors
from flickcast.errors import UserError

if TYPE_CHECKING:
    import torch

# Texts of up to so many tokens in a pass; of longer ones, which are filled up to twice, four times ... as many, fewer.
_SHORTEST = 16
_ROWS = {"cpu": 32, "cuda": 512}
_MOST_TOKENS = 512  # a title and its tags; decoders could read thousands
_MOST_CHARACTERS = 20_000  # a text of a megabyte would keep the tokenizer busy for seconds
_POOLINGS = ("cls", "mean", "lasttoken")  # of sentence-transformers' names, those found here
_MODULES = ("Transformer", "Pooling", "Normalize")


class SentenceEncoder:
    """Unit vectors of texts. No text is an empty one; zero where the model has no token for that."""

    reads: tuple[Kind, ...] = ("text",)
    shortest_edge: int | None = None

    def __init__(self, checkpoint: Checkpoint, choice: Choice, model: Any = None, pooling: str | None = None) -> None:
        """`model`: the class that opens the checkpoint, by default AutoModel; `pooling`: if it is not for it to say."""
        from transformers import AutoTokenizer

        self.name = checkpoint.name
        self._threads = choice.threads
        declared = _declared(checkpoint.folder)
        self._model = checkpoint.model(model or _AutoModelWithoutPooler, choice)
        tokenizer = checkpoint.tokenizer(AutoTokenizer, self._model.config.get_text_config().vocab_size)
        self._model.config.use_cache = False
        self._tokenizer = _plain(tokenizer, checkpoint)
        self._lower: bool = declared["lower"]
        self._padding: int = tokenizer.pad_token_id or 0
        self._before, self._after = _frame(self._tokenizer)
        self._most = _most_tokens(self._model.config, tokenizer, declared)
        with torch_threads(self._threads):
            self.dimension, is_decoder = _tried(self._model, self._most, checkpoint)
        self._pooling = pooling or declared["pooling"] or ("lasttoken" if is_decoder else "mean")
        self.rows = _ROWS[self._model.device.type]
        self.weights_sha256 = checkpoint.weights_sha256
        self.version = checkpoint.version(
            {
                "numbers": choice.number_type,
                "pooling": self._pooling,
                "lower": self._lower,
                "tokens": self._most,
                "characters": _MOST_CHARACTERS,
                "tokenizer": hashlib.sha256(self._tokenizer.to_str().encode()).hexdigest(),
            }
        )

    def prepare(self, sample: Sample) -> list[int]:
        """The text's tokens between those that the model expects around them."""
        text = (sample.text or "")[:_MOST_CHARACTERS].encode("utf-8", "replace").decode()  # a lone surrogate is no text
        tokens = self._tokenizer.encode(text.lower() if self._lower else text, add_special_tokens=False).ids
        return [*self._before, *tokens[: self._most - len(self._before) - len(self._after)], *self._after]

    def encode(self, prepared: Sequence[list[int]]) -> Vectors:
        """(texts, dimension). Texts of about the same length share a pass; its shape depends on their length only."""
        import torch

        places: dict[int, list[int]] = defaultdict(list)
        for place, tokens in enumerate(prepared):
            if tokens:
                places[self._length(tokens)].append(place)
        found = np.zeros((len(prepared), self.dimension), np.float32)
        with torch.inference_mode(), torch_threads(self._threads):
            for length, some in sorted(places.items()):
                texts = [(prepared[place], length) for place in some]
                rows = max(1, self.rows * _SHORTEST // length)
                found[some] = in_passes(texts, rows, self._pass, self.dimension)
        return found

    def _length(self, tokens: list[int]) -> int:
        length = _SHORTEST
        while length < len(tokens):
            length *= 2
        return min(length, self._most)

    def _pass(self, texts: Sequence[tuple[list[int], int]]) -> Vectors:
        """Texts and their common length -> (rows, dimension)."""
        import torch

        tokens = torch.full((len(texts), texts[0][1]), self._padding)
        mask = torch.zeros_like(tokens)
        for row, (text, _) in enumerate(texts):
            tokens[row, : len(text)] = torch.tensor(text)
            mask[row, : len(text)] = 1
        mask = mask.to(self._model.device)
        hidden = self._model(input_ids=tokens.to(mask.device), attention_mask=mask).last_hidden_state
        pooled = torch.nn.functional.normalize(_pooled(hidden.float(), mask, self._pooling), dim=-1)
        vectors: Vectors = pooled.cpu().numpy()
        return vectors


def build(name: str, choice: Choice) -> Encoder:
    """The encoder, from weights on this machine. UserError if they are not here or are of no model that reads texts."""
    repository = FAMILIES[name].repository
    assert repository is not None
    return SentenceEncoder(find(name, choice, repository, None), choice)


class _AutoModelWithoutPooler:
    """AutoModel; that a checkpoint has no weights for the pooler does not matter, nothing here reads it."""

    @staticmethod
    def from_pretrained(folder: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
        from transformers import AutoModel

        model, report = AutoModel.from_pretrained(folder, **options)
        return model, report | {"missing_keys": [key for key in report["missing_keys"] if "pooler." not in key]}


def _pooled(hidden: "torch.Tensor", mask: "torch.Tensor", pooling: str) -> "torch.Tensor":
    """(rows, length, dimension) and (rows, length) -> (rows, dimension)."""
    import torch

    if pooling == "cls":
        return hidden[:, 0]
    count = mask.sum(dim=1)
    if pooling == "lasttoken":
        return hidden[torch.arange(len(hidden), device=hidden.device), count - 1]
    return (hidden * mask[:, :, None]).sum(dim=1) / count[:, None]


def _declared(folder: Path) -> dict[str, Any]:
    """What a folder of sentence-transformers says of pooling, lower case and length. UserError if we cannot do it."""
    modules = [str(module.get("type", "")) for module in _json(folder / "modules.json", [])]
    unknown = sorted(kind for kind in modules if not kind.endswith(_MODULES))
    said = _json(folder / "1_Pooling" / "config.json", {})
    flags = {key.removeprefix("pooling_mode_").removesuffix("_tokens") for key, value in said.items() if value is True}
    poolings = {said["pooling_mode"]} if "pooling_mode" in said else flags - {"include_prompt"}
    poolings = {name.removesuffix("_token") for name in poolings}
    if unknown or len(poolings) > 1 or not poolings <= set(_POOLINGS):
        parts = ", ".join(unknown or sorted(poolings))
        raise UserError(f"{folder} describes a sentence encoder with parts that flickcast does not have: {parts}.")
    settings = _json(folder / "sentence_bert_config.json", {})
    return {
        "pooling": next(iter(poolings), None),
        "lower": settings.get("do_lower_case") is True,
        "tokens": settings.get("max_seq_length") or _MOST_TOKENS,
    }


def _json(path: Path, default: Any) -> Any:
    if not path.exists():
        return default
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, type(default)):
        raise UserError(f"{path} is damaged: get it again with `flickcast encoders pull`, or from where you had it.")
    return found


def _plain(tokenizer: Any, checkpoint: Checkpoint) -> Any:
    """The tokenizer's own core, which any thread may use: nothing is cut or filled up, and a text that spells out a
    special token does not become one.
    """
    if not tokenizer.is_fast:
        raise UserError(f"{checkpoint.folder} has no tokenizer.json, which encoder {checkpoint.name} needs.")
    core = tokenizer.backend_tokenizer
    core.no_truncation()
    core.no_padding()
    core.encode_special_tokens = True
    return core


def _frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The tokens that stand before and after those of any text."""
    bare, framed = tokenizer.encode("a", add_special_tokens=False).ids, tokenizer.encode("a").ids
    start = next(place for place in range(len(framed) + 1) if framed[place : place + len(bare)] == bare)
    return framed[:start], framed[start + len(bare) :]


def _most_tokens(config: Any, tokenizer: Any, declared: dict[str, Any]) -> int:
    positions = getattr(config.get_text_config(), "max_position_embeddings", None) or _MOST_TOKENS
    return int(min(_MOST_TOKENS, positions, tokenizer.model_max_length, declared["tokens"]))


def _tried(model: Any, most: int, checkpoint: Checkpoint) -> tuple[int, bool]:
    """The vectors' length, and whether the model is a decoder: the first token then knows nothing of the others.

    UserError if it does not turn tokens into vectors, or not as many as it says.
    """
    import torch

    tokens = torch.tensor([[1, 2, 3, 4], [1, 5, 6, 7]], device=model.device)
    text = model.config.get_text_config()
    positions, padding = getattr(text, "max_position_embeddings", None), getattr(text, "pad_token_id", None) or 0
    try:
        with torch.inference_mode():
            hidden = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state
            if positions is not None and positions < most + 16:  # some count their positions from 2
                longest = torch.full((1, most), padding + 1, device=model.device)
                model(input_ids=longest, attention_mask=torch.ones_like(longest))
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        problem = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{checkpoint.folder} holds no model that reads texts of {most} tokens: {problem}") from None
    first, other = hidden[:, 0].float()
    return hidden.shape[-1], bool((first - other).abs().max() < 0.01 * first.abs().max())


def _family(repository: str, meaning: str) -> Family:
    return Family(build, repository, FILES, meaning, facts={"reads": ("text",)})


FAMILIES = {
    "sentence-text": _family(
        "sentence-transformers/all-MiniLM-L6-v2",
        "any language model of transformers, by default a small sentence encoder",
    ),
    "bert-text": _family("google-bert/bert-base-uncased", "BERT, the mean of its tokens"),
    "gemma-text": _family("google/gemma-2b", "Gemma, its last token"),
}
