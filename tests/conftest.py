"""Shared fixtures: real data and recorded answers, where they lie beside the checkout."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from flickcast.workspace import Workspace, create_workspace

SHARED = Path(__file__).parents[2] / "shared"
SLOW_FIRST = ("flows", "promises")  # folders: a worker that gets a slow file last leaves the other one idle


def _shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not beside this checkout (looked in ../shared/{name})")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of the folders with the slowest tests come first; within a file the order stays."""

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        return SLOW_FIRST.index(folder) if folder in SLOW_FIRST else len(SLOW_FIRST)

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def _budgets_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test charges its calls to the user's own budgets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLICKCAST_STATE_FOLDER", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real challenge data."""
    return _shared("data")


@pytest.fixture(scope="session")
def flickr_fixtures() -> Path:
    """The folder of recorded Flickr answers."""
    return _shared("flickr_fixtures")


class Finished(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def flickcast(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finished]:
    """Run a `flickcast` command in this process, as its entry point does."""
    from flickcast import cli

    def run(*arguments: object) -> Finished:
        monkeypatch.setattr("sys.argv", ["flickcast", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capfd.readouterr()
        return Finished(int(stop.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace without git and DVC, with the small packaged encoder."""
    root = tmp_path / "workspace"
    create_workspace(root, {"embed.encoder": "flickcast-tiny"})
    return Workspace(root)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many inputs went through each encoder of open_clip; the canaries are five of them."""
    from embeddable import count_encoded

    return count_encoded(monkeypatch)
