"""The Flickr source against a small service on loopback: windows, pages, faults, users, pictures, no key anywhere."""

import itertools
import json
import logging
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from challenge_files import jpeg
from fast import FAST
from flickr_service import KEY, NIGHT_STARTS, Service, answer, fail, photo, serving
from pydantic import SecretStr
from starlette.responses import RedirectResponse, Response

from flickcast.errors import TryAgainError, UserError
from flickcast.params import IngestParams, SamplingParams
from flickcast.records import Batch, Forgotten
from flickcast.settings import Settings
from flickcast.sources.budget import Budget
from flickcast.sources.flickr import FlickrSource, open_clients, open_flickr
from flickcast.sources.flickr_client import FlickrClient, RefusedError
from flickcast.sources.flickr_found import Memory
from flickcast.sources.flickr_images import FAILED_PICTURES, ImageClient
from flickcast.sources.flickr_stretches import Span
from flickcast.sources.journal import Journal, Session
from flickcast.sources.web import Deadlines, Patience

SPAN = Span(datetime(2026, 3, 9, tzinfo=UTC), datetime(2026, 3, 10, tzinfo=UTC))
SHORT = Deadlines(call_seconds=2, read_seconds=1, connect_seconds=1)
HOUR, DAY = 3600, 86_400
QUICK = Patience(attempts=3, first_wait_seconds=0.01, longest_wait_seconds=0.02, deadline_seconds=5)
SEEN = datetime(2026, 3, 10, 0, 30, tzinfo=UTC)


@pytest.fixture
def service() -> Iterator[Service]:
    with serving(Service()) as running:
        yield running


@contextmanager
def connected(service: Service, *, key: str = KEY, patience: Patience = QUICK, **params: Any) -> Iterator[FlickrSource]:
    asked = IngestParams(source="flickr", **FAST, **params)
    with tempfile.TemporaryDirectory() as folder:
        url, budget = f"{service.base}/services/rest/", Budget("tests", folder=Path(folder), per_second=1e6)
        client = FlickrClient(url, SecretStr(key), budget=budget, patience=patience, deadlines=SHORT)
        images = ImageClient(client.host, budget=budget, patience=patience, deadlines=SHORT)
        journal = Journal(Path(folder) / "journal")
        yield FlickrSource(Session(client, images, journal), asked, maturity_days=7)
        journal.close()
        client.close()
        images.close()


def memory(known: tuple[str, ...] = (), fresh: tuple[str, ...] = ()) -> Memory:
    """Posts that are known, those from 71 on for a week, from 9000 on for a month, and users with fresh numbers."""

    def days(post_id: str) -> timedelta:
        return timedelta(days=31 if int(post_id) > 9000 else 8 if int(post_id) > 70 else 1, minutes=30)

    posts = [{"post_id": one, "user_id": f"{int(one) % 3}@N01", "posted_at": SEEN - days(one)} for one in known]
    users = [{"user_id": one, "observed_at": SEEN - timedelta(days=1)} for one in fresh]
    tables = {"posts": posts, "users": users}
    empty = Memory()
    return Memory(**{name: pl.DataFrame(rows, schema=getattr(empty, name).schema) for name, rows in tables.items()})


def night(service: Service, known: tuple[str, ...] = (), fresh: tuple[str, ...] = (), **options: Any) -> Batch:
    with connected(service, **options) as source:
        batch = source.night(SPAN, memory(known, fresh))
        return replace(batch, pictures=list(batch.pictures))


def posted(count: int, start: int = NIGHT_STARTS, step: int = 60, first_id: int = 1) -> list[dict[str, Any]]:
    return [photo(first_id + i, start + step * i) for i in range(count)]


def first_times(times: int, reply: Callable[[], Response]) -> Callable[[dict[str, str]], Response | None]:
    """A fault that answers the first calls and then lets the service be."""
    calls = itertools.count()
    return lambda form: reply() if next(calls) < times else None


