"""Feature group `user_behaviour`: what the user did before this post."""

import polars as pl

from flickcast import moments
from flickcast.features.feature import HVLA, Feature

SECONDS_PER_DAY = 86_400

ABOUT = {
    "log_earlier_posts": Feature("posts known before this one", "log(1 + posts)", HVLA),
    "log_earlier_posts_per_day": Feature("rate since the first known post", "log(1 + posts per day)", HVLA),
    "days_since_last_post": Feature("since the latest known post", "days", HVLA),
    "days_since_first_post": Feature("since the first known post", "days", HVLA),
    "earlier_tags_mean": Feature("tags per earlier post", "tags", HVLA),
    "earlier_tags_deviation": Feature("spread of the number of tags", "tags", HVLA),
    "tags_above_usual": Feature("tags of this post beyond the mean of earlier ones", "tags"),
    "earlier_title_chars_mean": Feature("length of earlier titles", "characters"),
    "earlier_geotagged_share": Feature("earlier posts with a place", "share"),
}


def user_behaviour(posts: pl.DataFrame, states: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Number, rate and habits of earlier posts; null where the user has none."""
    count = pl.when(pl.col("posts") > 0).then("posts")
    joined = posts.select("post_id", "posted_at", own_tags=pl.col("tags").list.len()).join(states, on="post_id")
    return joined.select(
        "post_id",
        log_earlier_posts=pl.col("posts").log1p(),
        log_earlier_posts_per_day=(count / (_days_since("first_posted_at") + 1)).log1p(),
        days_since_last_post=_days_since("last_posted_at"),
        days_since_first_post=_days_since("first_posted_at"),
        earlier_tags_mean=moments.mean("tags"),
        earlier_tags_deviation=moments.deviation("tags"),
        tags_above_usual=pl.col("own_tags") - moments.mean("tags"),
        earlier_title_chars_mean=moments.mean("title_chars"),
        earlier_geotagged_share=pl.col("geotagged") / count,
    )


def _days_since(moment: str) -> pl.Expr:
    return (pl.col("posted_at") - pl.col(moment)).dt.total_seconds() / SECONDS_PER_DAY
