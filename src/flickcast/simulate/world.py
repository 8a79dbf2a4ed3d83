"""The simulated world: who posts what on which day, from one seed, the same however many days are asked for."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import polars as pl
from numpy.random import Generator

from flickcast.errors import UserError
from flickcast.schemas import EARLIEST
from flickcast.simulate.calibration import USER_NUMBERS
from flickcast.simulate.law import DAY_SECONDS, Floats, Integers, Law
from flickcast.simulate.oddities import Oddities, dated, is_shown, with_oddities
from flickcast.simulate.uploads import (
    FIRST_POST_ID,
    POSTS_OF_A_DAY,
    SHARES,
    YEAR_DAYS,
    Day,
    concept_effects,
    make_uploads,
)
from flickcast.simulate.users import Users, make_users
from flickcast.simulate.wording import with_words

CACHED_DAYS = 512  # a day's numbers weigh about 150 bytes a post
CACHED_TEXTS = 64
COMMENT_EVERY = 6  # faves
LIMITS = {
    "seed": (0, 2**63 - 1),
    "users": (1, 10_000_000),
    "posts_per_day": (0.1, POSTS_OF_A_DAY / 10),  # a good Saturday brings three times as many
    "maturity_days": (0.01, 3650),
    "picture_size": (1, 4096),
}
LAST_START = date(2100, 1, 1)
STREAMS = ("users", "taste", "uploads", "words", "oddities")


@dataclass(frozen=True)
class WorldParams:
    """What a world is made of; two worlds with equal parameters are equal. UserError for what makes no world."""

    seed: int = 0
    users: int = 2000
    posts_per_day: float = 400.0
    start: date = date(2015, 3, 1)
    maturity_days: float = 7.0
    picture_size: int = 64
    law: Law = field(default_factory=Law)
    oddities: Oddities = field(default_factory=Oddities)

    def __post_init__(self) -> None:
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise UserError(f"no world with {name} {value}; choose from {least:,} to {most:,}.")
        if not EARLIEST.date() <= self.start < LAST_START:
            raise UserError(f"no world starts on {self.start}; choose a day from {EARLIEST:%Y-%m-%d} to {LAST_START}.")


class World:
    """Users and posts of one seed. Every day has random numbers of its own, so any day can be made alone."""

    def __init__(self, params: WorldParams) -> None:
        self.params = params
        self.midnight = datetime(params.start.year, params.start.month, params.start.day, tzinfo=UTC)
        self._numbers = lru_cache(maxsize=CACHED_DAYS)(self._make_numbers)
        self._posts = lru_cache(maxsize=CACHED_TEXTS)(self._make_posts)
        self._redated = lru_cache(maxsize=None)(self._make_redated)  # few rows a day
        self._counted: tuple[int, Integers] = (0, np.zeros(params.users, dtype=np.int64))

    @cached_property
    def users(self) -> Users:
        """All accounts."""
        return make_users(self._random("users"), self.params.users, self.midnight, self.params.law, SHARES)

    @cached_property
    def concept_effects(self) -> Floats:
        """What each concept adds to the level of a post."""
        return concept_effects(self._random("taste"), self.params.law)

    def day_of(self, moment: date) -> int:
        """The number of a moment's day, 0 on the world's first."""
        return ((moment.date() if isinstance(moment, datetime) else moment) - self.params.start).days

    def numbers(self, day: int) -> pl.DataFrame:
        """A day's posts as numbers only, oldest first: quick to make. No rows before the world's first day."""
        return self._numbers(day) if day >= 0 else self._numbers(0).clear()

    def posts(self, day: int) -> pl.DataFrame:
        """The same posts with ids, texts, places and what happens to them, as the service shows them."""
        return self._posts(day) if day >= 0 else self._posts(0).clear()

    def shown(self, first: datetime, last: datetime, now: datetime) -> pl.DataFrame:
        """The posts to be seen at `now` that are dated first..last, both included, oldest first.

        Column `dated` is the date they show by then, which is not `posted_at` where the owner changed it.
        """
        days = range(max(0, self.day_of(first)), self.day_of(min(last, now)) + 1)
        wanted = is_shown(now) & pl.col("dated").is_between(first, min(last, now))
        frames = [self.posts(-1), *(self.posts(day) for day in days)]
        if self.params.oddities.redated:
            others = (day for day in range(self.day_of(now) + 1) if day not in days)
            frames += [self._redated(day) for day in others]
        found = pl.concat([frame.with_columns(dated(now)).filter(wanted) for frame in frames])
        return found.sort("dated", "post") if self.params.oddities.redated else found

    def find(self, post_ids: Iterable[str], until: datetime) -> pl.DataFrame:
        """The posts of these ids shown until a moment, as World.posts; ids that stand for nothing are left out.

        Posts that their owner removed are among them.
        """
        wanted: dict[int, list[int]] = {}
        for post_id in post_ids:
            if found := self._place(post_id, until):
                wanted.setdefault(found[0], []).append(found[1])
        frames = [self.posts(day)[places] for day, places in wanted.items()] or [self.posts(-1)]
        return pl.concat(frames).filter(pl.col("shown_from") <= until)

    def post(self, post_id: str, until: datetime) -> dict[str, Any] | None:
        """The one row that find gives for an id, if there is one: much quicker."""
        place = self._place(post_id, until)
        row = self.posts(place[0]).row(place[1], named=True) if place else None
        return row if row and row["shown_from"] <= until else None

    def _place(self, post_id: str, until: datetime) -> tuple[int, int] | None:
        """Day and row of a post, None if no post has this id by the end of that day."""
        number = int(post_id) if post_id.isdecimal() and len(post_id) < 20 else 0
        day, place = divmod(number - FIRST_POST_ID, POSTS_OF_A_DAY)
        return (day, place) if 0 <= day <= self.day_of(until) and place < self.numbers(day).height else None

    def counts(self, posts: pl.DataFrame, moment: datetime) -> pl.DataFrame:
        """Columns views, faves and comments of these posts at a moment; none ever falls."""
        views = pl.Series("views", self.views(posts, moment))
        faves = (views * posts["fave_share"]).floor().cast(pl.Int64).alias("faves")
        return pl.DataFrame([views, faves, (faves // COMMENT_EVERY).alias("comments")])

    def views(self, posts: pl.DataFrame, moment: datetime) -> Integers:
        """Views of these posts at a moment; 0 before they appeared."""
        age = int(moment.timestamp()) - posts["posted_at"].dt.epoch("s").to_numpy()
        return self._views_at_age(posts, age / DAY_SECONDS)

    def views_at_maturity(self, posts: pl.DataFrame) -> Integers:
        """Views of these posts when their label is read."""
        return self._views_at_age(posts, np.full(posts.height, self.params.maturity_days))

    def user_numbers(self, moment: datetime) -> pl.DataFrame:
        """Profile counts as of a moment, one row per user.

        Photos are exact, the other counts grow with them, and followers grow by themselves.
        """
        start = self.users.numbers
        photos = start["photo_count"] + pl.Series(self._posted_by(moment))
        growth, years = photos / start["photo_count"], (moment - self.midnight) / timedelta(days=YEAR_DAYS)
        factors = {name: 1.0 + 0.05 * years if name.startswith("follow") else pl.lit(growth) for name in USER_NUMBERS}
        grown = [(pl.col(name) * factors[name]).floor().cast(pl.Int64) for name in USER_NUMBERS]
        return start.with_columns(grown).with_columns(photos.alias("photo_count"))

    def photo_counts(self, day: int) -> Integers:
        """The photo count of each post's user when the post (of World.numbers of this day) had just appeared."""
        user = self.numbers(day)["user"]
        today = self.numbers(day).select(pl.int_range(1, pl.len() + 1).over("user")).to_series().to_numpy()
        before = self.users.numbers["photo_count"].to_numpy() + self._posted_before(day)
        return np.asarray(before[user.to_numpy()] + today)

    def _posted_by(self, moment: datetime) -> Integers:
        day = self.day_of(moment)
        today = self.numbers(day).filter(pl.col("posted_at") <= moment)
        return self._posted_before(day) + self._by_user(today) - self._hidden_by(moment)

    def _hidden_by(self, moment: datetime) -> Integers:
        """Posts per user that are posted by a moment and not shown at it."""
        if not (self.params.oddities.late or self.params.oddities.removed):
            return np.zeros(self.params.users, dtype=np.int64)
        hidden = (pl.col("posted_at") <= moment) & ~is_shown(moment)
        return self._by_user(pl.concat([self.posts(day).filter(hidden) for day in range(self.day_of(moment) + 1)]))

    def _by_user(self, posts: pl.DataFrame) -> Integers:
        return np.bincount(posts["user"].to_numpy(), minlength=self.params.users)

    def _posted_before(self, day: int) -> Integers:
        """Posts per user before a day; remembers the last answer, because nights come one after another."""
        known, counts = self._counted
        if known > day:
            known, counts = 0, np.zeros_like(counts)
        for earlier in range(known, day):
            counts = counts + self._by_user(self.numbers(earlier))
        self._counted = (max(day, 0), counts)
        return counts

    def _views_at_age(self, posts: pl.DataFrame, age_days: Floats) -> Integers:
        level, speed = posts["level"].to_numpy(), posts["speed"].to_numpy()
        return self.params.law.views(level, speed, age_days, self.params.maturity_days)

    def _make_numbers(self, number: int) -> pl.DataFrame:
        midnight = self.midnight + timedelta(days=number)
        day = Day(number, midnight, self.params.posts_per_day, self.users, self.concept_effects, self.params.law)
        return make_uploads(self._random("uploads", number), day)

    def _make_posts(self, number: int) -> pl.DataFrame:
        posts = with_words(self._random("words", number), self.numbers(number), self.users)
        return with_oddities(self._random("oddities", number), posts, self.params.oddities)

    def _make_redated(self, number: int) -> pl.DataFrame:
        return self.posts(number).filter(pl.col("redated_at").is_not_null())

    def _random(self, stream: str, day: int = 0) -> Generator:
        seeds = np.random.SeedSequence(self.params.seed, spawn_key=(STREAMS.index(stream), day))
        return np.random.Generator(np.random.Philox(seeds))
