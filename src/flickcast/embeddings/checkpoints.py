"""Folders of weights as transformers saves them: found on this machine, hashed, opened without running any code."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flickcast.console import say
from flickcast.embeddings.passes import device, is_out_of_memory
from flickcast.embeddings.protocol import Choice
from flickcast.errors import TryAgainError, UserError

CONFIG = "config.json"
# What `flickcast encoders pull` fetches of a repository: weights as safetensors, and plain data.
FILES = ("*.safetensors", "*.json", "*.txt")
# A text is cut to so many characters a token before it is read: a title of a megabyte would take minutes.
_MOST_CHARACTERS = 40
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Checkpoint:
    """A folder with an encoder's configuration, preprocessing and weights; `config` is what config.json says."""

    name: str
    folder: Path
    config: dict[str, Any]

    def version(self, settings: dict[str, Any]) -> str:
        """Changes whenever the same input could get another vector: any byte of a file read here, or the settings."""
        digest = hashlib.sha256(json.dumps([self.config["model_type"], settings], sort_keys=True).encode())
        digest.update("".join(self._lines).encode())
        return digest.hexdigest()[:16]

    @cached_property
    def _lines(self) -> list[str]:
        """Name and hash of each file, hashed once: weights are gigabytes."""
        lines = []
        for path in sorted(path for pattern in FILES for path in self.folder.glob(pattern)):
            with path.open("rb") as file:
                lines.append(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n")
        return lines

    @property
    def weights_sha256(self) -> str:
        """Of the weights alone; configuration, preprocessing and tokenizer may change beside them."""
        weights = [line for line in self._lines if line.partition(" ")[0].endswith(".safetensors")]
        return hashlib.sha256("".join(weights).encode()).hexdigest()

    def model(self, kind: Any, choice: Choice) -> Any:
        """The model in the chosen number type, for inference, on the device. UserError if these are not its weights."""
        import torch

        model, report = self._opened(
            kind, use_safetensors=True, dtype=getattr(torch, choice.number_type), output_loading_info=True
        )
        if missing := sorted(report["missing_keys"]):
            raise self._not_its_weights(f"{len(missing)} tensors are missing, first {missing[0]}")
        return model.eval().to(device())

    def pixels(self, kind: Any) -> Any:
        """Its image processor. UserError if the folder's files do not describe one."""
        return self._opened(kind)

    def tokenizer(self, kind: Any, vocabulary: int) -> Any:
        """Its tokenizer. UserError if the folder lacks it, or it makes tokens that the model does not know."""
        # The library would make one that knows no word.
        if not any((self.folder / file).is_file() for file in _VOCABULARIES):
            raise self._not_its_weights(f"it lacks {' or '.join(_VOCABULARIES)}")
        tokenizer = self._opened(kind)
        if (most := max(tokenizer.get_vocab().values(), default=0)) >= vocabulary:
            raise self._not_its_weights(f"its tokenizer makes token {most}, and its model knows {vocabulary}")
        return tokenizer

    def _opened(self, kind: Any, **options: Any) -> Any:
        from transformers.utils import logging

        logging.disable_progress_bar()
        logging.set_verbosity_error()  # it lists the tensors of parts that we do not use
        try:
            return kind.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False, **options)
        # Wrong shapes, broken JSON, a missing file, values of a wrong type: each comes as another class, and a broken
        # tokenizer.json as Exception itself.
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise self._not_its_weights(_first_line(error)) from None

    def _not_its_weights(self, problem: str) -> UserError:
        return UserError(f"{self.folder} does not hold what encoder {self.name} needs: {problem}")


def find(name: str, choice: Choice, repository: str, model_type: str | None) -> Checkpoint:
    """The checkpoint of an encoder on this machine; never reaches for the network.

    UserError if it is not here, holds no safetensors, or belongs to a model of another type.
    """
    folder = _folder(name, choice, repository)
    checkpoint = Checkpoint(name, folder, _config(name, folder))
    if model_type not in (None, found := checkpoint.config["model_type"]):
        raise UserError(f"{folder} holds a model of type {found}, but encoder {name} needs one of type {model_type}.")
    if not any(folder.glob("*.safetensors")):
        raise _without_safetensors(name, folder, choice)
    return checkpoint


