"""Promise 4 (R12): a night brings labels, states and features up to date, and they are as if computed all at once.

Random histories are lived through night by night, with late arrivals, corrections, late labels and late vectors, posts
and users that are forgotten. FLICKCAST_NIGHTLY says how many (2; 300 in the long run); merged states of
thirty times as many are also compared without a disk.
"""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import table_rows as rows
from disk_writes import Died, disk_writes
from polars.testing import assert_frame_equal

from flickcast import stages
from flickcast.aggregates import ENTITIES, label_states, merge, post_states
from flickcast.labels import popularity_labels
from flickcast.params import LabelParams
from flickcast.schemas import TABLES
from flickcast.stages.forgetting import forget
from flickcast.workspace import Workspace, create_workspace

HISTORIES = int(os.environ.get("FLICKCAST_NIGHTLY", "2"))
DERIVED = ("labels", "aggregates", "features")
VECTORS = ("embeddings/flickcast-tiny-picture", "embeddings/flickcast-tiny-text")
FIRST, DAYS = date(2026, 1, 20), 45  # over two turns of the month
Row = dict[str, Any]
Facts = dict[str, list[Row]]


def moment(days: float) -> Any:
    """So many days after the first midnight."""
    return rows.day(days + (FIRST - rows.START.date()).days)


def history(random: np.random.Generator) -> dict[int, Facts]:
    """What each night brings, by the number of its day: posts, snapshots, counts and vectors, some of them late."""

    def one(*values: Any) -> Any:
        return values[random.integers(len(values))]

    nights: dict[int, Facts] = {}

    def bring(table: str, night: float, row: Row) -> None:
        nights.setdefault(int(night), {}).setdefault(table, []).append(row)

    for number in range(40):
        posted = float(one(random.integers(0, 4 * DAYS) / 4, random.uniform(0, DAYS)))
        night = int(posted) + int(one(0, 0, 0, 1, 2, 20))  # found by the night of its day, or later
        post_id, user = f"{random.integers(10**6):06}-{number}", f"u{random.integers(8)}"
        place = one((None, None), (48.2, 16.4), (-33.9, 151.2))
        row = {
            "post_id": post_id,
            "user_id": user,
            "posted_at": moment(round(posted * 86_400) / 86_400),
            "first_seen_at": moment(night + 1 + 1 / 48),
            "title": one(None, "", "sea", "Blue Sea 7"),
            "tags": one(None, [], ["a"], ["a", "b"], ["b", "c"]),
            "category": one(None, "Food", "Urban"),
            "subcategory": one(None, "tea"),
            "latitude": place[0],
            "longitude": place[1],
        }
        bring("posts", night, row)
        bring("users", night, {"user_id": user, "observed_at": moment(night + 1 + number / 1e4), "followers": number})
        for age in one((7,), (7, 9), (), (8,)):
            count = {"post_id": post_id, "observed_at": moment(round(posted + age + 0.3, 3)), "views": number**2}
            bring("observations", max(posted + age + 0.3, night), count)
        bring("vectors", night + one(0, 0, 3), {"post_id": post_id, "vector": [0.6, 0.8] if number % 2 else [1.0, 0.0]})
    return nights


def take_in(ws: Workspace, night: int, facts: Facts) -> None:
    """What ingest and embed do, in a table's parts of their night."""
    part = f"{FIRST + timedelta(days=night)}"
    with ws.appending("ingest") as appender:
        for table, make in (("posts", rows.posts), ("users", rows.users), ("observations", rows.observations)):
            new = make(*facts.get(table, []))
            if table == "posts":
                new = new.filter(~pl.col("user_id").is_in(list(ws.forgotten().user_ids)))
            appender.append(table, part, ws.unknown(table, new.unique(TABLES[table].key, maintain_order=True)))
    wanted = set(ws.read("posts", ("post_id",))["post_id"])
    vectors = {row["post_id"]: row["vector"] for row in facts.get("vectors", []) if row["post_id"] in wanted}
    with ws.appending("embed") as appender:
        for table in VECTORS if vectors else ():
            appender.append(table, part, rows.embeddings(**vectors))


