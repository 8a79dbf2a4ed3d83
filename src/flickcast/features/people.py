"""Feature group `people`: the account's own numbers, from the latest snapshot known when the post appeared."""

import polars as pl

from flickcast.features.feature import DING, HVLA, PPCL, Feature
from flickcast.features.timeline import days, places, with_snapshot
from flickcast.moments import ratio

MINUTES = 60
COUNTS = (
    "photo_count",
    "followers",
    "following",
    "total_views",
    "total_faves",
    "total_tags",
    "total_geotagged",
    "total_in_group",
    "faves_given",
)
# Likes per video is the strongest single column on SMPD-Video (SRC 0.63 with the label): a ratio of two counts says
# how a typical post of the account fares.
RATIOS = {
    "faves_per_photo": ("total_faves", "photo_count"),
    "views_per_photo": ("total_views", "photo_count"),
    "followers_per_photo": ("followers", "photo_count"),
    "tags_per_photo": ("total_tags", "photo_count"),
    "groups_per_photo": ("total_in_group", "photo_count"),
    "geotagged_per_photo": ("total_geotagged", "photo_count"),
    "faves_given_per_photo": ("faves_given", "photo_count"),
    "faves_per_follower": ("total_faves", "followers"),
    "views_per_follower": ("total_views", "followers"),
    "faves_per_view": ("total_faves", "total_views"),
    "faves_given_per_fave": ("faves_given", "total_faves"),
    "followers_per_following": ("followers", "following"),
}
DAILY = {"photos": "photo_count", "views": "total_views", "faves": "total_faves", "followers": "followers"}
COUNTED = {
    "photo_count": "pictures of the account",
    "followers": "who follow the account",
    "following": "whom the account follows",
    "total_views": "views of all its posts",
    "total_faves": "faves of all its posts",
    "total_tags": "tags of all its posts",
    "total_geotagged": "its posts with a place",
    "total_in_group": "its posts in groups",
    "faves_given": "faves given to others",
}

ABOUT = {
    "timezone_id": Feature("time zone as the source numbers it", "", PPCL, "category"),
    "timezone_offset": Feature("the account's clock against UTC", "hours", PPCL),
    "time_zone_share": Feature(
        "users known to live by the same clock (the first they told), of all known", "share", HVLA
    ),
    "is_pro": Feature("paying member", "0 or 1", PPCL),
    "can_buy_pro": Feature("only in the challenge's files", "0 or 1", PPCL),
    **{f"log_{name}": Feature(meaning, "log(1 + n)", DING) for name, meaning in COUNTED.items()},
    **{
        f"log_{name}": Feature(f"{COUNTED[top]} over {COUNTED[bottom]}", "log ratio of n + 1")
        for name, (top, bottom) in RATIOS.items()
    },
    "account_days": Feature("since the account's first post", "days", PPCL),
    "first_post_year": Feature("of the account's first post", "year", PPCL),
    "first_taken_year": Feature("of the account's earliest picture", "year", PPCL),
    **{
        f"log_{name}_per_day": Feature(f"{COUNTED[count]} per day of its age", "log(1 + per day)")
        for name, count in DAILY.items()
    },
    "snapshot_days": Feature("since these numbers were read", "days"),
}


def people(posts: pl.DataFrame, users: pl.DataFrame, time_zones: pl.DataFrame) -> pl.DataFrame:
    """Counts and ratios on a log scale, account age, membership; null before the first snapshot of the user."""
    age, snapshots = _days_since("first_post_at"), with_snapshot(posts, users)
    return snapshots.hstack([_time_zone_share(snapshots, time_zones)]).select(
        "post_id",
        "timezone_id",
        "timezone_offset",
        "time_zone_share",
        "is_pro",
        "can_buy_pro",
        *(pl.col(name).log1p().name.prefix("log_") for name in COUNTS),
        *(_log_ratio(*parts).alias(f"log_{name}") for name, parts in RATIOS.items()),
        account_days=age,
        first_post_year=pl.col("first_post_at").dt.year(),
        first_taken_year=pl.col("first_taken_at").dt.year(),
        **{f"log_{name}_per_day": (pl.col(count) / age.clip(lower_bound=1)).log1p() for name, count in DAILY.items()},
        snapshot_days=_days_since("observed_at"),
    )


def _time_zone_share(snapshots: pl.DataFrame, time_zones: pl.DataFrame) -> pl.Series:
    """HVLA's `timezone_offset_Uidcount`, over all users known then: the count itself would tell the order of posts."""
    everyone = time_zones["observed_at"].sort().search_sorted(snapshots["posted_at"], side="left")
    alike = time_zones.with_columns(_clock()).sort("clock", "observed_at")
    count = alike.select(pl.col("observed_at").cum_count().over("clock"))["observed_at"]
    found = places(snapshots.with_columns(_clock()), alike, known="observed_at", by=("clock",))
    numbers = pl.DataFrame({"alike": count.gather(found).fill_null(0), "everyone": everyone})
    clock = snapshots["timezone_offset"]
    share = numbers.select(pl.when(clock.is_not_null()).then(ratio(pl.col("alike"), pl.col("everyone"))))
    return share.to_series().alias("time_zone_share")


def _clock() -> pl.Expr:
    """Whole minutes: they can be compared, which fractions of an hour as float32 should not."""
    return (pl.col("timezone_offset") * MINUTES).round().cast(pl.Int32).alias("clock")


def _log_ratio(numerator: str, denominator: str) -> pl.Expr:
    return (pl.col(numerator) + 1).log() - (pl.col(denominator) + 1).log()


def _days_since(moment: str) -> pl.Expr:
    """Null where it is yet to come: an account's own times can go backwards."""
    found = days(pl.col("posted_at") - pl.col(moment))
    return pl.when(found >= 0).then(found)
