"""The ingest step: which posts of a batch are new, that none got lost, and into which months rows go."""

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from flickcast.errors import CheckError
from flickcast.records import Batch


@dataclass(frozen=True)
class NewRows:
    """The posts that are not stored yet, in the order of their ids, and what became of all that were found."""

    posts: pl.DataFrame
    counts: dict[str, int]


def split_known(batch: Batch, known_ids: Collection[str]) -> NewRows:
    """The new posts of a batch. Raises CheckError unless found = stored + known + quarantined (+ forgotten)."""
    is_known = batch.posts["post_id"].is_in(list(known_ids))
    known = int(is_known.sum())
    counts = {
        "found": batch.found,
        "stored": batch.posts.height - known,
        "known": batch.known + known,
        "quarantined": len(batch.rejected),
    }
    if batch.forgotten:
        counts["forgotten"] = batch.forgotten
    if counts["found"] != sum(count for name, count in counts.items() if name != "found"):
        raise CheckError(
            f"{batch.source}: {counts['found']} posts were found, but {counts['stored']} are new, {counts['known']} "
            f"known and {counts['quarantined']} quarantined. Nothing was written; this is a fault of the source."
        )
    return NewRows(batch.posts.filter(~is_known).sort("post_id"), counts)


def partition_by_month(rows: pl.DataFrame, by: str) -> list[tuple[str, pl.DataFrame]]:
    """The rows by the UTC month of a column, each part in the order of the rows, oldest month first.

    >>> from datetime import datetime
    >>> partition_by_month(pl.DataFrame({"posted_at": [datetime(2016, 2, 29)]}), "posted_at")[0][0]
    '2016-02'
    """
    months = rows.with_columns(pl.col(by).dt.strftime("%Y-%m").alias("_month"))
    parts = months.partition_by("_month", as_dict=True, include_key=False, maintain_order=True)
    return [(str(month), part) for (month,), part in sorted(parts.items(), key=lambda item: item[0])]
