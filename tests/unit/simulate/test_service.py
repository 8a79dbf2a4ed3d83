import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import polars as pl
import pytest
from PIL import Image

from flickcast.errors import UserError
from flickcast.simulate.law import label
from flickcast.simulate.oracle import oracle
from flickcast.simulate.pages import PageLimits
from flickcast.simulate.service import run, serving
from flickcast.simulate.world import World

NOW = datetime(2016, 1, 12, 2, 0, tzinfo=UTC)
MIDNIGHT = int(datetime(2016, 1, 10, tzinfo=UTC).timestamp())
DAY = {"min_upload_date": str(MIDNIGHT), "max_upload_date": str(MIDNIGHT + 86_399)}
Call = Callable[..., Any]


@pytest.fixture
def service(world: World) -> Iterator[httpx.Client]:
    limits = PageLimits(results=40)
    with serving(world, NOW, limits) as address, httpx.Client(base_url=address, trust_env=False) as client:
        yield client


@pytest.fixture
def call(service: httpx.Client) -> Call:
    def ask(method: str, **arguments: str) -> Any:
        known = {"method": method, "api_key": "key", "format": "json", "nojsoncallback": "1"}
        return service.post("/services/rest/", data={**known, **arguments}).json()

    return ask


@pytest.fixture
def search(call: Call) -> Call:
    return lambda **arguments: call("flickr.photos.search", **arguments)["photos"]


