"""Model families behind one protocol: fit, predict, importances, and bytes that hold data only."""

from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from flickcast.models.design import Design
from flickcast.models.learners.catboost import CatBoost
from flickcast.models.learners.lightgbm import LightGBM
from flickcast.params import Section

Target = NDArray[np.float64]


class Learner(Protocol):
    """A fitted model of one family."""

    settings: ClassVar[type[Section]]  # its numbers in a recipe
    file: ClassVar[str]  # its name in a model's folder

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
    ) -> Self:
        """Fit for a number of iterations, or stop early by the validation rows."""
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


LEARNERS: dict[str, type[Learner]] = {"lightgbm": LightGBM, "catboost": CatBoost}
