"""Reduction `mixed_model`: what can be expected of a post, and how far its user's earlier posts were above that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from flickcast.models.coding import MISSING_CODE, OTHER_CODE, codes_of, frequent, numbers_of, side_by_side
from flickcast.models.reductions.fixed_effects import RATIOS, FixedEffects, Inputs
from flickcast.models.reductions.owners import Salt, owners, salt_of
from flickcast.models.reductions.protocol import Arrays, Json, Matrix, Training, out_of_fold
from flickcast.params import Section

MEASURES = ("fixed", "intercept", "expected", "excess", "days")
OF_THE_POST = ("words", "time_place", "categories", "trends", "known_popularity", "picture_text", "picture_statistics")
EFFECTS = ("places", "heights", "of_classes")
GRID = 2.0**-27  # sums of such steps are exact, so that the order of posts that became known together is no matter
EVENT = pl.Schema(
    [("owner", pl.Int64()), ("known_at", pl.Datetime("us", "UTC")), ("day", pl.Date()), ("excess", pl.Float64())]
)
Quantile = Annotated[float, Field(gt=0, lt=1)]


class MixedModelSettings(Section):
    """One entry of a recipe's `reductions`."""

    kind: Literal["mixed_model"]
    groups: list[str] = Field(
        [*OF_THE_POST, "people"],
        description="feature groups that the fixed effects read: none that is made of the user's posts in our tables",
    )
    knots: list[Quantile] = Field([0.2, 0.5, 0.8], description="quantiles of a number at which its effect may bend")
    penalty: float = Field(30.0, gt=0, description="of the effects of numbers, on columns of deviation 1, in days")
    class_penalty: float = Field(3.0, gt=0, description="of the effect of a class: how many days draw it to 0")
    min_posts: int = Field(5, ge=1, description="a class of fewer posts has no effect of its own")
    most_posts: int = Field(50_000, ge=10, description="fixed effects are learnt from the newest so many")
    folds: int = Field(5, ge=2)


@dataclass(frozen=True)
class MixedModel:
    """A linear mixed model with an intercept for each user, from the labels known when a post appeared.

    `fixed` is what the post's own numbers let expect, `excess` the mean over the user's earlier days of what their
    posts had beyond that, `intercept` the same drawn towards 0 as the variances ask, `expected` the sum of both. The
    effects behind a training row's `fixed` are told no label of its fold; its user's earlier labels count as in
    `user_popularity`. Labels that it was never told do not count: a model knows users as they were when it was trained.
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

    @property
    def apart(self) -> dict[str, str]:
        """What the post itself promises is another thing than how its user's posts did."""
        return {f"{self.name}_{measure}": "expected" for measure in ("fixed", "expected")}

    @classmethod
    def fit(cls, training: Training, name: str, settings: MixedModelSettings) -> "tuple[MixedModel, Matrix] | None":
        """The model of all training rows, and how they look themselves; None without inputs or with a single user."""
        if training.rows["user_id"].n_unique() < 2:
            return None
        numbers = training.columns_of("number", settings.groups)
        classes = {
            column: frequent(_class(training.rows, column), settings.min_posts)
            for column in training.columns_of("category", settings.groups)
        }
        training = training.narrow(*numbers, *classes)
        rows = training.rows
        inputs = _inputs(rows, numbers, classes)
        if not inputs.there.any():
            return None
        salt, count = salt_of(rows["user_id"], training.seed), sum(map(len, classes.values()))
        asked = settings.model_dump(include={"knots", "penalty", "class_penalty", "most_posts"})

        def of(chosen: NDArray[np.bool_]) -> "MixedModel":
            fixed = FixedEffects.of(inputs.take(chosen), count, rows.filter(pl.Series(chosen)), **asked)
            return cls(name, numbers, classes, fixed, pl.DataFrame(schema=EVENT), salt)

        found = of(np.ones(rows.height, bool))
        own = out_of_fold(training, settings.folds, lambda fold: of(~fold).told(rows.filter(pl.Series(fold))))
        return None if own is None else (found.told(rows), own)

    def told(self, rows: pl.DataFrame) -> Self:
        """The same, knowing how these posts did, which it was not told before: of their users, and nothing else."""
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
            _so_far(self.events).sort("known_at", maintain_order=True),
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
        shape = len(facts["columns"]), max(2, *fixed.places.shape[1:])
        if not fixed.places.shape == fixed.heights.shape == shape or not RATIOS[0] <= fixed.ratio <= RATIOS[1]:
            raise ValueError(f"{name}: the mixed model's effects are not those of its columns")
        if not np.isfinite([fixed.places, fixed.heights]).all() or (np.diff(fixed.places) < 0).any():
            raise ValueError(f"{name}: the mixed model's effects are no lines from place to place")
        if sum(map(len, facts["classes"].values())) != len(fixed.of_classes):
            raise ValueError(f"{name}: the mixed model's effects are not those of its classes")
        events = pl.DataFrame({column: arrays[column] for column in EVENT}).cast(EVENT)
        return cls(name, facts["columns"], facts["classes"], fixed, events, arrays["salt"])


def _inputs(rows: pl.DataFrame, columns: Sequence[str], classes: Mapping[str, list[str]]) -> Inputs:
    """Columns that are not there count as missing, as do classes that have no effect."""
    places, start = [], 0
    for name, known in classes.items():
        codes = codes_of(_class(rows, name), known)
        places.append(np.where(codes > OTHER_CODE, start + codes - 1, MISSING_CODE).astype(np.int32))
        start += len(known)
    return Inputs(numbers_of(rows, columns), side_by_side(places, rows.height))


def _class(rows: pl.DataFrame, name: str) -> pl.Series:
    return rows[name].cast(pl.String) if name in rows.columns else pl.Series(name, [None] * rows.height, pl.String)


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
