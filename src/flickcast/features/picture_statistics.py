"""Feature group `picture_statistics`: what was measured on the picture itself, without knowing what it shows."""

import polars as pl

from flickcast.features.feature import DING, FAME, Feature

NIMA = "NIMA 2018; Ding 2019, 4.1"
COLOURFULNESS = "Hasler and Suesstrunk 2003"

ABOUT = {
    "picture_mode": Feature("of the file: its place, from 1, among the modes of the encoder", "", FAME, "category"),
    "picture_width": Feature("of the file", "pixels", FAME),
    "picture_height": Feature("of the file", "pixels", FAME),
    "picture_megapixels": Feature("of the file", "million pixels", FAME),
    "picture_aspect": Feature("of the file, width over height", "ratio"),
    "picture_brightness": Feature("mean of the grey values", "0 to 255"),
    "picture_contrast": Feature("spread of the grey values", "0 to 255"),
    "picture_colourfulness": Feature("0 grey, 109 extremely colourful", "", COLOURFULNESS),
    "picture_sharpness": Feature("variance of the Laplacian of the grey values, these from 0 to 1"),
    "aesthetic_mean": Feature(
        "mean of the scores that people would give, where NIMA is among the encoders", "1 to 10", NIMA
    ),
    "aesthetic_deviation": Feature("spread of these scores", "scores", NIMA),
    "intrinsic_popularity": Feature("what the picture alone would bring, where IIPA is among the encoders", "", DING),
}


def picture_statistics(posts: pl.DataFrame, numbers: pl.DataFrame) -> pl.DataFrame:
    """The numbers as they are; null where there is no picture, or where params embed.others lacks the encoder."""
    mode = pl.col("mode").cast(pl.Int32).cast(pl.String)
    measured = [name for name in ABOUT if name != "picture_mode"]
    return (
        posts.select("post_id")
        .join(numbers, on="post_id", how="left")
        .select("post_id", *(pl.col(name.removeprefix("picture_")).alias(name) for name in measured), picture_mode=mode)
    )
