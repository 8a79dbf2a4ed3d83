"""The rows that models learn from and predict: features, words, vectors and labels of one post side by side."""

import polars as pl

VECTOR = pl.List(pl.Float32)


def gather(
    matrix: pl.DataFrame, posts: pl.DataFrame, vectors: pl.DataFrame, labels: pl.DataFrame | None = None
) -> pl.DataFrame:
    """One row per post of the matrix (with labels: per labelled one), by post_id.

    Adds user_id, posted_at, known_at (when the post was there to be read), title, `words` (title and tags as one text),
    tags, is_public, latitude and longitude, each column of `vectors`; with labels popularity and label_known_at.
    """
    tags = pl.col("tags").list.join(" ")
    places = [name for name in ("latitude", "longitude") if name not in matrix.columns]
    about = posts.select(
        "post_id",
        "user_id",
        "posted_at",
        "title",
        "tags",
        "is_public",
        *places,
        known_at=pl.max_horizontal("posted_at", "first_seen_at"),
        words=pl.concat_str("title", tags, separator=" ", ignore_nulls=True),
    )
    whole = vectors.select("post_id", pl.exclude("post_id").cast(VECTOR))
    rows = matrix.join(about, on="post_id", maintain_order="left")
    if labels is not None:
        rows = rows.join(labels.select("post_id", "popularity", "matured_at"), on="post_id", maintain_order="left")
        rows = rows.with_columns(label_known_at=pl.max_horizontal("matured_at", "known_at")).drop("matured_at")
    if not rows["post_id"].is_sorted():
        rows = rows.sort("post_id")
    return rows.join(whole, on="post_id", how="left", maintain_order="left")  # last, as it copies gigabytes


def without_vectors(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows without what makes them large; nothing is copied."""
    return rows.select(pl.exclude(VECTOR))
