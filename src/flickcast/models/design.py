"""What a learner sees: numbers, codes, whole vectors and texts, made by a preparation fitted on training rows."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from flickcast.errors import LeftOutError
from flickcast.models.classes import class_groups, class_values
from flickcast.models.coding import MISSING_CODE, codes_of, frequent, numbers_of, side_by_side
from flickcast.models.reductions import REDUCTIONS, Arrays, Matrix, Reduction, ReductionSettings, Training, apart_of
from flickcast.models.reductions.owners import NO_SALT, salt_of
from flickcast.models.reductions.vectors import holds_vectors, scattered, vectors_in
from flickcast.models.threads import ROWS_PER_THREAD
from flickcast.params import Name, Section

if TYPE_CHECKING:
    import pandas as pd

Json = dict[str, Any]
Manifest = Mapping[str, Mapping[str, Any]]


class PreparationSettings(Section):
    """The part of a recipe that says how rows become a design."""

    groups: list[str] | None = Field(None, description="feature groups it reads; null: all that are made")
    columns: list[str] | None = Field(None, description="of these groups, the columns it reads; null: all")
    classes: list[str] = Field(
        [], description="further categories: user_id, is_public, posted_hour, posted_weekday, posted_month, or numbers"
    )
    rare_below: int = Field(5, ge=1, description="a category seen in fewer posts has no code of its own")
    vectors: list[str] = Field([], description="read whole: picture, text, or an encoder such as RN101-picture")
    instead: dict[str, str] = Field(
        {}, description="encoder to encoder: read in its place where no training post has its vectors, in one place"
    )
    texts: list[Literal["words", "title"]] = Field([], description="read as text")
    reductions: dict[Name, ReductionSettings] = Field({})


@dataclass(frozen=True)
class Design:
    """n rows for a learner: `numbers` (n, p) float32 with NaN where missing, `codes` (n, q) int32, -1 where missing.

    `vectors` by name: (n, width) float32, a row of NaN where a post has none. `texts` by name: n strings. `users`:
    equal where two rows have the same user, for losses and samplers; there is no other sense in these numbers.
    """

    numbers: NDArray[np.float32]
    codes: NDArray[np.int32]
    number_names: list[str]
    category_names: list[str]
    vectors: Mapping[str, Matrix] = field(default_factory=dict)
    texts: Mapping[str, list[str]] = field(default_factory=dict)
    users: NDArray[np.int32] | None = None

    @property
    def names(self) -> list[str]:
        """All columns, numbers first; a vector or a text counts as one."""
        return [*self.number_names, *self.category_names, *self.vectors, *self.texts]

    @property
    def rows(self) -> int:
        """n."""
        return len(self.numbers)

    def take(self, rows: NDArray[Any]) -> "Design":
        """Some of the rows: a mask or positions."""
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows
        return Design(
            self.numbers[positions],
            self.codes[positions],
            self.number_names,
            self.category_names,
            {name: values[positions] for name, values in self.vectors.items()},
            {name: [values[one] for one in positions] for name, values in self.texts.items()},
            None if self.users is None else self.users[positions],
        )

    @property
    def varies(self) -> bool:
        """Whether any number, category or text differs between rows."""
        tables = (self.numbers, self.codes)
        differ = any((np.nan_to_num(table[:1]) != np.nan_to_num(table)).any() for table in tables if table.size)
        return differ or any(len(set(values)) > 1 for values in self.texts.values())

    def frame(self) -> "pd.DataFrame":
        """Numbers and codes as a pandas frame, which is what both boosters take mixed types from; else LeftOutError."""
        import pandas as pd

        if not (self.number_names or self.category_names):
            raise LeftOutError("there is no column that it could read")
        numbers = pd.DataFrame(self.numbers, columns=self.number_names, copy=False)
        return pd.concat([numbers, pd.DataFrame(self.codes, columns=self.category_names)], axis=1)


@dataclass(frozen=True)
class Preparation:
    """How rows become a design: which numbers, which categories with a code of their own, which reductions."""

    number_groups: Mapping[str, str]
    category_groups: Mapping[str, str]
    vocabularies: Mapping[str, list[str]]
    reductions: Mapping[str, Reduction]
    widths: Mapping[str, int] = field(default_factory=dict)  # of vectors that are read whole
    texts: Sequence[str] = ()
    instead: Mapping[str, str] = field(default_factory=dict)  # encoder to the one that stands in for it
    salt: str = ""  # of the numbers that stand for users, in hexadecimal

    @classmethod
    def fit(cls, training: Training, manifest: Manifest, settings: PreparationSettings) -> tuple[Self, Design]:
        """Learn vocabularies and reductions, and how the training rows look; a reduction without input is left out.

        The design of the training rows is not what `design` would make of them: what was learnt from labels shows no
        row its own.
        """
        wanted = {name: entry for name, entry in manifest.items() if _is_wanted(name, entry, settings)}
        as_numbers = {name: entry for name, entry in wanted.items() if name not in settings.classes}
        numbers, categories = _groups(as_numbers, "number"), _groups(wanted, "category")
        categories = _by_name(categories | class_groups(training.rows, settings.classes, manifest))
        instead = _stand_ins(training.rows, settings)
        training = replace(training, manifest=wanted)
        with _useful_threads(training.rows.height):
            fitted = {
                name: found
                for name, part in sorted(settings.reductions.items())
                if (found := REDUCTIONS[part.kind].fit(training, name, _read_by(part, instead))) is not None
            }
        salt = salt_of(training.rows["user_id"], training.seed) if "user_id" in categories else NO_SALT
        vocabularies = {
            name: frequent(class_values(training.rows, name, salt), settings.rare_below) for name in categories
        }
        reductions = {name: reduction for name, (reduction, _) in fitted.items()}
        widths = {name: width for name in settings.vectors if (width := _width(training.rows, instead.get(name, name)))}
        texts = [name for name in settings.texts if name in training.rows.columns]
        made = cls(numbers, categories, vocabularies, reductions, widths, texts, instead, salt.tobytes().hex())
        return made, made._design(training.rows, {name: columns for name, (_, columns) in fitted.items()})

    def told(self, rows: pl.DataFrame) -> Self:
        """The same, knowing what labels of further rows tell of their users; nothing is fitted on them."""
        known = {name: part.told(rows) if hasattr(part, "told") else part for name, part in self.reductions.items()}
        return replace(self, reductions=known)

    def design(self, rows: pl.DataFrame) -> Design:
        """New rows as a learner sees them; columns that are not there count as missing, further ones are ignored."""
        with _useful_threads(rows.height):
            return self._design(rows, {name: part.transform(rows) for name, part in self.reductions.items()})

    def _design(self, rows: pl.DataFrame, reduced: Mapping[str, Matrix]) -> Design:
        numbers = numbers_of(rows, list(self.number_groups))
        salt = np.frombuffer(bytes.fromhex(self.salt), np.uint8)
        codes = [codes_of(class_values(rows, name, salt), self.vocabularies[name]) for name in self.category_groups]
        coded = {name: part for name, part in self.reductions.items() if part.makes_codes}
        numeric = {name: part for name, part in self.reductions.items() if not part.makes_codes}
        codes += [np.nan_to_num(reduced[name], nan=MISSING_CODE).astype(np.int32) for name in coded]
        return Design(
            np.hstack([numbers, *(reduced[name] for name in numeric)]),
            side_by_side(codes, rows.height),
            [*self.number_groups, *(name for part in numeric.values() for name in part.names)],
            [*self.category_groups, *(name for part in coded.values() for name in part.names)],
            {
                name: scattered(*vectors_in(rows, self.instead.get(name, name), width))
                for name, width in self.widths.items()
            },
            {name: _texts(rows, name) for name in self.texts},
            _equal_users(rows),
        )

    @property
    def reads(self) -> set[str]:
        """The encoders, beside the pair, whose vectors it reads."""
        reduced = {str(getattr(part, "column", "words")) for part in self.reductions.values()}
        whole = {self.instead.get(name, name) for name in self.widths}
        return {*whole, *reduced} - {"picture", "text", "words"}

    def groups(self) -> dict[str, str]:
        """The feature group of each column; a reduction, a vector and a text are groups of their own.

        What a reduction has apart is one as well: `own_level (expected)`.
        """
        reduced = {column: name for name, part in self.reductions.items() for column in part.names}
        for name, part in self.reductions.items():
            reduced |= {column: group for column, (group, _) in apart_of(name, part).items()}
        whole = {name: name for name in (*self.widths, *self.texts)}
        return {**self.number_groups, **reduced, **self.category_groups, **whole}

    def facts(self) -> Json:
        """All but the arrays, as JSON."""
        return {
            "numbers": dict(self.number_groups),
            "categories": dict(self.category_groups),
            "vocabularies": dict(self.vocabularies),
            "reductions": {name: part.facts() for name, part in self.reductions.items()},
            "widths": dict(self.widths),
            "texts": list(self.texts),
            "instead": dict(self.instead),
            "salt": self.salt,
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
        learned = facts["numbers"], facts["categories"], facts["vocabularies"]
        return cls(*learned, reductions, facts["widths"], facts["texts"], facts["instead"], facts["salt"])


def stacked(first: Design, second: Design, users: pl.Series) -> Design:
    """The rows of both, which the same preparation made; `users`: whose they are, of all of them."""
    return Design(
        np.concatenate([first.numbers, second.numbers]),
        np.concatenate([first.codes, second.codes]),
        first.number_names,
        first.category_names,
        {name: np.concatenate([values, second.vectors[name]]) for name, values in first.vectors.items()},
        {name: [*values, *second.texts[name]] for name, values in first.texts.items()},
        _equal_users(users.to_frame("user_id")),
    )


def _useful_threads(rows: int) -> AbstractContextManager[Any]:
    """One thread for few rows; otherwise as many as there are."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1 if rows < ROWS_PER_THREAD else None)
    return limits


