"""Stages through DVC: their order, their errors, and that nothing outlives us."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flickcast.errors import FlickcastError, TryAgainError, UserError
from flickcast.graph import run_stage, stage_names
from tests.toys import stage, toy, wait_for

SLEEPER = stage("sleeper", "sh -c 'echo $$ > pid; exec sleep 60'")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy(tmp_path_factory.mktemp("graph"))


def run(root: Path, name: str, **options: object) -> tuple[bool, list[str]]:
    lines: list[str] = []
    return run_stage(root, name, show=lines.append, **options), lines


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_stages_come_after_what_they_depend_on(root):
    assert stage_names(root) == ["ingest", "middle", "last"]


def test_a_stage_runs_once_and_then_has_nothing_to_do(root):
    assert run(root, "ingest")[0] is True
    has_run, lines = run(root, "ingest")
    assert has_run is False
    assert "Stage 'ingest' didn't change, skipping" in lines
    assert (root / ".flickcast/logs/ingest.log").read_text().splitlines() == lines
    assert run(root, "ingest", force=True)[0] is True


def test_an_unknown_stage_is_named_with_its_neighbour(root):
    with pytest.raises(UserError, match="no stage 'ingst'; did you mean 'ingest'"):
        run(root, "ingst")


def test_a_missing_dependency_is_told_in_dvcs_words(tmp_path):
    with pytest.raises(FlickcastError, match=r"could not run stage 'late'.*night2"):
        run(toy(tmp_path, stage("late", "echo late").replace("night.yaml", "night2.yaml")), "late")


def test_a_folder_without_dvc_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="flickcast init"):
        stage_names(tmp_path)


@pytest.mark.parametrize(("code", "kind"), [(2, UserError), (75, TryAgainError), (9, FlickcastError)])
def test_exit_codes_come_through_dvc(tmp_path, code, kind):
    with pytest.raises(kind, match=f"exit code {code}; its last line: the service is down") as caught:
        run(toy(tmp_path, stage("broken", f"echo the service is down >&2; exit {code}")), "broken")
    assert type(caught.value) is kind


def test_the_stages_last_words_are_the_error(tmp_path):
    words = '{"stage": "broken", "exit_code": 75, "message": "No answer since 02:10. Run it again."}'
    root = toy(tmp_path, stage("broken", "cp words.json .flickcast/last-error.json; exit 75"))
    (root / "words.json").write_text(words)
    with pytest.raises(TryAgainError, match=r"^No answer since 02:10. Run it again.$"):
        run(root, "broken")


def test_last_words_of_an_earlier_run_are_forgotten(tmp_path):
    root = toy(tmp_path, stage("broken", "exit 2"))
    (root / ".flickcast/last-error.json").write_text('{"stage": "broken", "exit_code": 75, "message": "old"}')
    with pytest.raises(UserError, match="exit code 2"):
        run(root, "broken")


def test_a_held_stage_is_waited_for(tmp_path):
    root = toy(tmp_path, stage("slow", "touch begun; sleep 4; echo done > slow.txt") + "    outs: [slow.txt]\n")
    first = threading.Thread(target=run, args=(root, "slow"))
    first.start()
    assert wait_for((root / "begun").exists)
    with pytest.raises(TryAgainError, match="in use by another DVC command"):
        run(root, "slow", wait_seconds=0)
    assert run(root, "slow", wait_seconds=60)[0] is False
    first.join()


def test_a_timeout_ends_the_stage_and_all_it_started(tmp_path):
    root = toy(tmp_path, SLEEPER)
    with pytest.raises(TryAgainError, match="limit: 5 s"):
        run(root, "sleeper", timeout_seconds=5)
    pid = int((root / "pid").read_text())
    assert wait_for(lambda: not alive(pid), 5)


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_kill_9_of_the_caller_ends_the_stage(tmp_path):
    root = toy(tmp_path, SLEEPER)
    code = f"from pathlib import Path; from flickcast.graph import run_stage; run_stage(Path({str(root)!r}), 'sleeper')"
    caller = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        assert wait_for(lambda: (root / "pid").exists() and (root / "pid").read_text().endswith("\n"))
        pid = int((root / "pid").read_text())
        assert alive(pid)
        os.kill(caller.pid, signal.SIGKILL)
        assert wait_for(lambda: not alive(pid), 5)
    finally:
        caller.kill()
        caller.wait()
