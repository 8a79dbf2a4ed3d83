"""What a night's walk brought: new posts, counts, and what is no post; kept as columns, page by page."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from flickcast.params import IngestParams
from flickcast.records import Forgotten, Rejected
from flickcast.schemas import TABLES, TIME
from flickcast.sources.flickr_client import Answer
from flickcast.sources.flickr_parse import (
    ENOUGH_PHOTOS,
    Row,
    expected_size,
    missing_extras,
    observation_from_photo,
    post_from_photo,
    rejected_photo,
    text,
    unix_time,
)
from flickcast.sources.flickr_stretches import Span
from flickcast.sources.flickr_windows import Page

Moments = Callable[[Answer], datetime]
COUNTS = ("views", "faves", "comments")


@dataclass(frozen=True)
class Memory:
    """What is known here already: so that nothing is asked for or stored twice."""

    posts: pl.DataFrame = field(
        default_factory=lambda: TABLES["posts"].empty().select("post_id", "user_id", "posted_at")
    )
    users: pl.DataFrame = field(
        default_factory=lambda: TABLES["users"].empty().select("user_id", "observed_at", "photo_count")
    )
    tombstones: pl.DataFrame = field(default_factory=TABLES["tombstones"].empty)
    forgotten: Forgotten = field(default_factory=Forgotten)
    posts_per_second: Sequence[float] | None = None  # by hour of the day, as earlier nights found it

    @property
    def known_since(self) -> datetime | None:
        """When the oldest known post was uploaded."""
        oldest = self.posts["posted_at"].min()
        return oldest if isinstance(oldest, datetime) else None

    def gone(self, kind: str) -> set[str]:
        """The posts or users that have a tombstone."""
        return set(self.tombstones.filter(pl.col("kind") == kind)["id"])


class Found:
    """What a walk brought, page by page: as columns, because a night may list a hundred thousand posts."""

    def __init__(self, params: IngestParams, memory: Memory, span: Span) -> None:
        self._params = params
        self._forgotten = memory.forgotten
        self._known = set(memory.posts["post_id"])
        self._first_second = int(span.older_by(0).start)
        self._seconds = span.older_by(0).seconds
        self._usable: set[str] = set()
        self._answers: list[Answer] = []
        self._posts: list[pl.DataFrame] = []
        self._counts: list[pl.DataFrame] = []
        self._rejected: dict[str, tuple[Any, str, int]] = {}
        self._lacking: set[str] | None = None
        self.post_ids: set[str] = set()
        self.sizes: dict[str, tuple[int, int] | None] = {}
        self.hours = [0] * 24
        self.known = self.forgotten = 0

    @property
    def count(self) -> int:
        """How many different posts were listed."""
        return len(self._usable) + len(self._rejected)

    def add(self, page: Page) -> None:
        """Take in what no earlier page had."""
        place = len(self._answers)
        self._answers.append(Answer({}, page.answer.at, page.answer.received_at))
        if page.listed >= ENOUGH_PHOTOS:
            lacking = set(missing_extras(page.photos.values()))
            self._lacking = lacking if self._lacking is None else self._lacking & lacking
        rows: list[Row] = []
        counts: list[Row] = []
        for key, photo in page.photos.items():
            if key not in self._usable:
                self._add_photo(key, photo, place, rows, counts)
        self._posts += [frame("posts", rows).with_columns(_place=pl.lit(place, pl.Int32))] if rows else []
        self._counts += [counted(counts).with_columns(_place=pl.lit(place, pl.Int32))] if counts else []

    def _add_photo(self, key: str, photo: Any, place: int, rows: list[Row], counts: list[Row]) -> None:
        post_id = text(photo.get("id")) if isinstance(photo, dict) else None
        if post_id and self._forgotten.names(post_id, text(photo.get("owner"))):
            self.forgotten += 1
            self._usable.add(key)
            return
        moment = self._answers[place].received_at
        if post_id in self._known:
            self.known += 1
        else:
            row = post_from_photo(photo, moment, self._params.image_size)
            if isinstance(row, str):
                self._rejected.setdefault(key, (photo, row, place))
                return
            rows.append(row)
            self.sizes[row["post_id"]] = expected_size(photo, self._params.image_size)
        self._rejected.pop(key, None)  # an earlier answer had it damaged
        self._usable.add(key)
        self.post_ids.add(str(post_id))
        self._count_hour(unix_time(photo.get("dateupload")))
        counts.append(observation_from_photo(photo, moment))

    def _count_hour(self, posted_at: datetime | None) -> None:
        second = int(posted_at.timestamp()) - self._first_second if posted_at else -1
        if posted_at and 0 <= second < self._seconds:
            self.hours[posted_at.hour] += 1

    @property
    def owners(self) -> pl.DataFrame:
        """The user of each new post."""
        return pl.concat([TABLES["posts"].empty(), *(rows.drop("_place") for rows in self._posts)]).select("user_id")

    def posts(self, moment: Moments) -> tuple[pl.DataFrame, tuple[Rejected, ...]]:
        """The new posts by id, and what is no post; each at the moment of its answer."""
        times = [moment(answer) for answer in self._answers]
        ordered = [self._rejected[key] for key in sorted(self._rejected)]
        rejected = tuple(rejected_photo(photo, reason, times[place]) for photo, reason, place in ordered)
        return _timed("posts", self._posts, times, "first_seen_at"), rejected

    def observations(self, moment: Moments) -> pl.DataFrame:
        """What was counted on every usable post, new or known."""
        return _timed("observations", self._counts, [moment(answer) for answer in self._answers], "observed_at")

    def notes(self) -> list[str]:
        """What we rely on and no photo had."""
        if not self._lacking:
            return []
        return [f"Not one post came with {', '.join(sorted(self._lacking))}: has the service changed?"]


def frame(table: str, rows: list[Row]) -> pl.DataFrame:
    """Rows in the order of the table's key."""
    return pl.DataFrame(rows, schema=TABLES[table].dtypes()).sort(TABLES[table].key)


def counted(rows: Iterable[Row]) -> pl.DataFrame:
    """Rows of `observations`, those without any count left out."""
    return frame("observations", [row for row in rows if any(row[name] is not None for name in COUNTS)])


def once(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in the order of the table's key, each key once."""
    key = TABLES[table].key
    return rows.sort(key).unique(key, keep="first", maintain_order=True)


def _timed(table: str, frames: list[pl.DataFrame], times: list[datetime], column: str) -> pl.DataFrame:
    """The rows of all answers, each at the moment of its own."""
    if not frames:
        return TABLES[table].empty()
    moments = pl.DataFrame({"_place": pl.Series(range(len(times)), dtype=pl.Int32), column: times}).cast({column: TIME})
    rows = pl.concat(frames).drop(column).join(moments, on="_place", how="left")
    return once(table, TABLES[table].conform(rows.drop("_place")))
