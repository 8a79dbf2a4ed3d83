"""Nights against a service that damages its answers at random: one sentence, or every photo accounted for."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import polars as pl
import pytest
from fast import FAST
from flickr_service import DATE, KEY, NIGHT_STARTS, Service, photo, serving
from mutations import damaged
from pydantic import SecretStr
from starlette.responses import Response

from flickcast.errors import FlickcastError
from flickcast.params import IngestParams
from flickcast.records import Batch, quarantine_rows
from flickcast.schemas import TABLES, check
from flickcast.sources.budget import Budget
from flickcast.sources.flickr import FlickrSource
from flickcast.sources.flickr_client import FlickrClient
from flickcast.sources.flickr_found import Memory
from flickcast.sources.flickr_images import ImageClient
from flickcast.sources.flickr_stretches import Span
from flickcast.sources.journal import Session, journal_at
from flickcast.sources.web import Deadlines, Patience

NIGHTS = 120
SHARE_DAMAGED = 0.3  # of the answers
UNTIL = datetime(2026, 3, 10, tzinfo=UTC)
SPAN = Span(UNTIL - timedelta(days=1), UNTIL)
QUICK = Patience(attempts=3, first_wait_seconds=0.001, longest_wait_seconds=0.002, deadline_seconds=5)
SHORT = Deadlines(call_seconds=5, read_seconds=2, connect_seconds=2)
KNOWN = ("101", "102")  # not listed any more: asked for one by one


class Vandal:
    """Damages a share of the service's own answers."""

    def __init__(self, service: Service, seed: int) -> None:
        self._random = Random(seed)
        self._answers = {
            "flickr.photos.search": service.search,
            "flickr.people.getInfo": service.person,
            "flickr.photos.getInfo": service.info,
        }

    def __call__(self, form: dict[str, str]) -> Response | None:
        own = self._answers.get(form["method"])
        if own is None or self._random.random() > SHARE_DAMAGED:
            return None
        body = json.loads(bytes(own(form).body))
        return Response(damaged(self._random, body), headers={"Date": DATE}, media_type="application/json")


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    posts = [photo(number, NIGHT_STARTS + 60 * number) for number in range(1, 8)]
    with serving(Service(photos=posts, infos={"101": {"id": "101", "views": "7"}})) as running:
        yield running


@contextmanager
def connected(service: Service, folder: Path) -> Iterator[FlickrSource]:
    budget = Budget("tests", folder=folder, per_second=1e6)
    client = FlickrClient(
        f"{service.base}/services/rest/", SecretStr(KEY), budget=budget, patience=QUICK, deadlines=SHORT
    )
    images = ImageClient(client.host, budget=budget, patience=QUICK, deadlines=SHORT)
    with journal_at(folder / "journal") as journal:
        session = Session(client, images, journal)
        yield FlickrSource(session, IngestParams(source="flickr", per_page=3, **FAST), maturity_days=7)
        journal.discard()
    client.close()
    images.close()


def memory() -> Memory:
    posts = [{"post_id": one, "user_id": "1@N01", "posted_at": UNTIL - timedelta(days=1, hours=12)} for one in KNOWN]
    return Memory(posts=pl.DataFrame(posts, schema=Memory().posts.schema))


def require_accounted(batch: Batch) -> None:
    """What was found is there, and every picture is one or rejected."""
    quarantined = quarantine_rows("ingest", "flickr", list(batch.rejected), UNTIL)
    assert batch.posts.height + batch.known + batch.forgotten + quarantined.height == batch.found
    assert sum(chunk.images.height + len(chunk.rejected) for chunk in batch.pictures) == len(batch.pictures)


def outcome(service: Service, folder: Path, seed: int) -> Batch | FlickcastError:
    """What a night brought, or why it ended early."""
    service.fault = Vandal(service, seed)
    try:
        with connected(service, folder) as source:
            batch = source.night(SPAN, memory())
            require_accounted(batch)
            return batch
    except FlickcastError as error:
        return error
    except Exception as error:
        error.add_note(f"seed {seed}")
        raise


def test_damaged_answers_end_a_night_in_one_sentence_or_are_accounted_for(service: Service, tmp_path: Path) -> None:
    outcomes = [outcome(service, tmp_path, seed) for seed in range(NIGHTS)]
    errors = [str(one) for one in outcomes if isinstance(one, FlickcastError)]
    batches = [one for one in outcomes if isinstance(one, Batch)]
    assert len(errors) < NIGHTS / 2
    assert not [error for error in errors if KEY in error or not error.isprintable()]
    assert sum(len(batch.rejected) for batch in batches) > 0
    silent = [one for one in batches if one.found < len(service.photos) and not one.rejected and not one.notes]
    assert len(silent) <= NIGHTS / 50  # a list that lost a photo in the same answer as its total
    for name in ("posts", "users", "observations", "tombstones"):
        check(name, of_all_nights(name, batches))


def of_all_nights(name: str, batches: list[Batch]) -> pl.DataFrame:
    """The rows of all nights, told apart by their night."""
    key = "id" if name == "tombstones" else TABLES[name].key[0]
    frames = [getattr(batch, name) for batch in batches]
    return pl.concat([one.with_columns(pl.format(f"{night}-{{}}", key).alias(key)) for night, one in enumerate(frames)])
