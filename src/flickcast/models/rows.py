"""The rows that models learn from and predict: features, words, vectors and labels of one post side by side."""

import polars as pl

VECTOR = pl.List(pl.Float32)


def gather(
    matrix: pl.DataFrame, posts: pl.DataFrame, vectors: pl.DataFrame, labels: pl.DataFrame | None = None
) -> pl.DataFrame:
    """One row per post of the matrix (with labels: per labelled one), by post_id.

    Adds user_id, posted_at, `words` (title and tags as one text), the vectors `picture` and `text`, and popularity.
    """
    tags = pl.col("tags").list.join(" ")
    words = posts.select(
        "post_id", "user_id", "posted_at", words=pl.concat_str("title", tags, separator=" ", ignore_nulls=True)
    )
    pictures = vectors.select("post_id", pl.col("picture", "text").cast(VECTOR))
    rows = matrix.join(words, on="post_id").join(pictures, on="post_id", how="left")
    if labels is not None:
        rows = rows.join(labels.select("post_id", "popularity"), on="post_id")
    return rows.sort("post_id")
