"""Feature group `known_popularity`: how posts of the same tags, classes, place and hour fared, as far as known."""

import polars as pl

from flickcast import moments
from flickcast.features.feature import Feature
from flickcast.features.topics import COUNTED, TOPICS

# Weight, in posts, of the wider class's mean against the class's own. What a class explains of the labels is about a
# twentieth of what it leaves open (a judgement, not tuned).
PRIOR_POSTS = 20.0
SMOOTHED = "Micci-Barreca 2001, 4"

# Each class with the classes above it, the nearest first; everyone stands above all.
ABOVE: dict[str, tuple[str, ...]] = {
    "category": (),
    "subcategory": ("category",),
    "concept": ("subcategory", "category"),
    "place": (),
    "calendar": (),
}
MEANINGS = TOPICS | {"world": "everyone"}


def _about(topic: str) -> dict[str, Feature]:
    of = f"of the labels known of {MEANINGS[topic]}"
    spread = {
        f"{topic}_popularity_deviation": Feature(f"spread {of}", "popularity"),
        f"{topic}_popularity_median": Feature(f"median {of}", "popularity"),
        f"{topic}_popularity_upper": Feature(f"0.9 quantile {of}", "popularity"),
    }
    if topic == "world":
        return {"world_popularity_mean": Feature(f"mean {of}", "popularity"), **spread}
    above = MEANINGS[next(iter(ABOVE[topic]), "world")]
    mean = {f"{topic}_popularity_mean": Feature(f"mean {of}, drawn towards that of {above}", "popularity", SMOOTHED)}
    if topic not in COUNTED:
        return mean | spread
    number = Feature(f"how many labels were known of {MEANINGS[topic]}", "log(1 + labels)")
    return mean | spread | {f"log_{topic}_labels": number}


ABOUT = {
    "tag_popularity_mean": Feature(
        "mean over its tags of the mean of their known labels, each drawn towards everyone's", "popularity", SMOOTHED
    ),
    "tag_popularity_maximum": Feature(
        "mean of the known labels of its best tag, drawn towards everyone's", "popularity", SMOOTHED
    ),
    "tag_popularity_minimum": Feature(
        "mean of the known labels of its worst tag, drawn towards everyone's", "popularity", SMOOTHED
    ),
    "tag_popularity_weighted": Feature("mean of all known labels of its tags", "popularity"),
    "log_tag_labels": Feature("known labels of its tags, added up", "log(1 + labels)"),
    "labelled_tag_share": Feature("its tags of which a label was known", "share"),
    **{name: feature for topic in MEANINGS for name, feature in _about(topic).items()},
}


def known_popularity(
    posts: pl.DataFrame,
    tags: pl.DataFrame,
    categories: pl.DataFrame,
    subcategories: pl.DataFrame,
    concepts: pl.DataFrame,
    places: pl.DataFrame,
    calendar: pl.DataFrame,
    world: pl.DataFrame,
) -> pl.DataFrame:
    """Smoothed mean, spread and quantiles of the labels that were known when the post appeared.

    A class of which no label was known has the mean of the wider one. How many labels there were in all is left out,
    and of each coarse class: it would tell the order of the posts.

    This is an encoding by time, not by folds: labels of the row's own user, and so of its own fold, are inside where
    they were known before the post appeared. Its own label never is.
    """
    everyone = world.select("post_id", **{_mean("world"): moments.mean("popularity")}, **_spread("world"))
    columns = posts.select("post_id").join(everyone, on="post_id", how="left")
    for topic, states in zip(ABOVE, (categories, subcategories, concepts, places, calendar), strict=True):
        own = states.select("post_id", "popularity_count", "popularity_sum", **_spread(topic))
        prior = pl.coalesce(*(_mean(wider) for wider in ABOVE[topic]), _mean("world"))
        columns = columns.join(own, on="post_id", how="left").with_columns(_shrunken(prior).alias(_mean(topic)))
        if topic in COUNTED:
            columns = columns.with_columns(pl.col("popularity_count").log1p().alias(f"log_{topic}_labels"))
        columns = columns.drop("popularity_count", "popularity_sum")
    return columns.join(_tags(tags, everyone), on="post_id", how="left")


def _tags(tags: pl.DataFrame, everyone: pl.DataFrame) -> pl.DataFrame:
    """The columns of the tags, of the posts that have some."""
    rows = tags.select("post_id", "popularity_count", "popularity_sum").join(everyone, on="post_id", how="left")
    shrunken, known = _shrunken(pl.col(_mean("world"))), pl.col("popularity_count")
    return rows.group_by("post_id").agg(
        tag_popularity_mean=shrunken.mean(),
        tag_popularity_maximum=shrunken.max(),
        tag_popularity_minimum=shrunken.min(),
        tag_popularity_weighted=moments.ratio(pl.col("popularity_sum").sum(), known.sum()),
        log_tag_labels=known.sum().log1p(),
        labelled_tag_share=(known > 0).mean(),
    )


def _mean(topic: str) -> str:
    return f"{topic}_popularity_mean"


def _shrunken(prior: pl.Expr) -> pl.Expr:
    return (pl.col("popularity_sum") + PRIOR_POSTS * prior) / (pl.col("popularity_count") + PRIOR_POSTS)


def _spread(topic: str) -> dict[str, pl.Expr]:
    return {
        f"{topic}_popularity_deviation": moments.deviation("popularity"),
        f"{topic}_popularity_median": moments.quantile("popularity", 0.5),
        f"{topic}_popularity_upper": moments.quantile("popularity", 0.9),
    }
