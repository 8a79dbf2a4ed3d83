"""Where an encoder's weights lie here, and how to fetch those that do not: safetensors only, as these hold no code."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from flickcast.embeddings import open_clip_tokenizers
from flickcast.embeddings.checkpoints import fetch, pull_command
from flickcast.errors import TryAgainError, UserError, nearest

# Trained by scripts/train_tiny_clip.py on pictures of the simulated world: for the demo and the tests only.
PACKAGED = "flickcast-tiny"
_PACKAGED_FOLDER = Path(__file__).parent / "weights"
# open_clip's own name for the file where a tag names a repository only.
_HUB_FILE = "open_clip_model.safetensors"
_PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


@dataclass(frozen=True)
class EncoderFiles:
    """All that open_clip needs to build an encoder; `tag` is its entry for the pretrained tag, empty for a file."""

    name: str
    weights: Path
    tag: dict[str, Any]

    def open(self, device: str, number_type: str = "float32") -> tuple[Any, Any]:
        """The model and its preprocessing. UserError if the weights are not this model's."""
        import open_clip
        from safetensors import SafetensorError

        try:
            model, _, preprocess = open_clip.create_model_and_transforms(
                self.name,
                pretrained=str(self.weights),
                device=device,
                precision=_PRECISIONS[number_type],
                force_quick_gelu=self.tag.get("quick_gelu", False),
                image_mean=self.tag.get("mean"),
                image_std=self.tag.get("std"),
                image_interpolation=self.tag.get("interpolation"),
                image_resize_mode=self.tag.get("resize_mode"),
            )
        except (SafetensorError, RuntimeError) as error:
            problem = str(error).strip().splitlines()[0]
            raise UserError(f"{self.weights} does not hold weights of encoder {self.name}: {problem}") from None
        return model.eval(), preprocess

    def dimension(self) -> int:
        """How long its vectors are."""
        return _dimension(self.name)

    def version(self, preprocessing: dict[str, Any], number_type: str) -> str:
        """Changes whenever the same input could get another vector: weights, configuration, preprocessing, numbers."""
        digest = self._hashed.copy()
        settings = [_config(self.name), self.tag.get("quick_gelu", False), preprocessing, number_type]
        digest.update(json.dumps(settings, sort_keys=True).encode())
        return str(digest.hexdigest()[:16])

    @property
    def weights_sha256(self) -> str:
        """Of the file of weights alone."""
        return str(self._hashed.hexdigest())

    @cached_property
    def _hashed(self) -> Any:
        with self.weights.open("rb") as file:
            return hashlib.file_digest(file, "sha256")


def find(name: str, pretrained: str | None, root: Path = Path()) -> EncoderFiles:
    """The encoder's files on this machine. UserError if the name is unknown or the weights are not here.

    `pretrained` is one of open_clip's tags or a safetensors file, seen from `root`. The packaged encoder needs none:
    a tag means nothing to it.
    """
    _config(name)
    if pretrained is not None and pretrained.endswith(".safetensors"):
        return EncoderFiles(name, _existing(root / pretrained), {})
    if name == PACKAGED:
        return EncoderFiles(name, _PACKAGED_FOLDER / f"{PACKAGED}.safetensors", {})
    tag = _tag(name, pretrained)
    weights = _cached(tag)
    if weights is None:
        raise UserError(
            f"The weights of encoder {name} ({pretrained}) are not here: fetch them with "
            f"{pull_command(name, pretrained)}, or set embed.pretrained (or embed.weights.{name}, for another than the "
            "pair) in params.yaml to the path of a local .safetensors file."
        )
    return EncoderFiles(name, weights, tag)


def list_models() -> list[dict[str, Any]]:
    """Every model and pretrained tag that can be used, the packaged one first, and whether its weights are here."""
    import open_clip

    found = [{"model": PACKAGED, "pretrained": "packaged", "dimension": _dimension(PACKAGED), "here": True}]
    for name, pretrained in open_clip.list_pretrained():
        tag = open_clip.get_pretrained_cfg(name, pretrained)
        if tag.get("hf_hub") and not _needs_transformers(name):
            weights = _cached(tag)
            own = open_clip_tokenizers.repository(name) is None
            here = weights is not None and (own or open_clip_tokenizers.folder(name, weights) is not None)
            found.append({"model": name, "pretrained": pretrained, "dimension": _dimension(name), "here": here})
    return found


