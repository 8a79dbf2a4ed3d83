"""Every recorded answer in ../shared/flickr_fixtures: what it means and what becomes of it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from flickr_recordings import as_listed, recorded

from flickcast.schemas import TABLES, check
from flickcast.sources import flickr_parse as parse
from flickcast.sources.flickr_client import Verdict, classify

NOW = datetime(2026, 3, 10, tzinfo=UTC)
NO_TIME = None

ERRORS = {
    "people.getInfo__48143042@N05.xml": Verdict.GONE,
    "people.getInfo__error100.xml": Verdict.STOP,
    "photos.getInfo__16062734376.xml": Verdict.GONE,
    "photos.getInfo__error201.xml": Verdict.RETRY,
    "test.null__error99.xml": Verdict.STOP,
}

# Views, comments, year of taking, tags, accuracy.
PHOTOS: dict[str, tuple[int, int, int | None, int, int | None]] = {
    "photos.getInfo__12533665685.xml": (2949, 0, 2014, 13, None),
    "photos.getInfo__20428374183.xml": (388, 0, NO_TIME, 6, None),  # takenunknown
    "photos.getInfo__25868667441.xml": (242, 0, NO_TIME, 4, None),  # takenunknown
    "photos.getInfo__32812033543.xml": (18043, 0, 2017, 13, None),
    "photos.getInfo__3701264363.xml": (18640, 1, NO_TIME, 7, None),  # 0000-01-01, said to be known
    "photos.getInfo__4895431370.xml": (70, 0, 2010, 1, None),
    "photos.getInfo__4960396261.xml": (486, 2, 2010, 6, 14),  # a video
    "photos.getInfo__51281775881.xml": (514_099, 4, NO_TIME, 12, None),  # takenunknown
    "photos.getInfo__52483149404.xml": (358, 0, 2022, 17, None),  # 18 tags, one without text
    "photos.getInfo__52578982111.xml": (186, 0, 2022, 33, None),  # degrees, and accuracy 0
    "photos.getInfo__52994452213.xml": (120, 0, 2021, 7, 16),
    "photos.getInfo__53331717974.xml": (1, 0, 2023, 0, 1),  # no tags
    "photos.getInfo__53509656752.xml": (570, 0, 1923, 6, 15),  # circa 1923
    "photos.getInfo__54049228596.xml": (15, 0, 2024, 0, None),
    "photos.getInfo__54216619200.xml": (86, 0, 2024, 4, 16),
}

# Photos, year of the first post, year of the first taking, pro, hours from UTC.
PEOPLE: dict[str, tuple[int, int | None, int, bool, float | None]] = {
    "people.getInfo__78733179.json": (2, NO_TIME, 2012, False, 1.0),  # firstdate 2013: seconds after 1970
    "people.getInfo__134319968@N02.xml": (12_558, 2018, 2015, True, None),
    "people.getInfo__199246608@N02.xml": (38, 2023, 2014, False, None),
    "people.getInfo__199258389@N04.xml": (5, 2024, 2024, False, None),
    "people.getInfo__28660070@N07.xml": (51_859, 2008, 2000, True, None),
    "people.getInfo__34427469121@N01.xml": (7845, 2004, 1907, True, -8.0),  # with mbox_sha1sum
    "people.getInfo__35591378@N03.xml": (6668, 2009, 2005, True, -5.0),
    "people.getInfo__62173425@N02.xml": (250, 2011, 1888, True, 1.0),
}

# The label of the picture that is downloaded when 1024 pixels are asked for.
PICTURES = {
    "photos.getSizes__21609597615.xml": "Large",
    "photos.getSizes__32812033543.xml": "Large",
    "photos.getSizes__4960396261.xml": "Medium 640",  # a video, some of whose sizes are empty
    "photos.getSizes__52578982111.xml": "Large",
    "photos.getSizes__5536044022.xml": "Medium 800",  # a small original
}
LETTERS = {"Medium": "m", "Medium 640": "z", "Medium 800": "c", "Large": "l"}

LISTS = {
    "photos.getRecent__100_all_extras.json": 100,
    "photos.search__user78733179_all_extras.json": 2,
    "people.getPublicPhotos__34427469121@N01.xml": 10,
}

NOT_ASKED_FOR = {
    "photos.getAllContexts__51800056877.xml": "set",
    "photos.licenses.getInfo__2025.xml": "licenses",
    "urls.lookupUser__george.xml": "user",
}

EVERY_TABLE = (ERRORS, PHOTOS, PEOPLE, PICTURES, LISTS, NOT_ASKED_FOR)


def checked(table: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return check(table, pl.DataFrame(rows, schema=TABLES[table].dtypes()))


def method_of(name: str) -> str:
    return f"flickr.{name.partition('__')[0]}"


def year(moment: datetime | None) -> int | None:
    return None if moment is None else moment.year


def test_every_recording_is_in_a_table_above(flickr_fixtures: Path) -> None:
    lying_there = {path.name for path in flickr_fixtures.iterdir()} - {"index.md"}
    assert sum(len(table) for table in EVERY_TABLE) == len(lying_there) == 39
    assert {name for table in EVERY_TABLE for name in table} == lying_there


@pytest.mark.parametrize("name", [name for table in EVERY_TABLE for name in table if name not in ERRORS])
def test_recorded_answers_are_ok(flickr_fixtures: Path, name: str) -> None:
    assert classify(200, recorded(flickr_fixtures / name), method_of(name)) is Verdict.OK


@pytest.mark.parametrize("name", ERRORS)
def test_recorded_errors_tell_what_to_do(flickr_fixtures: Path, name: str) -> None:
    body = recorded(flickr_fixtures / name)
    assert classify(200, body, method_of(name)) is ERRORS[name]
    assert classify(200, body | {"code": int(body["code"])}, method_of(name)) is ERRORS[name]  # JSON has a number


@pytest.mark.parametrize("name", PHOTOS)
def test_recorded_photos_become_posts_and_counts(flickr_fixtures: Path, name: str) -> None:
    info = recorded(flickr_fixtures / name)["photo"]
    views, comments, taken, tags, accuracy = PHOTOS[name]
    listed = parse.post_from_photo(as_listed(info), NOW)
    assert isinstance(listed, dict), listed
    post = checked("posts", [listed]).row(0, named=True)
    assert (year(post["taken_at"]), len(post["tags"]), post["geo_accuracy"]) == (taken, tags, accuracy)
    counted = checked("observations", [parse.info_from_photo(info, NOW)]).row(0, named=True)
    assert counted == {"post_id": info["id"], "observed_at": NOW, "views": views, "faves": None, "comments": comments}


@pytest.mark.parametrize("name", PEOPLE)
def test_recorded_people_become_users(flickr_fixtures: Path, name: str) -> None:
    person = recorded(flickr_fixtures / name)["person"]
    user = checked("users", [parse.user_from_person(person, NOW)]).row(0, named=True)
    told = (user["photo_count"], year(user["first_post_at"]), year(user["first_taken_at"]), user["is_pro"])
    assert (*told, user["timezone_offset"]) == PEOPLE[name]
    assert user["user_id"] == person["id"]


@pytest.mark.parametrize("name", PICTURES)
def test_of_the_recorded_sizes_the_largest_allowed_one_is_chosen(flickr_fixtures: Path, name: str) -> None:
    sizes = {size["label"]: size for size in recorded(flickr_fixtures / name)["sizes"]["size"]}
    photo = {}
    for label, letter in LETTERS.items():
        if label in sizes:
            one = sizes[label]
            photo |= {
                f"url_{letter}": one["source"],
                f"width_{letter}": one["width"],
                f"height_{letter}": one["height"],
            }
    chosen = sizes[PICTURES[name]]
    assert parse.image_url(photo, "l") == chosen["source"]
    assert parse.expected_size(photo, "l") == (int(chosen["width"]), int(chosen["height"]))


@pytest.mark.parametrize("name", LISTS)
def test_recorded_lists_are_conserved(flickr_fixtures: Path, name: str) -> None:
    photos = recorded(flickr_fixtures / name)["photos"]["photo"]
    parsed = [parse.post_from_photo(photo, NOW) for photo in photos]
    rejected = [reason for reason in parsed if isinstance(reason, str)]
    posts = checked("posts", [row for row in parsed if isinstance(row, dict)])
    assert posts.height + len(rejected) == len(photos) == LISTS[name]
    assert len(rejected) == (1 if "search" in name else 0)  # posted in 1970
    assert posts["image_url"].null_count() == 0


def test_a_recorded_list_without_views_and_faves_is_noticed(flickr_fixtures: Path) -> None:
    photos = recorded(flickr_fixtures / "people.getPublicPhotos__34427469121@N01.xml")["photos"]["photo"]
    assert parse.missing_extras(photos * 2) == ("views", "count_faves", "count_comments")


def test_recorded_photos_of_2013_lack_only_what_is_undocumented(flickr_fixtures: Path) -> None:
    photos = recorded(flickr_fixtures / "photos.getRecent__100_all_extras.json")["photos"]["photo"]
    assert parse.missing_extras(photos) == ("count_faves", "count_comments")


@pytest.mark.parametrize("name", NOT_ASKED_FOR)
def test_recorded_answers_to_other_questions_hold_no_photo(flickr_fixtures: Path, name: str) -> None:
    content = recorded(flickr_fixtures / name)[NOT_ASKED_FOR[name]]
    assert parse.post_from_photo(content, NOW) in ("is no object", "has no id", f"post {_id(content)} has no owner")


def _id(content: Any) -> str | None:
    return parse.text(content.get("id")) if isinstance(content, dict) else None


@pytest.mark.parametrize("name", [*PHOTOS, *PEOPLE, *LISTS, "urls.lookupUser__george.xml"])
def test_no_recorded_name_alias_icon_or_hash_is_kept(flickr_fixtures: Path, name: str) -> None:
    body = recorded(flickr_fixtures / name)
    kept = json.loads(parse.rejected_photo(body, "why", NOW).record)["photo"]
    assert list(_told_of_people(body))
    assert not list(_told_of_people(kept))


@pytest.mark.parametrize("name", PEOPLE)
def test_a_recorded_name_is_nowhere_in_what_is_kept_of_a_person(flickr_fixtures: Path, name: str) -> None:
    person = recorded(flickr_fixtures / name)["person"] | {"description": {}}  # where some tell their own name
    kept = json.dumps(parse.impersonal(person), ensure_ascii=False) + str(parse.user_from_person(person, NOW))
    told = {one for one in _told_of_people(person) if not one.isdecimal()}
    assert told
    assert not [one for one in told if one in kept]


def _told_of_people(value: Any, is_told: bool = False) -> Iterator[str]:
    """Every text under a personal key, at any depth; the keys told apart in another way than the parser does."""
    if isinstance(value, dict):
        for key, inner in value.items():
            is_personal = any(part in key for part in ("name", "alias", "icon", "location", "sha1"))
            yield from _told_of_people(inner, is_told or is_personal)
    elif isinstance(value, list):
        for inner in value:
            yield from _told_of_people(inner, is_told)
    elif is_told and isinstance(value, str) and len(value) > 3:
        yield value
