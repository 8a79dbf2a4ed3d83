"""Lock files that a kill -9 left behind are removed; those of live commands are not."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flickcast.errors import FlickcastError
from flickcast.graph import run_stage
from flickcast.history import publish
from flickcast.leftovers import clear_leftovers
from tests.toys import toy

TORN = '{"write": {"/ws/middle.txt": {"pid": 4'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy(tmp_path_factory.mktemp("leftovers") / "ws")


@pytest.fixture
def rwlock(root):
    path = root / ".dvc/tmp/rwlock"
    path.parent.mkdir(exist_ok=True)
    path.write_text(TORN)
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def index_lock(root):
    path = root / ".git/index.lock"
    path.touch()
    yield path
    path.unlink(missing_ok=True)


@contextmanager
def at_work(*command: str, folder: Path) -> Iterator[None]:
    """The command, which answers a line and then waits for another, as long as the block runs."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, text=True) as process:
        process.stdin.write("HEAD\n")
        process.stdin.flush()
        assert process.stdout.readline()
        yield
        process.communicate()


def test_a_torn_rwlock_stops_every_stage_until_it_is_cleared(root, rwlock):
    with pytest.raises(FlickcastError, match="could not run stage"):
        run_stage(root, "ingest", show=lambda line: None)
    clear_leftovers(root)
    assert run_stage(root, "ingest", show=lambda line: None)


@pytest.mark.parametrize("name", ["index.lock", "HEAD.lock", "refs/heads/main.lock"])
def test_a_left_over_lock_of_git_stops_every_commit_until_it_is_cleared(root, name):
    (root / ".git" / name).touch()
    (root / "night.yaml").write_text(f"date: '2026-01-01' # {name}\n")
    with pytest.raises(FlickcastError, match=r"\.lock"):
        publish(root, "A night")
    clear_leftovers(root)
    publish(root, "A night")
    assert not (root / ".git" / name).exists()


def test_a_whole_rwlock_is_left_alone(root, rwlock):
    rwlock.write_text('{"write": {}, "read": {}}')
    clear_leftovers(root)
    assert rwlock.exists()


@pytest.mark.parametrize("name", ["lock", "rwlock.lock"])
def test_a_torn_rwlock_is_left_alone_while_dvc_holds_a_lock(root, rwlock, name, monkeypatch):
    from dvc.lock import Lock

    monkeypatch.setattr("dvc.lock.DEFAULT_TIMEOUT", 0)
    with Lock(rwlock.parent / name):
        clear_leftovers(root)
    assert rwlock.exists()


def test_a_torn_rwlock_is_left_alone_while_dvc_runs_a_stage_here(root, rwlock):
    """DVC holds no lock meanwhile."""
    with at_work("sh", "-c", "read line; echo $line; read line", "dvc", folder=root):
        clear_leftovers(root)
        assert rwlock.exists()
    clear_leftovers(root)
    assert not rwlock.exists()


def test_an_index_lock_is_left_alone_while_it_is_open(root, index_lock):
    with index_lock.open("ab"):
        clear_leftovers(root)
        assert index_lock.exists()


@pytest.mark.parametrize("is_inside", [True, False])
def test_an_index_lock_is_left_alone_while_git_runs_here(root, index_lock, tmp_path, is_inside):
    where = [] if is_inside else ["--git-dir", str(root / ".git")]
    with at_work("git", *where, "cat-file", "--batch-check", folder=root if is_inside else tmp_path):
        clear_leftovers(root)
        assert index_lock.exists()
    clear_leftovers(root)
    assert not index_lock.exists()


def test_git_at_work_elsewhere_is_no_reason_to_wait(root, index_lock, tmp_path):
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    with at_work("git", "cat-file", "--batch-check", folder=tmp_path):
        clear_leftovers(root)
        assert not index_lock.exists()


@pytest.mark.parametrize(("age", "is_kept"), [(60, True), (3600, False)])
def test_where_processes_cannot_be_seen_the_age_decides(root, index_lock, monkeypatch, age, is_kept):
    monkeypatch.setattr("sys.platform", "darwin")
    os.utime(index_lock, (time.time() - age,) * 2)
    clear_leftovers(root)
    assert index_lock.exists() is is_kept


def test_a_torn_dvc_lock_is_put_back_as_committed_and_the_night_goes_on(tmp_path):
    root = toy(tmp_path / "ws")
    run_stage(root, "ingest", show=lambda line: None)
    publish(root, "One stage")
    whole = (root / "dvc.lock").read_text()
    run_stage(root, "middle", show=lambda line: None)
    (root / "dvc.lock").write_text("schema: '2.0'\nstages:\n  ingest:\n    cmd: 'mkdir -p da")
    with pytest.raises(FlickcastError):
        run_stage(root, "middle", show=lambda line: None)
    clear_leftovers(root)
    assert (root / "dvc.lock").read_text() == whole
    run_stage(root, "middle", show=lambda line: None)
    assert "middle:" in (root / "dvc.lock").read_text()
