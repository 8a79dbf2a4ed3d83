"""SMPD-Image: every release's names and shapes, every trap, and one sentence for each broken file."""

import json
import shutil
import tracemalloc
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from challenge_files import image_post, image_posts, jpeg, write_image_split
from PIL import Image

from flickcast.errors import UserError
from flickcast.sources import contents, smpd_image

OLD_NAMES = {
    "train_text.json": "train_tags.json",
    "train_temporalspatial_information.json": "train_temporalspatial.json",
    "train_user_data.json": "train_userdata.json",
    "train_additional_information.json": "train_additional.json",
    "train_img_filepath.txt": "train_img.txt",
}


def one(frame: pl.DataFrame) -> dict[str, object]:
    assert frame.height == 1
    return frame.row(0, named=True)


def frames(folder: Path) -> list[pl.DataFrame]:
    batch = smpd_image.read(folder)
    return [batch.posts, batch.users, batch.imported_labels]


def rewrite(path: Path, change: object) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))  # type: ignore[operator]


def test_a_post_is_read_with_time_text_and_label(tmp_path: Path) -> None:
    batch = smpd_image.read(write_image_split(tmp_path, [image_post(7)]))
    post = one(batch.posts)
    assert (post["post_id"], post["user_id"], post["title"]) == ("7", "11@N01", "post 7")
    assert post["posted_at"] == post["first_seen_at"] == datetime(2015, 4, 26, 0, 10, tzinfo=UTC)
    assert post["tags"] == ["fish", "reeftank", "uploaded:by=instagram"]
    assert (post["is_public"], post["media_status"], post["taken_at"]) == (True, "ready", None)
    assert one(batch.imported_labels) == {"post_id": "7", "popularity": 6.5}


def test_profile_numbers_are_read_as_known_when_the_post_appeared(tmp_path: Path) -> None:
    user = one(smpd_image.read(write_image_split(tmp_path, [image_post(7)])).users)
    assert user["observed_at"] == datetime(2015, 4, 26, 0, 10, tzinfo=UTC)
    assert (user["photo_count"], user["is_pro"], user["can_buy_pro"]) == (12, True, False)
    assert (user["timezone_id"], user["timezone_offset"]) == ("9", -5.0)
    assert user["first_taken_at"] == datetime(2010, 5, 12, 23, tzinfo=UTC)


def test_numbers_that_changed_between_posts_of_a_user_are_two_snapshots(tmp_path: Path) -> None:
    posts = [image_post(3, photo_count="12"), image_post(6, photo_count="12"), image_post(9, photo_count="13")]
    users = smpd_image.read(write_image_split(tmp_path, posts)).users
    assert users["photo_count"].to_list() == [12, 13]


@pytest.mark.parametrize("split", ["train", "test"])
def test_no_label_is_made_up_for_a_test_split(tmp_path: Path, split: str) -> None:
    batch = smpd_image.read(write_image_split(tmp_path, image_posts(3), split))
    assert batch.imported_labels.height == (3 if split == "train" else 0)


def test_both_splits_in_one_folder_are_one_batch(tmp_path: Path) -> None:
    write_image_split(tmp_path, image_posts(3))
    write_image_split(tmp_path, [image_post(9)], "test")
    batch = smpd_image.read(tmp_path)
    assert (batch.posts["post_id"].to_list(), batch.imported_labels.height) == (["1", "2", "3", "9"], 3)


def test_user_file_additional_file_and_pictures_may_be_absent(tmp_path: Path) -> None:
    batch = smpd_image.read(write_image_split(tmp_path, image_posts(2), without=("user", "additional")))
    assert (batch.users.height, batch.posts["is_public"].to_list(), list(batch.pictures)) == (0, [None, None], [])
    assert len(batch.notes) == 3


