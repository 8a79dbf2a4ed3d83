"""Rows from the API's answers, recorded ones and every type trap."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flickcast.records import quarantine_rows
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


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [(0, None), ("0", None), (None, None), (17, None), (-1, None), ("16", 16), (1, 1), (11.0, 11)],
)
def test_no_place_is_told_from_accuracy_alone(accuracy: Any, expected: int | None) -> None:
    assert row(latitude=8.07931, longitude=77.550004, accuracy=accuracy)["geo_accuracy"] == expected


def test_a_float_beside_a_text_is_a_place() -> None:
    found = row(latitude=-37.899166, longitude="0", accuracy="16", context=0)
    assert (found["latitude"], found["longitude"]) == (-37.899166, 0.0)


@pytest.mark.parametrize(
    ("latitude", "longitude"), [(91, 0), ("-90.5", 0), (0, 180.5), ("NaN", 0), (0, "inf"), (None, 3)]
)
def test_degrees_that_cannot_be_are_no_place(latitude: Any, longitude: Any) -> None:
    found = row(latitude=latitude, longitude=longitude, accuracy=16)
    assert (found["latitude"], found["longitude"], found["geo_accuracy"]) == (None, None, None)


@pytest.mark.parametrize("granularity", [0, "0", 4, "6", 8, 10, None])
def test_any_granularity_of_the_time_of_taking_is_accepted(granularity: Any) -> None:
    found = row(datetaken="1923-01-01 00:00:00", datetakengranularity=granularity, datetakenunknown="0")
    assert found["taken_at"] == datetime(1923, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("width", "height"), [("1600", 2560), (1600, "2560"), ("1600", "2560"), (1600, 2560)])
def test_sizes_are_numbers_whatever_their_types(width: Any, height: Any) -> None:
    found = row(o_width=width, o_height=height)
    assert (found["width"], found["height"]) == (1600, 2560)
    sizes = {"url_z": "https://live.staticflickr.com/1/1_z.jpg", "width_z": width, "height_z": height}
    assert parse.expected_size(sizes, "z") == (1600, 2560)


@pytest.mark.parametrize("size", ["", None, 0, "0", -3, "wide", 2**31])
def test_a_size_that_is_none_is_null(size: Any) -> None:
    assert row(o_width=size)["width"] is None
    assert parse.expected_size({"url_z": "x", "width_z": size, "height_z": 480}, "z") is None


def test_the_expected_size_is_that_of_the_picture_that_is_downloaded() -> None:
    sizes = {"url_m": "m", "width_m": 500, "height_m": 375, "width_z": 640, "height_z": 480}
    assert (parse.image_url(sizes, "z"), parse.expected_size(sizes, "z")) == ("m", (500, 375))
    assert parse.expected_size({}, "z") is None


@pytest.mark.parametrize("alias", ["george", "", None, "None"])
def test_an_alias_changes_nothing_and_is_not_kept(alias: Any) -> None:
    assert row(pathalias=alias) == row()


@pytest.mark.parametrize("unwanted", [{"iconserver": 0, "iconfarm": 0}, {"iconserver": "0"}, {"an_unknown_key": [{}]}])
def test_what_is_not_read_may_have_any_type(unwanted: dict[str, Any]) -> None:
    assert row(**unwanted) == row()


@pytest.mark.parametrize("value", ["12", 12, "12.0", {"_content": "12"}, {"_content": 12}])
def test_a_count_is_a_number_in_every_type(value: Any) -> None:
    assert parse.count(value) == 12


@pytest.mark.parametrize(
    "value", ["", None, "None", "-1", -1, "NaN", "1e400", float("nan"), True, [], {}, "many", 2**62]
)
def test_what_counts_nothing_is_null(value: Any) -> None:
    assert parse.count(value) is None


@pytest.mark.parametrize("title", ["None", "null", "0", 0])
def test_a_title_may_be_any_word(title: Any) -> None:
    """Only where one value is expected does "None" stand for nothing: a photo may be called so."""
    assert row(title=title)["title"] == str(title)


@pytest.mark.parametrize("post_id", ["53637883806", 53637883806, {"_content": "53637883806"}, " 53637883806 "])
def test_an_id_beyond_32_bits_is_kept_as_text(post_id: Any) -> None:
    assert row(id=post_id)["post_id"] == "53637883806"


@pytest.mark.parametrize(
    "post_id", ["../../x", "None", "a b", "1\x00", "\x1b[31m", "1" * 65, 5.5, True, [], "\ud83d", "-1", "/"]
)
def test_what_is_no_id_is_neither_a_key_nor_a_path(post_id: Any) -> None:
    assert reason(id=post_id) == "has no id"
    assert reason(owner=post_id) == "post 1 has no owner"


def test_a_video_still_in_the_making_is_a_post_without_a_picture() -> None:
    found = row(media="video", media_status="pending", server="0", farm=0)
    assert (found["media_type"], found["media_status"], found["image_url"]) == ("video", "pending", None)


@pytest.mark.parametrize("word", ["screencast", "", None, 1, {}])
def test_an_unknown_kind_of_media_is_null(word: Any) -> None:
    found = row(media=word, media_status=word)
    assert (found["media_type"], found["media_status"]) == (None, None)


def test_markup_in_texts_is_kept_as_the_owner_wrote_it() -> None:
    assert row(title="&amp;quot;<a href=x>")["title"] == "&amp;quot;<a href=x>"


@pytest.mark.parametrize("value", [1, "1", True])
def test_yes_is_yes_in_every_type(value: Any) -> None:
    assert row(ispublic=value)["is_public"] is True


@pytest.mark.parametrize("title", ["", None, {"_content": ""}, "  ", float("nan"), [], {}, True])
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


PERSONAL_PHOTO = {
    "ownername": "Canary",
    "pathalias": "Canary",
    "iconserver": "Canary",
    "Real_Name": "Canary",
    "owner": {"nsid": "1@N01", "username": "Canary", "realname": {"_content": "Canary"}, "location": "Canary"},
    "tags": {"tag": [{"author": "1@N01", "authorname": "Canary", "_content": "sea"}]},
    "contacts": {"contact": [{"nsid": "2@N01", "username": "Canary", "path_alias": "Canary", "iconfarm": "Canary"}]},
    "person": {"mbox_sha1sum": {"_content": "Canary"}, "photosurl": {"_content": "https://flickr.com/photos/Canary/"}},
    "location": {"county": {"_content": "Canary"}},
}


@pytest.mark.parametrize("shape", [lambda one: one, lambda one: [one], lambda one: {"photo": [[one]]}])
def test_a_rejected_photo_keeps_nothing_personal_at_any_depth(shape: Callable[[Any], Any]) -> None:
    kept = parse.rejected_photo(shape(photo(**PERSONAL_PHOTO)), "why", NOW)
    assert b"Canary" not in kept.record + (kept.identity or b"")
    assert b"Sea" in kept.record
    assert b"2@N01" in kept.record


def test_a_rejected_photo_is_one_row_whatever_its_counts() -> None:
    rejected = [parse.rejected_photo(photo(**{"id": None, "views": str(views)}), "has no id", NOW) for views in (1, 2)]
    other = parse.rejected_photo(photo(id=None, title="Lake"), "has no id", NOW)
    assert quarantine_rows("ingest", "flickr", [*rejected, other], NOW).height == 2


FULL = {key: "1" for keys in parse.ASKED.values() for key in keys}


def test_an_extra_that_no_photo_has_is_told() -> None:
    photos = [photo(**FULL, number=number) for number in range(20)]
    assert parse.missing_extras(photos) == ()
    for listed in photos:
        del listed["views"], listed["owner"]
    assert parse.missing_extras(photos) == ("owner", "views")


def test_an_extra_that_some_photos_have_is_not_missing() -> None:
    assert parse.missing_extras([photo(**FULL), *(photo() for _ in range(19))]) == ()


def test_pictures_are_missing_only_where_no_size_is_there() -> None:
    bare = {key: value for key, value in FULL.items() if not key.startswith("url_")}
    assert parse.missing_extras([photo(**bare, url_m="m")] * 20) == ()
    assert parse.missing_extras([photo(**bare)] * 20) == ("url_m", "url_z", "url_c", "url_l")


def test_the_size_of_an_original_may_be_missing_from_all() -> None:
    assert parse.missing_extras([{key: value for key, value in photo(**FULL).items() if key != "o_width"}] * 20) == ()


def test_nineteen_photos_say_nothing_about_extras() -> None:
    assert parse.missing_extras([{}] * 19) == ()


def test_counts_of_a_single_photo_are_read_where_getinfo_has_them() -> None:
    info = {"id": "1", "views": "430", "comments": {"_content": "2"}, "count_comments": "9"}
    assert parse.info_from_photo(info, NOW) == {
        "post_id": "1",
        "observed_at": NOW,
        "views": 430,
        "faves": None,
        "comments": 2,
    }


@pytest.mark.parametrize(
    ("person", "expected"),
    [
        ({"nsid": "1@N01"}, {"photo_count": None, "timezone_offset": None}),
        ({"id": "1@N01", "photos": None, "timezone": ""}, {"photo_count": None, "timezone_offset": None}),
        ({"id": "1@N01", "photos": {"count": "5"}, "ispro": "1"}, {"photo_count": 5, "is_pro": True}),
        ({"id": "1@N01", "photos": {"firstdate": "2013"}}, {"first_post_at": None}),
        ({"id": "1@N01", "photos": {"firstdatetaken": {"_content": "0000-00-00 00:00:00"}}}, {"first_taken_at": None}),
        ({"id": "1@N01", "timezone": {"offset": "-08:00", "timezone_id": "PST8PDT"}}, {"timezone_offset": -8.0}),
        ({"id": "1@N01", "realname": {"_content": ""}, "location": None}, {"user_id": "1@N01"}),
    ],
)
def test_a_person_tells_what_it_tells(person: dict[str, Any], expected: dict[str, Any]) -> None:
    found = check("users", pl.DataFrame([parse.user_from_person(person, NOW)], schema=TABLES["users"].dtypes()))
    assert found.select(*expected).row(0, named=True) == expected


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
