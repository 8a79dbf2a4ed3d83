from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import polars as pl
import pytest

from flickcast.errors import UserError
from flickcast.simulate.oddities import Oddities
from flickcast.simulate.oracle import oracle
from flickcast.simulate.service import serving
from flickcast.simulate.world import World, WorldParams

NOW = datetime(2016, 1, 20, 2, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
EXTRAS = "date_upload,license,media,geo,views"


@pytest.fixture(scope="module")
def odd_world() -> World:
    oddities = Oddities(late=0.1, redated=0.1, removed=0.2, unusable=0.1)
    return World(WorldParams(seed=7, users=60, posts_per_day=40.0, start=date(2016, 1, 1), oddities=oddities))


@pytest.fixture(scope="module")
def posts(odd_world: World) -> pl.DataFrame:
    return pl.concat([odd_world.posts(day) for day in range(20)])


@pytest.fixture
def service(odd_world: World) -> Iterator[httpx.Client]:
    with serving(odd_world, NOW) as address, httpx.Client(base_url=address, trust_env=False) as client:
        yield client


@pytest.fixture
def call(service: httpx.Client) -> Callable[..., Any]:
    def ask(method: str, now: datetime | None = None, **arguments: str) -> Any:
        if now:
            service.post("/simulation/clock", json={"now": now.isoformat()})
        form = {"method": method, "api_key": "key", "format": "json", "nojsoncallback": "1"}
        return service.post("/services/rest/", data={**form, **arguments}).json()

    return ask


def found(call: Callable[..., Any], first: datetime, last: datetime, now: datetime) -> list[dict[str, Any]]:
    """All that a search over these dates lists at a moment."""
    bounds = {"min_upload_date": str(int(first.timestamp())), "max_upload_date": str(int(last.timestamp()))}
    page = call("flickr.photos.search", now, **bounds, per_page="500", extras=EXTRAS, sort="date-posted-asc")["photos"]
    assert page["total"] == len(page["photo"]) < 500
    return list(page["photo"])


def usual(posts: pl.DataFrame, *but: str) -> pl.Expr:
    """Nothing happens to a post, except what is named."""
    calm = {
        "late": pl.col("shown_from") == pl.col("posted_at"),
        "redated": pl.col("redated_at").is_null(),
        "removed": pl.col("removed_at").is_null(),
        "unusable": pl.col("unusable").is_null(),
    }
    return pl.all_horizontal([is_calm if name not in but else ~is_calm for name, is_calm in calm.items()])


def ids_around(call: Callable[..., Any], moment: datetime, now: datetime) -> set[str]:
    return {photo["id"] for photo in found(call, moment, moment, now) if "id" in photo}


def test_the_shares_are_those_that_were_asked_for(posts: pl.DataFrame) -> None:
    shares = {name: posts.filter(usual(posts, name)).height / posts.height for name in ("late", "redated", "removed")}
    assert shares == pytest.approx({"late": 0.065, "redated": 0.065, "removed": 0.146}, abs=0.035)


def test_nothing_odd_happens_unless_asked_for(world: World) -> None:
    assert world.posts(3).filter(~usual(world.posts(3))).is_empty()


def test_oddities_leave_the_world_as_it_is(odd_world: World) -> None:
    plain = World(WorldParams(seed=7, users=60, posts_per_day=40.0, start=date(2016, 1, 1)))
    same = pl.exclude("shown_from", "redated_at", "redated_to", "removed_at", "unusable")
    assert odd_world.posts(3).select(same).equals(plain.posts(3).select(same))
    assert oracle(odd_world, odd_world.posts(3)).tolist() == oracle(plain, plain.posts(3)).tolist()


def test_a_late_post_appears_hours_after_its_dateupload(posts: pl.DataFrame, call: Callable[..., Any]) -> None:
    post = posts.filter(usual(posts, "late")).row(0, named=True)
    assert post["shown_from"] - post["posted_at"] >= HOUR
    for now, is_there in ((post["shown_from"] - HOUR / 2, False), (post["shown_from"], True)):
        assert (post["post_id"] in ids_around(call, post["posted_at"], now)) is is_there
        assert (call("flickr.photos.getInfo", photo_id=post["post_id"])["stat"] == "ok") is is_there


def test_a_redated_post_moves_to_another_day_or_year(posts: pl.DataFrame, call: Callable[..., Any]) -> None:
    redated = posts.filter(usual(posts, "redated"))
    moved = redated.filter(pl.col("redated_to").dt.year() > 1970).row(0, named=True)
    old = redated.filter(pl.col("redated_to").dt.year() == 1970).row(0, named=True)
    for post in (moved, old):
        before, after = post["redated_at"] - HOUR / 60, post["redated_at"]
        assert post["post_id"] in ids_around(call, post["posted_at"], before)
        assert post["post_id"] not in ids_around(call, post["redated_to"], before)
        assert post["post_id"] not in ids_around(call, post["posted_at"], after)
        assert post["post_id"] in ids_around(call, post["redated_to"], after)
        told = call("flickr.photos.getInfo", photo_id=post["post_id"])["photo"]["dateuploaded"]
        assert told == str(int(post["redated_to"].timestamp()))
    assert told == "2013"


def test_listed_dates_are_in_order_and_within_the_bounds(call: Callable[..., Any]) -> None:
    first, last = datetime(2016, 1, 5, tzinfo=UTC), datetime(2016, 1, 12, tzinfo=UTC)
    dates = [int(photo["dateupload"]) for photo in found(call, first, last, NOW) if "dateupload" in photo]
    assert dates == sorted(dates)
    assert first.timestamp() <= dates[0] < dates[-1] <= last.timestamp()


def test_a_removed_post_is_gone_from_everywhere(
    posts: pl.DataFrame, call: Callable[..., Any], service: httpx.Client
) -> None:
    post = posts.filter(usual(posts, "removed")).row(0, named=True)
    address = f"/65535/{post['post_id']}_{post['secret']}_z.jpg"
    assert post["post_id"] in ids_around(call, post["posted_at"], post["removed_at"] - HOUR / 60)
    assert service.get(address).status_code == 200
    assert post["post_id"] not in ids_around(call, post["posted_at"], post["removed_at"])
    assert call("flickr.photos.getInfo", photo_id=post["post_id"])["code"] == 1
    assert service.get(address).status_code == 302


def test_the_photo_count_leaves_out_what_is_not_shown(odd_world: World, posts: pl.DataFrame) -> None:
    shown = posts.filter(pl.col("shown_from") <= NOW, pl.col("removed_at").is_null() | (pl.col("removed_at") > NOW))
    grown = odd_world.user_numbers(NOW)["photo_count"] - odd_world.users.numbers["photo_count"]
    assert grown.to_list() == [int((shown["user"] == user).sum()) for user in range(60)]


def test_an_unusable_post_lacks_one_key_and_the_ledger_says_which(
    odd_world: World, call: Callable[..., Any], service: httpx.Client
) -> None:
    listed = found(call, NOW - 48 * HOUR, NOW - 24 * HOUR, NOW)
    lacking = {
        "no id": [photo for photo in listed if "id" not in photo],
        "no owner": [photo for photo in listed if "owner" not in photo],
        "no dateupload": [photo for photo in listed if "dateupload" not in photo],
    }
    ledger = service.get("/simulation/ledger").json()
    assert {why: len(photos) for why, photos in lacking.items()} == {
        why: list(ledger["posts_unusable"].values()).count(why) for why in lacking
    }
    assert set(ledger["posts_offered"]) == {photo["id"] for photo in listed if "id" in photo}
    assert len(ledger["posts_unusable"]) > 0
    assert len({*ledger["posts_offered"], *ledger["posts_unusable"]}) == len(listed)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(UserError, match="late posts; give 0 to 1"):
        Oddities(late=share)