def test_search_gives_the_posts_of_the_window_newest_first(world: World, search: Call):
    page = search(**DAY, per_page="10")
    assert [photo["id"] for photo in page["photo"]] == world.posts(9)["post_id"].reverse()[:10].to_list()
    assert page["total"] == world.posts(9).height
    assert (page["page"], page["perpage"], page["pages"]) == (1, 10, -(-page["total"] // 10))


def test_both_ends_of_the_window_belong_to_it(world: World, search: Call):
    moment = str(int(world.posts(9)["posted_at"][4].timestamp()))
    assert world.posts(9)["post_id"][4] in [
        photo["id"] for photo in search(min_upload_date=moment, max_upload_date=moment)["photo"]
    ]


def test_nothing_of_the_future_is_found(world: World, search: Call):
    found = search(min_upload_date=str(MIDNIGHT), max_upload_date=str(MIDNIGHT + 10 * 86_400), sort="date-posted-asc")
    until = sum(world.posts(day).filter(pl.col("posted_at") <= NOW).height for day in (9, 10, 11))
    assert found["total"] == until


def test_pages_beyond_the_limit_repeat_the_first_ones(search: Call):
    first, beyond = (search(**DAY, per_page="20", page=page)["photo"] for page in ("1", "3"))
    assert beyond == first


def test_a_page_never_holds_more_than_500(world: World, search: Call):
    assert search(**DAY, per_page="9999")["perpage"] == 500


def test_without_extras_only_the_basic_keys_are_there(search: Call):
    photo = search(**DAY, per_page="1")["photo"][0]
    basic = "id owner secret server farm title ispublic isfriend isfamily"
    assert set(photo) == set(basic.split())


def test_extras_have_the_real_names_and_types(search: Call):
    extras = "description,date_upload,owner_name,geo,tags,views,media,path_alias,url_z,o_dims,count_faves,no_such_extra"
    photos = search(**DAY, per_page="500", extras=extras)["photo"]
    photo = next(one for one in photos if one["accuracy"] == 0)
    assert (photo["latitude"], photo["longitude"]) == (0, 0)
    assert "geo_is_public" not in photo
    assert isinstance(photo["views"], str)
    assert isinstance(photo["count_faves"], str)
    assert photo["dateupload"].isdecimal()
    assert isinstance(photo["description"]["_content"], str)
    assert isinstance(photo["tags"], str)
    assert "pathalias" in photo
    assert "path_alias" not in photo
    assert (photo["media_status"], photo["width_z"], photo["o_width"]) == ("ready", 16, "16")
    placed = next(one for one in photos if one["accuracy"] != 0)
    assert isinstance(placed["latitude"], float)
    assert isinstance(placed["accuracy"], str)


def test_listed_photos_have_the_keys_of_a_recorded_answer(search: Call, flickr_fixtures: Path):
    recorded = json.loads((flickr_fixtures / "photos.getRecent__100_all_extras.json").read_text())["photos"]["photo"]
    extras = (
        "description,license,date_upload,date_taken,owner_name,icon_server,original_format,last_update,geo,tags,o_dims,"
        "machine_tags,views,media,path_alias,url_sq,url_t,url_s,url_q,url_m,url_n,url_z,url_c,url_l"
    )
    ours = {key for one in search(**DAY, per_page="500", extras=extras)["photo"] for key in one}
    real = {key for one in recorded for key in one}
    not_served = {f"{part}_{size}" for part in ("url", "width", "height") for size in "hko"}
    assert real - ours - not_served == {"place_id", "woeid"}
    assert ours - real == {"datetakenunknown"}  # younger than the recording


def test_views_grow_when_the_clock_is_moved(service: httpx.Client, search: Call):
    before = {one["id"]: int(one["views"]) for one in search(**DAY, extras="views")["photo"]}
    assert service.post("/simulation/clock", json={"now": "2016-01-20T00:00:00+00:00"}).status_code == 200
    after = {one["id"]: int(one["views"]) for one in search(**DAY, extras="views")["photo"]}
    assert after.keys() == before.keys()
    assert all(after[one] >= before[one] for one in before)
    assert sum(after.values()) > sum(before.values())


def test_every_answer_is_dated_by_the_clock(service: httpx.Client):
    for path in ("/services/rest/", "/simulation/ledger", "/nothing/here"):
        assert service.get(path).headers.get_list("date") == ["Tue, 12 Jan 2016 02:00:00 GMT"]


def test_a_clock_that_is_no_time_is_refused(service: httpx.Client):
    assert service.post("/simulation/clock", json={"now": "soon"}).status_code == 400
    assert service.post("/simulation/clock", content=b"[]").status_code == 400


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"api_key": ""}, 100),
        ({"method": "flickr.photos.serach"}, 112),
        ({"format": "soap"}, 111),
        ({}, 3),
        ({"user_id": "1@N00"}, 2),
        ({"min_upload_date": "yesterday"}, 18),
        ({"method": "flickr.people.getInfo", "user_id": "1@N00"}, 1),
    ],
)
def test_refusals_come_with_status_200_and_the_real_code(service: httpx.Client, changed: dict[str, str], code: int):
    plain = {"method": "flickr.photos.search", "api_key": "key", "format": "json", "nojsoncallback": "1"}
    answer = service.get("/services/rest/", params={**plain, **changed})
    assert answer.status_code == 200
    assert (answer.json()["stat"], answer.json()["code"]) == ("fail", code)


def test_without_nojsoncallback_the_answer_is_wrapped(service: httpx.Client):
    answer = service.get("/services/rest/", params={"method": "x", "api_key": "key", "format": "json"})
    assert answer.text.startswith("jsonFlickrApi({")


def test_a_profile_is_wrapped_and_counts_photos_as_of_now(world: World, call: Call):
    person = call("flickr.people.getInfo", user_id=world.users.profiles["user_id"][5])["person"]
    assert person["photos"]["count"]["_content"] == world.user_numbers(NOW)["photo_count"][5]
    assert isinstance(person["ispro"], int)
    assert person["photos"]["firstdate"]["_content"].isdecimal()
    assert "followers" not in str(person)


def test_one_contact_tells_the_following_count(world: World, call: Call):
    user = int(world.users.numbers["following"].arg_max() or 0)
    page = call("flickr.contacts.getPublicList", user_id=world.users.profiles["user_id"][user], per_page="1")[
        "contacts"
    ]
    assert page["total"] == world.user_numbers(NOW)["following"][user]
    assert len(page["contact"]) == 1


