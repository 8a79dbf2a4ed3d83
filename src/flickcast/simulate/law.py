"""The law of popularity: what a post's views depend on, how they grow, and which label is to be expected."""

from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

DAY_SECONDS = 86_400
# Up to this number of views the label's steps are summed one by one; above it, it is as good as continuous.
STEPS = 64


@dataclass(frozen=True)
class Law:
    """Strengths, in units of the label (log2 of views). All are choices; see calibration.py.

    Level of a post = base + user (known part) + user (hidden part) + tags + subcategory + concept + picture + time
    + upload + noise. It is the log2 of the views at maturity before they are cut to a whole number.
    """

    base: float = 6.38
    following: float = 0.85
    photo_count: float = 0.10
    pro: float = 0.30
    following_bend: float = 0.20
    hidden_user: float = 1.30
    tags: float = 0.85
    concept: float = 0.75
    picture: float = 0.65
    hour: float = 0.12
    weekend: float = 0.06
    year: float = 0.12
    upload: float = 1.20
    noise: float = 0.12

    # Views since upload: a quick part and a slow one, in days.
    quick_share: float = 0.7
    quick_days: float = 1.2
    slow_days: float = 20.0
    speed_spread: float = 0.4

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name != "base" and getattr(self, field.name) < 0:
                raise ValueError(f"law: {field.name} must not be negative")

    def growth(self, age_days: Floats) -> Floats:
        """The share of all views it will ever get that a post has at an age; 0 at 0, rising towards 1."""
        age = np.maximum(age_days, 0.0)
        quick, slow = np.exp(-age / self.quick_days), np.exp(-age / self.slow_days)
        return np.asarray(1.0 - self.quick_share * quick - (1.0 - self.quick_share) * slow)

    def views(self, level: Floats, speed: Floats, age_days: Floats, maturity_days: float) -> Integers:
        """Views of a post at an age: a whole number that never falls, 2**level at maturity (cut to whole).

        `speed` stretches a post's time: two posts with the same views at maturity differ on the way there.
        """
        share = self.growth(age_days * speed) / self.growth(np.asarray(maturity_days * speed))
        return np.floor(np.exp2(level) * share).astype(np.int64)


def label(views: Integers) -> Floats:
    """The label of a number of views: log2(views + 1)."""
    return np.log2(np.asarray(views, dtype=np.float64) + 1.0)


def level_of(labels: Floats) -> Floats:
    """The level that a label stands for: views n mean a level between log2(n) and log2(n + 1)."""
    return np.log2(np.exp2(labels) - 0.5)


def expected_label(mean: Floats, spread: Floats) -> Floats:
    """The mean of label(floor(2**level)) when the level is normal with this mean and spread.

    The label rises by log2((n + 1) / n) where the level passes log2(n): each step counts with the chance to pass it.
    Beyond the last step the label is the level itself.

    >>> expected_label(np.array([10.0]), np.array([0.5])).round(2).tolist()
    [10.0]
    """
    from scipy.special import ndtr

    numbers = np.arange(1, STEPS, dtype=np.float64)
    heights = np.log2((numbers + 1.0) / numbers)
    distance = (mean[:, None] - np.log2(numbers)) / spread[:, None]
    past = (mean - np.log2(STEPS)) / spread
    density = np.exp(-0.5 * past**2) / np.sqrt(2.0 * np.pi)
    # Not a matrix product: its last bits depend on how many rows there are.
    steps = (ndtr(distance) * heights).sum(axis=1)
    return np.asarray(steps + spread * (past * ndtr(past) + density))
