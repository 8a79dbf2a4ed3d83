"""Downloads of pictures from a service on loopback: only from where they may come, and only what is one."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flickr_service import Service, serving
from PIL import Image
from starlette.responses import RedirectResponse, Response

from flickcast.sources import flickr_images
from flickcast.sources.budget import Budget, Clock
from flickcast.sources.flickr_images import ImageClient
from flickcast.sources.pictures import NoPictureError, picture_row
from flickcast.sources.web import Deadlines


@pytest.fixture
def service() -> Iterator[Service]:
    with serving(Service()) as running:
        yield running


@contextmanager
def client(folder: Path, host: str = "127.0.0.1") -> Iterator[ImageClient]:
    speed = 1000 if host == "127.0.0.1" else 1
    budget = Budget("pictures", folder=folder, per_second=1e6, clock=Clock(speed))
    one = ImageClient(host, budget=budget, deadlines=Deadlines(call_seconds=5))
    yield one
    one.close()


def sized(width: int, height: int) -> Response:
    content = io.BytesIO()
    Image.new("RGB", (width, height)).save(content, "JPEG")
    return Response(content.getvalue(), media_type="image/jpeg")


def refused(one: ImageClient, url: str, expected: tuple[int, int] | None = None) -> NoPictureError:
    with pytest.raises(NoPictureError) as caught:
        one.fetch(url, expected)
    return caught.value


@pytest.mark.parametrize("expected", [None, (640, 427), (639, 428)])
def test_a_picture_of_the_size_that_was_told_is_handed_out(
    service: Service, tmp_path: Path, expected: tuple[int, int] | None
) -> None:
    service.pictures = {"1.jpg": sized(640, 427)}
    with client(tmp_path) as one:
        content = one.fetch(f"{service.base}/pictures/1.jpg", expected)
    assert picture_row("1", content)["width"] == 640


@pytest.mark.parametrize("expected", [(640, 429), (427, 640), (1, 1)])
def test_a_picture_of_another_size_is_none_and_its_bytes_are_kept(
    service: Service, tmp_path: Path, expected: tuple[int, int]
) -> None:
    service.pictures = {"1.jpg": sized(640, 427)}
    with client(tmp_path) as one:
        error = refused(one, f"{service.base}/pictures/1.jpg", expected)
    assert str(error) == f"has 640 x 427 pixels, not the {expected[0]} x {expected[1]} told"
    assert error.content == service.pictures["1.jpg"].body


def test_a_picture_that_tells_no_size_is_left_to_who_decodes_it(service: Service, tmp_path: Path) -> None:
    service.pictures = {"1.jpg": Response(b"\xff\xd8 no picture", media_type="image/jpeg")}
    with client(tmp_path) as one:
        content = one.fetch(f"{service.base}/pictures/1.jpg", (640, 427))
    with pytest.raises(NoPictureError, match="does not decode"):
        picture_row("1", content)


def test_a_header_that_promises_gigabytes_is_refused_before_it_is_unpacked(service: Service, tmp_path: Path) -> None:
    content = bytearray(sized(16, 16).body)
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = b"\xff\xdc\xff\xdc"  # 65500 x 65500
    service.pictures = {"1.jpg": Response(bytes(content), media_type="image/jpeg")}
    with client(tmp_path) as one:
        fetched = one.fetch(f"{service.base}/pictures/1.jpg")
    with pytest.raises(NoPictureError, match=r"more than 64 million|DecompressionBombError"):
        picture_row("1", fetched)


def test_a_known_placeholder_is_refused_the_first_time(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.pictures = {"1.jpg": sized(500, 374)}
    known = frozenset({hashlib.sha256(service.pictures["1.jpg"].body).hexdigest()})
    monkeypatch.setattr(flickr_images, "KNOWN_PLACEHOLDERS", known)
    with client(tmp_path) as one:
        assert "stands in" in str(refused(one, f"{service.base}/pictures/1.jpg"))


LEADING_ELSEWHERE = [
    "http://127.0.0.1:9/1.jpg",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::1]:9/1.jpg",
    "file:///etc/passwd",
    "https://live.staticflickr.com/photo_unavailable.png",
]
REDIRECTS = [(302, target) for target in LEADING_ELSEWHERE] + [
    (status, "/pictures/2.jpg") for status in (300, 301, 302, 303, 304, 307, 308)
]


@pytest.mark.parametrize(("status", "target"), REDIRECTS)
def test_a_redirect_means_gone_and_is_not_followed(service: Service, tmp_path: Path, status: int, target: str) -> None:
    service.pictures = {"1.jpg": RedirectResponse(target, status)}
    with client(tmp_path) as one:
        assert str(refused(one, f"{service.base}/pictures/1.jpg")) == f"is gone (HTTP {status}, a redirect)"
    assert service.pictured == ["1.jpg"]


ELSEWHERE = [
    "http://example.org/1.jpg",
    "http://127.0.0.1/1.jpg",
    "http://localhost:8000/1.jpg",
    "http://[::1]/1.jpg",
    "http://169.254.169.254/1.jpg",
    "http://2130706433/1.jpg",
    "file:///etc/passwd",
    "ftp://live.staticflickr.com/1.jpg",
    "//live.staticflickr.com/1.jpg",
    "https://live.staticflickr.com@example.org/1.jpg",
    "https://user:password@live.staticflickr.com/1.jpg",
    "https://live.staticflickr.com:8443/1.jpg",
    "https://live.staticflickr.com:22/1.jpg",
    "https://live.staticflickr.com./1.jpg",
    "https://staticflickr.com.example.org/1.jpg",
    "https://evilstaticflickr.com/1.jpg",
    "https://live.staticflickr.com\\@example.org/1.jpg",
    "https://example.org\\.staticflickr.com/1.jpg",
    "https://example.org/.staticflickr.com/1.jpg",
    "https://example.org#.staticflickr.com/1.jpg",
    "https://example.org?.staticflickr.com/1.jpg",
    "https://example.org%2f.staticflickr.com/1.jpg",
    "https://example.org\u3002staticflickr\u3002com.example.org/1.jpg",
    "https://live.st\u0430ticflickr.com/1.jpg",  # a Cyrillic a
    "https://live.xn--sttic-nof.com/1.jpg",
    "https://" + "a" * 70 + ".staticflickr.com:99999/1.jpg",
    "https://\u202elive.staticflickr.com/1.jpg",
    "http://[",
    "",
    " ",
]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_addresses_elsewhere_are_not_asked_for(tmp_path: Path, url: str) -> None:
    with client(tmp_path, host="api.flickr.com") as one:
        assert str(refused(one, url)) == "is not on an image host of the service"
    assert not list(tmp_path.iterdir()), "nothing was charged, so nothing was asked"


@pytest.mark.parametrize(
    "url",
    [
        "https://live.staticflickr.com/1.jpg",
        "https://LIVE.StaticFlickr.COM/1.jpg",
        "https://farm9.staticflickr.com:443/1.jpg",
        "http://farm9.staticflickr.com/1.jpg",
    ],
)
def test_addresses_of_the_image_hosts_are_allowed(tmp_path: Path, url: str) -> None:
    with client(tmp_path, host="api.flickr.com") as one:
        allowed = one._allowed(url)
    assert allowed is not None
    assert allowed.host.endswith(".staticflickr.com")
