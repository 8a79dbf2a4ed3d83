"""Shared fixtures: real data and recorded answers, where they lie beside the checkout."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"


def _shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not beside this checkout (looked in ../shared/{name})")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real challenge data."""
    return _shared("data")


@pytest.fixture(scope="session")
def flickr_fixtures() -> Path:
    """The folder of recorded Flickr answers."""
    return _shared("flickr_fixtures")