def test_oracle_of_a_simulated_corpus_goes_by_row(tmp_path: Path) -> None:
    write_image_split(tmp_path, image_posts(2))
    (tmp_path / "train_oracle.txt").write_text("4.5\n5.5\n")
    assert smpd_image.read(tmp_path).oracle["oracle"].to_list() == [4.5, 5.5]


def test_old_names_give_the_same_posts(tmp_path: Path) -> None:
    expected = frames(write_image_split(tmp_path / "new", image_posts()))
    old = write_image_split(tmp_path / "old", image_posts())
    for new_name, old_name in OLD_NAMES.items():
        (old / new_name).rename(old / old_name)
    (old / "train_img.txt").write_text("https://www.flickr.com/photos/x/1\n" * 5)
    assert all(a.equals(b) for a, b in zip(frames(old), expected, strict=True))


def test_zip_as_published_with_outer_folder_and_macos_files(tmp_path: Path) -> None:
    plain = write_image_split(tmp_path / "plain", image_posts(), pictures=True)
    zipped = tmp_path / "zipped"
    zipped.mkdir()
    with zipfile.ZipFile(zipped / "train_allmetadata_json.zip", "w") as archive:
        for path in sorted(plain.glob("train_*")):
            archive.write(path, f"train_allmetadata_json/{path.name}")
            archive.writestr(f"__MACOSX/train_allmetadata_json/._{path.name}", b"junk")
    with zipfile.ZipFile(zipped / "train_images.zip", "w") as archive:
        for path in sorted((plain / "train").rglob("*.jpg")):
            archive.write(path, f"images/{path.relative_to(plain)}")
            archive.writestr(f"__MACOSX/images/{path.relative_to(plain)}", b"junk")
    assert all(a.equals(b) for a, b in zip(frames(zipped), frames(plain), strict=True))
    assert next(iter(smpd_image.read(zipped).pictures)).images.height == 5
    assert smpd_image.read(zipped / "train_allmetadata_json.zip").posts.height == 5


def test_an_archive_beside_its_unpacked_files_is_no_second_dataset(tmp_path: Path) -> None:
    folder = write_image_split(tmp_path, image_posts())
    with zipfile.ZipFile(folder / "train_allmetadata_json.zip", "w") as archive:
        for path in sorted(folder.glob("train_*.json")):
            archive.write(path, path.name)
    assert smpd_image.read(folder).posts.height == 5


@pytest.mark.parametrize("shape", ["one list in an object", "columns of rows", "columns of lists"])
def test_other_shapes_of_the_same_json_are_read(tmp_path: Path, shape: str) -> None:
    expected = frames(write_image_split(tmp_path / "a", image_posts()))
    folder = write_image_split(tmp_path / "b", image_posts())

    def reshape(rows: list[dict[str, str]]) -> object:
        columns = {key: [row[key] for row in rows] for key in rows[0]}
        by_row = {key: {str(i): value for i, value in enumerate(column)} for key, column in columns.items()}
        return {"one list in an object": {"data": rows}, "columns of rows": by_row, "columns of lists": columns}[shape]

    for path in folder.glob("*.json"):
        rewrite(path, reshape)
    assert all(a.equals(b) for a, b in zip(frames(folder), expected, strict=True))


def test_numbers_instead_of_text_give_the_same_posts(tmp_path: Path) -> None:
    expected = frames(write_image_split(tmp_path / "a", image_posts()))
    numeric = [
        {k: float(v) if k == "Pid" else int(v) if str(v).lstrip("-").isdigit() else v for k, v in p.items()}
        for p in image_posts()
    ]
    paths = {"path": "train/1@N1/1.jpg"}
    folder = write_image_split(tmp_path / "b", [post | paths for post in numeric])
    assert all(a.equals(b) for a, b in zip(frames(folder), expected, strict=True))


