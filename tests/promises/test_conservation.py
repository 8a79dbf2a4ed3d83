"""Promises 1 and 2: every post the service offered is stored once or quarantined, and a night again changes nothing."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from flickcast import demo, stages
from flickcast.simulate.service import serving
from flickcast.simulate.world import World, WorldParams
from flickcast.workspace import Workspace, create_workspace

SIZE = demo.DemoSize(users=80, posts_per_day=25, history_days=10)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, str]]:
    """A workspace after ten nights of ingest, and the address of the service it asked."""
    root = tmp_path_factory.mktemp("conservation")
    create_workspace(root, demo.VALUES)
    ws = Workspace(root)
    world = World(WorldParams(seed=6, users=SIZE.users, posts_per_day=SIZE.posts_per_day, start=SIZE.start))
    with (
        serving(world, demo.night_clock(SIZE.start)) as address,
        demo.service_environment(f"{address}/services/rest/", root.parent),
    ):
        demo.live_through_history(ws, SIZE, partial(demo.move_service_clock, address))
        yield ws, address


def test_every_post_the_service_offered_is_stored_once_or_quarantined(lived: tuple[Workspace, str]) -> None:
    ws, address = lived
    offered = httpx.get(f"{address}/simulation/ledger").json()["posts_offered"]
    stored = ws.read("posts")["post_id"].to_list()
    assert len(stored) == len(set(stored)) > 100
    assert len(offered) == len(stored) + ws.read("quarantine/ingest").height
    assert set(stored) <= set(offered)


def test_the_counts_of_every_night_add_up(lived: tuple[Workspace, str]) -> None:
    nights = lived[0].manifest("ingest").batches
    assert len(nights) == SIZE.history_days
    for name, facts in nights.items():
        assert facts["found"] == facts["stored"] + facts["known"] + facts["quarantined"], name
    assert sum(facts["stored"] for facts in nights.values()) == lived[0].read("posts").height


def test_a_night_again_asks_nothing_and_changes_nothing(lived: tuple[Workspace, str]) -> None:
    ws, address = lived

    def state() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in sorted(ws.root.rglob("*")) if path.is_file()}

    def calls() -> object:
        return httpx.get(f"{address}/simulation/ledger").json()["calls"]

    before, asked = state(), calls()
    assert stages.ingest(ws).notes == (f"The night of {ws.night} is already stored.",)
    assert (state(), calls()) == (before, asked)
