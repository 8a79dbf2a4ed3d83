"""Answers of the Flickr API turned into rows: lenient about types, strict about what a row must have.

The same field comes as number or text, as null, "" or absent, bare or as `{"_content": ...}` (recordings of 2013 to
2025). Names of people, their aliases and the hash of their address are never taken over.
"""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flickcast.records import Rejected
from flickcast.schemas import EARLIEST
from flickcast.sources.columns import FIRST_PHOTOGRAPH, LATEST

Row = dict[str, Any]

PERSONAL = ("ownername", "realname", "username", "pathalias", "path_alias", "mbox_sha1sum", "iconserver", "iconfarm")
SIZES = ("m", "z", "c", "l")  # longest edges of 500, 640, 800 and 1024 pixels; larger ones are for members only
EXTRAS = "description,date_upload,date_taken,geo,tags,o_dims,views,media,count_faves,count_comments," + ",".join(
    f"url_{size}" for size in SIZES
)
LATE_TAGS = "vision:"  # Flickr's own picture recognition adds these after the upload: not known when posted


def post_from_photo(photo: Any, seen_at: datetime, image_size: str = "z") -> Row | str:
    """A row of `posts` from one entry of a photo list, or the reason why there is none."""
    if not isinstance(photo, dict):
        return "is no object"
    post_id, user_id = text(photo.get("id")), text(photo.get("owner"))
    if post_id is None or user_id is None:
        return "has no id" if post_id is None else f"post {post_id} has no owner"
    posted_at = unix_time(photo.get("dateupload"))
    if posted_at is None:
        return f"post {post_id} has no time of posting"
    if not EARLIEST <= posted_at <= LATEST:
        return f"post {post_id} was posted in {posted_at.year}, a time that its owner must have edited"
    return {
        "post_id": post_id,
        "source": "flickr",
        "user_id": user_id,
        "posted_at": posted_at,
        "taken_at": _taken_at(photo),
        "title": text(photo.get("title")),
        "description": text(photo.get("description")),
        "tags": _tags(photo.get("tags")),
        "media_type": _one_of(photo.get("media"), ("photo", "video")),
        **_place(photo),
        "is_public": flag(photo.get("ispublic")),
        "media_status": _one_of(photo.get("media_status"), ("ready", "pending", "failed")),
        "width": _pixels(photo.get("o_width")),
        "height": _pixels(photo.get("o_height")),
        "image_url": image_url(photo, image_size),
        "first_seen_at": seen_at,
    }


def observation_from_photo(photo: Mapping[str, Any], seen_at: datetime) -> Row:
    """A row of `observations`: what was counted on the photo when the answer was given."""
    return {
        "post_id": text(photo.get("id")),
        "observed_at": seen_at,
        "views": count(photo.get("views")),
        "faves": count(photo.get("count_faves")),
        "comments": count(photo.get("count_comments")),
    }


def user_from_person(person: Mapping[str, Any], seen_at: datetime) -> Row:
    """A row of `users` from people.getInfo, without `following`, which another method tells."""
    photos, zone = _mapping(person.get("photos")), _mapping(person.get("timezone"))
    return {
        "user_id": text(person.get("nsid")) or text(person.get("id")),
        "observed_at": seen_at,
        "photo_count": count(photos.get("count")),
        "first_post_at": _within(unix_time(photos.get("firstdate")), EARLIEST),
        "first_taken_at": local_time(photos.get("firstdatetaken")),
        "is_pro": flag(person.get("ispro")),
        "can_buy_pro": flag(person.get("can_buy_pro")),
        "timezone_id": text(zone.get("timezone_id")),
        "timezone_offset": hours(zone.get("offset")),
        "total_views": count(photos.get("views")),
    }


def image_url(photo: Mapping[str, Any], image_size: str) -> str | None:
    """Where to download the picture: the asked size, else the next smaller (small originals), else a larger one."""
    at = SIZES.index(image_size)
    order = (*reversed(SIZES[: at + 1]), *SIZES[at + 1 :])
    return next((url for size in order if (url := text(photo.get(f"url_{size}")))), None)


