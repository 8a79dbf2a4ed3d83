"""The end of a run that is stuck: no progress for too long, and the process says where it hangs and stops."""

import faulthandler
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TextIO

from flickcast.console import say
from flickcast.errors import TryAgainError

TELLING_SECONDS = 5.0  # stderr may be what hangs
_seen = 0.0


def progress() -> None:
    """Note that something moves; to be called at every step of long work, and while waiting on purpose."""
    global _seen
    _seen = time.monotonic()


@contextmanager
def watchdog(seconds: float, log: Path) -> Iterator[None]:
    """Without progress for that long, write all threads' stacks to the log and to stderr and exit with code 75.

    Children end by their leash. Should a native call keep Python itself from running, the stacks go to the log all the
    same, a little later, and the exit code is 1: faulthandler offers no other.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    progress()
    done = threading.Event()
    with log.open("a") as file:
        _arm(seconds, file)
        thread = threading.Thread(target=_watch, args=(seconds, file, done), name="watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            faulthandler.cancel_dump_traceback_later()
            if log.stat().st_size == 0:
                log.unlink()


def _arm(seconds: float, file: TextIO) -> None:
    """Have the end come from outside of Python, unless this is called again in time."""
    faulthandler.dump_traceback_later(seconds * 1.1, exit=True, file=file)


def _watch(seconds: float, file: TextIO, done: threading.Event) -> None:
    while not done.wait(seconds / 20):
        _arm(seconds, file)
        if time.monotonic() - _seen > seconds:
            _stop(seconds, file)


def _stop(seconds: float, file: TextIO) -> NoReturn:
    faulthandler.cancel_dump_traceback_later()
    file.write(f"No progress for {seconds:.0f} s.\n")
    file.flush()
    begin = file.tell()
    faulthandler.dump_traceback(file)
    stacks = Path(file.name).read_bytes()[begin:]  # faulthandler itself would hang on a stderr that nobody reads
    teller = threading.Thread(target=_tell, args=(seconds, file.name, stacks), daemon=True)
    teller.start()
    teller.join(TELLING_SECONDS)
    os._exit(TryAgainError.exit_code)


def _tell(seconds: float, log: str, stacks: bytes) -> None:
    os.write(2, stacks)
    say(
        f"flickcast: no progress for {seconds:.0f} s, so this run stops; {log} shows where it hung. "
        "Nothing is lost: run the same command again."
    )
