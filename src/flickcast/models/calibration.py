"""From the members' mean to a prediction and the band around it, for users with and without earlier posts apart."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from flickcast.params import Section
from flickcast.splits import user_folds

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]
ALL = "all"
FOLDS, SEED = 5, 0
REWEIGHTINGS, NEAR = 30, 1e-3  # enough for four digits of the line


class CalibrationSettings(Section):
    """The part of a recipe that says what follows the fusion."""

    band: float = Field(0.8, gt=0, lt=1, description="share of posts that should lie between low and high")
    line: bool = Field(False, description="whether predictions are drawn to a line per segment where that helps")
    segment_posts: int = Field(
        200, ge=10, description="a segment with fewer labelled posts has the line and the band of all"
    )
    shrinkage: float = Field(200, ge=0, description="posts that 'leave it as it is' counts for in a segment's line")


@dataclass(frozen=True)
class Segment:
    """What is made of a prediction: intercept + slope * prediction, and the offsets from there to low and high."""

    intercept: float
    slope: float
    low: float
    high: float

    def line(self, predictions: Values) -> Values:
        """The calibrated predictions."""
        return self.intercept + self.slope * predictions


@dataclass(frozen=True)
class Calibration:
    """A line and a band per segment of users; `all` serves the segments that had too few posts."""

    segments: Mapping[str, Segment]

    @classmethod
    def fit(cls, rows: pl.DataFrame, unseen: Values, target: Values, settings: CalibrationSettings) -> Self:
        """From predictions `unseen` (n,) of rows that their learners never met.

        The band is that of a conformal predictive system (Vovk et al. 2018; crepes), Mondrian by segment: in each, as
        many labels below as above it. It would hold exactly if new posts were like these and predicted by the same
        learners. But the residuals also chose rounds and weights, and are those of single members, not of their
        average; how many labels do lie in the band is `band_coverage` in metrics/evaluation.json.
        """
        members = {ALL: np.ones(len(target), bool), **_members(rows)}
        large = {name: mask for name, mask in members.items() if name == ALL or mask.sum() >= settings.segment_posts}
        return cls(
            {
                name: _segment(rows.filter(mask)["user_id"], unseen[mask], target[mask], settings)
                for name, mask in large.items()
            }
        )

    def finish(self, rows: pl.DataFrame, said: Values) -> dict[str, Values]:
        """prediction, low and high of rows, given what each member says of them (rows, members)."""
        mean = said.mean(axis=1)
        found = {name: np.empty(len(mean)) for name in ("prediction", "low", "high")}
        masks = {ALL: np.ones(len(mean), bool), **_members(rows)}
        for name, mask in masks.items():
            segment = self.segments.get(name, self.segments[ALL])
            found["prediction"][mask] = prediction = segment.line(mean[mask])
            found["low"][mask] = prediction + segment.low
            found["high"][mask] = prediction + segment.high
        return found

    def facts(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {name: asdict(segment) for name, segment in self.segments.items()}

    @classmethod
    def restore(cls, facts: dict[str, Any]) -> Self:
        """The same from its facts."""
        return cls({name: Segment(**numbers) for name, numbers in facts.items()})


def _members(rows: pl.DataFrame) -> dict[str, Mask]:
    """Which rows are of users without an earlier post (cold), which of others; none without that column."""
    if "log_earlier_posts" not in rows.columns:
        return {}
    cold = (rows["log_earlier_posts"].fill_null(0) == 0).to_numpy()
    return {"cold": cold, "known": ~cold}


def _segment(users: pl.Series, unseen: Values, target: Values, settings: CalibrationSettings) -> Segment:
    intercept, slope = _line_if_it_helps(users, unseen, target, settings) if settings.line else (0.0, 1.0)
    residuals = target - (intercept + slope * unseen)
    low, high = _band(residuals, settings.band)
    # the prediction itself belongs to its band, however lopsided the residuals are
    return Segment(intercept, slope, min(low, 0.0), max(high, 0.0))


def _band(residuals: Values, share: float) -> tuple[float, float]:
    """Offsets between which a new residual lies with this probability; of too few residuals, their extremes."""
    from crepes import ConformalPredictiveSystem

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # crepes says that the set is too small, which the bounds answer
        low, high = (
            ConformalPredictiveSystem()
            .fit(residuals)
            .predict_int(np.zeros(1), confidence=share, y_min=residuals.min(), y_max=residuals.max())[0]
        )
    return float(low), float(high)


def _line_if_it_helps(
    users: pl.Series, unseen: Values, target: Values, settings: CalibrationSettings
) -> tuple[float, float]:
    """The line, where on other users' posts it lowers the absolute error by more than chance would; else (0, 1)."""
    count = min(FOLDS, users.n_unique())
    if len(target) < settings.segment_posts or count < 2:
        return 0.0, 1.0
    fold_of = user_folds(users, count, SEED).to_numpy()
    gained = np.empty(len(target))
    for fold in range(count):
        held = fold_of == fold
        intercept, slope = _line(unseen[~held], target[~held], settings.shrinkage)
        straight = np.abs(target[held] - unseen[held])
        gained[held] = straight - np.abs(target[held] - (intercept + slope * unseen[held]))
    standard_error = gained.std() / np.sqrt(len(gained))
    return _line(unseen, target, settings.shrinkage) if gained.mean() > standard_error else (0.0, 1.0)


def _line(unseen: Values, target: Values, shrinkage: float) -> tuple[float, float]:
    """Least absolute errors, the line drawn towards intercept 0 and slope 1 as if by `shrinkage` further posts."""
    middle, spread = unseen.mean(), unseen.std()
    if spread == 0:
        return 0.0, 1.0
    slope, level = _least_absolute((unseen - middle) / spread, target - unseen)
    share = len(target) / (len(target) + shrinkage)
    slope, level = share * slope / spread, share * level
    return float(level - slope * middle), float(1 + slope)


def _least_absolute(values: Values, target: Values) -> tuple[float, float]:
    """Slope and level of the line with the least absolute errors, by reweighted least squares (Schlossmacher 1973)."""
    design = np.column_stack([values, np.ones(len(values))])
    weights = np.ones(len(values))
    for _ in range(REWEIGHTINGS):
        weighted = design * weights[:, None]
        found = np.linalg.lstsq(weighted.T @ design, weighted.T @ target, rcond=None)[0]
        away = np.abs(target - design @ found)
        weights = 1 / np.maximum(away, NEAR * max(away.mean(), 1e-12))
    return float(found[0]), float(found[1])
