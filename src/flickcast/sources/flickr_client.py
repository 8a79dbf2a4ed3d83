"""One call to a Flickr-like service: what each failure means, and no key in any message."""

import html
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
from pydantic import SecretStr

from flickcast.console import printable
from flickcast.errors import FlickcastError, TryAgainError, UserError
from flickcast.sources.budget import Budget
from flickcast.sources.web import (
    Deadlines,
    Patience,
    TooLargeError,
    TroubleError,
    Web,
    address_of,
    own_time,
    retry_after,
)

FIRST_ATTEMPTS = 2  # there was never a network: do not keep the user waiting
ALIVE_ATTEMPTS = 3
# A real key has 32 characters. A shorter one is a rehearsal's and may be part of a word: texts of posts are left alone.
SHORTEST_SECRET = 16


class Verdict(StrEnum):
    """What an answer asks us to do."""

    OK = "ok"
    RETRY = "retry"
    STOP = "stop"  # the key is not accepted: another try would burn it
    SPLIT = "split"  # too many results for one query
    GONE = "gone"  # deleted, private or never there
    SKIP = "skip"  # not for us, which does not mean that it is gone
    BUG = "bug"  # we asked wrongly


# The service's own codes (they come with HTTP 200); all others are ours to correct.
VERDICTS = {
    **dict.fromkeys((0, 10, 105, 106, 201), Verdict.RETRY),
    **dict.fromkeys((95, 96, 97, 98, 99, 100), Verdict.STOP),
    **dict.fromkeys((2, 116), Verdict.SKIP),
    5: Verdict.GONE,
    20: Verdict.SPLIT,
}
# Error 1 means that what was asked for is not there only where one photo or user was asked for. A search says it of too
# many tags, others of a missing argument.
NOT_FOUND = 1
OF_ONE_THING = (
    "flickr.photos.getInfo",
    "flickr.photos.getSizes",
    "flickr.people.getInfo",
    "flickr.people.getPublicPhotos",
    "flickr.contacts.getPublicList",
)
PASSING_STATUS = (408, 425, 429)
UNAVAILABLE = "not currently available"  # seen with code 0 and with code 201


class RefusedError(FlickcastError):
    """The service understood and said no; `verdict` tells what that means for the caller."""

    def __init__(self, message: str, verdict: Verdict) -> None:
        super().__init__(message)
        self.verdict = verdict


@dataclass(frozen=True)
class Answer:
    """The content of an answer under the key that was expected, and its time by the service's clock and by ours."""

    content: dict[str, Any]
    at: datetime | None
    received_at: datetime


def classify(status: int, body: Any, method: str = "") -> Verdict:
    """What an answer means, from its HTTP status, its parsed body (None: it does not parse) and what was asked."""
    if status in PASSING_STATUS or status >= 500:
        return Verdict.RETRY
    if status in (401, 403):
        return Verdict.STOP
    if not 200 <= status < 300:
        return Verdict.BUG
    if not isinstance(body, dict) or body.get("stat") not in ("ok", "fail"):
        return Verdict.RETRY
    if body["stat"] == "ok":
        return Verdict.OK
    if UNAVAILABLE in str(body.get("message", "")).lower():
        return Verdict.RETRY
    return _of_code(str(body.get("code", "")).strip(), method)


def _of_code(code: str, method: str) -> Verdict:
    if not (code.isascii() and code.isdecimal() and len(code) < 10):
        return Verdict.RETRY  # no code of the service's: a damaged answer
    if int(code) == NOT_FOUND and method in OF_ONE_THING:
        return Verdict.GONE
    return VERDICTS.get(int(code), Verdict.BUG)


