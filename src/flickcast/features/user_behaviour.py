"""Feature group `user_behaviour`: how much, how often and how regularly the user posted before this post."""

import polars as pl

from flickcast import moments
from flickcast.features.feature import HVLA, HYPERFUSION, Feature
from flickcast.features.timeline import (
    SECONDS_PER_DAY,
    at,
    days,
    deviation,
    mean,
    places,
    powers,
    seconds,
    skewness,
    summed,
)

BATCH_SECONDS = 3600
DAYS_PER_YEAR, DAYS_PER_WEEK, DAYS_PER_MONTH = 365, 7, 30.4375
WINDOWS = (1, 7, 30, 365)
UNITS = {"day": "1d", "week": "1w", "month": "1mo"}

ABOUT = {
    "log_earlier_posts": Feature("posts known before this one", "log(1 + posts)", HVLA),
    "log_earlier_posts_per_day": Feature("rate since the first known post", "log(1 + posts per day)", HVLA),
    "log_earlier_posts_per_week": Feature("the same, of a week at least", "log(1 + posts per week)", HVLA),
    "log_earlier_posts_per_month": Feature("the same, of a month at least", "log(1 + posts per month)", HVLA),
    **{
        f"log_posts_per_active_{unit}": Feature(f"earlier posts per {unit} with a post", "log(1 + posts)", HVLA)
        for unit in UNITS
    },
    **{
        f"log_posts_{n}_days": Feature(f"posts that became known in the {n} days before", "log(1 + posts)", HVLA)
        for n in WINDOWS
    },
    "activity_change": Feature("posts of the last 30 days over those of the 30 before", "log ratio of n + 1", HVLA),
    "activity_above_usual": Feature("posts of the last 30 days over the user's usual", "log ratio of n + 1", HVLA),
    "log_first_year_posts": Feature("posts up to a year after the first known one", "log(1 + posts)", HVLA),
    "last_year_over_first": Feature("posts of the last 365 days over those", "log ratio of n + 1", HVLA),
    "days_since_last_post": Feature("since the latest known post", "days", HVLA),
    "log_seconds_since_last_post": Feature("since the latest known post", "log(1 + seconds)", HVLA),
    "days_since_first_post": Feature("since the first known post", "days", HVLA),
    "log_interval_minimum": Feature("shortest time between earlier posts", "log(1 + seconds)", HVLA),
    "interval_mean": Feature("time between earlier posts", "days", HVLA),
    "interval_deviation": Feature("spread of the times between earlier posts", "days", HVLA),
    "interval_skewness": Feature("skewness of the times between earlier posts", "", HVLA),
    "log_interval_mean": Feature("logarithms of these times", "log(1 + seconds)", HVLA),
    "log_interval_deviation": Feature("spread of their logarithms", "log(1 + seconds)", HVLA),
    "log_interval_skewness": Feature("skewness of their logarithms", "", HVLA),
    "log_interval_last": Feature("time between the two latest posts", "log(1 + seconds)", HVLA),
    "log_interval_above_usual": Feature("time since the last post beyond the mean", "log(1 + seconds)"),
    "log_batch_posts": Feature("earlier posts in one go, each within an hour of the next", "log(1 + posts)"),
    "posted_at_deviation": Feature("spread of the moments of earlier posts", "days", HVLA),
    "posted_at_skewness": Feature("skewness of the moments of earlier posts", "", HVLA),
    "earlier_tags_mean": Feature("tags per earlier post", "tags", HVLA),
    "earlier_tags_deviation": Feature("spread of the number of tags", "tags", HVLA),
    "earlier_tags_skewness": Feature("skewness of the number of tags", "", HVLA),
    "tags_above_usual": Feature("tags of this post beyond the mean of earlier ones", "tags"),
    "earlier_title_chars_mean": Feature("length of earlier titles", "characters", HVLA),
    "earlier_title_chars_deviation": Feature("spread of the length of earlier titles", "characters", HVLA),
    "earlier_title_chars_skewness": Feature("skewness of the length of earlier titles", "", HVLA),
    "title_chars_above_usual": Feature("length of this title beyond the mean of earlier ones", "characters"),
    "earlier_description_chars_mean": Feature("length of earlier descriptions", "characters", HYPERFUSION),
    "earlier_geotagged_share": Feature("earlier posts with a place", "share"),
}


