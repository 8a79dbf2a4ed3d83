"""Ridge regression, the honest floor: linear in standardised numbers, categories and whole vectors."""

import json
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator
from safetensors.numpy import load, save

from flickcast.errors import LeftOutError
from flickcast.models.design import Design
from flickcast.models.learners.columns import Columns
from flickcast.models.threads import useful_threads
from flickcast.params import Section

Target = NDArray[np.float64]


class RidgeSettings(Section):
    """Penalties on the squared weights, per row; each column has a standard deviation of 1, or is 0 or 1."""

    max_iterations: int = Field(25, ge=2, description="how many penalties there are to choose from, strongest first")
    strongest: float = Field(100.0, gt=0)
    weakest: float = Field(1e-4, gt=0)
    columns: list[str] | None = Field(
        None, min_length=1, description="the numbers that it reads, and nothing else; null: all that is there"
    )
    vectors: list[str] | None = Field(None, description="those of the recipe that it reads; null: all")

    @field_validator("columns")
    @classmethod
    def _is_named_once(cls, columns: list[str] | None) -> list[str] | None:
        if len(set(columns or [])) < len(columns or []):
            raise ValueError("a column is named twice")
        return columns

    @field_validator("vectors")
    @classmethod
    def _is_read(cls, vectors: list[str] | None, info: ValidationInfo) -> list[str] | None:
        if vectors is not None and info.data.get("columns") is not None:
            raise ValueError("where 'columns' are named, nothing else is read")
        return vectors


@dataclass(frozen=True)
class Ridge:
    """A fitted regression. Its iterations are the penalties on the way from the strongest to its own."""

    settings: ClassVar[type[Section]] = RidgeSettings
    suffix: ClassVar[str] = "safetensors"
    columns: Columns
    weights: Target  # (columns,)
    level: float  # of the prediction where all columns are 0
    iterations: int
    shares: dict[str, float]

    @classmethod
    def fit(
        cls,
        design: Design,
        target: Target,
        *,
        settings: Any,
        seed: int,
        threads: int,
        iterations: int | None = None,
        validation: tuple[Design, Target] | None = None,
        weights: Target | None = None,
    ) -> Self:
        """Solve for every penalty, and keep that of the given iteration or the best one for the validation rows.

        By the normal equations and their eigenvectors, which serve all penalties at once. `seed` changes nothing.
        LeftOutError where none of the columns that it is to read is there.
        """
        from threadpoolctl import threadpool_limits

        design = _read(design, settings)
        columns = Columns.fit(design)
        penalties = np.geomspace(settings.strongest, settings.weakest, settings.max_iterations)
        with threadpool_limits(useful_threads(threads, design.rows)):
            shares = np.ones(design.rows) if weights is None else weights
            mean, squares, products = _moments(columns, design, target, shares / shares.sum())
            spread, directions = np.linalg.eigh(squares)
            along = (directions.T @ products)[:, None] / (spread.clip(0)[:, None] + penalties[None, :])
            paths = directions @ along
            levels = np.average(target, weights=shares) - mean @ paths
            if iterations is None and validation is not None:
                iterations = _best(columns, _read(validation[0], settings), validation[1], paths, levels)
        number = min(iterations or len(penalties), len(penalties))
        chosen = np.ascontiguousarray(paths[:, number - 1])
        return cls(columns, chosen, float(levels[number - 1]), number, _shares(columns, chosen, squares))

    def predict(self, design: Design) -> Target:
        """One prediction per row."""
        # Summed row by row: a product of matrices may sum a row in another order when it stands elsewhere.
        # A copy of some columns only where it was fitted on some.
        own = design if self.columns.names == design.number_names else _numbers(design, self.columns.names)
        parts = [(part * self.weights).sum(axis=1) + self.level for part in self.columns.parts(own)]
        return np.concatenate(parts) if parts else np.empty(0)

    def importances(self) -> dict[str, float]:
        """How far the training rows' predictions spread by each column alone, as a share; 0 where they never move."""
        return dict(self.shares)

    def to_bytes(self) -> bytes:
        """safetensors: weights and scaling as arrays, all else as JSON in its head."""
        facts = {
            "columns": self.columns.facts(),
            "level": self.level,
            "iterations": self.iterations,
            "importances": self.shares,
        }
        return save({**self.columns.arrays(), "weights": self.weights}, {"facts": json.dumps(facts, sort_keys=True)})

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The regression from its stored form."""
        arrays, length = load(content), int.from_bytes(content[:8], "little")
        facts = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["facts"])
        columns = Columns.restore(facts["columns"], arrays)
        return cls(columns, arrays["weights"], facts["level"], facts["iterations"], facts["importances"])


def _read(design: Design, settings: RidgeSettings) -> Design:
    if settings.columns is not None:
        return _numbers(design, [name for name in settings.columns if name in design.number_names])
    named = design.vectors if settings.vectors is None else settings.vectors
    vectors = {name: design.vectors[name] for name in named if name in design.vectors}
    return Design(design.numbers, design.codes, design.number_names, design.category_names, vectors)


def _numbers(design: Design, names: list[str]) -> Design:
    """Some of the numbers alone."""
    if not names:
        raise LeftOutError("none of the columns that it reads is there")
    found = design.numbers[:, [design.number_names.index(name) for name in names]]
    return Design(found, np.empty((design.rows, 0), np.int32), names, [])


def _moments(columns: Columns, design: Design, target: Target, shares: Target) -> tuple[Target, Target, Target]:
    """Mean (c,) and covariances (c, c) of the columns, and those with the target (c,); shares (rows,) add up to 1."""
    wide = len(columns.owners())
    mean, squares, products = np.zeros(wide), np.zeros((wide, wide)), np.zeros(wide)
    start, centred = 0, target - shares @ target
    for part in columns.parts(design):
        rows = slice(start, start := start + len(part))
        weighted = part * shares[rows, None]
        mean += weighted.sum(axis=0)
        squares += weighted.T @ part
        products += weighted.T @ centred[rows]
    return mean, squares - np.outer(mean, mean), products


def _best(columns: Columns, design: Design, target: Target, paths: Target, levels: Target) -> int:
    """The iteration whose weights, a column of `paths` (c, penalties), err least on average."""
    said = np.concatenate([part @ paths for part in columns.parts(design)]) + levels
    return int(np.abs(said - target[:, None]).mean(axis=0).argmin()) + 1


def _shares(columns: Columns, weights: Target, squares: Target) -> dict[str, float]:
    owners = np.array(columns.owners(), dtype=object)
    found = {}
    for name in dict.fromkeys([*columns.names, *columns.sizes, *columns.widths]):
        own = np.flatnonzero(owners == name)
        spread = float(weights[own] @ squares[np.ix_(own, own)] @ weights[own])
        found[name] = max(spread, 0.0) ** 0.5
    total = sum(found.values()) or 1.0
    return {name: value / total for name, value in found.items()}
