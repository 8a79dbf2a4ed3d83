"""The challenge's SMPD-Video files: posts, videos, users and popularity as JSON lines."""

import re
from pathlib import Path

import polars as pl

from flickcast.errors import UserError
from flickcast.records import Batch
from flickcast.schemas import TABLES
from flickcast.sources import columns
from flickcast.sources.challenge import accepted, changes_of_users, joined, require_times, require_unique
from flickcast.sources.contents import read_json_lines
from flickcast.sources.files import DataFile, Name, find_files

FILE_NAME = re.compile(r"(?:.*_)?(posts|videos|users|popularity)_(train|test)\.jsonl")
KEYS = {
    "posts": (
        *("pid", "uid", "post_content", "post_location", "post_suggested_words", "post_text_language"),
        *("video_path", "post_time"),
    ),
    "videos": ("pid", "video_height", "video_width", "video_duration"),
    "users": (
        *("uid", "user_following_count", "user_follower_count", "user_likes_count", "user_video_count"),
        "user_digg_count",
    ),
    "popularity": ("pid", "popularity"),
}
OVERFLOW = 2**32  # user_likes_count was kept in 32 bits: three shared train users are negative
UNKNOWN_LANGUAGE = "un"


def read(folder: Path) -> Batch:
    """Everything in a folder (or zip) of the challenge's files, its train split, test split or both."""
    files = find_files(folder, _named, "SMPD-Video", "SMP-Video_anonymized_posts_train.jsonl or ..._posts_test.jsonl")
    splits = sorted({split for split, _ in files})
    raw = pl.concat([_read_split(files, split) for split in splits])
    require_unique(raw, str(folder), "pid")
    require_times(raw, _moment(), "pid", "post_time of the form YYYY-MM-DD HH:MM")
    posts, rejected = accepted(raw.with_columns(**_post_columns()), KEYS["posts"])
    return Batch(
        source="smpd-video",
        posts=TABLES["posts"].conform(posts),
        users=changes_of_users(posts.with_columns(**_user_columns())),
        found=raw.height,
        imported_labels=TABLES["imported_labels"].conform(posts.drop_nulls("popularity")),
        rejected=rejected,
        notes=tuple(
            f"{split}: no {content} file, so these columns are empty"
            for split in splits
            for content in ("videos", "users")
            if (split, content) not in files
        ),
    )


def _named(name: str) -> Name | None:
    match = FILE_NAME.fullmatch(name)
    return (match[2], match[1]) if match else None


def _read_split(files: dict[Name, DataFile], split: str) -> pl.DataFrame:
    """One split as columns of text (popularity: numbers), one row a post."""
    if (split, "posts") not in files:
        have = next(file.place for (of, _), file in sorted(files.items()) if of == split)
        raise UserError(f"the posts_{split}.jsonl file is missing beside {have}. Put the whole split there.")
    first = files[split, "posts"]
    raw = read_json_lines(first, KEYS["posts"]).with_columns(columns.identifier("pid"), columns.identifier("uid"))
    if raw.is_empty():
        raise UserError(f"{first.place} holds no posts. Download it again.")
    require_unique(raw, first.place, "pid")
    for content in ("videos", "popularity"):
        if file := files.get((split, content)):
            raw = joined(raw, first, read_json_lines(file, KEYS[content]), file, "pid")
    if file := files.get((split, "users")):
        raw = raw.join(_users(file), on="uid", how="left", maintain_order="left")
    every = dict.fromkeys(key for keys in KEYS.values() for key in keys)
    absent = [pl.lit(None, pl.String).alias(key) for key in every if key not in raw.columns]
    raw = raw.with_columns(absent).select(*every, place=pl.lit(first.place))
    return raw.with_columns(popularity=_labels(files.get((split, "popularity")), raw))


def _users(file: DataFile) -> pl.DataFrame:
    """One row a user; the released files repeat some."""
    rows = read_json_lines(file, KEYS["users"]).with_columns(columns.identifier("uid"))
    return rows.sort(rows.columns).unique("uid", keep="last", maintain_order=True)


def _labels(file: DataFile | None, raw: pl.DataFrame) -> pl.Series:
    labels = raw.select(columns.number("popularity")).to_series()
    if file is not None and labels.null_count():
        row = raw.filter(labels.is_null()).sort("pid").row(0, named=True)
        raise UserError(
            f"{file.place}: the popularity of post {row['pid']} is no number: '{row['popularity']}'. Download it again."
        )
    return labels


def _moment() -> pl.Expr:
    """`2023-07-29 18:21`, with or without seconds; no zone is given, so it is read as UTC."""
    minutes = columns.value("post_time").str.replace("T", " ", literal=True).str.slice(0, 19)
    whole = pl.when(minutes.str.len_chars() == 16).then(minutes + ":00").otherwise(minutes)
    return whole.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False).dt.replace_time_zone("UTC")


def _post_columns() -> dict[str, pl.Expr]:
    language = columns.value("post_text_language")
    return {
        "post_id": pl.col("pid"),
        "source": pl.lit("smpd-video"),
        "user_id": pl.col("uid"),
        "posted_at": _moment(),
        "first_seen_at": _moment(),
        "title": columns.words("post_content", r"[,\t]").list.join(" ").replace("", None),
        "tags": columns.words("post_suggested_words", r"\t").list.eval(pl.element().str.to_lowercase()),
        "media_type": pl.lit("video"),
        "language": pl.when(language != UNKNOWN_LANGUAGE).then(language),
        "country": columns.value("post_location"),
        "width": _pixels("video_width"),
        "height": _pixels("video_height"),
        "duration_seconds": columns.count("video_duration").cast(pl.Float32),
    }


def _pixels(name: str) -> pl.Expr:
    pixels = columns.count(name)
    return pl.when(pixels.is_between(1, 2**31 - 1)).then(pixels)


def _user_columns() -> dict[str, pl.Expr]:
    likes = columns.number("user_likes_count").cast(pl.Int64, strict=False)
    whole = pl.when(likes < 0).then(likes + OVERFLOW).otherwise(likes)
    return {
        "followers": columns.count("user_follower_count"),
        "following": columns.count("user_following_count"),
        "photo_count": columns.count("user_video_count"),
        "total_faves": pl.when(whole >= 0).then(whole),
        "faves_given": columns.count("user_digg_count"),
    }
