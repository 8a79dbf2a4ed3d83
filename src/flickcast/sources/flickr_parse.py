"""Answers of the Flickr API turned into rows: lenient about types, strict about what a row must have.

The same field comes as number or text, as null, "" or absent, bare or as `{"_content": ...}` (recordings of 2013 to
2025). The models say which fields are read and as what; everything else in an answer is passed over. Names of people,
their aliases, icons, places and the hash of their address are never taken over.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, Field

from flickcast.records import Rejected
from flickcast.schemas import EARLIEST
from flickcast.sources.columns import FIRST_PHOTOGRAPH, LATEST, NOTHING

Row: TypeAlias = dict[str, Any]

SIZES = ("m", "z", "c", "l")  # longest edges of 500, 640, 800 and 1024 pixels; larger ones are for members only
ANY_PICTURE = tuple(f"url_{size}" for size in SIZES)
# What we ask for, and the keys of which one shows that it came. An unknown extra is ignored without a word.
ASKED = {
    "description": ("description",),
    "date_upload": ("dateupload",),
    "date_taken": ("datetaken",),
    "geo": ("accuracy",),
    "tags": ("tags",),
    "o_dims": ("o_width",),
    "views": ("views",),
    "media": ("media",),
    "count_faves": ("count_faves",),
    "count_comments": ("count_comments",),
    **dict.fromkeys(ANY_PICTURE, ANY_PICTURE),
}
EXTRAS = ",".join(ASKED)
# Without `owner` no photo can be used; the size of the original is not told where owners forbid originals.
RELIED_ON = {"owner": ("owner",)} | {name: keys for name, keys in ASKED.items() if name != "o_dims"}
ENOUGH_PHOTOS = 20  # fewer say nothing about what the service gives

CHANGING = ("views", "count_faves", "count_comments", "lastupdate")  # of one and the same photo
LATE_TAGS = "vision:"  # Flickr's own picture recognition adds these after the upload: not known when posted
AN_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z@_-]{0,63}")  # 53637883806, 12345678@N00; ids become keys and file names
DEEPEST = 50  # levels of an answer that are looked at; recorded ones have 5

# Keys in lower case and without "_", whatever their case and place: in `owner`, `contact`, `tag` and `location` too.
PERSONAL = {"ownername", "realname", "username", "authorname", "pathalias", "mboxsha1sum", "iconserver", "iconfarm"}
PERSONAL |= {"location", "locality", "county", "region", "neighbourhood"}
PERSONAL |= {"photosurl", "profileurl", "mobileurl", "urls", "note"}


def text(value: Any) -> str | None:
    """A text, unwrapped; null and "" are none. Half characters, which no file can hold, become `?`.

    >>> text({"_content": " a "}), text(""), text(7)
    ('a', None, '7')
    """
    if isinstance(value, dict):
        value = value.get("_content")
    if value is None or isinstance(value, (list, dict, bool)):
        return None
    if isinstance(value, float) and not math.isfinite(value):  # NaN: no JSON has it, Python's reader takes it
        return None
    own = str(value)
    return (own if own.isascii() else own.encode("utf-8", "replace").decode()).strip() or None


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
    return moment if FIRST_PHOTOGRAPH <= moment <= LATEST else None


def hours(value: Any) -> float | None:
    """A distance from UTC, `-08:00`, in hours."""
    match = re.fullmatch(r"([+-]?)(\d{1,2})(?::(\d\d))?", text(value) or "")
    if not match:
        return None
    size = int(match[2]) + int(match[3] or 0) / 60
    return (-size if match[1] == "-" else size) if size <= 14 else None


def _identifier(value: Any) -> str | None:
    own = text(value) or ""
    return own if AN_ID.fullmatch(own) and own.lower() not in NOTHING else None


def _sane_time(value: Any) -> datetime | None:
    moment = unix_time(value)
    return moment if moment is not None and EARLIEST <= moment <= LATEST else None


def _pixels(value: Any) -> int | None:
    pixels = count(value)
    return pixels if pixels and pixels < 2**31 else None


def _word(value: Any) -> str:
    return (text(value) or "").lower()


def _media_type(value: Any) -> str | None:
    return _word(value) if _word(value) in ("photo", "video") else None


def _media_status(value: Any) -> str | None:
    return _word(value) if _word(value) in ("ready", "pending", "failed") else None


def _tags(value: Any) -> list[str] | None:
    if value is None:
        return None
    return [tag for tag in (text(value) or "").split() if not tag.startswith(LATE_TAGS)]


def _mapping(value: Any) -> Any:
    return value if isinstance(value, dict) else {}


Identifier = Annotated[str | None, BeforeValidator(_identifier)]
Text = Annotated[str | None, BeforeValidator(text)]
Tags = Annotated[list[str] | None, BeforeValidator(_tags)]
MediaType = Annotated[str | None, BeforeValidator(_media_type)]
MediaStatus = Annotated[str | None, BeforeValidator(_media_status)]
Number = Annotated[float | None, BeforeValidator(number)]
Count = Annotated[int | None, BeforeValidator(count)]
Pixels = Annotated[int | None, BeforeValidator(_pixels)]
Hours = Annotated[float | None, BeforeValidator(hours)]
Flag = Annotated[bool | None, BeforeValidator(flag)]
UnixTime = Annotated[datetime | None, BeforeValidator(unix_time)]
SaneTime = Annotated[datetime | None, BeforeValidator(_sane_time)]
LocalTime = Annotated[datetime | None, BeforeValidator(local_time)]


class Counts(BaseModel):
    """What is counted on a photo, in lists and in getInfo."""

    id: Identifier = None
    views: Count = None
    count_faves: Count = None


class Listed(Counts):
    """The counts of an entry of a photo list."""

    comments: Count = Field(None, validation_alias="count_comments")


class Photo(BaseModel):
    """An entry of a photo list, as flickr.photos.search gives it with our extras."""

    id: Identifier = None
    owner: Identifier = None
    dateupload: UnixTime = None
    datetaken: LocalTime = None
    datetakenunknown: Flag = None
    title: Text = None
    description: Text = None
    tags: Tags = None
    media: MediaType = None
    media_status: MediaStatus = None
    ispublic: Flag = None
    latitude: Number = None
    longitude: Number = None
    accuracy: Number = None
    o_width: Pixels = None
    o_height: Pixels = None


class PhotoInfo(Counts):
    """The counts of a photo as flickr.photos.getInfo gives it."""

    comments: Count = None


class PersonPhotos(BaseModel):
    """The photos of an account in numbers."""

    count: Count = None
    firstdate: SaneTime = None
    firstdatetaken: LocalTime = None
    views: Count = None


class TimeZone(BaseModel):
    """Where the clock of an account stands; the offset ignores daylight saving."""

    timezone_id: Text = None
    offset: Hours = None


class Person(BaseModel):
    """An account as flickr.people.getInfo gives it."""

    nsid: Identifier = None
    id: Identifier = None
    ispro: Flag = None
    can_buy_pro: Flag = None
    photos: Annotated[PersonPhotos, BeforeValidator(_mapping)] = PersonPhotos()
    timezone: Annotated[TimeZone, BeforeValidator(_mapping)] = TimeZone()


def post_from_photo(photo: Any, seen_at: datetime, image_size: str = "z") -> Row | str:
    """A row of `posts` from one entry of a photo list, or the reason why there is none."""
    if not isinstance(photo, dict):
        return "is no object"
    read = Photo.model_validate(photo)
    if (missing := _missing(read)) is not None:
        return missing
    return {
        "post_id": read.id,
        "source": "flickr",
        "user_id": read.owner,
        "posted_at": read.dateupload,
        # Where it is not known the service repeats the time of the upload.
        "taken_at": None if read.datetakenunknown else read.datetaken,
        "title": read.title,
        "description": read.description,
        "tags": read.tags,
        "media_type": read.media,
        **_place(read),
        "is_public": read.ispublic,
        "media_status": read.media_status,
        "width": read.o_width,
        "height": read.o_height,
        "image_url": image_url(photo, image_size),
        "first_seen_at": seen_at,
    }


def _missing(photo: Photo) -> str | None:
    """What a post cannot be without."""
    if photo.id is None:
        return "has no id"
    if photo.owner is None:
        return f"post {photo.id} has no owner"
    if photo.dateupload is None:
        return f"post {photo.id} has no time of posting"
    if not EARLIEST <= photo.dateupload <= LATEST:
        return f"post {photo.id} was posted in {photo.dateupload.year}, a time that its owner must have edited"
    return None


def _place(photo: Photo) -> Row:
    """Accuracy decides: 0 or absent is no place, whatever the degrees say."""
    accuracy, latitude, longitude = photo.accuracy, photo.latitude, photo.longitude
    if accuracy is None or latitude is None or longitude is None:
        return {}
    if not (1 <= accuracy <= 16 and abs(latitude) <= 90 and abs(longitude) <= 180):
        return {}
    return {"latitude": latitude, "longitude": longitude, "geo_accuracy": int(accuracy)}


def observation_from_photo(photo: Mapping[str, Any], seen_at: datetime) -> Row:
    """A row of `observations`: what was counted on the photo when the answer was given."""
    return _observation(Listed.model_validate(photo), seen_at)


def info_from_photo(photo: Mapping[str, Any], seen_at: datetime) -> Row:
    """A row of `observations` from flickr.photos.getInfo, which tells no faves."""
    return _observation(PhotoInfo.model_validate(photo), seen_at)


def _observation(read: Listed | PhotoInfo, seen_at: datetime) -> Row:
    return {
        "post_id": read.id,
        "observed_at": seen_at,
        "views": read.views,
        "faves": read.count_faves,
        "comments": read.comments,
    }


def user_from_person(person: Mapping[str, Any], seen_at: datetime) -> Row:
    """A row of `users` from people.getInfo, without `following`, which another method tells."""
    read = Person.model_validate(person)
    return {
        "user_id": read.nsid or read.id,
        "observed_at": seen_at,
        "photo_count": read.photos.count,
        "first_post_at": read.photos.firstdate,
        "first_taken_at": read.photos.firstdatetaken,
        "is_pro": read.ispro,
        "can_buy_pro": read.can_buy_pro,
        "timezone_id": read.timezone.timezone_id,
        "timezone_offset": read.timezone.offset,
        "total_views": read.photos.views,
    }


def image_url(photo: Mapping[str, Any], image_size: str) -> str | None:
    """Where to download the picture: the asked size, else the next smaller (small originals), else a larger one."""
    size = _size_there(photo, image_size)
    return text(photo[f"url_{size}"]) if size else None


def expected_size(photo: Mapping[str, Any], image_size: str) -> tuple[int, int] | None:
    """Width and height that the picture at `image_url` is said to have; None where the answer does not say both."""
    size = _size_there(photo, image_size)
    width, height = _pixels(photo.get(f"width_{size}")), _pixels(photo.get(f"height_{size}"))
    return (width, height) if width and height else None


def _size_there(photo: Mapping[str, Any], image_size: str) -> str | None:
    at = SIZES.index(image_size)
    order = (*reversed(SIZES[: at + 1]), *SIZES[at + 1 :])
    return next((size for size in order if text(photo.get(f"url_{size}"))), None)


def missing_extras(photos: Iterable[Any]) -> tuple[str, ...]:
    """What we asked for and not one photo has: a typo or a changed service. Of fewer than 20 photos nothing is said."""
    listed = [photo for photo in photos if isinstance(photo, dict)]
    if len(listed) < ENOUGH_PHOTOS:
        return ()
    seen = {key for photo in listed for key in photo}
    return tuple(name for name, keys in RELIED_ON.items() if seen.isdisjoint(keys))


def photo_key(photo: Any) -> str:
    """What a photo is recognised by in answer after answer: its id, or else all of it but what is counted."""
    post_id = _identifier(photo.get("id")) if isinstance(photo, dict) else None
    if post_id is not None:
        return json.dumps({"post_id": post_id})
    kept = impersonal(photo)
    steady = {key: value for key, value in kept.items() if key not in CHANGING} if isinstance(kept, dict) else kept
    return f"without id: {json.dumps(steady, sort_keys=True)}"


def rejected_photo(photo: Any, reason: str, seen_at: datetime) -> Rejected:
    """A photo that cannot be used, without what is personal in it, and when it was seen; one row per `photo_key`."""
    record = json.dumps({"photo": impersonal(photo), "seen_at": seen_at.isoformat()}, sort_keys=True)
    return Rejected(record.encode(), reason, photo_key(photo).encode())


def impersonal(value: Any, depth: int = 0) -> Any:
    """The same answer without names, aliases, icons, places and addresses of people, at any depth."""
    if depth > DEEPEST:
        return "... too deep to be looked at"
    if isinstance(value, dict):
        return {key: impersonal(inner, depth + 1) for key, inner in value.items() if not _is_personal(key)}
    if isinstance(value, list):
        return [impersonal(inner, depth + 1) for inner in value]
    return value


def _is_personal(key: str) -> bool:
    return key.lower().replace("_", "") in PERSONAL
