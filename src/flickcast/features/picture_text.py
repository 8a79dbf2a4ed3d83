"""Feature group `picture_text`: the picture's shape, and how well picture and words belong together."""

import polars as pl


def picture_text(posts: pl.DataFrame, embeddings: pl.DataFrame) -> pl.DataFrame:
    """Size, shape, duration, and the cosine of picture and text vectors; null where there is no vector."""
    vectors = embeddings.select(
        "post_id",
        has_picture=pl.col("picture").is_not_null(),
        # unit vectors: their dot product is the cosine
        picture_text_cosine=(pl.col("picture") * pl.col("text")).list.sum(),
    )
    width, height = pl.col("width"), pl.col("height")
    return posts.join(vectors, on="post_id", how="left").select(
        "post_id",
        "width",
        "height",
        "has_picture",
        "picture_text_cosine",
        log_aspect=(width / height).log(),
        log_pixels=(width.cast(pl.Float64) * height).log(),
        log_duration=pl.col("duration_seconds").log1p(),
    )
