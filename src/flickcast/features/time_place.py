"""Feature group `time_place`: when and where."""

import math

import polars as pl

from flickcast.features.feature import DING, HVLA, HYPERFUSION, PPCL, Feature
from flickcast.features.timeline import days

HOURS, DAYS_PER_YEAR = 24, 365.25
SATURDAY = 6
REGION_DEGREES = 10


ABOUT = {
    "country": Feature("where the source says it", kind="category"),
    "region": Feature(
        "the cell of ten degrees, as south:west; finer ones have too few posts", "", HYPERFUSION, "category"
    ),
    "latitude": Feature("of the place", "degrees", DING),
    "longitude": Feature("of the place", "degrees", DING),
    "geo_accuracy": Feature("1 world .. 16 street", "", PPCL),
    "hour": Feature("of posting, UTC", "hours", PPCL),
    "hour_sine": Feature("hour on a circle", "", HYPERFUSION),
    "hour_cosine": Feature("hour on a circle", "", HYPERFUSION),
    "weekday": Feature("1 Monday .. 7 Sunday, UTC", "", PPCL),
    "is_weekend": Feature("Saturday or Sunday, UTC", "0 or 1", HYPERFUSION),
    "season_sine": Feature("day of the year on a circle", "", HYPERFUSION),
    "season_cosine": Feature("day of the year on a circle", "", HYPERFUSION),
    "local_season_sine": Feature(
        "season on a circle, half a year on in the south; null without a place", "", HYPERFUSION
    ),
    "local_season_cosine": Feature(
        "season on a circle, half a year on in the south; null without a place", "", HYPERFUSION
    ),
    "is_geotagged": Feature("whether it has a place", "0 or 1", HVLA),
    "taken_days_before": Feature("from taking the picture to posting it; negative where clocks disagree", "days"),
    "log_taken_days_before": Feature("from taking the picture to posting it, its sign kept", "log(1 + days)"),
}


def time_place(posts: pl.DataFrame) -> pl.DataFrame:
    """Hour, weekday and season of posting (UTC), the time since the picture was taken, and the place.

    The date itself is left out: a tree cannot extrapolate it, and it would learn the order of the file.
    """
    posted = pl.col("posted_at")
    hour = posted.dt.hour() + posted.dt.minute() / 60
    season = posted.dt.ordinal_day()
    taken = days(posted - pl.col("taken_at"))
    return posts.select(
        "post_id",
        "country",
        "latitude",
        "longitude",
        "geo_accuracy",
        region=pl.concat_str(_tens("latitude"), _tens("longitude"), separator=":"),
        hour=hour,
        **_circle("hour", hour, HOURS),
        weekday=posted.dt.weekday(),
        is_weekend=posted.dt.weekday() >= SATURDAY,
        **_circle("season", season, DAYS_PER_YEAR),
        **_circle("local_season", season + _half_a_year_in_the_south(), DAYS_PER_YEAR),
        is_geotagged=pl.col("latitude").is_not_null(),
        taken_days_before=taken,
        log_taken_days_before=taken.sign() * taken.abs().log1p(),
    )


def _tens(degrees: str) -> pl.Expr:
    return (pl.col(degrees) / REGION_DEGREES).floor().cast(pl.Int32).cast(pl.String)


def _half_a_year_in_the_south() -> pl.Expr:
    return pl.when(pl.col("latitude") < 0).then(DAYS_PER_YEAR / 2).when(pl.col("latitude") >= 0).then(0.0)


def _circle(name: str, value: pl.Expr, period: float) -> dict[str, pl.Expr]:
    """A place on a circle, so that the last hour lies beside the first."""
    angle = value * (2 * math.pi / period)
    return {f"{name}_sine": angle.sin(), f"{name}_cosine": angle.cos()}
