"""The command line as a whole: quick to start, quiet about what it does not need, one sentence for what went wrong."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flickcast import stages
from flickcast.records import StageReport
from flickcast.workspace import Workspace

HEAVY = ("torch", "open_clip", "pandas", "pandera", "lightgbm", "catboost", "sklearn", "prefect", "evidently", "dvc")


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    program = f"import sys, flickcast.cli; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ingets"], "No such command 'ingets'. Did you mean 'ingest', 'init'? Try `flickcast --help`."),
        (["forget", "usr"], "No such command 'usr'. Did you mean 'user'? Try `flickcast forget --help`."),
        (["ingest", "x"], "Got unexpected extra argument(s) (x). Try `flickcast ingest --help`."),
        (["ingest", "--plam"], "No such option: --plam (Possible options: --plan). Try `flickcast ingest --help`."),
        (
            ["demo", "--nights", "0"],
            "Invalid value for '--nights': Input should be greater than or equal to 1. Try `flickcast demo --help`.",
        ),
    ],
)
def test_a_wrong_command_is_answered_in_sentences_with_the_help_that_fits(
    flickcast: Callable[..., Any], arguments: list[str], said: str
) -> None:
    assert flickcast(*arguments) == (2, "", f"flickcast: {said}\n")


@pytest.mark.parametrize("group", [[], ["forget"], ["import"]])
def test_no_command_shows_the_help_and_complains_of_nothing(flickcast: Callable[..., Any], group: list[str]) -> None:
    done = flickcast(*group)
    assert (done.code, done.err) == (2, "")
    assert f"Usage: {' '.join(['flickcast', *group])}" in done.out


def test_json_on_stdout_is_only_json(flickcast: Callable[..., Any], workspace: Workspace) -> None:
    done = flickcast("labels", "-w", workspace.root, "--json")
    assert done.code == 0
    assert json.loads(done.out) == {"stage": "labels", "facts": {"labels": 0}, "notes": []}


@pytest.mark.parametrize(("raised", "code"), [(KeyboardInterrupt, 130), (RuntimeError, 1)])
def test_every_other_end_is_a_sentence_too(
    flickcast: Callable[..., Any],
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    raised: type[BaseException],
    code: int,
) -> None:
    def stop(ws: Workspace) -> StageReport:
        raise raised

    monkeypatch.setitem(stages.STAGES, "labels", stop)
    done = flickcast("labels", "-w", workspace.root)
    assert done.code == code
    assert "Traceback" not in done.err
    assert done.err.startswith("flickcast: ")


COMMAND = Path(sys.executable).with_name("flickcast")


@pytest.mark.parametrize("arguments", [("--help",), ("labels", "--json", "-w")], ids=["help", "stage"])
@pytest.mark.parametrize("seconds", [0.0, 0.15, 0.3, 0.5, 0.8])
def test_an_interrupt_at_any_moment_is_one_sentence(
    workspace: Workspace, arguments: tuple[str, ...], seconds: float
) -> None:
    """Ctrl-C in a command's first second, when it was importing, printed fifty lines of traceback."""
    place = [str(workspace.root)] if "-w" in arguments else []
    # Python tells what it imports: only so is it known when our own code has begun.
    command = [sys.executable, "-X", "importtime", str(COMMAND), *arguments, *place]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stderr
        told = next(line for line in started.stderr if line.endswith("flickcast.errors\n"))
        time.sleep(seconds)
        started.send_signal(signal.SIGINT)
        out, told = started.communicate(timeout=60)
    said = [line for line in told.splitlines() if not line.startswith("import time:")]
    is_interrupted = started.returncode == 130
    assert said == (["flickcast: Interrupted. Run the same command to continue."] if is_interrupted else [])
    assert is_interrupted or (started.returncode == 0 and out)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize(
    ("arguments", "code"), [(["--help"], 141), (["labels", "-w"], 141), (["nonsense"], 2)], ids=["help", "stage", "no"]
)
def test_nobody_who_reads_is_no_reason_to_complain(
    workspace: Workspace, arguments: list[str], code: int, both: bool
) -> None:
    """`flickcast ... | true` ended with 1, as if a check had said no."""
    place = [str(workspace.root)] if "-w" in arguments else []
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run([COMMAND, *arguments, *place], stdout=pipe, stderr=pipe if both else subprocess.PIPE)
    assert done.returncode == code
    assert both or len(done.stderr.splitlines()) == (code == 2)


def test_a_pipe_that_breaks_inside_a_stage_is_said(
    flickcast: Callable[..., Any], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(ws: Workspace) -> StageReport:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setitem(stages.STAGES, "labels", stop)
    done = flickcast("labels", "-w", workspace.root)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert done.err.startswith(f"flickcast: Broken pipe: {workspace.root}.")


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (errno.ENOSPC, 75, "No space left on device: {root}; free some and run the same command again."),
        (errno.EACCES, 1, "Permission denied: {root}. Put that right and run the same command again."),
    ],
)
def test_what_the_system_refuses_is_said_with_the_place(
    flickcast: Callable[..., Any],
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    code: int,
    said: str,
) -> None:
    def stop(ws: Workspace) -> StageReport:
        raise OSError(number, os.strerror(number))

    monkeypatch.setitem(stages.STAGES, "labels", stop)
    done = flickcast("labels", "-w", workspace.root)
    assert (done.code, done.err) == (code, f"flickcast: {said.format(root=workspace.root)}\n")


def test_the_clock_of_a_served_world_respects_the_offset(
    flickcast: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks: list[datetime] = []
    monkeypatch.setattr("flickcast.simulate.service.run", lambda world, *, now, **others: clocks.append(now))
    for now in ("2026-03-02T05:30:00+05:00", "2026-03-02T00:30:00"):
        assert flickcast("simulate", "serve", "--now", now).code == 0
    assert clocks == [datetime(2026, 3, 2, 0, 30, tzinfo=UTC)] * 2
