"""The Flickr source against a small service on loopback: windows, pages, faults, users, pictures, no key anywhere."""

import itertools
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from challenge_files import jpeg
from fast import FAST
from flickr_service import KEY, NIGHT_STARTS, Service, answer, fail, photo, serving
from pydantic import SecretStr
from starlette.responses import RedirectResponse, Response

from flickcast.errors import TryAgainError, UserError
from flickcast.params import IngestParams, LabelParams
from flickcast.records import Batch
from flickcast.settings import Settings
from flickcast.sources.flickr import FlickrSource, open_flickr
from flickcast.sources.flickr_client import FlickrClient, RefusedError, Verdict, classify
from flickcast.sources.flickr_images import FAILED_PICTURES, ImageClient
from flickcast.sources.web import Patience, RateLimiter

NIGHT = date(2026, 3, 9)
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
    client = FlickrClient(
        f"{service.base}/services/rest/", SecretStr(key), calls_per_second=1e6, timeout_seconds=2, patience=patience
    )
    images = ImageClient(client.host, per_second=1e6, timeout_seconds=2, patience=patience)
    yield FlickrSource(client, images, asked, maturity_days=7)
    client.close()
    images.close()


def night(service: Service, known: tuple[str, ...] = (), fresh: tuple[str, ...] = (), **options: Any) -> Batch:
    with connected(service, **options) as source:
        batch = source.night(NIGHT, known_post_ids=known, fresh_user_ids=fresh)
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
    assert len(service.asked_for("flickr.photos.search")) == 2


def test_empty_pages_without_end_are_left(service: Service) -> None:
    service.fault = lambda form: answer({"stat": "ok", "photos": {"pages": 10**9, "total": 5}})
    assert "holds 5 posts and lets us read 0" in night(service).notes[0]


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
    assert "holds 6 posts and lets us read 3; the others are missed" in batch.notes[0]


@pytest.mark.parametrize("asked", [date(2026, 3, 10), date(2099, 1, 1)])
def test_a_night_that_is_not_over_by_the_services_clock_is_refused(service: Service, asked: date) -> None:
    service.photos = posted(1)
    with connected(service) as source, pytest.raises(UserError, match=r"clock reads 2026-03-10 00:30 UTC"):
        source.night(asked, known_post_ids=(), fresh_user_ids=())
    assert len(service.asked) == 1


def test_known_posts_are_found_again_without_their_users_and_pictures(service: Service) -> None:
    service.photos = posted(3)
    batch = night(service, known=("1", "2"))
    assert batch.found == batch.posts.height == batch.observations.height == 3
    assert batch.users["user_id"].to_list() == ["0@N01"]
    assert [chunk.images["post_id"].to_list() for chunk in batch.pictures] == [["3"]]


def test_fresh_users_are_not_asked_for(service: Service) -> None:
    service.photos = posted(3)
    assert night(service, fresh=("0@N01", "1@N01")).users["user_id"].to_list() == ["2@N01"]


def test_known_posts_that_come_of_age_are_counted_anew(service: Service) -> None:
    service.photos = posted(1) + posted(3, start=NIGHT_STARTS - 7 * DAY, first_id=71)
    batch = night(service, known=("71", "73"))
    assert batch.posts["post_id"].to_list() == ["1"]
    assert batch.observations["post_id"].to_list() == ["1", "71", "73"]


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
    assert json.loads(batch.rejected[0].record)["id"] == "2"
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
    ("status", "body", "verdict"),
    [
        (200, {"stat": "ok"}, Verdict.OK),
        (200, None, Verdict.RETRY),
        (200, ["stat"], Verdict.RETRY),
        (200, {"photos": {}}, Verdict.RETRY),
        (
            200,
            {"stat": "fail", "code": 0, "message": "Sorry, the API service is not currently available"},
            Verdict.RETRY,
        ),
        (200, {"stat": "fail", "code": 4711, "message": "The API service is not currently available"}, Verdict.RETRY),
        (200, {"stat": "fail", "code": "105", "message": ""}, Verdict.RETRY),
        (200, {"stat": "fail", "code": 201, "message": ""}, Verdict.RETRY),
        (200, {"stat": "fail", "code": 10, "message": ""}, Verdict.RETRY),
        (200, {"stat": "fail", "code": 1, "message": ""}, Verdict.GONE),
        (200, {"stat": "fail", "code": 5, "message": ""}, Verdict.GONE),
        (200, {"stat": "fail", "code": 20, "message": ""}, Verdict.SPLIT),
        (200, {"stat": "fail", "code": 100, "message": ""}, Verdict.STOP),
        (200, {"stat": "fail", "code": 112, "message": ""}, Verdict.BUG),
        (200, {"stat": "fail", "code": None}, Verdict.BUG),
        (429, None, Verdict.RETRY),
        (503, None, Verdict.RETRY),
        (401, None, Verdict.STOP),
        (404, None, Verdict.BUG),
        (302, None, Verdict.BUG),
    ],
)
def test_what_each_answer_means(status: int, body: Any, verdict: Verdict) -> None:
    assert classify(status, body) is verdict


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


