"""The simulated world written out in the official SMPD-Image format."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import polars as pl

from flickcast.errors import UserError
from flickcast.simulate.corpus_records import RECORDS
from flickcast.simulate.law import label
from flickcast.simulate.oracle import Sight, evidence_until, expected, sight_of_files
from flickcast.simulate.pictures import render
from flickcast.simulate.service import appearance
from flickcast.simulate.wording import category_names
from flickcast.simulate.world import World

encode = json.JSONEncoder(ensure_ascii=False).encode

NOTE = """A simulated corpus in the format of the SMP Challenge's image track.
Nothing here comes from real people. Post and user ids are those of the simulated service of the same seed.
<split>_oracle.txt holds, row by row, the expected label given all that these files show when the post appears.
Posts younger than the label's age at the corpus's moment have no label and are left out of the train split.
"""


@dataclass
class CorpusReport:
    """How many posts went where; `unripe` ones were too young to have a label."""

    posts: dict[str, int] = field(default_factory=lambda: {"train": 0, "test": 0})
    unripe: int = 0
    pictures: int = 0


def write_corpus(
    world: World,
    folder: Path,
    first: date,
    last: date,
    now: datetime,
    pictures: bool = True,
    test_from: date | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> CorpusReport:
    """Writes the posts of first..last, as known at `now`, into a new folder; all of it or nothing.

    Posts from `test_from` on are the test split, without labels. `advance` is told of each day done.
    """
    if last < first or first < world.params.start:
        raise UserError(
            f"no posts from {first} to {last}: the world starts on {world.params.start}. Choose other days."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not an empty folder. Choose a new one, so that no two corpora mix.")
    making = folder.with_name(folder.name + f".making-{os.getpid()}")
    making.mkdir(parents=True)
    try:
        report = _write(world, making, (first, last), _Moment(now, test_from), pictures, advance)
        _finish(making, folder, report)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return report


@dataclass(frozen=True)
class _Moment:
    """When the corpus is taken, and where it is cut."""

    now: datetime
    test_from: date | None

    def is_test(self, posted_on: date) -> bool:
        return self.test_from is not None and posted_on >= self.test_from


def _write(
    world: World,
    folder: Path,
    dates: tuple[date, date],
    moment: _Moment,
    pictures: bool,
    advance: Callable[[int], None],
) -> CorpusReport:
    report = CorpusReport()
    days = range(world.day_of(dates[0]), world.day_of(dates[1]) + 1)
    sight = sight_of_files(world)
    evidence = evidence_until(world, days[-1], sight)
    with ExitStack() as stack:
        writers = {split: stack.enter_context(_Writer(folder, split, pictures)) for split in ("train", "test")}
        for day in days:
            _write_day(world, writers, day, moment, (sight, evidence), report)
            advance(1)
    return report


Seen = tuple[Sight, pl.DataFrame]  # what the files show of accounts, and what earlier labels tell of them


def _write_day(
    world: World, writers: "dict[str, _Writer]", day: int, moment: _Moment, seen: Seen, report: CorpusReport
) -> None:
    posts = _day_rows(world, day, seen).filter(pl.col("posted_at") <= moment.now)
    split = "test" if moment.is_test(world.params.start + timedelta(days=day)) else "train"
    if split == "train":
        ripe = pl.col("posted_at") <= moment.now - timedelta(days=world.params.maturity_days)
        report.unripe += posts.filter(~ripe).height
        posts = posts.filter(ripe)
    for row in posts.iter_rows(named=True):
        writers[split].write(row, world.params.picture_size)
    report.posts[split] += posts.height
    report.pictures += posts.height if writers[split].pictures else 0


def _day_rows(world: World, day: int, seen: Seen) -> pl.DataFrame:
    """A day's posts with all that a row of the files needs."""
    posts, (sight, evidence) = world.posts(day), seen
    profiles = world.users.profiles[posts["user"].to_numpy()].drop("user_id")
    return pl.concat([posts, profiles], how="horizontal").with_columns(
        pl.Series("photo_count", world.photo_counts(day)),
        pl.Series("label", label(world.views_at_maturity(posts))),
        pl.Series("oracle", expected(world, posts, evidence, sight)),
        *category_names(posts).rename(lambda name: f"{name}_name"),
        pl.Series("description_seed", world.users.words[posts["user"].to_numpy()]),
    )


def _finish(making: Path, folder: Path, report: CorpusReport) -> None:
    """Removes the files of an empty test split, then gives the folder its name."""
    if not report.posts["test"]:
        for path in making.glob("test_*"):
            path.unlink()
    (making / "NOTE.txt").write_text(NOTE, encoding="utf-8")
    if folder.exists():
        folder.rmdir()
    making.rename(folder)


class _Writer:
    """The files of one split, written post by post, so that memory does not grow with the corpus."""

    def __init__(self, folder: Path, split: str, pictures: bool) -> None:
        self.folder, self.split, self.pictures = folder, split, pictures
        self.rows = 0
        self.lists = {name: self._open(f"{name}.json") for name in RECORDS}
        self.lines = {name: self._open(f"{name}.txt") for name in ("img_filepath", "label", "oracle")}

    def _open(self, name: str) -> TextIO:
        return (self.folder / f"{self.split}_{name}").open("w", encoding="utf-8")

    def __enter__(self) -> "_Writer":
        for file in self.lists.values():
            file.write("[\n")
        return self

    def __exit__(self, *_: object) -> None:
        for file in self.lists.values():
            file.write("\n]\n")
        for file in [*self.lists.values(), *self.lines.values()]:
            file.close()
        if self.split == "test":
            (self.folder / "test_label.txt").unlink()

    def write(self, row: dict[str, Any], picture_size: int) -> None:
        """One post: a record in every list, a line in every text file, its picture."""
        for name, file in self.lists.items():
            record = {"Uid": row["user_id"], "Pid": row["post_id"], **RECORDS[name](row)}
            file.write((",\n" if self.rows else "") + encode(record))
        path = f"{self.split}/{row['user_id']}/{row['post_id']}.jpg"
        self.lines["img_filepath"].write(path + "\n")
        self.lines["label"].write(f"{row['label']:.2f}\n")
        self.lines["oracle"].write(f"{row['oracle']:.4f}\n")
        self.rows += 1
        if self.pictures:
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(render(appearance(row), picture_size))
