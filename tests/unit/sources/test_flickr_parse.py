"""Rows from the API's answers, recorded ones and every type trap."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flickcast.schemas import TABLES, check
from flickcast.sources import flickr_parse as parse

NOW = datetime(2026, 3, 10, tzinfo=UTC)


def photo(**changes: Any) -> dict[str, Any]:
    return {"id": "1", "owner": "1@N01", "dateupload": "1380989214", "title": "Sea", "tags": "sea sun"} | changes


def row(**changes: Any) -> dict[str, Any]:
    parsed = parse.post_from_photo(photo(**changes), NOW)
    assert isinstance(parsed, dict), parsed
    return check("posts", pl.DataFrame([parsed], schema=TABLES["posts"].dtypes())).row(0, named=True)


def reason(**changes: Any) -> str:
    parsed = parse.post_from_photo(photo(**changes), NOW)
    assert isinstance(parsed, str), parsed
    return parsed


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"latitude": 34.98, "longitude": 135.7, "accuracy": "16"}, (34.98, 135.7, 16)),
        ({"latitude": "-37.899166", "longitude": "0", "accuracy": "3"}, (-37.899166, 0.0, 3)),
        ({"latitude": 0, "longitude": 0, "accuracy": 0}, (None, None, None)),
        ({"latitude": 10.5, "longitude": 20.5, "accuracy": "0"}, (None, None, None)),
        ({"latitude": 0, "longitude": 0, "accuracy": 1}, (0.0, 0.0, 1)),
        ({}, (None, None, None)),
    ],
)
def test_accuracy_decides_whether_there_is_a_place(fields: dict[str, Any], expected: tuple[Any, ...]) -> None:
    found = row(**fields)
    assert (found["latitude"], found["longitude"], found["geo_accuracy"]) == expected


@pytest.mark.parametrize("unknown", [1, "1"])
def test_an_unknown_time_of_taking_is_null(unknown: Any) -> None:
    assert row(datetaken="2013-10-05 20:30:27", datetakenunknown=unknown)["taken_at"] is None


@pytest.mark.parametrize("unknown", [{}, {"datetakenunknown": "0"}, {"datetakenunknown": 0}])
def test_a_known_time_of_taking_is_kept_as_the_owner_reads_it(unknown: dict[str, Any]) -> None:
    expected = datetime(2013, 10, 5, 20, 30, 27, tzinfo=UTC)
    assert row(datetaken="2013-10-05 20:30:27", **unknown)["taken_at"] == expected


@pytest.mark.parametrize("impossible", ["0000-01-01 00:00:00", "0000-00-00 00:00:00", "", None, 0])
def test_impossible_times_of_taking_are_null(impossible: Any) -> None:
    assert row(datetaken=impossible, datetakenunknown=0)["taken_at"] is None


@pytest.mark.parametrize("value", [1, "1", True])
def test_yes_is_yes_in_every_type(value: Any) -> None:
    assert row(ispublic=value)["is_public"] is True


@pytest.mark.parametrize("title", ["", None, {"_content": ""}, "  "])
def test_an_empty_title_is_null(title: Any) -> None:
    assert row(title=title)["title"] is None


def test_wrapped_and_bare_texts_are_the_same() -> None:
    assert row(description={"_content": "<b>hi</b>"})["description"] == row(description="<b>hi</b>")["description"]


def test_half_a_character_does_not_stop_the_night() -> None:
    assert row(title=json.loads('"a\\ud83d"'))["title"] == "a?"


def test_tags_are_cut_at_spaces_and_those_of_the_picture_recognition_are_left_out() -> None:
    assert row(tags="sea  sun vision:night=077 geo:lat=1")["tags"] == ["sea", "sun", "geo:lat=1"]
    assert (row(tags="")["tags"], row(tags=None)["tags"]) == ([], None)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"dateupload": "2013"}, "post 1 was posted in 1970"),
        ({"dateupload": None}, "post 1 has no time of posting"),
        ({"dateupload": "soon"}, "post 1 has no time of posting"),
        ({"dateupload": "9" * 30}, "post 1 has no time of posting"),
        ({"owner": ""}, "post 1 has no owner"),
        ({"id": None}, "has no id"),
    ],
)
def test_what_cannot_be_a_post_has_a_reason(fields: dict[str, Any], expected: str) -> None:
    assert reason(**fields).startswith(expected)


def test_something_that_is_no_object_has_a_reason() -> None:
    assert parse.post_from_photo("photo", NOW) == "is no object"


def test_counts_are_read_from_text_and_missing_ones_are_null() -> None:
    counted = parse.observation_from_photo(photo(views="12", count_faves=3), NOW)
    assert counted == {"post_id": "1", "observed_at": NOW, "views": 12, "faves": 3, "comments": None}


@pytest.mark.parametrize(
    ("sizes", "asked", "expected"), [("mzl", "z", "z"), ("ml", "c", "m"), ("l", "z", "l"), ("", "z", None)]
)
def test_the_asked_size_or_the_next_smaller_is_downloaded(sizes: str, asked: str, expected: str | None) -> None:
    urls = {f"url_{size}": size for size in sizes}
    assert parse.image_url(urls, asked) == expected


@pytest.mark.parametrize(
    ("text", "hours"), [("+01:00", 1), ("-08:00", -8), ("+05:30", 5.5), ("", None), ("+99:00", None)]
)
def test_distances_from_utc(text: str, hours: float | None) -> None:
    assert parse.hours(text) == hours


def test_a_rejected_photo_keeps_nothing_personal() -> None:
    kept = parse.rejected_photo(photo(ownername="A Name", pathalias="alias"), "why", NOW)
    assert b"Name" not in kept.record
    assert b"alias" not in kept.record
    assert b"Sea" in kept.record


def test_the_100_recorded_photos_become_posts(flickr_fixtures: Path) -> None:
    photos = json.loads((flickr_fixtures / "photos.getRecent__100_all_extras.json").read_text())["photos"]["photo"]
    rows = [parse.post_from_photo(one, NOW) for one in photos]
    posts = check("posts", pl.DataFrame(rows, schema=TABLES["posts"].dtypes()))
    assert (posts.height, posts["geo_accuracy"].count(), posts["title"].null_count()) == (100, 6, 14)
    assert posts.filter(pl.col("tags").list.len() == 0).height == 57
    counts = [parse.observation_from_photo(one, NOW) for one in photos]
    observations = check("observations", pl.DataFrame(counts, schema=TABLES["observations"].dtypes()))
    assert (observations["views"].null_count(), observations["faves"].count()) == (0, 0)


def test_the_recorded_photo_with_an_edited_time_is_rejected(flickr_fixtures: Path) -> None:
    body = json.loads((flickr_fixtures / "photos.search__user78733179_all_extras.json").read_text())
    rows = [parse.post_from_photo(one, NOW) for one in body["photos"]["photo"]]
    assert parse.count(body["photos"]["total"]) == 2
    assert isinstance(rows[0], dict)
    assert rows[1] == "post 8130464513 was posted in 1970, a time that its owner must have edited"
    assert parse.count(body["photos"]["photo"][0]["views"]) is not None


def test_the_recorded_person_becomes_a_user_without_personal_data(flickr_fixtures: Path) -> None:
    person = json.loads((flickr_fixtures / "people.getInfo__78733179.json").read_text())["person"]
    found = parse.user_from_person(person, NOW)
    user = check("users", pl.DataFrame([found], schema=TABLES["users"].dtypes())).row(0, named=True)
    assert (user["user_id"], user["photo_count"], user["is_pro"], user["timezone_offset"]) == (
        "78733179@N04",
        2,
        False,
        1.0,
    )
    assert user["first_post_at"] is None  # "2013": seconds after 1970
    assert user["first_taken_at"] == datetime(2012, 10, 28, 11, 32, 3, tzinfo=UTC)
    assert "janko" not in str(found).lower()
