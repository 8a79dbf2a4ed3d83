"""What every web client here does: bounded answers, spaced and repeated attempts, nothing secret in a message."""

import asyncio
import errno
import logging
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import tenacity

from flickcast.errors import UserError
from flickcast.sources.budget import Budget
from flickcast.sources.pictures import MAX_BYTES
from flickcast.watchdog import progress

USER_AGENT = "flickcast/0.1 (nightly popularity prediction)"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
NO_NETWORK = (errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTUNREACH)
MOST_PORTS = 65_535
AUTOMATIC_WINDOW = 47  # zlib: tells gzip and deflate apart by itself


@dataclass(frozen=True)
class Patience:
    """How often and how long to try again, in seconds of the budget's clock."""

    attempts: int = 6
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 60.0
    deadline_seconds: float = 600.0


@dataclass(frozen=True)
class Deadlines:
    """How long one attempt may take: in all, from the look-up of the name to the last byte, and for each step."""

    call_seconds: float = 60.0
    read_seconds: float = 30.0
    connect_seconds: float = 5.0

    def of_steps(self) -> httpx.Timeout:
        """The same for httpx."""
        return httpx.Timeout(self.read_seconds, connect=min(self.connect_seconds, self.read_seconds))


class TooLargeError(Exception):
    """An answer beyond all reason, broken off."""


class TroubleError(Exception):
    """A failure that may pass; `retry_after` seconds if the service said so."""

    def __init__(self, reason: str, retry_after: float | None = None, no_network: bool = False) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.no_network = no_network


IsFinal = Callable[[TroubleError, int], bool]


class Web:
    """Attempts at one service: each charged to a budget, ended by a deadline, and tried again with patience.

    Inside, httpx runs asynchronously: only so does one deadline cover the name's look-up, which nothing can interrupt,
    and headers and bodies that drip. Connections stay open from call to call.
    """

    def __init__(self, host: str, budget: Budget, patience: Patience, deadlines: Deadlines) -> None:
        if budget.clock.speed != 1 and host not in LOOPBACK:
            raise UserError("FLICKCAST_CLOCK_SPEED is for a simulated service on this machine only. Unset it.")
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)  # they log addresses and headers
        self.patience = patience
        self._budget = budget
        self._call_seconds = deadlines.call_seconds
        self._runner = asyncio.Runner(loop_factory=_loop)
        self._busy_seconds = 0.0
        self._http = httpx.AsyncClient(
            timeout=deadlines.of_steps(),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip, deflate"},
            follow_redirects=False,
            event_hooks={"response": [_forget_where_to]},
            trust_env=host not in LOOPBACK,  # no proxies between this machine and itself
        )

    def close(self) -> None:
        """Give the connections back."""
        self._runner.run(self._http.aclose())
        self._runner.close()

    def attempts(self, is_final: IsFinal | None = None) -> Iterator[tenacity.AttemptManager]:
        """Attempts with growing, jittered waits (or the service's own Retry-After) until patience ends.

        Time spent waiting for the budget says nothing about the service and does not count.
        """
        before = self._busy_seconds

        def is_over(state: tenacity.RetryCallState) -> bool:
            error = _trouble(state)
            spent = state.idle_for + self._busy_seconds - before
            return (
                state.attempt_number >= self.patience.attempts
                or spent + state.upcoming_sleep > self.patience.deadline_seconds
                or bool(is_final and is_final(error, state.attempt_number))
            )

        backoff = tenacity.wait_exponential_jitter(
            self.patience.first_wait_seconds,
            self.patience.longest_wait_seconds,
            jitter=self.patience.first_wait_seconds,
        )
        return iter(
            tenacity.Retrying(
                retry=tenacity.retry_if_exception_type(TroubleError),
                wait=lambda state: max(_trouble(state).retry_after or 0.0, backoff(state)),
                stop=is_over,
                sleep=self._budget.clock.sleep,
                reraise=True,
            )
        )

    def request(self, verb: str, address: str | httpx.URL, limit: int = MAX_BYTES, **form: Any) -> httpx.Response:
        """A whole answer of bounded size, charged to the budget. TroubleError for what the network does.

        No text of an error names an address.
        """
        self._budget.wait()
        progress()
        started = time.monotonic()
        try:
            return self._runner.run(self._whole(verb, address, limit, form))
        except TimeoutError:
            raise TroubleError(f"did not finish its answer within {self._call_seconds:.0f} s") from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            causes = list(_causes(error))
            raise TroubleError(
                f"does not connect ({type(causes[-1]).__name__})", no_network=any(map(_is_no_network, causes))
            ) from None
        except httpx.TransportError as error:
            raise TroubleError(f"broke off ({type(error).__name__})") from None
        except zlib.error:
            raise TroubleError("sent a damaged answer") from None
        finally:
            self._busy_seconds += time.monotonic() - started

    async def _whole(self, verb: str, address: str | httpx.URL, limit: int, form: dict[str, Any]) -> httpx.Response:
        async with asyncio.timeout(self._call_seconds), self._http.stream(verb, address, **form) as streamed:
            content = await _body(streamed, limit)
        headers = [(k, v) for k, v in streamed.headers.multi_items() if k.lower() != "content-encoding"]
        return httpx.Response(streamed.status_code, headers=headers, content=content)