class FlickrClient:
    """Calls methods of the service; every attempt, retries too, is charged to the budget."""

    def __init__(
        self,
        url: str,
        key: SecretStr,
        *,
        budget: Budget,
        patience: Patience = Patience(),  # noqa: B008 (frozen)
        deadlines: Deadlines = Deadlines(),  # noqa: B008 (frozen)
    ) -> None:
        self.host, self._name = address_of(url)
        self._url = url
        self._key = key
        self._repeated = _spellings(key.get_secret_value())
        self._web = Web(self.host, budget, patience, deadlines)
        self._reached = False

    def close(self) -> None:
        """Give the connections back."""
        self._web.close()

    def call(self, method: str, expect: str, **arguments: str | int) -> Answer:
        """The part of the answer under the key `expect`.

        Raises RefusedError (gone, skip, split, bug), UserError (key not accepted, no network), TryAgainError (service
        down).
        """
        try:
            for attempt in self._web.attempts(self._is_final):
                with attempt:
                    return self._once(method, expect, arguments)
        except TroubleError as error:
            raise self._giving_up(error) from None
        raise AssertionError("unreachable: the last attempt returns or raises")

    def is_alive(self) -> bool:
        """Whether the service answers anything at all, be it a refusal, within a few tries."""
        try:
            for attempt in self._web.attempts(lambda _, tried: tried >= ALIVE_ATTEMPTS):
                with attempt:
                    self._once("flickr.test.echo", "method", {})
        except TroubleError:
            return False
        except RefusedError:
            return True
        return True

    def _once(self, method: str, expect: str, arguments: dict[str, str | int]) -> Answer:
        form = {
            "method": method,
            "api_key": self._key.get_secret_value(),
            "format": "json",
            "nojsoncallback": "1",
            **{name: str(value) for name, value in arguments.items()},
        }
        try:
            response = self._web.request("POST", self._url, data=form)
        except TooLargeError:
            raise TroubleError("sent an answer without end") from None
        received_at = datetime.now(UTC)
        self._reached = True
        body = _parsed(self._without_key(response.content))
        verdict = classify(response.status_code, body, method)
        if verdict is Verdict.OK and isinstance(body.get(expect), dict):
            return Answer(body[expect], own_time(response), received_at)
        said = self._said(response, body)
        if verdict in (Verdict.OK, Verdict.RETRY):
            raise TroubleError(f"answered {said}", retry_after(response))
        raise self._refusal(method, verdict, said)

    def _is_final(self, error: TroubleError, attempt: int) -> bool:
        return error.no_network and not self._reached and attempt >= FIRST_ATTEMPTS

    def _giving_up(self, error: TroubleError) -> FlickcastError:
        if error.no_network and not self._reached:
            return UserError(
                f"no network: cannot reach {self._name} ({error}); check the connection or FLICKCAST_FLICKR_URL. "
                "Nothing was stored."
            )
        return TryAgainError(
            f"{self._name} is down: it {error}, after {self._web.patience.attempts} tries or "
            f"{self._web.patience.deadline_seconds:.0f} s. Nothing is lost: run the same command later."
        )

    def _refusal(self, method: str, verdict: Verdict, said: str) -> FlickcastError:
        if verdict is Verdict.STOP:
            return UserError(
                f"{self._name} does not accept the key in FLICKCAST_FLICKR_KEY ({said}). Put a valid one there; "
                "nothing was stored."
            )
        return RefusedError(f"{self._name} refused {method}: {said}.", verdict)

    def _said(self, response: httpx.Response, body: Any) -> str:
        """Status or the service's own words, cut short and harmless: a service may repeat the key it was given."""
        if isinstance(body, dict) and body.get("stat") == "fail":
            code, message = (self._harmless(str(body.get(name))) for name in ("code", "message"))
            return f"error {code[:8]}: {message[:120]}"
        if response.status_code != 200:
            return f"HTTP {response.status_code}"
        return "something that is not the expected JSON"

    def _harmless(self, text: str) -> str:
        """Words for a message; the key is looked for after characters that nobody sees are gone from its midst."""
        text = printable(text)
        for spelling in self._repeated:
            text = text.replace(spelling, "***")
        return text

    def _without_key(self, content: bytes) -> bytes:
        """An answer that repeats our key, in a post's title say, must not bring it into tables and journals."""
        if len(self._key.get_secret_value()) < SHORTEST_SECRET:
            return content
        for spelling in self._repeated:
            content = content.replace(spelling.encode(), b"***")
        return content


def _spellings(key: str) -> tuple[str, ...]:
    """The key as it is and as it stands in addresses, in JSON and in HTML, the longest first."""
    in_json = json.dumps(key)[1:-1]
    quoted = {quote(key, safe=""), quote(key), quote_plus(key)}
    lower = {re.sub("%..", lambda found: found[0].lower(), one) for one in quoted}
    spellings = {key, in_json, in_json.replace("/", "\\/"), html.escape(key), *quoted, *lower}
    return tuple(sorted(spellings, key=len, reverse=True))


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