def test_tile_stands_for_title_and_the_short_timezone_name_is_read(tmp_path: Path) -> None:
    folder = write_image_split(tmp_path, [image_post(1)])
    rewrite(folder / "train_text.json", lambda rows: [{**r, "Tile": r.pop("Title")} for r in rows])
    rewrite(
        folder / "train_user_data.json",
        lambda rows: [{**r, "timezone_id": "7", "timezone_timezone_id": None} for r in rows],
    )
    batch = smpd_image.read(folder)
    assert (one(batch.posts)["title"], one(batch.users)["timezone_id"]) == ("post 1", "7")


def test_user_file_without_ids_is_glued_on_by_row(tmp_path: Path) -> None:
    folder = write_image_split(tmp_path, [image_post(i, photo_count=str(i)) for i in (3, 1, 2)])
    rewrite(
        folder / "train_user_data.json",
        lambda rows: [{k: v for k, v in r.items() if k not in ("Uid", "Pid")} for r in rows],
    )
    users = smpd_image.read(folder).users
    assert dict(users.select("user_id", "photo_count").iter_rows()) == {"10@N00": 3, "11@N01": 1, "12@N02": 2}


def test_files_in_different_orders_are_joined_by_id(tmp_path: Path) -> None:
    folder = write_image_split(tmp_path, image_posts())
    rewrite(folder / "train_text.json", lambda rows: rows[::-1])
    assert smpd_image.read(folder).posts["title"].to_list() == [f"post {i}" for i in range(1, 6)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"Latitude": "51.9", "Longitude": "0.5", "Geoaccuracy": "16"}, (51.9, 0.5, 16)),
        ({"Latitude": "0", "Longitude": "0", "Geoaccuracy": "3"}, (0.0, 0.0, 3)),
        ({"Latitude": "51.9", "Longitude": "0.5", "Geoaccuracy": "0"}, (None, None, None)),
        ({"Latitude": "51.9", "Longitude": " ", "Geoaccuracy": "16"}, (None, None, None)),
        ({"Latitude": "151.9", "Longitude": "0.5", "Geoaccuracy": "16"}, (None, None, None)),
        ({"Latitude": 51.9, "Longitude": 0.5, "Geoaccuracy": 11.0}, (51.9, 0.5, 11)),
    ],
)
def test_accuracy_decides_whether_there_is_a_place(tmp_path: Path, fields: dict, expected: tuple) -> None:
    post = one(smpd_image.read(write_image_split(tmp_path, [image_post(1, **fields)])).posts)
    assert (post["latitude"], post["longitude"], post["geo_accuracy"]) == expected


@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        ("1904010100", datetime(1904, 1, 1, tzinfo=UTC)),
        ("2012-10-28 11:32:03", datetime(2012, 10, 28, 11, 32, 3, tzinfo=UTC)),
        ("1330000000", datetime(2012, 2, 23, 12, 26, 40, tzinfo=UTC)),
        ("None", None),
        ("0", None),
        ("0000000000", None),
    ],
)
def test_odd_first_dates_are_read_or_left_out(tmp_path: Path, digits: str, expected: datetime | None) -> None:
    users = smpd_image.read(write_image_split(tmp_path, [image_post(1, photo_firstdatetaken=digits)])).users
    assert one(users)["first_taken_at"] == expected


def test_none_in_words_is_null_and_aliases_are_nowhere(tmp_path: Path) -> None:
    post = image_post(1, photo_firstdate="None", photo_count="", timezone_offset="None", Title="", Pathalias="realname")
    batch = smpd_image.read(write_image_split(tmp_path, [post]))
    user = one(batch.users)
    assert [user[name] for name in ("first_post_at", "photo_count", "timezone_offset")] == [None, None, None]
    assert one(batch.posts)["title"] is None
    assert "realname" not in batch.posts.write_json() + batch.users.write_json()


def test_a_time_before_this_century_is_rejected_with_its_record(tmp_path: Path) -> None:
    batch = smpd_image.read(write_image_split(tmp_path, [image_post(1), image_post(2, Postdate="2013")]))
    assert (batch.found, batch.posts["post_id"].to_list(), batch.imported_labels.height) == (2, ["1"], 1)
    assert "post 2 was posted before 2000" in batch.rejected[0].reason
    record = json.loads(batch.rejected[0].record)
    assert (record["Pid"], "Pathalias" in record) == ("2", False)