def test_a_night_brings_its_posts_users_and_counts(service: Service) -> None:
    service.photos = posted(4)
    batch = night(service)
    assert (batch.found, batch.posts["post_id"].to_list()) == (4, ["1", "2", "3", "4"])
    assert set(batch.posts["first_seen_at"]) == set(batch.users["observed_at"]) == {SEEN}
    assert batch.observations.select("views", "observed_at").unique().rows() == [(3, SEEN)]
    assert batch.users.select("user_id", "photo_count", "following").row(0) == ("0@N01", 12, 17)
    assert sum(chunk.images.height for chunk in batch.pictures) == 4


def test_the_window_has_both_edges_and_the_hours_before(service: Service) -> None:
    edges = [-2 * DAY - 1, -2 * DAY, DAY - 1, DAY]
    service.photos = [photo(i, NIGHT_STARTS + edge) for i, edge in enumerate(edges)]
    assert night(service).posts["post_id"].to_list() == ["1", "2"]


def test_a_crowded_window_is_split_until_everything_is_read_once(service: Service) -> None:
    service.photos, service.max_results = posted(300, step=200), 40
    batch = night(service, per_page=10, max_results=40)
    assert (batch.found, batch.posts["post_id"].n_unique(), batch.notes) == (300, 300, ())
    windows = {
        (int(f["min_upload_date"]), int(f["max_upload_date"])) for f in service.asked_for("flickr.photos.search")
    }
    seconds = sorted(windows, key=lambda window: window[1] - window[0])
    assert seconds[-1] == (NIGHT_STARTS - 2 * DAY, NIGHT_STARTS + DAY - 1)


def test_what_the_smallest_window_cannot_hold_is_noted(service: Service) -> None:
    service.photos, service.max_results = posted(50, step=0), 20
    batch = night(service, per_page=10, max_results=20)
    assert batch.found == 20
    assert "holds 50 posts and lets us read 20" in batch.notes[0]


def test_error_20_splits_the_window(service: Service) -> None:
    service.photos = posted(6, step=4 * HOUR)

    def too_large(form: dict[str, str]) -> Response | None:
        wide = int(form.get("max_upload_date", 0)) - int(form.get("min_upload_date", 0)) > DAY
        return fail(20, "offset too large") if wide else None

    service.fault = too_large
    assert night(service).found == 6


def test_an_empty_page_and_a_page_without_photos_are_not_the_end(service: Service) -> None:
    service.photos = posted(6)

    def holes(form: dict[str, str]) -> Response | None:
        if form.get("page") == "2":
            return answer({"stat": "ok", "photos": {"page": 2, "pages": 3, "total": 6}})
        return None

    service.fault = holes
    assert night(service, per_page=2).posts["post_id"].to_list() == ["1", "2", "5", "6"]


def test_a_service_that_repeats_a_page_for_ever_is_left(service: Service) -> None:
    listed = [photo(1, NIGHT_STARTS)]
    service.fault = lambda form: (
        answer({"stat": "ok", "photos": {"pages": 999, "total": "5", "photo": listed}}) if "page" in form else None
    )
    assert night(service, per_page=1).found == 1
    assert len(service.asked_for("flickr.photos.search")) == 4  # once, and three times nothing new


def test_empty_pages_without_end_are_left(service: Service) -> None:
    service.fault = lambda form: answer({"stat": "ok", "photos": {"pages": 10**9, "total": 5}})
    assert "the service holds 5 posts and lets us read 0" in night(service).notes[0]


def one_a_page(pages: int, total: int) -> Callable[[dict[str, str]], Response | None]:
    """A service whose pages are shorter than asked for."""

    def reply(form: dict[str, str]) -> Response | None:
        if "page" not in form:
            return None
        listed = [photo(int(form["page"]), NIGHT_STARTS)]
        return answer({"stat": "ok", "photos": {"pages": pages, "total": total, "photo": listed}})

    return reply


def test_pages_that_are_shorter_than_asked_for_are_all_read(service: Service) -> None:
    service.fault = one_a_page(pages=6, total=6)
    batch = night(service, per_page=2, max_results=8)
    assert (batch.found, batch.notes) == (6, ())


