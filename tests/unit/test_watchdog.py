"""The watchdog on real processes that hang: it says where, and ends them."""

import subprocess
import sys
from pathlib import Path

import pytest

from flickcast.watchdog import watchdog

HANGING = """
import sys, socket, ctypes, time
from pathlib import Path
from flickcast.watchdog import progress, watchdog

def stuck_in_recv():
    one, other = socket.socketpair()
    one.recv(1)

def stuck_and_keeping_python_from_running():
    ctypes.PyDLL(None).sleep(60)

def busy():
    for _ in range(20):
        time.sleep(0.1)
        progress()

def stuck_in_stderr():
    while True:
        sys.stderr.write("x" * 100_000)

with watchdog(0.5, Path(sys.argv[1])):
    globals()[sys.argv[2]]()
"""


def hanging(folder: Path, what: str) -> tuple[int, str, Path]:
    log = folder / "logs" / "watchdog.log"
    done = subprocess.run([sys.executable, "-c", HANGING, log, what], capture_output=True, text=True, timeout=30)
    return done.returncode, done.stderr, log


def test_a_process_that_is_stuck_in_a_native_call_ends_with_75_and_says_where(tmp_path: Path) -> None:
    code, said, log = hanging(tmp_path, "stuck_in_recv")
    assert code == 75
    assert f"no progress for 0 s, so this run stops; {log} shows where it hung" in said.replace("\n", " ")
    assert "in stuck_in_recv" in said
    assert "in stuck_in_recv" in log.read_text()


def test_a_call_that_keeps_python_from_running_ends_all_the_same(tmp_path: Path) -> None:
    code, _, log = hanging(tmp_path, "stuck_and_keeping_python_from_running")
    assert code == 1
    assert "in stuck_and_keeping_python_from_running" in log.read_text()


def test_nobody_reading_stderr_does_not_keep_the_watchdog_from_its_work(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", HANGING, tmp_path / "log", "stuck_in_stderr"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE) as child:
        assert child.wait(timeout=30) == 75
    assert "in stuck_in_stderr" in (tmp_path / "log").read_text()


def test_progress_keeps_a_process_alive_and_leaves_no_log(tmp_path: Path) -> None:
    code, said, log = hanging(tmp_path, "busy")
    assert (code, said, log.exists()) == (0, "", False)


@pytest.mark.parametrize("written", ["", "an earlier hang\n"])
def test_an_earlier_log_is_kept(tmp_path: Path, written: str) -> None:
    log = tmp_path / "logs" / "watchdog.log"
    log.parent.mkdir()
    log.write_text(written)
    assert hanging(tmp_path, "busy")[0] == 0
    assert (log.read_text() if log.exists() else "") == written


def test_a_run_that_fails_by_itself_leaves_no_empty_log(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="of its own"), watchdog(60.0, tmp_path / "logs" / "log"):
        raise ValueError("of its own")
    assert list((tmp_path / "logs").iterdir()) == []
