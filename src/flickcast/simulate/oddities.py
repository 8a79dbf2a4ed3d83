"""What happens to single posts: some appear late, are dated anew, are removed, or are listed without a needed key."""

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.random import Generator

from flickcast.errors import UserError
from flickcast.schemas import TIME
from flickcast.simulate.law import DAY_SECONDS, Floats

LATE_HOURS = (1.0, 40.0)
REDATED_AFTER_DAYS, REDATED_BACK_DAYS = (1.0, 5.0), 20.0
REDATED_TO_1970 = 0.1  # of those dated anew: an owner typed a year where a moment was asked for
A_YEAR_AS_SECONDS = 2013  # as in a recorded photo: unix second 2013
REMOVED_AFTER_DAYS = (1.0 / 24.0, 40.0)
MISSING = {"no id": "id", "no owner": "owner", "no dateupload": "dateupload"}  # why a post is unusable: its missing key


@dataclass(frozen=True)
class Oddities:
    """Shares of posts to which these things happen; a post may meet several. UserError for what is no share."""

    late: float = 0.0  # found only hours after its dateupload: it went public late
    redated: float = 0.0  # its owner sets another dateupload some days later
    removed: float = 0.0  # its owner removes it
    unusable: float = 0.0  # listed without one of the keys in MISSING

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0.0 <= getattr(self, field.name) <= 1.0:
                raise UserError(
                    f"no world with a share of {getattr(self, field.name)} {field.name} posts; give 0 to 1."
                )


def with_oddities(rng: Generator, posts: pl.DataFrame, oddities: Oddities) -> pl.DataFrame:
    """Adds when a post is first shown, dated anew (and to when) and removed, and why it cannot be used.

    All but the first are null for posts to which they do not happen.
    """
    count = posts.height
    chances = rng.random((4, count))
    late, redate_after, removed_after = (
        rng.uniform(*bounds, count) for bounds in (LATE_HOURS, REDATED_AFTER_DAYS, REMOVED_AFTER_DAYS)
    )
    redate_by = rng.uniform(-REDATED_BACK_DAYS, redate_after)
    to_1970 = rng.random(count) < REDATED_TO_1970
    why = pl.Series(list(MISSING))[rng.integers(0, len(MISSING), count)]
    is_late, is_redated, is_removed, is_unusable = (
        pl.Series(chances[place] < share)
        for place, share in enumerate((oddities.late, oddities.redated, oddities.removed, oddities.unusable))
    )
    year = pl.lit(datetime.fromtimestamp(A_YEAR_AS_SECONDS, UTC), dtype=TIME)
    return posts.with_columns(
        shown_from=pl.when(is_late).then(_later(late / 24.0)).otherwise("posted_at"),
        redated_at=pl.when(is_redated).then(_later(redate_after)),
        redated_to=pl.when(is_redated).then(pl.when(pl.Series(to_1970)).then(year).otherwise(_later(redate_by))),
        removed_at=pl.when(is_removed).then(_later(removed_after)),
        unusable=pl.when(is_unusable).then(why),
    )


def _later(days: Floats) -> pl.Expr:
    """Whole seconds after posting."""
    return pl.col("posted_at") + pl.duration(seconds=pl.lit(pl.Series(np.floor(days * DAY_SECONDS).astype(np.int64))))


@lru_cache(maxsize=16)
def is_shown(now: datetime) -> pl.Expr:
    """Whether a post can be seen at a moment."""
    removed = pl.col("removed_at").is_not_null() & (pl.col("removed_at") <= now)
    return (pl.col("shown_from") <= now) & ~removed


@lru_cache(maxsize=16)
def dated(now: datetime) -> pl.Expr:
    """The dateupload that a post shows at a moment."""
    is_redated = pl.col("redated_at").is_not_null() & (pl.col("redated_at") <= now)
    return pl.when(is_redated).then("redated_to").otherwise("posted_at").alias("dated")
