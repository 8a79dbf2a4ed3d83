"""Feature group `user_popularity`: how the user's earlier posts fared, as far as that was known."""

import polars as pl

from flickcast import moments
from flickcast.features.feature import Feature
from flickcast.features.timeline import at, deviation, places, powers, skewness

# Weight, in posts, of everyone's mean against the user's own. Within one user labels vary about as much as between
# users on Flickr, so a single known label deserves about half the trust (a judgement, not tuned).
PRIOR_POSTS = 1.0
QUANTILES = {10: 0.1, 50: 0.5, 90: 0.9}

ABOUT = {
    "log_known_labels": Feature("earlier posts whose label was known", "log(1 + posts)"),
    "user_popularity_mean": Feature("mean of the labels known then", "popularity"),
    "user_popularity_deviation": Feature("their spread", "popularity"),
    "user_popularity_skewness": Feature("their skewness"),
    "user_popularity_minimum": Feature("the smallest", "popularity"),
    "user_popularity_maximum": Feature("the largest", "popularity"),
    "user_popularity_range": Feature("the largest less the smallest", "popularity"),
    **{
        f"user_popularity_quantile_{percent}": Feature(f"{percent} % of them are below", "popularity")
        for percent in QUANTILES
    },
    "user_popularity_shrunken": Feature("their mean, drawn towards everyone's as if by one post", "popularity"),
    "user_popularity_above_everyone": Feature("their mean less everyone's", "popularity"),
    "user_popularity_share_above": Feature("how many of them are above everyone's mean", "share"),
}


def user_popularity(
    posts: pl.DataFrame, states: pl.DataFrame, world: pl.DataFrame, history: pl.DataFrame
) -> pl.DataFrame:
    """Mean, spread, quantiles and range of the labels known before the post appeared; null where none was.

    Everyone's mean is that of the midnight before the post.
    """
    everyone = world.select("post_id", everyone=moments.mean("popularity"))
    shrunken = (pl.col("popularity_sum") + PRIOR_POSTS * pl.col("everyone")) / (
        pl.col("popularity_count") + PRIOR_POSTS
    )
    figures = posts.select("post_id").hstack(_spread(posts, history)).join(states, on="post_id")
    return figures.join(everyone, on="post_id", how="left").select(
        "post_id",
        "user_popularity_deviation",
        "user_popularity_skewness",
        log_known_labels=pl.col("popularity_count").log1p(),
        user_popularity_mean=moments.mean("popularity"),
        user_popularity_minimum="popularity_minimum",
        user_popularity_maximum="popularity_maximum",
        user_popularity_range=pl.col("popularity_maximum") - pl.col("popularity_minimum"),
        **{
            f"user_popularity_quantile_{key}": moments.quantile("popularity", share) for key, share in QUANTILES.items()
        },
        user_popularity_shrunken=shrunken,
        user_popularity_above_everyone=moments.mean("popularity") - pl.col("everyone"),
        user_popularity_share_above=moments.share_above("popularity", pl.col("everyone")),
    )


def _spread(posts: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Spread and skewness of the labels themselves: sums on a grid are too coarse where all are nearly the same."""
    labels = history.drop_nulls("popularity").sort("user_id", "label_known_at", "posted_at", "popularity")
    running = powers(labels.select("user_id", label="popularity"), "label")
    figures = running.select(user_popularity_deviation=deviation("label"), user_popularity_skewness=skewness("label"))
    return at(figures, places(posts, labels, known="label_known_at"))
