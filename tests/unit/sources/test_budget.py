"""The budget of calls: by itself with the test's own clock, and by real processes against a service that counts."""

import bisect
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flickcast.errors import FlickcastError, TryAgainError
from flickcast.sources import budget as module
from flickcast.sources.budget import HOUR, Budget, Clock

LAG = 60.0


class OwnClock(Clock):
    """Stands still unless told otherwise."""

    def __init__(self, now: float = 1e6) -> None:
        super().__init__()
        self.time = now

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def budget(folder: Path, clock: Clock, *, per_second: float = 1.0, per_hour: int | None = None) -> Budget:
    return Budget("key@host", folder=folder, per_second=per_second, per_hour=per_hour, clock=clock, lag_seconds=LAG)


def passed(one: Budget, count: int) -> list[float]:
    """When so many attempts in a row were let pass."""
    times = []
    for _ in range(count):
        one.wait()
        times.append(one.clock.now())
    return times


def most_in(seconds: float, times: list[float]) -> int:
    """The most of these moments that lie in any window of that length, both ends included."""
    return max(bisect.bisect_right(times, start + seconds) - place for place, start in enumerate(times))


def test_attempts_are_evenly_spaced_from_the_first_on(tmp_path: Path) -> None:
    times = passed(budget(tmp_path, OwnClock(), per_second=0.8), 5)
    assert [after - before for before, after in pairwise(times)] == pytest.approx([1.25] * 4)


def test_an_hour_and_the_longest_way_to_the_service_hold_no_more_than_allowed(tmp_path: Path) -> None:
    times = passed(budget(tmp_path, OwnClock(), per_second=1, per_hour=10), 25)
    assert most_in(HOUR + LAG - 0.001, times) == 10
    assert times[10] - times[0] == pytest.approx(HOUR + LAG)
    assert times[20] - times[0] == pytest.approx(2 * (HOUR + LAG))


def test_what_waited_long_does_not_come_in_a_burst(tmp_path: Path) -> None:
    clock = OwnClock()
    one = budget(tmp_path, clock)
    one.wait()
    clock.time += 1000
    assert [after - before for before, after in pairwise(passed(one, 3))] == pytest.approx([1.0, 1.0])


@given(steps=st.lists(st.tuples(st.integers(0, 2), st.floats(0, 2000)), min_size=1, max_size=40))
def test_any_mix_of_runs_keeps_within_the_hour(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, float]]
) -> None:
    folder, clock = tmp_path_factory.mktemp("state"), OwnClock()
    runs = [budget(folder, clock, per_second=0.1, per_hour=5) for _ in range(3)]
    times = []
    for run, pause in steps:
        clock.time += pause
        times += passed(runs[run], 1)
    assert most_in(HOUR + LAG - 0.001, times) <= 5
    assert all(after - before >= 9.999 for before, after in pairwise(times))


def test_a_machine_that_starts_again_counts_the_calls_before_as_made_now(tmp_path: Path) -> None:
    """The clock begins anew with the machine; the same goes for a virtual one that is put back."""
    passed(budget(tmp_path, OwnClock(5000), per_hour=10), 10)
    clock = OwnClock(20)
    assert passed(budget(tmp_path, clock, per_hour=10), 1)[0] == pytest.approx(20 + HOUR + LAG)


def test_a_clock_far_ahead_blocks_no_longer_than_an_hour(tmp_path: Path) -> None:
    passed(budget(tmp_path, OwnClock(1e9), per_hour=10), 10)
    clock = OwnClock(1000)
    assert passed(budget(tmp_path, clock, per_hour=10), 1)[0] <= 1000 + HOUR + LAG


def test_the_date_of_the_machine_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> float:
        raise AssertionError("the date was read")

    monkeypatch.setattr(time, "time", refuse)
    monkeypatch.setattr(module, "datetime", refuse)  # of the message only, and nothing is said here
    started = Clock().now()
    times = passed(budget(tmp_path, Clock(), per_second=1000, per_hour=10), 3)
    assert len(times) == 3
    assert started < times[0] < times[1] < times[2] <= Clock().now()


def test_a_clock_that_runs_fast_divides_every_wait(tmp_path: Path) -> None:
    started = time.monotonic()
    passed(budget(tmp_path, Clock(speed=100), per_second=0.1), 4)
    assert 0.3 <= time.monotonic() - started < 3


def test_waiting_for_the_hour_is_said_once_with_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = budget(tmp_path, OwnClock(), per_hour=3)
    passed(one, 3)
    assert capsys.readouterr().err == ""
    one.wait()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("The hour's 3 calls of this key are spent; going on at ")
    assert line.endswith(" UTC.")


def test_owners_have_budgets_of_their_own_and_are_not_named(tmp_path: Path) -> None:
    folder, clock = tmp_path / "new" / "flickcast", OwnClock()
    for owner in ("secret-key@a", "secret-key@b"):
        Budget(owner, folder=folder, per_second=1, clock=clock).wait()
    assert clock.time == 1e6
    assert len(list(folder.iterdir())) == 2
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all("secret" not in path.name and b"secret" not in path.read_bytes() for path in folder.iterdir())


def state(folder: Path) -> Path:
    (path,) = folder.glob("calls-*.sqlite")
    return path


def overwrite(path: Path) -> None:
    path.write_bytes(b"\0 torn" * 1000)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE calls (something TEXT)")


