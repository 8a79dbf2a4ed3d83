"""Answers other than the one that was asked for, and the right one spoilt, as HTTP delivers them in good order."""

from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import format_datetime
from io import BytesIO
from random import Random

import orjson

from flickcast.simulate.spoiling import Reply

NOT_AVAILABLE = "Sorry, the Flickr API service is not currently available."
UNAVAILABLE = "/images/photo_unavailable.png"
MESSAGES = {
    0: NOT_AVAILABLE,
    10: "Sorry, the Flickr search API is not currently available.",
    105: "Service currently unavailable",
    106: "Write operation failed",
    201: NOT_AVAILABLE,
}
WAIT_SECONDS = 1
SKEW_HOURS = (1, 100)


def page(status: int, said: str, **headers: str) -> Reply:
    """What a server in between says: a page for people."""
    body = f"<!DOCTYPE html><html><head><title>{status} {said}</title></head><body><h1>{said}</h1></body></html>"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(body.encode(), status, {"Content-Type": "text/html; charset=utf-8", **named})


def failure(code: int, message: str) -> Reply:
    """An error of the API's own, in HTTP 200."""
    return Reply(
        orjson.dumps({"stat": "fail", "code": code, "message": message}), headers={"Content-Type": "application/json"}
    )


def _xml(now: datetime) -> Reply:
    error = f'<err code="201" msg="{NOT_AVAILABLE}" />'
    body = f'<?xml version="1.0" encoding="utf-8" ?>\n<rsp stat="fail">\n\t{error}\n</rsp>\n'
    return Reply(body.encode(), headers={"Content-Type": "text/xml; charset=utf-8"})


def _limited_until(now: datetime) -> Reply:
    again = format_datetime(now + timedelta(seconds=WAIT_SECONDS), usegmt=True)
    return page(429, "Too Many Requests", Retry_After=again)


def _status(status: int, said: str) -> Callable[[datetime], Reply]:
    return lambda now: page(status, said)


def _failure(code: int) -> Callable[[datetime], Reply]:
    return lambda now: failure(code, MESSAGES[code])


# Said by the host that serves the API and by the host that serves pictures.
INSTEAD: dict[str, Callable[[datetime], Reply]] = {
    "429": _status(429, "Too Many Requests"),
    "429-seconds": lambda now: page(429, "Too Many Requests", Retry_After=str(WAIT_SECONDS)),
    "429-date": _limited_until,
    "500": _status(500, "Internal Server Error"),
    "502": _status(502, "Bad Gateway"),
    "503": _status(503, "Service Unavailable"),
    "504": _status(504, "Gateway Time-out"),
}
INSTEAD_OF_DATA: dict[str, Callable[[datetime], Reply]] = {
    "html": _status(200, "Flickr will be back soon"),
    "xml": _xml,
    **{f"code-{code}": _failure(code) for code in MESSAGES},
}


def _cut(reply: Reply, random: Random) -> bytes:
    return reply.body[: random.randrange(1, len(reply.body))]


def _with_comma(reply: Reply, random: Random) -> bytes:
    return reply.body[:-1] + b"," + reply.body[-1:]


def _without_part(reply: Reply, random: Random) -> bytes:
    """Nothing of the answer but that all is well."""
    return b'{"stat":"ok"}'


SPOILT: dict[str, Callable[[Reply, Random], bytes]] = {
    "json-cut": _cut,
    "json-comma": _with_comma,
    "part-missing": _without_part,
}


def skewed(now: datetime, random: Random) -> datetime:
    """Another time, hours or days off, before or after."""
    return now + random.choice((-1, 1)) * timedelta(hours=random.randint(*SKEW_HOURS))


def gone() -> Reply:
    """What the image host says of a picture that is no more."""
    return Reply(b"", 302, {"Location": UNAVAILABLE})


def placeholder() -> Reply:
    """The picture that says so, as a client sees it that followed, or where the host sends it at once."""
    from PIL import Image

    buffer = BytesIO()
    Image.new("RGB", (500, 375), (243, 245, 246)).save(buffer, "JPEG", quality=88)
    return Reply(buffer.getvalue(), headers={"Content-Type": "image/jpeg"})


def _cut_picture(reply: Reply, random: Random) -> Reply:
    return Reply(
        reply.body[: random.randrange(len(reply.body) // 10, len(reply.body) * 9 // 10)], headers=reply.headers
    )


def _halved(reply: Reply, random: Random) -> Reply:
    """The same picture, half as large as the API told."""
    from PIL import Image

    buffer = BytesIO()
    with Image.open(BytesIO(reply.body)) as picture:
        picture.reduce(2).save(buffer, "JPEG")
    return Reply(buffer.getvalue(), headers=reply.headers)


PICTURES: dict[str, Callable[[Reply, Random], Reply]] = {
    "picture-redirect": lambda reply, random: gone(),
    "picture-placeholder": lambda reply, random: placeholder(),
    "picture-cut": _cut_picture,
    "picture-empty": lambda reply, random: Reply(b"", headers=reply.headers),
    "picture-type": lambda reply, random: Reply(reply.body, headers={"Content-Type": "text/html; charset=utf-8"}),
    "picture-404": lambda reply, random: Reply(b"", 404),
    "picture-size": _halved,
}
