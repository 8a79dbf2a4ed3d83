"""Proof before work: a handful of packaged pictures and texts must get the vectors that are stored of them.

Other weights, other preprocessing, another version of a library and a sick device all show here, within a second.
Settings and libraries may change, and then the vectors are another version. Other weights than before, though
params.yaml names the same ones, are refused: a changed file or another revision in a cache is seldom meant.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from flickcast.embeddings.protocol import Captioner, Choice, Encoder, Sample, Vectors
from flickcast.errors import CheckError
from flickcast.pictures import decode
from flickcast.tables import publish_json

LEAST_COSINE = 0.999
LEAST_COSINE_ELSEWISE = 0.995  # in another number type than that of the stored vectors
ALIKE = 1e-2  # canaries that differ less than so much of their length do not show more than their vectors do
DIGITS = 4
_PACKAGED_FOLDER = Path(__file__).parent / "canaries"
FOLDER = Path("encoders") / "canaries"  # in a workspace; under git


class Reference(BaseModel):
    """The vectors that one version of an encoder made, and how."""

    version: str
    number_type: Literal["float32", "bfloat16", "float16"]
    weights: str | None  # as params.yaml names them
    weights_sha256: str | None = None  # of their files; None where there are none, or the corpus was learned from
    vectors: list[list[float]]


class _File(BaseModel):
    references: list[Reference]


def prove(encoder: Encoder | Captioner, choice: Choice, *, may_write: bool = True) -> None:
    """Embed the canaries and compare. CheckError, in one sentence, where they come out otherwise.

    Of a captioner, what it thinks of the first word of each caption stands for a vector: picture, question and language
    model all take part in it.

    Where nothing is stored of this version they are kept for the runs to come, if this machine `may_write`: a worker
    must have something to be measured by.
    """
    made = _vectors(encoder)
    packaged = _PACKAGED_FOLDER / f"{encoder.name}.json"
    if packaged.exists() and (choice.weights is None or encoder.version in _versions(packaged)):
        _compare(encoder, choice, made, _read(packaged), packaged)
        return
    path = choice.root / FOLDER / f"{encoder.name}.json"
    known = _read(path)
    _refuse_other_weights(encoder, choice, known)
    if not _compare(encoder, choice, made, known, path):
        if not may_write:
            raise CheckError(
                f"Encoder {encoder.name} is version {encoder.version} here, of which {path} says nothing: this machine "
                "has other weights or preprocessing than the one that sent the work, or that one has not embedded yet."
            )
        write(path, encoder, choice, made, known)


def refuse_other_version(encoder: Encoder | Captioner, version: str) -> None:
    """CheckError on a worker whose encoder is not the one that its work was planned for."""
    if encoder.version != version:
        raise CheckError(
            f"Encoder {encoder.name} is version {encoder.version} here, but its work was planned for {version}: this "
            "machine has other weights, or prepares pictures and texts otherwise. Nothing was embedded."
        )


def write(
    path: Path, encoder: Encoder | Captioner, choice: Choice, made: Vectors, known: Sequence[Reference] = ()
) -> None:
    """Keep the vectors; those of other weights in the same number type are forgotten."""
    vectors = [[float(f"{value:.{DIGITS}g}") for value in row] for row in made.tolist()]
    new = Reference(
        version=encoder.version,
        number_type=choice.number_type,
        weights=choice.weights,
        weights_sha256=_weights_sha256(encoder),
        vectors=vectors,
    )
    kept = [one for one in known if one.number_type != new.number_type and one.weights == new.weights]
    publish_json(path, _File(references=[*kept, new]).model_dump())


def cosines(made: NDArray[Any], stored: NDArray[Any]) -> NDArray[np.float64]:
    """How alike each pair of rows is: for unit vectors their cosine; less where the lengths differ, too.

    >>> cosines(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]))
    array([1.  , 0.75, 1.  ])
    """
    made, stored = made.astype(np.float64), stored.astype(np.float64)
    distance = ((made - stored) ** 2).sum(axis=1)
    lengths = np.linalg.norm(made, axis=1) * np.linalg.norm(stored, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distance == 0, 1.0, 1 - distance / (2 * lengths))


def _refuse_other_weights(encoder: Encoder | Captioner, choice: Choice, known: Sequence[Reference]) -> None:
    """CheckError where params.yaml names the same weights as before, and their files are others."""
    here = _weights_sha256(encoder)
    if here is None or any(one.version == encoder.version for one in known):
        return
    if any(one.weights == choice.weights and one.weights_sha256 not in (None, here) for one in known):
        named = f" ({choice.weights})" if choice.weights else ""
        raise CheckError(
            f"Encoder {encoder.name} has other weights here than those of its stored vectors, though params.yaml names "
            f"the same{named}: put those back or, to accept these and have all its vectors made anew, delete "
            f"{FOLDER / encoder.name}.json in the workspace."
        )


def _weights_sha256(encoder: Encoder | Captioner) -> str | None:
    found: str | None = getattr(encoder, "weights_sha256", None)
    return found


def _compare(
    encoder: Encoder | Captioner, choice: Choice, made: Vectors, known: Sequence[Reference], path: Path
) -> bool:
    """Whether there was anything to compare with. CheckError where it differs."""
    same = [one for one in known if one.version == encoder.version]
    # The packaged weights are one; elsewhere another version in the same number type means that settings changed.
    kin = [one for one in known if one.weights == choice.weights and one.number_type != choice.number_type]
    packaged = list(known) if path.parent == _PACKAGED_FOLDER else []
    for reference in [*same, *kin, *packaged][:1]:
        alike = reference.number_type == choice.number_type
        least = LEAST_COSINE if alike else LEAST_COSINE_ELSEWISE
        stored = np.array(reference.vectors)
        found = _likeness(made, stored) if stored.shape == made.shape else -1.0
        if not found >= least:
            raise CheckError(
                f"Encoder {encoder.name} does not work as it should here: the canaries' vectors have a cosine of "
                f"{found:.4f} to those in {path}, {least} is the least. Its weights or preprocessing are wrong, or the "
                "device is sick. If the change is meant, delete that file."
            )
        return bool(same) or path.parent == _PACKAGED_FOLDER
    return False


def _likeness(made: Vectors, stored: NDArray[Any]) -> float:
    """The least cosine, and that of how all canaries differ from one another.

    The latter shows what the former does not where vectors are alike for all posts, such as scores around 5.
    """
    mean = stored.mean(axis=0)
    differences = stored - mean
    least = float(cosines(made, stored).min())
    if np.linalg.norm(differences) <= ALIKE * np.linalg.norm(stored):
        return least
    return min(least, float(cosines((made - mean).reshape(1, -1), differences.reshape(1, -1))[0]))


def _vectors(encoder: Encoder | Captioner) -> Vectors:
    samples = [_sample(encoder, content, text) for content, text in zip(_pictures(), _texts(), strict=True)]
    prepared = [encoder.prepare(sample) for sample in samples]
    return encoder.scores(prepared) if isinstance(encoder, Captioner) else encoder.encode(prepared)


def _sample(encoder: Encoder | Captioner, content: bytes, text: str) -> Sample:
    picture = decode(content, encoder.shortest_edge) if "picture" in encoder.reads else None
    assert not isinstance(picture, str), picture
    return Sample(
        picture.rgb if picture else None,
        text if "text" in encoder.reads else None,
        picture.mode if picture else None,
    )


@lru_cache(maxsize=1)
def _pictures() -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in sorted(_PACKAGED_FOLDER.glob("*.jpg")))


@lru_cache(maxsize=1)
def _texts() -> tuple[str, ...]:
    return tuple(json.loads((_PACKAGED_FOLDER / "texts.json").read_text(encoding="utf-8")))


def _versions(path: Path) -> set[str]:
    return {one.version for one in _read(path)}


def _read(path: Path) -> list[Reference]:
    if not path.exists():
        return []
    try:
        return _File.model_validate_json(path.read_bytes()).references
    except ValidationError:
        raise CheckError(f"{path} is damaged. Get it back with `git checkout -- {path}`, or delete it.") from None
