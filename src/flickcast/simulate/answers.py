"""The shapes of the service's answers: which key a post or a user has, under which name and type."""

from collections.abc import Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, TypeAlias

import polars as pl

from flickcast.simulate.text import COMMON_WORDS, PLACES

Row: TypeAlias = dict[str, Any]
Json: TypeAlias = dict[str, Any]
Keys: TypeAlias = dict[str, pl.Expr]

SERVER, FARM = "65535", 66
PROFILE_COLUMNS = ("name", "has_alias", "place")
# The letter in the extra's name, the suffix in the picture's address, the longest edge.
SIZES: dict[str, tuple[str, int]] = {
    **{"sq": ("s", 75), "t": ("t", 100), "s": ("m", 240), "q": ("q", 150), "m": ("", 500), "n": ("n", 320)},
    **{"w": ("w", 400), "z": ("z", 640), "c": ("c", 800), "l": ("b", 1024)},
}
PIXELS: dict[str, int] = dict(SIZES.values())


@dataclass(frozen=True)
class Choice:
    """Keys that depend on the post: `then` where `when` holds, else `otherwise`."""

    when: pl.Expr
    then: Keys
    otherwise: Keys


def photos(posts: pl.DataFrame, extras: Set[str], address: str, picture_size: int) -> list[str]:
    """Posts as search lists them, as JSON: the keys that are always there, and those asked for.

    Unknown extras add nothing. `posts` also holds `dated`, the columns of World.counts and PROFILE_COLUMNS.
    """
    return posts.select(_photo(frozenset(extras), address, picture_size)).to_series().to_list()


@lru_cache(maxsize=64)
def _photo(extras: frozenset[str], address: str, picture_size: int) -> pl.Expr:
    parts = [*BASIC, *(part for name, part in EXTRAS.items() if name in extras)]
    if "o_dims" in extras:
        parts.append({name: pl.lit(str(picture_size)) for name in ("o_width", "o_height")})
    for letter, (suffix, pixels) in SIZES.items():
        if f"url_{letter}" in extras:
            parts.append(_picture(address, letter, suffix, min(pixels, picture_size)))
    always = {name: value for part in parts if isinstance(part, dict) for name, value in part.items()}
    choices = [
        pl.when(part.when).then(_json(part.then)).otherwise(_json(part.otherwise))
        for part in parts
        if isinstance(part, Choice)
    ]
    return pl.concat_str(pl.lit("{"), _json(always).str.strip_prefix(","), *choices, pl.lit("}"))


def _json(keys: Keys) -> pl.Expr:
    """The keys with their values as JSON text, a comma before each."""
    if not keys:
        return pl.lit("")
    inside = (
        pl.struct(*(value.alias(key) for key, value in keys.items()))
        .struct.json_encode()
        .str.strip_prefix("{")
        .str.strip_suffix("}")
    )
    return pl.concat_str(pl.lit(","), inside)


def _picture(address: str, letter: str, suffix: str, pixels: int) -> Keys:
    ending = f"_{suffix}.jpg" if suffix else ".jpg"
    url = pl.format(f"{address}{SERVER}/{{}}_{{}}{ending}", "post_id", "secret")
    return {f"url_{letter}": url, f"height_{letter}": pl.lit(pixels), f"width_{letter}": pl.lit(pixels)}


def _seconds(moment: pl.Expr) -> pl.Expr:
    return moment.dt.epoch("s").cast(pl.String)


def _local_text(seconds_before: pl.Expr | int) -> pl.Expr:
    """When a picture was taken by the owner's own clock."""
    hours = pl.lit(pl.Series([place[3] for place in PLACES])).gather("place")
    local = pl.col("posted_at") + pl.duration(seconds=hours * 3600 - seconds_before)
    return local.dt.strftime("%Y-%m-%d %H:%M:%S")


def _unless(why: str, keys: Keys) -> Choice:
    """Keys that posts unusable for this reason do not have."""
    return Choice(pl.col("unusable").eq_missing(pl.lit(why)), {}, keys)


def _words(*keys: str, text: str) -> Keys:
    return {key: pl.lit(text) for key in keys}


def _zeros(*keys: str) -> Keys:
    return {key: pl.lit(0) for key in keys}


