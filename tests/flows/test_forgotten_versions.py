"""Forgetting in a workspace under git and DVC: which versions still hold it, and that the next one does not."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import table_rows as rows

from flickcast import history, stages
from flickcast.leash import dvc
from flickcast.records import Batch
from flickcast.workspace import Workspace, create_workspace

pytestmark = pytest.mark.slow

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ENDS = "features"  # the last stage that reads what people posted before a model is fitted


def batch(*ids: str) -> Batch:
    owner = {one: f"u{int(one) % 2}@N00" for one in ids}
    posts = [
        {"post_id": one, "posted_at": MOMENT, "user_id": owner[one], "title": f"title-{owner[one]}"} for one in ids
    ]
    return Batch(
        source="flickr",
        posts=rows.posts(*posts),
        users=rows.users(*({"user_id": one, "observed_at": MOMENT} for one in sorted(set(owner.values())))),
        found=len(ids),
    )


def stored(root: Path) -> list[Path]:
    """Files of DVC's cache and remote that are Parquet and name the user, but for tombstones."""
    found = [path for place in ("cache", "remote") for path in (root / ".dvc" / place / "files").rglob("*")]
    return [path for path in found if path.is_file() and path.read_bytes()[:4] == b"PAR1" and _names(path)]


def _names(path: Path) -> bool:
    rows = pl.read_parquet(path)
    return "gone_at" not in rows.columns and "u1@N00" in repr(rows.to_dicts())


def repro(root: Path) -> str:
    done = dvc(root, "repro", ENDS)
    assert done.code == 0, done.text
    return done.text


def test_the_next_version_is_without_them_and_older_ones_can_be_removed(
    flickcast: Callable[..., Any], tmp_path: Path
) -> None:
    root = tmp_path / "ws"
    create_workspace(root, {"embed.encoder": "flickcast-tiny"})
    history.initialise(root)
    for number, ids in enumerate((("1", "2"), ("3", "4")), start=1):
        stages.store(Workspace(root), batch(*ids), f"import-{number}", MOMENT)
        repro(root)
        history.publish(root, f"Version {number}")
    done = flickcast("forget", "user", "u1@N00", "-w", root, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    commits = [line.split()[0] for line in history._git(root, "log", "--reverse", "--format=%H").splitlines()]
    older = told["older_versions"]
    assert (older["count"], older["first"]["commit"], older["last"]["commit"]) == (2, commits[1], commits[2])
    assert told["rows_removed"] == {"posts": 2, "users": 1}
    assert stored(root), "the older versions hold the user"

    repro(root)
    assert "Data and pipelines are up to date." in dvc(root, "status", ENDS).text
    history.publish(root, "Without")
    assert stored(root)
    command = next(one for one in told["to_remove_older_versions"] if one.startswith("dvc gc"))
    assert dvc(root, *command.split()[1:]).code == 0
    assert stored(root) == []

    shutil.rmtree(root / "data")
    assert dvc(root, "pull", "ingest", "embed", "labels", "aggregate", "features").code == 0
    assert Workspace(root).read("posts")["user_id"].to_list() == ["u0@N00"] * 2
    again = flickcast("forget", "user", "u1@N00", "-w", root, "--json")
    assert json.loads(again.out)["rows_removed"] == {}
