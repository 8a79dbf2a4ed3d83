import json
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from flickcast.errors import UserError
from flickcast.simulate.corpus import write_corpus
from flickcast.simulate.law import label
from flickcast.simulate.oracle import oracle, sight_of_files
from flickcast.simulate.world import World

FIRST, LAST, CUT = date(2016, 1, 10), date(2016, 1, 13), date(2016, 1, 12)
NOW = datetime(2016, 2, 1, tzinfo=UTC)
LISTS = ("category", "text", "temporalspatial_information", "user_data", "additional_information")


@pytest.fixture(scope="module")
def corpus(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "made"
    write_corpus(world, folder, FIRST, LAST, NOW, pictures=True, test_from=CUT)
    return folder


def read(corpus: Path, name: str) -> list[dict[str, str]]:
    return json.loads((corpus / name).read_text(encoding="utf-8"))


def lines(corpus: Path, name: str) -> list[str]:
    return (corpus / name).read_text().splitlines()


def test_all_files_of_a_split_have_the_same_rows(corpus: Path):
    for split in ("train", "test"):
        ids = [[row["Pid"] for row in read(corpus, f"{split}_{name}.json")] for name in LISTS]
        assert all(one == ids[0] for one in ids)
        assert [Path(line).stem for line in lines(corpus, f"{split}_img_filepath.txt")] == ids[0]
        assert len(lines(corpus, f"{split}_oracle.txt")) == len(ids[0])
        assert ids[0] == sorted(ids[0], key=int)


def test_the_splits_are_the_posts_before_and_after_the_cut(world: World, corpus: Path):
    train, test = ([row["Pid"] for row in read(corpus, f"{split}_text.json")] for split in ("train", "test"))
    assert train == [*world.posts(9)["post_id"], *world.posts(10)["post_id"]]
    assert test == [*world.posts(11)["post_id"], *world.posts(12)["post_id"]]


def test_labels_are_those_of_the_world_with_two_decimals(world: World, corpus: Path):
    posts = pl.concat([world.posts(9), world.posts(10)])
    expected = [f"{one:.2f}" for one in label(world.views_at_maturity(posts))]
    assert lines(corpus, "train_label.txt") == expected
    assert not (corpus / "test_label.txt").exists()


def test_oracle_is_that_of_the_world(world: World, corpus: Path):
    posts = pl.concat([world.posts(11), world.posts(12)])
    told = np.array([float(line) for line in lines(corpus, "test_oracle.txt")])
    assert np.abs(told - oracle(world, posts, sight_of_files(world))).max() <= 5e-5


def test_keys_are_those_of_the_real_files(corpus: Path, shared_data: Path):
    for name in set(LISTS) - {"user_data"}:
        real = json.loads((shared_data / f"smpd_image/posts_200/test_{name}.json").read_text(encoding="utf-8"))
        assert set(read(corpus, f"test_{name}.json")[0]) == set(real[0])


def test_every_value_is_text(corpus: Path):
    for name in LISTS:
        assert all(isinstance(value, str) for row in read(corpus, f"train_{name}.json") for value in row.values())


def test_user_data_has_its_keys_and_vector_lengths(corpus: Path):
    rows = read(corpus, "train_user_data.json")
    keys = "Uid Pid photo_firstdate photo_count ispro canbuypro timezone_offset timezone_timezone_id"
    assert set(rows[0]) == {*keys.split(), "photo_firstdatetaken", "user_description", "location_description"}
    assert {row["user_description"].count(",") for row in rows} == {398}
    assert {row["location_description"].count(",") for row in rows} == {0, 399}


def test_photo_count_is_that_of_the_posts_moment(world: World, corpus: Path):
    row, posts = read(corpus, "train_user_data.json")[5], world.posts(9)
    then = world.user_numbers(posts["posted_at"][5])["photo_count"][posts["user"][5]]
    assert row["photo_count"] == str(then)


def test_a_post_without_place_has_three_zeros(world: World, corpus: Path):
    for row, tagged in zip(
        read(corpus, "test_temporalspatial_information.json"), world.posts(11)["geotagged"], strict=False
    ):
        place = (row["Latitude"], row["Longitude"], row["Geoaccuracy"])
        assert (place == ("0", "0", "0")) is not tagged


def test_every_picture_opens(world: World, corpus: Path):
    for split in ("train", "test"):
        for path in lines(corpus, f"{split}_img_filepath.txt"):
            assert Image.open(BytesIO((corpus / path).read_bytes())).size == (16, 16)


def test_posts_too_young_for_a_label_are_counted_and_left_out(world: World, tmp_path: Path):
    report = write_corpus(world, tmp_path / "made", FIRST, LAST, datetime(2016, 1, 18, tzinfo=UTC), pictures=False)
    assert report.posts == {"train": world.posts(9).height, "test": 0}
    assert report.unripe == sum(world.posts(day).height for day in (10, 11, 12))
    assert not list((tmp_path / "made").glob("test_*"))


def test_posts_after_the_moment_are_not_there(world: World, tmp_path: Path):
    now = datetime(2016, 1, 12, 12, tzinfo=UTC)
    report = write_corpus(world, tmp_path / "made", LAST, LAST, now, pictures=False, test_from=CUT)
    assert report.posts["test"] == 0


def test_progress_is_told_day_by_day(world: World, tmp_path: Path):
    told: list[int] = []
    write_corpus(world, tmp_path / "made", FIRST, LAST, NOW, False, advance=told.append)
    assert told == [1, 1, 1, 1]


def test_a_folder_with_something_in_it_is_refused(world: World, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="not an empty folder"):
        write_corpus(world, tmp_path, FIRST, LAST, NOW, pictures=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_days_before_the_world_are_refused(world: World, tmp_path: Path):
    with pytest.raises(UserError, match="the world starts on 2016-01-01"):
        write_corpus(world, tmp_path / "made", date(2015, 12, 1), LAST, NOW)


def test_an_interrupted_corpus_leaves_nothing(world: World, tmp_path: Path):
    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_corpus(world, tmp_path / "made", FIRST, LAST, NOW, pictures=False, advance=stop)
    assert list(tmp_path.iterdir()) == []
