"""What every source of posts must hold, whatever it reads."""

import io
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from challenge_files import image_post, video_post, write_image_split, write_video_split
from fast import FAST
from flickr_service import KEY, NIGHT_STARTS, Service, photo, serving
from pydantic import SecretStr

from flickcast.params import IngestParams
from flickcast.records import Batch
from flickcast.schemas import TABLES, check
from flickcast.settings import Settings
from flickcast.sources import smpd_image, smpd_video
from flickcast.sources.flickr import open_flickr
from flickcast.sources.flickr_found import Memory
from flickcast.sources.flickr_stretches import Span
from flickcast.workspace import night_bounds

TABLE_NAMES = ("posts", "users", "observations", "imported_labels", "oracle")
UNUSABLE = 3  # the number of the post that every dataset here has and no source can use


@dataclass(frozen=True)
class Made:
    """A source over twelve posts, one of them unusable, given in an order that a seed decides."""

    read: Callable[[int], Batch]
    usable: int = 11


def _order(seed: int) -> list[int]:
    numbers = list(range(1, 13))
    random.Random(seed).shuffle(numbers)
    return numbers


def _read_images(folder: Path, seed: int) -> Batch:
    posts = [image_post(i, Postdate="2013") if i == UNUSABLE else image_post(i, label=f"{i}.0") for i in _order(seed)]
    write_image_split(folder / str(seed), posts, pictures=True)
    oracle = "\n".join(f"{post['Pid']}.5" for post in posts)
    (folder / str(seed) / "train_oracle.txt").write_text(oracle)
    return smpd_image.read(folder / str(seed))


def _read_videos(folder: Path, seed: int) -> Batch:
    old = {"post_time": "1970-01-01 00:33"}
    posts = [video_post(i, popularity=float(i), **(old if i == UNUSABLE else {})) for i in sorted(_order(seed))]
    return smpd_video.read(write_video_split(folder / str(seed), posts, shuffle=seed))


def _read_flickr(service: Service, stack: ExitStack, seed: int) -> Batch:
    service.photos = [photo(i, NIGHT_STARTS + i, **({"owner": ""} if i == UNUSABLE else {})) for i in _order(seed)]
    settings = Settings(flickr_url=f"{service.base}/services/rest/", flickr_key=SecretStr(KEY))
    params = IngestParams(**FAST, per_page=5, oracle=True)
    journal = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "journal"
    source = stack.enter_context(open_flickr(settings, params, journal=journal))
    return source.night(Span(*night_bounds(date(2026, 3, 9))), Memory())


@pytest.fixture(params=["smpd-image", "smpd-video", "flickr"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Made]:
    if request.param == "smpd-image":
        yield Made(lambda seed: _read_images(tmp_path, seed))
    elif request.param == "smpd-video":
        yield Made(lambda seed: _read_videos(tmp_path, seed))
    else:
        with serving(Service()) as service, ExitStack() as stack:
            yield Made(lambda seed: _read_flickr(service, stack, seed))


def test_found_is_posts_plus_rejected(made: Made) -> None:
    batch = made.read(0)
    assert (batch.found, batch.posts.height, len(batch.rejected)) == (12, made.usable, 1)
    assert str(UNUSABLE) in batch.rejected[0].reason
    assert batch.rejected[0].record


def test_every_frame_keeps_its_tables_schema(made: Made) -> None:
    batch = made.read(0)
    for name in TABLE_NAMES:
        frame = getattr(batch, name)
        assert check(name, frame).equals(frame), name
    for chunk in batch.pictures:
        assert check("images", chunk.images).equals(chunk.images)


def test_ids_are_text_and_times_are_utc(made: Made) -> None:
    batch = made.read(0)
    for name in TABLE_NAMES:
        for column, dtype in getattr(batch, name).schema.items():
            if column.endswith("_id") and column != "timezone_id":
                assert dtype == pl.String
            if column.endswith("_at"):
                assert dtype == pl.Datetime("us", "UTC")


def test_missing_is_null_and_never_an_empty_text(made: Made) -> None:
    batch = made.read(0)
    for name in TABLE_NAMES:
        frame = getattr(batch, name)
        assert not frame.select(pl.any_horizontal((pl.col(pl.String) == "").any())).row(0)[0] if frame.height else True


def _stored(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def test_the_order_of_the_input_changes_no_byte(made: Made) -> None:
    first, second = made.read(1), made.read(2)
    for name in TABLE_NAMES:
        assert _stored(getattr(first, name)) == _stored(getattr(second, name)), name
    assert first.rejected == second.rejected
    pictures = [[chunk.images for chunk in batch.pictures] for batch in (first, second)]
    assert all(a.equals(b) for a, b in zip(*pictures, strict=True))


def test_rows_are_in_the_order_of_their_key(made: Made) -> None:
    batch = made.read(0)
    for name in TABLE_NAMES:
        frame = getattr(batch, name)
        assert frame.equals(frame.sort(TABLES[name].key)), name


def test_everything_belongs_to_a_post_of_the_batch(made: Made) -> None:
    batch = made.read(0)
    ids = set(batch.posts["post_id"])
    for name in ("observations", "imported_labels", "oracle"):
        assert set(getattr(batch, name)["post_id"]) <= ids
    assert {post_id for chunk in batch.pictures for post_id in chunk.images["post_id"]} <= ids
    assert set(batch.users["user_id"]) == set(batch.posts["user_id"])


def test_pictures_can_be_read_again(made: Made) -> None:
    pictures = made.read(0).pictures
    assert [chunk.images.height for chunk in pictures] == [chunk.images.height for chunk in pictures]
