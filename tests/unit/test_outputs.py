"""A workspace made before a stage wrote a table: its dvc.yaml learns of it, and git does not see the data."""

import subprocess
from pathlib import Path

import pytest
import yaml

from flickcast.graph import run_stage
from flickcast.history import initialise, publish
from flickcast.outputs import list_new_outputs
from flickcast.workspace import Workspace, create_workspace

NEW = "      - data/captions: {persist: true}\n"


def older(root: Path, *gone: str) -> str:
    """Take lines out of a workspace's dvc.yaml; how it was before."""
    whole = (root / "dvc.yaml").read_text()
    text = whole
    for line in gone:
        assert line in text
        text = text.replace(line, "")
    (root / "dvc.yaml").write_text(text)
    return whole


def graph(root: Path) -> dict[str, dict[str, list[object]]]:
    return dict(yaml.safe_load((root / "dvc.yaml").read_text())["stages"])


def test_a_new_workspace_lists_all_there_is(tmp_path: Path) -> None:
    create_workspace(tmp_path)
    before = (tmp_path / "dvc.yaml").read_bytes()
    list_new_outputs(tmp_path)
    assert (tmp_path / "dvc.yaml").read_bytes() == before


def test_what_an_older_dvc_yaml_lacks_is_added_and_its_comments_stay(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    create_workspace(tmp_path)
    whole = older(tmp_path, NEW, "      - data/dropped_images: {persist: true}\n")
    list_new_outputs(tmp_path)
    text = (tmp_path / "dvc.yaml").read_text()
    assert sorted(text.splitlines()) == sorted(whole.splitlines())
    assert {"data/captions": {"persist": True}} in graph(tmp_path)["embed"]["outs"]
    assert capfd.readouterr().err.endswith("Added: data/dropped_images, data/captions.\n")


def test_outs_without_any_are_filled(tmp_path: Path) -> None:
    """`outs:` with nothing behind it ended the night."""
    create_workspace(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages:\n  embed:\n    cmd: flickcast embed\n    outs:\n")
    list_new_outputs(tmp_path)
    assert {"data/captions": {"persist": True}} in graph(tmp_path)["embed"]["outs"]


@pytest.mark.parametrize(
    "own",
    [
        "stages:\n  embed: {cmd: my own embed, outs: [data/embeddings]}\n",
        "stages:\n  embed: {cmd: flickcast embed, outs: [data, encoders, manifests]}\n",
        "stages:\n  embed: {cmd: flickcast embed, outs: [data/captions/mine, data/embeddings, data/quarantine, "
        "encoders/fitted, manifests/embed.json]}\n",
        "stages: [",
        "stages: 3\n",
        "",
    ],
)
def test_what_is_the_users_own_is_left_as_it_is(tmp_path: Path, own: str) -> None:
    create_workspace(tmp_path)
    (tmp_path / "dvc.yaml").write_text(own)
    list_new_outputs(tmp_path)
    assert (tmp_path / "dvc.yaml").read_text() == own


def test_a_table_that_is_new_is_pushed_and_not_seen_by_git(workspace: Workspace) -> None:
    """`git status` showed `?? data/captions/`, and what lay there was in no version."""
    root = workspace.root
    older(root, NEW)
    initialise(root)
    for stage in ("ingest", "embed"):
        run_stage(root, stage, show=lambda line: None)
    publish(root, "A night")
    status = subprocess.run(["git", "status", "--short"], cwd=root, check=True, capture_output=True, text=True)
    assert (root / "data" / "captions").is_dir()
    assert status.stdout == ""
