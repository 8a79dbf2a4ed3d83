"""The nightly flow on a toy workspace, under a local Prefect server of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from flickcast.errors import CheckError, TryAgainError, UserError
from flickcast.history import begun_nights, finished_nights
from flickcast.workspace import Workspace
from flows.local import local_prefect, run_nights
from tests.toys import command_lines, stage, toy, wait_for

pytestmark = pytest.mark.slow

FIRST, SECOND = date(2026, 1, 1), date(2026, 1, 2)
FAILS_ONCE = stage("service", "if test -f tried; then touch done; else touch tried; exit 75; fi")

NIGHT = """
import datetime, pathlib, signal, sys
import flows.local
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
flows.local.run_nights(pathlib.Path(sys.argv[1]), [datetime.date(2026, 1, 1)])
"""


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for all tests that only need one."""
    with local_prefect(tmp_path_factory.mktemp("server")) as address:
        yield address


def run(root: Path, **options):
    from flows.nightly import NightParams, nightly

    return nightly(NightParams(workspace=root, **options))


def processes_naming(text: str) -> list[str]:
    return [command for command in command_lines() if text in command]


def test_two_nights_under_one_server_leave_commits_and_nothing_running(tmp_path):
    root, seen = toy(tmp_path / "ws"), []
    first, second = run_nights(root, [FIRST, SECOND], before=seen.append)
    assert seen == [FIRST, SECOND]
    assert [first["night"], second["night"]] == ["2026-01-01", "2026-01-02"]
    assert first["commit"] != second["commit"]
    assert list(second["stages"]) == ["ingest", "middle", "last"]
    assert (root / "last.txt").read_text() == "2026-01-012026-01-02"
    assert finished_nights(root) == [FIRST, SECOND]
    assert not processes_naming(f"flickcast.leash {os.getpid()} ")
    assert not list((root / ".flickcast").rglob("*.pickle"))
    assert not (root / ".flickcast/prefect/storage").exists()


def test_a_night_again_changes_nothing(prefect, tmp_path):
    root = toy(tmp_path)
    (first,) = run(root, date=FIRST)
    (again,) = run(root, date=FIRST)
    assert again == {**first, "pushed": 0}


def test_of_finished_nights_only_the_newest_can_be_repeated(prefect, tmp_path):
    root = toy(tmp_path)
    run(root, date=FIRST)
    (newest,) = run(root, date=SECOND)
    with pytest.raises(UserError, match=r"2026-01-01 is finished, and only the newest can be repeated.*2026-01-02"):
        run(root, date=FIRST)
    assert "2026-01-02" in (root / "night.yaml").read_text()
    assert run(root, date=SECOND) == [{**newest, "pushed": 0}]


def test_a_night_that_was_left_out_can_be_run_later(prefect, tmp_path):
    root = toy(tmp_path)
    run(root, date=SECOND)
    run(root, date=FIRST)
    assert finished_nights(root) == [FIRST, SECOND]
    run(root, date=SECOND)
    assert "2026-01-02" in (root / "night.yaml").read_text()


def test_what_a_killed_night_left_behind_does_not_stop_the_next(prefect, tmp_path):
    root = toy(tmp_path)
    (root / ".dvc/tmp/rwlock").write_text('{"write": {"')
    (root / ".git/index.lock").touch()
    run(root, date=FIRST)
    assert finished_nights(root) == [FIRST]


def test_a_night_that_failed_after_its_posts_came_in_is_run_again(prefect, tmp_path, monkeypatch):
    root = toy(tmp_path)
    rest = (root / "dvc.yaml").read_text()
    (root / "dvc.yaml").write_text(rest.replace("cat middle.txt", "exit 1; cat middle.txt"))
    with pytest.raises(CheckError):
        run(root, date=FIRST)
    assert begun_nights(root) == [FIRST]
    (root / "dvc.yaml").write_text(rest)
    monkeypatch.setattr("flickcast.history.yesterday", lambda: SECOND)
    assert [summary["night"] for summary in run(root)] == ["2026-01-01", "2026-01-02"]


def test_without_a_date_the_missed_nights_are_run(prefect, tmp_path, monkeypatch):
    root = toy(tmp_path)
    monkeypatch.setattr("flickcast.history.missed_dates", lambda root: [FIRST, SECOND])
    assert [summary["night"] for summary in run(root)] == ["2026-01-01", "2026-01-02"]


def test_a_stage_is_tried_again_when_its_service_was_down(prefect, tmp_path):
    root = toy(tmp_path, FAILS_ONCE)
    run(root, date=FIRST, retries=1, retry_seconds=0)
    assert (root / "done").exists()


def test_a_users_mistake_is_not_tried_again_and_ends_the_night(prefect, tmp_path):
    root = toy(tmp_path, stage("broken", "echo x >> tries; echo no such encoder >&2; exit 2"))
    with pytest.raises(UserError, match="no such encoder"):
        run(root, date=FIRST, retries=3, retry_seconds=0)
    assert (root / "tries").read_text() == "x\n"
    assert finished_nights(root) == []


def test_a_second_night_is_refused_while_one_runs(prefect, tmp_path):
    root = toy(tmp_path)
    with Workspace(root).night_lock(), pytest.raises(TryAgainError, match="a night is running there"):
        run(root, date=FIRST)


def test_parameters_that_do_not_exist_are_refused(prefect, tmp_path):
    with pytest.raises(ValueError, match="workspce"):
        run(tmp_path, workspce="x")


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_an_ended_night_takes_its_server_and_its_stage_along_and_the_next_try_completes(tmp_path):
    root = toy(tmp_path / "ws", stage("sleeper", "if test -f twice; then touch done; else touch begun; sleep 300; fi"))
    for number in (signal.SIGINT, signal.SIGKILL):
        (root / "begun").unlink(missing_ok=True)
        night = subprocess.Popen([sys.executable, "-c", NIGHT, str(root)], stderr=subprocess.DEVNULL)
        try:
            assert wait_for((root / "begun").exists)
            os.kill(night.pid, number)
            night.wait(15)
            assert wait_for(lambda pid=night.pid: not processes_naming(f"flickcast.leash {pid} "), 5)
        finally:
            night.kill()
    (root / "twice").touch()
    run_nights(root, [FIRST])
    assert (root / "done").exists()