def test_whatever_the_service_counts_and_does_not_give_is_noted(service: Service) -> None:
    service.fault = one_a_page(pages=3, total=6)
    batch = night(service, per_page=2, max_results=8)
    assert batch.found == 3
    assert "the service holds 6 posts and lets us read 3. Nights ask again" in batch.notes[0]


@pytest.mark.parametrize("days", [1, 30_000])
def test_a_night_that_is_not_over_by_the_services_clock_is_refused(service: Service, days: int) -> None:
    service.photos = posted(1)
    later = Span(SPAN.since + timedelta(days=days), SPAN.until + timedelta(days=days))
    with connected(service) as source, pytest.raises(UserError, match=r"clock reads 2026-03-10 00:30 UTC"):
        source.night(later, memory())
    assert len(service.asked) == 3  # one answer alone may be dated wrong


def test_one_answer_dated_wrong_does_not_stop_the_night(service: Service) -> None:
    service.photos = posted(2)
    wrong = "Mon, 09 Mar 2026 20:00:00 GMT"
    body = {"stat": "ok", "photos": {"pages": 1, "total": 1, "photo": [photo(1, NIGHT_STARTS)]}}
    service.fault = first_times(1, lambda: answer(body, Date=wrong))
    assert set(night(service).posts["first_seen_at"]) == {SEEN}


def test_one_answer_dated_too_late_does_not_end_the_night_early(service: Service) -> None:
    """What is posted later in a night that was stored too early is asked for by late posts' rules only."""
    service.photos = posted(2)
    body = {"stat": "ok", "photos": {"pages": 1, "total": 1, "photo": [photo(1, NIGHT_STARTS)]}}
    service.fault = first_times(1, lambda: answer(body, Date="Wed, 11 Mar 2026 01:00:00 GMT"))
    later = Span(SPAN.since + timedelta(days=1), SPAN.until + timedelta(days=1))
    with (
        connected(service) as source,
        pytest.raises(UserError, match=r"not over.* clock reads 2026-03-10 00:(29|30) UTC"),
    ):
        source.night(later, memory())


def test_known_posts_are_found_again_without_their_users_and_pictures(service: Service) -> None:
    service.photos = posted(3)
    batch = night(service, known=("1", "2"), fresh=("1@N01", "2@N01"))
    assert (batch.found, batch.known, batch.posts["post_id"].to_list()) == (3, 2, ["3"])
    assert batch.observations.height == 3
    assert batch.users["user_id"].to_list() == ["0@N01"]
    assert [chunk.images["post_id"].to_list() for chunk in batch.pictures] == [["3"]]


def test_fresh_users_are_not_asked_for(service: Service) -> None:
    service.photos = posted(3)
    assert night(service, fresh=("0@N01", "1@N01")).users["user_id"].to_list() == ["2@N01"]


def test_posts_that_come_of_age_are_counted_anew_and_new_ones_among_them_taken_in(service: Service) -> None:
    service.photos = posted(1) + posted(3, start=NIGHT_STARTS - 7 * DAY, first_id=71)
    batch = night(service, known=("71", "73"))
    assert batch.posts["post_id"].to_list() == ["1", "72"]
    assert batch.observations["post_id"].to_list() == ["1", "71", "72", "73"]


@pytest.mark.parametrize("days", [1, 7, 30])
def test_a_known_post_that_is_no_longer_listed_is_asked_for_alone(service: Service, days: int) -> None:
    aged = {"posted_at": [SPAN.since - timedelta(days=days - 0.5)], "user_id": ["u"]}
    known = pl.concat([pl.DataFrame({"post_id": [one], **aged}) for one in ("hidden", "deleted", "buried")])
    grave = {"kind": ["post"], "id": ["buried"], "gone_at": [SEEN], "reason": ["gone"]}
    service.infos = {"hidden": {"id": "hidden", "views": "55", "comments": {"_content": "2"}}}
    with connected(service) as source:
        batch = source.night(SPAN, Memory(posts=known.cast(Memory().posts.schema), tombstones=pl.DataFrame(grave)))
    assert batch.observations.select("post_id", "views", "comments").rows() == [("hidden", 55, 2)]
    assert batch.tombstones.select("kind", "id", "reason").rows() == [("post", "deleted", "gone")]
    assert [form["photo_id"] for form in service.asked_for("flickr.photos.getInfo")] == ["deleted", "hidden"]