def correct(ws: Workspace, random: np.random.Generator) -> None:
    """A stored post turns out to have been read wrongly: its row is written anew, in a part of another name."""
    posts = ws.read("posts").sort("post_id")
    chosen = posts[int(random.integers(posts.height))]
    changed = chosen.with_columns(tags=pl.lit(["corrected"]), title=pl.lit("as it should be"), category=pl.lit("Urban"))
    part = f"{chosen['first_seen_at'][0]:%Y-%m-%d}-corrected-{random.integers(10**9)}"
    with ws.appending("ingest") as appender:
        appender.take_out("posts", pl.col("post_id") == chosen["post_id"][0])
        appender.append("posts", part, changed)


def derive(ws: Workspace) -> None:
    for stage in (stages.labels, stages.aggregate, stages.features):
        stage(ws)


def files(root: Path) -> dict[str, bytes]:
    """Every file of the derived tables, by its place."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for name in DERIVED
        for path in sorted((root / "data" / name).rglob("*"))
        if path.is_file()
    }


def identities(root: Path) -> dict[str, tuple[int, int]]:
    """Which file each part is, so that one written anew with the same content shows."""
    parts = (path for name in DERIVED for path in (root / "data" / name).rglob("*.parquet"))
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in parts}


def afresh(ws: Workspace, root: Path) -> Workspace:
    """The same tables in another workspace, where everything is computed for the first time."""
    shutil.copytree(ws.root, root, ignore=lambda folder, names: set(names) & set(DERIVED))
    fresh = Workspace(root)
    derive(fresh)
    return fresh


def in_one_go(ws: Workspace, root: Path) -> Workspace:
    """The same rows in a workspace that got them in one import."""
    create_workspace(root, {"embed.encoder": "flickcast-tiny"})
    whole = Workspace(root)
    for stage, tables in (("ingest", ("posts", "users", "observations")), ("embed", VECTORS)):
        with whole.appending(stage) as appender:
            for table in tables:
                appender.append(table, "2026-01-import", ws.read(table).sample(fraction=1, shuffle=True, seed=1))
    derive(whole)
    return whole


def merged(ws: Workspace, name: str) -> pl.DataFrame:
    return merge(ws.read(f"aggregates/{name}"))


def assert_same(one: Workspace, other: Workspace) -> None:
    """The same states, merged by moment, and the same features, to the last bit."""
    for name in ENTITIES:
        assert_frame_equal(merged(one, name), merged(other, name), check_exact=True)
    features = (ws.read("features").sort("post_id") for ws in (one, other))
    assert_frame_equal(*features, check_exact=True)
    columns = ((ws.folder("features") / "manifest.json").read_text() for ws in (one, other))
    assert next(columns) == next(columns)


QUERY = """
select entity, count(*), total(tags), min(posted), count(y), total(y), total(y * y), min(y), max(y)
from post where entity is not null group by entity order by entity
"""
SUMS = ("posts", "tags_sum", "first", "popularity_count", "popularity_sum", "popularity_square_sum")


def assert_as_sqlite_counts(ws: Workspace) -> None:
    """A second opinion on what the users' states add up to, straight from the stored posts and labels."""
    posts = ws.read("posts").join(ws.read("labels", ("post_id", "popularity")), on="post_id", how="left")
    base = sqlite3.connect(":memory:")
    base.execute("create table post (entity, posted, tags, y)")
    base.executemany(
        "insert into post values (?, ?, ?, ?)",
        posts.select("user_id", pl.col("posted_at").dt.epoch("us"), pl.col("tags").list.len(), "popularity").rows(),
    )
    theirs = base.execute(QUERY).fetchall()
    states = merge(ws.read("aggregates/users"), ["entity_id"])
    ours = states.with_columns(first=pl.col("first_posted_at").dt.epoch("us")).select(
        "entity_id", *SUMS, "popularity_minimum", "popularity_maximum"
    )
    assert [row[0] for row in theirs] == ours["entity_id"].to_list()
    one, other = (np.array([row[1:] for row in found], dtype=float) for found in (theirs, ours.rows()))
    np.testing.assert_array_equal(one[:, [0, 1, 2, 3, 6, 7]], other[:, [0, 1, 2, 3, 6, 7]])
    # labels are summed on a grid of 2**-20
    np.testing.assert_allclose(one[:, [4, 5]], other[:, [4, 5]], rtol=1e-9, atol=40 * 2.0**-21)


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_nights_give_what_one_computation_gives(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    create_workspace(tmp_path / "ws", {"embed.encoder": "flickcast-tiny"})
    ws = Workspace(tmp_path / "ws")
    nights = history(random)
    ends = sorted({*random.choice(sorted(nights), 5, replace=False).tolist(), max(nights)})
    checked = set(random.choice(ends, 2, replace=False).tolist())
    start = 0
    for end in ends:
        for night in range(start, end + 1):  # nights between two ends are caught up with at once
            take_in(ws, night, nights.get(night, {}))
        start = end + 1
        if random.random() < 0.5 and ws.exists("posts"):
            correct(ws, random)
        before = identities(ws.root)
        derive(ws)
        after = identities(ws.root)
        assert {path: after[path] for path in before if path in after} == {p: before[p] for p in before if p in after}
        if random.random() < 0.3 and ws.exists("posts"):
            kind, column = [("user", "user_id"), ("post", "post_id")][random.integers(2)]
            gone = ws.read("posts", (column,)).sort(column)[column][0]
            forget(ws, kind, {gone}, moment(end + 1))
            assert gone not in repr([ws.read(f"aggregates/{name}").to_dicts() for name in ("users", "tags")])
        if end in checked:
            assert files(ws.root) == files(afresh(ws, tmp_path / f"fresh-{end}").root), f"seed {seed}, night {end}"
    assert_same(ws, in_one_go(ws, tmp_path / "whole"))
    assert_as_sqlite_counts(ws)


@pytest.mark.parametrize("seed", range(30 * HISTORIES))
def test_merged_states_of_nights_in_any_order_are_those_of_one_computation(seed: int) -> None:
    random = np.random.default_rng(1000 + seed)
    nights = list(history(random).values())
    posts = rows.posts(*(row for facts in nights for row in facts.get("posts", [])))
    counts = rows.observations(*(row for facts in nights for row in facts.get("observations", [])))
    labels = popularity_labels(posts, counts, TABLES["imported_labels"].empty(), LabelParams())
    random.shuffle(nights)
    for name in ENTITIES:
        so_far = TABLES[f"aggregates/{name}"].empty()
        for part in _cut(posts, random):
            so_far = merge(pl.concat([so_far, post_states(part, name)]))
        for part in _cut(labels, random):
            so_far = merge(pl.concat([so_far, label_states(posts, part, name)]))
        whole = merge(pl.concat([post_states(posts, name), label_states(posts, labels, name)]))
        assert_frame_equal(so_far, whole, check_exact=True)


def _cut(table: pl.DataFrame, random: np.random.Generator) -> Iterator[pl.DataFrame]:
    night = pl.Series("night", random.integers(0, 6, table.height))
    yield from table.with_columns(night).partition_by("night", include_key=False)


@pytest.fixture(scope="module")
def before_a_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some nights of a quiet month, labels among them, and one more that is taken in but not looked at yet."""
    root = tmp_path_factory.mktemp("quiet") / "ws"
    create_workspace(root, {"embed.encoder": "flickcast-tiny"})
    ws = Workspace(root)
    for night in range(14, 25):
        if night == 24:
            derive(ws)
        take_in(ws, night, _quiet(night))
    return root


def _quiet(night: int, first_counted: int = 22) -> Facts:
    """Two posts, and counts of two that are eight nights old, read after midnight as a night does."""
    posts = [
        {
            "post_id": f"{night}-{number}",
            "posted_at": moment(night + number / 3),
            "first_seen_at": moment(night + 1.02),
            "user_id": f"u{number}",
            "tags": ["a"],
            "category": "Food",
            "latitude": 1.0,
            "longitude": 1.0,
        }
        for number in range(2)
    ]
    counts = [
        {"post_id": f"{night - 8}-{number}", "observed_at": moment(night + 1.01), "views": night} for number in range(2)
    ]
    return {
        "posts": posts,
        "observations": counts if night >= first_counted else [],
        "users": [{"observed_at": moment(night + 1.02), "followers": night}],
        "vectors": [{"post_id": post["post_id"], "vector": [1.0, 0.0]} for post in posts],
    }


def test_a_night_makes_its_own_parts_and_touches_no_other(before_a_night: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(before_a_night, tmp_path / "ws"))
    ws = Workspace(root)
    before = identities(root)
    stages.labels(ws)
    made = stages.aggregate(ws).facts["made"], stages.features(ws).facts["made"]
    after = identities(root)
    assert made == (2, 1), "one part of states for its posts and one for its labels; one of features"
    assert {path: after.get(path) for path in before} == before, "a part that stays is not written again"
    assert len(after) - len(before) == 1 + 2 * len(ENTITIES) + 1
    derive(ws)
    assert identities(root) == after, "a second run has nothing to do"


def test_at_the_turn_of_a_month_its_nights_are_put_together_once(tmp_path: Path) -> None:
    """The last night's labels are dated the next month; its own parts were three of the matrix (found 2026-11-22)."""
    create_workspace(tmp_path / "ws", {"embed.encoder": "flickcast-tiny"})
    ws, made = Workspace(tmp_path / "ws"), {}
    for night in range(14):
        take_in(ws, night, _quiet(night, first_counted=8))
        if night >= 10:
            stages.labels(ws)
            made[night] = stages.aggregate(ws).facts["made"], stages.features(ws).facts["made"]
    assert f"{FIRST + timedelta(days=11)}" == "2026-01-31"
    assert [made[night] for night in (11, 13)] == [(2, 1), (2, 1)]
    assert made[12] == (4, 2), "January's posts, labels and features, and what is the night's own"


def test_a_correction_makes_anew_the_states_of_its_period_and_the_matrix_from_there_on(
    before_a_night: Path, tmp_path: Path
) -> None:
    """Any later post may count the corrected one in its history (decision 0008)."""
    ws = Workspace(Path(shutil.copytree(before_a_night, tmp_path / "ws")))
    derive(ws)
    before = identities(ws.root)
    wrong = pl.col("post_id") == "18-0"
    corrected = ws.read("posts").filter(wrong).with_columns(tags=pl.lit(["corrected"]))
    with ws.appending("ingest") as appender:
        appender.take_out("posts", wrong)
        appender.append("posts", f"{FIRST + timedelta(days=18)}-corrected", corrected)
    derive(ws)
    new = sorted(
        re.sub(r".*/(\w+/[a-z]*-?\d{4}-\d\d-\d\d)-.*", r"\1", path) for path in identities(ws.root).keys() - before
    )
    days = [f"{FIRST + timedelta(days=night)}" for night in range(18, 25)]
    states = [f"posts-{days[0]}", f"labels-{FIRST + timedelta(days=25)}"]  # whose posts are 7 to 10 days old
    assert new == sorted(
        [*(f"{name}/{part}" for name in ENTITIES for part in states), *(f"features/{day}" for day in days)]
    )


def test_a_part_that_is_lost_is_made_again(before_a_night: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(before_a_night, tmp_path / "ws"))
    derive(Workspace(root))
    whole = files(root)
    for name in ("labels", "aggregates/tags", "features"):
        next((root / "data" / name).glob("*.parquet")).unlink()
        derive(Workspace(root))
        assert files(root) == whole, name


def _is_like_another(path: str) -> bool:
    """The tables of states are written one like the other: users and the last one stand for all."""
    return f"{os.sep}aggregates{os.sep}" in path and Path(path).parent.name not in ("users", "world")


@pytest.mark.slow
def test_a_night_that_dies_while_it_derives_is_the_same_after_a_rerun(before_a_night: Path, tmp_path: Path) -> None:
    """It dies before each rename and each removal; then another night comes, and all is as in a clean run."""

    def fresh(name: str) -> Path:
        return Path(shutil.copytree(before_a_night, tmp_path / name))

    clean = fresh("clean")
    with disk_writes(tmp_path, kinds=("replace", "unlink")) as writes:
        derive(Workspace(clean))
    once = files(clean)
    assert len(writes) > 2 * len(ENTITIES), "the count of writes must see them all"
    for step in (number for number, write in enumerate(writes, 1) if not _is_like_another(write.path)):
        root = fresh(f"died-{step}")
        with disk_writes(tmp_path, step=step, kinds=("replace", "unlink")), pytest.raises(Died):
            derive(Workspace(root))
        derive(Workspace(root))
        assert files(root) == once, f"died at write {step}: {writes[step - 1]}"
        shutil.rmtree(root)


def test_what_a_dead_run_wrote_of_a_forgotten_user_does_not_stay(before_a_night: Path, tmp_path: Path) -> None:
    """The next run's parts have other names, so what was half written must go by itself (found 2026-11-22)."""
    root = Path(shutil.copytree(before_a_night, tmp_path / "ws"))
    with disk_writes(tmp_path, step=2, kinds=("replace",)), pytest.raises(Died):
        stages.features(Workspace(root))
    torn = [path for path in root.rglob(".*.tmp") if path.is_file()]
    assert torn, "the run must have died with a half-written file"
    forget(Workspace(root), "user", {"u0"}, moment(30))
    assert not [path for path in root.rglob(".*.tmp") if path.is_file()]
