"""Promise 2, with real processes: kill -9 in each stage, run it again, and get the tables of an undisturbed night."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from flickcast import demo, graph
from flickcast.history import initialise
from flickcast.simulate.service import serving
from flickcast.simulate.world import World, WorldParams
from flickcast.workspace import Workspace, create_workspace

SIZE = demo.DemoSize(users=60, posts_per_day=15, history_days=20)
# Fractions of a stage's own time at which it is killed; the first lies in its start-up, the last in its work.
MOMENTS = (0.1, 0.5, 0.9)
RUN = (
    "import sys; from pathlib import Path; from flickcast import graph; graph.run_stage(Path(sys.argv[1]), sys.argv[2])"
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace after some days of history, the night before it; the service stays up for every copy of it."""
    root = tmp_path_factory.mktemp("killed") / "evening"
    create_workspace(root, demo.VALUES)
    initialise(root)
    ws = Workspace(root)
    world = World(WorldParams(seed=3, users=SIZE.users, posts_per_day=SIZE.posts_per_day, start=SIZE.start))
    with (
        serving(world, demo.night_clock(SIZE.start)) as address,
        demo.service_environment(f"{address}/services/rest/", root.parent),
    ):
        move_clock = partial(demo.move_service_clock, address)
        demo.live_through_history(ws, SIZE, move_clock)
        move_clock(SIZE.day(SIZE.history_days))
        ws.set_night(SIZE.day(SIZE.history_days))
        yield ws


def kill_in(root: Path, stage: str, seconds: float) -> bool:
    """Start a stage as a night does, kill the night's process that long after the stage got to work; did it hit?"""
    night = subprocess.Popen([sys.executable, "-c", RUN, str(root), stage], stderr=subprocess.DEVNULL)
    holder = root / ".flickcast" / "lock-holder"
    while night.poll() is None and not (holder.exists() and holder.read_text().startswith(f"flickcast {stage},")):
        time.sleep(0.02)
    time.sleep(seconds)
    hit = night.poll() is None
    night.kill()
    night.wait()
    return hit


def tables(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in ("data", "manifests", "models", "metrics", "plots")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


def test_a_night_killed_in_each_stage_ends_with_the_tables_of_an_undisturbed_one(
    evening: Workspace, tmp_path: Path
) -> None:
    clean, killed = (Path(shutil.copytree(evening.root, tmp_path / name)) for name in ("clean", "killed"))
    hits = []
    for number, stage in enumerate(graph.stage_names(clean)):
        started = time.monotonic()
        graph.run_stage(clean, stage)
        seconds = max(time.monotonic() - started - 2.0, 0.1)  # DVC and the interpreter's start take about 2 s
        if kill_in(killed, stage, seconds * MOMENTS[number % len(MOMENTS)]):
            hits.append(stage)
        graph.run_stage(killed, stage)
    assert len(hits) >= 7, f"too few kills hit their stage: {hits}"
    assert tables(killed) == tables(clean)