def test_users_wait_when_the_nights_calls_are_spent_and_those_with_most_posts_do_not(service: Service) -> None:
    service.photos = [photo(1, NIGHT_STARTS), photo(2, NIGHT_STARTS), photo(5, NIGHT_STARTS)]
    batch = night(service, calls_per_night=2)
    assert batch.users["user_id"].to_list() == ["2@N01"]
    assert "1 users wait for the next night" in batch.notes[0]
    assert service.asked_for("flickr.contacts.getPublicList") == []


def test_users_who_had_to_wait_are_asked_for_though_they_posted_nothing_new(service: Service) -> None:
    assert night(service, known=("1",)).users["user_id"].to_list() == ["1@N01"]


def test_a_user_who_is_not_for_us_is_not_asked_for_again_every_night(service: Service) -> None:
    """Error 2 or 116 said nothing about whether they are there, and was asked for again every night."""
    service.photos = posted(1)
    service.fault = lambda form: fail(116) if form["method"] == "flickr.people.getInfo" else None
    first = night(service, pictures=False)
    assert (first.users["user_id"].to_list(), first.users["photo_count"].to_list()) == (["1@N01"], [None])
    assert service.asked_for("flickr.contacts.getPublicList") == []
    assert first.notes == ("1 users are not shown to us: those who post after 7 days are asked for again.",)
    asked = len(service.asked_for("flickr.people.getInfo"))
    known = first.users.select("user_id", "observed_at", "photo_count")
    for days, more in ((1, 0), (7, 1)):
        then = known.with_columns(observed_at=pl.lit(SPAN.until - timedelta(days=days)))
        with connected(service) as source:
            again = source.night(SPAN, Memory(users=then.cast(Memory().users.schema)))
        assert len(service.asked_for("flickr.people.getInfo")) == asked + more
        assert again.users.height == more


def test_a_user_who_is_no_longer_for_us_keeps_the_numbers_of_before(service: Service) -> None:
    service.photos = posted(1)
    service.fault = lambda form: fail(2) if form["method"] == "flickr.people.getInfo" else None
    known = {"user_id": ["1@N01"], "observed_at": [SPAN.until - timedelta(days=8)], "photo_count": [5]}
    with connected(service) as source:
        batch = source.night(SPAN, Memory(users=pl.DataFrame(known).cast(Memory().users.schema)))  # type: ignore[arg-type]
    assert (batch.users.height, len(service.asked_for("flickr.people.getInfo"))) == (0, 1)


def test_following_is_left_out_where_it_is_not_wanted(service: Service) -> None:
    service.photos = posted(1)
    batch = night(service, following=False)
    assert (batch.users["following"][0], service.asked_for("flickr.contacts.getPublicList")) == (None, [])


def test_a_sample_of_hours_asks_for_the_same_part_of_every_hour_in_every_night(service: Service) -> None:
    service.photos = posted(24 * 60)
    sampling = SamplingParams(design="hours", minutes_per_hour=6)
    first, second = (night(service, sampling=sampling, pictures=False, following=False) for _ in range(2))
    assert first.posts["post_id"].to_list() == second.posts["post_id"].to_list()
    assert first.posts.height == 24 * 6
    assert first.posts.group_by(pl.col("posted_at").dt.hour()).len()["len"].to_list() == [6] * 24
    assert first.facts["sampling"] == {"design": "hours", "seed": 0}


def test_a_list_of_users_to_follow_asks_for_their_posts_only(service: Service) -> None:
    service.photos = posted(6)
    batch = night(service, sampling=SamplingParams(design="follow", users=("0@N01", "9@N01")))
    assert batch.posts["post_id"].to_list() == ["3", "6"]
    assert len(service.asked_for("flickr.photos.search")) == 2


