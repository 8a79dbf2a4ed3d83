"""What every stage hands back, and records that cannot be used."""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Set
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, Protocol

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


def is_picture_record(record: bytes) -> bool:
    """Whether `quarantine_record` made it.

    >>> is_picture_record(quarantine_record("7", "a.jpg", b"")), is_picture_record(b'{"Pid": "7"}')
    (True, False)
    """
    return record.startswith(b'{"picture": ') and b"\n" in record


class Named(NamedTuple):
    """Whom a quarantined record is about or, where it does not say, the record itself."""

    post_id: str | None
    user_id: str | None
    unread: bytes = b""


POST_KEYS, USER_KEYS = ("post_id", "id", "Pid", "pid"), ("user_id", "owner", "Uid", "uid")  # of all our sources


def named_in(record: bytes) -> Named:
    """The post and the user that a record of the quarantine names.

    >>> named_in(quarantine_record("7", "a.jpg", b"broken")), named_in(b'{"photo": {"id": 7, "owner": "u"}}')
    (Named(post_id='7', user_id=None, unread=b''), Named(post_id='7', user_id='u', unread=b''))
    """
    try:
        content = json.loads(record.partition(b"\n")[0])
    except (ValueError, RecursionError):
        return Named(None, None, record)
    content = content.get("photo", content) if isinstance(content, dict) else None
    if not isinstance(content, dict):
        return Named(None, None, record)
    post_id, user_id = _first_text(content, POST_KEYS), _first_text(content, USER_KEYS)
    return Named(post_id, user_id, b"" if post_id or user_id else record)


def _first_text(content: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    for key in keys:
        value = content.get(key)
        value = value.get("_content") if isinstance(value, dict) else value
        if isinstance(value, (str, int)) and str(value).strip():
            return str(value).strip()
    return None


WORD = re.compile(rb"[A-Za-z0-9.@]+")  # what an id is made of; "_" and "-" part it from the rest of an address
BEYOND_ID = rb"(?<![A-Za-z0-9@\x80-\xff])(?:%b)(?![A-Za-z0-9@\x80-\xff])"


def mentioned(content: bytes, ids: Set[str]) -> set[str]:
    """The ids that stand in it whole; one of signs only, as "[", never does, because every text is full of them.

    >>> mentioned(b"https://host/7_z.jpg, 70, [VID-12]", {"7", "0", "VID-12", "VID-1", "["}) == {"7", "VID-12"}
    True
    """
    words = {word.strip(b".") for word in WORD.findall(content)}
    return {one for one in ids if (one.encode() in words if WORD.fullmatch(one.encode()) else _stands_in(content, one))}


def _stands_in(content: bytes, one: str) -> bool:
    """Of an id that is no word: as it is, or as JSON writes it, with no letter or digit before or after it."""
    if one.isascii() and not any(map(str.isalnum, one)):
        return False
    spellings = {re.escape(one.encode()), re.escape(json.dumps(one)[1:-1].encode())}
    return re.search(BEYOND_ID % b"|".join(sorted(spellings)), content) is not None


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

    def but(self, post_ids: Collection[str]) -> "PictureChunk":
        """Those of other posts."""
        rejected = tuple(one for one in self.rejected if named_in(one.record).post_id not in post_ids)
        return PictureChunk(self.images.filter(~pl.col("post_id").is_in(post_ids)), rejected)


class Pictures(Protocol):
    """The pictures of a batch, in chunks, read when one iterates; its length tells how many there are to be read."""

    def __iter__(self) -> Iterator[PictureChunk]:
        """Chunk by chunk."""

    def __len__(self) -> int:
        """How many."""

    def but(self, post_ids: Collection[str]) -> "Pictures":
        """Those of other posts: what is left out is never fetched."""


@dataclass(frozen=True)
class ReadPictures:
    """Pictures that have been read already; of a source without pictures: none."""

    chunks: tuple[PictureChunk, ...] = ()

    def __iter__(self) -> Iterator[PictureChunk]:
        return iter(self.chunks)

    def __len__(self) -> int:
        return sum(chunk.images.height + len(chunk.rejected) for chunk in self.chunks)

    def but(self, post_ids: Collection[str]) -> "Pictures":
        """Those of other posts."""
        return ReadPictures(tuple(chunk.but(post_ids) for chunk in self.chunks))


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
    pictures: Pictures = field(default_factory=ReadPictures)
    notes: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)  # of how it was got, for the night's report


@dataclass(frozen=True)
class Forgotten:
    """Who asked to be forgotten: nothing of these posts, nor of these users and their posts, is taken in again."""

    post_ids: frozenset[str] = frozenset()
    user_ids: frozenset[str] = frozenset()

    @property
    def ids(self) -> frozenset[str]:
        """Of posts and users."""
        return self.post_ids | self.user_ids

    def names(self, post_id: str | None, user_id: str | None = None, unread: bytes = b"") -> bool:
        """Whether a post, or a user, is among them, or a record that cannot be read mentions one of them."""
        return post_id in self.post_ids or user_id in self.user_ids or bool(unread and mentioned(unread, self.ids))

    def without(self, batch: Batch) -> tuple[Batch, int]:
        """The batch without them, and how many of the records it had found were theirs."""
        if not self.post_ids and not self.user_ids:
            return batch, 0
        is_theirs = pl.col("post_id").is_in(self.post_ids) | pl.col("user_id").is_in(self.user_ids)
        posts = batch.posts.filter(~is_theirs)
        gone = self.post_ids | set(batch.posts["post_id"]) - set(posts["post_id"])
        rejected = tuple(one for one in batch.rejected if not self.names(*named_in(one.record)))
        count = batch.posts.height - posts.height + len(batch.rejected) - len(rejected)
        by_post = ("observations", "imported_labels", "oracle")
        rest = {name: getattr(batch, name).filter(~pl.col("post_id").is_in(gone)) for name in by_post}
        kept = replace(
            batch,
            posts=posts,
            users=batch.users.filter(~pl.col("user_id").is_in(self.user_ids)),
            tombstones=batch.tombstones.filter(~_is_about(gone, self.user_ids)),
            rejected=rejected,
            found=batch.found - count,
            pictures=batch.pictures.but(gone),
            **rest,
        )
        return kept, count


def _is_about(post_ids: Collection[str], user_ids: Collection[str]) -> pl.Expr:
    """Of tombstones."""
    is_post = pl.col("kind") == "post"
    return (is_post & pl.col("id").is_in(post_ids)) | (~is_post & pl.col("id").is_in(user_ids))
