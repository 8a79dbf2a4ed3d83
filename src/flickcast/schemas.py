"""One schema per table: it writes, checks, documents and builds rows. Column lists live nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from flickcast.errors import CheckError
from flickcast.moments import bucket_columns

TIME = pl.Datetime("us", "UTC")
# No service we read is older; a posting time before it was edited by its owner (seen: January 1970).
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
# A vector's length is its encoder's and only known at run time: 0 stands for any. Within a table all have one length.
VECTOR = pl.Array(pl.Float16, 0)
SKETCH = pl.List(pl.UInt64)


@dataclass(frozen=True)
class Column:
    """A column's type, meaning and bounds; `nullable` says whether it may be missing."""

    dtype: pl.DataType | type[pl.DataType]
    meaning: str
    nullable: bool = True
    low: float | None = None
    high: float | None = None
    one_of: tuple[str, ...] | None = None
    earliest: datetime | None = None


@dataclass(frozen=True)
class Table:
    """A table's name, key, owner stage and columns. `owner` is the only stage that writes it."""

    name: str
    owner: str
    key: tuple[str, ...]
    columns: Mapping[str, Column]
    meaning: str = ""
    open_ended: bool = False  # further columns are allowed (the model matrix)

    def empty(self) -> pl.DataFrame:
        """The table with no rows."""
        return pl.DataFrame(schema=self.dtypes())

    def dtypes(self) -> dict[str, Any]:
        """Column name to polars type."""
        return {name: column.dtype for name, column in self.columns.items()}

    def conform(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The same rows with every column of the schema, in order and type; absent ones become null."""
        missing = [pl.lit(None, dtype=c.dtype).alias(n) for n, c in self.columns.items() if n not in rows.columns]
        extra = [name for name in rows.columns if name not in self.columns] if self.open_ended else []
        cast = [pl.col(name).cast(_dtype(column, rows, name)) for name, column in self.columns.items()]
        return rows.with_columns(missing).select(cast + [pl.col(name) for name in extra])


def _dtype(column: Column, rows: pl.DataFrame, name: str) -> Any:
    """The column's type; a vector column keeps the length that it has."""
    found = rows.schema.get(name)
    is_vector = column.dtype == VECTOR and isinstance(found, pl.Array) and found.inner == pl.Float16
    return found if is_vector else column.dtype


def _id(meaning: str) -> Column:
    return Column(pl.String, meaning, nullable=False)


def _time(meaning: str, nullable: bool = True) -> Column:
    """A moment in UTC; one that must be there must also be of this century."""
    return Column(TIME, meaning, nullable, earliest=None if nullable else EARLIEST)


def _count(meaning: str, nullable: bool = True) -> Column:
    return Column(pl.Int64, meaning, nullable, low=0)


def _number(meaning: str) -> Column:
    return Column(pl.Int32, meaning, nullable=False, low=0)


def _total(fact: str, meaning: str) -> dict[str, Column]:
    """The columns of a fact of which only the mean is wanted."""
    return {
        f"{fact}_count": _count(f"{meaning}: how many values", False),
        f"{fact}_sum": Column(pl.Float64, "their sum", False),
    }


def _facts(fact: str, meaning: str) -> dict[str, Column]:
    """The columns that a fact's state is made of (`moments` reads them)."""
    return _total(fact, meaning) | {
        f"{fact}_square_sum": Column(pl.Float64, "the sum of their squares", False),
        f"{fact}_cube_sum": Column(pl.Float64, "the sum of their cubes", False),
        f"{fact}_minimum": Column(pl.Float64, "the smallest"),
        f"{fact}_maximum": Column(pl.Float64, "the largest"),
    }


def _buckets(fact: str, meaning: str) -> dict[str, Column]:
    return {name: _number(f"{meaning} in this bucket") for name in bucket_columns(fact)}


def _sketch() -> dict[str, Column]:
    return {"users_sketch": Column(SKETCH, "smallest hashes of the users who posted")}


def _states(entity: str, meaning: str, columns: Mapping[str, Column]) -> Table:
    """A table of mergeable states: what became known of an entity at one moment."""
    own = {
        "entity_id": Column(pl.String, meaning, nullable=False),
        "at": _time("the moment from which these facts were known", nullable=False),
        "posts": _count("posts", False),
        "first_posted_at": _time("earliest of them"),
        "last_posted_at": _time("latest of them"),
    }
    text = "Mergeable state: what became known at one moment. States merge by sum, minimum, maximum, smallest hashes."
    return Table(
        f"aggregates/{entity}",
        "aggregate",
        ("entity_id", "at"),
        own | _facts("popularity", "labels") | dict(columns),
        text,
    )


POST_ID, USER_ID = _id("the post"), _id("who posted")

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "posts",
            "ingest",
            ("post_id",),
            {
                "post_id": POST_ID,
                "source": Column(pl.String, "where it came from", False, one_of=("flickr", "smpd-image", "smpd-video")),
                "user_id": USER_ID,
                "posted_at": _time("when it appeared", nullable=False),
                "taken_at": _time("when the picture was taken, by the owner's own clock"),
                "title": Column(pl.String, "as first seen"),
                "description": Column(pl.String, "as first seen"),
                "tags": Column(pl.List(pl.String), "normalised tags, as first seen"),
                "media_type": Column(pl.String, "photo or video", one_of=("photo", "video")),
                "category": Column(pl.String, "the challenge's 11 classes"),
                "subcategory": Column(pl.String, "its 77 classes"),
                "concept": Column(pl.String, "its 668 classes"),
                "latitude": Column(pl.Float64, "degrees", low=-90, high=90),
                "longitude": Column(pl.Float64, "degrees", low=-180, high=180),
                "geo_accuracy": Column(pl.Int8, "1 world .. 16 street", low=1, high=16),
                "is_public": Column(pl.Boolean, "visible to all"),
                "media_status": Column(pl.String, "ready, pending or failed"),
                "width": Column(pl.Int32, "pixels", low=1),
                "height": Column(pl.Int32, "pixels", low=1),
                "duration_seconds": Column(pl.Float32, "of a video", low=0),
                "language": Column(pl.String, "of the text, where the source says it"),
                "country": Column(pl.String, "where the source says it"),
                "image_url": Column(pl.String, "where the picture was downloaded from"),
                "first_seen_at": _time("when we first knew of it", nullable=False),
            },
            "Posts as they were when first seen.",
        ),
        Table(
            "users",
            "ingest",
            ("user_id", "observed_at"),
            {
                "user_id": USER_ID,
                "observed_at": _time("when these numbers were known", nullable=False),
                "photo_count": _count("pictures (or videos) of the account"),
                "first_post_at": _time("first upload"),
                "first_taken_at": _time("earliest picture"),
                "is_pro": Column(pl.Boolean, "paying member"),
                "can_buy_pro": Column(pl.Boolean, "only in the challenge's files"),
                "timezone_id": Column(pl.String, "as the source numbers it"),
                "timezone_offset": Column(pl.Float32, "hours from UTC", low=-14, high=14),
                "followers": _count("who follow the account"),
                "following": _count("whom the account follows"),
                "total_views": _count("of all its posts"),
                "total_faves": _count("of all its posts"),
                "total_tags": _count("of all its posts"),
                "total_geotagged": _count("of its posts"),
                "total_in_group": _count("of its posts"),
                "faves_given": _count("by the account to others"),
            },
            "Snapshots of accounts.",
        ),
        Table(
            "observations",
            "ingest",
            ("post_id", "observed_at"),
            {
                "post_id": POST_ID,
                "observed_at": _time("when it was counted", nullable=False),
                "views": _count("so far"),
                "faves": _count("so far"),
                "comments": _count("so far"),
            },
            "What was counted on a post at one moment.",
        ),
        Table(
            "imported_labels",
            "ingest",
            ("post_id",),
            {
                "post_id": POST_ID,
                "popularity": Column(pl.Float64, "as the challenge's label file gives it", False),
            },
            "Labels that came with the challenge's files.",
        ),
        Table(
            "images",
            "ingest",
            ("post_id",),
            {
                "post_id": POST_ID,
                "sha256": Column(pl.String, "of the picture file", False),
                "bytes": Column(pl.Binary, "the picture file itself", False),
                "width": Column(pl.Int32, "pixels", low=1),
                "height": Column(pl.Int32, "pixels", low=1),
                "mode": Column(pl.String, "Pillow's mode: RGB, L, CMYK, ..."),
            },
            "Pictures, as downloaded, kept until embedded.",
        ),
        Table(
            "dropped_images",
            "ingest",
            ("post_id",),
            {
                "post_id": POST_ID,
                "sha256": Column(pl.String, "of the picture file that was here", False),
                "width": Column(pl.Int32, "pixels", low=1),
                "height": Column(pl.Int32, "pixels", low=1),
                "mode": Column(pl.String, "Pillow's mode: RGB, L, CMYK, ..."),
            },
            "Pictures of the service that were deleted once embedded (images.keep_days); some are fetched again.",
        ),
        Table(
            "tombstones",
            "ingest",
            ("kind", "id", "reason"),
            {
                "kind": Column(pl.String, "post or user", False, one_of=("post", "user")),
                "id": _id("of the post or user"),
                "gone_at": _time("when the service said so, or when it was asked to be forgotten", nullable=False),
                "reason": Column(pl.String, "why", False, one_of=("gone", "forgotten")),
            },
            "Posts and users that are gone; what is forgotten is never taken in again.",
        ),
        Table(
            "oracle",
            "ingest",
            ("post_id",),
            {
                "post_id": POST_ID,
                "oracle": Column(pl.Float64, "expected label given all that could be observed", False),
            },
            "Simulated sources only: the best possible prediction. Read by evaluation alone.",
        ),
        *(
            Table(
                f"quarantine/{stage}",
                stage,
                ("source", "record_sha256"),
                {
                    "source": Column(pl.String, "where the record came from", False),
                    "record_sha256": Column(pl.String, "of the raw record", False),
                    "record": Column(pl.Binary, "the raw record", False),
                    "reason": Column(pl.String, "why it could not be used", False),
                    "quarantined_at": _time("the night's or import's moment", nullable=False),
                },
                f"Records that {stage} could not use, with the reason.",
            )
            for stage in ("ingest", "embed")
        ),
        Table(
            "embeddings",
            "embed",
            ("post_id",),
            {
                "post_id": POST_ID,
                "encoder_version": Column(pl.String, "hash of weights, configuration and preprocessing", False),
                "input_sha256": Column(pl.String, "of the picture, of the text, or of both", False),
                "vector": Column(VECTOR, "as long as the encoder's; null where the input could not be embedded"),
            },
            "One folder per encoder, embeddings/<encoder>: a vector of each post's picture, its text, or both.",
        ),
        Table(
            "captions",
            "embed",
            ("post_id",),
            {
                "post_id": POST_ID,
                "captioner_version": Column(pl.String, "hash of weights, question and how it generates", False),
                "input_sha256": Column(pl.String, "of the picture and the text", False),
                "caption": Column(pl.String, "what the captioner says; null where the picture could not be read"),
            },
            "What a captioner (params embed.captions) says of each picture, told title and tags.",
        ),
        Table(
            "labels",
            "labels",
            ("post_id",),
            {
                "post_id": POST_ID,
                "popularity": Column(pl.Float64, "the label y, on the scale of params label.formula", False),
                "matured_at": _time("when it was known", nullable=False),
                "kind": Column(pl.String, "observed or imported", False, one_of=("observed", "imported")),
                "age_days": Column(pl.Float64, "age of the post when it was counted; null where imported", low=0),
            },
            "The labels known so far.",
        ),
        _states(
            "users",
            "the user",
            _facts("tags", "tags per post")
            | _facts("title_chars", "characters of the title")
            | _total("description_chars", "characters of the description")
            | {"geotagged": _count("posts with a place", False)}
            | _buckets("popularity", "labels")
            | {"tags_sketch": Column(SKETCH, "smallest hashes of the tags used")},
        ),
        _states("tags", "the tag", _sketch()),
        *(
            _states(name, meaning, _buckets("popularity", "labels") | _sketch())
            for name, meaning in (
                ("categories", "the category"),
                ("subcategories", "category and subcategory"),
                ("concepts", "the concept"),
                ("places", "the cell of one degree, as south:west"),
                ("calendar", "weekday and hour of posting, UTC, as 1-00 .. 7-23"),
                ("world", "`all`"),
            )
        ),
        Table(
            "features",
            "features",
            ("post_id",),
            {"post_id": POST_ID},
            "The model matrix; features/manifest.json names each column's group, kind and clock.",
            open_ended=True,
        ),
        Table(
            "predictions",
            "predict",
            ("post_id", "model"),
            {
                "post_id": POST_ID,
                "model": Column(pl.String, "recipe and content hash", False),
                "prediction": Column(pl.Float64, "expected label", False),
                "low": Column(pl.Float64, "lower end of the 80 % band", False),
                "high": Column(pl.Float64, "upper end of the 80 % band", False),
                "predicted_at": _time("the night's moment", nullable=False),
            },
            "Predictions of posts whose label is not known yet.",
        ),
    )
}


