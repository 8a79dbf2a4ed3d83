"""How many calls may go out: one budget for all processes of this machine that use the same key.

pyrate-limiter 4.5.1 was read for this. Its SQLite bucket keeps wall-clock times: a clock set ahead forgets calls, one
set back blocks for as long as the step was; and a damaged file stays damaged. Hence these lines on sqlite3 itself.
"""

import hashlib
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flickcast.console import say
from flickcast.errors import FlickcastError, TryAgainError
from flickcast.watchdog import progress

HOUR = 3600.0
SLICE_SECONDS = 30.0  # of a long sleep, so that the watchdog sees that it is meant
WORTH_SAYING_SECONDS = 60.0
LOCK_SECONDS = 10.0  # a charge takes about a millisecond
DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)  # the last: a foreign table


class Clock:
    """Seconds since this machine started, the same in all processes, whatever is done to the date.

    `speed` makes them pass faster, for rehearsals on the simulated service.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed

    def now(self) -> float:
        """Seconds since this machine started, times speed."""
        # CLOCK_MONOTONIC, where there is no other, stands still in a suspended machine: calls then only look younger.
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) * self.speed

    def sleep(self, seconds: float) -> None:
        """Let so many of these seconds pass; Ctrl-C ends it at once."""
        left = seconds / self.speed
        while left > 0:
            progress()
            time.sleep(min(left, SLICE_SECONDS))
            left -= SLICE_SECONDS


class Budget:
    """Lets one attempt pass at a time, evenly spaced, and only so many in any hour as the service sees it.

    An attempt reaches the service up to `lag_seconds` after it was let pass, so attempts are counted for that much
    longer than an hour. The state lies in the folder, under a name that tells nothing of the owner.
    """

    def __init__(
        self,
        owner: str,
        *,
        folder: Path,
        per_second: float,
        per_hour: int | None = None,
        clock: Clock | None = None,
        lag_seconds: float = 60.0,
    ) -> None:
        self.clock = clock or Clock()
        self._path = folder / f"calls-{hashlib.sha256(owner.encode()).hexdigest()[:16]}.sqlite"
        self._gap = 1.0 / per_second
        self._per_hour = per_hour
        self._window = HOUR + lag_seconds if per_hour else self._gap

    def wait(self) -> None:
        """Sleep until the next attempt may pass, and charge it."""
        said = False
        while (seconds := self._charge()) > 0:
            if seconds > max(WORTH_SAYING_SECONDS, self._gap) and not said:
                said = True
                until = datetime.now(UTC) + timedelta(seconds=seconds / self.clock.speed)
                say(f"The hour's {self._per_hour} calls of this key are spent; going on at {until:%H:%M} UTC.")
            self.clock.sleep(seconds)

    def _charge(self) -> float:
        """Charge an attempt and return 0, or return how long to wait before asking again."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return self._charged(self._path)
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if code in DAMAGED:
                self._begin_anew()
                return self._gap
            if code == sqlite3.SQLITE_FULL:
                raise TryAgainError(
                    f"No space left for {self._path}; free some and run the same command again."
                ) from None
            if code == sqlite3.SQLITE_BUSY:
                raise TryAgainError(f"{self._path} is held by another process; run the same command later.") from None
            raise FlickcastError(
                f"{self._path}, the count of calls, cannot be written ({error}). Put that right, or name another "
                "folder in FLICKCAST_STATE_FOLDER, the same one for all runs with this key."
            ) from None

    def _charged(self, path: Path) -> float:
        with closing(_opened(path)) as file, file:
            file.execute("BEGIN IMMEDIATE")
            file.execute("CREATE TABLE IF NOT EXISTS calls (at REAL NOT NULL) STRICT")
            file.execute("CREATE INDEX IF NOT EXISTS calls_at ON calls (at)")
            now = self.clock.now()
            # When the machine starts again this clock starts again: earlier calls then look younger than they are, or
            # still to come. These count as made now: never too few calls are counted, and none for longer than an hour.
            file.execute("UPDATE calls SET at = ? WHERE at > ?", (now, now))
            file.execute("DELETE FROM calls WHERE at < ?", (now - self._window,))
            due = self._due(file)
            if due > now:
                return due - now
            file.execute("INSERT INTO calls VALUES (?)", (now,))
            return 0.0

    def _due(self, file: sqlite3.Connection) -> float:
        """When the next attempt may pass."""
        (last,) = file.execute("SELECT max(at) FROM calls").fetchone()
        spaced = 0.0 if last is None else last + self._gap
        if self._per_hour is None:
            return float(spaced)
        newest = "SELECT at FROM calls ORDER BY at DESC LIMIT 1 OFFSET ?"
        oldest = file.execute(newest, (self._per_hour - 1,)).fetchone()
        return float(spaced if oldest is None else max(spaced, oldest[0] + self._window))

    def _begin_anew(self) -> None:
        """Replace a damaged file by one with the most calls there can have been: as many as the spacing allows."""
        say(f"{self._path} was damaged: the count of calls begins anew, as if all that were allowed had been made.")
        fresh = self._path.with_suffix(f".{time.time_ns()}")
        self._charged(fresh)
        with closing(_opened(fresh)) as file, file:
            file.execute("BEGIN IMMEDIATE")  # one transaction: there may be a million
            now = self.clock.now()
            most = min(self._per_hour or 1, int(self._window / self._gap) + 1)
            file.executemany("INSERT INTO calls VALUES (?)", [(now - self._gap * i,) for i in range(most)])
        Path(f"{self._path}-journal").unlink(missing_ok=True)  # it belongs to the damaged one
        fresh.replace(self._path)


def _opened(path: Path) -> sqlite3.Connection:
    file = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)
    # A kill loses nothing by this; a power cut may lose the last seconds' calls, and takes longer than these to mend.
    file.execute("PRAGMA synchronous = OFF")
    return file
