"""The challenge's SMPD-Image files, of any release: posts, profile numbers, labels and pictures."""

import re
from pathlib import Path

import polars as pl

from flickcast.errors import UserError
from flickcast.records import Batch
from flickcast.schemas import TABLES
from flickcast.sources import columns
from flickcast.sources.challenge import (
    accepted,
    changes_of_users,
    joined,
    of_same_height,
    require_times,
    require_unique,
)
from flickcast.sources.contents import read_numbers, read_records
from flickcast.sources.files import (
    USER_FOLDER,
    DataFile,
    Name,
    find_files,
    is_picture_folder,
    members,
    walk,
)
from flickcast.sources.pictures import Fetch, Pictures, Wanted, from_folder, from_zip

# content: the ends of its file names in the releases since 2022, then of 2019/2020
FILE_NAMES = {
    "category": ("category.json",),
    "text": ("text.json", "tags.json"),
    "place": ("temporalspatial_information.json", "temporalspatial.json"),
    "user": ("user_data.json", "userdata.json"),
    "additional": ("additional_information.json", "additional.json"),
    "path": ("img_filepath.txt", "img_path.txt", "img.txt", "imgfile.txt"),
    "label": ("label.txt",),
    "oracle": ("oracle.txt",),
}
KEYS = {
    "category": ("Pid", "Uid", "Category", "Subcategory", "Concept"),
    "text": ("Pid", "Title", "Tile", "Mediatype", "Alltags"),  # the site's own example says Tile
    "place": ("Pid", "Postdate", "Latitude", "Longitude", "Geoaccuracy"),
    "user": (
        *("Pid", "photo_firstdate", "photo_count", "ispro", "canbuypro", "timezone_offset"),
        *("timezone_id", "timezone_timezone_id", "photo_firstdatetaken"),
    ),
    "additional": ("Pid", "Ispublic", "Mediastatus"),  # Pathalias is a real account's name: never read
}
NEEDED = ("category", "text", "place")
ALL_KEYS = tuple(dict.fromkeys(key for keys in KEYS.values() for key in keys))


def read(folder: Path) -> Batch:
    """Everything in a folder (or zip) of the challenge's files, its train split, test split or both."""
    files = find_files(folder, _named, "SMPD-Image", "train_category.json or test_category.json")
    splits = sorted({split for split, _ in files})
    raw = pl.concat([_read_split(files, split) for split in splits], how="diagonal")
    require_unique(raw, str(folder))
    require_times(raw, columns.unix_time("Postdate"), "Pid", "Postdate in unix seconds")
    posts, rejected = accepted(raw.with_columns(**_post_columns()), ALL_KEYS)
    pictures = _pictures(folder, files, posts)
    return Batch(
        source="smpd-image",
        posts=TABLES["posts"].conform(posts),
        users=changes_of_users(posts.with_columns(**_user_columns())),
        found=raw.height,
        imported_labels=TABLES["imported_labels"].conform(posts.drop_nulls("popularity")),
        oracle=TABLES["oracle"].conform(posts.drop_nulls("oracle")),
        rejected=rejected,
        pictures=pictures,
        notes=_notes(files, splits, pictures),
    )


def _named(name: str) -> Name | None:
    split, _, end = name.partition("_")
    if split not in ("train", "test"):
        return None
    return next(((split, content) for content, ends in FILE_NAMES.items() if end in ends), None)


def _read_split(files: dict[Name, DataFile], split: str) -> pl.DataFrame:
    """One split as columns of text, one row a post, in the order of its files."""
    for content in NEEDED:
        if (split, content) not in files:
            have = next(file.place for (of, _), file in sorted(files.items()) if of == split)
            raise UserError(f"{split}_{FILE_NAMES[content][0]} is missing beside {have}. Put the whole split there.")
    first = files[split, "category"]
    raw = read_records(first, KEYS["category"]).with_columns(split=pl.lit(split))
    if "Pid" not in raw.columns or "Uid" not in raw.columns:
        raise UserError(f"{first.place} holds no records with Pid and Uid. Download it again.")
    raw = raw.with_columns(columns.identifier("Pid"), columns.identifier("Uid"))
    require_unique(raw, first.place)
    for content in ("text", "place", "user", "additional"):
        if file := files.get((split, content)):
            raw = joined(raw, first, read_records(file, KEYS[content]), file)
    raw = raw.with_columns(pl.lit(None, pl.String).alias(key) for key in ALL_KEYS if key not in raw.columns)
    return raw.with_columns(
        _by_row(files, split, "label", raw).alias("popularity"),
        _by_row(files, split, "oracle", raw).alias("oracle"),
        _paths(files, split, raw).alias("path"),
        place=pl.lit(files[split, "place"].place),
    )


