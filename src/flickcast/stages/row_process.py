"""A row's process, seen from the command that started it: what it tells, how long it may take, how it ended."""

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flickcast import leash
from flickcast.stages.judging import MARK, Task
from flickcast.tables import publish

Json = dict[str, Any]


def run_task(task: Task, limit: float | None, tell: Callable[[Json], None]) -> str:
    """Have a task done, within a limit in seconds; why it was not all done, in a sentence, or nothing.

    `tell` is given each message. The process and all that it started end with this one, whatever ends this one.
    """
    publish(task.folder / "task.json", task.model_dump_json().encode())  # in the order of the YAML, which can matter
    with _emptied(task.folder.parent / "temporary") as temporary:
        child = leash.start(
            "flickcast.stages.judging",
            [str(task.folder / "task.json")],
            cwd=Path(task.root),
            environment={**os.environ, "TMPDIR": str(temporary)},
            output=subprocess.PIPE,
        )
        problem, output = _followed(child, limit, tell)
    if problem:
        publish(task.folder / "output.txt", "".join(output).encode())
    return problem


@contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """For what a process leaves that is killed, as AutoGluon's models; gone afterwards, or before the next row's."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder.absolute()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _followed(
    child: "subprocess.Popen[str]", limit: float | None, tell: Callable[[Json], None]
) -> tuple[str, list[str]]:
    """Pass on what a row's process tells until it ends; its problem in a sentence, or nothing; and what was printed."""
    late = threading.Event()

    def stop() -> None:
        late.set()
        leash.end(child)

    timer = threading.Timer(limit or 0, stop)
    if limit is not None:
        timer.start()
    # polars 2.1 installs a handler under which a blocked read goes on after Ctrl-C as if nothing had happened.
    signal.siginterrupt(signal.SIGINT, True)
    problem, output = "", list[str]()
    try:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith(MARK):
                message = json.loads(line.removeprefix(MARK))
                problem = message.get("error", problem)
                tell(message)
            else:
                output.append(line)
        code = child.wait()
    finally:
        timer.cancel()
        leash.end(child)
    if late.is_set():
        return "Stopped: the budget is spent.", output
    if code < 0 and not problem:
        return f"Its process was ended by signal {-code}; out of memory, if that was 9.", output
    last = next((line.strip() for line in reversed(output) if line.strip()), "")
    return problem or (f"Its process failed: {last}" if code else ""), output
