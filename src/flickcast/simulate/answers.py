"""The shapes of the service's answers: which key a post or a user has, under which name and type."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from flickcast.simulate.text import COMMON_WORDS, PLACES

Row: TypeAlias = dict[str, Any]
Json: TypeAlias = dict[str, Any]

SERVER, FARM = "65535", 66
PROFILE_COLUMNS = ("name", "has_alias", "place")
# The letter in the extra's name, the suffix in the picture's address, the longest edge.
SIZES: dict[str, tuple[str, int]] = {
    **{"sq": ("s", 75), "t": ("t", 100), "s": ("m", 240), "q": ("q", 150), "m": ("", 500), "n": ("n", 320)},
    **{"w": ("w", 400), "z": ("z", 640), "c": ("c", 800), "l": ("b", 1024)},
}
PIXELS: dict[str, int] = dict(SIZES.values())


def photo(row: Row, extras: set[str]) -> Json:
    """A post as search lists it: the keys that are always there, and those asked for. Unknown extras add nothing."""
    answer: Json = {
        "id": row["post_id"],
        "owner": row["user_id"],
        "secret": row["secret"],
        "server": SERVER,
        "farm": FARM,
        "title": row["title"],
        **{"ispublic": 1, "isfriend": 0, "isfamily": 0},
    }
    for name, keys in EXTRAS.items():
        if name in extras:
            answer.update(keys(row))
    for letter, (suffix, pixels) in SIZES.items():
        if f"url_{letter}" in extras:
            answer.update(_picture(row, letter, suffix, min(pixels, row["picture_size"])))
    return answer


def _picture(row: Row, letter: str, suffix: str, pixels: int) -> Json:
    name = f"{row['post_id']}_{row['secret']}" + (f"_{suffix}" if suffix else "")
    address = f"{row['base_url']}{SERVER}/{name}.jpg"
    return {f"url_{letter}": address, f"height_{letter}": pixels, f"width_{letter}": pixels}


def _seconds(moment: datetime) -> str:
    return str(int(moment.timestamp()))


def _local_text(moment: datetime, place: int, salt: int) -> str:
    """When a picture was taken by the owner's own clock: up to two days before it was posted."""
    local = moment + timedelta(hours=PLACES[place][3], seconds=-(salt % 172_800))
    return local.strftime("%Y-%m-%d %H:%M:%S")


def _taken(row: Row) -> Json:
    """A tenth has no known time: the service then repeats the posting time, and granularity turns into a number."""
    known = row["salt"] % 10 != 0
    return {
        "datetaken": _local_text(row["posted_at"], row["place"], row["salt"] if known else 0),
        "datetakengranularity": "0" if known else 0,
        "datetakenunknown": "0" if known else "1",
    }


def _place(row: Row) -> Json:
    """No place is the number 0 three times; a place is floats with the accuracy as text."""
    if row["latitude"] is None:
        return {"latitude": 0, "longitude": 0, "accuracy": 0, "context": 0}
    where = {"latitude": row["latitude"], "longitude": row["longitude"], "accuracy": str(row["geo_accuracy"])}
    return {**where, "context": 0, "geo_is_family": 0, "geo_is_friend": 0, "geo_is_contact": 0, "geo_is_public": 1}


def _original(row: Row) -> Json:
    """Absent where the owner forbids originals."""
    return {} if row["salt"] % 5 == 0 else {"originalsecret": row["secret"][::-1], "originalformat": "jpg"}


def _last_update(row: Row) -> Json:
    return {"lastupdate": _seconds(row["posted_at"] + timedelta(seconds=row["salt"] % 900))}


def _machine_tags(row: Row) -> Json:
    return {"machine_tags": " ".join(tag for tag in row["tags"] if ":" in tag)}


EXTRAS: dict[str, Callable[[Row], Json]] = {
    "description": lambda row: {"description": {"_content": row["description"]}},
    "license": lambda row: {"license": row["licence"]},
    "date_upload": lambda row: {"dateupload": _seconds(row["posted_at"])},
    "date_taken": _taken,
    "owner_name": lambda row: {"ownername": row["name"]},
    "icon_server": lambda row: {"iconserver": SERVER, "iconfarm": FARM} if row["user"] % 4 else _default_icon(row),
    "original_format": _original,
    "last_update": _last_update,
    "geo": _place,
    "tags": lambda row: {"tags": " ".join(row["tags"])},
    "machine_tags": _machine_tags,
    "o_dims": lambda row: {"o_width": str(row["picture_size"]), "o_height": str(row["picture_size"])},
    "views": lambda row: {"views": str(row["views"])},
    "media": lambda row: {"media": row["media_type"], "media_status": "ready"},
    "path_alias": lambda row: {"pathalias": alias(row)},
    "safety_level": lambda row: {"safety_level": "0"},
    "content_type": lambda row: {"content_type": "0"},
    "count_faves": lambda row: {"count_faves": str(row["faves"])},
    "count_comments": lambda row: {"count_comments": str(row["comments"])},
}


def _default_icon(row: Row) -> Json:
    return {"iconserver": "0", "iconfarm": 0}


def alias(profile: Row) -> str | None:
    """The account's name in addresses; many have none."""
    return profile["name"].replace(" ", "") if profile["has_alias"] else None


def person(profile: Row, photo_count: int) -> Json:
    """A profile; texts are wrapped, and what the owner does not tell is absent."""
    page = alias(profile) or profile["user_id"]
    answer: Json = {
        "id": profile["user_id"],
        "nsid": profile["user_id"],
        "ispro": int(profile["is_pro"]),
        **{"is_deleted": 0, "iconserver": SERVER, "iconfarm": FARM, "has_stats": 0},
        "path_alias": alias(profile),
        "username": {"_content": profile["name"]},
        "description": {"_content": f"Pictures of the {COMMON_WORDS[profile['place']]}."},
        "photosurl": {"_content": f"https://www.flickr.com/photos/{page}/"},
        "photos": {
            "firstdatetaken": {"_content": first_taken(profile).strftime("%Y-%m-%d %H:%M:%S")},
            "firstdate": {"_content": _seconds(profile["first_post_at"])},
            "count": {"_content": photo_count},
        },
    }
    if profile["shows_place"]:
        answer["location"] = {"_content": PLACES[profile["place"]][0]}
    if profile["shows_timezone"]:
        hours = PLACES[profile["place"]][3]
        answer["timezone"] = {
            "label": PLACES[profile["place"]][0],
            "offset": f"{'-' if hours < 0 else '+'}{abs(hours):02d}:00",
        }
    return answer


def first_taken(profile: Row) -> datetime:
    """The earliest picture of an account."""
    moment: datetime = profile["first_post_at"] - timedelta(days=profile["taken_before_days"])
    return moment.astimezone(UTC)


def contacts(user_ids: list[str], total: int, page: int, per_page: int) -> Json:
    """A page of the accounts a user follows."""
    shown = [
        {"nsid": one, "username": f"user {one}", "iconserver": SERVER, "iconfarm": FARM, "ignored": 0}
        for one in user_ids
    ]
    return {"page": page, "pages": -(-total // per_page), "perpage": per_page, "total": total, "contact": shown}
