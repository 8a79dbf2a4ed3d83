"""A fitted model as a folder of data: checked before it is parsed, never executed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from flickcast.models.calibration import Calibration
from flickcast.models.design import Preparation
from flickcast.models.learners import LEARNERS, Learner
from flickcast.models.rows import gather
from flickcast.models.stored import Description, read
from flickcast.models.trial import is_trusted, trust, try_out
from flickcast.tables import publish, publish_json


@dataclass(frozen=True)
class Member:
    """Learners fitted on the same rows, their weights, and how those rows were prepared for them."""

    preparation: Preparation
    learners: Mapping[str, Learner]
    weights: Mapping[str, float]

    def predict(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """The learners' predictions in their weights, one per row."""
        design = self.preparation.design(rows)
        parts = [self.weights[name] * learner.predict(design) for name, learner in self.learners.items()]
        return np.asarray(np.sum(parts, axis=0), np.float64)

    def files(self) -> dict[str, bytes]:
        """What the member is made of, file name to content."""
        return {
            "preparation.json": json.dumps(self.preparation.facts(), sort_keys=True).encode(),
            "arrays.safetensors": save_arrays(_in_row_order(self.preparation.arrays())),
            **{f"{name}.{learner.suffix}": learner.to_bytes() for name, learner in self.learners.items()},
        }

    @classmethod
    def restore(cls, files: Mapping[str, bytes], kinds: Mapping[str, str], weights: Mapping[str, float]) -> Self:
        """A member from what `files` gave; `kinds`: the learner that each name stands for."""
        preparation = Preparation.restore(
            json.loads(files["preparation.json"]), load_arrays(files["arrays.safetensors"])
        )
        learners = {
            name: LEARNERS[kinds[name]].from_bytes(files[f"{name}.{LEARNERS[kinds[name]].suffix}"])
            for name in sorted(weights)
        }
        return cls(preparation, learners, weights)


@dataclass(frozen=True)
class Model:
    """Members that are averaged, and what is made of their mean: a calibrated prediction with a band around it."""

    recipe: str
    kinds: Mapping[str, str]  # of the learners, by their names in the recipe
    members: Sequence[Member]
    calibration: Calibration
    stored: Mapping[str, bytes] | None = None  # the files that it was loaded from

    @cached_property
    def files(self) -> Mapping[str, bytes]:
        """What it is saved as, file name to content; UserError where a learner has no stored form."""
        if self.stored is not None:
            return self.stored
        parts = enumerate(self.members, start=1)
        return {f"{number}-{file}": content for number, part in parts for file, content in part.files().items()}

    @property
    def name(self) -> str:
        """The recipe and a short hash of all that the model consists of."""
        return f"{self.recipe}-{self._description().sha256[:12]}"

    def predict(self, matrix: pl.DataFrame, posts: pl.DataFrame, vectors: pl.DataFrame) -> pl.DataFrame:
        """post_id, prediction, low and high (the ends of the band) for each post of the matrix, by post_id."""
        rows = gather(matrix, posts, vectors)
        return pl.DataFrame({"post_id": rows["post_id"], **self.calibration.finish(rows, self.members_say(rows))})

    def members_say(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """Each member's prediction of rows that `gather` made, (rows, members)."""
        if rows.is_empty():
            return np.empty((0, len(self.members)))
        return np.column_stack([member.predict(rows) for member in self.members])

    @property
    def reads(self) -> list[str]:
        """The encoders, beside the pair, whose vectors it reads."""
        return sorted({name for member in self.members for name in member.preparation.reads})

    def importances(self) -> pl.DataFrame:
        """column, group, importance: over all members and learners in their weights, largest first; sum 1."""
        total: dict[tuple[str, str], float] = {}
        for member in self.members:
            groups = member.preparation.groups()
            for name, learner in member.learners.items():
                for column, share in learner.importances().items():
                    key = column, groups[column]
                    total[key] = total.get(key, 0.0) + member.weights[name] * share / len(self.members)
        rows = [(column, group, value) for (column, group), value in total.items()]
        frame = pl.DataFrame(rows, schema=["column", "group", "importance"], orient="row")
        return frame.sort(["importance", "column"], descending=[True, False])

    def save(self, folder: Path) -> None:
        """Write the files, then model.json with their sha256; files of an earlier model are removed."""
        description = self._description()
        for file, content in self.files.items():
            publish(folder / file, content)
        trust(description.sha256)
        publish_json(folder / "model.json", description.model_dump(mode="json"))
        for path in folder.iterdir():
            if path.is_file() and path.name not in {*self.files, "model.json", ".gitignore"}:
                path.unlink()

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model saved there; one that was not made on this machine is tried in a process of its own first.

        CheckError if a file is not the one that was saved, or cannot be used.
        """
        description, files = read(folder)
        if not is_trusted(description.sha256):
            try_out(folder, description.sha256)
            trust(description.sha256)
        return cls.parsed(description, files)

    @classmethod
    def parsed(cls, description: Description, files: Mapping[str, bytes]) -> Self:
        """The model of these files, which is only safe for what is trusted."""
        weights = enumerate(description.weights, start=1)
        members = [Member.restore(_own(files, number), description.learners, own) for number, own in weights]
        calibration = Calibration.restore(description.calibration)
        return cls(description.recipe, description.learners, members, calibration, files)

    def _description(self) -> Description:
        return Description.of(
            self.files,
            recipe=self.recipe,
            learners=dict(self.kinds),
            weights=[dict(member.weights) for member in self.members],
            calibration=self.calibration.facts(),
        )


def _in_row_order(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """safetensors 0.8 writes memory as it lies: a matrix stored by columns would come back scrambled, silently."""
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _own(files: Mapping[str, bytes], number: int) -> dict[str, bytes]:
    prefix = f"{number}-"
    return {file.removeprefix(prefix): content for file, content in files.items() if file.startswith(prefix)}
