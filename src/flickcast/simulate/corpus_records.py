"""A post's records in the files of the official SMPD-Image format: which key, in which form."""

from collections.abc import Callable
from datetime import UTC
from functools import lru_cache
from typing import Any, TypeAlias

from flickcast.simulate import answers
from flickcast.simulate.text import PLACES

Record: TypeAlias = dict[str, str]

DESCRIPTION_LENGTH, PLACE_LENGTH = 399, 400  # of the vectors that stand for a user's own words


def _category(row: dict[str, Any]) -> Record:
    return {"Category": row["category_name"], "Subcategory": row["subcategory_name"], "Concept": row["concept_name"]}


def _text(row: dict[str, Any]) -> Record:
    return {"Title": row["title"], "Mediatype": row["media_type"], "Alltags": " ".join(row["tags"])}


def _time_and_place(row: dict[str, Any]) -> Record:
    """Without a place all three are the text 0."""
    return {
        "Postdate": str(int(row["posted_at"].timestamp())),
        "Latitude": str(row["latitude"] or 0),
        "Longitude": str(row["longitude"] or 0),
        "Geoaccuracy": str(row["geo_accuracy"] or 0),
    }


def _user_data(row: dict[str, Any]) -> Record:
    return {
        "photo_firstdate": str(int(row["first_post_at"].timestamp())),
        "photo_count": str(row["photo_count"]),
        "ispro": str(int(row["is_pro"])),
        "canbuypro": str(int(row["can_buy_pro"])),
        "timezone_offset": str(PLACES[row["place"]][3]),
        "timezone_timezone_id": str(row["place"]),
        "photo_firstdatetaken": answers.first_taken(row).astimezone(UTC).strftime("%Y%m%d%H"),
        "user_description": _vector(row["description_seed"], DESCRIPTION_LENGTH),
        "location_description": _vector(row["place"], PLACE_LENGTH) if row["shows_place"] else "",
    }


@lru_cache(maxsize=8192)
def _vector(seed: int, length: int) -> str:
    """Numbers that stand for a text, mostly zero; equal seeds give equal texts."""
    numbers = ["0"] * length
    for step in range(5):
        numbers[(seed * 31 + step * 97) % length] = f"0.{(seed + step) % 9 + 1}"
    return ",".join(numbers)


def _additional(row: dict[str, Any]) -> Record:
    return {"Pathalias": answers.alias(row) or "None", "Ispublic": "1", "Mediastatus": "ready"}


# By the end of the file's name; each record follows the post's user and id.
RECORDS: dict[str, Callable[[dict[str, Any]], Record]] = {
    "category": _category,
    "text": _text,
    "temporalspatial_information": _time_and_place,
    "user_data": _user_data,
    "additional_information": _additional,
}
