"""Whatever the arrangement of uploads, limits and pages: what the service holds is found, each post once."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flickcast.params import IngestParams
from flickcast.sources.flickr_client import Answer, RefusedError, Verdict
from flickcast.sources.flickr_stretches import Stretch
from flickcast.sources.flickr_windows import Page, Walk
from flickcast.sources.journal import Journal, Session

START = 1_773_014_400  # 2026-03-09 00:00 UTC
LATER = datetime(2026, 4, 1, tzinfo=UTC)


@dataclass
class Search:
    """A search as the service's: inclusive bounds, a limit beyond which pages repeat, totals that stay the same."""

    photos: list[dict[str, Any]]
    max_results: int
    refuses_beyond: bool = False  # error 20 in place of repeated pages
    spoil: Callable[[int, list[dict[str, Any]]], list[dict[str, Any]]] = lambda call, photos: photos
    calls: int = 0
    offered: set[str] = field(default_factory=set)

    def call(self, method: str, expect: str, **asked: str | int) -> Answer:
        self.calls += 1
        found = [one for one in self.photos if self._matches(one, asked)]
        size, page = int(asked["per_page"]), int(asked["page"])
        start = (page - 1) * size
        if start >= self.max_results and len(found) > self.max_results:
            if self.refuses_beyond:
                raise RefusedError("offset too large", Verdict.SPLIT)
            start %= self.max_results
        listed = self.spoil(self.calls, found[start : min(start + size, max(self.max_results, start))])
        self.offered.update(one["id"] for one in listed)
        content = {"page": page, "pages": -(-len(found) // size), "total": str(len(found)), "photo": listed}
        return Answer(content, LATER, LATER)

    def fetch(self, url: str, expected: tuple[int, int] | None = None) -> bytes:
        raise AssertionError("a walk downloads nothing")

    def _matches(self, photo: dict[str, Any], asked: dict[str, str | int]) -> bool:
        inside = int(asked["min_upload_date"]) <= int(photo["dateupload"]) <= int(asked["max_upload_date"])
        axes = {"media": f"{photo['media']}s", "has_geo": photo["has_geo"], "license": photo["license"]}
        return inside and all(asked.get(axis, value) == value for axis, value in axes.items())


def walked(search: Search, stretch: Stretch, **params: Any) -> tuple[list[Page], Walk]:
    asked = IngestParams(max_results=search.max_results, **params)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal")
        walk = Walk(Session(search, search, journal), asked, LATER)
        pages = list(walk.pages(stretch, {}))
        journal.close()
    return pages, walk


def photo(number: int, second: int, cell: int = 0) -> dict[str, Any]:
    """`cell` says what axes it lies on: media, place, licence."""
    media, place, licence = cell % 2, cell // 2 % 2, cell // 4 % 17
    return {
        "id": str(number),
        "owner": "u",
        "dateupload": str(START + second),
        "media": ("photo", "video")[media],
        "has_geo": str(place),
        "license": str(licence),
    }


uploads = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 67)), max_size=150)
bursts = st.tuples(st.integers(0, 5000), st.integers(0, 120))  # so many posts in one second


@settings(max_examples=300, deadline=None)
@given(
    uploads=uploads,
    burst=bursts,
    max_results=st.integers(4, 60),
    per_page=st.integers(1, 60),
    smallest=st.integers(1, 60),
    refuses=st.booleans(),
    order=st.randoms(use_true_random=False),
)
def test_covered_is_what_was_offered_and_what_is_there(
    uploads: list[tuple[int, int]],
    burst: tuple[int, int],
    max_results: int,
    per_page: int,
    smallest: int,
    refuses: bool,
    order: Any,
) -> None:
    times = uploads + [(burst[0], number % 68) for number in range(burst[1])]
    photos = [photo(number, second, cell) for number, (second, cell) in enumerate(times)]
    order.shuffle(photos)
    search = Search(photos, max_results, refuses)
    stretch = Stretch(START, START + 4000)
    pages, walk = walked(search, stretch, per_page=per_page, smallest_window_seconds=smallest)
    covered = {one["id"] for page in pages for one in page.photos.values()}
    there = {one["id"] for one in photos if stretch.start <= int(one["dateupload"]) < stretch.end}
    assert covered == search.offered
    assert covered <= there
    if covered < there:  # only where even the smallest window's smallest part holds too much, and then it is said
        assert walk.notes()
        lost = [one for one in photos if one["id"] in there - covered]
        crowd = [other for other in photos for one in lost[:1] if is_near(one, other, smallest)]
        assert len(crowd) > max_results * 0.75


def is_near(one: dict[str, Any], other: dict[str, Any], seconds: int) -> bool:
    same = all(one[axis] == other[axis] for axis in ("media", "has_geo", "license"))
    return same and abs(int(one["dateupload"]) - int(other["dateupload"])) <= seconds


def test_a_spread_day_costs_little_more_than_its_pages() -> None:
    photos = [photo(number, number * 86_400 // 20_000) for number in range(20_000)]
    search = Search(photos, 4000)
    pages, _ = walked(search, Stretch(START, START + 86_400), per_page=500)
    assert len({one["id"] for page in pages for one in page.photos.values()}) == 20_000
    assert search.calls <= 1.2 * 20_000 / 500


def test_a_crowded_second_is_split_by_what_its_photos_are() -> None:
    photos = [photo(number, 7, number % 68) for number in range(300)]
    pages, walk = walked(Search(photos, 40), Stretch(START, START + 60), per_page=20, smallest_window_seconds=1)
    assert len({one["id"] for page in pages for one in page.photos.values()}) == 300
    assert walk.notes() == []


def test_a_page_that_repeats_another_is_asked_for_again() -> None:
    photos = [photo(number, number) for number in range(99)]
    search = Search(photos, 4000)
    first: list[dict[str, Any]] = []

    def repeat_once(call: int, listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
        first[:] = listed if call == 1 else first
        return first if call == 3 else listed

    search.spoil = repeat_once
    pages, walk = walked(search, Stretch(START, START + 200), per_page=20)
    assert len({one["id"] for page in pages for one in page.photos.values()}) == 99
    assert (search.calls, walk.notes()) == (6, [])


@pytest.mark.parametrize("lie", [1, 3900, 10**9])
def test_a_total_that_lies_loses_nothing(lie: int) -> None:
    photos = [photo(number, number) for number in range(95)]
    search = Search(photos, 4000)
    honest = search.call

    def lying(method: str, expect: str, **asked: str | int) -> Answer:
        answer = honest(method, expect, **asked)
        if search.calls == 1:
            answer.content.update(total=lie, pages=-(-lie // 10))
        return answer

    search.call = lying  # type: ignore[method-assign]
    pages, _ = walked(search, Stretch(START, START + 200), per_page=10)
    assert len({one["id"] for page in pages for one in page.photos.values()}) == 95
