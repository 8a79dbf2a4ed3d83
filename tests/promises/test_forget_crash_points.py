"""Forgetting that dies, or is refused, at its k-th write: done again, it is as if nothing had happened.

For every k with FLICKCAST_EVERY_WRITE=1 (4 minutes); otherwise for every other one, or every third.
"""

import errno
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import table_rows as rows
from disk_writes import DURABLE, Died, Trouble, death, disk_writes, refusal

from flickcast import stages
from flickcast.records import Batch, PictureChunk, ReadPictures, Rejected, quarantine_record, quarantine_rows
from flickcast.schemas import TABLES
from flickcast.stages.forgetting import forget
from flickcast.workspace import Workspace, create_workspace

EVERY_WRITE = bool(os.environ.get("FLICKCAST_EVERY_WRITE"))
MOMENT, LATER = rows.day(0), datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two posts each of two users in one part of every table, some in two."""
    root = tmp_path_factory.mktemp("filled")
    create_workspace(root, {"embed.encoder": "flickcast-tiny"})
    ws = Workspace(root)
    for number, ids in enumerate((("1", "2"), ("3", "4"))):
        stages.store(ws, _batch(ids), f"2026-03-0{number + 1}", MOMENT, part=f"2026-03-0{number + 1}")
    vectors = {one: [1.0, 0.0] for one in ("1", "2", "3", "4")}
    broken = [Rejected(quarantine_record(one, "sha", b"broken"), "broken") for one in ("1", "2")]
    with ws.appending("embed") as appender:
        appender.append("embeddings/flickcast-tiny-picture", "night", rows.embeddings(**vectors))
        appender.append("quarantine/embed", "night", quarantine_rows("embed", "images", broken, MOMENT))
    for stage in (stages.labels, stages.aggregate, stages.features):
        stage(ws)
    (root / "models" / "champion" / "final").mkdir(parents=True)
    for name in ("model.json", "1-arrays.safetensors"):
        (root / "models" / "champion" / "final" / name).write_text("rows of everyone")
    (root / ".flickcast" / "ingest").mkdir(parents=True)
    (root / ".flickcast" / "ingest" / "2026-03-03.jsonl").write_text("an answer")
    return root


def _batch(ids: tuple[str, str]) -> Batch:
    owner = dict(zip(ids, ("u1", "u2"), strict=True))
    pictures = (
        TABLES["images"]
        .empty()
        .vstack(
            TABLES["images"].conform(
                rows.pl.DataFrame([{"post_id": one, "sha256": one, "bytes": b"jpeg"} for one in ids])
            )
        )
    )
    return Batch(
        source="flickr",
        posts=rows.posts(*({"post_id": one, "posted_at": MOMENT, "user_id": owner[one]} for one in ids)),
        users=rows.users({"user_id": "u1", "observed_at": rows.day(int(ids[0]))}),
        observations=rows.observations(*({"post_id": one, "observed_at": rows.day(8), "views": 5} for one in ids)),
        found=3,
        rejected=(Rejected(b'{"photo": {"id": "9%s", "owner": "u1"}}' % ids[0].encode(), "no time of posting"),),
        pictures=ReadPictures((PictureChunk(pictures),)),
    )


def state(root: Path) -> dict[str, bytes]:
    """Every file of the tables, manifests, models and journals, by its place."""
    places = (root / "data", root / "manifests", root / "models", root / ".flickcast" / "ingest")
    files = [path for place in places for path in sorted(place.rglob("*")) if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def tidied(root: Path) -> dict[str, bytes]:
    """The same after the next run of every stage has removed what was left behind."""
    for stage in ("ingest", "embed"):
        with Workspace(root).appending(stage):
            pass
    return state(root)


def _is_like_another(path: str) -> bool:
    """The tables of states are written one like the other: users and the last one stand for all."""
    return f"{os.sep}aggregates{os.sep}" in path and Path(path).parent.name not in ("users", "world")


@pytest.mark.parametrize(("trouble", "apart"), [(death(), 2), (refusal(errno.ENOSPC), 3)], ids=["death", "full disk"])
def test_a_user_is_forgotten_whole_whichever_write_stops_it(
    filled: Path, tmp_path: Path, trouble: Trouble, apart: int
) -> None:
    def fresh(name: str) -> Path:
        return Path(shutil.copytree(filled, tmp_path / name))

    clean = fresh("clean")
    with disk_writes(tmp_path, kinds=DURABLE) as writes:
        forget(Workspace(clean), "user", {"u1"}, LATER)
    expected = tidied(clean)
    assert "data/posts/2026-03-01~1.parquet" in expected
    assert len(writes) > 60, "the count of writes must see them all"
    steps = [number for number, write in enumerate(writes, 1) if not _is_like_another(write.path)]
    for step in steps if EVERY_WRITE else steps[::apart]:
        root = fresh(f"stopped-{step}")
        with disk_writes(tmp_path, step=step, trouble=trouble, kinds=DURABLE), pytest.raises((Died, OSError)):
            forget(Workspace(root), "user", {"u1"}, LATER)
        told = f"stopped at write {step}: {writes[step - 1]}"
        assert set(Workspace(root).read("posts").filter(rows.pl.col("user_id") == "u2")["post_id"]) == {"2", "4"}, told
        assert Workspace(root).read("posts").height in (2, 4), f"half of it is gone, {told}"
        forget(Workspace(root), "user", {"u1"}, LATER)
        assert tidied(root) == expected, told
        shutil.rmtree(root)
