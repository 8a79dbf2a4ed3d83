"""Feature group `user_behaviour`: what the user did before this post's day."""

import polars as pl

SECONDS_PER_DAY = 86_400


def user_behaviour(posts: pl.DataFrame, states: pl.DataFrame) -> pl.DataFrame:
    """Number, rate and habits of earlier posts; null where the user has none."""
    count = pl.when(pl.col("posts") > 0).then("posts")
    tags_mean = pl.col("tags_sum") / count
    tags_variance = pl.col("tags_square_sum") / count - tags_mean**2
    joined = posts.select("post_id", "posted_at", own_tags=pl.col("tags").list.len()).join(states, on="post_id")
    return joined.select(
        "post_id",
        log_earlier_posts=pl.col("posts").log1p(),
        log_earlier_posts_per_day=(count / (_days_since("first_posted_at") + 1)).log1p(),
        days_since_last_post=_days_since("last_posted_at"),
        days_since_first_post=_days_since("first_posted_at"),
        earlier_tags_mean=tags_mean,
        earlier_tags_deviation=tags_variance.clip(lower_bound=0).sqrt(),
        tags_above_usual=pl.col("own_tags") - tags_mean,
        earlier_title_chars_mean=pl.col("title_chars_sum") / count,
        earlier_geotagged_share=pl.col("geotagged") / count,
    )


def _days_since(moment: str) -> pl.Expr:
    return (pl.col("posted_at") - pl.col(moment)).dt.total_seconds() / SECONDS_PER_DAY
