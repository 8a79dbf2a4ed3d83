"""What an encoder has learned from the corpus' texts: arrays and facts in a folder, data only, named by their content.

A state is learned once, from the texts known at that moment, without any label. It is never learned again unasked: the
vectors of two states cannot be compared, so that another state is another version, and all vectors are computed anew.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from flickcast.errors import UserError
from flickcast.tables import publish, publish_json

Json = dict[str, Any]
Matrix = NDArray[np.float32]

LEAST_TEXTS = 100  # fewer teach nothing that would hold for the next thousand
STATE = "state.json"
_FORM = 1  # raise it when texts are cut into words in another way: states learned before are then refused
# Of a post's title and tags; whoever writes a megabyte is read as far as this, when learning as when encoding.
_MOST_CHARACTERS = 10_000


class TooFewTextsError(UserError):
    """There is too little text yet to learn a state from; later there may be enough."""


@dataclass(frozen=True)
class State:
    """What was learned, and the short hash of all of it."""

    facts: Json
    arrays: dict[str, Matrix]
    version: str


def folder_of(name: str, root: Path) -> Path:
    """Where an encoder's state lies in a workspace."""
    return root / "encoders" / "fitted" / name


def is_fitted(name: str, root: Path) -> bool:
    """Whether there is a state, sound or not: what is damaged is not replaced unasked."""
    return (folder_of(name, root) / STATE).exists()


def readable(text: str | None) -> str:
    """The text as the fitted encoders read it: its beginning, composed characters, lower case; nothing for none.

    >>> readable("Old MILL")
    'old mill'
    """
    return normalize("NFC", (text or "")[:_MOST_CHARACTERS]).lower()


def corpus(texts: Iterable[str | None]) -> list[str]:
    """The texts to learn from, in an order that does not depend on theirs. TooFewTextsError below LEAST_TEXTS."""
    found = sorted(text for text in map(readable, texts) if text.strip())
    if len(found) < LEAST_TEXTS:
        raise TooFewTextsError(
            f"An encoder learns from {LEAST_TEXTS} texts or more; there are {len(found)} posts with words so far."
        )
    return found


def save_state(folder: Path, facts: Mapping[str, Any], arrays: Mapping[str, Matrix]) -> None:
    """Put a state in place of the one before: at every moment the old one or the new one can be read."""
    from safetensors.numpy import save

    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    digest = hashlib.sha256(content).hexdigest()
    publish(folder / f"{digest}.safetensors", content)
    publish_json(folder / STATE, {"facts": facts, "arrays": digest, "sha256": _digest(facts, digest)})
    for path in folder.glob("*.safetensors"):
        if path.stem != digest:
            path.unlink()


def load_state(name: str, root: Path) -> State:
    """An encoder's state. UserError, in one sentence, if there is none or if it is not as it was written."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    folder = folder_of(name, root)
    if not is_fitted(name, root):
        raise UserError(
            f"Encoder {name} has learned nothing yet: the next `flickcast embed` lets it learn if there are "
            f"{LEAST_TEXTS} texts, as `flickcast encoders fit {name}` does."
        )
    try:
        stored = json.loads((folder / STATE).read_bytes())
        content = (folder / f"{stored['arrays']}.safetensors").read_bytes()
        if hashlib.sha256(content).hexdigest() != stored["arrays"]:
            raise ValueError("other arrays")
        if _digest(stored["facts"], stored["arrays"]) != stored["sha256"]:
            raise ValueError("other facts")
        return State(stored["facts"], load(content), stored["sha256"][:16])
    except (ValueError, KeyError, TypeError, FileNotFoundError, SafetensorError):
        raise UserError(
            f"{folder} is not what `flickcast encoders fit {name}` wrote: get it back with `dvc checkout`, or run that "
            "command again, after which all its vectors are computed anew."
        ) from None


def upright(components: NDArray[np.float64]) -> Matrix:
    """Components (dimensions, width) whose largest entry is positive: a decomposition leaves their sign open."""
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    return (components * np.where(largest < 0, -1, 1)).astype(np.float32)


def _digest(facts: Mapping[str, Any], arrays: str) -> str:
    return hashlib.sha256(json.dumps([_FORM, facts, arrays], sort_keys=True).encode()).hexdigest()
