"""The command line as a whole: quick to start, quiet about what it does not need, one sentence for what went wrong."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
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