def test_a_deleted_account_is_error_5_and_its_posts_vanish_later(world: World, call: Call, service: httpx.Client):
    gone = world.users.profiles.with_row_index("user").sort("deleted_at", nulls_last=True).row(0, named=True)
    if gone["deleted_at"] is None:
        pytest.fail("this seed has no deleted account: choose another for the fixture")
    service.post("/simulation/clock", json={"now": gone["deleted_at"].isoformat()})
    assert call("flickr.people.getInfo", user_id=gone["user_id"])["code"] == 5
    before = call("flickr.photos.search", user_id=gone["user_id"])["photos"]["total"]
    service.post("/simulation/clock", json={"now": gone["deleted_at"].replace(year=2030).isoformat()})
    assert int(before) > 0
    assert (
        call("flickr.photos.search", user_id=gone["user_id"], max_upload_date=str(MIDNIGHT))["photos"]["total"] == "0"
    )


def test_oracle_is_told_for_posts_that_exist(world: World, call: Call):
    posts = world.posts(9)
    later = world.posts(30)["post_id"][0]
    told = call("flickcast.simulation.getOracle", post_ids=",".join([*posts["post_id"][:5], later]))["oracle"]["post"]
    assert [one["id"] for one in told] == posts["post_id"][:5].to_list()
    assert [one["expected"] for one in told] == oracle(world, posts)[:5].tolist()


def test_the_picture_of_a_post_is_a_jpeg_of_the_told_size(service: httpx.Client, search: Call):
    photo = search(**DAY, per_page="1", extras="url_z")["photo"][0]
    answer = service.get(photo["url_z"])
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(BytesIO(answer.content)).size == (photo["width_z"], photo["height_z"])
    assert service.get(photo["url_z"].removesuffix("_z.jpg") + ".jpg").status_code == 200


@pytest.mark.parametrize("name", ["1_aa_z", "16009000000_ffffffffff_z", "nonsense"])
def test_a_wrong_picture_address_is_404(service: httpx.Client, name: str):
    assert service.get(f"/65535/{name}.jpg").status_code == 404


def test_the_ledger_counts_calls_and_names_offered_posts(service: httpx.Client, search: Call):
    offered = [photo["id"] for photo in search(**DAY, per_page="3")["photo"]]
    ledger = service.get("/simulation/ledger").json()
    assert ledger == {
        "calls": {"flickr.photos.search": 1},
        "posts_offered": sorted(offered),
        "posts_unusable": {},
        "faults": {},
    }


def test_filters_narrow_a_search(world: World, search: Call):
    posts = world.posts(9)
    tag = posts["tags"][0][0]
    total = {
        "has_geo": posts.filter("geotagged").height,
        "license": posts.filter(pl.col("licence") == "0").height,
        "tags": posts.filter(pl.col("tags").list.contains(tag)).height,
        "media": posts.filter(pl.col("media_type") == "photo").height,
    }
    asked = {"has_geo": "1", "license": "0", "tags": tag, "media": "photos"}
    assert {name: search(**DAY, **{name: value})["total"] for name, value in asked.items()} == total


def test_a_second_can_be_split_by_licence_medium_and_place(world: World, search: Call):
    """Each axis gives parts that share no post and are the whole together."""
    axes = [
        [
            {"license": "0"},
            {"license": ",".join(str(one) for one in range(1, 9))},
            {"license": "9,10,11,12,13,14,15,16"},
        ],
        [{"media": "photos"}, {"media": "videos"}],
        [{"has_geo": "0"}, {"has_geo": "1"}],
    ]
    days = {**DAY, "min_upload_date": str(MIDNIGHT - 9 * 86_400)}
    whole = search(**days)["total"]
    for axis in axes:
        parts = [search(**days, **part)["total"] for part in axis]
        assert all(parts)
        assert sum(parts) == whole