def test_the_folder_above_and_the_picture_folder_below_are_understood(tmp_path: Path) -> None:
    folder = write_image_split(tmp_path / "data" / "train_allmetadata_json", image_posts(2))
    for post in image_posts(2):
        path = tmp_path / "data" / "train" / post["Uid"] / f"{post['Pid']}.jpg"
        path.parent.mkdir(parents=True)
        path.write_bytes(jpeg())
    for given in (tmp_path, tmp_path / "data", folder, tmp_path / "data" / "train"):
        batch = smpd_image.read(given)
        assert (batch.posts.height, sum(chunk.images.height for chunk in batch.pictures)) == (2, 2), given


def test_pictures_by_listed_path_with_backslashes_and_quotes(tmp_path: Path) -> None:
    posts = [image_post(1, path='"train\\11@N01\\1.jpg"'), image_post(2)]
    chunk = next(iter(smpd_image.read(write_image_split(tmp_path, posts, pictures=True)).pictures))
    assert chunk.images["post_id"].to_list() == ["1", "2"]
    row = chunk.images.row(0, named=True)
    assert (row["bytes"], row["width"], row["height"], row["mode"]) == (jpeg(1), 8, 6, "RGB")


def test_a_broken_and_a_missing_picture_are_rejected_and_their_posts_stay(tmp_path: Path) -> None:
    folder = write_image_split(tmp_path, image_posts(3), pictures=True)
    (folder / "train/11@N01/1.jpg").write_bytes(jpeg()[:200])
    (folder / "train/12@N02/2.jpg").unlink()
    batch = smpd_image.read(folder)
    (chunk,) = batch.pictures
    assert (batch.posts.height, chunk.images["post_id"].to_list()) == (3, ["3"])
    assert [rejected.reason.split(" (")[0] for rejected in chunk.rejected] == [
        "picture of post 1 does not decode",
        "picture of post 2 cannot be read",
    ]
    assert chunk.rejected[0].record.endswith(jpeg()[:200])


def test_a_picture_that_no_encoder_could_take_is_rejected(tmp_path: Path) -> None:
    folder = write_image_split(tmp_path, image_posts(2), pictures=True)
    Image.new("L", (3000, 1)).save(folder / "train/11@N01/1.jpg")
    (chunk,) = smpd_image.read(folder).pictures
    assert chunk.images["post_id"].to_list() == ["2"]
    assert chunk.rejected[0].reason == "picture of post 1 has 3000 x 1 pixels, too thin a strip"


@pytest.mark.parametrize("path", ["train/../../secret.jpg", "/etc/passwd", "..\\..\\secret.jpg", "C:\\secret.jpg"])
def test_a_path_out_of_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(jpeg())
    folder = write_image_split(tmp_path / "a" / "b", [image_post(1, path=path), *image_posts(4)[1:]], pictures=True)
    (chunk,) = smpd_image.read(folder).pictures
    assert chunk.images["post_id"].to_list() == ["2", "3", "4"]
    assert "outside the dataset's folder" in chunk.rejected[0].reason


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(jpeg())
    folder = write_image_split(tmp_path / "data", image_posts(2), pictures=True)
    (folder / "train/11@N01/1.jpg").unlink()
    (folder / "train/11@N01/1.jpg").symlink_to(tmp_path / "secret.jpg")
    (chunk,) = smpd_image.read(folder).pictures
    assert "outside the dataset's folder" in chunk.rejected[0].reason


def test_long_files_read_in_pieces_give_the_same_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    posts = [image_post(i, Title=f'tricky "}} , {{" {i} é') for i in range(1, 40)]
    folder = write_image_split(tmp_path, posts)
    expected = frames(folder)
    monkeypatch.setattr(contents, "PIECE_BYTES", 300)
    assert all(a.equals(b) for a, b in zip(frames(folder), expected, strict=True))


