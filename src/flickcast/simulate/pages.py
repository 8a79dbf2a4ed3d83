"""A page of a search's result, and the ways in which a service gets it wrong."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import TypeAlias

Bend: TypeAlias = "Callable[[Page], Page]"


@dataclass(frozen=True)
class PageLimits:
    """How much a search gives: beyond `results` it repeats itself."""

    per_page: int = 100
    most_per_page: int = 500
    results: int = 4000


@dataclass(frozen=True)
class Page:
    """What an answer lists: places in the whole result of `found` posts."""

    found: int
    number: int
    per_page: int
    limits: PageLimits
    places: list[int]
    total: int | str  # as told
    has_list: bool = True

    @property
    def pages(self) -> int:
        """How many pages there are, by the total that is told."""
        return -(-int(self.total) // self.per_page)


def page_of(found: int, arguments: Mapping[str, str], limits: PageLimits) -> Page:
    """The page that is asked for. Searches of one user's posts give the total as text, others as a number."""
    per_page, number = paging(arguments, limits.per_page, limits.most_per_page)
    total = str(found) if arguments.get("user_id") else found
    return Page(found, number, per_page, limits, _places(found, number, per_page, limits), total)


def paging(arguments: Mapping[str, str], usual: int, most: int) -> tuple[int, int]:
    """Records per page and page; what is no number counts as not given, as with the real API."""
    per_page, page = (arguments.get(name, "") for name in ("per_page", "page"))
    wanted = int(per_page) if per_page.isdecimal() else usual
    return min(max(wanted, 1), most), max(int(page) if page.isdecimal() else 1, 1)


def _places(found: int, number: int, per_page: int, limits: PageLimits) -> list[int]:
    """Pages past the limit show those of the beginning once more."""
    first = (number - 1) * per_page
    last = first + per_page
    if found > limits.results:
        first %= limits.results
        last = min(first + per_page, limits.results)
    return list(range(first, min(last, found)))


def _repeated(page: Page, random: Random) -> Page:
    earlier = random.randrange(1, page.number)
    return replace(page, places=_places(page.found, earlier, page.per_page, page.limits))


def _shrunk(page: Page, random: Random) -> Page:
    kept = int(len(page.places) * random.uniform(0.5, 0.95))
    return replace(page, places=sorted(random.sample(page.places, kept)))


def _more(page: Page, random: Random) -> Page:
    return replace(page, total=random.choice((int, str))(page.found * 3 // 2 + 7))


def _fewer(page: Page, random: Random) -> Page:
    return replace(page, total=random.choice((int, str))(page.found // 2))


def _with_duplicates(page: Page, random: Random) -> Page:
    """Up to three posts of the page before, and some of its own once more."""
    first = page.places[0] if page.places else 0
    before = list(range(max(0, first - 3), first))
    again = random.sample(page.places, min(3, len(page.places)))
    return replace(page, places=before + page.places + again)


def _moved(page: Page, random: Random) -> Page:
    """A post before this page is gone, so that all others move up: this page's first is now on the page before."""
    return replace(page, places=[place + 1 for place in page.places if place + 1 < page.found])


def _shuffled(page: Page, random: Random) -> Page:
    return replace(page, places=random.sample(page.places, len(page.places)))


BENT: dict[str, Callable[[Page, Random], Page]] = {
    "photo-missing": lambda page, random: replace(page, has_list=False),
    "page-repeated": _repeated,
    "page-shrunk": _shrunk,
    "total-up": _more,
    "total-down": _fewer,
    "duplicates": _with_duplicates,
    "post-moved": _moved,
    "rough-order": _shuffled,
}
NOT_ON_THE_FIRST = ("page-repeated", "post-moved")  # there is no page before it
