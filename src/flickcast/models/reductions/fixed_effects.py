"""What can be expected of a post by numbers and classes, where each user has a level of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flickcast.models.reductions.protocol import Matrix

FARTHEST = 4.0  # standard deviations: one odd number should not decide
TINY = 1e-6
RATIOS = (0.1, 100.0)  # between which the ratio of variances is believed
USUAL_RATIO = 1.0  # where no user has posted on two days
ROUNDS = 3  # of the ratio: later ones moved no effect by a hundredth
Values = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Inputs:
    """What fixed effects read: `numbers` (rows, p), NaN where missing; `classes` (rows, q), places in all classes."""

    numbers: Matrix
    classes: NDArray[np.int32]  # -1: none of them

    def take(self, rows: NDArray[Any]) -> "Inputs":
        """Some of the rows: a mask or positions."""
        return Inputs(self.numbers[rows], self.classes[rows])

    @property
    def there(self) -> NDArray[np.bool_]:
        """(rows,): which have anything at all."""
        found = np.isfinite(self.numbers).any(axis=1) | (self.classes >= 0).any(axis=1)
        return np.asarray(found)


@dataclass(frozen=True)
class UserDays:
    """Which day of which user each row is of, and which user each day is of; numbers from 0."""

    of_rows: Places
    users: Places  # (days,)

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Self:
        """By user_id and the date (UTC) of posted_at."""
        day = pl.struct("user_id", pl.col("posted_at").dt.date())
        codes = rows.select(day=day.rank("dense") - 1, user=pl.col("user_id").rank("dense") - 1).cast(pl.Int64)
        days, users = codes["day"].to_numpy(), codes["user"].to_numpy()
        found = np.zeros(days.max() + 1, np.int64)
        found[days] = users
        return cls(days, found)

    @property
    def weights(self) -> Values:
        """(rows,): each day counts once, whatever was posted on it, because posts of one upload fare alike."""
        return np.asarray(1.0 / np.bincount(self.of_rows)[self.of_rows])

    def ratio(self, excess: Values) -> float:
        """The variance of days about their user's mean over that of these means, by the method of moments."""
        means = np.bincount(self.of_rows, excess) / np.bincount(self.of_rows)
        days = np.bincount(self.users)
        levels = np.bincount(self.users, means) / days
        freedom = (days - 1).sum()
        if freedom == 0:
            return USUAL_RATIO
        within = ((means - levels[self.users]) ** 2).sum() / freedom
        between = levels.var() - within * (1 / days).mean()
        return float(np.clip(within / max(between, TINY), *RATIOS))


@dataclass(frozen=True)
class Columns:
    """A matrix of numbers (n, p) beside indicators of classes (n, q); these are sparse, as a row is of few classes."""

    numbers: Values
    indicators: Any  # a scipy.sparse.csr_matrix

    @classmethod
    def of(cls, numbers: Values, classes: NDArray[np.int32], count: int) -> Self:
        """`classes` (n, categories): which of `count` classes a row is of, -1: none."""
        from scipy.sparse import csr_matrix

        there = classes >= 0
        starts = np.concatenate([[0], there.sum(axis=1).cumsum()])
        return cls(numbers, csr_matrix((np.ones(starts[-1]), classes[there], starts), (len(classes), count)))

    def gram(self, weights: Values) -> Values:
        """X'WX, (p + q, p + q); no weight is below 0."""
        weighed = self.indicators.multiply(weights[:, None]).tocsr()
        between = weighed.T @ self.numbers
        among = (self.indicators.T @ weighed).toarray()
        rooted = self.numbers * np.sqrt(weights)[:, None]  # so that it is one array's, of which BLAS makes a triangle
        return np.block([[rooted.T @ rooted, between.T], [between, among]])

    def moments(self, values: Values) -> Values:
        """X'v, (p + q,)."""
        return np.concatenate([self.numbers.T @ values, self.indicators.T @ values])

    def summed(self, groups: Places, weights: Values) -> Self:
        """The weighted sums of the rows of each group, (groups, p + q)."""
        from scipy.sparse import csr_matrix

        own = csr_matrix((weights, (groups, np.arange(len(groups)))), (groups.max() + 1, len(groups)))
        return type(self)(own @ self.numbers, own @ self.indicators)


