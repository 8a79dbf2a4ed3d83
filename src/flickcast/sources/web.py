"""What every web client here does: bounded answers, spaced and repeated attempts, nothing secret in a message."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import stamina

from flickcast.errors import UserError
from flickcast.sources.pictures import MAX_BYTES

USER_AGENT = "flickcast/0.1 (nightly popularity prediction)"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class Patience:
    """How often and how long to try again."""

    attempts: int = 6
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 60.0
    deadline_seconds: float = 600.0


class TooLargeError(Exception):
    """An answer beyond all reason, broken off."""


class TroubleError(Exception):
    """A failure that may pass; `retry_after` seconds if the service said so."""

    def __init__(self, reason: str, retry_after: float | None = None, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.unreachable = unreachable


class RateLimiter:
    """Lets one attempt pass at a time, evenly spaced."""

    def __init__(self, per_second: float) -> None:
        self._gap = 1.0 / per_second
        self._next = 0.0

    def wait(self) -> None:
        """Sleep until the next attempt is due."""
        now = time.monotonic()
        time.sleep(max(0.0, self._next - now))
        self._next = max(now, self._next) + self._gap


def address_of(url: str) -> tuple[str, str]:
    """The host of the service's address, and the host with its port for messages. UserError if it is no address."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UserError("FLICKCAST_FLICKR_URL is no address of the form https://HOST/PATH. Correct it.")
    return parsed.host, f"{parsed.host}:{parsed.port}" if parsed.port else parsed.host


def http_client(host: str, timeout_seconds: float) -> httpx.Client:
    """A client without redirects, and, for this machine's own services, without proxies."""
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they log addresses and headers
    logging.getLogger("stamina").setLevel(logging.ERROR)  # our own messages say it in words
    return httpx.Client(
        timeout=httpx.Timeout(timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds)),
        headers={"User-Agent": USER_AGENT},
        follow_redirects=False,
        trust_env=host not in LOOPBACK,
    )


def request(http: httpx.Client, verb: str, address: str, limit: int = MAX_BYTES, **form: Any) -> httpx.Response:
    """A whole answer of bounded size. TroubleError for what the network does; its text names no address."""
    try:
        with http.stream(verb, address, **form) as streamed:
            content = bytearray()
            for piece in streamed.iter_bytes():
                content += piece
                if len(content) > limit:
                    raise TooLargeError
            headers = [(k, v) for k, v in streamed.headers.multi_items() if k.lower() != "content-encoding"]
            return httpx.Response(streamed.status_code, headers=headers, content=bytes(content))
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise TroubleError(f"does not connect ({type(error).__name__})", unreachable=True) from None
    except httpx.TransportError as error:
        raise TroubleError(f"broke off ({type(error).__name__})") from None
    except httpx.DecodingError:
        raise TroubleError("sent a damaged answer") from None


IsFinal = Callable[[TroubleError, int], bool]


def attempts(patience: Patience, is_final: IsFinal | None = None) -> Iterator[stamina.Attempt]:
    """Attempts with growing, jittered waits (or the service's own Retry-After) until patience ends."""
    tried = 0

    def again(error: Exception) -> bool | float:
        nonlocal tried
        tried += 1
        if not isinstance(error, TroubleError) or (is_final and is_final(error, tried)):
            return False
        if error.retry_after is None:
            return True
        return error.retry_after if error.retry_after <= patience.deadline_seconds else False

    return iter(
        stamina.retry_context(
            on=again,
            attempts=patience.attempts,
            timeout=patience.deadline_seconds,
            wait_initial=patience.first_wait_seconds,
            wait_max=patience.longest_wait_seconds,
            wait_jitter=patience.first_wait_seconds,
        )
    )


def answered_at(response: httpx.Response) -> datetime:
    """The service's own time of its answer, else this machine's."""
    try:
        moment = parsedate_to_datetime(response.headers.get("date", ""))
    except ValueError:
        return datetime.now(UTC).replace(microsecond=0)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait, if the service says so in seconds."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdecimal() else None