def _by_row(files: dict[Name, DataFile], split: str, content: str, raw: pl.DataFrame) -> pl.Series:
    file = files.get((split, content))
    if file is None:
        return pl.Series([None], dtype=pl.Float64).new_from_index(0, raw.height)
    numbers = pl.Series(read_numbers(file), dtype=pl.Float64)
    of_same_height(numbers.len(), file, raw.height, files[split, "category"])
    return numbers


def _paths(files: dict[Name, DataFile], split: str, raw: pl.DataFrame) -> pl.Series:
    """Where each picture is said to be; the 2019 train file lists web pages, so the usual place stands in."""
    usual = raw.select(pl.concat_str(pl.lit(split), "Uid", pl.col("Pid") + ".jpg", separator="/")).to_series()
    file = files.get((split, "path"))
    if file is None:
        return usual
    listed = pl.Series(file.lines(), dtype=pl.String).str.strip_chars(" \t\"'").str.replace_all("\\", "/", literal=True)
    of_same_height(listed.len(), file, raw.height, files[split, "category"])
    return usual.zip_with(listed.str.contains("://") | (listed == ""), listed.str.strip_prefix("./"))


def _post_columns() -> dict[str, pl.Expr]:
    moment = columns.unix_time("Postdate")
    title = pl.coalesce(columns.text("Title"), columns.text("Tile"))
    return {
        "post_id": pl.col("Pid"),
        "source": pl.lit("smpd-image"),
        "user_id": pl.col("Uid"),
        "posted_at": moment,
        "first_seen_at": moment,
        "title": title,
        "tags": pl.col("Alltags").str.extract_all(r"\S+"),
        "media_type": columns.one_of("Mediatype", ("photo", "video")),
        "category": columns.text("Category"),
        "subcategory": columns.text("Subcategory"),
        "concept": columns.text("Concept"),
        "is_public": columns.flag("Ispublic"),
        "media_status": columns.one_of("Mediastatus", ("ready", "pending", "failed")),
        **columns.place(columns.number("Latitude"), columns.number("Longitude"), columns.number("Geoaccuracy")),
    }


def _user_columns() -> dict[str, pl.Expr]:
    return {
        "photo_count": columns.count("photo_count"),
        "first_post_at": columns.sane_time("photo_firstdate"),
        "first_taken_at": columns.odd_date("photo_firstdatetaken"),
        "is_pro": columns.flag("ispro"),
        "can_buy_pro": columns.flag("canbuypro"),
        "timezone_id": pl.coalesce(columns.value("timezone_id"), columns.value("timezone_timezone_id")),
        "timezone_offset": columns.hours("timezone_offset"),
    }


def _pictures(folder: Path, files: dict[Name, DataFile], posts: pl.DataFrame) -> Pictures:
    """The pictures of every split that has some, in the order of post ids."""
    wanted: list[Wanted] = []
    for (split,), rows in posts.group_by("split"):
        fetch = _picture_store(folder, files[str(split), "category"].folder, rows["path"])
        if fetch is not None:
            wanted += [Wanted(post_id, path, fetch) for post_id, path in rows.select("post_id", "path").iter_rows()]
    return Pictures(sorted(wanted, key=lambda one: one.post_id))


def _picture_store(folder: Path, metadata: Path, paths: pl.Series) -> Fetch | None:
    """What reads a split's pictures: the folder or zip that holds `<first part of the paths>/<Uid>/`; None without."""
    first = paths.str.split("/").list.first().mode().sort()[0]
    base = folder.parent if folder.is_file() else folder
    below = sorted({path.parent for path in walk(base)} | {path for path in base.iterdir() if path.is_dir()})
    for root in (base, metadata, metadata.parent, *below):
        if is_picture_folder(root / first):
            return from_folder(root)
    inside = re.compile(rf"(?:.*/)?{re.escape(first)}/{USER_FOLDER.pattern}/[^/]+")
    for path in [folder] if folder.is_file() else sorted(walk(base)):
        if path.suffix == ".zip" and any(inside.fullmatch(member) for member in members(path)):
            return from_zip(path)
    return None


def _notes(files: dict[Name, DataFile], splits: list[str], pictures: Pictures) -> tuple[str, ...]:
    absent = [
        f"{split}: no {content} file, so {what}"
        for split in splits
        for content, what in (("user", "nothing is known of the users"), ("additional", "nothing of the posts' status"))
        if (split, content) not in files
    ]
    return (*absent, *(() if pictures.wanted else ("no pictures in the folder",)))