@pytest.mark.parametrize("is_zipped", [False, True])
def test_a_long_user_file_is_never_held_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_zipped: bool) -> None:
    vector = ",".join(["0.123456789"] * 4000)
    write_image_split(tmp_path, [image_post(i, user_description=vector) for i in range(1, 501)])
    path = tmp_path / "train_user_data.json"
    size = path.stat().st_size
    if is_zipped:
        with zipfile.ZipFile(tmp_path / "train_allmetadata_json.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, path.name)
        path.unlink()
    monkeypatch.setattr(contents, "PIECE_BYTES", 1 << 18)
    tracemalloc.start()
    try:
        assert smpd_image.read(tmp_path).posts.height == 500
        assert tracemalloc.get_traced_memory()[1] < size / 3
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b"\n \t", b"\xef\xbb\xbf\r\n"])
@pytest.mark.parametrize("piece_bytes", [1 << 20, 300])
def test_a_byte_order_mark_and_empty_space_before_the_list_are_read_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int, start: bytes
) -> None:
    expected = frames(write_image_split(tmp_path, image_posts()))
    for path in tmp_path.glob("*.json"):
        path.write_bytes(start + path.read_bytes())
    monkeypatch.setattr(contents, "PIECE_BYTES", piece_bytes)
    assert all(a.equals(b) for a, b in zip(frames(tmp_path), expected, strict=True))


# One sentence for each broken input: what, where, what to do.


