"""The end of a run that is stuck: no progress for too long, and the process says where it hangs and stops."""

import faulthandler
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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

    Children end by their leash. Should a native call keep Python itself from running, the stacks are written all the
    same, a tenth later, and the exit code is 1: faulthandler offers no other.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    progress()
    done = threading.Event()
    thread = threading.Thread(target=_watch, args=(seconds, log, done), name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _watch(seconds: float, log: Path, done: threading.Event) -> None:
    with log.open("a") as file:
        while not done.wait(seconds / 20):
            faulthandler.dump_traceback_later(seconds * 1.1, exit=True, file=file)
            if time.monotonic() - _seen > seconds:
                _stop(seconds, log)
        faulthandler.cancel_dump_traceback_later()
    if log.stat().st_size == 0:
        log.unlink()


def _stop(seconds: float, log: Path) -> None:
    with log.open("a") as file:
        file.write(f"No progress for {seconds:.0f} s.\n")
        file.flush()
        faulthandler.dump_traceback(file)
        file.write("\n")
    teller = threading.Thread(target=_tell, args=(seconds, log), daemon=True)
    teller.start()
    teller.join(TELLING_SECONDS)
    os._exit(TryAgainError.exit_code)


def _tell(seconds: float, log: Path) -> None:
    faulthandler.dump_traceback(2)
    say(
        f"flickcast: no progress for {seconds:.0f} s, so this run stops; {log} shows where it hung. "
        "Nothing is lost: run the same command again."
    )
