"""One call to a service on loopback: what each answer means, when it is tried again, and what is said in the end."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from flickr_service import KEY, Service, answer, fail, serving
from pydantic import SecretStr
from starlette.responses import Response

from flickcast.errors import TryAgainError, UserError
from flickcast.settings import Settings
from flickcast.sources.budget import Budget, Clock
from flickcast.sources.flickr_client import FlickrClient, RefusedError, Verdict, classify
from flickcast.sources.web import Deadlines, Patience

SEARCH, PERSON = "flickr.photos.search", "flickr.people.getInfo"
FAST = 1000.0  # times real time
QUICK = Deadlines(call_seconds=2)


@pytest.fixture
def service() -> Iterator[Service]:
    with serving(Service()) as running:
        yield running


@contextmanager
def client(base: str, folder: Path, *, patience: Patience = Patience(), speed: float = FAST) -> Iterator[FlickrClient]:  # noqa: B008
    budget = Budget("test", folder=folder, per_second=1e6, clock=Clock(speed))
    one = FlickrClient(f"{base}/services/rest/", SecretStr(KEY), budget=budget, patience=patience, deadlines=QUICK)
    yield one
    one.close()


def person(one: FlickrClient) -> dict[str, Any]:
    return one.call(PERSON, "person", user_id="1@N01").content


def in_turn(*replies: Response) -> Callable[[dict[str, str]], Response | None]:
    """Faults that come first, one a call."""
    left = list(replies)
    return lambda form: left.pop(0) if left else None


def said(code: int | str | None, message: str = "") -> dict[str, Any]:
    return {"stat": "fail", "code": code, "message": message}


DOWN = "Sorry, the Flickr API service is not currently available."


@pytest.mark.parametrize(
    ("method", "codes", "verdict"),
    [
        (SEARCH, [1, 3, 4, *range(11, 20)], Verdict.BUG),
        (PERSON, [1, 5], Verdict.GONE),
        ("flickr.photos.getInfo", [1], Verdict.GONE),
        ("flickr.contacts.getPublicList", [1], Verdict.GONE),
        ("flickr.interestingness.getList", [1], Verdict.BUG),
        (SEARCH, [5], Verdict.GONE),
        (SEARCH, [2, 116], Verdict.SKIP),
        (SEARCH, [20], Verdict.SPLIT),
        (PERSON, [0, 10, 105, 106, 201], Verdict.RETRY),
        (PERSON, range(95, 101), Verdict.STOP),
        (PERSON, [111, 112, 114, 115, 4711], Verdict.BUG),
    ],
)
def test_every_code_has_its_meaning(method: str, codes: list[int], verdict: Verdict) -> None:
    assert {classify(200, said(code), method) for code in codes} == {verdict}
    assert {classify(200, said(str(code)), method) for code in codes} == {verdict}


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, {"stat": "ok"}, Verdict.OK),
        (200, None, Verdict.RETRY),
        (200, ["stat"], Verdict.RETRY),
        (200, {"photos": {}}, Verdict.RETRY),
        (200, said(0, DOWN), Verdict.RETRY),
        (200, said(4711, DOWN), Verdict.RETRY),
        (200, {"stat": "fail"}, Verdict.RETRY),
        (200, said(None), Verdict.RETRY),
        (200, said(""), Verdict.RETRY),
        (200, said("9" * 5000), Verdict.RETRY),
        (200, said("²"), Verdict.RETRY),
        *((status, None, Verdict.RETRY) for status in (204, 408, 425, 429, 500, 502, 503, 504)),
        *((status, None, Verdict.STOP) for status in (401, 403)),
        *((status, None, Verdict.BUG) for status in (302, 400, 402, 404)),
    ],
)
def test_every_status_and_body_has_its_meaning(status: int, body: Any, verdict: Verdict) -> None:
    assert classify(status, body, SEARCH) is verdict


GARBLED = [
    b'{"stat":"fail","code":201,"message":"not currently available",}',
    b'{"stat":"ok","person":{"id":"1"',
    b'jsonFlickrApi({"stat":"ok"})',
    b'<?xml version="1.0"?><rsp stat="fail"><err code="1" msg="User not found"/></rsp>',
    b"<html><h1>Bad, bad panda</h1></html>",
    b"",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"stat":"ok"}',
    b'{"stat":"ok","person":[]}',
]


@pytest.mark.parametrize("garbled", GARBLED, ids=range(len(GARBLED)))
def test_an_answer_that_makes_no_sense_is_asked_for_again(service: Service, tmp_path: Path, garbled: bytes) -> None:
    service.fault = in_turn(Response(garbled), Response(garbled))
    with client(service.base, tmp_path) as one:
        assert person(one)["id"] == "1@N01"
    assert len(service.asked) == 3


def test_an_answer_has_the_time_of_both_clocks(service: Service, tmp_path: Path) -> None:
    with client(service.base, tmp_path) as one:
        got = one.call(PERSON, "person", user_id="1@N01")
    assert got.at == datetime(2026, 3, 10, 0, 30, tzinfo=UTC)
    assert abs(datetime.now(UTC) - got.received_at) < timedelta(seconds=5)


@pytest.mark.parametrize("date", ["", "soon", "Fri, 31 Dec 9999 23:59:59 -2359", "Tue, 99 Mar 2026 00:30:00 GMT"])
def test_a_date_that_is_none_is_none(service: Service, tmp_path: Path, date: str) -> None:
    service.fault = lambda form: answer({"stat": "ok", "person": {}}, Date=date)
    with client(service.base, tmp_path) as one:
        assert one.call(PERSON, "person").at is None


def test_six_tries_with_growing_waits_and_then_the_service_is_down(service: Service, tmp_path: Path) -> None:
    service.fault = lambda form: Response("", 503)
    with client(service.base, tmp_path) as one:
        started = time.monotonic()
        with pytest.raises(TryAgainError, match=r"127.0.0.1:\d+ is down: it answered HTTP 503, after 6 tries or 600 s"):
            person(one)
    assert len(service.asked) == 6
    assert time.monotonic() - started >= (1 + 2 + 4 + 8 + 16) / FAST


def waited(service: Service, folder: Path, header: str) -> float:
    """How long a call took that was told once when to come again, in seconds of the fast clock."""
    headers = {"Retry-After": header, "Date": "Tue, 10 Mar 2026 00:30:00 GMT"}
    with client(service.base, folder, speed=100) as one:
        person(one)  # the connection is there
        service.fault = in_turn(Response("", 429, headers=headers))
        started = time.monotonic()
        person(one)
        assert len(service.asked) == 3
        return (time.monotonic() - started) * 100


@pytest.mark.parametrize("header", ["60", "Tue, 10 Mar 2026 00:31:00 GMT"])
def test_when_to_come_again_is_honoured(service: Service, tmp_path: Path, header: str) -> None:
    assert waited(service, tmp_path, header) >= 60


@pytest.mark.parametrize("header", ["0", "-5", "soon", "Tue, 10 Mar 2026 00:00:00 GMT"])
def test_a_time_to_come_again_that_says_nothing_leaves_our_own_waits(
    service: Service, tmp_path: Path, header: str
) -> None:
    assert waited(service, tmp_path, header) >= 1


@pytest.mark.parametrize("header", ["601", "9" * 400, format_datetime(datetime(2100, 1, 1, tzinfo=UTC), usegmt=True)])
def test_a_time_beyond_the_deadline_ends_the_call_at_once(service: Service, tmp_path: Path, header: str) -> None:
    service.fault = lambda form: Response("", 429, headers={"Retry-After": header})
    with client(service.base, tmp_path) as one, pytest.raises(TryAgainError, match="HTTP 429"):
        person(one)
    assert len(service.asked) == 1


def test_waiting_for_the_budget_does_not_use_up_patience(service: Service, tmp_path: Path) -> None:
    service.fault = in_turn(*[Response("", 503)] * 4)
    budget = Budget("test", folder=tmp_path, per_second=1 / 500, clock=Clock(5000))
    one = FlickrClient(f"{service.base}/services/rest/", SecretStr(KEY), budget=budget, deadlines=QUICK)
    assert person(one)["id"] == "1@N01"  # four waits of 500 s each, and 600 s of patience
    one.close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_name_that_cannot_be_looked_up_is_no_network_after_two_tries(tmp_path: Path) -> None:
    started = time.monotonic()
    with (
        client("http://nowhere.invalid", tmp_path, speed=1) as one,
        pytest.raises(UserError, match=r"no network: cannot reach nowhere.invalid .*FLICKCAST_FLICKR_URL"),
    ):
        person(one)
    assert 1 <= time.monotonic() - started < 10


def test_a_network_that_is_unreachable_is_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without network has no route; here a forbidden one stands in: the same error from the same call."""

    def no_route(*arguments: Any) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr("asyncio.selector_events.BaseSelectorEventLoop.sock_connect", no_route)
    with client(f"http://127.0.0.1:{free_port()}", tmp_path) as one, pytest.raises(UserError, match="no network"):
        person(one)