def test_a_lasting_fault_says_try_again_later(service: Service) -> None:
    service.fault = lambda form: Response("", 503)
    with pytest.raises(TryAgainError, match=r"127.0.0.1:\d+ is down: it answered HTTP 503, after 3 tries"):
        night(service)
    assert len(service.asked) == 3


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
    assert len(service.asked) == 1


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


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
def test_no_network(host: str) -> None:
    unreachable = Service(base=f"http://{host}:{_free_port()}")
    with pytest.raises(UserError, match=rf"no network: cannot reach {host}.*FLICKCAST_FLICKR_URL"):
        night(unreachable)


def test_a_service_that_goes_away_in_the_middle_says_try_again_later() -> None:
    with ExitStack() as up:
        running = up.enter_context(serving(Service(photos=posted(1))))
        with connected(running) as source:
            assert source.night(NIGHT, known_post_ids=(), fresh_user_ids=()).found == 1
            up.close()
            with pytest.raises(TryAgainError, match="is down: it does not connect"):
                source.night(NIGHT, known_post_ids=(), fresh_user_ids=())


@pytest.mark.parametrize("key", [None, "", "  "])
def test_a_missing_key(key: str | None) -> None:
    settings = Settings(flickr_key=key)  # type: ignore[arg-type]
    with (
        pytest.raises(UserError, match="FLICKCAST_FLICKR_KEY is not set"),
        open_flickr(settings, IngestParams(), LabelParams()),
    ):
        pass


@pytest.mark.parametrize("url", ["flickr", "ftp://host/rest", "https://"])
def test_an_address_that_is_none(url: str) -> None:
    settings = Settings(flickr_url=url, flickr_key=SecretStr("k"))
    with pytest.raises(UserError, match="FLICKCAST_FLICKR_URL"), open_flickr(settings, IngestParams(), LabelParams()):
        pass


def test_open_flickr_reads_a_night(service: Service) -> None:
    service.photos = posted(1)
    settings = Settings(flickr_url=f"{service.base}/services/rest/", flickr_key=SecretStr(KEY))
    with open_flickr(settings, IngestParams(**FAST), LabelParams()) as source:
        assert source.night(NIGHT, known_post_ids=set(), fresh_user_ids=set()).found == 1


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
        batch = source.night(NIGHT, known_post_ids=(), fresh_user_ids=())
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
        (chunk,) = source.night(NIGHT, known_post_ids=(), fresh_user_ids=()).pictures
    assert chunk.rejected[0].reason == "picture of post 1 is not on an image host of the service"


@pytest.mark.parametrize("status", [403, 408, 429, 500, 503])
def test_one_picture_that_cannot_be_had_does_not_hold_up_the_night(service: Service, status: int) -> None:
    service.photos, service.pictures = posted(3), {"2.jpg": Response("", status)}
    with connected(service) as source:
        (chunk,) = source.night(NIGHT, known_post_ids=(), fresh_user_ids=()).pictures
    assert chunk.images["post_id"].to_list() == ["1", "3"]
    assert f"could not be had: 127.0.0.1 answered HTTP {status}" in chunk.rejected[0].reason


def test_pictures_failing_in_a_row_end_the_night(service: Service) -> None:
    service.photos = posted(FAILED_PICTURES)
    service.pictures = {f"{number}.jpg": Response("", 503) for number in range(1, FAILED_PICTURES + 1)}
    with connected(service) as source, pytest.raises(TryAgainError, match=r"5 pictures in a row .* HTTP 503"):
        list(source.night(NIGHT, known_post_ids=(), fresh_user_ids=()).pictures)


def test_an_image_host_that_cannot_be_reached_ends_the_night(service: Service) -> None:
    port = _free_port()
    service.photos = [
        photo(number, NIGHT_STARTS, url_z=f"http://127.0.0.1:{port}/{number}.jpg") for number in range(1, 9)
    ]
    with connected(service) as source, pytest.raises(TryAgainError, match="does not connect"):
        list(source.night(NIGHT, known_post_ids=(), fresh_user_ids=()).pictures)


def test_attempts_are_spaced() -> None:
    limiter = RateLimiter(50)
    started = time.monotonic()
    for _ in range(6):
        limiter.wait()
    assert time.monotonic() - started >= 5 / 50