async def _forget_where_to(streamed: httpx.Response) -> None:
    """Redirects are never followed, but httpx reads their addresses all the same, and one that is none ends a night.

    Seen 2026-11-22 with httpx 0.28: idna.InvalidCodepoint out of a request, for a Location of https://xn--lve-mpa.example.
    """
    streamed.headers.pop("location", None)


async def _body(streamed: httpx.Response, limit: int) -> bytes:
    """The body, unpacked here because httpx unpacks whole pieces, as often as a header says, whatever comes out."""
    coding = streamed.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "", "gzip", "x-gzip", "deflate"):
        raise zlib.error
    unpack = None if coding in ("identity", "") else zlib.decompressobj(AUTOMATIC_WINDOW)
    content = bytearray()
    received = 0
    async for piece in streamed.aiter_raw():
        received += len(piece)
        content += unpack.decompress(piece, limit + 1 - len(content)) if unpack else piece
        if max(received, len(content)) > limit:
            raise TooLargeError
    if unpack and received and not unpack.eof:
        raise zlib.error
    return bytes(content)


class _DaemonThreads(ThreadPoolExecutor):
    """A thread for each look-up of a name: one that hangs holds up neither the next one nor the end of the process."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()

        def run() -> None:
            future.set_running_or_notify_cancel()
            try:
                future.set_result(function(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return future


def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_default_executor(_DaemonThreads())
    return loop


def _trouble(state: tenacity.RetryCallState) -> TroubleError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, TroubleError), "only troubles are tried again"
    return error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it comes from, the origin last."""
    yield error
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else (error.__cause__ or error.__context__,)
    for cause in inner:
        if cause is not None:
            yield from _causes(cause)


def _is_no_network(cause: BaseException) -> bool:
    return isinstance(cause, socket.gaierror) or (isinstance(cause, OSError) and cause.errno in NO_NETWORK)


def address_of(url: str) -> tuple[str, str]:
    """The host of the service's address, and the host with its port for messages. UserError if it is no address."""
    try:
        parsed = httpx.URL(url)
        is_one = parsed.scheme in ("http", "https") and parsed.host and (parsed.port or 0) <= MOST_PORTS
    except (httpx.InvalidURL, UnicodeError):  # the latter from a host's name in Punycode that is none
        is_one = False
    if not is_one:
        raise UserError("FLICKCAST_FLICKR_URL is no address of the form https://HOST/PATH. Correct it.")
    return parsed.host, f"{parsed.host}:{parsed.port}" if parsed.port else parsed.host


def port_of(address: str | httpx.URL) -> int:
    """The port of an address, told or not."""
    parsed = httpx.URL(address)
    return parsed.port or (443 if parsed.scheme == "https" else 80)


def own_time(response: httpx.Response) -> datetime | None:
    """The service's own time of its answer, if it says so."""
    return _moment(response.headers.get("date", ""))


def retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait, if the service says so, in seconds or as a date by its own clock."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    until = _moment(value)
    if until is None:
        return None
    return max(0.0, (until - (own_time(response) or datetime.now(UTC))).total_seconds())


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
