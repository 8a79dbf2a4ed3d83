"""What can be expected of a post by numbers and classes, where each user has a level of their own."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
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
BLOCK = 10_000  # rows whose columns are in memory at once
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
class FixedEffects:
    """A ridge regression of the label on numbers and classes, beside a random intercept for each user."""

    centre: Matrix  # (p,)
    deviation: Matrix  # (p,)
    effects: Matrix  # (p,)
    of_classes: Matrix  # (classes,)
    mean: float  # what a post without anything has
    ratio: float  # of the variance between days of a user to that between users

    @classmethod
    def of(
        cls, inputs: Inputs, count: int, rows: pl.DataFrame, penalty: float, class_penalty: float, most_posts: int
    ) -> Self:
        """Henderson's equations of the newest rows (Robinson 1991, section 1), the intercepts solved out of them.

        `count`: how many classes there are. The ratio of variances and the effects are found in turns.
        """
        from scipy.linalg import solve

        order = rows.select(pl.arg_sort_by("posted_at", "post_id")).to_series().to_numpy()[-most_posts:]
        inputs, rows = inputs.take(np.sort(order)), rows[np.sort(order)]
        days, labels = UserDays.of(rows), rows["popularity"].to_numpy().astype(np.float64)
        width, nothing = inputs.numbers.shape[1], np.zeros(0, np.float32)
        made = cls(*_spread(inputs.numbers), nothing, nothing, 0.0, USUAL_RATIO)
        penalties = np.diag(np.repeat([0.0, penalty, class_penalty], [1, width, count]))
        gram, moments, sums, label_sums = made._summed(inputs, count, labels, days)
        count_of_days, ratio = np.bincount(days.users), USUAL_RATIO
        for number in range(ROUNDS):
            drawn = sums / (count_of_days + ratio)[:, None]
            left, right = gram - sums.T @ drawn + penalties, moments - drawn.T @ label_sums
            effects = solve(left, right, assume_a="pos")
            made = replace(
                made,
                mean=float(effects[0]),
                effects=effects[1 : 1 + width].astype(np.float32),
                of_classes=effects[1 + width :].astype(np.float32),
                ratio=ratio,
            )
            if number < ROUNDS - 1:
                ratio = days.ratio(labels - made._said(inputs))
        return made

    def of_rows(self, inputs: Inputs) -> Values:
        """(rows,): what can be expected of posts by these; NaN where a row has none of them."""
        return np.where(inputs.there, self._said(inputs), np.nan)

    def _said(self, inputs: Inputs) -> Values:
        said = self.mean + (self._scaled(inputs.numbers) @ self.effects).astype(np.float64)
        return np.asarray(said + np.append(self.of_classes, 0)[inputs.classes].sum(axis=1))

    def _scaled(self, numbers: Matrix) -> Matrix:
        usable = np.where(self.deviation > TINY, self.deviation, np.inf)
        return np.nan_to_num(np.clip((numbers - self.centre) / usable, -FARTHEST, FARTHEST))

    def _summed(
        self, inputs: Inputs, count: int, labels: Values, days: UserDays
    ) -> tuple[Values, Values, Values, Values]:
        """X'WX, X'Wy and, by user, Z'WX and Z'Wy; X has a column of ones before all others."""
        from scipy.sparse import csr_matrix

        users, weights = days.users[days.of_rows], days.weights
        size = 1 + inputs.numbers.shape[1] + count
        gram, moments, sums = np.zeros((size, size)), np.zeros(size), np.zeros((users.max() + 1, size))
        for rows in _blocks(len(labels)):
            part = inputs.take(rows)
            ones = np.ones((len(rows), 1))
            columns = np.hstack([ones, self._scaled(part.numbers), _indicators(part.classes, count)])
            weighed = columns * weights[rows, None]
            gram += columns.T @ weighed
            moments += weighed.T @ labels[rows]
            own = csr_matrix((np.ones(len(rows)), (users[rows], np.arange(len(rows)))), (len(sums), len(rows)))
            sums += own @ weighed
        return gram, moments, sums, np.bincount(users, weights * labels).astype(np.float64)


def _blocks(count: int) -> Iterator[Places]:
    for start in range(0, count, BLOCK):
        yield np.arange(start, min(start + BLOCK, count))


def _indicators(classes: NDArray[np.int32], count: int) -> Matrix:
    """(rows, count): 1 where a row is of a class."""
    found = np.zeros((len(classes), count + 1), np.float32)
    np.put_along_axis(found, np.where(classes < 0, count, classes), 1, axis=1)
    return found[:, :count]


def _spread(numbers: Matrix) -> tuple[Matrix, Matrix]:
    """Mean and deviation of each column, of what is there."""
    known = np.isfinite(numbers)
    count = np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, numbers, 0).astype(np.float64)
    centre = filled.sum(axis=0) / count
    deviation = np.sqrt(np.where(known, (filled - centre) ** 2, 0).sum(axis=0) / count)
    return centre.astype(np.float32), deviation.astype(np.float32)