def test_a_service_that_refuses_connections_from_the_start_is_down(tmp_path: Path) -> None:
    with (
        client(f"http://127.0.0.1:{free_port()}", tmp_path) as one,
        pytest.raises(TryAgainError, match=r"is down: it does not connect \(ConnectionRefusedError\), after 6 tries"),
    ):
        person(one)


def test_the_key_is_in_no_error_even_where_the_service_repeats_it(service: Service, tmp_path: Path) -> None:
    for code in (100, 105, 3):
        service.fault = lambda form, code=code: fail(code, "x" * (115 - len("Invalid")) + form["api_key"])  # type: ignore[misc]
        with client(service.base, tmp_path) as one, pytest.raises((UserError, TryAgainError, RefusedError)) as caught:
            person(one)
        assert KEY[:4] not in str(caught.value)
    assert all("api_key" not in url and KEY not in url for url in service.urls)


def test_connections_stay_open_from_call_to_call(service: Service, tmp_path: Path) -> None:
    with client(service.base, tmp_path) as one:
        for _ in range(3):
            person(one)
    assert len(service.connections) == 1


def test_a_fast_clock_is_refused_outside_of_this_machine(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="FLICKCAST_CLOCK_SPEED is for a simulated service"),
        client("http://api.flickr.invalid", tmp_path),
    ):
        pass


def test_the_budget_lies_where_the_settings_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FLICKCAST_STATE_FOLDER")
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert Settings().budget_folder() == Path("/home/somebody/.local/state/flickcast")
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    assert Settings().budget_folder() == Path("/home/somebody/.local/state/flickcast")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert Settings().budget_folder() == tmp_path / "flickcast"
    monkeypatch.setenv("FLICKCAST_STATE_FOLDER", "~/state")
    assert Settings().budget_folder() == Path("/home/somebody/state")
