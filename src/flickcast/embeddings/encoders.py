"""The registry: which encoders there are by name, how each is built, and whether its weights are here."""

from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from flickcast.embeddings import open_clip, pretrained
from flickcast.embeddings.captions import CAPTIONERS
from flickcast.embeddings.checkpoints import fetch
from flickcast.embeddings.names import kinds, of_texts, part_of
from flickcast.embeddings.pretrained import PACKAGED
from flickcast.embeddings.protocol import Captioner, Choice, Encoder, Family, Kind, Vectors
from flickcast.errors import UserError
from flickcast.params import EmbedParams

__all__ = [
    "Encoder",
    "Family",
    "Place",
    "Vectors",
    "choice_of",
    "families",
    "family_named",
    "load_captioner",
    "load_encoder",
    "place_of",
    "pull",
    "reads",
    "state_of",
    "text_of",
]

# One file per library or idea; each has its FAMILIES by name. The models of open_clip come besides.
_MODULES = (
    *("statistics", "resnet", "aesthetics", "intrinsic", "blip", "vilt"),
    *("lsa", "glove", "sentences"),
)


@dataclass(frozen=True)
class Place:
    """Where what an encoder or a captioner makes is kept: its table, the columns of its version and of the value."""

    table: str
    version: str
    value: str


def families() -> dict[str, Family]:
    """All encoders but those of open_clip, and the captioners, by name."""
    found: dict[str, Family] = {}
    for module in _MODULES:
        if find_spec(name := f"flickcast.embeddings.{module}") is not None:
            found |= getattr(import_module(name), "FAMILIES", {})
    return found | CAPTIONERS


def family_named(name: str) -> Family:
    """The entry of an encoder. UserError if there is none, with the nearest name."""
    known = families()
    if name in known:
        return known[name]
    if (text := of_texts(name)) != name:
        return _of_part(family_named(text), text)
    if half := open_clip.model_and_kind(name):
        model, kind = half
        pretrained.check_name(model, [*known, *(f"{one}-{kind}" for one in pretrained.models())], name)
        return open_clip.family(kind)
    pretrained.check_name(name, [*known, *(f"{one}-picture" for one in pretrained.models())], name)
    raise UserError(f"'{name}' is a model of open_clip: name its half, {name}-picture or {name}-text.")


def reads(name: str) -> tuple[Kind, ...]:
    """What an encoder or a captioner reads.

    >>> reads("vilt-both"), reads("blip2")
    (('picture', 'text'), ('picture', 'text'))
    """
    return get_args(Kind) if name in CAPTIONERS else kinds(name)


def text_of(name: str) -> str:
    """How a post's words are written for an encoder: a key of step.TEXTS, or `caption`."""
    return part_of(name) or str(family_named(name).facts.get("text", "prompt"))


def state_of(name: str) -> str | None:
    """Of an encoder that learns from the corpus: the name of its state; None for any other."""
    facts = family_named(name).facts
    return None if "fit" not in facts else of_texts(name) if facts.get("one_state") else name


def place_of(name: str) -> Place:
    """Where what it makes is kept."""
    if name in CAPTIONERS:
        return Place("captions", "captioner_version", "caption")
    return Place(f"embeddings/{name}", "encoder_version", "vector")


def _of_part(family: Family, text: str) -> Family:
    """The same encoder of texts for a part of them. One that learns has learned from that part."""

    def build(name: str, choice: Choice) -> Encoder:
        learned = "fit" in family.facts and not family.facts.get("one_state")
        encoder = family.build(name if learned else text, choice)
        assert not isinstance(encoder, Captioner)
        encoder.name = name
        return encoder

    return replace(family, build=build)


def choice_of(name: str, params: EmbedParams, root: Path = Path(), threads: int | None = None) -> Choice:
    """What params.yaml says of an encoder. `embed.pretrained` is for the pair, `embed.weights` for all others."""
    model, text = name.rpartition("-")[0], of_texts(name)
    usual = params.pretrained if text in params.pair else params.weights.get(model)
    weights = params.weights.get(name, params.weights.get(text, usual))
    if model == PACKAGED and not str(weights).endswith(".safetensors"):
        weights = None  # a tag means nothing to it
    return Choice(weights, root, params.number_type, threads, params.compile)


def load_encoder(name: str, params: EmbedParams, root: Path = Path(), threads: int | None = None) -> Encoder:
    """An encoder from weights on this machine; never reaches for the network.

    A path in params.yaml is seen from `root`. UserError if the name is unknown or there are no weights here.
    """
    built = family_named(name).build(name, choice_of(name, params, root, threads))
    if isinstance(built, Captioner):
        raise UserError(f"{name} makes captions, not vectors: name it as embed.captions in params.yaml.")
    return built


def load_captioner(name: str, params: EmbedParams, root: Path = Path(), threads: int | None = None) -> Captioner:
    """The same for a captioner."""
    built = CAPTIONERS[name].build(name, choice_of(name, params, root, threads))
    assert isinstance(built, Captioner)
    return built


def pull(name: str, tag: str | None) -> Path:
    """Download an encoder's weights; where they then lie. TryAgainError without network.

    `tag`: for a model of open_clip, which of its weights; for others, the repository if not the usual one.
    """
    known, name = families(), of_texts(name)
    if name not in known:
        half = open_clip.model_and_kind(name)
        model = half[0] if half and name not in pretrained.models() else name
        return pretrained.pull(model, tag or EmbedParams().pretrained)
    family = known[name]
    if (repository := tag or family.repository) is None or not family.files:
        raise UserError(str(family.facts.get("bring") or f"Encoder {name} needs no weights: nothing to fetch."))
    return _download(name, repository, family.files)


def _download(name: str, repository: str, files: tuple[str, ...]) -> Path:
    folder = fetch(name, repository, files)
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"{repository} offers no weights of encoder {name} as safetensors, and a pickle can hold code: set "
            f"embed.weights.{name} in params.yaml to another repository, or to the path of a converted copy."
        )
    return folder