@pytest.mark.parametrize("damage", [overwrite, cut, foreign])
def test_a_damaged_file_begins_anew_as_if_all_allowed_calls_had_been_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: object
) -> None:
    clock = OwnClock()
    before = passed(budget(tmp_path, clock, per_hour=10), 10)
    damage(state(tmp_path))  # type: ignore[operator]
    after = passed(budget(tmp_path, clock, per_hour=10), 11)
    assert most_in(HOUR + LAG - 0.001, before + after) <= 10
    assert after[0] - before[-1] <= HOUR + LAG
    assert "was damaged" in capsys.readouterr().err


def test_a_damaged_file_costs_nothing_where_the_spacing_alone_keeps_within_the_hour(tmp_path: Path) -> None:
    clock = OwnClock()
    (last,) = passed(budget(tmp_path, clock, per_second=0.8, per_hour=3600), 1)
    overwrite(state(tmp_path))
    (after,) = passed(budget(tmp_path, clock, per_second=0.8, per_hour=3600), 1)
    assert after - last == pytest.approx(1.25)


def test_a_file_held_by_another_process_says_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.1)
    one = budget(tmp_path, OwnClock())
    one.wait()
    holder = sqlite3.connect(state(tmp_path), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(TryAgainError, match="is held by another process"):
        one.wait()
    holder.close()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    one = budget(tmp_path, OwnClock())
    one.wait()
    path = state(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(FlickcastError, match=r"calls-.*sqlite, the count of calls, .*FLICKCAST_STATE_FOLDER"):
        one.wait()


# Real processes and a real service.


class Counting:
    """A service on loopback that answers every call and notes when it came."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        body = b'{"stat":"ok","photos":{}}'
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        received = b""
        with connection, suppress(OSError):  # a process was killed
            while piece := connection.recv(65_536):
                received += piece
                if received.endswith(b"api_key=canary&format=json&nojsoncallback=1"):
                    self.times.append(time.monotonic())
                    received = b""
                    connection.sendall(answer)


@contextmanager
def counting() -> Iterator[Counting]:
    service = Counting()
    yield service
    service.listener.close()


CALLING = """
import sys
from pathlib import Path
from pydantic import SecretStr
from flickcast.sources.budget import Budget, Clock
from flickcast.sources.flickr_client import FlickrClient
url, folder, speed, per_second, per_hour, lag = sys.argv[1:]
budget = Budget("one key", folder=Path(folder), per_second=float(per_second), per_hour=int(per_hour),
                clock=Clock(float(speed)), lag_seconds=float(lag))
client = FlickrClient(url, SecretStr("canary"), budget=budget)
print("ready", flush=True)
sys.stdin.readline()
while True:
    client.call("flickr.photos.search", "photos")
"""
SPEED = 900.0  # an hour is 4 seconds
LONG_LAG = 450.0  # half a second on this clock: a busy machine may take as long from the budget to the service
RUNS = 3


def calls_of_processes(
    service: Counting, folder: Path, seconds: float, per_second: float, per_hour: int, kill_after: float | None = None
) -> list[float]:
    """When the calls of all runs together came to the service, in seconds of the fast clock."""
    asked = [service.url, str(folder), *map(str, (SPEED, per_second, per_hour, LONG_LAG))]
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", CALLING, *asked],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(RUNS)
    ]
    try:
        for run in runs:
            assert run.stdout is not None
            assert run.stdout.readline() == "ready\n"
        for run in runs:  # all first starts at once
            assert run.stdin is not None
            run.stdin.write("\n")
            run.stdin.flush()
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(runs[0].pid, signal.SIGKILL)
        time.sleep(seconds - (kill_after or 0))
        assert [run.poll() for run in runs[1:]] == [None] * (RUNS - 1)
    finally:
        for run in runs:
            run.kill()
            run.communicate()
    return [moment * SPEED for moment in sorted(service.times)]


@pytest.mark.parametrize("kill_after", [None, 0.4])
def test_three_processes_together_keep_within_the_hour_and_use_it(tmp_path: Path, kill_after: float | None) -> None:
    with counting() as service:
        times = calls_of_processes(service, tmp_path, 10, per_second=0.05, per_hour=40, kill_after=kill_after)
    assert most_in(HOUR, times) <= 40
    assert len(times) >= 80  # 2.5 hours of the fast clock, 40 calls in each 4050 seconds from the first on
    assert most_in(HOUR, times) >= 38


def test_three_processes_together_keep_the_spacing_and_use_it(tmp_path: Path) -> None:
    with counting() as service:
        times = calls_of_processes(service, tmp_path, 5, per_second=0.005, per_hour=10_000)
    gap = 1 / 0.005
    # Between the budget and the service each call takes its own time; over many calls that does not matter.
    spans = [times[place + 10] - times[place] for place in range(len(times) - 10)]
    assert min(spans) >= 9 * gap
    assert times[-1] - times[0] <= 1.5 * gap * len(times)


def test_a_full_disk_says_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> float:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(Budget, "_charged", full)
    with pytest.raises(TryAgainError, match=r"No space left for .*; free some"):
        budget(tmp_path, OwnClock()).wait()


def test_a_million_calls_an_hour_begin_anew_in_seconds(tmp_path: Path) -> None:
    clock = OwnClock()
    one = budget(tmp_path, clock, per_second=1000, per_hour=1_000_000)
    one.wait()
    overwrite(state(tmp_path))
    started = time.monotonic()
    one._charge()
    assert time.monotonic() - started < 20
    assert [path.name for path in tmp_path.rglob("calls-*")] == [state(tmp_path).name]
