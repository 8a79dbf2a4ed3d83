"""What the challenge's two datasets share: how files fit together, which posts are usable, snapshots of users."""

import json
from collections.abc import Sequence

import polars as pl

from flickcast.errors import UserError
from flickcast.records import Rejected
from flickcast.schemas import EARLIEST, TABLES
from flickcast.sources.columns import LATEST, identifier
from flickcast.sources.files import DataFile

PROFILE = [name for name in TABLES["users"].columns if name not in TABLES["users"].key]


def require_unique(raw: pl.DataFrame, place: str, key: str = "Pid") -> None:
    """UserError if a post has no id or two have the same."""
    if raw[key].null_count() or (raw[key] == "").any():
        raise UserError(f"{place}: {(raw[key].fill_null('') == '').sum()} posts have no {key}. Correct the file.")
    twice = raw.filter(raw[key].is_duplicated())[key].sort()
    if twice.len():
        raise UserError(
            f"{place}: {twice.n_unique()} posts occur more than once, for example {twice[0]}. "
            "Take the repeated ones out, of all files."
        )


def require_times(raw: pl.DataFrame, moment: pl.Expr, key: str, form: str) -> None:
    """UserError if a post has no moment; `key` names the posts, `form` what was expected, `place` holds the file."""
    without = raw.filter(raw.select(moment.is_null()).to_series()).sort(key)
    if without.height:
        row = without.row(0, named=True)
        raise UserError(
            f"{row['place']}: post {row[key]} has no {form}, nor have {without.height - 1} others. "
            "A post without time cannot be used: correct the file or take the posts out."
        )


def of_same_height(rows: int, file: DataFile, posts: int, first: DataFile) -> None:
    """UserError if a file has not one row per post."""
    if rows != posts:
        raise UserError(
            f"{file.place} has {rows} rows but {first.place} has {posts} posts. "
            "They must belong together: download both again."
        )


def joined(raw: pl.DataFrame, first: DataFile, other: pl.DataFrame, file: DataFile, key: str = "Pid") -> pl.DataFrame:
    """The posts with the columns of another file: by id, or row by row where it has no ids (2019/2020 releases)."""
    of_same_height(other.height, file, raw.height, first)
    if key not in other.columns:
        return pl.concat([raw, other], how="horizontal")
    other = other.with_columns(identifier(key))
    strangers = raw.join(other, on=key, how="anti")[key].sort()
    if strangers.len():
        raise UserError(
            f"{file.place} lacks {strangers.len()} of the posts in {first.place}, for example {strangers[0]}. "
            "They must belong together: download both again."
        )
    return raw.join(other, on=key, how="left", maintain_order="left")


def accepted(posts: pl.DataFrame, raw_keys: Sequence[str]) -> tuple[pl.DataFrame, tuple[Rejected, ...]]:
    """The usable posts in the order of their ids, and the others with the reason."""
    reason = (
        pl.when(pl.col("user_id").fill_null("") == "")
        .then(pl.lit("has no user"))
        .when(pl.col("posted_at") < EARLIEST)
        .then(pl.lit(f"was posted before {EARLIEST.year}, a time that its owner must have edited"))
        .when(pl.col("posted_at") > LATEST)
        .then(pl.lit(f"was posted after {LATEST.year}"))
    )
    judged = posts.with_columns(reason=reason).sort("post_id")
    refused = judged.filter(pl.col("reason").is_not_null())
    rejected = tuple(
        Rejected(_record(row, raw_keys), f"post {row['post_id']} {row['reason']}") for row in refused.to_dicts()
    )
    return judged.filter(pl.col("reason").is_null()).drop("reason"), rejected


def changes_of_users(posts: pl.DataFrame) -> pl.DataFrame:
    """Snapshots of users from profile numbers that came with each post: the first, and every change.

    The challenge gives these numbers with a post as inputs of its prediction, so they count as known when it
    appeared, though they were read later.
    """
    numbers = [name for name in PROFILE if name in posts.columns]
    known = posts.filter(pl.any_horizontal(pl.col(numbers).is_not_null())).sort("user_id", "posted_at", "post_id")
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(1)) for name in ("user_id", *numbers))
    snapshots = known.filter(~same | (pl.int_range(pl.len()) == 0)).rename({"posted_at": "observed_at"})
    unique = snapshots.unique(["user_id", "observed_at"], keep="first", maintain_order=True)
    return TABLES["users"].conform(unique)


def _record(row: dict[str, object], raw_keys: Sequence[str]) -> bytes:
    kept = {key: row[key] for key in raw_keys if row.get(key) is not None}
    return json.dumps(kept, sort_keys=True, ensure_ascii=False, default=str).encode()