def _is_wanted(name: str, entry: Mapping[str, Any], settings: PreparationSettings) -> bool:
    return (settings.groups is None or entry["group"] in settings.groups) and (
        settings.columns is None or name in settings.columns
    )


def _stand_ins(rows: pl.DataFrame, settings: PreparationSettings) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, other in settings.instead.items():
        if not _width(rows, name) and _width(rows, other) and other not in found.values():
            found[name] = other
    return found


def _read_by(part: Any, instead: Mapping[str, str]) -> Any:
    """The settings of a reduction, what stands in for its vectors in their place."""
    column = getattr(part, "column", "")
    return part.model_copy(update={"column": instead[column]}) if column in instead else part


def _width(rows: pl.DataFrame, name: str) -> int:
    """Of the widest vector; 0 where no row has one, or the column is none of vectors."""
    return int(rows[name].list.len().max() or 0) if holds_vectors(rows, name) else 0  # type: ignore[arg-type]


def _texts(rows: pl.DataFrame, name: str) -> list[str]:
    return rows[name].fill_null("").to_list() if name in rows.columns else [""] * rows.height


def _equal_users(rows: pl.DataFrame) -> NDArray[np.int32] | None:
    if "user_id" not in rows.columns:
        return None
    return (rows["user_id"].rank("dense") - 1).fill_null(0).cast(pl.Int32).to_numpy()


def _groups(manifest: Manifest, kind: str) -> dict[str, str]:
    return {name: manifest[name]["group"] for name in sorted(manifest) if manifest[name]["kind"] == kind}


def _by_name(groups: dict[str, str]) -> dict[str, str]:
    """In the order that they have when they are read again."""
    return dict(sorted(groups.items()))


def _own(arrays: Arrays, name: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(f"{name}/"): value for key, value in arrays.items() if key.startswith(f"{name}/")}
