"""What is known of a user before a day: mergeable daily states, and their sum as of each post."""

import polars as pl

from flickcast.schemas import TABLES

USERS = TABLES["aggregates/users"]
SUMMED = (
    "posts",
    "tags_sum",
    "tags_square_sum",
    "title_chars_sum",
    "geotagged",
    "labels",
    "popularity_sum",
    "popularity_square_sum",
)
SMALLEST = ("first_posted_at", "popularity_minimum")
LARGEST = ("last_posted_at", "popularity_maximum")
# Labels are summed on this grid. Sums of such numbers are exact in a float64 (up to two million labels of one user,
# values below 64), so that merging in any order, night by night or all at once, gives the same bits.
GRID = 2.0**-20


def user_days(posts: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Rows of the table `aggregates/users`: what each UTC day adds to what is known of a user."""
    days = pl.concat([_post_days(posts), _label_days(posts, labels)], how="diagonal")
    return USERS.conform(merge(days, ["user_id", "day"])).sort("user_id", "day")


def merge(states: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """States that share a key become one: sums add, minima and maxima win; absent parts count nothing."""
    return states.group_by(key).agg(
        *(pl.col(name).sum() for name in SUMMED),
        *(pl.col(name).min() for name in SMALLEST),
        *(pl.col(name).max() for name in LARGEST),
    )


def as_of(posts: pl.DataFrame, states: pl.DataFrame) -> pl.DataFrame:
    """One row per post, by post_id: the user's merged state over all days strictly before the post's own.

    `known_labels` and `known_popularity_sum` are those of all users together, for the same days.
    """
    wanted = posts.select("post_id", "user_id", day=pl.col("posted_at").dt.date()).sort("day", "post_id")
    own = _cumulated(states, "user_id")
    everyone = _everyone(states)
    joined = wanted.join_asof(
        own.sort("day"), on="day", by="user_id", allow_exact_matches=False, check_sortedness=False
    ).join_asof(everyone, on="day", allow_exact_matches=False)
    return joined.with_columns(pl.col(*SUMMED, "known_labels", "known_popularity_sum").fill_null(0)).sort("post_id")


def _post_days(posts: pl.DataFrame) -> pl.DataFrame:
    """A post counts from the day on which it had appeared and we knew of it."""
    tags = pl.col("tags").list.len().fill_null(0).cast(pl.Float64)
    return posts.select(
        "user_id",
        day=pl.max_horizontal("posted_at", "first_seen_at").dt.date(),
        posts=pl.lit(1, pl.Int64),
        tags_sum=tags,
        tags_square_sum=tags**2,
        title_chars_sum=pl.col("title").str.len_chars().fill_null(0).cast(pl.Float64),
        geotagged=pl.col("latitude").is_not_null().cast(pl.Int64),
        first_posted_at="posted_at",
        last_posted_at="posted_at",
    )


def _label_days(posts: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """A label counts from the day on which it had matured and we knew of its post."""
    popularity = _on_grid(pl.col("popularity"))
    return labels.join(posts.select("post_id", "user_id", "first_seen_at"), on="post_id").select(
        "user_id",
        day=pl.max_horizontal("matured_at", "first_seen_at").dt.date(),
        labels=pl.lit(1, pl.Int64),
        popularity_sum=popularity,
        popularity_square_sum=_on_grid(popularity**2),
        popularity_minimum=popularity,
        popularity_maximum=popularity,
    )


def _on_grid(value: pl.Expr) -> pl.Expr:
    return (value / GRID).round() * GRID


def _cumulated(states: pl.DataFrame, by: str) -> pl.DataFrame:
    """The running state at the end of each day."""
    return (
        states.select(by, "day", *SUMMED, *SMALLEST, *LARGEST)
        .sort(by, "day")
        .with_columns(
            *(pl.col(name).cum_sum().over(by) for name in SUMMED),
            *(pl.col(name).cum_min().forward_fill().over(by) for name in SMALLEST),
            *(pl.col(name).cum_max().forward_fill().over(by) for name in LARGEST),
        )
    )


def _everyone(states: pl.DataFrame) -> pl.DataFrame:
    return (
        states.group_by("day")
        .agg(known_labels=pl.col("labels").sum(), known_popularity_sum=pl.col("popularity_sum").sum())
        .sort("day")
        .with_columns(pl.col("known_labels", "known_popularity_sum").cum_sum())
    )
