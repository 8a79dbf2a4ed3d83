"""Feature group `user_cadence`: at which hours and weekdays of the user's own clock the user posts."""

import polars as pl

from flickcast.features.feature import HVLA, PPCL, Feature
from flickcast.features.timeline import at, entropy, entropy_term, places, with_snapshot

SATURDAY = 6
MINUTES = 60
CLOCK = ("user_id", "offset")
UNITS = ("hour", "weekday")

ABOUT = {
    "local_hour": Feature("of posting, by the user's clock; UTC where that is unknown", "hours", PPCL),
    "local_weekday": Feature("1 Monday .. 7 Sunday, by the user's clock", "", PPCL),
    "is_local_weekend": Feature("Saturday or Sunday by the user's clock", "0 or 1"),
    "local_hour_share": Feature("earlier posts in this hour of the user's day", "share", HVLA),
    "local_weekday_share": Feature("earlier posts on this weekday of the user's", "share", HVLA),
    "local_weekend_share": Feature("earlier posts at weekends of the user's", "share", HVLA),
    "local_hours_entropy": Feature("how evenly earlier posts are spread over the hours", "nats", HVLA),
    "local_weekdays_entropy": Feature("how evenly earlier posts are spread over weekdays", "nats", HVLA),
}


def user_cadence(posts: pl.DataFrame, users: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Hour and weekday of this post and of the earlier ones, all by the clock of the latest snapshot then known."""
    snapshots = with_snapshot(posts, users).with_columns(offset=pl.col("timezone_offset").fill_null(0))
    own = _by_clock(snapshots.select("post_id", *CLOCK, "posted_at"))
    kept = history.select("user_id", "known_at", "posted_at")
    rows = _by_clock(kept.join(own.select(CLOCK).unique(), on="user_id")).sort(*CLOCK, "known_at")
    before = at(_running(rows), places(own, rows, by=CLOCK))
    known = pl.when(pl.col("known") > 0).then("known")
    return (
        own.hstack([_like(own, rows, unit) for unit in UNITS])
        .hstack(before)
        .select(
            "post_id",
            local_hour="time",
            local_weekday="weekday",
            is_local_weekend="weekend",
            **{f"local_{unit}_share": pl.col(f"like_{unit}").fill_null(0) / known for unit in UNITS},
            local_weekend_share=pl.col("weekends") / known,
            **{f"local_{unit}s_entropy": entropy(known, pl.col(f"{unit}_terms")) for unit in UNITS},
        )
    )


def _by_clock(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with hour, time (hours with minutes) and weekday by the user's clock."""
    minutes = (pl.col("offset") * MINUTES).round().cast(pl.Int64)
    local = pl.col("posted_at") + pl.duration(minutes=minutes)
    weekday = local.dt.weekday()
    time = local.dt.hour() + local.dt.minute() / MINUTES
    return rows.with_columns(hour=local.dt.hour(), time=time, weekday=weekday, weekend=weekday >= SATURDAY)


def _running(rows: pl.DataFrame) -> pl.DataFrame:
    """Known posts, those of weekends and the terms of entropies after each row."""
    terms = {
        f"{unit}_terms": entropy_term(pl.col("user_id").cum_count().over(*CLOCK, unit).cast(pl.Float64))
        for unit in UNITS
    }
    figures = rows.select(*CLOCK, known=1, weekends=pl.col("weekend").cast(pl.Int64), **terms)
    return figures.select(pl.all().exclude(CLOCK).cum_sum().over(CLOCK))


def _like(own: pl.DataFrame, rows: pl.DataFrame, unit: str) -> pl.Series:
    """How many known posts are of the same hour or weekday as the post itself."""
    by = (*CLOCK, unit)
    alike = rows.select(*by, "known_at").sort(*by, "known_at")
    counts = alike.select(pl.col("known_at").cum_count().over(by))["known_at"]
    return counts.gather(places(own, alike, by=by)).alias(f"like_{unit}")
