"""The few ways flickcast stops: one clear sentence each, and an exit code that a caller can react to."""

import errno
from collections.abc import Iterable
from difflib import get_close_matches


class FlickcastError(Exception):
    """Base of all errors we raise on purpose; its text is shown to the user as it is."""

    exit_code = 1


class CheckError(FlickcastError):
    """A check or a gate said no (exit code 1)."""


class UserError(FlickcastError):
    """The user's mistake: a wrong file, name or value (exit code 2)."""

    exit_code = 2


class LeftOutError(UserError):
    """A learner cannot take part here: its input or its environment is not there. The others go on without it."""


class TryAgainError(FlickcastError):
    """A service is down, a lock is held, a budget is spent; nothing is lost (exit code 75)."""

    exit_code = 75


def of_system(error: OSError) -> FlickcastError:
    """What the operating system refused, in one sentence; a full disk is a case for trying again."""
    sentence = f"{error.strerror}: {error.filename}" if error.filename else f"{error.strerror}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return TryAgainError(f"{sentence}; free some and run the same command again.")
    return FlickcastError(f"{sentence}. Put that right and run the same command again.")


def is_text(text: str) -> bool:
    """Whether a name or value from the system is text in UTF-8; Python lets other bytes through as half characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint naming the closest known name, or all of them; empty if there are none.

    >>> nearest("sed", ["seed", "label"])
    "did you mean 'seed'?"
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known names: {', '.join(names)}" if names else ""
