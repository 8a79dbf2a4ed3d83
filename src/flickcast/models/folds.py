"""The parts of the training rows that members are fitted on, and what comes of each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flickcast.errors import UserError
from flickcast.models.design import Design, Preparation
from flickcast.models.ensemble_settings import EnsembleSettings
from flickcast.models.model import Member
from flickcast.splits import newest_share, random_folds, user_folds

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]
MIN_USERS = 2


@dataclass(frozen=True)
class Fold:
    """What one member is fitted on and what stops it, also as its learners see it."""

    held: Mask  # (all rows,)
    rows: pl.DataFrame  # that it is fitted on
    stopping: pl.DataFrame  # the held ones
    untold: Preparation  # that knows no label of the held rows
    preparation: Preparation  # the same, told how the users' other posts did
    design: Design  # of `rows`
    seen: Design  # of `stopping`


@dataclass(frozen=True)
class Fitted:
    """A member, and what it says of the training rows that it was not fitted on."""

    member: Member
    held: Mask  # (rows,)
    unseen: Mapping[str, Values]  # by learner, (held rows,)
    left_out: Mapping[str, str] = field(default_factory=dict)  # learners that could take no part, and why

    def without(self, missing: Mapping[str, str]) -> Self:
        """The same without some of its learners: one that another fold had to leave out is left out of all."""
        learners = {name: learner for name, learner in self.member.learners.items() if name not in missing}
        weights = dict.fromkeys(learners, 1 / max(1, len(learners)))
        unseen = {name: values for name, values in self.unseen.items() if name not in missing}
        return replace(self, member=replace(self.member, learners=learners, weights=weights), unseen=unseen)


def held_parts(rows: pl.DataFrame, settings: EnsembleSettings, count: int, seed: int) -> Iterator[Mask]:
    """For each member, the rows that it is not fitted on."""
    users = users_of(rows)
    if settings.folds_by == "newest":
        yield newest_share(rows, settings.held).to_numpy()
        return
    if settings.folds_by == "user":
        folds = user_folds(rows["user_id"], min(count, users), seed).to_numpy()
    else:
        folds = random_folds(rows["post_id"], min(count, rows.height), seed).to_numpy()
    for fold in range(folds.max() + 1):
        yield folds == fold


def users_of(rows: pl.DataFrame) -> int:
    """How many users the rows have; UserError where no fold can be made of them."""
    users = rows["user_id"].n_unique()
    if users < MIN_USERS:
        raise UserError(
            f"train: the training rows hold {rows.height} labelled posts of {users} users; at least {MIN_USERS} "
            f"users are needed. Import or ingest more posts, or wait until they have matured."
        )
    return users


def unseen_rows(rows: pl.DataFrame, fitted: Sequence[Fitted]) -> pl.DataFrame:
    """The rows that members were not fitted on, member by member."""
    return rows[np.concatenate([np.flatnonzero(one.held) for one in fitted])]


def newest_positions(rows: pl.DataFrame, most: int | None, count: int) -> NDArray[np.int64] | None:
    """The places of the newest `most` of the rows, and of what stands behind them up to `count`; None: all do."""
    if most is None or rows.height <= most:
        return None
    rank = rows.select(pl.struct("posted_at", "post_id").rank("ordinal")).to_series().to_numpy()
    return np.concatenate([np.flatnonzero(rank > rows.height - most), np.arange(rows.height, count)])


def target_of(rows: pl.DataFrame) -> Values:
    """(rows,): the labels."""
    return rows["popularity"].to_numpy().astype(np.float64)
