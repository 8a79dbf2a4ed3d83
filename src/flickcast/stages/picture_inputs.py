"""What feature groups read of pictures: how like their text they are, and the numbers measured on them."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from flickcast.params import EmbedParams


def picture_columns() -> dict[str, tuple[str, ...]]:
    """Encoders whose numbers have a meaning each, and the names of these."""
    from flickcast.embeddings.encoders import families

    return {name: family.facts["columns"] for name, family in families().items() if "columns" in family.facts}


def picture_encoders(params: EmbedParams) -> list[str]:
    """Those of them that params.yaml names."""
    return [name for name in picture_columns() if name in params.names]


def picture_statistics(vectors: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """One column per number, from each encoder's vectors (post_id, vector); those of encoders not there are null."""
    ids = pl.Series("post_id", [], pl.String).to_frame()
    found = pl.concat([ids, *(rows.select("post_id") for rows in vectors.values())]).unique().sort("post_id")
    for encoder, names in picture_columns().items():
        if encoder not in vectors:
            found = found.with_columns(pl.lit(None, pl.Float32).alias(name) for name in names)
            continue
        rows = vectors[encoder].select("post_id", *(_number(place).alias(name) for place, name in enumerate(names)))
        found = found.join(rows, on="post_id", how="left")
    return found


def _number(place: int) -> pl.Expr:
    return pl.col("vector").arr.get(place, null_on_oob=True).cast(pl.Float32)


def cosines(picture: pl.DataFrame, text: pl.DataFrame) -> pl.DataFrame:
    """The cosine of unit vectors (post_id, vector) of pictures and texts: post_id, has_picture, cosine."""
    rows = picture.join(text, on="post_id", how="left", suffix="_text").sort("post_id")
    both = rows.drop_nulls(["vector", "vector_text"])
    values = np.empty(both.height, np.float32)
    for first in range(0, both.height, 50_000):  # all at once would be gigabytes of float32
        some = both.slice(first, 50_000)
        one, other = (some[name].to_numpy().astype(np.float32) for name in ("vector", "vector_text"))
        values[first : first + some.height] = np.einsum("ij,ij->i", one, other)
    found = both.select("post_id", cosine=pl.Series(values, dtype=pl.Float32))
    return rows.select("post_id", has_picture=pl.col("vector").is_not_null()).join(found, on="post_id", how="left")
