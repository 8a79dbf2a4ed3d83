"""The ingest step: which of a batch's rows are new, that none got lost, and into which months they go."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from flickcast.errors import CheckError
from flickcast.records import Batch
from flickcast.schemas import TABLES


@dataclass(frozen=True)
class NewRows:
    """What of a batch is not stored yet, one frame per table, each in the order of its key."""

    posts: pl.DataFrame
    users: pl.DataFrame
    observations: pl.DataFrame
    imported_labels: pl.DataFrame
    oracle: pl.DataFrame
    found: int
    known: int
    quarantined: int

    def counts(self) -> dict[str, int]:
        """The posts' conservation in numbers: found = stored + known + quarantined."""
        return {
            "found": self.found,
            "stored": self.posts.height,
            "known": self.known,
            "quarantined": self.quarantined,
        }


def split_known(batch: Batch, known: Mapping[str, pl.DataFrame]) -> NewRows:
    """The batch without the rows whose keys are stored already; `known` holds the key columns of some tables.

    Raises CheckError if posts got lost on the way: found = stored + known + quarantined.
    """
    rows = NewRows(
        posts=new_rows("posts", batch.posts, known),
        users=new_rows("users", batch.users, known),
        observations=new_rows("observations", batch.observations, known),
        imported_labels=new_rows("imported_labels", batch.imported_labels, known),
        oracle=new_rows("oracle", batch.oracle, known),
        found=batch.found,
        known=_known_posts(batch.posts, known),
        quarantined=len(batch.rejected),
    )
    if rows.found != rows.posts.height + rows.known + rows.quarantined:
        raise CheckError(
            f"{batch.source}: {rows.found} posts were found, but {rows.posts.height} are new, {rows.known} known and "
            f"{rows.quarantined} quarantined. Nothing was written; this is a fault of the source, please report it."
        )
    return rows


def new_rows(table: str, rows: pl.DataFrame, known: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The rows whose key is not known yet, in the order of the key."""
    key = list(TABLES[table].key)
    fresh = rows.join(known[table].select(key), on=key, how="anti") if table in known else rows
    return fresh.sort(key)


def partition_by_month(rows: pl.DataFrame, by: str) -> dict[str, pl.DataFrame]:
    """The rows by the UTC month of a column, under names such as `2016-02`, oldest first.

    >>> from datetime import datetime
    >>> list(partition_by_month(pl.DataFrame({"posted_at": [datetime(2016, 2, 29)]}), "posted_at"))
    ['2016-02']
    """
    months = rows.with_columns(pl.col(by).dt.strftime("%Y-%m").alias("_month"))
    parts = months.partition_by("_month", as_dict=True, include_key=False, maintain_order=True)
    return {str(month): part for (month,), part in sorted(parts.items())}


def posted_months(rows: pl.DataFrame, posts: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Rows with a post_id (labels, pictures, oracle) by the month in which their post was posted."""
    dated = rows.join(posts.select("post_id", "posted_at"), on="post_id", how="inner", maintain_order="left")
    return {month: part.drop("posted_at") for month, part in partition_by_month(dated, "posted_at").items()}


def _known_posts(posts: pl.DataFrame, known: Mapping[str, pl.DataFrame]) -> int:
    if "posts" not in known:
        return 0
    return posts.join(known["posts"].select("post_id"), on="post_id", how="semi").height
