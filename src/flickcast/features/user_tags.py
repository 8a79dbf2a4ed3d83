"""Feature group `user_tags`: which tags the user gave before, and how this post's go with them."""

import polars as pl

from flickcast.features.feature import HVLA, Feature
from flickcast.features.timeline import (
    at,
    deviation,
    entropy,
    entropy_term,
    mean,
    on_grid,
    places,
    powers,
    skewness,
    summed,
)
from flickcast.moments import ratio

DRIFT_DAYS = 90
OF_POST = ("new_tags_share", "repeated_tags_share", "repeated_tags_jaccard")

ABOUT = {
    "new_tags_share": Feature("tags of this post that the user had never given", "share", HVLA),
    "repeated_tags_share": Feature("tags of this post that the user's post before had, too", "share", HVLA),
    "repeated_tags_jaccard": Feature("tags that both posts have, of all that either has", "share", HVLA),
    "earlier_new_tags_mean": Feature("mean of new_tags_share over earlier posts", "share", HVLA),
    "earlier_repeated_tags_mean": Feature("mean of repeated_tags_jaccard over earlier posts", "share", HVLA),
    "log_earlier_tags": Feature("tags given to earlier posts, all in all", "log(1 + tags)", HVLA),
    "log_distinct_tags": Feature("different ones among them", "log(1 + tags)", HVLA),
    "distinct_tags_share": Feature("different tags per tag given: 1 where none was repeated", "share", HVLA),
    "earlier_tags_entropy": Feature("how evenly the user's tags are spread", "nats", HVLA),
    "earlier_tags_evenness": Feature("that entropy over its largest possible value", "share", HVLA),
    "interest_drift": Feature(
        f"tags given in the last {DRIFT_DAYS} days that the user took up at most {DRIFT_DAYS} days before giving them; "
        "null for who has no older post",
        "share",
        HVLA,
    ),
    "earlier_tag_chars_mean": Feature("characters of all tags of an earlier post", "characters", HVLA),
    "earlier_tag_chars_deviation": Feature("spread of the characters of all tags", "characters", HVLA),
    "earlier_tag_chars_skewness": Feature("skewness of the characters of all tags", "", HVLA),
    "tag_chars_above_usual": Feature("characters of this post's tags beyond that mean", "characters"),
}