def test_who_is_forgotten_is_not_taken_in(service: Service) -> None:
    service.photos = posted(6)
    forgotten = Forgotten(frozenset({"1"}), frozenset({"2@N01"}))
    with connected(service) as source:
        batch = source.night(SPAN, Memory(forgotten=forgotten))
    assert (batch.found, batch.forgotten, batch.posts["post_id"].to_list()) == (6, 3, ["3", "4", "6"])
    assert sorted(batch.users["user_id"]) == ["0@N01", "1@N01"]


def test_a_photo_that_came_damaged_first_and_whole_later_is_taken_in(service: Service) -> None:
    service.photos = posted(3)
    broken = [photo(1, NIGHT_STARTS, owner=""), photo(1, NIGHT_STARTS), photo(2, NIGHT_STARTS)]
    pages = [{"pages": 3, "total": 3, "photo": photos} for photos in ([one] for one in broken)]
    pages.append({"pages": 3, "total": 3, "photo": []})
    service.fault = lambda form: (
        answer({"stat": "ok", "photos": pages[min(int(form["page"]), 4) - 1]}) if "page" in form else None
    )
    batch = night(service, per_page=1)
    assert (batch.found, batch.posts["post_id"].to_list(), batch.rejected) == (2, ["1", "2"], ())


def test_a_user_who_is_gone_leaves_a_note_and_no_row(service: Service) -> None:
    service.photos, service.gone_users = posted(3), {"1@N01"}
    batch = night(service)
    assert (batch.users["user_id"].to_list(), batch.posts.height) == (["0@N01", "2@N01"], 3)
    assert batch.notes == ("1 users are gone: their numbers stay unknown.",)


def test_unusable_photos_are_rejected_and_counted(service: Service) -> None:
    service.photos = [photo(1, NIGHT_STARTS), photo(2, NIGHT_STARTS, owner=""), photo(3, 0, dateupload="")]
    batch = night(service)
    assert (batch.found, batch.posts.height) == (3, 1)
    assert sorted(one.reason for one in batch.rejected) == ["post 2 has no owner", "post 3 has no time of posting"]
    assert json.loads(batch.rejected[0].record)["photo"]["id"] == "2"
    assert all(b"A Name" not in one.record for one in batch.rejected)


def test_the_order_of_the_service_changes_nothing(service: Service) -> None:
    service.photos = posted(20)
    forward = night(service, per_page=7)
    service.photos = service.photos[::-1]
    backward = night(service, per_page=7)
    for table in ("posts", "users", "observations"):
        assert getattr(forward, table).equals(getattr(backward, table))


def test_the_oracle_is_asked_for_new_posts_and_only_where_wanted(service: Service) -> None:
    service.photos = posted(2)
    assert night(service, known=("1",), oracle=True).oracle.rows() == [("2", 5.5)]
    assert night(service).oracle.is_empty()


def test_a_post_without_oracle_is_noted(service: Service) -> None:
    service.photos = [photo(13, NIGHT_STARTS), photo(14, NIGHT_STARTS)]
    batch = night(service, oracle=True)
    assert (batch.oracle.rows(), len(batch.notes)) == ([("14", 5.5)], 1)


# Faults.


@pytest.mark.parametrize(
    "reply",
    [
        lambda: Response("<h1>slow down</h1>", 429),
        lambda: Response("", 503),
        lambda: Response('{"stat":"fail","code":201,}', 200),
        lambda: Response(b"\xff\xfe", 200),
        lambda: fail(105, "Service currently unavailable"),
        lambda: answer({"stat": "ok"}),
    ],
)
def test_a_passing_fault_is_tried_again(service: Service, reply: Callable[[], Response]) -> None:
    service.photos, service.fault = posted(2), first_times(2, reply)
    assert night(service).found == 2


def test_a_search_that_fails_for_ever_costs_its_own_minute_only(service: Service) -> None:
    service.photos = posted(10, step=HOUR)
    poison = NIGHT_STARTS + 5 * HOUR
    service.fault = lambda form: (
        Response("", 500)
        if int(form.get("min_upload_date", poison + 1)) <= poison <= int(form["max_upload_date"])
        else None
    )
    batch = night(service, smallest_window_seconds=600, pictures=False)
    assert batch.posts["post_id"].to_list() == ["1", "10", "2", "3", "4", "5", "7", "8", "9"]
    assert 600 <= batch.facts["broken_seconds"] < 1200
    assert "could not be read: the service answers other calls and fails at these" in batch.notes[0]


