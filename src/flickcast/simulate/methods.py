"""The methods of the simulated service: arguments in, the answer's body out, refused with the real API's codes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import numpy as np
import polars as pl

from flickcast.simulate import answers
from flickcast.simulate.answers import Json
from flickcast.simulate.law import Integers
from flickcast.simulate.matching import Arguments, RefusedError, matching
from flickcast.simulate.oracle import evidence_until, expected
from flickcast.simulate.world import World

LIMITING = ("user_id", "tags", "text", "min_upload_date", "max_upload_date")
MOST_CONTACTS = 1000


@dataclass
class Clock:
    """The service's present: nothing after it exists yet."""

    now: datetime


@dataclass(frozen=True)
class PageLimits:
    """How much a search gives: beyond `results` it repeats itself."""

    per_page: int = 100
    most_per_page: int = 500
    results: int = 4000


@dataclass
class Ledger:
    """What was asked and offered since the service started."""

    calls: Counter[str] = field(default_factory=Counter)
    offered: set[str] = field(default_factory=set)


class Simulation:
    """A world at a moment, and what was asked of it."""

    def __init__(self, world: World, clock: Clock, limits: PageLimits) -> None:
        self.world, self.clock, self.limits = world, clock, limits
        self.ledger = Ledger()
        self._numbers: tuple[datetime, pl.DataFrame] | None = None
        self._evidence: tuple[int, pl.DataFrame] | None = None

    @cached_property
    def places(self) -> dict[str, int]:
        """User id to row of the users."""
        return {user_id: row for row, user_id in enumerate(self.world.users.profiles["user_id"])}

    @property
    def user_numbers(self) -> pl.DataFrame:
        """Profile counts of now."""
        if self._numbers is None or self._numbers[0] != self.clock.now:
            self._numbers = (self.clock.now, self.world.user_numbers(self.clock.now))
        return self._numbers[1]

    @property
    def evidence(self) -> pl.DataFrame:
        """What the labels known by now tell of users."""
        day = self.world.day_of(self.clock.now)
        if self._evidence is None or self._evidence[0] != day:
            self._evidence = (day, evidence_until(self.world, day))
        return self._evidence[1]

    def call(self, arguments: Arguments, base_url: str) -> Json:
        """The body that answers a call; `stat` says whether it worked."""
        method = arguments.get("method", "")
        self.ledger.calls[method] += 1
        try:
            if not arguments.get("api_key"):
                raise RefusedError(100, "Invalid API Key (Key has invalid format)")
            if arguments.get("format", "rest") != "json":
                raise RefusedError(111, f'Format "{arguments.get("format", "rest")}" not found')
            if method not in METHODS:
                raise RefusedError(112, f'Method "{method}" not found')
            return {**METHODS[method](self, arguments, base_url), "stat": "ok"}
        except RefusedError as error:
            return {"stat": "fail", "code": error.code, "message": error.message}


def search(simulation: Simulation, arguments: Arguments, base_url: str) -> Json:
    """flickr.photos.search: a page of the posts that match."""
    if not any(arguments.get(name) for name in LIMITING):
        raise RefusedError(3, "Parameterless searches have been disabled. Please use flickr.photos.getRecent instead.")
    found = matching(simulation.world, simulation.clock.now, arguments, simulation.places)
    per_page, page = _paging(arguments, simulation.limits.per_page, simulation.limits.most_per_page)
    shown = found[_slice(simulation.limits, found.height, page, per_page)]
    rows = _rows(simulation, shown, base_url)
    extras = set(arguments.get("extras", "").split(","))
    simulation.ledger.offered.update(row["post_id"] for row in rows)
    # Searches of one user's posts give the total as text, others as a number.
    total = str(found.height) if arguments.get("user_id") else found.height
    photos = [answers.photo(row, extras) for row in rows]
    return {
        "photos": {
            "page": page,
            "pages": -(-found.height // per_page),
            "perpage": per_page,
            "total": total,
            "photo": photos,
        }
    }


def _slice(limits: PageLimits, total: int, page: int, per_page: int) -> slice:
    """The rows of a page; pages past the limit show those of the beginning once more."""
    first = (page - 1) * per_page
    if total <= limits.results:
        return slice(first, first + per_page)
    first %= limits.results
    return slice(first, min(first + per_page, limits.results))


def _rows(simulation: Simulation, posts: pl.DataFrame, base_url: str) -> list[answers.Row]:
    profiles = simulation.world.users.profiles[posts["user"].to_numpy()].select(answers.PROFILE_COLUMNS)
    counts = simulation.world.counts(posts, simulation.clock.now)
    size = simulation.world.params.picture_size
    rows = pl.concat([posts, profiles, counts], how="horizontal").to_dicts()
    return [{**row, "base_url": base_url, "picture_size": size} for row in rows]


def _paging(arguments: Arguments, usual: int, most: int) -> tuple[int, int]:
    """Posts per page and page; what is no number counts as not given, as with the real API."""
    per_page, page = (arguments.get(name, "") for name in ("per_page", "page"))
    wanted = int(per_page) if per_page.isdecimal() else usual
    return min(max(wanted, 1), most), max(int(page) if page.isdecimal() else 1, 1)


def _living(simulation: Simulation, arguments: Arguments) -> int:
    user = simulation.places.get(arguments.get("user_id", ""))
    if user is None:
        raise RefusedError(1, "User not found")
    deleted_at = simulation.world.users.profiles["deleted_at"][user]
    if deleted_at is not None and deleted_at <= simulation.clock.now:
        raise RefusedError(5, "User deleted")
    return user


def people_info(simulation: Simulation, arguments: Arguments, base_url: str) -> Json:
    """flickr.people.getInfo: a profile as of now."""
    user = _living(simulation, arguments)
    profile = simulation.world.users.profiles.row(user, named=True)
    return {"person": answers.person(profile, simulation.user_numbers["photo_count"][user])}


def public_contacts(simulation: Simulation, arguments: Arguments, base_url: str) -> Json:
    """flickr.contacts.getPublicList: whom a user follows; `total` is the following count."""
    user = _living(simulation, arguments)
    total = simulation.user_numbers["following"][user]
    per_page, page = _paging(arguments, MOST_CONTACTS, MOST_CONTACTS)
    places = np.arange((page - 1) * per_page, min(page * per_page, total))
    return {"contacts": answers.contacts(_followed(simulation, user, places), total, page, per_page)}


def _followed(simulation: Simulation, user: int, places: Integers) -> list[str]:
    user_ids = simulation.world.users.profiles["user_id"].to_list()
    return [user_ids[(user + 1 + place) % len(user_ids)] for place in places.tolist()]


def oracle_of_posts(simulation: Simulation, arguments: Arguments, base_url: str) -> Json:
    """flickcast.simulation.getOracle: the expected label of each post of the comma list that exists."""
    posts = simulation.world.find(arguments.get("post_ids", "").split(","), simulation.clock.now)
    labels = expected(simulation.world, posts, simulation.evidence).tolist()
    return {
        "oracle": {
            "post": [{"id": one, "expected": label} for one, label in zip(posts["post_id"], labels, strict=True)]
        }
    }


METHODS: dict[str, Callable[[Simulation, Arguments, str], Json]] = {
    "flickr.photos.search": search,
    "flickr.people.getInfo": people_info,
    "flickr.contacts.getPublicList": public_contacts,
    "flickcast.simulation.getOracle": oracle_of_posts,
}
