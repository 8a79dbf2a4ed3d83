"""One day's uploads: which user brings which pictures when, and the level of popularity the law gives them."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.random import Generator

from flickcast.schemas import TIME
from flickcast.simulate import calibration as facts
from flickcast.simulate.law import DAY_SECONDS, Floats, Integers, Law
from flickcast.simulate.text import CATEGORIES, CONCEPTS, SUBCATEGORIES
from flickcast.simulate.users import Users

FIRST_POST_ID, POSTS_OF_A_DAY = 16_000_000_000, 1_000_000  # ids rise with time, as the service's do
YEAR_DAYS = 365.25
FAVOURITE_SHARE, FAVOURITE_WEIGHTS = 0.65, (0.6, 0.25, 0.15)
SECONDS_BETWEEN = 30.0  # pictures of one upload
SPREAD_OF_UNIFORM = np.sqrt(12.0)  # makes a uniform number's spread 1

SHARES = np.array([share for parts in facts.SUBCATEGORY_FACTS.values() for share, _ in parts.values()])
OFFSETS = np.array([offset for parts in facts.SUBCATEGORY_FACTS.values() for _, offset in parts.values()])
SHARES = SHARES / SHARES.sum()
CONCEPT_SUBCATEGORY = np.array([subcategory for subcategory, _ in CONCEPTS])
FIRST_CONCEPT = np.searchsorted(CONCEPT_SUBCATEGORY, np.arange(len(SUBCATEGORIES)))
CONCEPTS_OF = np.bincount(CONCEPT_SUBCATEGORY)


@dataclass(frozen=True)
class Day:
    """A day of the world and the law it lives under."""

    number: int
    midnight: datetime
    posts: float  # to expect, before the day's own chance
    users: Users
    concept_effects: Floats
    law: Law


def concept_effects(rng: Generator, law: Law) -> Floats:
    """How much each concept adds to the level of a post."""
    return law.concept * rng.standard_normal(len(CONCEPTS))


def make_uploads(rng: Generator, day: Day) -> pl.DataFrame:
    """A day's posts as numbers, oldest first.

    `known` is the part of the level that follows from what can be seen when the post appears, `level` is all of it.
    Posts of one upload share user, subject, tags and most of what chance adds.
    """
    uploads = _uploads(rng, day)
    posts = _posts(rng, uploads, day)
    return _with_levels(rng, posts, day)


def subcategory_mix(day: Day) -> Floats:
    """The shares of the subcategories on a day: seasons of the year, and categories that grow or shrink."""
    part_of_year = (day.midnight.timetuple().tm_yday - 1) / YEAR_DAYS
    names = [name for _, name in SUBCATEGORIES]
    strength = np.array([facts.STRONG_SEASON if name in facts.SEASON_PEAKS else facts.WEAK_SEASON for name in names])
    # Where no peak is known, one is taken from the place in the list: any fixed spread over the year will do.
    peaks = np.array([facts.SEASON_PEAKS.get(name, (place * 0.618) % 1.0) for place, name in enumerate(names)])
    trend = np.array([facts.CATEGORY_TREND.get(CATEGORIES[category], 0.0) for category, _ in SUBCATEGORIES])
    season = strength * np.cos(2.0 * np.pi * (part_of_year - peaks)) - np.log(np.i0(strength))
    mix = SHARES * np.exp(season + trend * (day.number / YEAR_DAYS - 0.5))
    return np.asarray(mix / mix.sum())


def _uploads(rng: Generator, day: Day) -> pl.DataFrame:
    """One row per upload: who, what, when, how many pictures, and chance that all of them share."""
    count = _upload_count(rng, day)
    user = np.searchsorted(np.cumsum(day.users.activity), rng.random(count)).clip(max=len(day.users.activity) - 1)
    subcategory = _subcategories(rng, day, user)
    extra = np.floor(2.0 * rng.random(count) ** (-1.0 / facts.BATCH_EXPONENT)).clip(max=facts.BATCH_MAXIMUM)
    return pl.DataFrame(
        {
            "batch": day.number * POSTS_OF_A_DAY + np.arange(count),
            "user": user,
            "subcategory": subcategory,
            "concept": _concepts(rng, subcategory),
            "tag_count": _tag_counts(rng, day.users.tag_habit[user]),
            "second": _seconds(rng, count),
            "size": np.where(rng.random(count) < facts.BATCH_SHARE, extra, 1.0).astype(np.int64),
            "geotagged": day.users.geotags[user] & (rng.random(count) < facts.GEOTAGGED_POSTS),
            "quality": 0.6 * day.users.quality_habit[user] + 0.75 * rng.standard_normal(count),
            "bright": 0.95 * rng.standard_normal(count),
            "colour": 0.95 * rng.standard_normal(count),
            "luck": day.law.upload * rng.standard_normal(count),
        }
    )


def _upload_count(rng: Generator, day: Day) -> int:
    spread = facts.DAY_SPREAD
    weekday = 7.0 * facts.WEEKDAY_SHARES[day.midnight.weekday()]
    posts = float(day.posts * weekday * np.exp(spread * rng.standard_normal() - spread**2 / 2.0))
    uploads: int = round(posts / facts.MEAN_UPLOAD)
    return max(1, uploads)


def _subcategories(rng: Generator, day: Day, user: Integers) -> Integers:
    """Mostly one of the user's favourites, as far as it is in season; else any."""
    mix = subcategory_mix(day)
    anything = rng.choice(len(mix), len(user), p=mix)
    favourites = day.users.favourites[user]
    weights = np.cumsum((mix / SHARES)[favourites] * FAVOURITE_WEIGHTS, axis=1)
    chosen = (rng.random(len(user))[:, None] * weights[:, -1:] > weights).sum(axis=1)
    loved = favourites[np.arange(len(user)), chosen]
    return np.asarray(np.where(rng.random(len(user)) < FAVOURITE_SHARE, loved, anything))


