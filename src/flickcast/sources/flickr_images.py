"""Downloads of pictures: from the service's image hosts only, and never what stands in for a picture that is gone.

One picture that cannot be had after all tries must not hold up its night for ever: it is quarantined, its post stays.
Several in a row mean that the host is down: that ends the night, which is then made up and asks for them again.
"""

import httpx

from flickcast.console import printable
from flickcast.errors import TryAgainError
from flickcast.sources.pictures import MAX_BYTES, NoPictureError
from flickcast.sources.web import (
    LOOPBACK,
    Patience,
    RateLimiter,
    TooLargeError,
    TroubleError,
    attempts,
    http_client,
    request,
    retry_after,
)

IMAGE_DOMAIN = "staticflickr.com"
GONE = (404, 410)
FAILED_PICTURES = 5  # so many in a row, each tried again and again: the image host is down, not the pictures


class ImageClient:
    """Downloads pictures from the service's image hosts only, without following redirects."""

    def __init__(self, api_host: str, *, per_second: float, timeout_seconds: float, patience: Patience) -> None:
        self._api_host = api_host
        self._limiter = RateLimiter(per_second)
        self._patience = patience
        self._http = http_client(api_host, timeout_seconds)
        self._failed = 0

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def fetch(self, url: str) -> bytes:
        """A JPEG. NoPictureError if there is none; TryAgainError when the host fails picture after picture."""
        if not self._is_allowed(url):
            raise NoPictureError("is not on an image host of the service")
        try:
            for attempt in attempts(self._patience):
                with attempt:
                    content = self._once(url)
                    self._failed = 0
                    return content
        except TroubleError as error:
            raise self._giving_up(url, error) from None
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _is_allowed(self, url: str) -> bool:
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            return False
        own = self._api_host in LOOPBACK and parsed.host == self._api_host
        flickr = parsed.host == IMAGE_DOMAIN or parsed.host.endswith("." + IMAGE_DOMAIN)
        return parsed.scheme in ("http", "https") and (own or flickr)

    def _once(self, url: str) -> bytes:
        self._limiter.wait()
        try:
            response = request(self._http, "GET", url, limit=MAX_BYTES)
        except TooLargeError:
            raise NoPictureError(f"is larger than {MAX_BYTES >> 20} MiB") from None
        if response.is_redirect:  # a picture that is gone redirects to one that says so
            raise NoPictureError(f"is gone (HTTP {response.status_code}, a redirect)")
        if response.status_code in GONE:
            raise NoPictureError(f"is gone (HTTP {response.status_code})")
        if response.status_code != 200:
            raise TroubleError(f"answered HTTP {response.status_code}", retry_after(response))
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "image/jpeg":
            raise NoPictureError(f"came as '{printable(kind)[:40]}', not image/jpeg", response.content[:4096])
        return response.content

    def _giving_up(self, url: str, error: TroubleError) -> Exception:
        self._failed += 1
        host = httpx.URL(url).host
        tried = f"{host} {error}, after {self._patience.attempts} tries or {self._patience.deadline_seconds:.0f} s"
        if self._failed < FAILED_PICTURES:
            return NoPictureError(f"could not be had: {tried}")
        return TryAgainError(
            f"{self._failed} pictures in a row were not to be had: {tried}. Nothing is lost: try later."
        )
