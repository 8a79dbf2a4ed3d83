"""The accounts of the simulated world: what the API tells of them, and what nobody sees."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.random import Generator
from numpy.typing import NDArray

from flickcast.schemas import TIME
from flickcast.simulate import calibration as facts
from flickcast.simulate.law import DAY_SECONDS, Floats, Integers, Law
from flickcast.simulate.text import FIRST_NAMES, LAST_NAMES, PLACES

FAVOURITES = 3  # subcategories a user mostly posts in
ACTIVITY_SPREAD = 1.35  # of the log of a user's uploads: heavy tailed
DELETION_DAYS = 730  # deleted accounts vanish some time in the first two years


@dataclass(frozen=True)
class Users:
    """All accounts, one array element each.

    `told` is the user's part of the level that follows from numbers the API tells, `hidden` the part that nobody
    sees but through views. `numbers` are the profile counts on the first day.
    """

    profiles: pl.DataFrame
    numbers: pl.DataFrame
    activity: Floats
    told: Floats
    hidden: Floats
    favourites: Integers
    tag_habit: Floats
    quality_habit: Floats
    geotags: NDArray[np.bool_]
    words: Integers


def make_users(rng: Generator, count: int, start: datetime, law: Law, subcategory_shares: Floats) -> Users:
    """Accounts with the joint ranks of calibration.USER_RANK_CORRELATIONS."""
    sparks = rng.standard_normal((count, len(facts.USER_NUMBERS)))
    numbers = _numbers(sparks)
    profiles = _profiles(rng, count, start)
    activity = np.exp(ACTIVITY_SPREAD * (0.5 * sparks[:, 0] + np.sqrt(0.75) * rng.standard_normal(count)))
    # Followers and lifetime views carry half of what is hidden; their sparks are independent of the told numbers.
    hidden = 0.5 * sparks[:, 2] + 0.5 * sparks[:, 3] + np.sqrt(0.5) * rng.standard_normal(count)
    told = _told(law, numbers, profiles["is_pro"].to_numpy())
    return Users(
        profiles=profiles,
        numbers=numbers,
        activity=activity / activity.sum(),
        told=told - np.average(told, weights=activity),
        hidden=law.hidden_user * hidden,
        favourites=rng.choice(len(subcategory_shares), (count, FAVOURITES), p=subcategory_shares),
        tag_habit=rng.standard_normal(count),
        quality_habit=rng.standard_normal(count),
        geotags=rng.random(count) < facts.GEOTAGGED_USERS,
        words=rng.integers(0, 1 << 30, count),
    )


def _numbers(sparks: Floats) -> pl.DataFrame:
    """Profile counts: normal scores with the wanted rank correlations, put on each count's quantiles."""
    from scipy.special import ndtr

    # The Pearson correlation of two normal scores whose ranks correlate with r.
    correlations = 2.0 * np.sin(np.pi / 6.0 * np.asarray(facts.USER_RANK_CORRELATIONS))
    levels = ndtr(sparks @ np.linalg.cholesky(correlations).T)
    columns = {
        name: np.floor(np.expm1(np.interp(levels[:, place], facts.USER_QUANTILE_LEVELS, np.log1p(quantiles))))
        for place, (name, quantiles) in enumerate(zip(facts.USER_NUMBERS, facts.USER_QUANTILES, strict=True))
    }
    return pl.DataFrame(columns).cast(pl.Int64)


def _told(law: Law, numbers: pl.DataFrame, is_pro: NDArray[np.bool_]) -> Floats:
    following = _standard_log(numbers["following"].to_numpy())
    photos = _standard_log(numbers["photo_count"].to_numpy())
    bend = law.following_bend * (following**2 - 1.0)
    return law.following * following + bend + law.photo_count * photos + law.pro * (is_pro - facts.PRO)


def _standard_log(counts: Integers) -> Floats:
    logs = np.log1p(counts.astype(np.float64))
    spread = logs.std()
    return np.asarray((logs - logs.mean()) / spread if spread else logs * 0.0)


def _profiles(rng: Generator, count: int, start: datetime) -> pl.DataFrame:
    """What a profile page says, apart from counts."""
    first_post = start - pl.Series((2.0 + 4000.0 * rng.beta(1.0, 2.0, count)) * DAY_SECONDS * 1e6).cast(
        pl.Duration("us")
    )
    place = rng.integers(0, len(PLACES), count)
    return pl.DataFrame(
        {
            "user_id": _user_ids(rng, count),
            "name": _names(rng, count),
            "is_pro": rng.random(count) < facts.PRO,
            "can_buy_pro": rng.random(count) < 0.5,
            "has_alias": rng.random(count) >= facts.NO_ALIAS,
            "shows_timezone": rng.random(count) >= facts.NO_TIMEZONE,
            "shows_place": rng.random(count) >= facts.NO_PLACE,
            "uses_instagram": rng.random(count) < facts.INSTAGRAM,
            "place": place,
            "first_post_at": first_post.dt.truncate("1s"),
            "taken_before_days": np.floor(rng.exponential(700.0, count)).astype(np.int64),
            "deleted_at": pl.Series(_deletions(rng, count, start), dtype=TIME),
        }
    )


def _user_ids(rng: Generator, count: int) -> list[str]:
    """Ids like the service's; distinct, because the numbers before the @ are."""
    numbers = 10_000_000 + rng.permutation(count) * 37 + rng.integers(0, 37, count)
    return [f"{number}@N{part:02d}" for number, part in zip(numbers, rng.integers(0, 9, count), strict=True)]


def _names(rng: Generator, count: int) -> list[str]:
    first, last = rng.integers(0, len(FIRST_NAMES), count), rng.integers(0, len(LAST_NAMES), count)
    return [
        f"{FIRST_NAMES[one]} {LAST_NAMES[two]} {serial}"
        for serial, (one, two) in enumerate(zip(first, last, strict=True))
    ]


def _deletions(rng: Generator, count: int, start: datetime) -> list[datetime | None]:
    gone, seconds = rng.random(count) < facts.DELETED, rng.integers(0, DELETION_DAYS * DAY_SECONDS, count)
    return [start + timedelta(seconds=int(s)) if g else None for g, s in zip(gone, seconds, strict=True)]
