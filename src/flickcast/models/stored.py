"""A model's folder as it is read: model.json first, then each file that it names, checked against its sha256."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import StringConstraints, ValidationError

from flickcast.errors import CheckError, UserError
from flickcast.params import Section

Json = dict[str, Any]
FORMAT = 4
FileName = Annotated[str, StringConstraints(pattern=r"^[\w][\w.-]*$")]  # no way out of the folder


class Description(Section):
    """model.json: which learners, how they are weighed, and the files of each member, `<number>-<name>`."""

    format: int
    recipe: str
    learners: dict[str, str]  # name in the recipe to family
    weights: list[dict[str, float]]  # of each member
    calibration: Json
    files: dict[FileName, str]  # to their sha256
    sha256: str  # of all the rest

    @classmethod
    def of(cls, files: Mapping[str, bytes], **facts: Any) -> "Description":
        """Of these files, with the sums of all."""
        sums = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
        bare = cls(format=FORMAT, files=sums, sha256="", **facts)
        return bare.model_copy(update={"sha256": digest_of(bare.model_dump(mode="json"))})


def digest_of(facts: Json) -> str:
    """The sha256 of model.json's content, however it is laid out."""
    content = json.dumps({name: fact for name, fact in facts.items() if name != "sha256"}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def read(folder: Path) -> tuple[Description, dict[str, bytes]]:
    """What model.json says, and the files' bytes: nothing is parsed yet. CheckError if one is not what was saved."""
    path = folder / "model.json"
    if not path.is_file():
        raise UserError(f"{folder} holds no model. Train one with `flickcast train`, or get it with `dvc pull`.")
    facts = _json(path)
    if facts.get("format") != FORMAT:
        raise UserError(
            f"{path} has format {str(facts.get('format'))[:20]!r}; this version reads {FORMAT}. Train it again."
        )
    if facts.get("sha256") != digest_of(facts):
        raise damaged(path, "is not as it was saved (sha256)")
    try:
        description = Description(**facts)
    except ValidationError:
        raise damaged(path, "does not describe a model") from None
    return description, {file: _checked(folder / file, known) for file, known in description.files.items()}


def damaged(path: Path, what: str) -> CheckError:
    """The error to raise, with what to do."""
    return CheckError(f"{path} {what}. Get it back with `dvc checkout`, or train it again.")


def _json(path: Path) -> Json:
    try:
        facts = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise damaged(path, "is not JSON") from None
    if not isinstance(facts, dict):
        raise damaged(path, "does not describe a model")
    return facts


def _checked(path: Path, digest: str) -> bytes:
    """The file's bytes, once they are known to be the ones that were saved."""
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != digest:
        raise damaged(path, "is not the file that model.json names (sha256)")
    return content
