"""The photos of a stretch of upload time, window by window: the service gives only so many results to one search.

A window is as wide as the density of posts allows, learned while walking. What a window's search cannot give is split:
by time, then, at the smallest window, by what photos are (media, place, licence). What is still too much is a loss,
and said.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flickcast.errors import TryAgainError, UserError
from flickcast.params import IngestParams
from flickcast.sources.flickr_client import Answer, RefusedError, Verdict
from flickcast.sources.flickr_density import Density
from flickcast.sources.flickr_parse import EXTRAS, count, photo_key
from flickcast.sources.flickr_stretches import Filters, Stretch
from flickcast.sources.journal import Session

MARGIN = 0.95  # split a window at this share of the limit: more records arrive than `total` says
TARGET = 0.8  # of the limit: how full the next window shall be
MOST_IDLE_ANSWERS = 3  # in a row, with nothing new: an empty page is not the end, but a service may have no end
MOST_BROKEN = 5  # windows in a row that always fail: is it them, or all searches?
ASKED_WHETHER_OVER = 3  # answers that must say so before we believe that the night is not over: one clock may be wrong
NO_SUCH_USER = (Verdict.SKIP, Verdict.GONE)  # answers to a search for a user's posts
# At the smallest window: each axis cuts what is left into disjoint parts.
AXES: dict[str, tuple[str, ...]] = {
    "media": ("photos", "videos"),
    "has_geo": ("0", "1"),
    "license": tuple(str(number) for number in range(17)),
}


@dataclass(frozen=True)
class Page:
    """The photos of one answer, each listed thing once, under its key."""

    photos: dict[str, Any]
    answer: Answer
    total: int
    pages: int
    listed: int


@dataclass
class Walk:
    """One night's walk. `told` and `read` count the posts that windows were said to hold and those that came."""

    session: Session
    params: IngestParams
    night_ends: datetime
    density: Density = field(default_factory=Density)
    told: int = 0
    read: int = 0
    losses: list[tuple[Stretch, int, int]] = field(default_factory=list)
    broken: list[Stretch] = field(default_factory=list)
    unknown_users: set[str] = field(default_factory=set)
    _told_over: Answer | None = None
    _broken_in_a_row: int = 0
    _working: tuple[Stretch, Filters] | None = None
    _failure: str = ""

    def pages(
        self, stretch: Stretch, filters: Filters, covered: Callable[[int], None] = lambda seconds: None
    ) -> Iterator[Page]:
        """Every page of a stretch; `covered` is told the seconds of each finished window.

        UserError if the service's own clock has not reached the end of the night: what is still to be posted would be
        missed for ever.
        """
        start, widest = stretch.start, stretch.seconds
        while start < stretch.end:
            width = self.density.width(start, TARGET * self.params.max_results, min(widest, stretch.end - start))
            window = Stretch(start, min(start + max(width, self._smallest), stretch.end))
            reading = _Reading(self, window, filters)
            yield from reading.pages()
            if not reading.is_broken:
                most = max(reading.total, self.params.max_results)  # refused as too much, it told no total
                self.density.learn(window, most if reading.is_too_much else len(reading.ids))
            if reading.is_too_much:
                widest = window.seconds // 2
                continue
            self._note(reading)
            covered(window.seconds)
            start, widest = window.end, self.left_broken if reading.is_broken else stretch.seconds

    def notes(self) -> list[str]:
        """What the service told of and did not give, and where it failed; nothing where it gave all."""
        return [*self._lost(), *self._broken(), *self._unknown()]

    def _broken(self) -> list[str]:
        if not self.broken:
            return []
        seconds = sum(window.seconds for window in self.broken)
        return [
            f"{_moment(self.broken[0])} and {len(self.broken) - 1} more windows, {seconds} s in all, could not be "
            f"read: the service answers other calls and fails at these. {self._again}"
        ]

    def _unknown(self) -> list[str]:
        if not self.unknown_users:
            return []
        return [
            f"{', '.join(sorted(self.unknown_users))}: the service knows no such user now. Unless they come back, take "
            "them out of ingest.sampling.users."
        ]

    @property
    def _again(self) -> str:
        return f"Nights ask again for what is less than {self.params.requery_hours} hours old."

    def _lost(self) -> list[str]:
        if not self.losses:
            return []
        first = self.losses[0][0]
        more = f" and {len(self.losses) - 1} more windows" if len(self.losses) > 1 else ""
        told, read = sum(loss[1] for loss in self.losses), sum(loss[2] for loss in self.losses)
        return [
            f"{_moment(first)}, {first.seconds} s{more}: the service holds "
            f"{told} posts and lets us read {read}. {self._again}"
        ]

    def ask(self, window: Stretch, filters: Filters, number: int) -> Page | Verdict:
        """One page of a window, or why there is none.

        Too many results (SPLIT), a search that always fails (RETRY), or one for a user who is unknown (SKIP, GONE).
        TryAgainError where the service fails at everything, not at this search only.
        """
        try:
            answer = self._search(window, filters, number)
        except RefusedError as error:
            if error.verdict is Verdict.SPLIT:
                self._failure = f"{error} Nothing is lost: run the same command later."
            elif "user_id" not in filters or error.verdict not in NO_SUCH_USER:
                raise
            return error.verdict
        except TryAgainError as error:
            if not self.session.is_alive():
                raise
            self._failure = str(error)
            return Verdict.RETRY
        photos = answer.content.get("photo")
        listed = photos if isinstance(photos, list) else []
        total, pages = (count(answer.content.get(name)) or 0 for name in ("total", "pages"))
        return Page({photo_key(photo): photo for photo in listed}, answer, total, pages, len(listed))

    def _search(self, window: Stretch, filters: Filters, number: int) -> Answer:
        for _ in range(ASKED_WHETHER_OVER):
            answer = self.session.call(
                "flickr.photos.search",
                "photos",
                min_upload_date=window.start,
                max_upload_date=window.end - 1,  # both bounds are inclusive
                sort="date-posted-asc",
                per_page=self.params.per_page,
                page=number,
                extras=EXTRAS,
                **filters,
            )
            now = answer.at or answer.received_at
            if now >= self.night_ends:
                self._told_over = self._told_over or answer
            if self._told_over:
                return answer
        raise self._too_early(now)

    def check_again(self) -> None:
        """UserError if the answer that told that the night is over was alone: call it when most have told the time."""
        if self._told_over and (now := self.session.moment(self._told_over)) < self.night_ends:
            raise self._too_early(now)

    def _too_early(self, now: datetime) -> UserError:
        self.session.done()  # asked again later, the night must not be told the same from the journal
        return UserError(
            f"the night is not over: it ends at {self.night_ends:%Y-%m-%d %H:%M} and the service's clock reads "
            f"{now:%Y-%m-%d %H:%M} UTC. Ask for an earlier night, or again later; nothing was stored."
        )

    @property
    def _smallest(self) -> int:
        return self.params.smallest_window_seconds

    @property
    def left_broken(self) -> int:
        """The longest window that is left where its search fails: they double, so that days of them take few calls."""
        return self._smallest << self._broken_in_a_row

    def _note(self, reading: "_Reading") -> None:
        self.told += max(reading.total, len(reading.ids))
        self.read += len(reading.ids)
        self.broken += [reading.window] if reading.is_broken else []
        if len(reading.ids) < reading.total:
            self.losses.append((reading.window, reading.total, len(reading.ids)))
        if not reading.is_broken:
            self._broken_in_a_row, self._working = 0, (reading.window, reading.filters)
            return
        self._broken_in_a_row += 1
        if self._broken_in_a_row >= MOST_BROKEN:
            self._refuse_dead_search()

    def _refuse_dead_search(self) -> None:
        """TryAgainError unless a search that has worked tonight works still: what nobody can search is not empty."""
        if self._working is None:
            raise TryAgainError(f"no search works, though the service answers other calls: {self._failure}")
        self._search(*self._working, 1)


