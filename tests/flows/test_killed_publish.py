"""Publishing killed at its worst moments, then done again: all is on the remote, in one commit."""

import hashlib
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from flickcast.graph import run_stage, stage_names
from flickcast.history import finished_nights, publish
from flickcast.leftovers import clear_leftovers
from tests.toys import command_lines, stage, toy, wait_for

NIGHT = date(2026, 1, 1)
FILES = 300
MANY = stage("many", f"mkdir -p data/many && for n in $(seq {FILES}); do echo $n > data/many/$n; done")

PUBLISH = """
import os, signal, sys, threading, time
from datetime import date
from pathlib import Path
from flickcast import history, leash

root, moment = Path(sys.argv[1]), sys.argv[2]

def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)

def die_when_there(pattern):
    while not any(root.glob(pattern)):
        time.sleep(0.002)
    die()

def start(*arguments, **options):
    child = leash_start(*arguments, **options)
    if moment == "push starts":
        die()
    return child

leash_start, leash.start = leash.start, start
if moment == "what is there is being collected":
    threading.Thread(target=die_when_there, args=(".flickcast/dvc/repo/*/index/*/*",)).start()
if moment == "the first file has arrived":
    threading.Thread(target=die_when_there, args=(".dvc/remote/files/md5/*/*",)).start()
if moment == "all is pushed":
    history._missing_on_remote = die
if moment == "all but the commit is done":
    history._commit = die
history.publish(root, "Night of 2026-01-01", date(2026, 1, 1))
"""
MOMENTS = [
    "push starts",
    "what is there is being collected",
    "the first file has arrived",
    "all is pushed",
    "all but the commit is done",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A night of many files, all but published."""
    root = toy(tmp_path / "ws", MANY + "    outs: [data/many]\n")
    for name in stage_names(root):
        run_stage(root, name, show=lambda line: None)
    return root


def stored(folder: Path) -> dict[str, str]:
    """Each object below a store by its name, with the md5 of what it holds."""
    files = [path for path in (folder / "files/md5").glob("??/*") if path.name.removesuffix(".dir").isalnum()]
    return {
        path.parent.name + path.name.removesuffix(".dir"): hashlib.md5(path.read_bytes()).hexdigest() for path in files
    }


def commits(root: Path) -> list[str]:
    told = subprocess.run(["git", "log", "--format=%s"], cwd=root, check=True, capture_output=True, text=True)
    return told.stdout.splitlines()


def has_no_child(pid: int) -> bool:
    return not any(f"flickcast.leash\0{pid}\0" in command for command in command_lines())


def publish_again_and_check(root: Path) -> None:
    clear_leftovers(root)
    publish(root, f"Night of {NIGHT}", NIGHT)
    remote, cache = stored(root / ".dvc/remote"), stored(root / ".dvc/cache")
    assert len(remote) == FILES + 1  # and the folder's own object
    assert remote == cache
    assert all(name == content for name, content in remote.items())
    assert commits(root) == ["Night of 2026-01-01", "A new workspace"]
    assert finished_nights(root) == [NIGHT]


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
@pytest.mark.parametrize("moment", MOMENTS)
def test_publishing_again_after_a_kill_ends_with_all_on_the_remote_and_one_commit(root, moment):
    with subprocess.Popen([sys.executable, "-c", PUBLISH, str(root), moment]) as killed:
        killed.wait(120)
    assert killed.returncode == -signal.SIGKILL
    assert wait_for(lambda: has_no_child(killed.pid), 5)
    assert commits(root) == ["A new workspace"]
    assert finished_nights(root) == []
    publish_again_and_check(root)


def test_publishing_again_after_git_was_killed_ends_with_one_commit(root):
    hook = root / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nkill -9 $PPID\n")
    hook.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", PUBLISH, str(root), "never"], stderr=subprocess.PIPE)
    assert b"`git commit` failed" in done.stderr
    assert (root / ".git/index.lock").exists()
    hook.unlink()
    publish_again_and_check(root)
