"""Tokenizers of open_clip's models: its own, or one in transformers' files, as SigLIP and CLIPA have."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flickcast.embeddings.checkpoints import pull_command
from flickcast.errors import UserError

if TYPE_CHECKING:
    import torch

    Tokenize = Callable[[list[str]], torch.Tensor]

# What `flickcast encoders pull` fetches of a tokenizer; the first is the one without which there is none.
FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def repository(name: str) -> str | None:
    """Where a model's tokenizer is on the Hugging Face hub; None for open_clip's own."""
    return _text(name).get("hf_tokenizer_name")


def folder(name: str, weights: Path) -> Path | None:
    """Where the files of a model's tokenizer lie here: beside its weights, or in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    beside = weights.parent / FILES[0]
    found = beside if beside.is_file() else try_to_load_from_cache(str(repository(name)), FILES[0])
    return Path(found).parent if isinstance(found, str | Path) else None


def open_tokenizer(name: str, weights: Path, tag: str | None) -> "tuple[Tokenize, str]":
    """What turns texts into tokens, and what its version is; never reaches for the network.

    `tag`: of the weights, None for a file of the user's. UserError, in one sentence, if its files are not here or are
    not this model's.
    """
    import open_clip

    if (wanted := repository(name)) is None:
        return _signless(open_clip.get_tokenizer(name)), "signs as words"
    if (place := folder(name, weights)) is None:
        fetched = f"fetch it with {pull_command(name, tag)}, or " if tag else ""
        raise UserError(
            f"Encoder {name}-text reads texts with the tokenizer {wanted}, which is not here: {fetched}lay its "
            f"{FILES[0]} and {FILES[1]} beside {weights}."
        )
    tokenizer = _opened(name, place)
    if (most := _largest(tokenizer)) >= (known := _text(name).get("vocab_size", 49408)):
        raise UserError(f"{place} holds no tokenizer of {name}: it makes token {most}, and the model knows {known}.")
    digest = hashlib.sha256(tokenizer.tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
    return tokenizer, digest[:16]


def _signless(own: Any) -> "Tokenize":
    """open_clip's own tokenizer, to which a text that spells out one of its signs is text: a title ended the prompt.

    It looks for them after cleaning the text, which makes the signs of `&lt;END_OF_TEXT&gt;` and of wide characters.
    """
    import regex

    signs = "".join(f"{own.decoder[sign]}|" for sign in own.all_special_ids)
    own.pat = regex.compile(own.pat.pattern.removeprefix(signs), regex.IGNORECASE)
    tokenize: Tokenize = own
    return tokenize


def _text(name: str) -> dict[str, Any]:
    import open_clip

    return dict((open_clip.get_model_config(name) or {}).get("text_cfg", {}))


def _opened(name: str, place: Path) -> Any:
    from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer

    text = _text(name)
    try:
        tokenizer = HFTokenizer(
            str(place),
            context_length=text.get("context_length", DEFAULT_CONTEXT_LENGTH),
            tokenizer_mode=text.get("tokenizer_mode"),
            local_files_only=True,
            trust_remote_code=False,
            split_special_tokens=True,  # a text that spells one out does not become one
            **text.get("tokenizer_kwargs", {}),
        )
        tokenizer(["a"])  # settles how it cuts and fills up, which threads could not do at once
    # A missing file, broken JSON, a token that is lacking: each comes as another class, some as Exception itself.
    except Exception as error:
        problem = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{place} does not hold the tokenizer that encoder {name} needs: {problem}") from None
    return tokenizer


def _largest(tokenizer: Any) -> int:
    """The largest token that a text can become; sentinels that only a text's spelling out would give are left out."""
    never = tokenizer.tokenizer.added_tokens_decoder
    plain = [token for token in tokenizer.tokenizer.get_vocab().values() if token not in never]
    return max([*plain, int(tokenizer(["a"]).max())], default=0)
