"""Feature group `time_place`: when and where."""

import math

import polars as pl

from flickcast.features.feature import DING, HYPERFUSION, PPCL, Feature

HOURS, DAYS_PER_WEEK, DAYS_PER_YEAR = 24, 7, 365.25


ABOUT = {
    "country": Feature("where the source says it", kind="category"),
    "latitude": Feature("of the place", "degrees", DING),
    "longitude": Feature("of the place", "degrees", DING),
    "geo_accuracy": Feature("1 world .. 16 street", "", PPCL),
    "hour": Feature("of posting, UTC", "hours", PPCL),
    "hour_sine": Feature("hour on a circle", "", HYPERFUSION),
    "hour_cosine": Feature("hour on a circle", "", HYPERFUSION),
    "weekday": Feature("1 Monday .. 7 Sunday, UTC", "", PPCL),
    "season_sine": Feature("day of the year on a circle", "", HYPERFUSION),
    "season_cosine": Feature("day of the year on a circle", "", HYPERFUSION),
    "is_geotagged": Feature("whether it has a place", "0 or 1"),
    "taken_days_before": Feature("from taking the picture to posting it", "days"),
}


def time_place(posts: pl.DataFrame) -> pl.DataFrame:
    """Hour, weekday and season of posting (UTC), the time since the picture was taken, and the place.

    The date itself is left out: a tree cannot extrapolate it, and it would learn the order of the file.
    """
    posted = pl.col("posted_at")
    hour = posted.dt.hour() + posted.dt.minute() / 60
    return posts.select(
        "post_id",
        "country",
        "latitude",
        "longitude",
        "geo_accuracy",
        hour=hour,
        **_circle("hour", hour, HOURS),
        weekday=posted.dt.weekday(),
        **_circle("season", posted.dt.ordinal_day(), DAYS_PER_YEAR),
        is_geotagged=pl.col("latitude").is_not_null(),
        taken_days_before=(posted - pl.col("taken_at")).dt.total_seconds() / 86_400,
    )


def _circle(name: str, value: pl.Expr, period: float) -> dict[str, pl.Expr]:
    """A place on a circle, so that the last hour lies beside the first."""
    angle = value * (2 * math.pi / period)
    return {f"{name}_sine": angle.sin(), f"{name}_cosine": angle.cos()}
