"""Reduction `mixed_model`: what can be expected of a post, and how far its user's earlier posts were above that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from flickcast.models.reductions.owners import Salt, owners, salt_of
from flickcast.models.reductions.protocol import Arrays, Json, Matrix, Training, out_of_fold
from flickcast.params import Section

MEASURES = ("fixed", "intercept", "expected", "excess", "days")
OF_THE_POST = ("words", "time_place", "categories", "trends", "known_popularity", "picture_text", "picture_statistics")
EFFECTS = ("centre", "deviation", "effects", "of_classes")
FARTHEST = 4.0  # standard deviations: one odd number should not decide
TINY = 1e-6
RATIOS = (0.1, 100.0)  # between which the ratio of variances is believed
USUAL_RATIO = 1.0  # where no user has posted on two days
GRID = 2.0**-27  # sums of such steps are exact, so that the order of posts that became known together is no matter
EVENT = pl.Schema(
    [("owner", pl.Int64()), ("known_at", pl.Datetime("us", "UTC")), ("day", pl.Date()), ("excess", pl.Float64())]
)
Values = NDArray[np.float64]


class MixedModelSettings(Section):
    """One entry of a recipe's `reductions`."""

    kind: Literal["mixed_model"]
    groups: list[str] = Field(
        [*OF_THE_POST, "people"],
        description="feature groups that the fixed effects read: none that tells how the user's posts were or did",
    )
    penalty: float = Field(100.0, gt=0, description="of the effects of numbers, on columns of deviation 1")
    class_penalty: float = Field(10.0, gt=0, description="of the effect of a class: how many posts draw it to 0")
    min_posts: int = Field(5, ge=1, description="a class of fewer posts has no effect of its own")
    rounds: int = Field(10, ge=1, description="how often fixed effects and intercepts are found in turn")
    most_posts: int = Field(100_000, ge=10, description="fixed effects are learnt from the newest so many")
    folds: int = Field(5, ge=2)


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
class FixedEffects:
    """A ridge regression of the label on numbers and classes, once the level of each user is taken out of it."""

    centre: Matrix  # (p,)
    deviation: Matrix  # (p,)
    effects: Matrix  # (p,)
    of_classes: Matrix  # (classes,)
    mean: float
    ratio: float  # of the variance between days of a user to that between users

    @classmethod
    def of(cls, inputs: Inputs, count: int, rows: pl.DataFrame, settings: MixedModelSettings) -> Self:
        """Fitted in turns with each user's intercept (backfitting): the model of Laird and Ware 1982, section 2.

        Days, not posts, tell of a user: posts of one upload fare alike. `count`: how many classes there are.
        """
        from scipy.linalg import cho_factor, cho_solve

        order = rows.select(pl.arg_sort_by("posted_at", "post_id")).to_series().to_numpy()[-settings.most_posts :]
        inputs, rows = inputs.take(np.sort(order)), rows[np.sort(order)]
        labels = rows["popularity"].to_numpy().astype(np.float64)
        width, nothing = inputs.numbers.shape[1], np.zeros(0, np.float32)
        made = cls(*_spread(inputs.numbers), nothing, nothing, float(labels.mean()), USUAL_RATIO)
        columns = np.hstack([made._scaled(inputs.numbers), _indicators(inputs.classes, count)])
        penalties = np.repeat([settings.penalty, settings.class_penalty], [width, count])
        factor = cho_factor(columns.T @ columns + np.diag(penalties))
        days = _UserDays.of(rows)
        intercepts, ratio, effects = np.zeros(len(labels)), USUAL_RATIO, np.zeros(width + count)
        for _ in range(settings.rounds):
            effects = cho_solve(factor, columns.T @ (labels - made.mean - intercepts))
            intercepts, ratio = days.intercepts(labels - made.mean - columns @ effects)
        found = effects.astype(np.float32)
        return replace(made, effects=found[:width], of_classes=found[width:], ratio=ratio)

    def of_rows(self, inputs: Inputs) -> Values:
        """(rows,): what can be expected of posts by these; NaN where a row has none of them."""
        said = self.mean + (self._scaled(inputs.numbers) @ self.effects).astype(np.float64)
        said += np.append(self.of_classes, 0)[inputs.classes].sum(axis=1)
        return np.where(inputs.there, said, np.nan)

    def _scaled(self, numbers: Matrix) -> Matrix:
        usable = np.where(self.deviation > TINY, self.deviation, np.inf)
        return np.nan_to_num(np.clip((numbers - self.centre) / usable, -FARTHEST, FARTHEST))


