"""The Flickr API, or a service like it: the posts of a night, their users, counts and pictures."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl

from flickcast.console import track
from flickcast.errors import UserError
from flickcast.params import IngestParams, LabelParams
from flickcast.records import Batch, Rejected
from flickcast.schemas import TABLES
from flickcast.settings import Settings
from flickcast.sources.flickr_client import FlickrClient, RefusedError, Verdict
from flickcast.sources.flickr_images import ImageClient
from flickcast.sources.flickr_parse import (
    Row,
    count,
    number,
    observation_from_photo,
    post_from_photo,
    rejected_photo,
    text,
    user_from_person,
)
from flickcast.sources.flickr_windows import Sighting, photos_between
from flickcast.sources.pictures import Pictures, Wanted
from flickcast.sources.web import Patience

ORACLE_IDS = 500


@contextmanager
def open_flickr(settings: Settings, ingest: IngestParams, label: LabelParams) -> Iterator["FlickrSource"]:
    """A source that is connected while the block runs. UserError without a key."""
    if settings.flickr_key is None or not settings.flickr_key.get_secret_value().strip():
        raise UserError("FLICKCAST_FLICKR_KEY is not set: the API answers nobody without a key. Put yours there.")
    patience = Patience(deadline_seconds=settings.deadline_seconds)
    timeout = settings.timeout_seconds
    rate = ingest.calls_per_second
    client = FlickrClient(
        settings.flickr_url, settings.flickr_key, calls_per_second=rate, timeout_seconds=timeout, patience=patience
    )
    images = ImageClient(client.host, per_second=rate, timeout_seconds=timeout, patience=patience)
    try:
        yield FlickrSource(client, images, ingest, label.maturity_days)
    finally:
        client.close()
        images.close()


class FlickrSource:
    """Asks for what a night needs; hands it over as a batch whose pictures are downloaded when iterated."""

    def __init__(self, client: FlickrClient, images: ImageClient, params: IngestParams, maturity_days: int) -> None:
        self._client = client
        self._images = images
        self._params = params
        self._maturity_days = maturity_days
        self._notes: list[str] = []

    def night(self, night: date, *, known_post_ids: Collection[str], fresh_user_ids: Collection[str]) -> Batch:
        """The posts of a night's day and of the hours before it, their new users, and the counts that came of age.

        Posts that are known already are in the batch again; their users and pictures are not asked for. UserError if
        the night is not over by the service's clock.
        """
        self._notes = []
        start, end = _day(night)
        sightings = self._photos_between(start - timedelta(hours=self._params.requery_hours), end)
        posts, rejected = self._posts(sightings.values())
        new = posts.filter(~pl.col("post_id").is_in(list(known_post_ids)))
        accepted = [sightings[post_id] for post_id in posts["post_id"]]
        observed = [*accepted, *self._come_of_age(night, set(known_post_ids))]
        return Batch(
            source="flickr",
            posts=posts,
            users=self._users(sorted(set(new["user_id"]) - set(fresh_user_ids))),
            found=len(sightings),
            observations=_observations(observed),
            oracle=self._oracle(new["post_id"]),
            rejected=rejected,
            pictures=self._pictures(new),
            notes=tuple(self._notes),
        )

    def _photos_between(self, start: datetime, end: datetime) -> dict[str, Sighting]:
        photos, notes = photos_between(self._client, self._params, start, end)
        self._notes += notes
        return photos

    def _posts(self, sightings: Iterable[Sighting]) -> tuple[pl.DataFrame, tuple[Rejected, ...]]:
        rows: list[Row] = []
        rejected: list[Rejected] = []
        for sighting in sightings:
            row = post_from_photo(sighting.photo, sighting.seen_at, self._params.image_size)
            if isinstance(row, str):
                rejected.append(rejected_photo(sighting.photo, row, sighting.seen_at))
            else:
                rows.append(row)
        return _frame("posts", rows), tuple(rejected)

    def _come_of_age(self, night: date, known_post_ids: set[str]) -> list[Sighting]:
        """Known posts whose age reaches the label's during the night, counted anew by the same search."""
        if not known_post_ids:
            return []
        start, end = _day(night - timedelta(days=self._maturity_days))
        return [one for post_id, one in self._photos_between(start, end).items() if post_id in known_post_ids]

    def _users(self, user_ids: list[str]) -> pl.DataFrame:
        rows = [row for user_id in track(user_ids, "users", len(user_ids)) if (row := self._user(user_id))]
        if len(rows) < len(user_ids):
            self._notes.append(f"{len(user_ids) - len(rows)} users are gone: their numbers stay unknown.")
        return _frame("users", rows)

    def _user(self, user_id: str) -> Row | None:
        """A user's numbers; None when the account is gone."""
        try:
            answer = self._client.call("flickr.people.getInfo", "person", user_id=user_id)
        except RefusedError as error:
            if error.verdict is Verdict.GONE:
                return None
            raise
        return {
            **user_from_person(answer.content, answer.at),
            "user_id": user_id,
            "following": self._following(user_id),
        }

    def _following(self, user_id: str) -> int | None:
        try:
            answer = self._client.call("flickr.contacts.getPublicList", "contacts", user_id=user_id, per_page=1)
        except RefusedError as error:
            if error.verdict is Verdict.GONE:
                return None
            raise
        return count(answer.content.get("total"))

    def _oracle(self, post_ids: pl.Series) -> pl.DataFrame:
        """The simulated service's best possible predictions, where asked for."""
        rows: list[Row] = []
        for start in range(0, post_ids.len() if self._params.oracle else 0, ORACLE_IDS):
            asked = post_ids[start : start + ORACLE_IDS].to_list()
            answer = self._client.call("flickcast.simulation.getOracle", "oracle", post_ids=",".join(asked))
            told = {text(one.get("id")): number(one.get("expected")) for one in _objects(answer.content.get("post"))}
            rows += [
                {"post_id": post_id, "oracle": told[post_id]} for post_id in asked if told.get(post_id) is not None
            ]
        if self._params.oracle and len(rows) < post_ids.len():
            self._notes.append(f"The service told no best possible prediction of {post_ids.len() - len(rows)} posts.")
        return _frame("oracle", rows)

    def _pictures(self, posts: pl.DataFrame) -> Pictures:
        rows = posts.select("post_id", "image_url").drop_nulls().iter_rows()
        return Pictures([Wanted(post_id, url, self._images.fetch) for post_id, url in rows])


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list, none where it is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _observations(sightings: Iterable[Sighting]) -> pl.DataFrame:
    rows = [observation_from_photo(one.photo, one.seen_at) for one in sightings]
    counted = [row for row in rows if any(row[name] is not None for name in ("views", "faves", "comments"))]
    return _frame("observations", counted).unique(TABLES["observations"].key, keep="first", maintain_order=True)


def _frame(table: str, rows: list[Row]) -> pl.DataFrame:
    """Rows in the order of the table's key."""
    return pl.DataFrame(rows, schema=TABLES[table].dtypes()).sort(TABLES[table].key)


def _day(day: date) -> tuple[datetime, datetime]:
    start = datetime.combine(day, time.min, UTC)
    return start, start + timedelta(days=1)
