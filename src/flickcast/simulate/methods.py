"""The methods of the simulated service: arguments in, the answer's body out, refused with the real API's codes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import numpy as np
import polars as pl
from orjson import Fragment

from flickcast.simulate import answers
from flickcast.simulate.answers import Json
from flickcast.simulate.law import Integers
from flickcast.simulate.matching import Arguments, FoundUsers, RefusedError, matching, vanished
from flickcast.simulate.oddities import dated, is_shown
from flickcast.simulate.oracle import evidence_until, expected, sight_of_api
from flickcast.simulate.pages import Bend, PageLimits, page_of, paging
from flickcast.simulate.world import World

LIMITING = ("user_id", "tags", "text", "min_upload_date", "max_upload_date")
MOST_CONTACTS = 1000
PAGE_BY_PAGE = ("page", "per_page", "extras", "api_key", "format", "nojsoncallback")  # do not change what is found


@dataclass
class Clock:
    """The service's present: nothing after it exists yet."""

    now: datetime


@dataclass
class Ledger:
    """What was asked and offered since the service started.

    `offered` are the ids in any answer, `unusable` the posts that were listed without a key, by their true id.
    """

    calls: Counter[str] = field(default_factory=Counter)
    offered: set[str] = field(default_factory=set)
    unusable: dict[str, str] = field(default_factory=dict)

    def enter(self, posts: pl.DataFrame) -> None:
        """Takes down posts that are listed in an answer."""
        unusable = {
            row["post_id"]: row["unusable"] for row in posts.filter(pl.col("unusable").is_not_null()).to_dicts()
        }
        unnamed = {post_id for post_id, why in unusable.items() if why == "no id"}
        self.unusable.update(unusable)
        self.offered.update(set(posts["post_id"]) - unnamed)


@dataclass(frozen=True)
class Call:
    """A call's arguments, the service's own address, and what goes wrong with the page that a search lists."""

    arguments: Arguments
    base_url: str
    bend: Bend = lambda page: page


class Simulation:
    """A world at a moment, and what was asked of it."""

    def __init__(self, world: World, clock: Clock, limits: PageLimits) -> None:
        self.world, self.clock, self.limits = world, clock, limits
        self.ledger = Ledger()
        self._found: tuple[tuple[datetime, tuple[tuple[str, str], ...]], pl.DataFrame] | None = None
        self._users: tuple[datetime, FoundUsers] | None = None
        self._numbers: tuple[datetime, pl.DataFrame] | None = None
        self._evidence: tuple[int, pl.DataFrame] | None = None

    @cached_property
    def places(self) -> dict[str, int]:
        """User id to row of the users."""
        return {user_id: row for row, user_id in enumerate(self.world.users.profiles["user_id"])}

    @property
    def users(self) -> FoundUsers:
        """Which users' posts are found now."""
        if self._users is None or self._users[0] != self.clock.now:
            self._users = (self.clock.now, FoundUsers(self.places, vanished(self.world, self.clock.now)))
        return self._users[1]

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
            self._evidence = (day, evidence_until(self.world, day, sight_of_api(self.world)))
        return self._evidence[1]

    def is_deleted(self, user: int) -> bool:
        """Whether an account is gone by now."""
        deleted_at = self.world.users.profiles["deleted_at"][user]
        return deleted_at is not None and deleted_at <= self.clock.now

    def found(self, arguments: Arguments) -> pl.DataFrame:
        """All posts that a search finds now; its pages are asked one after another, so the last result is kept."""
        asked = tuple(sorted(item for item in arguments.items() if item[0] not in PAGE_BY_PAGE))
        if self._found is None or self._found[0] != (self.clock.now, asked):
            found = matching(self.world, self.clock.now, arguments, self.users)
            self._found = ((self.clock.now, asked), found)
        return self._found[1]

    def call(self, call: Call) -> Json:
        """The body that answers a call; `stat` says whether it worked."""
        arguments = call.arguments
        method = arguments.get("method", "")
        try:
            if not arguments.get("api_key"):
                raise RefusedError(100, "Invalid API Key (Key has invalid format)")
            if arguments.get("format", "rest") != "json":
                raise RefusedError(111, f'Format "{arguments.get("format", "rest")}" not found')
            if method not in METHODS:
                raise RefusedError(112, f'Method "{method}" not found')
            return {**METHODS[method](self, call), "stat": "ok"}
        except RefusedError as error:
            return {"stat": "fail", "code": error.code, "message": error.message}


