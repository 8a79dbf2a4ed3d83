"""Promise 2, at the smallest scale: a run that dies at its k-th write, for every k, is made good by running again."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from disk_writes import DURABLE, Died, disk_writes

from flickcast.records import Batch, PictureChunk, ReadPictures, Rejected, quarantine_record
from flickcast.stages import store
from flickcast.workspace import Workspace, create_workspace

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def batch() -> Batch:
    posts = pl.DataFrame(
        {
            "post_id": ["1", "2"],
            "source": ["flickr"] * 2,
            "user_id": ["u"] * 2,
            "posted_at": [MOMENT] * 2,
            "first_seen_at": [MOMENT] * 2,
        }
    )
    picture = pl.DataFrame({"post_id": ["1"], "sha256": ["00"], "bytes": [b"jpeg"]})
    return Batch(
        source="flickr",
        posts=posts,
        users=pl.DataFrame({"user_id": ["u"], "observed_at": [MOMENT], "photo_count": [3]}),
        observations=pl.DataFrame({"post_id": ["1", "2"], "observed_at": [MOMENT] * 2, "views": [1, 2]}),
        found=3,
        rejected=(Rejected(b"{}", "no id"),),
        pictures=ReadPictures(
            (PictureChunk(picture, (Rejected(quarantine_record("2", "sha", b"broken"), "not a picture"),)),)
        ),
    )


def tables(root: Path) -> dict[str, bytes]:
    """Every file of the tables and manifests, by its place."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in ("data", "manifests")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


def test_a_batch_that_dies_at_any_write_is_the_same_after_a_rerun(tmp_path: Path) -> None:
    def fresh(name: str) -> Workspace:
        create_workspace(tmp_path / name)
        return Workspace(tmp_path / name)

    clean = fresh("clean")
    with disk_writes(tmp_path, kinds=DURABLE) as writes:
        store(clean, batch(), "2026-03-01", MOMENT, part="2026-03-01")
    assert len(writes) > 20, "the count of writes must see them all"
    for step in range(1, len(writes) + 1):
        ws = fresh(f"died-{step}")
        with disk_writes(tmp_path, step=step, kinds=DURABLE), pytest.raises(Died):
            store(ws, batch(), "2026-03-01", MOMENT, part="2026-03-01")
        assert ws.read("posts").height in (0, 2), f"half a batch is visible after write {step}"
        store(ws, batch(), "2026-03-01", MOMENT, part="2026-03-01")
        with ws.appending("ingest"):
            pass  # the next run removes what was left behind
        assert tables(ws.root) == tables(clean.root), f"died at write {step}: {writes[step - 1]}"