BASIC: list[Keys | Choice] = [
    _unless("no id", {"id": pl.col("post_id")}),
    _unless("no owner", {"owner": pl.col("user_id")}),
    {"secret": pl.col("secret"), "server": pl.lit(SERVER), "farm": pl.lit(FARM), "title": pl.col("title")},
    {"ispublic": pl.lit(1), **_zeros("isfriend", "isfamily")},
]
EXTRAS: dict[str, Keys | Choice] = {
    "description": {"description": pl.struct(_content="description")},
    "license": {"license": pl.col("licence")},
    "date_upload": _unless("no dateupload", {"dateupload": _seconds(pl.col("dated"))}),
    # A tenth has no known time: the service then repeats the posting time, and granularity turns into a number.
    # Where it is known, it is up to two days before the post.
    "date_taken": Choice(
        pl.col("salt") % 10 != 0,
        {
            "datetaken": _local_text(pl.col("salt") % 172_800),
            **_words("datetakengranularity", "datetakenunknown", text="0"),
        },
        {"datetaken": _local_text(0), **_zeros("datetakengranularity"), **_words("datetakenunknown", text="1")},
    ),
    "owner_name": {"ownername": pl.col("name")},
    "icon_server": Choice(
        pl.col("user") % 4 != 0,
        {"iconserver": pl.lit(SERVER), "iconfarm": pl.lit(FARM)},
        {"iconserver": pl.lit("0"), "iconfarm": pl.lit(0)},
    ),
    # Absent where the owner forbids originals.
    "original_format": Choice(
        pl.col("salt") % 5 == 0, {}, {"originalsecret": pl.col("secret").str.reverse(), "originalformat": pl.lit("jpg")}
    ),
    "last_update": {"lastupdate": _seconds(pl.col("posted_at") + pl.duration(seconds=pl.col("salt") % 900))},
    # No place is the number 0 three times; a place is floats with the accuracy as text.
    "geo": Choice(
        pl.col("latitude").is_null(),
        _zeros("latitude", "longitude", "accuracy", "context"),
        {
            "latitude": pl.col("latitude"),
            "longitude": pl.col("longitude"),
            "accuracy": pl.col("geo_accuracy").cast(pl.String),
            **_zeros("context", "geo_is_family", "geo_is_friend", "geo_is_contact"),
            "geo_is_public": pl.lit(1),
        },
    ),
    "tags": {"tags": pl.col("tags").list.join(" ")},
    "machine_tags": {
        "machine_tags": pl.col("tags").list.eval(pl.element().filter(pl.element().str.contains(":"))).list.join(" ")
    },
    "views": {"views": pl.col("views").cast(pl.String)},
    "media": {"media": pl.col("media_type"), "media_status": pl.lit("ready")},
    "path_alias": {"pathalias": pl.when("has_alias").then(pl.col("name").str.replace_all(" ", "", literal=True))},
    "safety_level": _words("safety_level", text="0"),
    "content_type": _words("content_type", text="0"),
    "count_faves": {"count_faves": pl.col("faves").cast(pl.String)},
    "count_comments": {"count_comments": pl.col("comments").cast(pl.String)},
}


def photo_info(post: Row, profile: Row) -> Json:
    """A post as getInfo tells it: texts are wrapped, what is not there is absent, `media_status` never is."""
    page = alias(profile) or profile["user_id"]
    answer: Json = {
        "id": post["post_id"],
        **{"secret": post["secret"], "server": SERVER, "farm": FARM},
        "dateuploaded": _epoch(post["dated"]),
        **{"isfavorite": 0, "license": post["licence"], "safety_level": "0", "rotation": 0},
        "owner": {
            **{"nsid": profile["user_id"], "username": profile["name"], "realname": ""},
            "location": PLACES[profile["place"]][0] if profile["shows_place"] else "",
            **{"iconserver": SERVER, "iconfarm": FARM, "path_alias": alias(profile)},
        },
        "title": {"_content": post["title"]},
        "description": {"_content": post["description"]},
        "visibility": {"ispublic": 1, "isfriend": 0, "isfamily": 0},
        "dates": _dates(post, profile),
        "views": str(post["views"]),
        "editability": {"cancomment": 0, "canaddmeta": 0},
        "publiceditability": {"cancomment": 1, "canaddmeta": 0},
        "usage": {"candownload": int(_has_original(post)), "canblog": 0, "canprint": 0, "canshare": 1},
        "comments": {"_content": str(post["comments"])},
        "notes": {"note": []},
        "people": {"haspeople": 0},
        "tags": {"tag": [_tag(post, profile, place, tag) for place, tag in enumerate(post["tags"])]},
        "urls": {
            "url": [
                {"type": "photopage", "_content": f"https://www.flickr.com/photos/{page}/{post['post_id']}/"},
            ]
        },
        "media": post["media_type"],
    }
    if _has_original(post):
        answer |= {"originalsecret": post["secret"][::-1], "originalformat": "jpg"}
    if post["latitude"] is not None:
        where = {name: str(post[name]) for name in ("latitude", "longitude")}
        answer["location"] = {**where, "accuracy": str(post["geo_accuracy"]), "context": "0"}
        answer["geoperms"] = {"ispublic": 1, "iscontact": 0, "isfriend": 0, "isfamily": 0}
    if post["media_type"] == "video":
        answer["video"] = {"ready": 1, "failed": 0, "pending": 0, "duration": "10", "width": "640", "height": "640"}
    return answer


def _has_original(post: Row) -> bool:
    return bool(post["salt"] % 5)


def _dates(post: Row, profile: Row) -> Json:
    known = post["salt"] % 10 != 0
    hours, before = PLACES[profile["place"]][3], post["salt"] % 172_800 if known else 0
    taken = post["posted_at"] + timedelta(hours=hours, seconds=-before)
    return {
        "posted": _epoch(post["dated"]),
        "taken": taken.strftime("%Y-%m-%d %H:%M:%S"),
        "takengranularity": "0" if known else 0,
        "takenunknown": "0" if known else "1",
        "lastupdate": _epoch(post["posted_at"] + timedelta(seconds=post["salt"] % 900)),
    }


def _tag(post: Row, profile: Row, place: int, tag: str) -> Json:
    return {
        "id": f"{post['user']}-{post['post_id']}-{place}",
        **{"author": profile["user_id"], "authorname": profile["name"]},
        **{"raw": tag, "_content": tag, "machine_tag": int(":" in tag)},
    }


def _epoch(moment: datetime) -> str:
    return str(int(moment.timestamp()))


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
            "firstdate": {"_content": _epoch(profile["first_post_at"])},
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