def search(simulation: Simulation, call: Call) -> Json:
    """flickr.photos.search: a page of the posts that match."""
    arguments = call.arguments
    if not any(arguments.get(name) for name in LIMITING):
        raise RefusedError(3, "Parameterless searches have been disabled. Please use flickr.photos.getRecent instead.")
    found = simulation.found(arguments)
    page = call.bend(page_of(found.height, arguments, simulation.limits))
    answer: Json = {"page": page.number, "pages": page.pages, "perpage": page.per_page, "total": page.total}
    if page.has_list:
        posts = _with_counts(simulation, found[page.places])
        simulation.ledger.enter(posts)
        extras = set(arguments.get("extras", "").split(","))
        photos = answers.photos(posts, extras, call.base_url, simulation.world.params.picture_size)
        answer["photo"] = [Fragment(photo) for photo in photos]
    return {"photos": answer}


def _with_counts(simulation: Simulation, posts: pl.DataFrame) -> pl.DataFrame:
    """Posts with what their owner's profile and their counts say now."""
    profiles = simulation.world.users.profiles.select(answers.PROFILE_COLUMNS)[posts["user"].to_numpy()]
    return pl.concat([posts, profiles, simulation.world.counts(posts, simulation.clock.now)], how="horizontal")


def photo_info(simulation: Simulation, call: Call) -> Json:
    """flickr.photos.getInfo: one post as of now. Deleted, hidden and never posted are the same to the caller."""
    post_id, now = call.arguments.get("photo_id", ""), simulation.clock.now
    posts = simulation.world.find([post_id], now).filter(is_shown(now)).with_columns(dated(now))
    if posts.is_empty() or simulation.is_deleted(posts["user"][0]):
        raise RefusedError(1, f'Photo "{post_id}" not found (invalid ID)')
    profile = simulation.world.users.profiles.row(posts["user"][0], named=True)
    return {"photo": answers.photo_info(_with_counts(simulation, posts).row(0, named=True), profile)}


def echo(simulation: Simulation, call: Call) -> Json:
    """flickr.test.echo: the arguments, wrapped."""
    return {name: {"_content": value} for name, value in call.arguments.items()}


def _living(simulation: Simulation, arguments: Arguments) -> int:
    user = simulation.places.get(arguments.get("user_id", ""))
    if user is None:
        raise RefusedError(1, "User not found")
    if simulation.is_deleted(user):
        raise RefusedError(5, "User deleted")
    return user


def people_info(simulation: Simulation, call: Call) -> Json:
    """flickr.people.getInfo: a profile as of now."""
    user = _living(simulation, call.arguments)
    profile = simulation.world.users.profiles.row(user, named=True)
    return {"person": answers.person(profile, simulation.user_numbers["photo_count"][user])}


def public_contacts(simulation: Simulation, call: Call) -> Json:
    """flickr.contacts.getPublicList: whom a user follows; `total` is the following count."""
    user = _living(simulation, call.arguments)
    total = simulation.user_numbers["following"][user]
    per_page, page = paging(call.arguments, MOST_CONTACTS, MOST_CONTACTS)
    places = np.arange((page - 1) * per_page, min(page * per_page, total))
    return {"contacts": answers.contacts(_followed(simulation, user, places), total, page, per_page)}


def _followed(simulation: Simulation, user: int, places: Integers) -> list[str]:
    user_ids = simulation.world.users.profiles["user_id"].to_list()
    return [user_ids[(user + 1 + place) % len(user_ids)] for place in places.tolist()]


def oracle_of_posts(simulation: Simulation, call: Call) -> Json:
    """flickcast.simulation.getOracle: the expected label of each post of the comma list that exists."""
    posts = simulation.world.find(call.arguments.get("post_ids", "").split(","), simulation.clock.now)
    sight = sight_of_api(simulation.world)
    labels = expected(simulation.world, posts, simulation.evidence, sight).tolist()
    return {
        "oracle": {
            "post": [{"id": one, "expected": label} for one, label in zip(posts["post_id"], labels, strict=True)]
        }
    }


METHODS: dict[str, Callable[[Simulation, Call], Json]] = {
    "flickr.photos.search": search,
    "flickr.photos.getInfo": photo_info,
    "flickr.test.echo": echo,
    "flickr.people.getInfo": people_info,
    "flickr.contacts.getPublicList": public_contacts,
    "flickcast.simulation.getOracle": oracle_of_posts,
}
