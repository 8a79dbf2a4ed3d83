"""Of what we keep states: each entity says which of them a post belongs to."""

from dataclasses import dataclass

import polars as pl

CELL_DEGREES = 1.0  # about 100 km: a city with its surroundings


@dataclass(frozen=True)
class Entity:
    """A kind of thing that posts belong to.

    `ids` gives a post's entity, or a list of them; null where it has none. States of an `exact` entity say to the
    moment what was known; those of the others count from the midnight that follows, which keeps them small.
    """

    ids: pl.Expr
    several: bool = False
    exact: bool = False


def _joined(*parts: pl.Expr, separator: str) -> pl.Expr:
    return pl.concat_str([part.cast(pl.String) for part in parts], separator=separator)


def _cell(degrees: pl.Expr) -> pl.Expr:
    return (degrees / CELL_DEGREES).floor().cast(pl.Int32)


_posted = pl.col("posted_at")

ENTITIES: dict[str, Entity] = {
    "users": Entity(pl.col("user_id"), exact=True),
    "tags": Entity(pl.col("tags").list.unique(), several=True),
    "categories": Entity(pl.col("category")),
    "subcategories": Entity(_joined(pl.col("category"), pl.col("subcategory"), separator="/")),
    "concepts": Entity(pl.col("concept")),
    "places": Entity(_joined(_cell(pl.col("latitude")), _cell(pl.col("longitude")), separator=":")),
    "calendar": Entity(
        _joined(_posted.dt.weekday(), _posted.dt.hour().cast(pl.String).str.zfill(2), separator="-"),
    ),
    "world": Entity(pl.lit("all")),
}


def targets(posts: pl.DataFrame, name: str, moment: pl.Expr | None = None) -> pl.DataFrame:
    """Which entities each post belongs to: post_id, entity_id and moment (when it appeared, unless told otherwise).

    A post with several (tags) has several rows, one with none has none.
    """
    entity = ENTITIES[name]
    rows = posts.select("post_id", entity_id=entity.ids, moment=pl.col("posted_at") if moment is None else moment)
    return (rows.explode("entity_id") if entity.several else rows).drop_nulls("entity_id")
