"""Mergeable states: what posts and labels add to what is known of an entity, and the sum of it as of a moment.

A state's row says what became known of one entity at one moment. Rows merge by sums, minima, maxima and smallest
hashes, all of them exact and free of order, so that the rows of a night are simply added to those of all nights before.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta

import polars as pl

from flickcast.aggregates.entities import ENTITIES
from flickcast.moments import BUCKETS, SKETCH_SIZE, bucket_columns
from flickcast.schemas import TABLES

# Labels are summed on grids. Sums of such numbers are exact in a float64 (up to two million labels of one entity,
# values below 64), so that merging in any order, night by night or all at once, gives the same bits.
GRIDS = {"sum": 2.0**-20, "square_sum": 2.0**-20, "cube_sum": 2.0**-14}
KEY = ("entity_id", "at")


def post_states(posts: pl.DataFrame, name: str) -> pl.DataFrame:
    """What these posts add: rows of the table `aggregates/<name>`, by entity_id and at.

    A post counts from the moment at which it had appeared and we knew of it.
    """
    wanted = _wanted(name)
    facts = {
        "posts": pl.lit(1, pl.Int64),
        "first_posted_at": pl.col("posted_at"),
        "last_posted_at": pl.col("posted_at"),
        "geotagged": pl.col("latitude").is_not_null().cast(pl.Int64),
        **_powers("tags", pl.col("tags").list.len()),
        **_powers("title_chars", pl.col("title").str.len_chars()),
        **_powers("description_chars", pl.col("description").str.len_chars()),
    }
    known = pl.max_horizontal("posted_at", "first_seen_at")
    rows = _rows(posts, name, known, {key: value for key, value in facts.items() if key in wanted})
    hashes = _hashes(posts, name, known)
    return _whole(merge(rows), name, hashes)


def label_states(posts: pl.DataFrame, labels: pl.DataFrame, name: str) -> pl.DataFrame:
    """What these labels add to the entities of their posts: rows of the table `aggregates/<name>`.

    A label counts from the moment at which it had matured and we knew of its post.
    """
    labelled = labels.select("post_id", "popularity", "matured_at").join(posts, on="post_id")
    value = pl.col("popularity")
    facts = {
        "popularity_count": pl.lit(1, pl.Int64),
        **{
            f"popularity_{power}": ((value**n) / GRIDS[power]).round() * GRIDS[power]
            for n, power in enumerate(GRIDS, 1)
        },
        "popularity_minimum": value,
        "popularity_maximum": value,
    }
    if "popularity_bucket_00" in _wanted(name):
        bucket = value.floor().clip(0, BUCKETS - 1)
        facts |= {
            column: (bucket == number).cast(pl.Int32) for number, column in enumerate(bucket_columns("popularity"))
        }
    known = pl.max_horizontal("matured_at", "first_seen_at", "posted_at")
    return _whole(merge(_rows(labelled, name, known, facts)), name)


def merge(states: pl.DataFrame, key: Sequence[str] = KEY) -> pl.DataFrame:
    """States that share a key become one; without `at` in the key, all moments together."""
    columns = [column for column in states.columns if column not in {*KEY, *key}]
    plain = [column for column in columns if not column.endswith("_sketch")]
    merged = states.group_by(key).agg(_merged(column) for column in plain)
    for sketch in (column for column in columns if column.endswith("_sketch")):
        hashes = states.select(*key, sketch).explode(sketch).drop_nulls(sketch)
        merged = merged.join(_smallest(hashes, sketch, key), on=list(key), how="left")
    return merged.sort(key)


def as_of(targets: pl.DataFrame, states: pl.DataFrame, windows: Sequence[int] = ()) -> pl.DataFrame:
    """The targets (post_id, entity_id, moment), each with the merged state of its entity before its moment.

    What became known at that very moment is not counted, the post itself among it. Counts are 0 and the rest null
    where nothing was known. For each window, `posts_<n>_days` counts the posts that became known in the n days before.
    Sketches are left out: they do not add up along the time (`merge` has them). By post_id and entity_id.
    """
    entities = pl.Enum(targets["entity_id"].unique().sort())  # numbers are found much faster than names
    wanted = targets.sort("post_id", "entity_id")
    running = _running(states, entities)
    row_before = _finder(running, wanted["entity_id"].cast(entities))
    columns = [column for column in running.columns if column not in KEY]
    found = wanted.hstack(running.select(pl.col(columns).gather(row_before(wanted["moment"]))))
    found = found.with_columns(pl.col(column).fill_null(0) for column in columns if not _is_extreme(column))
    for days in windows:
        earlier = running["posts"].gather(row_before(wanted["moment"] - timedelta(days=days))).fill_null(0)
        found = found.with_columns((pl.col("posts") - earlier).alias(f"posts_{days}_days"))
    return found


def _wanted(name: str) -> set[str]:
    return set(TABLES[f"aggregates/{name}"].columns)


def _powers(fact: str, value: pl.Expr) -> dict[str, pl.Expr]:
    """A fact's columns of one post: whole numbers, whose sums are exact up to 2**53.

    That is a user with a billion titles of 200 characters. Descriptions are longer: only their sum is kept.
    """
    number = value.cast(pl.Float64)
    return {
        f"{fact}_count": value.is_not_null().cast(pl.Int64),
        f"{fact}_sum": number,
        f"{fact}_square_sum": number**2,
        f"{fact}_cube_sum": number**3,
        f"{fact}_minimum": number,
        f"{fact}_maximum": number,
    }


def _rows(posts: pl.DataFrame, name: str, known: pl.Expr, facts: dict[str, pl.Expr]) -> pl.DataFrame:
    """One row per post and entity."""
    entity = ENTITIES[name]
    rows = posts.select(entity_id=entity.ids, at=_at(known, exact=entity.exact), **facts)
    return (rows.explode("entity_id") if entity.several else rows).drop_nulls("entity_id")


def _at(known: pl.Expr, *, exact: bool) -> pl.Expr:
    return known if exact else known.dt.truncate("1d") + pl.duration(days=1)


def _hashes(posts: pl.DataFrame, name: str, known: pl.Expr) -> pl.DataFrame | None:
    """The sketch's column of each key: which tags a user used, which users posted of an entity."""
    sketch = next((column for column in sorted(_wanted(name)) if column.endswith("_sketch")), None)
    if sketch is None:
        return None
    met = pl.col("tags") if sketch == "tags_sketch" else pl.col("user_id")
    rows = _rows(posts, name, known, {sketch: met})
    if sketch == "tags_sketch":
        rows = rows.explode(sketch)
    return _smallest(rows.drop_nulls(sketch).with_columns(pl.col(sketch).hash(seed=0)), sketch, KEY)


