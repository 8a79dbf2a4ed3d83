"""A workspace under git and DVC: what is committed, what is pushed, which nights are missing."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from flickcast.errors import UserError
from flickcast.graph import run_stage, stage_names
from flickcast.history import (
    FINISHED,
    begun_nights,
    finished_nights,
    initialise,
    missed_nights,
    nights_to_run,
    publish,
)
from tests.toys import toy


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def night(root: Path, day: int) -> None:
    (root / "night.yaml").write_text(f"date: '2026-01-{day:02d}'\n")
    for stage in stage_names(root):
        run_stage(root, stage, show=lambda line: None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return toy(tmp_path / "ws")


def test_a_new_workspace_keeps_everything_inside_and_clean(root):
    assert git(root, "status", "--short") == ""
    assert "url = remote" in (root / ".dvc/config").read_text()
    assert sorted(path.name for path in root.parent.iterdir()) == ["ws"]


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(root: Path) -> list[str]:
    return [oct((root / name).stat().st_mode & 0o777) for name in (".flickcast", ".flickcast/dvc")]


def test_only_we_may_write_where_dvc_unpickles(usual_umask, root):
    """DVC makes this folder, and those above it, writable for everyone."""
    assert modes(root) == ["0o700", "0o700"]
    shutil.rmtree(root / ".flickcast")
    run_stage(root, "ingest", show=lambda line: None)
    assert modes(root) == ["0o700", "0o700"]
    for name in (".flickcast", ".flickcast/dvc"):
        (root / name).chmod(0o777)
    initialise(root)
    assert modes(root) == ["0o700", "0o700"]


def test_initialising_again_changes_nothing(root):
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    initialise(root)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_night_commits_small_files_and_pushes_the_rest(root):
    (root / "private.txt").write_text("mine")
    (root / "staged.txt").write_text("mine too")
    git(root, "add", "staged.txt")
    night(root, 1)
    published = publish(root, "Night of 2026-01-01", date(2026, 1, 1))
    assert published["pushed"] == 2  # the folder and its one file; middle.txt and last.txt hold the same bytes
    assert git(root, "show", "--name-only", "--format=%s").split() == [
        *("Night", "of", "2026-01-01"),
        *(".gitignore", "data/.gitignore", "dvc.lock", "manifests/ingest.json", "manifests/nights.json"),
    ]
    assert git(root, "status", "--short").splitlines() == ["A  staged.txt", "?? night", "?? private.txt"]
    again = publish(root, "Night of 2026-01-01", date(2026, 1, 1))
    assert again == {**published, "pushed": 0}
    assert finished_nights(root) == [date(2026, 1, 1)]


def test_what_vanished_from_the_remote_is_pushed_again(root):
    """A killed push once left a remote that said it was complete; clones could not pull."""
    night(root, 1)
    night(root, 2)
    before = publish(root, "Two nights")
    lost = next(path for path in (root / ".dvc/remote").rglob("*") if path.is_file() and path.suffix != ".dir")
    lost.unlink()
    assert publish(root, "Two nights") == {**before, "pushed": 2}
    assert lost.exists()


def test_a_night_is_finished_when_it_is_published_and_not_when_its_posts_are_in(root):
    night(root, 1)
    assert begun_nights(root) == [date(2026, 1, 1)]
    assert finished_nights(root) == []
    night(root, 2)
    publish(root, "Night of 2026-01-02", date(2026, 1, 2))
    assert finished_nights(root) == [date(2026, 1, 2)]
    (root / FINISHED).write_text('{"nights": ["2026-01-03"]}')  # killed right before the commit
    assert finished_nights(root) == [date(2026, 1, 2)]


@pytest.mark.parametrize(
    ("finished", "begun", "expected"),
    [
        ([], [], [5]),
        ([], [3, 4], [3, 4, 5]),
        ([], [9], [5]),
        ([1], [1], [2, 3, 4, 5]),
        ([1], [1, 3], [2, 3, 4, 5]),
        ([4, 2], [1, 2, 4], [5]),
        ([5], [5], []),
        ([9], [9], []),
    ],
)
def test_missed_nights_follow_the_newest_finished_one(finished, begun, expected):
    done, known = ([date(2026, 1, day) for day in days] for days in (finished, begun))
    assert missed_nights(done, known, date(2026, 1, 5)) == [date(2026, 1, day) for day in expected]


def test_a_finished_night_is_refused_when_a_newer_one_is_finished(root):
    first, second, third = (date(2026, 1, day) for day in (1, 2, 3))
    for day in (first, third):
        publish(root, f"Night of {day}", day)
    with pytest.raises(UserError, match=r"2026-01-01 is finished, and only the newest can be repeated.*2026-01-03"):
        nights_to_run(root, first)
    assert nights_to_run(root, second) == [second]
    assert nights_to_run(root, third) == [third]
