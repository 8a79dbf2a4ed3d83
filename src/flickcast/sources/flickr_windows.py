"""The photos of a stretch of time, window by window: the service gives only so many results to one search."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flickcast.errors import UserError
from flickcast.params import IngestParams
from flickcast.sources.flickr_client import FlickrClient, RefusedError, Verdict
from flickcast.sources.flickr_parse import EXTRAS, count, text

MARGIN = 0.75  # split a window at this share of the limit: more records arrive than `total` says
MOST_EMPTY_PAGES = 3  # in a row: an empty page is not the end, but a service may have no end


@dataclass(frozen=True)
class Sighting:
    """A photo as one answer showed it, and the time of that answer."""

    photo: Any
    seen_at: datetime


@dataclass(frozen=True)
class _Page:
    """One page of a window: how many photos and pages there are in all, the records listed, and the photos by id."""

    total: int
    pages: int
    listed: int
    photos: dict[str, Sighting]


def photos_between(
    client: FlickrClient, params: IngestParams, start: datetime, end: datetime
) -> tuple[dict[str, Sighting], list[str]]:
    """Photos posted in [start, end), by id, each once (the service repeats itself), and notes on what is missed.

    UserError if the service's own clock has not reached the end: what is still to be posted would be missed for ever.
    """
    stretch = _Stretch(client, params, end)
    windows = [(int(start.timestamp()), int(end.timestamp()) - 1)]  # both bounds are inclusive
    while windows:
        first, last = windows.pop()
        if first <= last and stretch.read(first, last):
            middle = (first + last) // 2
            windows += [(middle + 1, last), (first, middle)]
    return dict(sorted(stretch.found.items())), stretch.notes()


class _Stretch:
    """What is found so far, and the windows that gave fewer photos than they hold."""

    def __init__(self, client: FlickrClient, params: IngestParams, end: datetime) -> None:
        self._client = client
        self._params = params
        self._end = end
        self.found: dict[str, Sighting] = {}
        self._lossy: list[tuple[int, int, int, int]] = []

    def read(self, first: int, last: int) -> bool:
        """Read a window page by page into `found`; True if it holds too much and must be split instead."""
        can_split = last - first + 1 > self._params.smallest_window_seconds
        read: set[str] = set()
        number, listed, empty = 1, 0, 0
        while True:
            page = self._page(first, last, number)
            if page is None and can_split:
                return True
            page = page or _Page(self._params.max_results + 1, number, 0, {})
            if number == 1 and page.total > MARGIN * self._params.max_results and can_split:
                return True
            is_repeating = bool(page.photos) and read.issuperset(page.photos)
            read.update(page.photos)
            self.found.update({key: photo for key, photo in page.photos.items() if key not in self.found})
            listed += page.listed
            empty = 0 if page.photos else empty + 1
            has_all = number >= page.pages or listed >= self._params.max_results
            if has_all or is_repeating or empty == MOST_EMPTY_PAGES:
                self._lossy += [(first, last, page.total, len(read))] if len(read) < page.total else []
                return False
            number += 1

    def _page(self, first: int, last: int, number: int) -> _Page | None:
        """One page of a window; None if the service says that there are too many results."""
        try:
            answer = self._client.call(
                "flickr.photos.search",
                "photos",
                min_upload_date=first,
                max_upload_date=last,
                sort="date-posted-asc",
                per_page=self._params.per_page,
                page=number,
                extras=EXTRAS,
            )
        except RefusedError as error:
            if error.verdict is Verdict.SPLIT:
                return None
            raise
        self._require_over(answer.at)
        photos = answer.content.get("photo")
        listed = photos if isinstance(photos, list) else []
        sightings = {_key(photo): Sighting(photo, answer.at) for photo in listed}
        total, pages = (count(answer.content.get(name)) or 0 for name in ("total", "pages"))
        return _Page(total, pages, len(listed), sightings)

    def _require_over(self, now: datetime) -> None:
        if now < self._end:
            raise UserError(
                f"the night is not over: it ends at {self._end:%Y-%m-%d %H:%M} and the service's clock reads "
                f"{now:%Y-%m-%d %H:%M} UTC. Ask for an earlier night, or again later; nothing was stored."
            )

    def notes(self) -> list[str]:
        """One line on all the posts that the service told of and did not give, none where it gave all."""
        if not self._lossy:
            return []
        first, last, _, _ = self._lossy[0]
        more = f" and {len(self._lossy) - 1} more windows" if len(self._lossy) > 1 else ""
        total, read = (sum(window[place] for window in self._lossy) for place in (2, 3))
        return [
            f"{datetime.fromtimestamp(first, UTC):%Y-%m-%d %H:%M:%S}, {last - first + 1} s{more}: the service holds "
            f"{total} posts and lets us read {read}; the others are missed."
        ]


def _key(photo: Any) -> str:
    """What a photo is deduplicated by: its id, or all of it where it has none."""
    own = text(photo.get("id")) if isinstance(photo, dict) else None
    return own or json.dumps(photo, sort_keys=True)
