"""The registry: which encoders there are by name, how each is built, and whether its weights are here."""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from flickcast.embeddings import open_clip, pretrained
from flickcast.embeddings.pretrained import PACKAGED
from flickcast.embeddings.protocol import Choice, Encoder, Family, Kind, Vectors
from flickcast.errors import TryAgainError, UserError
from flickcast.params import EmbedParams

__all__ = [
    "Encoder",
    "Family",
    "Vectors",
    "choice_of",
    "families",
    "family_named",
    "list_encoders",
    "load_encoder",
    "pull",
]

# One file per library or idea; each has its FAMILIES by name. The models of open_clip come besides.
_MODULES = (
    *("statistics", "resnet", "aesthetics", "intrinsic", "blip", "vilt", "captions"),
    *("lsa", "glove", "sentences"),
)
_KINDS: dict[str, tuple[Kind, ...]] = {"picture": ("picture",), "text": ("text",), "both": get_args(Kind)}


def families() -> dict[str, Family]:
    """All encoders but those of open_clip, by name."""
    found: dict[str, Family] = {}
    for module in _MODULES:
        if find_spec(name := f"flickcast.embeddings.{module}") is not None:
            found |= getattr(import_module(name), "FAMILIES", {})
    return found


def family_named(name: str) -> Family:
    """The entry of an encoder. UserError if there is none, with the nearest name."""
    known = families()
    if name in known:
        return known[name]
    if half := open_clip.model_and_kind(name):
        model, kind = half
        pretrained.check_name(model, [*known, *(f"{one}-{kind}" for one in pretrained.models())], name)
        return open_clip.family(kind)
    pretrained.check_name(name, [*known, *(f"{one}-picture" for one in pretrained.models())], name)
    raise UserError(f"'{name}' is a model of open_clip: name its half, {name}-picture or {name}-text.")


def reads(name: str) -> tuple[Kind, ...]:
    """What an encoder reads: its name ends in it.

    >>> reads("vilt-both")
    ('picture', 'text')
    """
    return _KINDS[name.rpartition("-")[2]]


def choice_of(name: str, params: EmbedParams, root: Path = Path(), threads: int | None = None) -> Choice:
    """What params.yaml says of an encoder. `embed.pretrained` is for the pair, `embed.weights` for all others."""
    model = name.rpartition("-")[0]
    usual = params.pretrained if name in params.pair else params.weights.get(model)
    weights = params.weights.get(name, usual)
    if model == PACKAGED and not str(weights).endswith(".safetensors"):
        weights = None  # a tag means nothing to it
    return Choice(weights, root, params.number_type, threads, params.compile)


def load_encoder(name: str, params: EmbedParams, root: Path = Path(), threads: int | None = None) -> Encoder:
    """An encoder from weights on this machine; never reaches for the network.

    A path in params.yaml is seen from `root`. UserError if the name is unknown or there are no weights here.
    """
    return family_named(name).build(name, choice_of(name, params, root, threads))


def list_encoders() -> Iterator[dict[str, Any]]:
    """Every encoder with what it reads, the length of its vectors if known, its weights, and whether these are here."""
    packaged, *others = [
        [
            {
                "encoder": f"{row['model']}-{kind}",
                "reads": [kind],
                "dimension": row["dimension"],
                "weights": row["pretrained"],
                "here": row["here"],
                "meaning": open_clip.family(kind).meaning,
                "of_open_clip": True,
            }
            for kind in get_args(Kind)
        ]
        for row in pretrained.list_models()
    ]
    yield from packaged
    for name, family in families().items():
        yield {
            "encoder": name,
            "reads": list(reads(name)),
            "dimension": family.facts.get("dimension"),
            "weights": family.repository or _origin(family),
            "here": _is_here(family),
            "meaning": family.meaning,
            "of_open_clip": False,
        }
    for pair in others:
        yield from pair


def pull(name: str, tag: str | None) -> Path:
    """Download an encoder's weights; where they then lie. TryAgainError without network.

    `tag`: for a model of open_clip, which of its weights; for others, the repository if not the usual one.
    """
    known = families()
    if name not in known:
        half = open_clip.model_and_kind(name)
        model = half[0] if half and name not in pretrained.models() else name
        return pretrained.pull(model, tag or EmbedParams().pretrained)
    family = known[name]
    if (repository := tag or family.repository) is None or not family.files:
        raise UserError(str(family.facts.get("bring") or f"Encoder {name} needs no weights: nothing to fetch."))
    return _download(name, repository, family.files)


def _download(name: str, repository: str, files: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError
    from huggingface_hub.utils.logging import set_verbosity_error

    set_verbosity_error()  # it announces each of its retries
    try:
        return Path(snapshot_download(repository, allow_patterns=list(files)))
    except RepositoryNotFoundError:
        raise UserError(f"There is no repository {repository} on the Hugging Face hub for encoder {name}.") from None
    except (OSError, RuntimeError) as error:
        raise TryAgainError(
            f"No connection to download the weights of encoder {name} ({repository}) from the Hugging Face hub "
            f"({type(error).__name__}). Try again later, or set embed.weights.{name} in params.yaml to the path of a "
            "local copy."
        ) from None


def _origin(family: Family) -> str:
    if "fit" in family.facts:
        return "learned from the corpus"
    return "a file of yours" if "bring" in family.facts else "none needed"


def _is_here(family: Family) -> bool:
    """As far as can be told without a workspace."""
    if family.repository is None:
        return "bring" not in family.facts
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(family.repository, "config.json"), str)
