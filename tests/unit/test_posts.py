"""The ingest step: conservation, what is known already, months."""

from datetime import UTC, datetime

import polars as pl
import pytest

from flickcast.errors import CheckError
from flickcast.posts import partition_by_month, split_known
from flickcast.records import Batch, Rejected
from flickcast.schemas import TABLES

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


def batch(*post_ids: str, found: int, rejected: int = 0) -> Batch:
    rows = [
        {"post_id": i, "source": "flickr", "user_id": "u", "posted_at": MOMENT, "first_seen_at": MOMENT}
        for i in post_ids
    ]
    posts = pl.DataFrame(rows, schema=TABLES["posts"].dtypes())
    bad = tuple(Rejected(str(i).encode(), "no time") for i in range(rejected))
    return Batch("flickr", posts, TABLES["users"].empty(), found=found, rejected=bad)


def test_found_is_stored_plus_known_plus_quarantined() -> None:
    new = split_known(batch("c", "a", "b", found=5, rejected=2), {"b", "elsewhere"})
    assert new.counts == {"found": 5, "stored": 2, "known": 1, "quarantined": 2}
    assert new.posts["post_id"].to_list() == ["a", "c"]


def test_a_lost_post_is_an_error() -> None:
    with pytest.raises(CheckError, match="4 posts were found, but 1 are new, 1 known and 1 quarantined"):
        split_known(batch("a", "b", found=4, rejected=1), {"a"})


def test_the_same_batch_again_brings_nothing() -> None:
    assert split_known(batch("a", "b", found=2), {"a", "b"}).counts["stored"] == 0


def test_months_are_in_utc_and_oldest_first() -> None:
    late, early = datetime(2016, 3, 1, 0, 0, tzinfo=UTC), datetime(2016, 2, 29, 23, 59, 59, tzinfo=UTC)
    rows = pl.DataFrame({"post_id": ["a", "b", "c"], "posted_at": [late, early, late]})
    parts = [(month, part["post_id"].to_list(), part.columns) for month, part in partition_by_month(rows, "posted_at")]
    columns = ["post_id", "posted_at"]
    assert parts == [("2016-02", ["b"], columns), ("2016-03", ["a", "c"], columns)]


def test_no_rows_are_no_months() -> None:
    assert partition_by_month(TABLES["posts"].empty(), "posted_at") == []