def test_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no SMPD-Image dataset: it has no train_category.json or test_category"):
        smpd_image.read(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        smpd_image.read(tmp_path / "typo")


def test_a_dataset_beside_a_wrong_folder_is_not_taken_for_it(tmp_path: Path) -> None:
    write_image_split(tmp_path, image_posts())
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is no SMPD-Image dataset"):
        smpd_image.read(tmp_path / "empty")


def test_two_datasets_in_one_folder(tmp_path: Path) -> None:
    write_image_split(tmp_path / "a", image_posts())
    write_image_split(tmp_path / "b", image_posts())
    with pytest.raises(UserError, match=r"holds two SMPD-Image datasets: .*a/train_.* and .*b/train_"):
        smpd_image.read(tmp_path)


def test_a_missing_file_of_a_split(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train_text.json is missing beside .*train_additional"):
        smpd_image.read(write_image_split(tmp_path, image_posts(), without=("text",)))


@pytest.mark.parametrize("piece_bytes", [1 << 20, 200])
def test_a_truncated_json_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int) -> None:
    monkeypatch.setattr(contents, "PIECE_BYTES", piece_bytes)
    path = write_image_split(tmp_path, image_posts()) / "train_text.json"
    content = path.read_bytes()
    path.write_bytes(content[:-150])
    line = content[:-150].count(b"\n") + 1
    with pytest.raises(
        UserError, match=rf"train_text.json is not valid JSON at line {line} \(byte \d+ of {len(content) - 150}\)"
    ):
        smpd_image.read(tmp_path)


@pytest.mark.parametrize("piece_bytes", [1 << 20, 200])
def test_a_spoiled_byte_is_named_by_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr(contents, "PIECE_BYTES", piece_bytes)
    path = write_image_split(tmp_path, image_posts()) / "train_text.json"
    content = b"\xef\xbb\xbf" + path.read_bytes()
    at = content.index(b'"Pid": "3"')
    path.write_bytes(content[:at] + b"!" + content[at + 1 :])
    line = content[:at].count(b"\n") + 1
    with pytest.raises(UserError, match=rf"not valid JSON at line {line} \(byte {at} of {len(content)}\)"):
        smpd_image.read(tmp_path)


def test_a_zip_whose_content_is_damaged(tmp_path: Path) -> None:
    write_image_split(tmp_path, image_posts(300))
    archive_path = tmp_path / "train_allmetadata_json.zip"
    with zipfile.ZipFile(archive_path, "w", zipfile.ZIP_STORED) as archive:
        archive.write(tmp_path / "train_text.json", "train_text.json")
    (tmp_path / "train_text.json").unlink()
    archive_path.write_bytes(archive_path.read_bytes().replace(b"post 250", b"post 25x"))
    with pytest.raises(UserError, match=r"train_text.json in .*zip cannot be read \(Bad CRC-32"):
        smpd_image.read(tmp_path)


def test_an_empty_file(tmp_path: Path) -> None:
    (write_image_split(tmp_path, image_posts()) / "train_text.json").write_bytes(b"")
    with pytest.raises(UserError, match=r"train_text.json is not valid JSON at line 1"):
        smpd_image.read(tmp_path)


def test_label_and_post_counts_that_differ(tmp_path: Path) -> None:
    (write_image_split(tmp_path, image_posts()) / "train_label.txt").write_text("6.5\n7.0\n")
    with pytest.raises(UserError, match=r"train_label.txt has 2 rows but .*train_category.json has 5 posts"):
        smpd_image.read(tmp_path)


def test_a_label_that_is_no_number(tmp_path: Path) -> None:
    (write_image_split(tmp_path, image_posts()) / "train_label.txt").write_text("6.5\n7\n8 x\nn/a\n9\n")
    with pytest.raises(UserError, match=r"train_label.txt line 4 is no number: 'n/a'"):
        smpd_image.read(tmp_path)


def test_duplicate_ids(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"1 posts occur more than once, for example 2\."):
        smpd_image.read(write_image_split(tmp_path, [*image_posts(), image_post(2)]))


def test_the_same_id_in_both_splits(tmp_path: Path) -> None:
    write_image_split(tmp_path, image_posts())
    write_image_split(tmp_path, [image_post(2)], "test")
    with pytest.raises(UserError, match="occur more than once, for example 2"):
        smpd_image.read(tmp_path)


@pytest.mark.parametrize("time", ["", "None", "yesterday", None])
def test_a_post_without_time(tmp_path: Path, time: str | None) -> None:
    posts = [image_post(1), image_post(2, Postdate=time)]
    with pytest.raises(UserError, match=r"temporalspatial_information.json: post 2 has no Postdate"):
        smpd_image.read(write_image_split(tmp_path, posts))


def test_a_file_of_other_posts(tmp_path: Path) -> None:
    folder = write_image_split(tmp_path, image_posts())
    rewrite(folder / "train_text.json", lambda rows: [{**r, "Pid": "9" + r["Pid"]} for r in rows])
    with pytest.raises(
        UserError, match=r"train_text.json lacks 5 of the posts in .*train_category.json, for example 1\."
    ):
        smpd_image.read(folder)


def test_a_damaged_zip(tmp_path: Path) -> None:
    (tmp_path / "train_allmetadata_json.zip").write_bytes(b"PK not really")
    with pytest.raises(UserError, match=r"train_allmetadata_json.zip is no readable zip"):
        smpd_image.read(tmp_path)


@pytest.mark.real_data
def test_the_200_real_posts_are_read(shared_data: Path, tmp_path: Path) -> None:
    batch = smpd_image.read(shared_data / "smpd_image" / "posts_200")
    assert (batch.found, batch.posts.height, batch.users.height, batch.imported_labels.height) == (200, 200, 0, 0)
    assert batch.posts["user_id"].n_unique() == 103
    assert batch.posts["geo_accuracy"].count() == 21
    in_tags = batch.posts.select(pl.col("concept").is_in(pl.col("tags"))).to_series()
    assert in_tags.all()  # SMPD_FORMAT.md: the tag each post was found by
    copy = shutil.copytree(shared_data / "smpd_image" / "posts_200", tmp_path / "copy")
    assert smpd_image.read(copy).posts.equals(batch.posts)
