"""What is forgotten does not come back, though the service still has it and is asked for the same hours again."""

from functools import partial
from pathlib import Path

import httpx
import polars as pl

from flickcast import demo, stages
from flickcast.simulate.service import serving
from flickcast.simulate.world import World, WorldParams
from flickcast.stages.forgetting import forget
from flickcast.workspace import Workspace, create_workspace, night_bounds

SIZE = demo.DemoSize(users=20, posts_per_day=20, history_days=3)


def test_the_next_night_asks_for_the_same_hours_and_takes_in_nothing_of_a_forgotten_user(tmp_path: Path) -> None:
    create_workspace(tmp_path / "ws", demo.VALUES)
    ws = Workspace(tmp_path / "ws")
    world = World(WorldParams(seed=6, users=SIZE.users, posts_per_day=SIZE.posts_per_day, start=SIZE.start))
    with (
        serving(world, demo.night_clock(SIZE.start)) as address,
        demo.service_environment(f"{address}/services/rest/", tmp_path),
    ):
        move_clock = partial(demo.move_service_clock, address)
        demo.live_through_history(ws, SIZE, move_clock)
        last = night_bounds(SIZE.day(SIZE.history_days - 1))[0]
        fresh = ws.read("posts").filter(pl.col("posted_at") >= last).sort("post_id")
        user, post = fresh["user_id"][0], fresh.filter(pl.col("user_id") != fresh["user_id"][0])["post_id"][0]
        forget(ws, "user", {user}, demo.night_clock(SIZE.day(SIZE.history_days)))
        forget(ws, "post", {post}, demo.night_clock(SIZE.day(SIZE.history_days)))
        night = SIZE.day(SIZE.history_days)
        move_clock(night)
        ws.set_night(night)
        facts = stages.ingest(ws).facts
        offered = set(httpx.get(f"{address}/simulation/ledger").json()["posts_offered"])
    assert post in offered
    assert facts["forgotten"] >= 2, "the night's hours hold posts of the user and the post"
    assert user not in set(ws.read("posts")["user_id"]) | set(ws.read("users")["user_id"])
    buried = set(ws.read("tombstones").filter(pl.col("kind") == "post")["id"])
    for table in ("posts", "observations", "images", "oracle"):
        assert not buried & set(ws.read(table, ("post_id",))["post_id"]), table
    assert ws.read("posts").filter(pl.col("posted_at") >= night_bounds(night)[0]).height > 0, "the night took in others"
