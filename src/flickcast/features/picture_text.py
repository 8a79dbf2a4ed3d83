"""Feature group `picture_text`: the picture's shape, and how well picture and words belong together."""

import polars as pl

from flickcast.features.feature import FAME, HYPERFUSION, Feature

ABOUT = {
    "width": Feature("of the picture", "pixels", FAME),
    "height": Feature("of the picture", "pixels", FAME),
    "has_picture": Feature("whether there is a picture vector", "0 or 1"),
    "picture_text_cosine": Feature("how alike picture and text are", "cosine", HYPERFUSION),
    "log_aspect": Feature("width over height", "log"),
    "log_pixels": Feature("width times height", "log pixels", FAME),
    "log_duration": Feature("length of a video", "log(1 + seconds)"),
}


def picture_text(posts: pl.DataFrame, cosines: pl.DataFrame) -> pl.DataFrame:
    """Size, shape, duration, and the cosine of picture and text vectors; null where there is no vector."""
    width, height = pl.col("width"), pl.col("height")
    return posts.join(cosines, on="post_id", how="left").select(
        "post_id",
        "width",
        "height",
        "has_picture",
        picture_text_cosine="cosine",
        log_aspect=(width / height).log(),
        log_pixels=(width.cast(pl.Float64) * height).log(),
        log_duration=pl.col("duration_seconds").log1p(),
    )
