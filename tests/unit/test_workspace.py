"""A workspace: how it comes to be, and who may write in it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flickcast.errors import TryAgainError, UserError
from flickcast.workspace import Workspace, create_workspace, set_params, template_root


def test_making_a_workspace_again_keeps_what_the_user_changed(tmp_path: Path) -> None:
    create_workspace(tmp_path)
    for name in ("params.yaml", "dvc.yaml", "recipes/champion.yaml"):
        (tmp_path / name).write_text("# mine\n")
    create_workspace(tmp_path)
    assert [path.read_text() for path in (tmp_path / "params.yaml", tmp_path / "recipes" / "champion.yaml")] == [
        "# mine\n"
    ] * 2


def test_the_checkout_itself_can_be_made_a_workspace() -> None:
    before = (template_root() / "params.yaml").read_bytes()
    create_workspace(template_root())
    assert (template_root() / "params.yaml").read_bytes() == before


def test_a_value_is_set_and_the_comments_stay(tmp_path: Path) -> None:
    create_workspace(tmp_path, {"embed.encoder": "flickcast-tiny", "features.groups": "[words]"})
    ws = Workspace(tmp_path)
    assert (ws.params.embed.encoder, ws.params.features.groups) == ("flickcast-tiny", ("words",))
    assert "# log2(views + 1)" in (tmp_path / "params.yaml").read_text()


def test_setting_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    create_workspace(tmp_path)
    with pytest.raises(UserError, match=r"no key 'embed.encodr'; did you mean 'encoder'\?"):
        set_params(tmp_path / "params.yaml", {"embed.encodr": "x"})


def test_a_second_writer_is_told_who_holds_the_workspace(tmp_path: Path) -> None:
    create_workspace(tmp_path)
    first, second = Workspace(tmp_path), Workspace(tmp_path)
    second_lock = second.lock("flickcast embed", wait_seconds=0.1)
    with first.lock("flickcast train"), pytest.raises(TryAgainError, match="flickcast train, process"), second_lock:
        pass
    with second.lock("flickcast embed", wait_seconds=0.1):
        pass


def test_who_waits_for_the_workspace_is_told_at_once_for_whom(tmp_path: Path) -> None:
    """A command stood there for ten minutes without a word."""
    create_workspace(tmp_path)
    command = [Path(sys.executable).with_name("flickcast"), "labels", "--workspace", tmp_path]
    with Workspace(tmp_path).lock("flickcast train"):
        waiting = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert waiting.stderr
        told = waiting.stderr.readline()  # while the workspace is held
    waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert re.fullmatch(
        rf"{re.escape(str(tmp_path))} is in use by flickcast train, process {os.getpid()}, since [-0-9]+ [:0-9]+ UTC\. "
        r"Waiting for it, up to 600 s\.\n",
        told,
    )


def test_a_free_workspace_is_taken_without_a_word(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    create_workspace(tmp_path)
    for _ in range(2):
        with Workspace(tmp_path).lock("flickcast embed"):
            pass
    assert capfd.readouterr().err == ""
