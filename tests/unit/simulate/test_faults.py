import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from io import BytesIO
from threading import Thread
from typing import Any

import httpx
import pytest
from PIL import Image

from flickcast.errors import UserError
from flickcast.simulate.faults import ALL_KINDS, API_KINDS, PICTURE_KINDS, SEARCH_KINDS, Dice, Faults
from flickcast.simulate.oddities import Oddities
from flickcast.simulate.service import serving
from flickcast.simulate.world import World

NOW = datetime(2016, 1, 12, 2, 0, tzinfo=UTC)
MIDNIGHT = int(datetime(2016, 1, 10, tzinfo=UTC).timestamp())
DAY = {"min_upload_date": str(MIDNIGHT), "max_upload_date": str(MIDNIGHT + 86_399), "sort": "date-posted-asc"}
FORM = {"method": "flickr.photos.search", "api_key": "key", "format": "json", "nojsoncallback": "1", **DAY}
STALL = 0.3  # seconds until our client gives up
PAGE = 15


@contextmanager
def client(world: World, faults: Faults | None = None) -> Iterator[httpx.Client]:
    with serving(world, NOW, faults=faults) as address, httpx.Client(base_url=address, timeout=20.0) as http:
        yield http


def only(kind: str, **others: Any) -> Faults:
    return Faults(per_thousand=1000, kinds=(kind,), **others)


@pytest.fixture(scope="module")
def service(world: World) -> Iterator[httpx.Client]:
    """One service for the tests that only differ in the kind of fault."""
    with client(world) as http:
        yield http


@pytest.fixture
def http(service: httpx.Client, request: pytest.FixtureRequest) -> httpx.Client:
    """The service when every request meets the test's kind of fault."""
    kind = request.getfixturevalue("kind")
    assert service.post("/simulation/faults", json={"per_thousand": 1000, "kinds": [kind]}).status_code == 200
    return service


def ask(http: httpx.Client, page: int = 2, **changed: str) -> httpx.Response:
    return http.post("/services/rest/", data={**FORM, "per_page": str(PAGE), "page": str(page), **changed})


def ids(answer: httpx.Response) -> list[str]:
    return [photo["id"] for photo in answer.json()["photos"]["photo"]]


def true_ids(world: World, page: int = 2) -> list[str]:
    return world.posts(9)["post_id"].to_list()[(page - 1) * PAGE : page * PAGE]


def has_status(status: int, retry_after: str | None = None) -> Callable[[httpx.Response, World], None]:
    def check(answer: httpx.Response, world: World) -> None:
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith("text/html")
        told = answer.headers.get("retry-after")
        assert told == retry_after if retry_after != "date" else parsedate_to_datetime(told or "") > NOW

    return check


def has_code(code: int) -> Callable[[httpx.Response, World], None]:
    def check(answer: httpx.Response, world: World) -> None:
        assert (answer.status_code, answer.json()["stat"], answer.json()["code"]) == (200, "fail", code)

    return check


def parses_not(answer: httpx.Response, world: World) -> None:
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def is_like(start: str) -> Callable[[httpx.Response, World], None]:
    def check(answer: httpx.Response, world: World) -> None:
        parses_not(answer, world)
        assert answer.text.startswith(start)

    return check


def has_a_comma_too_many(answer: httpx.Response, world: World) -> None:
    parses_not(answer, world)
    assert json.loads(answer.text.removesuffix(",}") + "}")["stat"] == "ok"


def lacks_its_part(answer: httpx.Response, world: World) -> None:
    assert answer.json() == {"stat": "ok"}


def is_from_another_time(answer: httpx.Response, world: World) -> None:
    assert abs(parsedate_to_datetime(answer.headers["date"]) - NOW) >= timedelta(hours=1)
    assert ids(answer) == true_ids(world)


def lacks_its_list(answer: httpx.Response, world: World) -> None:
    assert set(answer.json()["photos"]) == {"page", "pages", "perpage", "total"}


def is_an_earlier_page(answer: httpx.Response, world: World) -> None:
    assert ids(answer) == true_ids(world, 1)


def has_fewer_posts(answer: httpx.Response, world: World) -> None:
    assert set(ids(answer)) < set(true_ids(world))


def tells_more(answer: httpx.Response, world: World) -> None:
    assert int(answer.json()["photos"]["total"]) > world.posts(9).height
    assert ids(answer) == true_ids(world)


def tells_fewer(answer: httpx.Response, world: World) -> None:
    assert int(answer.json()["photos"]["total"]) < world.posts(9).height
    assert ids(answer) == true_ids(world)