def models() -> list[str]:
    """The models of open_clip that can be used."""
    import open_clip

    _register_packaged()
    return [model for model in open_clip.list_models() if not _needs_transformers(model)]


def check_name(model: str, known: Sequence[str], asked: str) -> None:
    """UserError if open_clip has no such model, or none that we can run; the hint is the nearest of `known`."""
    import open_clip

    if model in models():
        return
    if model in open_clip.list_models():
        raise UserError(
            f"Encoder {asked} reads texts with a model of transformers that open_clip would download; choose another."
        )
    lower = {one.lower(): one for one in known}
    close = lower[get_close_matches(asked.lower(), lower, n=1, cutoff=0)[0]]
    raise UserError(f"There is no encoder '{asked}'; did you mean '{close}'? `flickcast encoders list` shows all.")


def pull(name: str, pretrained: str | None) -> Path:
    """Download an encoder's weights; where they then lie. TryAgainError without network."""
    _config(name)
    if name == PACKAGED:
        return find(name, None).weights
    tag = _tag(name, pretrained)
    from huggingface_hub.errors import RemoteEntryNotFoundError, RepositoryNotFoundError
    from huggingface_hub.utils.logging import set_verbosity_error
    from open_clip.pretrained import download_pretrained_from_hf

    set_verbosity_error()  # it announces each of its retries
    repository, file = _hub_place(tag)
    if (tokenizer := open_clip_tokenizers.repository(name)) is not None:
        fetch(f"{name}-text", tokenizer, open_clip_tokenizers.FILES)
    try:
        return Path(download_pretrained_from_hf(repository, filename=file))
    except FileNotFoundError as error:
        # open_clip wraps whatever happened in a FileNotFoundError.
        if isinstance(error.__context__, RemoteEntryNotFoundError | RepositoryNotFoundError):
            raise UserError(f"{repository} offers no {file}, so encoder {name} ({pretrained}) cannot be had.") from None
        raise TryAgainError(
            f"No connection to download the weights of encoder {name} ({pretrained}) from the Hugging Face hub. "
            f"Try again later, or set embed.pretrained in params.yaml to the path of a local .safetensors file."
        ) from None


@lru_cache(maxsize=1)
def _register_packaged() -> None:
    import open_clip

    open_clip.add_model_config(_PACKAGED_FOLDER)


def _config(name: str) -> dict[str, Any]:
    """open_clip's configuration of a model that we can run; UserError otherwise."""
    import open_clip

    check_name(name, models(), name)
    return dict(open_clip.get_model_config(name))


def _dimension(name: str) -> int:
    import open_clip

    _register_packaged()
    return int(open_clip.get_model_config(name)["embed_dim"])


def _needs_transformers(name: str) -> bool:
    """Whether the text side is not open_clip's own; its configuration would be downloaded when first used."""
    import open_clip

    return "hf_model_name" in (open_clip.get_model_config(name) or {}).get("text_cfg", {})


def _tag(name: str, pretrained: str | None) -> dict[str, Any]:
    """open_clip's entry for a tag of this model, if its weights exist in a format that only holds data."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained is None or not open_clip.get_pretrained_cfg(name, pretrained):
        hint = nearest(pretrained or "", tags) or "it has none, so name a local .safetensors file"
        raise UserError(f"embed.pretrained '{pretrained or ''}' is no pretrained tag of encoder {name}; {hint}")
    tag = dict(open_clip.get_pretrained_cfg(name, pretrained))
    if not tag.get("hf_hub"):
        raise UserError(f"The weights of {name} ({pretrained}) exist only as pickle, which flickcast does not read.")
    return tag


def _hub_place(tag: dict[str, Any]) -> tuple[str, str]:
    """Repository and file on the hub: the safetensors twin of the file that the tag names."""
    repository, file = os.path.split(tag["hf_hub"])
    return repository, Path(file).with_suffix(".safetensors").name if file else _HUB_FILE


def _cached(tag: dict[str, Any]) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(*_hub_place(tag))
    return Path(path) if isinstance(path, str) else None


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"embed.pretrained names {path}, which is not there. Correct the path in params.yaml.")
    return path
