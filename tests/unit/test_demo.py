"""The demo's folder: an earlier demo goes, whatever became of it; anything else stays."""

import shutil
from pathlib import Path

import pytest

from flickcast.demo import MARKER, _clear
from flickcast.errors import UserError


def filled(folder: Path) -> Path:
    (folder / "workspace").mkdir(parents=True)
    (folder / "workspace" / "params.yaml").touch()
    (folder / MARKER).touch()
    return folder


def test_an_earlier_demo_goes_and_the_folder_is_a_demo_from_the_start(tmp_path: Path) -> None:
    folder = filled(tmp_path / "demo")
    (folder / "link").symlink_to(tmp_path)
    _clear(folder)
    assert [path.name for path in folder.iterdir()] == [MARKER]


def test_a_removal_killed_anywhere_can_be_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The marker could go first, and the next demo then refused its own folder."""

    def killed(path: Path, **options: object) -> None:
        (Path(path) / MARKER).unlink(missing_ok=True)
        raise KeyboardInterrupt

    folder = filled(tmp_path / "demo")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            _clear(folder)
    _clear(folder)
    assert [path.name for path in folder.iterdir()] == [MARKER]


def test_a_folder_that_is_no_demo_stays(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="no demo"):
        _clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
