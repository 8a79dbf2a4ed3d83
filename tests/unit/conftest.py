"""Fixtures that several modules share."""

import pytest
from judgeable import judgeable

from flickcast.workspace import Workspace


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a trained small recipe; nobody changes its tables or models."""
    return judgeable(tmp_path_factory.mktemp("judgeable") / "workspace")
