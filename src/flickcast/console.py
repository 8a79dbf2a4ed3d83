"""What people see: progress and messages on stderr, results on stdout, user text never as markup."""

import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")

LINE_EVERY_SECONDS = 60.0  # off a terminal: one line a minute


def stderr() -> Console:
    """A console for messages; made anew so that a redirected stderr is respected."""
    return Console(stderr=True, highlight=False, emoji=False)


def say(message: str) -> None:
    """One message for the user, on stderr; what it quotes is neither markup nor an order to the terminal."""
    stderr().print(printable(message), markup=False, soft_wrap=True)


def printable(text: str) -> str:
    """User text without control and direction characters, safe for a terminal.

    >>> printable("a\\x1b[31mb")
    'a[31mb'
    """
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cf", "Cs"})


class Advance(Protocol):
    """Reports that `count` more items are finished, or (count 0) what is being done now."""

    def __call__(self, count: int, doing: str = "", /) -> None:
        """Take note of it."""


def track(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    """Yield the items while a bar (terminal) or one line a minute (elsewhere) shows how far it is."""
    with progress(description, total) as advance:
        for item in items:
            advance(0, str(item))
            yield item
            advance(1)


@contextmanager
def progress(description: str, total: int) -> Iterator[Advance]:
    """A bar on a terminal, a line a minute elsewhere; call the value with the number of finished items."""
    if sys.stderr.isatty() and total:
        text = TextColumn("{task.description}", markup=False)  # it can name a user, and a user's id can be anything
        columns = text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=stderr(), transient=True) as bar:
            task = bar.add_task(description, total=total)

            def move(count: int, doing: str = "") -> None:
                bar.update(task, advance=count, description=f"{description} {printable(doing)}" if doing else None)

            yield move
        return
    started = last = time.monotonic()
    done = 0

    def line(count: int, doing: str = "") -> None:
        nonlocal last, done
        done += count
        now = time.monotonic()
        if now - last >= LINE_EVERY_SECONDS and done:
            last = now
            left = (now - started) / done * (total - done)
            say(f"{description}: {done} of {total}, about {left:.0f} s left")

    yield line