def user_tags(posts: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Novelty, repetition, variety and drift of tags, their sequence in HVLA 2024, 3.2; null without tags.

    Of posts of one moment, the one before is the last by the text of its tags: ids decide nothing.
    """
    rows = history.select("post_id", "user_id", "posted_at", "known_at", tags=pl.col("tags").list.unique())
    rows = rows.with_columns(tag_chars=pl.col("tags").list.join("").str.len_chars())
    rows = (
        rows.hstack(_uses(rows))
        .hstack(_repetition(rows))
        .with_columns(new_tags_share=ratio(pl.col("unknown"), pl.col("uses")))
    )
    own = posts.select("post_id", "user_id", "posted_at").join(
        rows.select("post_id", "new_tags_share", "repeated_tags_share", "repeated_tags_jaccard", "tag_chars"),
        on="post_id",
        how="left",
        maintain_order="left",
    )
    running = _running(rows)
    before = at(running, places(own, rows))
    older = pl.col("posted_at") - pl.duration(days=DRIFT_DAYS)
    window = at(running.select(uses_older="uses", young_older="young"), places(own, rows, older))
    return (
        own.select("post_id", *OF_POST, own_tag_chars="tag_chars")
        .hstack(before)
        .hstack(window)
        .select("post_id", *OF_POST, **_features())
    )


def _uses(rows: pl.DataFrame) -> pl.DataFrame:
    """Of each row: its tags, how many were unknown, first and young, and what they add to the entropy.

    A tag is known before a post if a post with it was known before that one appeared.
    """
    uses = (
        rows.select(
            row=pl.int_range(pl.len(), dtype=pl.UInt32),
            user=pl.col("user_id").rle_id(),
            known="known_at",
            posted="posted_at",
            tag="tags",
        )
        .explode("tag")
        .drop_nulls("tag")
        .with_columns(pl.col("tag").cast(pl.Categorical).to_physical())
        .sort("user", "tag", "known")
    )
    begins = (pl.struct("user", "tag").rle_id().diff() != 0).fill_null(True)
    number = pl.int_range(pl.len(), dtype=pl.Int64)
    uses = uses.with_columns(begins=begins).with_columns(
        start=pl.when("begins").then("known").forward_fill(),
        nth=number - pl.when("begins").then(number).forward_fill() + 1,
    )
    counted = uses.group_by("row").agg(
        uses=pl.len().cast(pl.Int64),
        unknown=(pl.col("start") >= pl.col("posted")).sum().cast(pl.Int64),
        distinct=pl.col("begins").sum().cast(pl.Int64),
        young=(pl.col("known") - pl.col("start") <= pl.duration(days=DRIFT_DAYS)).sum().cast(pl.Int64),
        terms=entropy_term(pl.col("nth").cast(pl.Float64)).sum(),
    )
    every = pl.select(row=pl.int_range(rows.height, dtype=pl.UInt32))
    return every.join(counted, on="row", how="left", maintain_order="left").drop("row").fill_null(0)


def _repetition(rows: pl.DataFrame) -> pl.DataFrame:
    """Of each row: which of its tags the latest post known when it appeared had, too."""
    tied = pl.struct("user_id", "posted_at").is_duplicated()
    order = rows.select(
        "user_id", "posted_at", text=pl.when(tied).then(pl.col("tags").list.sort().list.join("\n"))
    ).select(order=pl.arg_sort_by("user_id", "posted_at", "text"))["order"]
    ranks = rows.select("user_id", rank=order.arg_sort())
    latest = ranks.select(pl.col("rank").cum_max().over("user_id"))["rank"]
    previous = order.gather(latest.gather(places(rows, rows)))
    pairs = rows.select("tags", before=pl.col("tags").gather(previous))
    both = pl.col("tags").list.set_intersection("before").list.len()
    either = pl.col("tags").list.len() + pl.col("before").list.len() - both
    return pairs.select(
        repeated_tags_share=ratio(both, pl.col("tags").list.len()), repeated_tags_jaccard=ratio(both, either)
    )


def _running(rows: pl.DataFrame) -> pl.DataFrame:
    """What is known of the user's tags after each row."""
    shares = {"new": "new_tags_share", "repeated": "repeated_tags_jaccard"}
    figures = rows.select(
        "user_id",
        "tag_chars",
        "uses",
        "distinct",
        "young",
        "terms",
        **{name: on_grid(pl.col(share)) for name, share in shares.items()},
        **{f"{name}_count": pl.col(share).is_not_null().cast(pl.Int64) for name, share in shares.items()},
    )
    names = ("uses", "distinct", "young", "terms", *shares, *(f"{name}_count" for name in shares))
    return powers(summed(figures, *names), "tag_chars", origin=pl.lit(0.0)).drop("user_id", "tag_chars")


def _features() -> dict[str, pl.Expr]:
    uses, distinct = pl.col("uses"), pl.col("distinct")
    spread = entropy(uses, pl.col("terms"))
    return {
        "earlier_new_tags_mean": ratio(pl.col("new"), pl.col("new_count")),
        "earlier_repeated_tags_mean": ratio(pl.col("repeated"), pl.col("repeated_count")),
        "log_earlier_tags": uses.log1p(),
        "log_distinct_tags": distinct.log1p(),
        "distinct_tags_share": ratio(distinct, uses),
        "earlier_tags_entropy": spread,
        "earlier_tags_evenness": pl.when(distinct > 1).then(spread / distinct.log()),
        "interest_drift": ratio(pl.col("young") - pl.col("young_older"), uses - pl.col("uses_older")),
        "earlier_tag_chars_mean": mean("tag_chars"),
        "earlier_tag_chars_deviation": deviation("tag_chars"),
        "earlier_tag_chars_skewness": skewness("tag_chars"),
        "tag_chars_above_usual": pl.col("own_tag_chars") - mean("tag_chars"),
    }
