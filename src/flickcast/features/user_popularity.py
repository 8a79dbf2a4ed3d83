"""Feature group `user_popularity`: how the user's earlier posts fared, as far as that was known."""

import polars as pl

from flickcast import moments
from flickcast.features.feature import Feature

# Weight, in posts, of everyone's mean against the user's own. Within one user labels vary about as much as between
# users on Flickr, so a single known label deserves about half the trust (a judgement, not tuned).
PRIOR_POSTS = 1.0

ABOUT = {
    "log_known_labels": Feature("earlier posts whose label was known", "log(1 + posts)"),
    "user_popularity_mean": Feature("mean of the labels known then", "popularity"),
    "user_popularity_deviation": Feature("their spread", "popularity"),
    "user_popularity_minimum": Feature("the smallest", "popularity"),
    "user_popularity_maximum": Feature("the largest", "popularity"),
    "user_popularity_shrunken": Feature("their mean, drawn towards everyone's as if by one post", "popularity"),
}


def user_popularity(
    posts: pl.DataFrame, states: pl.DataFrame, world: pl.DataFrame, history: pl.DataFrame
) -> pl.DataFrame:
    """Mean, spread and range of the labels known before the post appeared; null where none was."""
    everyone = world.select("post_id", everyone=moments.mean("popularity"))
    shrunken = (pl.col("popularity_sum") + PRIOR_POSTS * pl.col("everyone")) / (
        pl.col("popularity_count") + PRIOR_POSTS
    )
    return states.join(everyone, on="post_id", how="left").select(
        "post_id",
        log_known_labels=pl.col("popularity_count").log1p(),
        user_popularity_mean=moments.mean("popularity"),
        user_popularity_deviation=moments.deviation("popularity"),
        user_popularity_minimum="popularity_minimum",
        user_popularity_maximum="popularity_maximum",
        user_popularity_shrunken=shrunken,
    )