def _smallest(hashes: pl.DataFrame, sketch: str, key: Sequence[str]) -> pl.DataFrame:
    """The smallest different hashes of each key, as a sorted list."""
    ordered = hashes.select(*key, sketch).unique().sort(*key, sketch)
    return ordered.group_by(key, maintain_order=True).agg(pl.col(sketch).head(SKETCH_SIZE))


def _is_smallest(column: str) -> bool:
    return column.endswith("_minimum") or column.startswith("first_")


def _is_extreme(column: str) -> bool:
    return _is_smallest(column) or column.endswith("_maximum") or column.startswith("last_")


def _merged(column: str) -> pl.Expr:
    if not _is_extreme(column):
        return pl.col(column).sum()
    return pl.col(column).min() if _is_smallest(column) else pl.col(column).max()


def _whole(states: pl.DataFrame, name: str, hashes: pl.DataFrame | None = None) -> pl.DataFrame:
    """All columns of the table; sums that these rows say nothing of are 0."""
    if hashes is not None:
        states = states.join(hashes, on=list(KEY), how="left")
    table = TABLES[f"aggregates/{name}"]
    rows = table.conform(states)
    sums = [key for key, column in table.columns.items() if not column.nullable and key not in KEY]
    return rows.with_columns(pl.col(sums).fill_null(0)).sort(KEY)


def _running(states: pl.DataFrame, entities: pl.Enum) -> pl.DataFrame:
    """The states of these entities, by entity_id and at, each row with all before it of its entity merged into it."""
    columns = [column for column in states.columns if column not in KEY and not column.endswith("_sketch")]
    own = states.select(pl.col("entity_id").cast(entities, strict=False), "at", *columns).drop_nulls("entity_id")
    return own.sort(KEY).with_columns(_so_far(column).over("entity_id") for column in columns)


def _so_far(column: str) -> pl.Expr:
    if not _is_extreme(column):
        return pl.col(column).cum_sum()
    best = pl.col(column).cum_min() if _is_smallest(column) else pl.col(column).cum_max()
    return best.forward_fill()


def _finder(running: pl.DataFrame, entities: pl.Series) -> Callable[[pl.Series], pl.Series]:
    """What finds, for moments of these entities, the last row strictly before; null where there is none.

    Entity and moment are made one number each, so that one binary search finds a row.
    """
    moments = running["at"].unique().sort()
    owners, wanted = (codes.to_physical().cast(pl.Int64) for codes in (running["entity_id"], entities))
    width = moments.len() + 1
    keys = owners * width + moments.search_sorted(running["at"], side="left").cast(pl.Int64)

    def row_before(moment: pl.Series) -> pl.Series:
        key = wanted * width + moments.search_sorted(moment, side="left").cast(pl.Int64)
        row = keys.search_sorted(key, side="left").cast(pl.Int64) - 1
        row = row.set(row < 0, None)
        return row.set(owners.gather(row) != wanted, None)

    return row_before