def user_behaviour(posts: pl.DataFrame, states: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Number, rate, rhythm and habits of earlier posts; null where the user has none.

    HVLA 2024, 3.2 and Table 2 (Uid_post_diff_*, Uid_postdate_skew, Uid_alltags_num*, Uid_title_length_*). Times come
    from the history in the order in which it became known, so that none is negative whatever the clock.
    """
    own = posts.select(
        "post_id", "user_id", "posted_at", own_tags=pl.col("tags").list.len(), own_title=pl.col("title").str.len_chars()
    )
    running = _running(history)
    before = at(running.drop("user_id", "posted_at"), places(own, history))
    kept = [name for name in states.columns if name == "post_id" or name not in own.columns]
    joined = own.hstack(before).join(states.select(kept), on="post_id")
    return joined.select("post_id", **_amounts(), **_rhythm(), **_lengths())


def _running(history: pl.DataFrame) -> pl.DataFrame:
    """What is known of the user after each row: posts, first and latest of them, intervals and batches.

    An interval is the time since the latest post of the rows before; a post that came to be known after a later one has
    none and counts to no batch.
    """
    posted = pl.col("posted_at")
    rows = history.select(
        "user_id",
        "posted_at",
        latest=posted.cum_max().over("user_id"),
        first=posted.cum_min().over("user_id"),
        since=posted - posted.cum_max().shift(1).over("user_id"),
        origin=posted.first().over("user_id"),
    )
    rows = rows.with_columns(interval=pl.when(pl.col("since") >= pl.duration()).then(seconds(pl.col("since"))))
    rows = rows.with_columns(
        log_interval=pl.col("interval").log1p(),
        moment=days(posted - pl.col("origin")),
        known=pl.lit(1),
        first_year=(posted < pl.col("origin") + pl.duration(days=DAYS_PER_YEAR)).cast(pl.Int64),
        batch=_batch(),
        minimum=pl.col("interval").cum_min().forward_fill().over("user_id"),
        last=pl.col("interval").forward_fill().over("user_id"),
        **{unit: _is_first_of(posted.dt.truncate(length)) for unit, length in UNITS.items()},
    )
    for fact in ("interval", "log_interval", "moment"):
        rows = powers(rows, fact)
    return summed(rows, "known", "first_year", *UNITS)


def _is_first_of(unit: pl.Expr) -> pl.Expr:
    """1 where the user's unit of time was not met in a row before."""
    return pl.struct("user_id", unit).is_first_distinct().cast(pl.Int64)


def _batch() -> pl.Expr:
    """How many posts the row's batch has so far; rows without an interval, but for a user's first, do not count."""
    is_late = pl.col("since") < pl.duration()
    begins = pl.col("since").is_null() | (pl.col("interval") >= BATCH_SECONDS)
    counted = (~is_late.fill_null(False)).cast(pl.Int64).cum_sum()
    return counted - pl.when(begins.fill_null(False)).then(counted - 1).forward_fill()


def _amounts() -> dict[str, pl.Expr]:
    """How many posts, at which rate, and whether more or fewer than before."""
    age = days(pl.col("posted_at") - pl.col("first"))
    known = pl.col("known")
    month = pl.col("posts_30_days")
    usual = known / (age.clip(lower_bound=30) / 30)
    return {
        "log_earlier_posts": pl.col("posts").log1p(),
        "log_earlier_posts_per_day": (known / (age + 1)).log1p(),
        "log_earlier_posts_per_week": (known / (age / DAYS_PER_WEEK).clip(lower_bound=1)).log1p(),
        "log_earlier_posts_per_month": (known / (age / DAYS_PER_MONTH).clip(lower_bound=1)).log1p(),
        **{f"log_posts_per_active_{unit}": (known / pl.col(unit)).log1p() for unit in UNITS},
        **{f"log_posts_{n}_days": pl.col(f"posts_{n}_days").log1p() for n in WINDOWS},
        "activity_change": _log_ratio(month, pl.col("posts_60_days") - month),
        "activity_above_usual": _log_ratio(month, usual),
        "log_first_year_posts": pl.col("first_year").log1p(),
        "last_year_over_first": _log_ratio(pl.col("posts_365_days"), pl.col("first_year")),
    }


def _rhythm() -> dict[str, pl.Expr]:
    """Times since and between posts."""
    since = pl.col("posted_at") - pl.col("latest")
    usual = mean("log_interval")
    in_batch = pl.when(seconds(since) < BATCH_SECONDS).then("batch").otherwise(0)
    return {
        "days_since_last_post": days(since),
        "log_seconds_since_last_post": seconds(since).log1p(),
        "days_since_first_post": days(pl.col("posted_at") - pl.col("first")),
        "log_interval_minimum": pl.col("minimum").log1p(),
        "interval_mean": mean("interval") / SECONDS_PER_DAY,
        "interval_deviation": deviation("interval") / SECONDS_PER_DAY,
        "interval_skewness": skewness("interval"),
        "log_interval_mean": usual,
        "log_interval_deviation": deviation("log_interval"),
        "log_interval_skewness": skewness("log_interval"),
        "log_interval_last": pl.col("last").log1p(),
        "log_interval_above_usual": seconds(since).log1p() - usual,
        "log_batch_posts": in_batch.log1p(),
        "posted_at_deviation": deviation("moment"),
        "posted_at_skewness": skewness("moment"),
    }


def _lengths() -> dict[str, pl.Expr]:
    """Lengths of what the user writes, and how far this post departs from them."""
    return {
        "earlier_tags_mean": moments.mean("tags"),
        "earlier_tags_deviation": moments.deviation("tags"),
        "earlier_tags_skewness": moments.skewness("tags"),
        "tags_above_usual": pl.col("own_tags") - moments.mean("tags"),
        "earlier_title_chars_mean": moments.mean("title_chars"),
        "earlier_title_chars_deviation": moments.deviation("title_chars"),
        "earlier_title_chars_skewness": moments.skewness("title_chars"),
        "title_chars_above_usual": pl.col("own_title") - moments.mean("title_chars"),
        "earlier_description_chars_mean": moments.mean("description_chars"),
        "earlier_geotagged_share": moments.ratio(pl.col("geotagged"), pl.col("posts")),
    }


def _log_ratio(top: pl.Expr, bottom: pl.Expr) -> pl.Expr:
    return (top + 1).log() - (bottom + 1).log()
