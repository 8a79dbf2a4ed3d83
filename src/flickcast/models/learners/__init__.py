"""Model families behind one protocol: fit, predict, importances, and bytes that hold data only."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from flickcast.models.design import Design
from flickcast.params import Section

Target = NDArray[np.float64]


class Learner(Protocol):
    """A fitted model of one family.

    A family that can take its predictions apart exactly also has `contributions(design)`: by column, and under "" what
    is expected of any row, (rows,) each. Those of the others are sampled (models/contributions.py).
    """

    settings: ClassVar[type[Section]]  # its numbers in a recipe
    suffix: ClassVar[str]  # of its file in a model's folder

    @property
    def iterations(self) -> int:
        """How many rounds it was fitted for; of the best round where it stopped early."""
        ...

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
        """Fit for a number of iterations, or stop early by the validation rows; `weights`: how much each row counts."""
        ...

    def predict(self, design: Design) -> Target:
        """One prediction per row."""
        ...

    def importances(self) -> dict[str, float]:
        """How much each column is used; the values add up to 1."""
        ...

    def to_bytes(self) -> bytes:
        """Its stored form; equal fits give equal bytes."""
        ...

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The learner from its stored form."""
        ...


class _Learners(Mapping[str, type[Learner]]):
    """By name; what a family is made with (torch, CatBoost, ...) is imported when it is asked for."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places

    def __getitem__(self, name: str) -> type[Learner]:
        module, _, family = self._places[name].partition(":")
        found: type[Learner] = getattr(import_module(f"flickcast.models.{module}"), family)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


# Their stored form executes when it is loaded: for comparisons alone, no model of ours holds one.
NEVER_SAVED = frozenset({"autogluon"})
LEARNERS = _Learners(
    {
        "autogluon": "learners.autogluon:AutoGluon",
        "autoencoder": "networks.autoencoder:Autoencoder",
        "catboost": "learners.catboost:CatBoost",
        "coattention": "networks.coattention:CoAttentionNetwork",
        "ding": "networks.ding:Ding",
        "hierarchical": "networks.hierarchical:Hierarchical",
        "lightgbm": "learners.lightgbm:LightGBM",
        "ppcl": "networks.ppcl:PPCL",
        "ridge": "learners.ridge:Ridge",
        "tabm": "networks.tabular:Tabular",
    }
)