def test_the_posts_of_one_user_can_be_searched_by_time(world: World, search: Call):
    user = world.posts(9)["user_id"][0]
    posts = world.posts(9).filter(pl.col("user_id") == user)
    page = search(**DAY, user_id=user)
    assert {photo["id"] for photo in page["photo"]} == set(posts["post_id"])
    assert page["total"] == str(posts.height)


def test_the_echo_says_what_was_asked(call: Call):
    answer = call("flickr.test.echo", word="hello")
    assert (answer["stat"], answer["word"], answer["method"]) == (
        "ok",
        {"_content": "hello"},
        {"_content": "flickr.test.echo"},
    )


def test_a_post_told_by_itself_is_the_post_that_is_listed(world: World, call: Call, search: Call):
    extras = "description,date_upload,date_taken,license,views,media,geo,tags,last_update,path_alias,count_comments"
    for listed in search(**DAY, extras=extras)["photo"][:20]:
        told = call("flickr.photos.getInfo", photo_id=listed["id"])["photo"]
        assert {name: told[name] for name in ("id", "secret", "license", "views", "media")} == {
            name: listed[name] for name in ("id", "secret", "license", "views", "media")
        }
        assert told["owner"]["nsid"] == listed["owner"]
        assert told["owner"]["path_alias"] == listed["pathalias"]
        assert told["dates"]["posted"] == told["dateuploaded"] == listed["dateupload"]
        assert told["dates"]["taken"] == listed["datetaken"]
        assert told["dates"]["lastupdate"] == listed["lastupdate"]
        assert told["title"] == {"_content": listed["title"]}
        assert told["description"] == listed["description"]
        assert told["comments"] == {"_content": listed["count_comments"]}
        assert " ".join(tag["_content"] for tag in told["tags"]["tag"]) == listed["tags"]
        assert ("location" in told) is (listed["accuracy"] != 0)
        assert "media_status" not in told


def test_a_post_told_by_itself_has_the_parts_of_recorded_ones(world: World, call: Call, flickr_fixtures: Path):
    """The recordings are XML: their attributes and elements are keys in JSON."""
    recorded = ElementTree.parse(flickr_fixtures / "photos.getInfo__52994452213.xml").getroot().find("photo")
    assert recorded is not None
    placed = world.posts(9).filter(pl.col("latitude").is_not_null(), pl.col("salt") % 5 != 0)["post_id"][0]
    told = call("flickr.photos.getInfo", photo_id=placed)["photo"]
    assert set(told) == {*recorded.keys(), *(part.tag for part in recorded)}
    for part in ("dates", "visibility", "usage", "geoperms"):
        element = recorded.find(part)
        assert element is not None
        assert set(told[part]) == set(element.keys())


@pytest.mark.parametrize("photo_id", ["1", "", "no number", "16999000000"])
def test_a_post_that_never_was_is_error_1(call: Call, photo_id: str):
    assert call("flickr.photos.getInfo", photo_id=photo_id)["code"] == 1


def test_the_label_is_what_an_observer_sees_a_week_later(world: World, service: httpx.Client, search: Call):
    post = world.posts(9)[[3]]
    moment = post["posted_at"][0]
    service.post("/simulation/clock", json={"now": moment.replace(day=moment.day + 7).isoformat()})
    second = str(int(moment.timestamp()))
    photos = search(min_upload_date=second, max_upload_date=second, extras="views")["photo"]
    seen = next(int(one["views"]) for one in photos if one["id"] == post["post_id"][0])
    assert label(world.views_at_maturity(post))[0] == label(pl.Series([seen]).to_numpy())[0]


def test_a_taken_port_is_one_sentence(world: World, service: httpx.Client):
    with pytest.raises(UserError, match=r"cannot serve on 127\.0\.0\.1"):
        run(world, port=int(service.base_url.port or 0), now=NOW, announce=lambda address: None)