def pull_command(name: str, weights: str | None) -> str:
    """What a user types to fetch these weights of an encoder, a tag or a repository; None: the usual ones.

    >>> pull_command("RN50", "openai"), pull_command("bert-text", None)
    ('`flickcast encoders pull RN50 --pretrained openai`', '`flickcast encoders pull bert-text`')
    """
    return f"`flickcast encoders pull {name}{f' --pretrained {weights}' if weights else ''}`"


def fetch(name: str, repository: str, files: Sequence[str]) -> Path:
    """Download files of a repository, by patterns; where they then lie. TryAgainError without network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError
    from huggingface_hub.utils.logging import set_verbosity_error

    set_verbosity_error()  # it announces each of its retries
    wanted = f"{repository}: {', '.join(files)}"
    say(f"fetching {wanted}")
    try:
        return Path(snapshot_download(repository, allow_patterns=list(files)))
    except RepositoryNotFoundError:
        raise UserError(f"There is no repository {repository} on the Hugging Face hub for encoder {name}.") from None
    except (OSError, RuntimeError) as error:
        raise TryAgainError(
            f"No connection to download the weights of encoder {name} ({wanted}) from the Hugging Face hub "
            f"({type(error).__name__}). Try again later, or set embed.weights.{name} in params.yaml to the path of a "
            "local copy."
        ) from None


def _folder(name: str, choice: Choice, repository: str) -> Path:
    """The folder that params.yaml names, or the hub's copy on this machine."""
    if choice.weights is not None:
        if (folder := choice.root / choice.weights).is_dir():
            return folder
        if folder.exists() or not _REPOSITORY.fullmatch(choice.weights):
            raise UserError(
                f"embed.weights.{name} names {folder}, which is no folder. Correct the path in params.yaml."
            )
    repository = choice.weights or repository
    if (cached := _cached(repository)) is not None:
        return cached
    raise UserError(
        f"The weights of encoder {name} ({repository}) are not here: fetch them with "
        f"{pull_command(name, choice.weights)}, or set embed.weights.{name} in params.yaml to the path of a folder "
        "with a local copy."
    )


def _cached(repository: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repository, CONFIG)
    return Path(path).parent if isinstance(path, str) else None


def _config(name: str, folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = {"model_type": None} | json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return config
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{folder / CONFIG} of encoder {name} cannot be read: {_first_line(error)}") from None


def _without_safetensors(name: str, folder: Path, choice: Choice) -> UserError:
    pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.pkl") for path in folder.glob(pattern))
    if not pickles:
        is_own = choice.weights is not None and folder == choice.root / choice.weights
        fetched = "" if is_own else f"fetch them with {pull_command(name, choice.weights)}, or "
        return UserError(
            f"{folder} holds no weights of encoder {name} (*.safetensors): {fetched}set embed.weights.{name} in "
            "params.yaml to a folder that does."
        )
    return UserError(
        f"{folder} holds the weights of encoder {name} only as pickle ({pickles[0]}), which flickcast does not open; "
        f"get them as safetensors (huggingface.co/spaces/safetensors/convert makes them) and name their folder as "
        f"embed.weights.{name} in params.yaml."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def words(tokenizer: Any, text: str, most: int) -> list[int]:
    """The first tokens of a text, without those that mean something to the model, should the text spell one out."""
    plain = text[: most * _MOST_CHARACTERS].encode("utf-8", "replace").decode()  # a lone surrogate is no text
    found = tokenizer(plain, add_special_tokens=False, verbose=False)["input_ids"]
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    ends = {tokenizer.bos_token_id, tokenizer.eos_token_id}
    if tokenizer.unk_token_id not in ends:  # as it is in OPT
        special -= {tokenizer.unk_token_id}
    return [token for token in found if token not in special][:most]
