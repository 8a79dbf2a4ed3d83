"""Reduction `target_encoding`: how popular the posts of a class have been, drawn towards the wider class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from flickcast.models.reductions.protocol import Arrays, Json, Matrix, Training, out_of_fold
from flickcast.params import Section

Values = NDArray[np.float64]


class TargetEncodingSettings(Section):
    """One entry of a recipe's `reductions`."""

    kind: Literal["target_encoding"]
    columns: dict[str, str | None] = Field(min_length=1, description="each with the wider class above it, or null")
    smoothing: float = Field(20.0, gt=0, description="how many posts the wider class counts for")
    folds: int = Field(5, ge=2)

    @model_validator(mode="after")
    def _wider_classes_come_first(self) -> Self:
        known: list[str | None] = [None]
        for column, wider in self.columns.items():
            if wider not in known:
                raise ValueError(f"'{wider}', which stands above '{column}', has to be a column before it")
            known.append(column)
        return self


@dataclass(frozen=True)
class TargetEncoding:
    """Mean label of each class, smoothed towards the wider class, and that towards the mean of all.

    Micci-Barreca 2001, section 4 (hierarchies). scikit-learn's TargetEncoder (1.9) takes folds of one's own but knows
    no hierarchy; a test compares the two where there is none.
    """

    makes_codes: ClassVar[bool] = False
    name: str
    wider: Mapping[str, str | None]
    classes: Mapping[str, list[str]]
    encodings: Mapping[str, Values]  # of each column's classes, in their order
    mean: float

    @property
    def names(self) -> list[str]:
        """popularity_of_category, ... (after the reduction's name)."""
        return [f"{self.name}_{column}" for column in self.wider]

    @classmethod
    def fit(cls, training: Training, name: str, settings: TargetEncodingSettings) -> tuple[Self, Matrix] | None:
        """Encodings of all training rows, and the rows' own out of fold; None where no column is there."""
        training = training.narrow(*settings.columns)
        made = cls.fit_all(training.rows, name, settings)
        if made is None:
            return None
        own = out_of_fold(training, settings.folds, lambda fold: made._of_others(training.rows.filter(~fold), settings))
        return None if own is None else (made, own)

    @classmethod
    def fit_all(cls, rows: pl.DataFrame, name: str, settings: TargetEncodingSettings) -> Self | None:
        """Encodings by the labels of all these rows."""
        wider = _present(rows, settings.columns)
        return cls._of(rows, name, wider, settings.smoothing) if wider else None

    @classmethod
    def _of(cls, rows: pl.DataFrame, name: str, wider: Mapping[str, str | None], smoothing: float) -> Self:
        rows = rows.sort("post_id")  # sums of floats depend on the order in their last bits
        labels = rows["popularity"].to_numpy()
        made = cls(name, wider, {}, {}, float(labels.mean()))
        for column in wider:
            prior = made._above(rows, column)
            classes, encodings = _smoothed(rows[column].cast(pl.String), labels, prior, smoothing)
            made = cls(name, wider, {**made.classes, column: classes}, {**made.encodings, column: encodings}, made.mean)
        return made

    def transform(self, rows: pl.DataFrame) -> Matrix:
        """The encoding of each row's classes; a class never met has its wider one's, a row without a class NaN."""
        columns = [np.where(_missing(rows, column), np.nan, self._encoded(rows, column)) for column in self.wider]
        return np.column_stack(columns).astype(np.float32)

    def facts(self) -> Json:
        """Kind, columns with their wider ones, classes, and the mean of all labels."""
        return {
            "kind": "target_encoding",
            "wider": [[column, above] for column, above in self.wider.items()],
            "classes": dict(self.classes),
            "mean": self.mean,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The encodings of each column's classes."""
        return dict(self.encodings)

    @classmethod
    def restore(cls, name: str, facts: Json, arrays: Arrays) -> Self:
        """The same reduction from its facts and arrays."""
        return cls(name, dict(facts["wider"]), facts["classes"], dict(arrays), facts["mean"])

    def _of_others(self, rows: pl.DataFrame, settings: TargetEncodingSettings) -> Self | None:
        """The same columns by the labels of other rows, even where these have no value."""
        return None if rows.is_empty() else self._of(rows, self.name, self.wider, settings.smoothing)

    def _encoded(self, rows: pl.DataFrame, column: str) -> Values:
        """(rows,): of the class, or of the nearest wider one that is known."""
        above = self._above(rows, column)
        if column not in rows.columns:
            return above
        table = {value: place for place, value in enumerate(self.classes[column])}
        places = rows[column].cast(pl.String).replace_strict(table, default=None, return_dtype=pl.Int64)
        known = places.is_not_null().to_numpy()
        above[known] = self.encodings[column][places.drop_nulls().to_numpy()]
        return above

    def _above(self, rows: pl.DataFrame, column: str) -> Values:
        wider = self.wider[column]
        return np.full(rows.height, self.mean) if wider is None else self._encoded(rows, wider)


def _present(rows: pl.DataFrame, columns: Mapping[str, str | None]) -> dict[str, str | None]:
    """The columns that hold a value; one whose wider class is not there is drawn to the next wider one."""
    there = [name for name in columns if name in rows.columns and rows[name].null_count() < rows.height]

    def above(name: str | None) -> str | None:
        return name if name is None or name in there else above(columns[name])

    return {name: above(columns[name]) for name in there}


def _missing(rows: pl.DataFrame, column: str) -> NDArray[np.bool_]:
    return rows[column].is_null().to_numpy() if column in rows.columns else np.ones(rows.height, bool)


def _smoothed(values: pl.Series, labels: Values, prior: Values, smoothing: float) -> tuple[list[str], Values]:
    """Classes in alphabetical order, and (sum of labels + smoothing * prior) / (count + smoothing) of each."""
    known = values.is_not_null().to_numpy()
    classes, places = np.unique(values.drop_nulls().to_numpy().astype(str), return_inverse=True)
    counts = np.bincount(places)
    sums, priors = (np.bincount(places, weights=weights[known]) for weights in (labels, prior))
    return classes.tolist(), (sums + smoothing * priors / counts) / (counts + smoothing)