def test_a_user_at_whom_the_service_fails_for_ever_waits_and_holds_up_nobody(service: Service) -> None:
    service.photos = posted(3)
    service.fault = lambda form: Response("", 500) if form.get("user_id") == "1@N01" else None
    batch = night(service)
    assert (batch.users["user_id"].to_list(), batch.facts["users_waiting"]) == (["0@N01", "2@N01"], 1)
    assert batch.tombstones.is_empty()


def in_search(reply: Callable[[dict[str, str]], Response | None]) -> Callable[[dict[str, str]], Response | None]:
    return lambda form: reply(form) if form["method"] == "flickr.photos.search" else None


@pytest.mark.parametrize("code", [10, 20, 105])
def test_searches_that_all_fail_are_no_night_without_posts(service: Service, code: int) -> None:
    """Seen in review: every search answered error 10, or 20, and an empty night was stored, in silence for 20."""
    service.photos = posted(5)
    service.fault = in_search(lambda form: fail(code))
    with pytest.raises(TryAgainError, match=f"no search works.*error {code}.*run the same command later"):
        night(service)
    assert len(service.asked) < 800


def test_a_search_that_stops_working_in_the_middle_ends_the_night(service: Service) -> None:
    service.photos = posted(5)
    service.fault = in_search(lambda form: fail(10) if len(service.asked) > 1 else None)
    with pytest.raises(TryAgainError, match="error 10"):
        night(service, known=("71",))
    assert len(service.asked) < 200


def test_a_day_that_nobody_can_search_takes_few_calls_and_the_rest_is_read(service: Service) -> None:
    service.photos = posted(24 * 60)
    day = NIGHT_STARTS - 7 * DAY, NIGHT_STARTS - 6 * DAY
    touching = in_search(
        lambda form: (
            fail(10) if int(form["min_upload_date"]) < day[1] and day[0] <= int(form["max_upload_date"]) else None
        )
    )
    service.fault = touching
    batch = night(service, known=("9999",), pictures=False, following=False)
    assert batch.posts.height == 24 * 60
    assert DAY <= batch.facts["broken_seconds"] < 2 * DAY
    assert len(service.asked) < 300


def test_a_night_that_was_not_over_can_be_asked_for_again_later(service: Service, tmp_path: Path) -> None:
    """Seen in review: the journal kept saying that it was not over."""
    service.photos = posted(3)
    early = "Mon, 09 Mar 2026 23:50:00 GMT"
    empty = {"stat": "ok", "photos": {"pages": 0, "total": 0, "photo": []}}
    service.fault = in_search(lambda form: answer(empty, Date=early))
    settings = Settings(
        flickr_url=f"{service.base}/services/rest/", flickr_key=SecretStr(KEY), state_folder=tmp_path / "state"
    )
    params = IngestParams(source="flickr", **FAST)
    with (
        pytest.raises(UserError, match="not over"),
        open_flickr(settings, params, journal=tmp_path / "journal") as source,
    ):
        source.night(SPAN, memory())
    service.fault = lambda form: None
    with open_flickr(settings, params, journal=tmp_path / "journal") as source:
        assert source.night(SPAN, memory()).posts.height == 3


@pytest.mark.parametrize("code", [2, 5])
def test_a_followed_user_who_left_holds_up_nobody(service: Service, code: int) -> None:
    service.photos = posted(6)
    service.fault = in_search(lambda form: fail(code, "Unknown user") if form["user_id"] == "9@N01" else None)
    batch = night(service, sampling=SamplingParams(design="follow", users=("0@N01", "9@N01")))
    assert batch.posts["post_id"].to_list() == ["3", "6"]
    assert [one for one in batch.notes if one.startswith("9@N01: the service knows no such user")]


def test_following_nobody_is_a_mistake(service: Service) -> None:
    with pytest.raises(UserError, match=r"ingest.sampling.users names nobody"):
        night(service, sampling=SamplingParams(design="follow"))


