"""What a learner sees: numbers and category codes, made by a preparation fitted on the training rows alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flickcast.models.reductions import REDUCTIONS, Reduction, ReductionSettings

if TYPE_CHECKING:
    import pandas as pd

Json = dict[str, Any]
Manifest = Mapping[str, Mapping[str, Any]]
MISSING_CODE, OTHER_CODE = -1, 0


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
        rows: pl.DataFrame,
        manifest: Manifest,
        settings: Mapping[str, ReductionSettings],
        rare_below: int,
        seed: int,
    ) -> Self:
        """Learn vocabularies and reductions from these rows; a reduction that finds no input is left out."""
        numbers, categories = _groups(manifest, "number"), _groups(manifest, "category")
        fitted = {name: REDUCTIONS[part.kind].fit(rows, name, part, seed) for name, part in sorted(settings.items())}
        return cls(
            numbers,
            categories,
            {name: _frequent(rows[name], rare_below) for name in categories},
            {name: reduction for name, reduction in fitted.items() if reduction is not None},
        )

    def design(self, rows: pl.DataFrame) -> Design:
        """The rows as a learner sees them; columns that are not there count as missing, further ones are ignored."""
        numbers = [_number(rows, name) for name in self.number_groups]
        reduced = [reduction.transform(rows) for reduction in self.reductions.values()]
        codes = [_codes(rows, name, self.vocabularies[name]) for name in self.category_groups]
        return Design(
            np.column_stack([*numbers, *reduced]) if numbers or reduced else np.empty((rows.height, 0), np.float32),
            np.column_stack(codes) if codes else np.empty((rows.height, 0), np.int32),
            [*self.number_groups, *(name for part in self.reductions.values() for name in part.names)],
            list(self.category_groups),
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

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The reductions' matrices, named `<reduction>/<matrix>`."""
        parts = self.reductions.items()
        return {f"{name}/{key}": value for name, part in parts for key, value in part.arrays().items()}

    @classmethod
    def restore(cls, facts: Json, arrays: Mapping[str, NDArray[np.float32]]) -> Self:
        """A preparation from what `facts` and `arrays` gave."""
        reductions = {
            name: REDUCTIONS[part["kind"]].restore(name, part, _own(arrays, name))
            for name, part in sorted(facts["reductions"].items())
        }
        return cls(facts["numbers"], facts["categories"], facts["vocabularies"], reductions)


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


def _own(arrays: Mapping[str, NDArray[np.float32]], name: str) -> dict[str, NDArray[np.float32]]:
    return {key.removeprefix(f"{name}/"): value for key, value in arrays.items() if key.startswith(f"{name}/")}
