"""Feature group `categories`: the classes a post was filed under."""

import polars as pl


def categories(posts: pl.DataFrame) -> pl.DataFrame:
    """Media type and the challenge's three levels of classes, as they are."""
    return posts.select("post_id", "media_type", "category", "subcategory", "concept")
