"""A picture that was broken or missing is asked for again with its folder, and no stored one is read again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from challenge_files import image_posts, jpeg, write_image_split

from flickcast.records import named_in
from flickcast.workspace import Workspace, create_workspace

Run = Callable[..., Any]
BROKEN, MISSING = Path("train/11@N01/1.jpg"), Path("train/12@N02/2.jpg")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Five posts; the first one's picture is cut off, the second one's is not there."""
    folder = write_image_split(tmp_path / "corpus", image_posts(), pictures=True)
    (folder / BROKEN).write_bytes(jpeg()[:200])
    (folder / MISSING).unlink()
    return folder


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    create_workspace(tmp_path / "workspace")
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def import_again(flickcast: Run, corpus: Path, ws: Workspace) -> Callable[[], dict[str, Any]]:
    def run() -> dict[str, Any]:
        done = flickcast("import", "smpd-image", corpus, "-w", ws.root, "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    run()
    return run


def with_picture(ws: Workspace) -> list[str]:
    return sorted(ws.keys("images")["post_id"])


def quarantined(ws: Workspace) -> list[str | None]:
    return sorted(named_in(record).post_id or "" for record in ws.read("quarantine/ingest", ("record",))["record"])


def stored_files(ws: Workspace) -> dict[Path, bytes]:
    folders = (ws.root / "data", ws.root / "manifests")
    return {path: path.read_bytes() for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()}


def test_repaired_and_added_pictures_come_in_and_leave_the_quarantine(
    import_again: Run, corpus: Path, ws: Workspace
) -> None:
    assert (with_picture(ws), quarantined(ws)) == (["3", "4", "5"], ["1", "2"])
    (corpus / BROKEN).write_bytes(jpeg(1))
    assert (import_again()["pictures"], with_picture(ws), quarantined(ws)) == (1, ["1", "3", "4", "5"], ["2"])
    (corpus / MISSING).write_bytes(jpeg(2))
    assert (import_again()["pictures"], with_picture(ws), quarantined(ws)) == (1, ["1", "2", "3", "4", "5"], [])
    pictures = dict(ws.read("images", ("post_id", "bytes")).iter_rows())
    assert (pictures["1"], pictures["2"]) == (jpeg(1), jpeg(2))
    assert ws.read("posts").height == 5


def test_a_folder_that_did_not_change_changes_nothing(import_again: Run, ws: Workspace) -> None:
    before = stored_files(ws)
    import_again()
    assert stored_files(ws) == before


def test_stored_pictures_are_not_read_again(import_again: Run, corpus: Path, ws: Workspace) -> None:
    for number in (3, 4, 5):
        (corpus / f"train/{10 + number % 3}@N0{number % 3}/{number}.jpg").write_bytes(b"would be quarantined if read")
    (corpus / BROKEN).write_bytes(jpeg(1))
    import_again()
    assert (with_picture(ws), quarantined(ws)) == (["1", "3", "4", "5"], ["2"])


def test_the_posts_own_records_stay_in_quarantine(flickcast: Run, tmp_path: Path, ws: Workspace) -> None:
    posts = image_posts()
    posts[2]["Postdate"] = "2013"
    folder = write_image_split(tmp_path / "other", posts, pictures=True)
    (folder / BROKEN).write_bytes(b"")
    for _ in range(2):
        assert flickcast("import", "smpd-image", folder, "-w", ws.root).code == 0
        (folder / BROKEN).write_bytes(jpeg(1))
    assert (with_picture(ws), quarantined(ws)) == (["1", "2", "4", "5"], ["3"])