@dataclass(frozen=True)
class Bends:
    """What numbers are taken for in a regression: each a function of straight pieces, flat beyond its ends.

    That is the truncated power basis of degree 1 (Hastie, Tibshirani and Friedman, The Elements of Statistical
    Learning, 5.2): a number, and of each knot by how much the number is beyond it, of what is there each with mean 0
    and deviation 1. A column of few values has fewer knots: one that is not inside, or there already, would make a copy
    of a column, and a ridge penalty halves for two copies. Its place is then the upper end, beyond which is nothing.
    """

    places: Values  # (p, knots + 2), ascending: the ends and the knots between them
    centre: Values  # (p * (knots + 1),)
    deviation: Values

    @classmethod
    def of(cls, numbers: Matrix, knots: Sequence[float]) -> Self:
        """Of columns (n, p), NaN where missing; `knots` are quantiles.

        The ends are the lowest and the highest number, or FARTHEST deviations from the mean where these are nearer.
        """
        centre, deviation = _spread(numbers)
        low, high = centre - FARTHEST * deviation, centre + FARTHEST * deviation
        places = np.empty((numbers.shape[1], len(knots) + 2))
        for place, column in enumerate(numbers.T):
            there = column[np.isfinite(column)].astype(np.float64)
            ends = (max(low[place], there.min()), min(high[place], there.max())) if len(there) else (0.0, 0.0)
            inner = np.unique(np.quantile(there, knots)) if len(there) else there
            inner = inner[(inner > ends[0]) & (inner < ends[1])]
            places[place] = [ends[0], *inner, *[ends[1]] * (len(knots) + 1 - len(inner))]
        made = cls(places, np.zeros(0), np.zeros(0))
        return cls(places, *_spread(made._powers(numbers)))

    def basis(self, numbers: Values | Matrix) -> Values:
        """(n, p * (knots + 1)); 0, which is the mean, for what is missing or always the same."""
        usable = np.where(self.deviation > TINY, self.deviation, np.inf)
        return np.nan_to_num((self._powers(numbers) - self.centre) / usable)

    def heights(self, effects: Values) -> Values:
        """(p, knots + 2): what the effects of the columns of `basis` come to at each of the places."""
        width, count = self.places.shape
        at = [self.basis(self.places[:, place][None]) * effects for place in range(count)]
        return np.column_stack([one.reshape(count - 1, width).sum(axis=0) for one in at])

    def _powers(self, numbers: Values | Matrix) -> Values:
        inside = np.clip(numbers.astype(np.float64), self.places[:, 0], self.places[:, -1])
        return np.hstack([inside, *(np.maximum(inside - knot, 0.0) for knot in self.places[:, 1:-1].T)])


@dataclass(frozen=True)
class FixedEffects:
    """A ridge regression of the label on numbers and classes, beside a random intercept for each user.

    The effect of a number goes straight from each of its `places` to the next, and stays as it is beyond the last.
    """

    places: Values  # (p, knots + 2), ascending
    heights: Values  # (p, knots + 2): the effect there
    of_classes: Matrix  # (classes,)
    mean: float  # what a post without anything has
    ratio: float  # of the variance between days of a user to that between users

    @classmethod
    def of(
        cls,
        inputs: Inputs,
        count: int,
        rows: pl.DataFrame,
        *,
        knots: Sequence[float],
        penalty: float,
        class_penalty: float,
        most_posts: int,
    ) -> Self:
        """Henderson's equations of the newest rows (Robinson 1991, section 1), the intercepts solved out of them.

        `count`: how many classes there are. The ratio of variances and the effects are found in turns.
        """
        from scipy.linalg import solve

        order = rows.select(pl.arg_sort_by("posted_at", "post_id")).to_series().to_numpy()[-most_posts:]
        inputs, rows = inputs.take(order), rows.select("user_id", "posted_at", "popularity")[order]
        days, labels = UserDays.of(rows), rows["popularity"].to_numpy().astype(np.float64)
        bends = Bends.of(inputs.numbers, knots)
        numbers = np.insert(bends.basis(inputs.numbers), 0, 1.0, axis=1)  # ones: of the mean
        columns, width = Columns.of(numbers, inputs.classes, count), len(bends.centre)
        penalties = np.diag(np.repeat([0.0, penalty, class_penalty], [1, width, count]))
        of_users = columns.summed(days.users[days.of_rows], days.weights)
        gram, moments = columns.gram(days.weights), columns.moments(days.weights * labels)
        label_sums = np.bincount(days.users[days.of_rows], days.weights * labels)
        count_of_days, ratio = np.bincount(days.users), USUAL_RATIO
        for number in range(ROUNDS):
            drawn: Values = 1.0 / (count_of_days + ratio).astype(np.float64)
            left, right = gram - of_users.gram(drawn) + penalties, moments - of_users.moments(drawn * label_sums)
            effects = solve(left, right, assume_a="pos")
            made = cls(
                bends.places,
                bends.heights(effects[1 : 1 + width]),
                effects[1 + width :].astype(np.float32),
                float(effects[0]),
                ratio,
            )
            if number < ROUNDS - 1:
                ratio = days.ratio(labels - made._said(inputs))
        return made

    def of_rows(self, inputs: Inputs) -> Values:
        """(rows,): what can be expected of posts by these; NaN where a row has none of them."""
        return np.where(inputs.there, self._said(inputs), np.nan)

    def _said(self, inputs: Inputs) -> Values:
        said: Values = self.mean + np.append(self.of_classes, 0)[inputs.classes].sum(axis=1).astype(np.float64)
        for column, places, heights in zip(inputs.numbers.T, self.places, self.heights, strict=True):
            if heights.any():
                said += np.nan_to_num(np.interp(column, places, heights))
        return said


def _spread(numbers: Values | Matrix) -> tuple[Values, Values]:
    """Mean and deviation of each column, of what is there."""
    known = np.isfinite(numbers)
    count = np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, numbers, np.float64(0))
    centre = filled.sum(axis=0) / count
    np.subtract(filled, centre, out=filled, where=known)
    return centre, np.sqrt(np.einsum("ij,ij->j", filled, filled) / count)
