"""Whatever an answer looks like: no traceback, rows that fit their schema, and every photo stored or rejected."""

from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from flickr_recordings import recorded
from mutations import damaged

from flickcast.records import Rejected, quarantine_rows
from flickcast.schemas import TABLES, check
from flickcast.sources import flickr_parse as parse
from flickcast.sources.flickr_client import Verdict, _parsed, classify

NOW = datetime(2026, 3, 10, tzinfo=UTC)
MUTATIONS = 1500  # of each kind of answer
SEED = 20_260_310
RECORDINGS = Path(__file__).parents[3] / "shared" / "flickr_fixtures"


def listed(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"5363788{number:04}",
        "owner": f"3442746912{number}@N01",
        "title": f"photo {number}",
        "description": {"_content": "by <b>me</b>"},
        "ispublic": 1,
        "dateupload": str(1_712_509_720 + number),
        "datetaken": "2024-04-07 16:09:01",
        "datetakenunknown": "0",
        "ownername": "A Name",
        "tags": "sea sun vision:night=077",
        "views": "12",
        "count_faves": "3",
        "count_comments": "0",
        "media": "photo",
        "media_status": "ready",
        **{"latitude": 34.98, "longitude": "135.7", "accuracy": "16"},
        **{"url_z": f"https://live.staticflickr.com/1/{number}_z.jpg", "width_z": "640", "height_z": 480},
        **{"o_width": "4032", "o_height": "3024"},
    } | changes


SEARCH = {
    "photos": {"page": 1, "pages": 1, "perpage": 500, "total": "4", "photo": [listed(number) for number in range(4)]},
    "stat": "ok",
}
INFO = {
    "photo": {
        "id": "53637883806",
        "views": "430",
        "comments": {"_content": "2"},
        "owner": {"nsid": "34427469121@N01", "realname": "A Name", "location": "A Town"},
        "location": {"latitude": "8.07", "longitude": "77.5", "accuracy": "0", "locality": {"_content": "A Town"}},
    },
    "stat": "ok",
}
PERSON = {
    "person": {
        **{"id": "34427469121@N01", "nsid": "34427469121@N01", "ispro": 1, "path_alias": None},
        "username": {"_content": "A Name"},
        "timezone": {"label": "Pacific", "offset": "-08:00", "timezone_id": "PST8PDT"},
        "photos": {
            "firstdatetaken": {"_content": "1907-01-01 00:00:00"},
            "firstdate": {"_content": "1076118193"},
            "count": {"_content": 7845},
        },
    },
    "stat": "ok",
}
FAILURE = {"stat": "fail", "code": 100, "message": "Invalid API Key (Key has invalid format)"}


def seeds(made: dict[str, Any], pattern: str) -> list[Any]:
    """A hand-made answer, and the recorded ones where they lie beside this checkout; long lists are cut."""
    bodies = [made, *(recorded(path) for path in sorted(RECORDINGS.glob(pattern)))]
    for body in bodies:
        if "photos" in body:
            body["photos"]["photo"] = body["photos"]["photo"][:8]
    return [body for body in bodies if body["stat"] == "ok"]


def answers(made: dict[str, Any], pattern: str, method: str, expect: str) -> list[dict[str, Any]]:
    """What is left under the expected key of the damaged answers that still count as answers."""
    random, bodies = Random(SEED), seeds(made, pattern)
    contents = []
    for _ in range(MUTATIONS):
        body = _parsed(damaged(random, random.choice(bodies)))
        if classify(200, body, method) is Verdict.OK and isinstance(body.get(expect), dict):
            contents.append(body[expect])
    assert len(contents) > MUTATIONS / 4  # else the test looks at next to nothing
    return contents


def fits(table: str, rows: list[dict[str, Any]]) -> None:
    """The rows keep their table's schema; they come from many answers, so that they are told apart here."""
    key = TABLES[table].key[0]
    apart = [row | {key: f"{number}-{row[key]}"} for number, row in enumerate(rows)]
    assert check(table, pl.DataFrame(apart, schema=TABLES[table].dtypes())).height == len(rows)


def test_every_photo_of_a_damaged_list_is_a_post_or_rejected_with_a_reason() -> None:
    posts: list[dict[str, Any]] = []
    counts: list[dict[str, Any]] = []
    rejected: list[Rejected] = []
    for content in answers(SEARCH, "photos.[gs]e*_all_extras.json", "flickr.photos.search", "photos"):
        photos = content.get("photo")
        offered = {parse.photo_key(photo): photo for photo in (photos if isinstance(photos, list) else [])}
        rows = {key: parse.post_from_photo(photo, NOW) for key, photo in offered.items()}
        unusable = [parse.rejected_photo(offered[key], row, NOW) for key, row in rows.items() if isinstance(row, str)]
        usable = {row["post_id"]: offered[key] for key, row in rows.items() if isinstance(row, dict)}
        quarantined = quarantine_rows("ingest", "flickr", unusable, NOW)
        assert len(usable) + quarantined.height == len(offered)
        posts += [row for row in rows.values() if isinstance(row, dict)]
        counts += [parse.observation_from_photo(photo, NOW) for photo in usable.values()]
        rejected += unusable
        parse.missing_extras(offered.values())
        sizes = [parse.expected_size(photo, "z") for photo in usable.values()]
        assert all(size is None or min(size) > 0 for size in sizes)
    fits("posts", posts)
    fits("observations", counts)
    check("quarantine/ingest", quarantine_rows("ingest", "flickr", rejected, NOW))
    assert {"object", "id", "owner", "posting", "edited"} == {one.reason.split()[-1] for one in rejected}


def test_every_damaged_photo_by_itself_is_a_count() -> None:
    rows = [
        parse.info_from_photo(content, NOW)
        for content in answers(INFO, "photos.getInfo__*.xml", "flickr.photos.getInfo", "photo")
    ]
    assert len(rows) > 0
    fits("observations", rows)


def test_every_damaged_person_is_a_user() -> None:
    rows = [
        parse.user_from_person(content, NOW)
        for content in answers(PERSON, "people.getInfo__*", "flickr.people.getInfo", "person")
    ]
    assert len(rows) > 0
    fits("users", rows)


@pytest.mark.parametrize("method", ["flickr.photos.search", "flickr.people.getInfo"])
def test_a_damaged_refusal_is_never_taken_for_an_answer(method: str) -> None:
    random = Random(SEED)
    verdicts = [classify(200, _parsed(damaged(random, FAILURE)), method) for _ in range(MUTATIONS)]
    assert Verdict.OK not in verdicts
    assert {Verdict.RETRY, Verdict.STOP} <= set(verdicts)


@pytest.mark.parametrize("depth", [100, *range(880, 1000, 4), 200_000])
def test_an_answer_of_any_depth_is_read_or_refused(depth: int) -> None:
    body = _parsed(b'{"stat":"ok","photos":{"photo":[{"title":' + b"[" * depth + b"]" * depth + b"}]}}")
    if classify(200, body) is Verdict.RETRY:  # deeper than Python reads
        assert depth > 800
        return
    photo = body["photos"]["photo"][0]
    reason = parse.post_from_photo(photo, NOW)
    assert reason == "has no id"
    assert b"too deep" in parse.rejected_photo(photo, reason, NOW).record