class _Reading:
    """One window, page by page. What `is_too_much` was read in part only, and must be asked for in smaller windows."""

    def __init__(self, walk: Walk, window: Stretch, filters: Filters) -> None:
        self._walk = walk
        self.window = window
        self.filters = filters
        self.ids: set[str] = set()
        self.total = 0
        self.is_too_much = False
        self.is_broken = False

    def pages(self) -> Iterator[Page]:
        """The pages, and what they tell of the window as a whole in `ids`, `total` and `is_too_much`."""
        is_whole = yield from self._read()
        if is_whole:
            return
        smallest = self._walk.left_broken if self.is_broken else self._walk.params.smallest_window_seconds
        if self.window.seconds > smallest:
            self.is_too_much = True
            return
        if self.is_broken:
            return
        axis = next((name for name in AXES if name not in self.filters), None)
        self.is_broken = axis is None and not self.total  # refused as too much to the last: nobody said how much
        for value in AXES[axis] if axis else ():
            part = _Reading(self._walk, self.window, {**self.filters, str(axis): value})
            yield from part.pages()
            self.ids |= part.ids
            self.is_broken |= part.is_broken

    def _read(self) -> Generator[Page, None, bool]:
        """The pages; returns whether they are all there are."""
        params = self._walk.params
        number, listed, idle = 1, 0, 0
        while listed < params.max_results:  # what lies beyond is said again from the beginning
            page = self._walk.ask(self.window, self.filters, number)
            if page in NO_SUCH_USER:
                self._walk.unknown_users.add(self.filters["user_id"])
                return True
            if isinstance(page, Verdict):
                self.is_broken = page is Verdict.RETRY
                return False
            yield page
            self.total = self.total or page.total
            is_idle = self.ids.issuperset(page.photos)
            self.ids.update(page.photos)
            if self.total > MARGIN * params.max_results and self._can_split:
                return False
            if number >= page.pages and page.listed < params.per_page:
                return True
            idle = idle + 1 if is_idle else 0
            if idle == MOST_IDLE_ANSWERS:
                return True
            listed += page.listed
            number += 0 if idle == 1 else 1  # nothing new may be a slip of the service: ask once more
        return False

    @property
    def _can_split(self) -> bool:
        smallest = self._walk.params.smallest_window_seconds
        return self.window.seconds > smallest or any(axis not in self.filters for axis in AXES)


def _moment(window: Stretch) -> str:
    return f"{datetime.fromtimestamp(window.start, UTC):%Y-%m-%d %H:%M:%S}"
