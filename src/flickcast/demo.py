"""`flickcast demo`: three nights of the whole system on the simulated service, offline, in a folder of its own."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from flickcast.console import say, track
from flickcast.errors import UserError
from flickcast.workspace import Workspace, create_workspace, night_bounds

MARKER = ".flickcast-demo"


@dataclass(frozen=True)
class DemoSize:
    """How big the demo's world is."""

    users: int = 300
    posts_per_day: float = 60.0
    history_days: int = 32
    nights: int = 3
    start: date = date(2026, 1, 1)

    def day(self, number: int) -> date:
        """A day of the world, counted from 0."""
        return self.start + timedelta(days=number)


# What the demo's workspace has otherwise than params.yaml.
VALUES = {
    "ingest.source": "flickr",
    "ingest.calls_per_second": "1000",  # our own service has no limits
    "ingest.calls_per_hour": "1000000",
    "ingest.pictures_per_second": "1000",
    "ingest.oracle": "true",
    "embed.encoder": "flickcast-tiny",
}


def run_demo(folder: Path, size: DemoSize) -> list[dict[str, Any]]:
    """Make the folder anew, run the nights, and return one summary per night."""
    _clear(folder)
    from flickcast.history import initialise
    from flickcast.simulate.service import serving
    from flickcast.simulate.world import World, WorldParams
    from flows.local import run_nights

    root = folder / "workspace"
    create_workspace(root, VALUES)
    initialise(root)
    ws = Workspace(root)
    world = World(WorldParams(seed=0, users=size.users, posts_per_day=size.posts_per_day, start=size.start))
    with serving(world, night_clock(size.start)) as address, service_environment(f"{address}/services/rest/", folder):
        move_clock = partial(move_service_clock, address)
        live_through_history(ws, size, move_clock)
        return run_nights(ws.root, [size.day(size.history_days + n) for n in range(size.nights)], before=move_clock)


def live_through_history(ws: Workspace, size: DemoSize, move_clock: Callable[[date], None]) -> None:
    """The time before the first night: each day is ingested as it would have been then, and nothing else is done."""
    from flickcast.stages import ingest

    for number in track(range(size.history_days), "history", size.history_days):
        move_clock(size.day(number))
        ws.set_night(size.day(number))
        ingest(ws)
    posts, pictures = ws.keys("posts").height, ws.keys("images").height
    say(f"history: {posts} posts with {pictures} pictures of {size.history_days} days ingested")


def move_service_clock(address: str, night: date) -> None:
    """Let the simulated service stand at the moment of a night."""
    import httpx

    httpx.post(f"{address}/simulation/clock", json={"now": night_clock(night).isoformat()}).raise_for_status()


def night_clock(night: date) -> datetime:
    """The nightly run starts half an hour after the day it is about."""
    return night_bounds(night)[1] + timedelta(minutes=30)


@contextmanager
def service_environment(url: str, folder: Path) -> Iterator[None]:
    """For as long as the block runs, the Flickr API is the one at this address, for the stages' processes too.

    The count of calls to it is kept in the folder: nothing of it is left elsewhere.
    """
    before = dict(os.environ)
    state = folder.resolve() / "state"
    os.environ |= {"FLICKCAST_FLICKR_URL": url, "FLICKCAST_FLICKR_KEY": "demo", "FLICKCAST_STATE_FOLDER": str(state)}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _clear(folder: Path) -> None:
    """Remove an earlier demo, all but the marker that lets a killed removal go on; what is no demo is left alone."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file. Name a folder with --folder.")
    folder.mkdir(parents=True, exist_ok=True)
    found = set(folder.iterdir())
    if found and folder / MARKER not in found:
        raise UserError(f"{folder} holds something that is no demo. Name another folder with --folder.")
    (folder / MARKER).touch()
    for path in found - {folder / MARKER}:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