def rejected_photo(photo: Any, reason: str, seen_at: datetime) -> Rejected:
    """A photo that cannot be used, without what is personal in it, and when it was seen; one row per id."""
    kept = {key: value for key, value in photo.items() if key not in PERSONAL} if isinstance(photo, dict) else photo
    post_id = text(photo.get("id")) if isinstance(photo, dict) else None
    record = json.dumps({"photo": kept, "seen_at": seen_at.isoformat()}, sort_keys=True).encode()
    return Rejected(record, reason, json.dumps({"post_id": post_id} if post_id else kept, sort_keys=True).encode())


def text(value: Any) -> str | None:
    """A text, unwrapped; null and "" are none. Half characters, which no file can hold, become `?`.

    >>> text({"_content": " a "}), text(""), text(7)
    ('a', None, '7')
    """
    if isinstance(value, dict):
        value = value.get("_content")
    if value is None or isinstance(value, (list, dict, bool)):
        return None
    return str(value).encode("utf-8", "replace").decode().strip() or None


def number(value: Any) -> float | None:
    """A finite number from a number or text."""
    try:
        parsed = float(text(value) or "nan")
    except ValueError:
        return None
    return parsed if math.isfinite(parsed) else None


def count(value: Any) -> int | None:
    """A whole number from 0 up."""
    parsed = number(value)
    return int(parsed) if parsed is not None and 0 <= parsed < 2**62 else None


def flag(value: Any) -> bool | None:
    """Yes or no from 1, "1", 0, "0"."""
    return {"1": True, "0": False}.get(text(value) or "") if not isinstance(value, bool) else value


def unix_time(value: Any) -> datetime | None:
    """A moment from unix seconds; not bounded to this century."""
    seconds = number(value)
    if seconds is None or not 0 <= seconds < 253_402_300_800:  # the year 10000
        return None
    return datetime.fromtimestamp(int(seconds), UTC)


def local_time(value: Any) -> datetime | None:
    """An owner's own clock, `2013-10-05 20:30:27`, kept as it reads; null for impossible ones such as 0000-01-01."""
    try:
        moment = datetime.strptime(text(value) or "", "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return _within(moment, FIRST_PHOTOGRAPH)


def hours(value: Any) -> float | None:
    """A distance from UTC, `-08:00`, in hours."""
    match = re.fullmatch(r"([+-]?)(\d{1,2})(?::(\d\d))?", text(value) or "")
    if not match:
        return None
    size = int(match[2]) + int(match[3] or 0) / 60
    return (-size if match[1] == "-" else size) if size <= 14 else None


def _within(moment: datetime | None, earliest: datetime) -> datetime | None:
    return moment if moment is not None and earliest <= moment <= LATEST else None


def _taken_at(photo: Mapping[str, Any]) -> datetime | None:
    """Null where unknown: the service then repeats the time of the upload."""
    return None if flag(photo.get("datetakenunknown")) else local_time(photo.get("datetaken"))


def _tags(value: Any) -> list[str] | None:
    if value is None:
        return None
    return [tag for tag in (text(value) or "").split() if not tag.startswith(LATE_TAGS)]


def _place(photo: Mapping[str, Any]) -> Row:
    """Accuracy decides: 0 or absent is no place, whatever the degrees say."""
    accuracy, latitude, longitude = (number(photo.get(key)) for key in ("accuracy", "latitude", "longitude"))
    if accuracy is None or latitude is None or longitude is None:
        return {}
    if not (1 <= accuracy <= 16 and abs(latitude) <= 90 and abs(longitude) <= 180):
        return {}
    return {"latitude": latitude, "longitude": longitude, "geo_accuracy": int(accuracy)}


def _pixels(value: Any) -> int | None:
    pixels = count(value)
    return pixels if pixels and pixels < 2**31 else None


def _one_of(value: Any, allowed: tuple[str, ...]) -> str | None:
    lower = (text(value) or "").lower()
    return lower if lower in allowed else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
