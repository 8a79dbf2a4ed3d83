"""Child processes on a leash: whatever ends us, kill -9 included, ends them and all that they started.

This is needed because a killed `dvc repro` leaves its stage command running, and a killed flow its `dvc repro` and its
server (seen with DVC 3.67 and Prefect 3.8 on Linux). The file is also the child's first program:
`python -m flickcast.leash PARENT MODULE ARGUMENTS` runs a module in a process group that ends with the parent.
"""

import ctypes
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

PR_SET_PDEATHSIG = 1  # linux/prctl.h: the signal a process gets when its parent ends
PARENT_ENDED = signal.SIGUSR1  # not SIGTERM: uvicorn takes that over and finishes its requests first

# Set inside git hooks; they would point our commands at the repository around the workspace.
GIT_LOCATIONS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code (negative: the signal that killed it) and all that it printed."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The output as one text."""
        return "\n".join(self.lines)


def dvc(
    root: Path, *arguments: str, show: Callable[[str], None] = lambda line: None, timeout_seconds: float | None = None
) -> Outcome:
    """Run a DVC command in a workspace, handing each line to `show`; a timeout or an interruption kills its group."""
    child = start("dvc", arguments, cwd=root, environment=dvc_environment(root), output=subprocess.PIPE)
    timer = threading.Timer(timeout_seconds or 0, end, (child,))
    if timeout_seconds is not None:
        timer.start()
    # polars 2.1 installs a handler under which a blocked read goes on after Ctrl-C as if nothing had happened.
    signal.siginterrupt(signal.SIGINT, True)
    lines = []
    try:
        assert child.stdout is not None
        for line in child.stdout:
            lines.append(line.rstrip("\n"))
            show(lines[-1])
        return Outcome(child.wait(), tuple(lines))
    finally:
        timer.cancel()
        end(child)


def start(
    module: str, arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str], output: int | IO[Any]
) -> "subprocess.Popen[str]":
    """Start `python -m MODULE ARGUMENTS` in a group of its own that ends with this process."""
    return subprocess.Popen(
        [sys.executable, "-m", "flickcast.leash", str(os.getpid()), module, *arguments],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )


def end(child: "subprocess.Popen[str]") -> None:
    """Kill the child and all that it started; nothing to do where it has ended by itself."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def dvc_environment(root: Path) -> dict[str, str]:
    """This process's environment for DVC: our own commands first in PATH, no reports to anyone, no folder outside."""
    kept = {name: value for name, value in os.environ.items() if name not in GIT_LOCATIONS}
    return kept | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "SHELL": "/bin/sh",  # DVC runs stages in the user's shell otherwise
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(private_site_cache(root)),
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
    }


def site_cache(root: Path) -> Path:
    """Where DVC keeps what it could compute again; by default it would be a folder shared by the whole machine."""
    return root.resolve() / ".flickcast" / "dvc"


def private_site_cache(root: Path) -> Path:
    """The same folder, there and closed to others: DVC unpickles what lies in it and makes it writable for everyone."""
    cache = site_cache(root)
    for folder in (cache.parent, cache):
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
    return cache


def _follow_parent(parent: int) -> None:
    """Kill this process's group when the parent ends (Linux only; elsewhere a stage may outlive a killed flow)."""

    def kill_own_group(number: int, frame: FrameType | None) -> None:
        os.killpg(os.getpgrp(), signal.SIGKILL)

    signal.signal(PARENT_ENDED, kill_own_group)
    _ask_for(PARENT_ENDED)
    if os.getppid() != parent:  # it ended before we could ask
        os.killpg(os.getpgrp(), signal.SIGKILL)


def end_with_parent(parent: int) -> None:
    """Let the kernel kill this process, and it alone, when its parent ends (Linux only)."""
    _ask_for(signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _ask_for(signal_number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number)


def _main() -> None:
    parent, module, *arguments = sys.argv[1:]
    _follow_parent(int(parent))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
