"""The simulated world seen through the sources: what they read is what the world holds."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from fast import FAST
from pydantic import SecretStr

from flickcast.params import IngestParams
from flickcast.records import Batch
from flickcast.settings import Settings
from flickcast.simulate.corpus import write_corpus
from flickcast.simulate.pages import PageLimits
from flickcast.simulate.service import serving
from flickcast.simulate.world import World, WorldParams
from flickcast.sources import smpd_image
from flickcast.sources.flickr import open_flickr
from flickcast.sources.flickr_found import Memory
from flickcast.sources.flickr_stretches import Span
from flickcast.workspace import night_bounds

NIGHT = date(2015, 3, 20)
NOW = datetime(2015, 3, 21, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def world() -> World:
    return World(WorldParams(users=300, posts_per_day=30))


@pytest.fixture(scope="module")
def night(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    """A night over a service that shows few results at a time, so that windows must be split."""
    with serving(world, NOW, PageLimits(results=40)) as base:
        settings = Settings(flickr_url=f"{base}/services/rest/", flickr_key=SecretStr("key"))
        params = IngestParams(**FAST, per_page=10, max_results=40, oracle=True)
        with open_flickr(settings, params, journal=tmp_path_factory.mktemp("night") / "journal") as source:
            yield source.night(Span(*night_bounds(NIGHT)), Memory(posts=known(world)))


def known(world: World) -> pl.DataFrame:
    """The posts that come of age in this night, as if an earlier night had stored them."""
    old = world.posts(world.day_of(date(2015, 3, 13)))
    users = world.users.profiles["user_id"].gather(old["user"])
    return pl.DataFrame({"post_id": old["post_id"], "user_id": users, "posted_at": old["posted_at"]})


def posts_of(world: World, first: date, last: date) -> pl.DataFrame:
    days = range(world.day_of(first), world.day_of(last) + 1)
    return pl.concat([world.posts(day) for day in days])


def test_the_night_finds_the_posts_of_its_day_and_the_two_before(world: World, night: Batch) -> None:
    offered = set(posts_of(world, date(2015, 3, 18), NIGHT)["post_id"])
    assert set(night.posts["post_id"]) <= offered
    assert night.found >= 0.9 * len(offered)  # the posts of deleted accounts are not shown
    assert night.found == night.posts.height + night.known + len(night.rejected)


def test_what_the_night_reads_is_what_the_world_holds(world: World, night: Batch) -> None:
    held = posts_of(world, date(2015, 3, 18), NIGHT).select("post_id", pl.col("posted_at").dt.truncate("1s"))
    read = night.posts.select("post_id", "posted_at")
    assert read.join(held, on=["post_id", "posted_at"], how="semi").height == read.height
    assert set(night.posts["first_seen_at"]) == {NOW}


def test_counts_are_read_for_the_night_and_for_posts_that_come_of_age(world: World, night: Batch) -> None:
    old = world.posts(world.day_of(date(2015, 3, 13)))
    views = pl.DataFrame({"post_id": old["post_id"], "views": world.views(old, NOW)})
    read = night.observations.join(views, on="post_id")
    assert read.height >= 0.9 * old.height
    assert read["views"].to_list() == read["views_right"].to_list()


def test_every_author_and_every_picture_is_there(night: Batch) -> None:
    authors = set(night.posts["user_id"])
    assert len(authors - set(night.users["user_id"])) == sum("gone" in note for note in night.notes)
    assert night.users["following"].null_count() == 0
    chunks = [(chunk.images.height, len(chunk.rejected)) for chunk in night.pictures]
    assert sum(have + bad for have, bad in chunks) == night.posts["image_url"].count()
    assert sum(have for have, _ in chunks) >= 0.9 * night.posts.height


def test_the_oracle_of_every_post_is_told(night: Batch) -> None:
    assert night.oracle["post_id"].to_list() == night.posts["post_id"].to_list()


def test_a_corpus_is_read_whole(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    report = write_corpus(world, folder, date(2015, 3, 3), date(2015, 3, 8), NOW, test_from=date(2015, 3, 7))
    batch = smpd_image.read(folder)
    assert batch.found == batch.posts.height == sum(report.posts.values())
    assert batch.imported_labels.height == report.posts["train"]
    assert batch.oracle.height == batch.found
    assert sum(chunk.images.height for chunk in batch.pictures) == report.pictures
    assert set(batch.users["user_id"]) == set(batch.posts["user_id"])
    assert batch.users["first_post_at"].null_count() < batch.users.height
    assert batch.users["first_taken_at"].null_count() < batch.users.height