def test_when_no_user_can_be_asked_for_five_are_tried_and_all_wait(service: Service) -> None:
    service.photos = [photo(number, NIGHT_STARTS, owner=f"{number}@N01") for number in range(1, 31)]
    service.fault = lambda form: fail(105) if form["method"] == "flickr.people.getInfo" else None
    batch = night(service, pictures=False)
    assert (batch.posts.height, batch.facts["users_waiting"]) == (30, 30)
    assert len({form["user_id"] for form in service.asked_for("flickr.people.getInfo")}) == 5


def test_posts_that_could_not_be_counted_are_said(service: Service) -> None:
    known = pl.DataFrame(
        {
            "post_id": ["1", "2"],
            "user_id": ["u", "u"],
            "posted_at": [SPAN.since - timedelta(days=6.5)] * 2,
        }
    ).cast(Memory().posts.schema)
    with connected(service, calls_per_night=1) as source:
        batch = source.night(SPAN, Memory(posts=known))
    assert [one for one in batch.notes if one.startswith("2 posts that no search lists any more could not")]


def test_a_lasting_fault_says_try_again_later(service: Service) -> None:
    service.fault = lambda form: Response("", 503)
    with pytest.raises(TryAgainError, match=r"127.0.0.1:\d+ is down: it answered HTTP 503, after 3 tries"):
        night(service)
    assert len(service.asked) == 3 + 3  # the search, and whether anything is answered at all


def test_retry_after_is_honoured(service: Service) -> None:
    service.photos = posted(1)
    service.fault = first_times(1, lambda: Response("", 429, headers={"Retry-After": "1"}))
    started = time.monotonic()
    night(service)
    assert time.monotonic() - started >= 1


def test_a_retry_after_beyond_the_deadline_ends_the_night_at_once(service: Service) -> None:
    service.fault = lambda form: Response("", 429, headers={"Retry-After": "3600"})
    with pytest.raises(TryAgainError, match="429"):
        night(service)
    assert len(service.asked) == 2


def test_a_key_that_is_not_accepted_stops_at_once_and_is_never_shown(service: Service) -> None:
    with pytest.raises(UserError, match="does not accept the key in FLICKCAST_FLICKR_KEY") as caught:
        night(service, key="wrong-secret")
    assert "wrong-secret" not in str(caught.value)
    assert len(service.asked) == 1


