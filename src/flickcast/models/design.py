"""What a learner sees: numbers and category codes, made by a preparation fitted on the training rows alone."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flickcast.models.reductions import REDUCTIONS, Arrays, Matrix, Reduction, ReductionSettings, Training

if TYPE_CHECKING:
    import pandas as pd

Json = dict[str, Any]
Manifest = Mapping[str, Mapping[str, Any]]
MISSING_CODE, OTHER_CODE = -1, 0
# Below this many rows a second thread only waits: on 2 cores shared with other work, k-means of 1,000 vectors took
# 14 times the processor time with two threads, all of it at barriers (2026-11-22).
ROWS_FOR_THREADS = 10_000


@dataclass(frozen=True)
class Design:
    """n rows for a learner: `numbers` (n, p) float32 with NaN where missing, `codes` (n, q) int32, -1 where missing."""

    numbers: NDArray[np.float32]
    codes: NDArray[np.int32]
    number_names: list[str]
    category_names: list[str]

    @property
    def names(self) -> list[str]:
        """All columns, numbers first."""
        return self.number_names + self.category_names

    def frame(self) -> "pd.DataFrame":
        """The same as a pandas frame, which is what both boosters take mixed types from."""
        import pandas as pd

        numbers = pd.DataFrame(self.numbers, columns=self.number_names)
        return pd.concat([numbers, pd.DataFrame(self.codes, columns=self.category_names)], axis=1)


@dataclass(frozen=True)
class Preparation:
    """How rows become a design: which numbers, which categories with a code of their own, which reductions."""

    number_groups: Mapping[str, str]
    category_groups: Mapping[str, str]
    vocabularies: Mapping[str, list[str]]
    reductions: Mapping[str, Reduction]

    @classmethod
    def fit(
        cls,
        training: Training,
        manifest: Manifest,
        settings: Mapping[str, ReductionSettings],
        rare_below: int,
    ) -> tuple[Self, Design]:
        """Learn vocabularies and reductions, and how the training rows look; a reduction without input is left out.

        The design of the training rows is not what `design` would make of them: what was learnt from labels shows no
        row its own.
        """
        numbers, categories = _groups(manifest, "number"), _groups(manifest, "category")
        with _useful_threads(training.rows.height):
            fitted = {
                name: found
                for name, part in sorted(settings.items())
                if (found := REDUCTIONS[part.kind].fit(training, name, part)) is not None
            }
        vocabularies = {name: _frequent(training.rows[name], rare_below) for name in categories}
        made = cls(numbers, categories, vocabularies, {name: reduction for name, (reduction, _) in fitted.items()})
        return made, made._design(training.rows, {name: columns for name, (_, columns) in fitted.items()})

    def design(self, rows: pl.DataFrame) -> Design:
        """New rows as a learner sees them; columns that are not there count as missing, further ones are ignored."""
        with _useful_threads(rows.height):
            return self._design(rows, {name: part.transform(rows) for name, part in self.reductions.items()})

    def _design(self, rows: pl.DataFrame, reduced: Mapping[str, Matrix]) -> Design:
        numbers = [_number(rows, name) for name in self.number_groups]
        codes = [_codes(rows, name, self.vocabularies[name]) for name in self.category_groups]
        coded = {name: part for name, part in self.reductions.items() if part.makes_codes}
        numeric = {name: part for name, part in self.reductions.items() if not part.makes_codes}
        codes += [np.nan_to_num(reduced[name], nan=MISSING_CODE).astype(np.int32) for name in coded]
        return Design(
            _side_by_side([*numbers, *(reduced[name] for name in numeric)], rows.height, np.float32),
            _side_by_side(codes, rows.height, np.int32),
            [*self.number_groups, *(name for part in numeric.values() for name in part.names)],
            [*self.category_groups, *(name for part in coded.values() for name in part.names)],
        )

    def groups(self) -> dict[str, str]:
        """The feature group of each column; a reduction is a group of its own."""
        reduced = {column: name for name, part in self.reductions.items() for column in part.names}
        return {**self.number_groups, **reduced, **self.category_groups}

    def facts(self) -> Json:
        """All but the arrays, as JSON."""
        return {
            "numbers": dict(self.number_groups),
            "categories": dict(self.category_groups),
            "vocabularies": dict(self.vocabularies),
            "reductions": {name: part.facts() for name, part in self.reductions.items()},
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The reductions' arrays, named `<reduction>/<array>`."""
        parts = self.reductions.items()
        return {f"{name}/{key}": value for name, part in parts for key, value in part.arrays().items()}

    @classmethod
    def restore(cls, facts: Json, arrays: Arrays) -> Self:
        """A preparation from what `facts` and `arrays` gave."""
        reductions = {
            name: REDUCTIONS[part["kind"]].restore(name, part, _own(arrays, name))
            for name, part in sorted(facts["reductions"].items())
        }
        return cls(facts["numbers"], facts["categories"], facts["vocabularies"], reductions)


def _useful_threads(rows: int) -> AbstractContextManager[Any]:
    """One thread for few rows; otherwise as many as there are."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1 if rows < ROWS_FOR_THREADS else None)
    return limits


def _groups(manifest: Manifest, kind: str) -> dict[str, str]:
    return {name: manifest[name]["group"] for name in sorted(manifest) if manifest[name]["kind"] == kind}


def _frequent(values: pl.Series, rare_below: int) -> list[str]:
    counts = values.drop_nulls().value_counts(name="rows")
    return sorted(counts.filter(pl.col("rows") >= rare_below)[values.name].to_list())


def _number(rows: pl.DataFrame, name: str) -> NDArray[np.float32]:
    if name not in rows.columns:
        return np.full(rows.height, np.nan, np.float32)
    return rows[name].cast(pl.Float32).fill_null(float("nan")).to_numpy()


def _codes(rows: pl.DataFrame, name: str, vocabulary: list[str]) -> NDArray[np.int32]:
    """1, 2, ... for the values of the vocabulary, 0 for any other, -1 for none."""
    if name not in rows.columns:
        return np.full(rows.height, MISSING_CODE, np.int32)
    codes = {value: code for code, value in enumerate(vocabulary, start=1)}
    coded = rows[name].replace_strict(codes, default=OTHER_CODE, return_dtype=pl.Int32)
    return pl.select(pl.when(rows[name].is_null()).then(MISSING_CODE).otherwise(coded)).to_series().to_numpy()


def _side_by_side(columns: list[Any], rows: int, kind: type[np.generic]) -> NDArray[Any]:
    return np.column_stack(columns) if columns else np.empty((rows, 0), kind)


def _own(arrays: Arrays, name: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(f"{name}/"): value for key, value in arrays.items() if key.startswith(f"{name}/")}
