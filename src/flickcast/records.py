"""What every stage hands back, and records that cannot be used."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Protocol

import polars as pl

from flickcast.schemas import TABLES


@dataclass(frozen=True)
class StageReport:
    """What a stage did, in numbers: shown to people, given to machines, kept in the night's summary."""

    stage: str
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For `--json` and the night's summary."""
        return asdict(self)


@dataclass(frozen=True)
class Rejected:
    """A record that could not be used: its raw bytes and the reason, in a user's words.

    `identity` says which record it is where its bytes change from one answer to the next (counts of views do).
    """

    record: bytes
    reason: str
    identity: bytes | None = None


def quarantine_record(post_id: str, place: str, content: bytes) -> bytes:
    """A picture's bytes behind one line of JSON that says whose it is: two posts with one broken file are two rows."""
    return json.dumps({"post_id": post_id, "picture": place}, sort_keys=True).encode() + b"\n" + content


def quarantine_rows(stage: str, source: str, rejected: list[Rejected], moment: datetime) -> pl.DataFrame:
    """Rows for the table `quarantine/<stage>`; the same record rejected twice is one row."""
    table = TABLES[f"quarantine/{stage}"]
    rows = [
        {
            "source": source,
            "record_sha256": hashlib.sha256(item.identity or item.record).hexdigest(),
            "record": item.record,
            "reason": item.reason,
            "quarantined_at": moment,
        }
        for item in rejected
    ]
    return pl.DataFrame(rows, schema=table.dtypes()).unique("record_sha256", maintain_order=True)


@dataclass(frozen=True)
class PictureChunk:
    """Some pictures of a batch, as rows of the table `images`, and those that are no pictures."""

    images: pl.DataFrame
    rejected: tuple[Rejected, ...] = ()


class Pictures(Protocol):
    """The pictures of a batch, in chunks, read when one iterates; its length tells how many there are to be read."""

    def __iter__(self) -> Iterator[PictureChunk]:
        """Chunk by chunk."""

    def __len__(self) -> int:
        """How many."""


@dataclass(frozen=True)
class Batch:
    """What a source hands over: rows of the source tables, all that it could not use, and its pictures one by one.

    `found` counts the post records seen, so that found = posts + rejected posts holds for every source; one that knows
    what is stored leaves that out, and what is to be forgotten, and counts it in `known` and `forgotten`.
    """

    source: str
    posts: pl.DataFrame
    users: pl.DataFrame
    found: int
    known: int = 0
    forgotten: int = 0
    observations: pl.DataFrame = field(default_factory=TABLES["observations"].empty)
    imported_labels: pl.DataFrame = field(default_factory=TABLES["imported_labels"].empty)
    oracle: pl.DataFrame = field(default_factory=TABLES["oracle"].empty)
    tombstones: pl.DataFrame = field(default_factory=TABLES["tombstones"].empty)
    rejected: tuple[Rejected, ...] = ()
    pictures: Pictures = ()
    notes: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)  # of how it was got, for the night's report
