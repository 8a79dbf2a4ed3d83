"""One call to a Flickr-like service: what each failure means, and no key in any message."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import httpx
from pydantic import SecretStr

from flickcast.console import printable
from flickcast.errors import FlickcastError, TryAgainError, UserError
from flickcast.sources.web import (
    Patience,
    RateLimiter,
    TooLargeError,
    TroubleError,
    address_of,
    answered_at,
    attempts,
    http_client,
    request,
    retry_after,
)

FIRST_ATTEMPTS = 2  # nothing was ever reached: most likely there is no network, so do not keep the user waiting


class Verdict(StrEnum):
    """What an answer asks us to do."""

    OK = "ok"
    RETRY = "retry"
    STOP = "stop"  # the key is not accepted: another try would burn it
    SPLIT = "split"  # too many results for one query
    GONE = "gone"  # deleted, private or never there
    BUG = "bug"  # we asked wrongly


# The service's own codes (they come with HTTP 200); all others are ours to correct.
VERDICTS = {
    **dict.fromkeys((0, 10, 105, 106, 201), Verdict.RETRY),
    **dict.fromkeys((95, 96, 97, 98, 99, 100), Verdict.STOP),
    **dict.fromkeys((1, 2, 5, 116), Verdict.GONE),
    20: Verdict.SPLIT,
}
UNAVAILABLE = "not currently available"  # seen with code 0 and with code 201


class RefusedError(FlickcastError):
    """The service understood and said no; `verdict` tells what that means for the caller."""

    def __init__(self, message: str, verdict: Verdict) -> None:
        super().__init__(message)
        self.verdict = verdict


@dataclass(frozen=True)
class Answer:
    """The content of an answer under the key that was expected, and the service's own time of it."""

    content: dict[str, Any]
    at: datetime


def classify(status: int, body: Any) -> Verdict:
    """What an answer means, from its HTTP status and its parsed body (None: it does not parse)."""
    if status == 429 or status >= 500:
        return Verdict.RETRY
    if status in (401, 403):
        return Verdict.STOP
    if status != 200:
        return Verdict.BUG
    if not isinstance(body, dict) or body.get("stat") not in ("ok", "fail"):
        return Verdict.RETRY
    if body["stat"] == "ok":
        return Verdict.OK
    if UNAVAILABLE in str(body.get("message", "")):
        return Verdict.RETRY
    code = str(body.get("code", ""))
    return VERDICTS.get(int(code), Verdict.BUG) if code.isdecimal() else Verdict.BUG


class FlickrClient:
    """Calls methods of the service; every attempt, retries too, waits for the rate limit."""

    def __init__(
        self, url: str, key: SecretStr, *, calls_per_second: float, timeout_seconds: float, patience: Patience
    ) -> None:
        self.host, self._name = address_of(url)
        self._url = url
        self._key = key
        self._limiter = RateLimiter(calls_per_second)
        self._patience = patience
        self._http = http_client(self.host, timeout_seconds)
        self._reached = False

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def call(self, method: str, expect: str, **arguments: str | int) -> Answer:
        """The part of the answer under the key `expect`.

        Raises RefusedError (gone, split, bug), UserError (key not accepted, no network), TryAgainError (service down).
        """
        try:
            for attempt in attempts(self._patience, self._is_final):
                with attempt:
                    return self._once(method, expect, arguments)
        except TroubleError as error:
            raise self._giving_up(error) from None
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _once(self, method: str, expect: str, arguments: dict[str, str | int]) -> Answer:
        self._limiter.wait()
        form = {
            "method": method,
            "api_key": self._key.get_secret_value(),
            "format": "json",
            "nojsoncallback": "1",
            **{name: str(value) for name, value in arguments.items()},
        }
        try:
            response = request(self._http, "POST", self._url, data=form)
        except TooLargeError:
            raise TroubleError("sent an answer without end") from None
        self._reached = True
        body = _parsed(response.content)
        verdict = classify(response.status_code, body)
        if verdict is Verdict.OK and isinstance(body.get(expect), dict):
            return Answer(body[expect], answered_at(response))
        if verdict in (Verdict.OK, Verdict.RETRY):
            raise TroubleError(f"answered {_short(response, body)}", retry_after(response))
        raise self._refusal(method, verdict, _short(response, body))

    def _is_final(self, error: TroubleError, attempt: int) -> bool:
        return error.unreachable and not self._reached and attempt >= FIRST_ATTEMPTS

    def _giving_up(self, error: TroubleError) -> FlickcastError:
        if error.unreachable and not self._reached:
            return UserError(
                f"no network: cannot reach {self._name} ({error}); check the connection or FLICKCAST_FLICKR_URL. "
                "Nothing was stored."
            )
        return TryAgainError(
            f"{self._name} is down: it {error}, after {self._patience.attempts} tries or "
            f"{self._patience.deadline_seconds:.0f} s. Nothing is lost: run the same command later."
        )

    def _refusal(self, method: str, verdict: Verdict, said: str) -> FlickcastError:
        said = said.replace(self._key.get_secret_value(), "***")
        if verdict is Verdict.STOP:
            return UserError(
                f"{self._name} does not accept the key in FLICKCAST_FLICKR_KEY ({said}). Put a valid one there; "
                "nothing was stored."
            )
        return RefusedError(f"{self._name} refused {method}: {said}.", verdict)


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _short(response: httpx.Response, body: Any) -> str:
    """Status or the service's own words, cut short and harmless."""
    if isinstance(body, dict) and body.get("stat") == "fail":
        return f"error {printable(str(body.get('code')))[:8]}: {printable(str(body.get('message')))[:120]}"
    if response.status_code != 200:
        return f"HTTP {response.status_code}"
    return "something that is not the expected JSON"
