"""Nights of ingest against the simulated service with all limits off, for benchmarks/ingest.py.

The service, the ingest and what it is compared with are processes of their own: none pays for another. The requests to
compare with are those of the night itself, read from its journal, of which a second link is kept.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
from stages import Timing, timed

from flickcast.demo import move_service_clock
from flickcast.sources.flickr_stretches import DAY
from flickcast.sources.journal import Journal
from flickcast.workspace import Workspace, create_workspace, night_bounds

START = date(2026, 2, 10)  # the first night: 40 days after the first of `flickcast simulate serve`
SEARCH = "flickr.photos.search"
PURPOSES = {"new": 0, "re-query": 2, "age 7": 7, "age 30": 30}  # how many days before the night a search begins
LENGTHS = {"re-query": 2 * DAY}
VALUES = {
    "ingest.source": "flickr",
    "ingest.calls_per_second": "1000",
    "ingest.calls_per_night": "10000000",
    "ingest.pictures_per_second": "1000",
}
CLOCK_SPEED = "1000000"  # the budget's waits become nothing; what it costs to keep count stays
START_SECONDS = 60.0
FLICKCAST = str(Path(sys.executable).with_name("flickcast"))
# Asks for the same again: with httpx and json, as anyone would; or as barely as can be, which is the service's time.
REPLAYS = {
    "httpx and json": """
import httpx, json, sys
with httpx.Client() as client:
    for url, form in map(json.loads, open(sys.argv[1], encoding="utf-8")):
        if form:
            json.loads(client.post(url, data=form).content)
        else:
            client.get(url).content
""",
    "service alone": """
import http.client, json, sys, urllib.parse
connection = None
headers = {"Content-Type": "application/x-www-form-urlencoded"}
for url, form in map(json.loads, open(sys.argv[1], encoding="utf-8")):
    url = urllib.parse.urlsplit(url)
    connection = connection or http.client.HTTPConnection(url.netloc)
    if form:
        connection.request("POST", url.path, urllib.parse.urlencode(form), headers)
    else:
        connection.request("GET", url.path)
    connection.getresponse().read()
""",
}


@dataclass(frozen=True)
class World:
    """A simulated service to ask: how large its world is."""

    posts_per_day: int
    users: int


@contextmanager
def served(world: World) -> Iterator[str]:
    """The service in a process of its own; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [FLICKCAST, "simulate", "serve", "--users", str(world.users), "--posts-per-day", str(world.posts_per_day)]
    with subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.DEVNULL) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(address)
            yield address
        finally:
            process.terminate()


def _wait_for(address: str) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            httpx.get(f"{address}/simulation/ledger").raise_for_status()
            return
        except httpx.TransportError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


@dataclass(frozen=True)
class Night:
    """One night: how long it took, what it reported, and what it asked for: calls (method, arguments) and pictures."""

    date: date
    timing: Timing
    facts: dict[str, Any]
    asked: list[tuple[str, dict[str, Any]]]
    pictures: list[str]

    def searches(self) -> Counter[str]:
        """Searches by what they are for; one that is for several things counts for each by its share of the time.

        The counts at an age of a day come with the re-query.
        """
        starts = {name: int(night_bounds(self.date)[0].timestamp()) - days * DAY for name, days in PURPOSES.items()}
        shares: Counter[str] = Counter()
        for method, one in self.asked:
            if method == SEARCH:
                first, end = one["min_upload_date"], one["max_upload_date"] + 1
                for name, start in starts.items():
                    common = min(end, start + LENGTHS.get(name, DAY)) - max(first, start)
                    shares[name] += max(common, 0) / (end - first)
        return shares

    def calls(self, *methods: str) -> int:
        """How many calls of these methods; of all without any."""
        return sum(not methods or method in methods for method, _ in self.asked)


class Nights:
    """A workspace beside a running service."""

    def __init__(self, root: Path, address: str, **values: str) -> None:
        self.root = root
        self._address = address
        create_workspace(root, {**VALUES, **{f"ingest.{name}": value for name, value in values.items()}})
        self._environment = {
            "FLICKCAST_FLICKR_URL": f"{address}/services/rest/",
            "FLICKCAST_FLICKR_KEY": "bench",
            "FLICKCAST_STATE_FOLDER": str(root / "state"),
            "FLICKCAST_CLOCK_SPEED": CLOCK_SPEED,
        }

    def night(self, number: int) -> Night:
        """One night, counted from 0, by the real command."""
        night = START + timedelta(days=number)
        move_service_clock(self._address, night)
        ws = Workspace(self.root)
        ws.set_night(night)
        journal, link = ws.state_folder / "ingest" / f"{night}.journal", self.root / "journal"
        journal.parent.mkdir(exist_ok=True)
        journal.touch()
        link.unlink(missing_ok=True)
        os.link(journal, link)  # the night takes its own name of the file away
        timing = timed("ingest", 0, ["env", *self._assignments(), FLICKCAST, "ingest", "-w", str(self.root)])
        report = json.loads((ws.state_folder / "reports" / "ingest.json").read_text(encoding="utf-8"))
        names = _names(link)
        calls = [json.loads(name.rpartition(" #")[0])[1:] for name in names if name.startswith("[")]
        pictures = [name for name in names if not name.startswith("[")]
        return Night(night, timing, report["facts"], [(method, arguments) for method, arguments in calls], pictures)

    def _assignments(self) -> list[str]:
        return [f"{name}={value}" for name, value in self._environment.items()]

    def replay(self, kind: str, night: Night) -> float:
        """Seconds to ask for the same as a night, and to do nothing with it."""
        path = self.root / "requests"
        url = self._environment["FLICKCAST_FLICKR_URL"]
        fixed = {"api_key": "bench", "format": "json", "nojsoncallback": "1"}
        requests = [(url, {"method": method, **fixed, **arguments}) for method, arguments in night.asked]
        requests += [(picture, {}) for picture in night.pictures]
        path.write_text("".join(json.dumps(one) + "\n" for one in requests), encoding="utf-8")
        return timed(kind, 0, [sys.executable, "-c", REPLAYS[kind], str(path)]).seconds


def _names(path: Path) -> list[str]:
    journal = Journal(path)
    try:
        return journal.names()
    finally:
        journal.close()
