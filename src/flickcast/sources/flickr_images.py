"""Downloads of pictures: from the service's image hosts only, and never what stands in for a picture that is gone.

One picture that cannot be had after all tries must not hold up its night for ever: it is quarantined, its post stays.
Several in a row mean that the host is down: that ends the night, which is then made up and asks for them again.
"""

import hashlib
import re

import httpx

from flickcast.console import printable
from flickcast.errors import TryAgainError
from flickcast.pictures import size
from flickcast.sources.budget import Budget
from flickcast.sources.pictures import MAX_BYTES, NoPictureError
from flickcast.sources.web import LOOPBACK, Deadlines, Patience, TooLargeError, TroubleError, Web, port_of, retry_after

IMAGE_HOSTS = re.compile(r"([a-z0-9-]+\.)*staticflickr\.com")
GONE = (404, 410)
FAILED_PICTURES = 5  # so many in a row, each tried again and again: the image host is down, not the pictures
ROUNDING_PIXELS = 1
KEPT_BYTES = 4096  # of what is no picture, for its reader
# sha256 of pictures that say that there is none (flickr_api.md §7: seen where redirects are followed, which we never
# do). None is known for sure without the live service; whoever sees one adds it here, with the date.
KNOWN_PLACEHOLDERS: frozenset[str] = frozenset()


class ImageClient:
    """Downloads pictures from the service's image hosts only, without following redirects."""

    def __init__(
        self,
        api_host: str,
        *,
        budget: Budget,
        patience: Patience = Patience(),  # noqa: B008 (frozen)
        deadlines: Deadlines = Deadlines(),  # noqa: B008 (frozen)
        port: int | None = None,  # of a service on this machine, which has others' ports, too; None: any
    ) -> None:
        self._api_host = api_host
        self._port = port
        self._web = Web(api_host, budget, patience, deadlines)
        self._failed = 0

    def close(self) -> None:
        """Give the connections back."""
        self._web.close()

    def fetch(self, url: str, expected: tuple[int, int] | None = None) -> bytes:
        """A JPEG of the expected width and height, if some are.

        NoPictureError if there is none; TryAgainError when the host fails picture after picture.
        """
        address = self._allowed(url)
        if address is None:
            raise NoPictureError("is not on an image host of the service")
        try:
            for attempt in self._web.attempts():
                with attempt:
                    content = self._once(address)
                    self._failed = 0
                    self._check(content, expected)
                    return content
        except TroubleError as error:
            raise self._giving_up(address.host, error) from None
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _allowed(self, url: str) -> httpx.URL | None:
        """The address as it is asked for, so that nothing can be read in two ways; None if it leads elsewhere."""
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, UnicodeError):
            return None
        host = parsed.raw_host.decode("ascii")
        own = self._api_host in LOOPBACK and host == self._api_host and self._port in (None, port_of(parsed))
        flickr = IMAGE_HOSTS.fullmatch(host) and parsed.port is None
        return parsed if parsed.scheme in ("http", "https") and not parsed.userinfo and (own or flickr) else None

    def _once(self, address: httpx.URL) -> bytes:
        try:
            response = self._web.request("GET", address, limit=MAX_BYTES)
        except TooLargeError:
            raise NoPictureError(f"is larger than {MAX_BYTES >> 20} MiB") from None
        if 300 <= response.status_code < 400:  # a picture that is gone redirects to one that says so
            raise NoPictureError(f"is gone (HTTP {response.status_code}, a redirect)")
        if response.status_code in GONE:
            raise NoPictureError(f"is gone (HTTP {response.status_code})")
        if response.status_code != 200:
            raise TroubleError(f"answered HTTP {response.status_code}", retry_after(response))
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "image/jpeg":
            raise NoPictureError(f"came as '{printable(kind)[:40]}', not image/jpeg", response.content[:KEPT_BYTES])
        return response.content

    def _check(self, content: bytes, expected: tuple[int, int] | None) -> None:
        if hashlib.sha256(content).hexdigest() in KNOWN_PLACEHOLDERS:
            raise NoPictureError("stands in for pictures that are gone", content)
        if expected is None or isinstance(found := size(content), str):
            return  # whoever decodes it finds the reason, too
        if any(abs(a - b) > ROUNDING_PIXELS for a, b in zip(found, expected, strict=True)):
            raise NoPictureError(
                f"has {found[0]} x {found[1]} pixels, not the {expected[0]} x {expected[1]} told", content
            )

    def _giving_up(self, host: str, error: TroubleError) -> Exception:
        self._failed += 1
        patience = self._web.patience
        tried = f"{host} {error}, after {patience.attempts} tries or {patience.deadline_seconds:.0f} s"
        if self._failed < FAILED_PICTURES:
            return NoPictureError(f"could not be had: {tried}")
        return TryAgainError(
            f"{self._failed} pictures in a row were not to be had: {tried}. Nothing is lost: try later."
        )
