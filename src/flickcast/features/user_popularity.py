"""Feature group `user_popularity`: how the user's earlier posts fared, as far as that was known."""

import polars as pl

# Weight, in posts, of everyone's mean against the user's own. Within one user labels vary about as much as between
# users on Flickr, so a single known label deserves about half the trust (a judgement, not tuned).
PRIOR_POSTS = 1.0


def user_popularity(states: pl.DataFrame) -> pl.DataFrame:
    """Mean, spread and range of the labels known before the post's day; null where none is."""
    count = pl.when(pl.col("labels") > 0).then("labels")
    mean = pl.col("popularity_sum") / count
    variance = pl.col("popularity_square_sum") / count - mean**2
    everyone = pl.col("known_popularity_sum") / pl.when(pl.col("known_labels") > 0).then("known_labels")
    shrunken = (pl.col("popularity_sum") + PRIOR_POSTS * everyone) / (pl.col("labels") + PRIOR_POSTS)
    return states.select(
        "post_id",
        log_known_labels=pl.col("labels").log1p(),
        user_popularity_mean=mean,
        user_popularity_deviation=variance.clip(lower_bound=0).sqrt(),
        user_popularity_minimum="popularity_minimum",
        user_popularity_maximum="popularity_maximum",
        user_popularity_shrunken=shrunken,
    )
