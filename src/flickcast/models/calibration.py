"""From the members' mean to a prediction and the band around it."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from flickcast.params import Section

Values = NDArray[np.float64]


class CalibrationSettings(Section):
    """The part of a recipe that says what follows the fusion."""

    band: float = Field(0.8, gt=0, lt=1, description="share of posts that should lie between low and high")


@dataclass(frozen=True)
class Calibration:
    """Offsets that added to a prediction give low and high."""

    low: float
    high: float

    @classmethod
    def fit(cls, rows: pl.DataFrame, unseen: Values, target: Values, settings: CalibrationSettings) -> Self:
        """From predictions `unseen` (n,) of rows that their learners never met; as many labels below as above.

        No guarantee comes with it: the residuals also chose rounds and weights, and are those of single members, not
        of their average. How many labels really lie in the band is `band_coverage` in metrics/evaluation.json.
        """
        residuals, tail = target - unseen, (1 - settings.band) / 2
        low = np.quantile(residuals, tail, method="lower")
        high = np.quantile(residuals, 1 - tail, method="higher")
        return cls(float(low), float(high))

    def finish(self, rows: pl.DataFrame, said: Values) -> dict[str, Values]:
        """prediction, low and high of rows, given what each member says of them (rows, members)."""
        prediction = said.mean(axis=1)
        return {"prediction": prediction, "low": prediction + self.low, "high": prediction + self.high}

    def facts(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {"low": self.low, "high": self.high}

    @classmethod
    def restore(cls, facts: dict[str, Any]) -> Self:
        """The same from its facts."""
        return cls(**facts)
