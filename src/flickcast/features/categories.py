"""Feature group `categories`: the classes a post was filed under."""

import polars as pl

from flickcast.features.feature import Feature

ABOUT = {
    "media_type": Feature("photo or video", kind="category"),
    "category": Feature("the challenge's 11 classes", kind="category"),
    "subcategory": Feature("its 77 classes", kind="category"),
    "concept": Feature("its 668 classes", kind="category"),
}


def categories(posts: pl.DataFrame) -> pl.DataFrame:
    """Media type and the challenge's three levels of classes, as they are."""
    return posts.select("post_id", "media_type", "category", "subcategory", "concept")