def test_the_key_is_in_no_address_log_or_table(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    service.photos = posted(2)
    service.fault = first_times(1, lambda: Response("", 503))
    batch = night(service)
    assert all("?" not in url for url in service.urls)
    assert KEY not in caplog.text
    assert KEY not in batch.posts.write_json() + batch.users.write_json()


def test_a_search_that_is_wrong_is_our_fault_and_says_so(service: Service) -> None:
    service.fault = lambda form: fail(3, "Parameterless searches have been disabled")
    with pytest.raises(RefusedError, match=r"refused flickr.photos.search: error 3: Parameterless"):
        night(service)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_no_network() -> None:
    unreachable = Service(base=f"http://nowhere.invalid:{_free_port()}")
    with pytest.raises(UserError, match=r"no network: cannot reach nowhere.invalid.*FLICKCAST_FLICKR_URL"):
        night(unreachable)


def test_a_service_that_refuses_from_the_start_is_down() -> None:
    with pytest.raises(TryAgainError, match="is down: it does not connect"):
        night(Service(base=f"http://127.0.0.1:{_free_port()}"))


def test_a_service_that_goes_away_in_the_middle_says_try_again_later() -> None:
    with ExitStack() as up:
        running = up.enter_context(serving(Service(photos=posted(1))))
        with connected(running) as source:
            assert source.night(SPAN, memory()).found == 1
            up.close()
            with pytest.raises(TryAgainError, match="is down: it does not connect"):
                source.night(SPAN, memory())


@pytest.mark.parametrize("key", [None, "", "  "])
def test_a_missing_key(key: str | None) -> None:
    settings = Settings(flickr_key=key)  # type: ignore[arg-type]
    with (
        pytest.raises(UserError, match="FLICKCAST_FLICKR_KEY is not set"),
        open_clients(settings, IngestParams()),
    ):
        pass


@pytest.mark.parametrize("url", ["flickr", "ftp://host/rest", "https://"])
def test_an_address_that_is_none(url: str) -> None:
    settings = Settings(flickr_url=url, flickr_key=SecretStr("k"))
    with pytest.raises(UserError, match="FLICKCAST_FLICKR_URL"), open_clients(settings, IngestParams()):
        pass


def test_what_was_answered_stays_in_the_journal_until_it_is_done_with(service: Service, tmp_path: Path) -> None:
    service.photos = posted(1)
    settings = Settings(flickr_url=f"{service.base}/services/rest/", flickr_key=SecretStr(KEY))
    for _ in range(2):
        with open_flickr(settings, IngestParams(**FAST), journal=tmp_path / "j" / "night") as source:
            batch = source.night(SPAN, memory())
            pictures = [chunk.images.height for chunk in batch.pictures]
    assert (batch.found, pictures) == (1, [1])
    assert len(service.asked) == batch.facts["calls_in_all"] == 3  # the search, a user, whom they follow
    source.session.done()
    assert not (tmp_path / "j" / "night").exists()


# Pictures.


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Response("", 404), "is gone (HTTP 404)"),
        (RedirectResponse("/pictures/ok.jpg"), "is gone (HTTP 307, a redirect)"),
        (Response(jpeg(), media_type="text/html"), "came as 'text/html', not image/jpeg"),
        (Response(jpeg()[:100], media_type="image/jpeg"), "does not decode"),
        (Response(b"", media_type="image/jpeg"), "does not decode"),
        (Response("", 410), "is gone (HTTP 410)"),
    ],
)
def test_what_is_no_picture_is_rejected_and_its_post_stays(service: Service, reply: Response, reason: str) -> None:
    service.photos, service.pictures = posted(2), {"1.jpg": reply}
    with connected(service) as source:
        batch = source.night(SPAN, memory())
        (chunk,) = batch.pictures
    assert (batch.posts.height, chunk.images["post_id"].to_list()) == (2, ["2"])
    assert f"picture of post 1 {reason}" in chunk.rejected[0].reason


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/1.jpg",
        "http://live.staticflickr.com@example.org/1.jpg",
        "http://staticflickr.com.example.org/1.jpg",
        "http://localhost:1/1.jpg",
        "file:///etc/passwd",
        "http://[",
    ],
)
def test_pictures_elsewhere_are_not_asked_for(service: Service, url: str) -> None:
    service.photos = [photo(1, NIGHT_STARTS, url_z=url)]
    with connected(service) as source:
        (chunk,) = source.night(SPAN, memory()).pictures
    assert chunk.rejected[0].reason == "picture of post 1 is not on an image host of the service"


@pytest.mark.parametrize("status", [403, 408, 429, 500, 503])
def test_one_picture_that_cannot_be_had_does_not_hold_up_the_night(service: Service, status: int) -> None:
    service.photos, service.pictures = posted(3), {"2.jpg": Response("", status)}
    with connected(service) as source:
        (chunk,) = source.night(SPAN, memory()).pictures
    assert chunk.images["post_id"].to_list() == ["1", "3"]
    assert f"could not be had: 127.0.0.1 answered HTTP {status}" in chunk.rejected[0].reason


def test_pictures_failing_in_a_row_end_the_night(service: Service) -> None:
    service.photos = posted(FAILED_PICTURES)
    service.pictures = {f"{number}.jpg": Response("", 503) for number in range(1, FAILED_PICTURES + 1)}
    with connected(service) as source, pytest.raises(TryAgainError, match=r"5 pictures in a row .* HTTP 503"):
        list(source.night(SPAN, memory()).pictures)


def test_an_image_host_that_cannot_be_reached_ends_the_night(service: Service) -> None:
    port = _free_port()
    service.photos = [
        photo(number, NIGHT_STARTS, url_z=f"http://127.0.0.1:{port}/{number}.jpg") for number in range(1, 9)
    ]
    with connected(service) as source, pytest.raises(TryAgainError, match="does not connect"):
        list(source.night(SPAN, memory()).pictures)