@dataclass(frozen=True)
class MixedModel:
    """A linear mixed model with an intercept for each user, as known when a post appeared.

    `fixed` is what the post's own numbers let expect, `excess` the mean over the user's earlier days of what their
    posts had beyond that, `intercept` the same drawn towards 0 as the variances ask, `expected` the sum of both. A
    training row's `fixed` is told no label of its fold; its user's earlier labels count as in `user_popularity`.
    """

    makes_codes: ClassVar[bool] = False
    name: str
    columns: Sequence[str]  # numbers
    classes: Mapping[str, list[str]]  # by category
    fixed: FixedEffects
    events: pl.DataFrame  # (labelled posts,) with the columns of EVENT
    salt: Salt  # of the owners

    @property
    def names(self) -> list[str]:
        """fixed, intercept, expected, excess, days (after the reduction's name)."""
        return [f"{self.name}_{measure}" for measure in MEASURES]

    @classmethod
    def fit(cls, training: Training, name: str, settings: MixedModelSettings) -> "tuple[MixedModel, Matrix] | None":
        """The model of all training rows, and how they look themselves; None without inputs or with a single user."""
        rows = training.rows
        numbers = training.columns_of("number", settings.groups)
        classes = {
            column: _frequent(rows[column], settings.min_posts)
            for column in training.columns_of("category", settings.groups)
        }
        inputs = _inputs(rows, numbers, classes)
        if not inputs.there.any():
            return None
        salt, count = salt_of(rows["user_id"], training.seed), sum(map(len, classes.values()))

        def of(chosen: NDArray[np.bool_]) -> "MixedModel":
            fixed = FixedEffects.of(inputs.take(chosen), count, rows.filter(pl.Series(chosen)), settings)
            return cls(name, numbers, classes, fixed, pl.DataFrame(schema=EVENT), salt)

        found = of(np.ones(rows.height, bool))
        own = out_of_fold(training, settings.folds, lambda fold: of(~fold).told(rows.filter(pl.Series(fold))))
        return None if own is None else (found.told(rows), own)

    def told(self, rows: pl.DataFrame) -> Self:
        """The same, knowing how these posts did as well: of their users, nothing else is learnt from them."""
        there = rows.filter(pl.col("popularity").is_not_null() & pl.col("label_known_at").is_not_null())
        excess = there["popularity"].to_numpy() - self.fixed.of_rows(_inputs(there, self.columns, self.classes))
        events = there.select(
            owner=pl.Series(owners(there["user_id"], self.salt), dtype=pl.Int64),
            known_at="label_known_at",
            day=pl.col("posted_at").dt.date(),
            excess=pl.Series(excess, dtype=pl.Float64),
        )
        return replace(self, events=pl.concat([self.events, events.filter(pl.col("excess").is_finite())]))

    def transform(self, rows: pl.DataFrame) -> Matrix:
        """(rows, 5): of a user of whom no label was known `excess` is NaN, `intercept` and `days` are 0."""
        fixed = self.fixed.of_rows(_inputs(rows, self.columns, self.classes))
        wanted = rows.select(
            owner=pl.Series(owners(rows["user_id"], self.salt), dtype=pl.Int64),
            moment="posted_at",
            row=pl.int_range(pl.len()),
        )
        found = wanted.sort("moment").join_asof(
            _so_far(self.events).sort("known_at"),
            left_on="moment",
            right_on="known_at",
            by="owner",
            allow_exact_matches=False,
            check_sortedness=False,
        )
        sums, days = (found.sort("row")[name].fill_null(0).to_numpy() for name in ("sum", "days"))
        intercept = sums / (days + self.fixed.ratio)
        excess = np.divide(sums, days, out=np.full(len(sums), np.nan), where=days > 0)
        return np.column_stack([fixed, intercept, fixed + intercept, excess, days]).astype(np.float32)

    def facts(self) -> Json:
        """Kind, columns, classes, the mean label and the ratio of variances."""
        return {
            "kind": "mixed_model",
            "columns": list(self.columns),
            "classes": dict(self.classes),
            "mean": self.fixed.mean,
            "ratio": self.fixed.ratio,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Effects of numbers and classes; owner, known_at, day and excess of each event; the salt."""
        effects = {name: getattr(self.fixed, name) for name in EFFECTS}
        events = self.events.with_columns(pl.col("known_at", "day").to_physical())
        return {**effects, **{name: events[name].to_numpy() for name in EVENT}, "salt": self.salt}

    @classmethod
    def restore(cls, name: str, facts: Json, arrays: Arrays) -> Self:
        """The same reduction from its facts and arrays."""
        effects = {part: arrays[part] for part in EFFECTS}
        fixed = FixedEffects(**effects, mean=facts["mean"], ratio=facts["ratio"])
        events = pl.DataFrame({column: arrays[column] for column in EVENT}).cast(EVENT)
        return cls(name, facts["columns"], facts["classes"], fixed, events, arrays["salt"])


def _inputs(rows: pl.DataFrame, columns: Sequence[str], classes: Mapping[str, list[str]]) -> Inputs:
    """Columns that are not there count as missing."""
    missing = np.full(rows.height, np.nan, np.float32)
    numbers = [
        rows[name].cast(pl.Float32).fill_null(float("nan")).to_numpy() if name in rows.columns else missing
        for name in columns
    ]
    places, start = [], 0
    for name, known in classes.items():
        table = {value: start + place for place, value in enumerate(known)}
        values = rows[name].cast(pl.String) if name in rows.columns else pl.repeat(None, rows.height, eager=True)
        places.append(values.cast(pl.String).replace_strict(table, default=-1, return_dtype=pl.Int32).to_numpy())
        start += len(known)
    return Inputs(_side_by_side(numbers, rows.height, np.float32), _side_by_side(places, rows.height, np.int32))


def _side_by_side(columns: list[Any], rows: int, kind: type[np.generic]) -> NDArray[Any]:
    return np.column_stack(columns).astype(kind) if columns else np.empty((rows, 0), kind)


def _frequent(values: pl.Series, least: int) -> list[str]:
    counts = values.drop_nulls().cast(pl.String).value_counts(name="rows")
    return sorted(counts.filter(pl.col("rows") >= least)[values.name].to_list())


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


@dataclass(frozen=True)
class _UserDays:
    """Which day of which user each row is of, and which user each day is of; numbers from 0."""

    of_rows: NDArray[np.int64]
    users: NDArray[np.int64]  # (days,)

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Self:
        day = pl.struct("user_id", pl.col("posted_at").dt.date())
        codes = rows.select(day=day.rank("dense") - 1, user=pl.col("user_id").rank("dense") - 1).cast(pl.Int64)
        days, users = codes["day"].to_numpy(), codes["user"].to_numpy()
        found = np.zeros(days.max() + 1, np.int64)
        found[days] = users
        return cls(days, found)

    def intercepts(self, excess: Values) -> tuple[Values, float]:
        """(rows,): each user's level, from the means of their days, and the ratio of variances that it was drawn by.

        Variances by the method of moments: of days about their user's mean, and of these means about 0.
        """
        days = np.bincount(self.of_rows, excess) / np.bincount(self.of_rows)
        count = np.bincount(self.users)
        means = np.bincount(self.users, days) / count
        within = ((days - means[self.users]) ** 2).sum()
        ratio = _ratio(count, means, within)
        return (means * count / (count + ratio))[self.users[self.of_rows]], ratio


def _ratio(days: NDArray[np.int64], means: Values, squares: float) -> float:
    freedom = (days - 1).sum()
    if freedom == 0:
        return USUAL_RATIO
    within = squares / freedom
    between = (means**2).mean() - within * (1 / days).mean()
    return float(np.clip(within / max(between, TINY), *RATIOS))


def _so_far(events: pl.DataFrame) -> pl.DataFrame:
    """For each event of an owner: sum and number, over the days so far, of the mean excess of each day."""
    day = ("owner", "day")
    ordered = events.sort("owner", "known_at", "day", "excess")
    mean = (pl.col("excess").cum_sum() / pl.col("excess").cum_count()).over(day)
    stepped = ordered.with_columns(mean=(mean / GRID).round() * GRID, first=pl.int_range(pl.len()).over(day) == 0)
    step = pl.col("mean") - pl.col("mean").shift(1).over(day).fill_null(0)
    return stepped.with_columns(step=step).select(
        "owner",
        "known_at",
        sum=pl.col("step").cum_sum().over("owner"),
        days=pl.col("first").cum_sum().over("owner").cast(pl.Int64),
    )
