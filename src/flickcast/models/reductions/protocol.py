"""What every reduction owes, and what it is fitted on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flickcast.splits import user_folds

Json = dict[str, Any]
Matrix = NDArray[np.float32]
Arrays = Mapping[str, NDArray[Any]]
LABELS = ("popularity", "label_known_at")
OF_EACH = ("post_id", "user_id", "posted_at", *LABELS)


@dataclass(frozen=True)
class Training:
    """What a reduction is fitted on: rows with labels and, by the transductive clock alone, further rows without.

    Both are what `models.rows.gather` gives.
    """

    rows: pl.DataFrame
    seed: int
    context: pl.DataFrame | None = None
    manifest: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # of the matrix: kind, group, ...
    read: NDArray[np.bool_] | None = None  # (rows,): those that a learner will learn from; None: all

    @property
    def everything(self) -> pl.DataFrame:
        """All rows that may be learnt from where no label is needed; no labels."""
        rows = without_labels(self.rows)
        return rows if self.context is None else pl.concat([rows, self.context.select(rows.columns)])

    def columns_of(self, kind: str, groups: Sequence[str]) -> list[str]:
        """The columns of the matrix of a kind (number or category) and of these feature groups, in their order."""
        found = (name for name, entry in self.manifest.items() if entry["kind"] == kind and entry["group"] in groups)
        return sorted(name for name in found if name in self.rows.columns)

    def narrow(self, *columns: str) -> Self:
        """The same with these columns alone, those that are there, beside OF_EACH: whoever filters rows copies all."""
        names = [name for name in dict.fromkeys((*OF_EACH, *columns)) if name in self.rows.columns]
        return replace(self, rows=self.rows.select(names))

    def folds(self, count: int) -> NDArray[np.int64]:
        """A fold number per row, all rows of a user in one fold, whatever the order of the rows."""
        users = self.rows["user_id"]
        return user_folds(users, max(1, min(count, users.n_unique())), self.seed).to_numpy()


class Reduction(Protocol):
    """Fitted on training rows; turns rows into a few float32 columns, NaN where a row has no input.

    One that goes by a user's earlier labels also has `told(rows)`: the same, knowing further labels but not fitted on
    them. So a member of an ensemble knows of every user what was known, whoever it was fitted on. One whose columns
    tell of different things has `apart`: those that do not tell what its kind does, and what instead.
    """

    makes_codes: ClassVar[bool]  # whether its columns are codes of classes (1, 2, ...) instead of numbers

    @property
    def names(self) -> list[str]:
        """The columns it makes."""
        ...

    def transform(self, rows: pl.DataFrame) -> Matrix:
        """Shape (rows, len(names)), for rows that it was not fitted on."""
        ...

    def facts(self) -> Json:
        """All but the arrays, as JSON."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Its arrays."""
        ...

    @classmethod
    def fit(cls, training: Training, name: str, settings: Any) -> "tuple[Reduction, Matrix] | None":
        """Learn from the rows, and how they look themselves; None where they have no input for it.

        What is learnt from labels shows no training row its own label or one of its fold.
        """
        ...

    @classmethod
    def restore(cls, name: str, facts: Json, arrays: Arrays) -> "Reduction":
        """The same reduction from its facts and arrays."""
        ...


def apart_of(name: str, part: Any) -> dict[str, tuple[str, str]]:
    """Of a reduction's columns that tell of something else than its kind does: the group they are, and of what."""
    return {column: (f"{name} ({what})", what) for column, what in getattr(part, "apart", {}).items()}


def out_of_fold(
    training: Training, folds: int, without: Callable[[NDArray[np.bool_]], Reduction | None]
) -> Matrix | None:
    """How training rows look to reductions that know no label of their fold; None where there is but one fold.

    NaN for a row that no learner will read. `without` makes such a reduction, given which training rows are in the
    fold; None where too little is left.
    """
    fold_of = training.folds(folds)
    parts = {}
    for fold in range(fold_of.max(initial=0) + 1):
        inside = fold_of == fold
        part = without(inside)
        if part is not None:
            asked = inside if training.read is None else inside & training.read
            parts[fold] = asked, part.transform(without_labels(training.rows.filter(asked)))
    if len(parts) < 2:
        return None
    width = next(columns.shape[1] for _, columns in parts.values())
    own = np.full((training.rows.height, width), np.nan, np.float32)
    for asked, columns in parts.values():
        own[asked] = columns
    return own


def without_labels(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows as if no label were known."""
    return rows.drop(LABELS, strict=False)


def numbered(name: str, count: int) -> list[str]:
    """name_1, name_2, ..."""
    return [f"{name}_{number}" for number in range(1, count + 1)]
