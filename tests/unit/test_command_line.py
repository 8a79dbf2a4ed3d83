"""The command line as a whole: quick to start, quiet about what it does not need, one sentence for what went wrong."""

import json
import subprocess
import sys
from collections.abc import Callable
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
