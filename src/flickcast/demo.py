"""`flickcast demo`: three nights of the whole system on the simulated service, offline, in a folder of its own."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flickcast.console import progress, say
from flickcast.errors import UserError
from flickcast.workspace import Workspace, create_workspace, night_bounds

if TYPE_CHECKING:
    from flickcast.simulate.world import World

MARKER = ".flickcast-demo"


@dataclass(frozen=True)
class DemoSize:
    """How big the demo's world is."""

    users: int = 300
    posts_per_day: float = 60.0
    history_days: int = 50
    nights: int = 3
    start: date = date(2026, 1, 1)

    @property
    def first_night(self) -> date:
        """The first night; everything before it comes as a corpus in the challenge's format."""
        return self.start + timedelta(days=self.history_days)


# What the demo's workspace has otherwise than params.yaml.
VALUES = {
    "ingest.source": "flickr",
    "ingest.calls_per_second": "1000",  # our own service has no hourly limit
    "ingest.oracle": "true",
    "embed.encoder": "flickcast-tiny",
}


def run_demo(folder: Path, size: DemoSize) -> list[dict[str, Any]]:
    """Make the folder anew, run the nights, and return one summary per night."""
    _clear(folder)
    from flickcast.history import initialise
    from flickcast.simulate.world import World, WorldParams

    world = World(WorldParams(seed=0, users=size.users, posts_per_day=size.posts_per_day, start=size.start))
    root = folder / "workspace"
    create_workspace(root, VALUES)
    initialise(root)
    ws = Workspace(root)
    _import_history(ws, world, folder / "corpus", size)
    return _nights(ws, world, size)


def _import_history(ws: Workspace, world: "World", folder: Path, size: DemoSize) -> None:
    """The time before the first night, by way of files in the challenge's own format."""
    from flickcast.simulate.corpus import write_corpus
    from flickcast.stages import import_batch, read_source

    last = size.first_night - timedelta(days=1)
    labelled_until = size.first_night - timedelta(days=ws.params.label.maturity_days)
    with progress("simulated history", size.history_days) as advance:
        write_corpus(world, folder, size.start, last, _clock(last), test_from=labelled_until, advance=advance)
    facts = import_batch(ws, read_source("smpd-image", folder)).facts
    say(f"history: {facts['stored']} posts of {size.history_days} days imported, {facts['pictures']} pictures")


def _nights(ws: Workspace, world: "World", size: DemoSize) -> list[dict[str, Any]]:
    import httpx

    from flickcast.simulate.service import serving
    from flows.local import run_nights

    dates = [size.first_night + timedelta(days=number) for number in range(size.nights)]
    with serving(world, _clock(dates[0])) as address, _environment(f"{address}/services/rest/"):

        def move_clock(night: date) -> None:
            httpx.post(f"{address}/simulation/clock", json={"now": _clock(night).isoformat()}).raise_for_status()

        return run_nights(ws.root, dates, before=move_clock)


def _clock(night: date) -> datetime:
    """The nightly run starts half an hour after the day it is about."""
    return night_bounds(night)[1] + timedelta(minutes=30)


@contextmanager
def _environment(url: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ |= {"FLICKCAST_FLICKR_URL": url, "FLICKCAST_FLICKR_KEY": "demo"}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _clear(folder: Path) -> None:
    """Remove an earlier demo; a folder that is not one is left alone."""
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise UserError(f"{folder} holds something that is no demo. Name another folder with --folder.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()