def _concepts(rng: Generator, subcategory: Integers) -> Integers:
    """A concept of the subcategory; those named first are more frequent."""
    skewed = rng.random(len(subcategory)) ** 1.3
    place = np.floor(skewed * CONCEPTS_OF[subcategory]).astype(np.int64)
    return np.asarray(FIRST_CONCEPT[subcategory] + place)


def _tag_counts(rng: Generator, habit: Floats) -> Integers:
    from scipy.special import ndtr

    score = 0.7 * habit + np.sqrt(0.51) * rng.standard_normal(len(habit))
    return np.asarray(np.floor(np.interp(ndtr(score), *facts.TAG_COUNT_QUANTILES)), dtype=np.int64)


def _seconds(rng: Generator, count: int) -> Floats:
    shares = np.array(facts.HOUR_SHARES)
    return 3600.0 * (rng.choice(24, count, p=shares / shares.sum()) + rng.random(count))


def _posts(rng: Generator, uploads: pl.DataFrame, day: Day) -> pl.DataFrame:
    """One row per post: the upload's, and what is the picture's own."""
    from scipy.special import ndtr

    posts = uploads[np.repeat(np.arange(uploads.height), uploads["size"].to_numpy())]
    count = posts.height
    wait = pl.Series("wait", rng.exponential(SECONDS_BETWEEN, count))
    own = rng.standard_normal((3, count))
    return (
        posts.with_columns(wait)
        .with_columns(
            (pl.col("second") + pl.col("wait").cum_sum().over("batch")).floor().clip(0, DAY_SECONDS - 1),
            sharpness=ndtr(posts["quality"].to_numpy() + 0.28 * own[0]),
            brightness=ndtr(posts["bright"].to_numpy() + 0.31 * own[1]),
            colourfulness=ndtr(posts["colour"].to_numpy() + 0.31 * own[2]),
            salt=rng.integers(0, 1 << 31, count),
        )
        .sort("second", "batch", "salt")
        .drop("size", "wait", "quality", "bright", "colour")
    )


def _with_levels(rng: Generator, posts: pl.DataFrame, day: Day) -> pl.DataFrame:
    user, law, count = posts["user"].to_numpy(), day.law, posts.height
    known = _known_level(posts, day)
    noise = law.noise * rng.standard_normal(count)
    posted_at = pl.lit(day.midnight).cast(TIME) + pl.duration(seconds=pl.col("second").cast(pl.Int64))
    return posts.select(
        pl.Series("post", FIRST_POST_ID + day.number * POSTS_OF_A_DAY + np.arange(count)),
        pl.col("batch", "user", "subcategory", "concept", "tag_count", "geotagged"),
        pl.col("sharpness", "brightness", "colourfulness", "salt"),
        posted_at.alias("posted_at"),
        pl.Series("known", known),
        pl.Series("level", known + day.users.hidden[user] + posts["luck"].to_numpy() + noise),
        pl.Series("speed", np.exp(law.speed_spread * rng.standard_normal(count))),
        pl.Series("fave_share", np.exp(-3.5 + 0.6 * rng.standard_normal(count)).clip(max=0.5)),
    )


def _known_level(posts: pl.DataFrame, day: Day) -> Floats:
    """The part of the level that anyone could compute who knew the law."""
    law = day.law
    tags = (np.log1p(posts["tag_count"].to_numpy()) - facts.TAG_LOG_MEAN) / facts.TAG_LOG_SPREAD
    subject = OFFSETS[posts["subcategory"].to_numpy()] + day.concept_effects[posts["concept"].to_numpy()]
    told = day.users.told[posts["user"].to_numpy()]
    return np.asarray(
        law.base + told + law.tags * tags + subject + _picture_effect(posts, law) + _time_effect(posts, day)
    )


def _picture_effect(posts: pl.DataFrame, law: Law) -> Floats:
    """Sharp pictures are seen more, and colourful and bright ones a little."""
    looks = 0.85 * posts["sharpness"] + 0.45 * posts["colourfulness"] + 0.28 * posts["brightness"]
    middle = 0.5 * (0.85 + 0.45 + 0.28)
    return np.asarray(law.picture * SPREAD_OF_UNIFORM * (looks.to_numpy() - middle))


def _time_effect(posts: pl.DataFrame, day: Day) -> Floats:
    hour = posts["second"].to_numpy() / 3600.0
    year = day.law.year * np.cos(2.0 * np.pi * day.number / YEAR_DAYS)
    weekend = day.law.weekend * (1.0 if day.midnight.weekday() >= 5 else -0.7)
    return np.asarray(day.law.hour * np.cos(2.0 * np.pi * (hour - 8.0) / 24.0) + weekend + year)
