"""A small world, shared by the tests that only look at it."""

from datetime import date

import polars as pl
import pytest

from flickcast.simulate.world import World, WorldParams


@pytest.fixture(scope="session")
def world() -> World:
    return World(WorldParams(seed=7, users=120, posts_per_day=80.0, start=date(2016, 1, 1), picture_size=16))


@pytest.fixture(scope="session")
def big_world() -> World:
    return World(WorldParams(seed=1, users=2000, posts_per_day=200.0))


@pytest.fixture(scope="session")
def big_posts(big_world: World) -> pl.DataFrame:
    """About 20,000 posts of a hundred days."""
    return pl.concat([big_world.numbers(day) for day in range(100)])
