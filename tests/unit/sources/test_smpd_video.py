"""SMPD-Video: JSON lines of four files, their oddities, and one sentence for each broken file."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from challenge_files import video_post, write_video_split

from flickcast.errors import UserError
from flickcast.sources import smpd_video


def one(frame: pl.DataFrame) -> dict[str, object]:
    assert frame.height == 1
    return frame.row(0, named=True)


def name(content: str, split: str = "train") -> str:
    return f"SMP-Video_anonymized_{content}_{split}.jsonl"


def test_a_post_is_read_with_its_video_user_and_label(tmp_path: Path) -> None:
    batch = smpd_video.read(write_video_split(tmp_path, [video_post(1)]))
    post, user = one(batch.posts), one(batch.users)
    assert (post["title"], post["tags"], post["media_type"]) == ("Fun tip naturalremedies", ["cute bird"], "video")
    assert (post["width"], post["height"], post["duration_seconds"]) == (576, 1024, 27.0)
    assert (post["language"], post["country"]) == ("en", "US")
    assert post["posted_at"] == post["first_seen_at"] == user["observed_at"] == datetime(2022, 1, 2, 4, 53, tzinfo=UTC)
    counts = ("followers", "following", "photo_count", "total_faves", "faves_given")
    assert [user[column] for column in counts] == [2000, 87, 18, 5001, 10]
    assert one(batch.imported_labels) == {"post_id": "POST001", "popularity": 8.09}


def test_likes_that_overflowed_32_bits_are_put_right(tmp_path: Path) -> None:
    batch = smpd_video.read(write_video_split(tmp_path, [video_post(1, user_likes_count=-1_294_967_296)]))
    assert one(batch.users)["total_faves"] == 3_000_000_000


def test_an_unknown_language_and_an_empty_text_are_null(tmp_path: Path) -> None:
    post = video_post(1, post_text_language="un", post_content="", post_suggested_words=[])
    row = one(smpd_video.read(write_video_split(tmp_path, [post])).posts)
    assert (row["language"], row["title"], row["tags"]) == (None, None, [])


def test_words_as_a_list_are_read_as_well(tmp_path: Path) -> None:
    batch = smpd_video.read(write_video_split(tmp_path, [video_post(1, post_content=["Fun", "tip"])]))
    assert one(batch.posts)["title"] == "Fun tip"


def test_users_are_known_from_their_first_post_on_and_repeated_rows_count_once(tmp_path: Path) -> None:
    users = smpd_video.read(write_video_split(tmp_path, [video_post(7), video_post(4), video_post(1)])).users
    assert one(users)["observed_at"] == datetime(2022, 1, 2, 4, 53, tzinfo=UTC)


def test_numbers_of_a_user_that_differ_between_the_splits_are_two_snapshots(tmp_path: Path) -> None:
    write_video_split(tmp_path, [video_post(1), video_post(4)])
    write_video_split(tmp_path, [video_post(7, user_follower_count=3000)], "test")
    batch = smpd_video.read(tmp_path)
    assert batch.users["followers"].to_list() == [2000, 3000]
    assert (batch.posts.height, batch.imported_labels.height) == (3, 2)


def test_videos_and_users_may_be_absent(tmp_path: Path) -> None:
    write_video_split(tmp_path, [video_post(1)])
    for content in ("videos", "users"):
        (tmp_path / name(content)).unlink()
    batch = smpd_video.read(tmp_path)
    assert (one(batch.posts)["width"], batch.users.height, len(batch.notes)) == (None, 0, 2)


def test_an_image_dataset_is_no_video_dataset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no SMPD-Video dataset: it has no SMP-Video_anonymized_posts_train"):
        smpd_video.read(tmp_path)


def test_a_line_cut_off(tmp_path: Path) -> None:
    path = write_video_split(tmp_path, [video_post(1), video_post(2)]) / name("posts")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"posts_train.jsonl line 2 is not valid JSON .*cut off"):
        smpd_video.read(tmp_path)


def test_label_and_post_counts_that_differ(tmp_path: Path) -> None:
    path = write_video_split(tmp_path, [video_post(1), video_post(2)]) / name("popularity")
    path.write_text(path.read_text().splitlines()[0])
    with pytest.raises(UserError, match=r"popularity_train.jsonl has 1 rows but .*posts_train.jsonl has 2 posts"):
        smpd_video.read(tmp_path)


def test_duplicate_ids(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 posts occur more than once, for example POST001"):
        smpd_video.read(write_video_split(tmp_path, [video_post(1), video_post(1)]))


@pytest.mark.parametrize("time", ["", None, "soon", "2022-13-01 10:00"])
def test_a_post_without_time(tmp_path: Path, time: str | None) -> None:
    with pytest.raises(UserError, match=r"posts_train.jsonl: post POST002 has no post_time"):
        smpd_video.read(write_video_split(tmp_path, [video_post(1), video_post(2, post_time=time)]))


@pytest.mark.parametrize("label", ["high", None, "nan"])
def test_a_label_that_is_no_number(tmp_path: Path, label: str | None) -> None:
    with pytest.raises(UserError, match="the popularity of post POST002 is no number"):
        smpd_video.read(write_video_split(tmp_path, [video_post(1), video_post(2, popularity=label)]))


@pytest.mark.real_data
def test_the_real_posts_are_read(shared_data: Path) -> None:
    train = smpd_video.read(shared_data / "smpd_video" / "train")
    assert (train.found, train.posts.height, train.users.height, train.imported_labels.height) == (
        3008,
        3008,
        2628,
        3008,
    )
    assert train.users["total_faves"].min() >= 0  # type: ignore[operator]
    assert train.posts["width"].null_count() == 0
    both = smpd_video.read(shared_data / "smpd_video")
    assert (both.posts.height, both.imported_labels.height) == (4957, 3008)