def has_posts_twice(answer: httpx.Response, world: World) -> None:
    listed = ids(answer)
    assert set(listed) == {*true_ids(world, 1)[-3:], *true_ids(world)}
    assert len(listed) == len(set(listed)) + 3


def misses_its_first_post(answer: httpx.Response, world: World) -> None:
    assert ids(answer) == [*true_ids(world)[1:], true_ids(world, 3)[0]]


def is_in_disorder(answer: httpx.Response, world: World) -> None:
    assert ids(answer) != true_ids(world)
    assert sorted(ids(answer)) == true_ids(world)


ANSWERS: dict[str, Callable[[httpx.Response, World], None]] = {
    "429": has_status(429),
    "429-seconds": has_status(429, "1"),
    "429-date": has_status(429, "date"),
    **{str(status): has_status(status) for status in (500, 502, 503, 504)},
    "html": is_like("<!DOCTYPE html>"),
    "xml": is_like("<?xml"),
    **{f"code-{code}": has_code(code) for code in (0, 10, 105, 106, 201)},
    "json-cut": parses_not,
    "json-comma": has_a_comma_too_many,
    "part-missing": lacks_its_part,
    "clock-skew": is_from_another_time,
    "length-short": parses_not,
    "photo-missing": lacks_its_list,
    "page-repeated": is_an_earlier_page,
    "page-shrunk": has_fewer_posts,
    "total-up": tells_more,
    "total-down": tells_fewer,
    "duplicates": has_posts_twice,
    "post-moved": misses_its_first_post,
    "rough-order": is_in_disorder,
}
ERRORS: dict[str, type[Exception]] = {
    "timeout": httpx.ReadTimeout,
    "reset-at-once": httpx.ReadError,
    "reset-before-body": httpx.ReadError,
    "reset-mid-body": httpx.ReadError,
    "length-long": httpx.RemoteProtocolError,
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_the_answer_has_the_fault_that_its_kind_says(http: httpx.Client, world: World, kind: str) -> None:
    before = http.get("/simulation/ledger").json()["faults"].get(kind, 0)
    ANSWERS[kind](ask(http), world)
    assert http.get("/simulation/ledger").json()["faults"][kind] == before + 1
    assert http.get("/simulation/log").json()["requests"][-1]["fault"] == kind


@pytest.mark.parametrize("kind", ERRORS)
def test_the_connection_breaks_as_its_kind_says(http: httpx.Client, kind: str) -> None:
    with pytest.raises(ERRORS[kind]):
        http.post("/services/rest/", data=FORM, timeout=STALL if kind == "timeout" else 20.0)


def test_of_an_answer_reset_in_mid_body_a_part_arrives(world: World) -> None:
    received: list[bytes] = []
    with client(world, only("reset-mid-body")) as http, http.stream("POST", "/services/rest/", data=FORM) as answer:
        with pytest.raises(httpx.ReadError):
            received.extend(answer.iter_bytes(100))
        told = int(answer.headers["content-length"])
    assert received[0].startswith(b'{"photos":{')
    assert 0 < len(b"".join(received)) < told


def test_a_slow_drip_gives_a_byte_at_a_time(world: World) -> None:
    with client(world, only("slow-drip", drip_seconds=0.05)) as http:
        began = time.monotonic()
        with http.stream("POST", "/services/rest/", data=FORM) as answer:
            pieces = [piece for piece, _ in zip(answer.iter_raw(), range(4), strict=False)]
        assert {len(piece) for piece in pieces} == {1}
        assert time.monotonic() - began > 0.1


@pytest.mark.parametrize("kind", ["gzip-bomb", "endless-body"])
def test_a_body_grows_beyond_all_measure(world: World, kind: str) -> None:
    size = 0
    with client(world, only(kind)) as http, http.stream("POST", "/services/rest/", data=FORM) as answer:
        for piece in answer.iter_bytes():
            size += len(piece)
            if size > 70 << 20:
                break
        assert answer.num_bytes_downloaded < 1 << 20 or kind == "endless-body"
    assert size > 70 << 20


def picture(http: httpx.Client, world: World) -> httpx.Response:
    post = world.posts(9).row(3, named=True)
    return http.get(f"/65535/{post['post_id']}_{post['secret']}_z.jpg")


def redirects(answer: httpx.Response, size: int) -> None:
    assert (answer.status_code, answer.headers["location"]) == (302, "/images/photo_unavailable.png")


def is_a_jpeg_of_another_size(answer: httpx.Response, size: int) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(BytesIO(answer.content)).size != (size, size)


def does_not_decode(answer: httpx.Response, size: int) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    with pytest.raises(OSError, match=r"(?i)truncated|cannot identify"):
        Image.open(BytesIO(answer.content)).load()


def is_not_called_a_jpeg(answer: httpx.Response, size: int) -> None:
    assert answer.headers["content-type"].startswith("text/html")


def is_missing(answer: httpx.Response, size: int) -> None:
    assert answer.status_code == 404


PICTURES: dict[str, Callable[[httpx.Response, int], None]] = {
    "picture-redirect": redirects,
    "picture-placeholder": is_a_jpeg_of_another_size,
    "picture-size": is_a_jpeg_of_another_size,
    "picture-cut": does_not_decode,
    "picture-empty": does_not_decode,
    "picture-type": is_not_called_a_jpeg,
    "picture-404": is_missing,
}


@pytest.mark.parametrize("kind", PICTURES)
def test_the_picture_has_the_fault_that_its_kind_says(http: httpx.Client, world: World, kind: str) -> None:
    PICTURES[kind](picture(http, world), world.params.picture_size)
    assert ids(ask(http)) == true_ids(world)  # a picture's faults hit no call


@pytest.mark.parametrize("kind", ["reset-at-once", "reset-before-body", "reset-mid-body"])
def test_the_picture_host_resets_too(http: httpx.Client, world: World, kind: str) -> None:
    with pytest.raises(httpx.ReadError):
        picture(http, world)


@pytest.mark.parametrize("kind", ["429", "500", "502", "503", "504"])
def test_the_picture_host_refuses_too(http: httpx.Client, world: World, kind: str) -> None:
    assert picture(http, world).status_code == int(kind)


def test_every_kind_is_seen_by_a_test() -> None:
    seen = {*ANSWERS, *ERRORS, *PICTURES, "slow-drip", "gzip-bomb", "endless-body"}
    assert seen == set(ALL_KINDS)
    assert set(ALL_KINDS) == {*API_KINDS, *SEARCH_KINDS, *PICTURE_KINDS}


@contextmanager
def stalled(world: World, kind: str) -> Iterator[tuple[str, Thread]]:
    """A service whose one client waits for an answer that does not come."""
    with serving(world, NOW, faults=only(kind)) as address:
        thread = Thread(target=wait_in_vain, args=[address], daemon=True)
        thread.start()
        while not httpx.get(f"{address}/simulation/log").json()["requests"]:
            time.sleep(0.01)
        yield address, thread


def wait_in_vain(address: str) -> None:
    with httpx.Client(base_url=address, timeout=60.0) as waiting, pytest.raises(httpx.TransportError):
        ask(waiting)


@pytest.mark.parametrize("kind", ["timeout", "slow-drip", "endless-body"])
def test_a_stalled_answer_holds_up_no_other(world: World, kind: str) -> None:
    with stalled(world, kind) as (address, thread):
        assert httpx.get(f"{address}/simulation/ledger", timeout=2.0).json()["faults"] == {kind: 1}
        assert thread.is_alive()


@pytest.mark.parametrize("kind", ["timeout", "slow-drip", "endless-body"])
def test_the_service_ends_at_once_in_the_middle_of_a_stall(world: World, kind: str) -> None:
    with stalled(world, kind) as (_, thread):
        began = time.monotonic()
    assert time.monotonic() - began < 3.0
    thread.join(5.0)
    assert not thread.is_alive()


def seen_kinds(world: World, faults: Faults) -> list[str | None]:
    with client(world, faults) as http:
        for page in range(1, 5):
            for _ in range(10):
                ask(http, page)
        return [row["fault"] for row in http.get("/simulation/log").json()["requests"]]


def test_the_same_questions_meet_the_same_faults(world: World) -> None:
    quick = ("500", "html", "json-cut", "page-repeated")
    first, again = (seen_kinds(world, Faults(500, seed=3, kinds=quick)) for _ in range(2))
    assert first == again
    assert first != seen_kinds(world, Faults(500, seed=4, kinds=quick))
    assert set(first) == {*quick, None}


def test_a_draw_does_not_depend_on_what_else_is_asked() -> None:
    alone, together = Dice(Faults(500, seed=1)), Dice(Faults(500, seed=1))

    def kinds(dice: Dice, others: int) -> list[str | None]:
        drawn = []
        for _ in range(50):
            fault = dice.draw("this", ALL_KINDS)
            drawn.append(fault and fault.kind)
            for other in range(others):
                dice.draw(f"that {other}", ALL_KINDS)
        return drawn

    assert kinds(alone, 0) == kinds(together, 3)


@pytest.mark.parametrize("rate", [10, 100, 300])
def test_as_many_requests_are_hit_as_the_rate_says(rate: int) -> None:
    dice = Dice(Faults(rate))
    hit = sum(dice.draw(f"question {number}", API_KINDS) is not None for number in range(10_000))
    assert abs(hit - 10 * rate) < 0.15 * 10 * rate + 30


def test_the_ledger_names_all_that_a_client_could_read(world: World) -> None:
    """Of broken answers too: what is cut or garbled may be read in part."""
    kinds = tuple(kind for kind in API_KINDS + SEARCH_KINDS if kind not in ("timeout", "slow-drip", "endless-body"))
    readable: set[str] = set()
    with client(world, Faults(600, kinds=kinds)) as http:
        for page in range(1, 7):
            for _ in range(6):
                try:
                    text = ask(http, page).text
                except (httpx.TransportError, httpx.DecodingError):
                    continue
                readable.update(post for post in world.posts(9)["post_id"] if f'"{post}"' in text)
        ledger = http.get("/simulation/ledger").json()
        log = http.get("/simulation/log").json()["requests"]
    assert readable == set(ledger["posts_offered"])
    assert ledger["calls"] == {"flickr.photos.search": 36}
    assert sum(ledger["faults"].values()) == sum(row["fault"] is not None for row in log) > 10


def test_a_post_that_no_answer_lists_is_not_offered(world: World) -> None:
    with client(world, only("page-shrunk")) as http:
        listed = ids(ask(http))
        assert http.get("/simulation/ledger").json()["posts_offered"] == sorted(listed)


def test_the_log_tells_when_each_request_came(world: World) -> None:
    began = time.time()
    with client(world) as http:
        ask(http)
        http.post("/services/rest/", data={**FORM, "method": "flickr.test.echo"})
        picture(http, world)
        log = http.get("/simulation/log").json()
    assert [(row["method"], row["fault"]) for row in log["requests"]] == [
        ("flickr.photos.search", None),
        ("flickr.test.echo", None),
    ]
    assert [row["post_id"] for row in log["pictures"]] == [world.posts(9)["post_id"][3]]
    times = [row["at"] for row in (*log["requests"], *log["pictures"])]
    assert began <= times[0] <= times[1] <= times[2] <= time.time()


def test_faults_can_be_changed_while_the_service_runs(world: World) -> None:
    with client(world) as http:
        assert ids(ask(http)) == true_ids(world)
        assert http.post("/simulation/faults", json={"per_thousand": 1000, "kinds": ["503"]}).status_code == 200
        assert ask(http).status_code == 503
        assert http.post("/simulation/faults", json={"per_thousand": 0}).status_code == 200
        assert ids(ask(http)) == true_ids(world)
        assert http.post("/simulation/faults", json={"kinds": ["no such"]}).status_code == 400
        assert http.post("/simulation/faults", json=[]).status_code == 400


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"per_thousand": -1}, "rate of -1"), ({"per_thousand": 1001}, "rate of 1001"), ({"kinds": ("x",)}, "'x'")],
)
def test_faults_that_cannot_be_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Faults(**wrong)


def test_faults_and_oddities_come_from_the_command_line(
    flickcast: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[tuple[World, Faults]] = []
    monkeypatch.setattr(
        "flickcast.simulate.service.run", lambda world, *, faults, **others: served.append((world, faults))
    )
    kinds = ("--fault", "html", "--fault", "timeout")
    assert flickcast("simulate", "serve", "--faults", 100, "--fault-seed", 3, *kinds, "--oddities", 20).code == 0
    assert flickcast("simulate", "serve").code == 0
    (odd, faulty), (plain, sound) = served
    assert (faulty.per_thousand, faulty.seed, faulty.kinds) == (100, 3, ("html", "timeout"))
    assert odd.params.oddities == Oddities(late=0.02, redated=0.02, removed=0.02, unusable=0.02)
    assert (sound.per_thousand, sound.kinds, plain.params.oddities) == (0, ALL_KINDS, Oddities())
    wrong = flickcast("simulate", "serve", "--fault", "no-such")
    assert wrong.code == 2
    assert wrong.err.startswith("flickcast: no kind of fault is called 'no-such'; there are 429,")
