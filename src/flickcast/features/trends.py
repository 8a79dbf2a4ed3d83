"""Feature group `trends`: what everyone posted of the post's tags, classes, place and hour, lately and ever."""

import polars as pl

from flickcast.features.feature import HVLA, Feature
from flickcast.features.timeline import days
from flickcast.features.topics import COUNTED, TOPICS
from flickcast.moments import ratio

ABOUT = {
    "tag_week_share_max": Feature("its hottest tag: share of all posts of the last 7 days", "share", HVLA),
    "tag_week_share_mean": Feature("mean over its tags of their shares of all posts of the last 7 days", "share", HVLA),
    "tag_month_share_max": Feature("its hottest tag: share of all posts of the last 30 days", "share", HVLA),
    "tag_month_share_mean": Feature(
        "mean over its tags of their shares of all posts of the last 30 days", "share", HVLA
    ),
    "tag_rise_max": Feature("its fastest rising tag: posts of the week over what the month led to expect", "log ratio"),
    "tag_rise_mean": Feature("mean over its tags of posts of the week over what the month led to expect", "log ratio"),
    "log_tag_posts_max": Feature("its most common tag: posts ever known", "log(1 + posts)"),
    "log_tag_posts_mean": Feature("mean over its tags of posts ever known", "log(1 + posts)"),
    "log_tag_posts_min": Feature("its rarest tag: posts ever known", "log(1 + posts)"),
    "newest_tag_days": Feature("since the first post of its newest tag that was known", "days"),
    "unseen_tag_share": Feature("its tags that nobody was known to have used", "share"),
    **{
        name: feature
        for topic, meaning in TOPICS.items()
        for name, feature in {
            f"{topic}_week_share": Feature(f"{meaning}: share of all posts of the last 7 days", "share", HVLA),
            f"{topic}_month_share": Feature(f"{meaning}: share of all posts of the last 30 days", "share", HVLA),
            f"{topic}_rise": Feature(f"{meaning}: posts of the week over what the month led to expect", "log ratio"),
            f"{topic}_share": Feature(f"{meaning}: share of all posts ever known", "share", HVLA),
        }.items()
    },
    **{f"log_{topic}_posts": Feature(f"{TOPICS[topic]}: posts ever known", "log(1 + posts)") for topic in COUNTED},
}


def trends(
    posts: pl.DataFrame,
    tags: pl.DataFrame,
    categories: pl.DataFrame,
    subcategories: pl.DataFrame,
    concepts: pl.DataFrame,
    places: pl.DataFrame,
    calendar: pl.DataFrame,
    world: pl.DataFrame,
) -> pl.DataFrame:
    """Hot tags and frequent topics by week and month, and how well known each is; null for what a post has not.

    How many posts there were in all is left out, and of each coarse class: it would tell the order of the posts.
    """
    everyone = world.select("post_id", *(pl.col(name).alias(f"all_{name}") for name in _COUNTS))
    columns = posts.select("post_id").join(_tags(posts, tags, everyone), on="post_id", how="left")
    topics = (categories, subcategories, concepts, places, calendar)
    for topic, states in zip(TOPICS, topics, strict=True):
        own = states.select("post_id", *_COUNTS).join(everyone, on="post_id", how="left")
        columns = columns.join(own.select("post_id", **_topic(topic)), on="post_id", how="left")
    return columns


_COUNTS = ("posts", "posts_7_days", "posts_30_days")


def _tags(posts: pl.DataFrame, tags: pl.DataFrame, everyone: pl.DataFrame) -> pl.DataFrame:
    """The columns of the tags, of the posts that have some."""
    rows = tags.select("post_id", "first_posted_at", *_COUNTS).join(everyone, on="post_id", how="left")
    known = pl.col("posts").log1p()
    found = rows.group_by("post_id").agg(
        **_hottest("tag_week_share", "posts_7_days"),
        **_hottest("tag_month_share", "posts_30_days"),
        tag_rise_max=_rise().max(),
        tag_rise_mean=_rise().mean(),
        log_tag_posts_max=known.max(),
        log_tag_posts_mean=known.mean(),
        log_tag_posts_min=known.min(),
        newest=pl.col("first_posted_at").max(),
        unseen_tag_share=(pl.col("posts") == 0).mean(),
    )
    appeared = found.join(posts.select("post_id", "posted_at"), on="post_id")
    since = days(pl.col("posted_at") - pl.col("newest"))
    return appeared.with_columns(newest_tag_days=since).drop("newest", "posted_at")


def _hottest(name: str, column: str) -> dict[str, pl.Expr]:
    share = ratio(pl.col(column), pl.col(f"all_{column}"))
    return {f"{name}_max": share.max(), f"{name}_mean": share.mean()}


def _topic(topic: str) -> dict[str, pl.Expr]:
    shares = {"week_share": "posts_7_days", "month_share": "posts_30_days", "share": "posts"}
    return {
        **{f"{topic}_{name}": ratio(pl.col(of), pl.col(f"all_{of}")) for name, of in shares.items()},
        f"{topic}_rise": _rise(),
        **({f"log_{topic}_posts": pl.col("posts").log1p()} if topic in COUNTED else {}),
    }


def _rise() -> pl.Expr:
    """Log of the week's posts over those that its share of the month gives, one post added to both."""
    expected = ratio(pl.col("posts_30_days") * pl.col("all_posts_7_days"), pl.col("all_posts_30_days"))
    return ((pl.col("posts_7_days") + 1) / (expected + 1)).log()