def table_named(name: str) -> Table:
    """The table a name stands for; `embeddings/<encoder>` is the table `embeddings`. KeyError if unknown."""
    return TABLES[name] if name in TABLES else TABLES[name.split("/")[0]]


def check(name: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows, conformed and checked against their table's schema.

    Raises CheckError with the first broken rule: column, value and how many rows. Checks an eager frame only:
    pandera looks at nothing but the types of a lazy one. It is asked only where something is amiss: of a night's 16
    small parts of states, its own work would take two thirds of the stage's time.
    """
    table = table_named(name)
    conformed = table.conform(rows)
    if _is_sound(table, conformed):
        return conformed
    import pandera.errors

    try:
        _pandera_schema(table).validate(conformed, lazy=True)
    except pandera.errors.SchemaErrors as error:
        worst = error.failure_cases.row(0, named=True)
        raise CheckError(
            f"table {name}: {error.failure_cases.height} values break the schema, first: column "
            f"{worst['column']}, rule {worst['check']}, value {worst['failure_case']}. Nothing was written."
        ) from None
    return conformed


def _is_sound(table: Table, rows: pl.DataFrame) -> bool:
    """Whether conformed rows keep every rule, in one pass."""
    rules, schema = [pl.struct(table.key).n_unique() == pl.len()], rows.schema
    for name, column in table.columns.items():
        values = pl.col(name)
        if not column.nullable:
            rules.append(values.is_not_null().all())
            rules += [values.is_not_nan().all()] if schema[name].is_float() else []
        if column.one_of is not None:
            rules.append(values.is_in(column.one_of).all())
        lowest = [bound for bound in (column.low, column.earliest) if bound is not None]
        rules += [(values >= bound).all() for bound in lowest]
        rules += [(values <= column.high).all()] if column.high is not None else []
    return bool(rows.select(pl.all_horizontal(rules)).item())


def _pandera_schema(table: Table) -> Any:
    import pandera.polars as pa

    columns = {}
    for name, column in table.columns.items():
        checks = []
        if column.low is not None:
            checks.append(pa.Check.ge(column.low))
        if column.high is not None:
            checks.append(pa.Check.le(column.high))
        if column.one_of is not None:
            checks.append(pa.Check.isin(column.one_of))
        if column.earliest is not None:
            checks.append(pa.Check.ge(column.earliest))
        # `conform` sees to the type of vectors, whose length pandera cannot know
        dtype = None if column.dtype == VECTOR else column.dtype
        columns[name] = pa.Column(dtype, checks, nullable=column.nullable)
    return pa.DataFrameSchema(columns, strict=not table.open_ended, unique=list(table.key))
