"""Why a prediction is what it is, told to people: in words and as a picture. What is told is gathered by the edges."""

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """What a popularity means to a person: so many views or, by the papers' formula, so many a day."""

    formula: str = "log2_views"

    def count(self, popularity: float) -> float:
        """The views (or views a day) of a popularity.

        >>> Scale().count(10.0), Scale("log2_views_per_day").count(3.0)
        (1023.0, 4.0)
        """
        if self.formula == "log2_views":
            return max(0.0, math.pow(2.0, popularity) - 1)
        return math.pow(2.0, popularity - 1)

    def told(self, popularity: float) -> str:
        """The same as text without its unit, to three digits.

        >>> Scale().told(10.27)
        '1,230'
        """
        return number(self.count(popularity))

    @property
    def unit(self) -> str:
        """Of `count`."""
        return "views" if self.formula == "log2_views" else "views a day"

    @property
    def definition(self) -> str:
        """How a popularity is computed."""
        return "log2(views + 1)" if self.formula == "log2_views" else "log2(views a day) + 1"


@dataclass(frozen=True)
class Explanation:
    """One prediction taken apart: base + columns + fusion + calibration = prediction.

    `parts`: lists of {group or column, theme, contribution, ...}, the largest first. `past`: of the user's earlier
    posts whose popularity was known when the post appeared; `alike`: known posts with the most similar vector.
    """

    post_id: str
    user_id: str
    title: str
    posted_at: datetime
    model: str
    prediction: float
    low: float
    high: float
    band: float
    base: float
    fusion: float
    calibration: float
    themes: list[Json]
    groups: list[Json]
    columns: list[Json]
    members: list[Json]
    scale: Scale = field(default_factory=Scale)
    label: float | None = None
    is_learnt_from: bool = False
    past: list[float] = field(default_factory=list)
    alike: list[Json] = field(default_factory=list)

    def as_json(self) -> Json:
        """All of it, and the counts of views that belong to it."""
        own = {name: value for name, value in vars(self).items() if name not in ("scale", "past")}
        counts = {name: self.scale.count(getattr(self, name)) for name in ("prediction", "low", "high")}
        past = {"posts": len(self.past), **(quartiles(self.past) if self.past else {})}
        return {**own, "posted_at": self.posted_at.isoformat(), self.scale.unit.replace(" ", "_"): counts, "past": past}


def quartiles(values: list[float]) -> dict[str, float]:
    """lowest, lower quartile, median, upper quartile and highest; between two values by interpolation.

    >>> quartiles([1.0, 2.0, 4.0])
    {'minimum': 1.0, 'lower': 1.5, 'median': 2.0, 'upper': 3.0, 'maximum': 4.0}
    """
    import numpy as np

    names = ("minimum", "lower", "median", "upper", "maximum")
    found = np.quantile(np.asarray(values, float), (0, 0.25, 0.5, 0.75, 1))
    return dict(zip(names, found.tolist(), strict=True))


def number(value: float) -> str:
    """To three digits, as people write it.

    >>> number(1234.5), number(0.5678), number(7.0)
    ('1,230', '0.568', '7')
    """
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    return f"{rounded:,.0f}" if digits <= 0 else f"{rounded:,.{digits}f}".rstrip("0").rstrip(".")
