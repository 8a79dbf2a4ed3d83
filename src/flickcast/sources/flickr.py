"""The Flickr API, or a service like it: the posts of a night, their users, counts and pictures."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from flickcast.console import progress
from flickcast.errors import UserError
from flickcast.params import IngestParams
from flickcast.records import Batch
from flickcast.schemas import TABLES
from flickcast.settings import Settings
from flickcast.sources.budget import Budget, Clock
from flickcast.sources.flickr_client import Answer, FlickrClient, Verdict
from flickcast.sources.flickr_density import Density
from flickcast.sources.flickr_downloads import Download, downloaded
from flickcast.sources.flickr_found import Found, Memory, counted, frame, once
from flickcast.sources.flickr_images import ImageClient
from flickcast.sources.flickr_parse import Row, info_from_photo, number, text
from flickcast.sources.flickr_people import People, budget_left, one_by_one, tombstone
from flickcast.sources.flickr_stretches import Route, Span, Stretch, searches
from flickcast.sources.flickr_windows import Walk
from flickcast.sources.journal import Session, journal_at
from flickcast.sources.pictures import Pictures
from flickcast.sources.web import Deadlines, Patience, address_of, port_of

ORACLE_IDS = 500


@contextmanager
def open_flickr(
    settings: Settings, params: IngestParams, *, journal: Path, maturity_days: int = 7, seed: int = 0
) -> Iterator["FlickrSource"]:
    """A source that is connected while the block runs; what it is told is kept in the file `journal` until discarded.

    UserError without a key.
    """
    client, images = open_clients(settings, params)
    try:
        with journal_at(journal) as kept:
            session = Session(client, images, kept, settings.flickr_url)
            yield FlickrSource(session, params, maturity_days, seed)
    finally:
        client.close()
        images.close()


def open_clients(settings: Settings, params: IngestParams) -> tuple[FlickrClient, ImageClient]:
    """The clients of the service and of its image host, each within its budget; the caller closes both."""
    key = settings.flickr_key
    if key is None or not key.get_secret_value().strip():
        raise UserError("FLICKCAST_FLICKR_KEY is not set: the API answers nobody without a key. Put yours there.")
    host, name = address_of(settings.flickr_url)
    clock, folder = Clock(settings.clock_speed), settings.budget_folder()
    calls = Budget(
        f"{key.get_secret_value()}@{name}",
        folder=folder,
        per_second=params.calls_per_second,
        per_hour=params.calls_per_hour,
        clock=clock,
        lag_seconds=settings.call_seconds,
    )
    pictures = Budget(f"pictures@{name}", folder=folder, per_second=params.pictures_per_second, clock=clock)
    patience = Patience(deadline_seconds=settings.deadline_seconds)
    deadlines = Deadlines(settings.call_seconds, settings.timeout_seconds)
    client = FlickrClient(settings.flickr_url, key, budget=calls, patience=patience, deadlines=deadlines)
    port = port_of(settings.flickr_url)
    return client, ImageClient(host, budget=pictures, patience=patience, deadlines=deadlines, port=port)


class FlickrSource:
    """Asks for what a night needs, and hands it over as a batch."""

    def __init__(self, session: Session, params: IngestParams, maturity_days: int, seed: int = 0) -> None:
        self.session = session
        self._params = params
        self._maturity_days = maturity_days
        self._seed = seed

    def night(self, span: Span, memory: Memory) -> Batch:
        """The posts uploaded in a span of time and shortly before it, their users, and the counts that came of age.

        Whatever a search lists and is not known is taken in, in whatever stretch it turns up. UserError if the span is
        not over by the service's clock, or the sampling design names nobody.
        """
        if self._params.sampling.design == "follow" and not self._params.sampling.users:
            raise UserError("params.yaml: ingest.sampling.design is follow, and ingest.sampling.users names nobody.")
        route = Route(span, self._params, self._maturity_days, self._seed, memory.known_since)
        walk = Walk(self.session, self._params, span.until, Density(memory.posts_per_second))
        found = self._walk(walk, route, memory)
        unlisted, gone, uncounted = self._unlisted(route, memory, found)
        people = People(self.session, self._params, found.owners, memory, span.until)
        people.ask()
        walk.check_again()
        posts, rejected = found.posts(self.session.moment)  # dated now that most answers have told the time
        notes = [*walk.notes(), *found.notes(), *people.notes()]
        if uncounted:
            notes.append(
                f"{uncounted} posts that no search lists any more could not be asked for: not counted tonight."
            )
        oracle = self._oracle(posts["post_id"], notes)
        facts = self._facts(walk, found, route) | people.facts() | {"unlisted": unlisted.height, "gone": gone.height}
        return Batch(
            source="flickr",
            posts=posts,
            users=people.rows(),
            found=found.count,
            known=found.known,
            forgotten=found.forgotten,
            observations=once("observations", pl.concat([found.observations(self.session.moment), unlisted])),
            oracle=oracle,
            tombstones=once("tombstones", pl.concat([gone, people.tombstones()])),
            rejected=rejected,
            pictures=self._pictures(posts, found.sizes),
            notes=tuple(notes),
            facts=facts | self.session.facts(),
        )

    def _walk(self, walk: Walk, route: Route, memory: Memory) -> Found:
        found = Found(self._params, memory, route.span)
        wanted = searches(route.stretches, self._params.sampling)
        minutes = sum(stretch.seconds for stretch, _ in wanted) // 60
        with progress("minutes of uploads", minutes) as advance:
            for stretch, filters in wanted:
                for page in walk.pages(stretch, filters, lambda seconds: advance(seconds // 60)):
                    found.add(page)
                    advance(0, f"({found.count} posts)")
        return found

    def _unlisted(self, route: Route, memory: Memory, found: Found) -> tuple[pl.DataFrame, pl.DataFrame, int]:
        """Known posts of the walked ages that no search listed: counted, gone (tombstones), how many were not asked."""
        missing = _within(memory.posts, route.aged).filter(~pl.col("post_id").is_in(list(found.post_ids)))
        missing = missing.filter(~pl.col("post_id").is_in(list(memory.gone("post")))).sort("post_id")
        if self._params.sampling.design == "follow":
            missing = missing.filter(pl.col("user_id").is_in(list(self._params.sampling.users)))
        asked = missing["post_id"][: max(budget_left(self.session, self._params), 0)].to_list()
        rows, gone, uncounted = [], [], missing.height - len(asked)
        ask = partial(self.session.call, "flickr.photos.getInfo", "photo")
        for post_id, answer in one_by_one(
            self.session, asked, "posts no longer listed", lambda post_id: ask(photo_id=post_id)
        ):
            if answer is Verdict.GONE:
                gone.append(tombstone("post", post_id, route.span.until))
            elif isinstance(answer, Answer):
                rows.append(info_from_photo(answer.content, self.session.moment(answer)) | {"post_id": post_id})
            uncounted += answer is Verdict.RETRY
        return counted(rows), pl.DataFrame(gone, schema=TABLES["tombstones"].dtypes()), uncounted

    def _facts(self, walk: Walk, found: Found, route: Route) -> dict[str, Any]:
        """What the next nights and their plans go by."""
        span = route.span
        return {
            "since": span.since.isoformat(),
            "until": span.until.isoformat(),
            "sampling": self._params.sampling.model_dump(mode="json", exclude_defaults=True) | {"seed": self._seed},
            "weekday": span.since.weekday(),
            "new_seconds": span.older_by(0).seconds,
            "walked_seconds": route.seconds,
            "told": walk.told,
            "read": walk.read,
            "broken_seconds": sum(window.seconds for window in walk.broken),
            "hours": found.hours,
        }

    def _oracle(self, post_ids: pl.Series, notes: list[str]) -> pl.DataFrame:
        """The simulated service's best possible predictions, where asked for."""
        rows: list[Row] = []
        for start in range(0, post_ids.len() if self._params.oracle else 0, ORACLE_IDS):
            asked = post_ids[start : start + ORACLE_IDS].to_list()
            answer = self.session.call("flickcast.simulation.getOracle", "oracle", post_ids=",".join(asked))
            told = {text(one.get("id")): number(one.get("expected")) for one in _objects(answer.content.get("post"))}
            rows += [
                {"post_id": post_id, "oracle": told[post_id]} for post_id in asked if told.get(post_id) is not None
            ]
        if self._params.oracle and len(rows) < post_ids.len():
            notes.append(f"The service told no best possible prediction of {post_ids.len() - len(rows)} posts.")
        return frame("oracle", rows)

    def _pictures(self, posts: pl.DataFrame, sizes: dict[str, tuple[int, int] | None]) -> Pictures:
        rows = posts.select("post_id", "user_id", "image_url").drop_nulls()
        wanted = [Download(one, user, url, sizes.get(one)) for one, user, url in rows.iter_rows()]
        return downloaded(self.session, wanted if self._params.pictures else [])


def _within(posts: pl.DataFrame, wanted: list[Stretch]) -> pl.DataFrame:
    """The posts uploaded during any of the stretches."""
    second = pl.col("posted_at").dt.epoch("s")
    inside = [second.is_between(one.start, one.end, closed="left") for one in wanted]
    return posts.filter(pl.any_horizontal(inside)) if inside else posts.clear()


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list, none where it is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
