"""Feature group `user_recent_popularity`: how the user's latest posts fared, and those of the same category."""

from collections.abc import Sequence

import polars as pl

from flickcast.features.feature import Feature
from flickcast.features.timeline import at, days, on_grid, places
from flickcast.moments import ratio

LATEST = (3, 5, 10)
DEPTH = max(LATEST)
HALF_LIFE_POSTS = 3
TREND_POSTS = 3  # fewer points than this make no trend
WINDOWS = (7, 30, 90)

ABOUT = {
    "user_popularity_last": Feature("label of the latest post whose label was known", "popularity"),
    **{
        f"user_popularity_last_{number}": Feature(f"mean of the {number} latest posts' known labels", "popularity")
        for number in LATEST
    },
    "user_popularity_weighted": Feature(
        f"mean of the {DEPTH} latest, each weighing half as much as the one {HALF_LIFE_POSTS} posts later", "popularity"
    ),
    "user_popularity_trend": Feature(f"slope of a line through the {DEPTH} latest", "popularity per post"),
    "user_popularity_last_over_mean": Feature("mean of the 3 latest less that of all", "popularity"),
    "days_since_last_label": Feature("since the latest post whose label was known", "days"),
    **{
        f"user_popularity_{n}_days": Feature(
            f"mean of the labels that became known in the {n} days before", "popularity"
        )
        for n in WINDOWS
    },
    "log_known_labels_in_category": Feature("earlier posts of the category with a known label", "log(1 + posts)"),
    "user_popularity_in_category": Feature("mean of their labels", "popularity"),
    "user_popularity_in_category_above": Feature("that mean less the mean of all", "popularity"),
}


def user_recent_popularity(posts: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Labels of the latest posts, of the latest days and of the post's category; null where none was known.

    The latest posts are so by when they appeared, among those whose label was known; of posts of one moment the one
    with the higher label counts as later, so that ids decide nothing.
    """
    labels = history.drop_nulls("popularity").sort("user_id", "label_known_at", "posted_at", "popularity")
    before = places(posts, labels, known="label_known_at")
    sums = _sums(labels)
    known = at(sums, before).fill_null(0)
    parts = [at(_latest(labels), before), _named(known, "all"), _named(_of_category(posts, labels), "category")]
    parts += [_named(_of_window(posts, labels, sums, known, number), str(number)) for number in WINDOWS]
    joined = pl.concat([posts.select("post_id", "posted_at"), *parts], how="horizontal")
    return joined.select("post_id", **_latest_features(), **_sum_features())


def _latest(labels: pl.DataFrame) -> pl.DataFrame:
    """After each label: label_0 .. label_9, those of the user's latest posts, and when the latest appeared.

    A running list of the largest: each is the running maximum of what the one before it let go of.
    """
    order = labels.select(order=pl.arg_sort_by("user_id", "posted_at", "popularity"))["order"]
    carried = labels.select("user_id", rank=order.arg_sort().cast(pl.Int64))
    columns = []
    for _ in range(DEPTH):
        tops = carried.with_columns(top=pl.col("rank").cum_max().forward_fill().over("user_id"))
        columns.append(order.gather(tops["top"]))
        least = pl.min_horizontal("rank", "before")
        carried = tops.with_columns(before=pl.col("top").shift(1).over("user_id")).select(
            "user_id", rank=pl.when(pl.col("rank").is_not_null() & pl.col("before").is_not_null()).then(least)
        )
    values = labels["popularity"]
    found = pl.DataFrame({f"label_{number}": values.gather(rows) for number, rows in enumerate(columns)})
    return found.with_columns(latest_at=labels["posted_at"].gather(columns[0]))


def _sums(labels: pl.DataFrame, by: Sequence[str] = ("user_id",)) -> pl.DataFrame:
    """How many labels, and their sum, up to each."""
    label = pl.col("popularity")
    terms = labels.select(*by, count=label.is_not_null().cast(pl.Int64), sum=on_grid(label))
    return terms.select(pl.col("count", "sum").cum_sum().over(by))


def _of_window(
    posts: pl.DataFrame, labels: pl.DataFrame, sums: pl.DataFrame, known: pl.DataFrame, number: int
) -> pl.DataFrame:
    """The sums of the labels that became known in so many days before each post."""
    start = pl.col("posted_at") - pl.duration(days=number)
    older = at(sums, places(posts, labels, start, known="label_known_at")).fill_null(0)
    return pl.DataFrame([known[name] - older[name] for name in known.columns])


def _of_category(posts: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """The sums of the labels of the user's posts of the same category; 0 for a post without one."""
    by = ("user_id", "category")
    alike = labels.drop_nulls("category").sort(*by, "label_known_at")
    return at(_sums(alike, by), places(posts, alike, known="label_known_at", by=by))


def _named(sums: pl.DataFrame, name: str) -> pl.DataFrame:
    return sums.fill_null(0).rename({column: f"{name}_{column}" for column in sums.columns})


def _mean(name: str) -> pl.Expr:
    return ratio(pl.col(f"{name}_sum"), pl.col(f"{name}_count"))


def _latest_features() -> dict[str, pl.Expr]:
    """What the ten latest labels say, the latest first."""
    values = [pl.col(f"label_{number}") for number in range(DEPTH)]
    weights = [2.0 ** (-number / HALF_LIFE_POSTS) for number in range(DEPTH)]
    return {
        "user_popularity_last": values[0],
        **{f"user_popularity_last_{n}": pl.mean_horizontal(values[:n]) for n in LATEST},
        "user_popularity_weighted": _weighted(values, weights),
        "user_popularity_trend": _slope(values),
        "user_popularity_last_over_mean": pl.mean_horizontal(values[:3]) - _mean("all"),
        "days_since_last_label": days(pl.col("posted_at") - pl.col("latest_at")),
    }


def _sum_features() -> dict[str, pl.Expr]:
    return {
        **{f"user_popularity_{n}_days": _mean(str(n)) for n in WINDOWS},
        "log_known_labels_in_category": pl.col("category_count").log1p(),
        "user_popularity_in_category": _mean("category"),
        "user_popularity_in_category_above": _mean("category") - _mean("all"),
    }


def _weighted(values: Sequence[pl.Expr], weights: Sequence[float]) -> pl.Expr:
    """The weighted mean of the values that are there."""
    total = pl.sum_horizontal(value * weight for value, weight in zip(values, weights, strict=True))
    there = pl.sum_horizontal(value.is_not_null() * weight for value, weight in zip(values, weights, strict=True))
    return ratio(total, there)


def _slope(values: Sequence[pl.Expr]) -> pl.Expr:
    """Least squares per post: the latest value is at 0, the one before at -1; null for fewer than 3 values."""
    number = pl.sum_horizontal(value.is_not_null() for value in values).cast(pl.Int64)
    middle = (number - 1) / 2
    rising = pl.sum_horizontal(value * (middle - place) for place, value in enumerate(values))
    return pl.when(number >= TREND_POSTS).then(rising / (number * (number**2 - 1) / 12))
