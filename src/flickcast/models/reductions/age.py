"""Reduction `age`: how long a post has been up when the newest of the training posts appears."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flickcast.models.reductions.protocol import Arrays, Json, Matrix, Training
from flickcast.params import Section

START = datetime(1970, 1, 1, tzinfo=UTC)


class AgeSettings(Section):
    """One entry of a recipe's `reductions`."""

    kind: Literal["age"]


@dataclass(frozen=True)
class Age:
    """Days from a post to the newest training post, negative where it came later (Ding 2019, 4.1.3).

    For data that was collected in one go: there the labels of older posts had longer to grow.
    """

    makes_codes: ClassVar[bool] = False
    name: str
    newest: float  # days since 1970

    @property
    def names(self) -> list[str]:
        """The one column."""
        return [f"{self.name}_days"]

    @classmethod
    def fit(cls, training: Training, name: str, settings: AgeSettings) -> tuple[Self, Matrix] | None:
        """The newest post's moment; None where no post has one."""
        days = _days(training.rows)
        if not np.isfinite(days).any():
            return None
        made = cls(name, float(np.nanmax(days)))
        return made, made.transform(training.rows)

    def transform(self, rows: pl.DataFrame) -> Matrix:
        """Days, (rows, 1); NaN without a moment."""
        days: Matrix = (self.newest - _days(rows))[:, None].astype(np.float32)
        return days

    def facts(self) -> Json:
        """Kind and moment."""
        return {"kind": "age", "newest": self.newest}

    def arrays(self) -> dict[str, Any]:
        """None."""
        return {}

    @classmethod
    def restore(cls, name: str, facts: Json, arrays: Arrays) -> Self:
        """The same reduction from its facts."""
        return cls(name, facts["newest"])


def _days(rows: pl.DataFrame) -> NDArray[np.float64]:
    since = (rows["posted_at"] - START) / timedelta(days=1)
    return since.cast(pl.Float64).fill_null(float("nan")).to_numpy()
