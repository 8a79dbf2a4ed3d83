"""Promise S5: whatever ids, names and links come in, nothing is written outside the workspace and the state folder."""

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from challenge_files import image_post, write_image_split
from flickr_service import KEY, Service, photo, serving

from flickcast.errors import UserError
from flickcast.stages import ingest
from flickcast.workspace import Workspace, create_workspace
from tests.conftest import Finished

HOSTILE = (
    "../../planted",
    "../" * 30 + "tmp/planted",
    "..",
    ".",
    "/planted",
    "//planted/share",
    "~/planted",
    "$HOME/planted",
    "a\0b",
    "\0",
    "x" * 300,
    "x" * 70_000,
    "line\nbreak",
    "\x1b]0;title\x07",
    "\u202egpj.exe",
    "C:\\planted",
    "..\\..\\planted",
    "\\\\host\\share",
    "CON",
    "nul.parquet",
    "a:stream",
    "a.parquet/../../planted",
    "%2e%2e%2fplanted",
    "..%c0%af..%c0%afplanted",
    "｡｡/planted",
    "-rf",
    "*",
    " ",
    "",
)
LINKED = (".flickcast", ".flickcast/ingest", ".flickcast/logs", ".flickcast/reports", "data", "data/posts", "manifests")
LINKED_FILES = (
    ".flickcast/lock",
    ".flickcast/lock-holder",
    ".flickcast/last-error.json",
    ".flickcast/ingest/2026-03-09.journal",
    ".flickcast/logs/ingest-stuck.log",
)
OPTIONS = {
    "ingest.source": "flickr",
    "ingest.calls_per_second": "1000",
    "ingest.pictures_per_second": "1000",
    "ingest.following": "false",
    "embed.encoder": "flickcast-tiny",
}

Listing = dict[str, str]
Command = Callable[..., Finished]


def listing(folder: Path, *but: Path) -> Listing:
    """Everything below a folder, with what it holds; not what lies in the folders that are ours."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if not any(path.is_relative_to(one) for one in but):
            is_file = path.is_file() and not path.is_symlink()
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if is_file else str(path.lstat().st_mode)
    return found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that stands for the whole disk: home, working folder, temporary files and others' files are in it."""
    for name in ("home", "here", "temporary", "others/photos", "a/b/c"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "others/photos/holiday.parquet").write_bytes(b"of somebody")
    (tmp_path / "others/notes.txt").write_bytes(b"of somebody")
    monkeypatch.chdir(tmp_path / "here")
    for name, value in {
        "HOME": "home",
        "TMPDIR": "temporary",
        "XDG_STATE_HOME": "home/state",
        "FLICKCAST_STATE_FOLDER": "a/b/c/state",
    }.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.setenv("FLICKCAST_FLICKR_KEY", KEY)
    monkeypatch.setenv("FLICKCAST_CLOCK_SPEED", "1000")
    create_workspace(tmp_path / "a/b/c/workspace", OPTIONS)
    (tmp_path / "a/b/c/workspace/night.yaml").write_text("date: '2026-03-09'\n")
    return tmp_path


def ours(world: Path) -> tuple[Path, Path]:
    return world / "a/b/c/workspace", world / "a/b/c/state"


def hostile_photos() -> Iterator[dict[str, Any]]:
    """Each hostile text as the id of a post, as its user's, in each other field, and as the path of its picture."""
    for number, text in enumerate(HOSTILE):
        posted = 1_773_014_400 + 60 * number
        yield photo(1000 + number, posted, id=text)
        yield photo(2000 + number, posted, owner=text)
        yield photo(3000 + number, posted, title=text, tags=text, ownername=text, media=text, media_status=text)
        yield photo(4000 + number, posted, url_z=f"{{base}}/pictures/{text}")
        yield photo(5000 + number, posted, url_z=text)
        yield photo(6000 + number, posted, server=text, secret=text, farm=text, pathalias=text, originalformat=text)


def test_no_id_or_name_of_the_service_writes_outside(
    world: Path, flickcast: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, state = ours(world)
    photos = list(hostile_photos())
    before = listing(world, workspace, state)
    with serving(Service(photos=photos)) as service:
        monkeypatch.setenv("FLICKCAST_FLICKR_URL", f"{service.base}/services/rest/")
        done = flickcast("ingest", "--workspace", workspace)
    assert done.code == 0, done.err
    assert listing(world, workspace, state) == before
    ws = Workspace(workspace)
    facts = ws.manifest("ingest").batches["2026-03-09"]
    assert facts["stored"] > 3 * len(HOSTILE)
    assert facts["stored"] + facts["known"] + facts["quarantined"] == facts["found"]
    names = [path.name for path in workspace.rglob("*")]
    assert not [name for name in names if "planted" in name or not name.isascii() or len(name) > 60]


def test_no_name_in_an_imported_folder_writes_or_reads_outside(world: Path, flickcast: Command) -> None:
    workspace, state = ours(world)
    texts = [text for text in HOSTILE if text.strip() and "\n" not in text and "\0" not in text]
    posts = [image_post(n, path=f"train/{text}") for n, text in enumerate(texts, 1)]
    posts += [image_post(100 + n, Pid=text, path=f"train/x/{n}.jpg") for n, text in enumerate(texts)]
    posts += [image_post(200 + n, Uid=text, path=text) for n, text in enumerate(texts)]
    posts += [image_post(301, path="train/out/notes.txt"), image_post(302, path="train/10@N00/loop.jpg")]
    folder = write_image_split(world / "here/dataset", posts)
    (folder / "train/10@N00").mkdir(parents=True)
    (folder / "train/out").symlink_to(world / "others")
    (folder / "train/10@N00/loop.jpg").symlink_to(folder / "train/10@N00/loop.jpg")
    (folder / "train/x").symlink_to("/proc/self")
    before = listing(world, workspace, state)
    done = flickcast("import", "smpd-image", folder, "--workspace", workspace)
    assert done.code == 0, done.err
    assert listing(world, workspace, state) == before
    assert Workspace(workspace).read("images").is_empty()
    reasons = Workspace(workspace).read("quarantine/ingest")
    assert not reasons.filter(reasons["record"].bin.contains(b"of somebody")).height
    assert reasons["reason"].str.contains("post 301 is listed outside the dataset's folder").any()


@pytest.mark.parametrize(("outer", "code", "stored"), [("", 0, 3), ("../../../", 2, 0), ("/planted/", 0, 3)])
def test_no_member_of_an_archive_is_written_anywhere(
    world: Path, flickcast: Command, outer: str, code: int, stored: int
) -> None:
    workspace, state = ours(world)
    folder = write_image_split(world / "here/dataset", [image_post(n) for n in range(1, 4)], pictures=True)
    with zipfile.ZipFile(world / "here/dataset.zip", "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.writestr(f"{outer}{path.relative_to(folder)}", path.read_bytes())
        for name in ("../../planted", "/planted", "..\\..\\planted", "C:\\planted", "../../train/x/../../planted.jpg"):
            archive.writestr(name, "planted")
        link = zipfile.ZipInfo("train/10@N00/link.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    before = listing(world, workspace, state)
    done = flickcast("import", "smpd-image", world / "here/dataset.zip", "--workspace", workspace)
    assert listing(world, workspace, state) == before
    assert done.code == code, done.err
    assert Workspace(workspace).read("posts").height == stored


@pytest.mark.parametrize("name", LINKED)
def test_a_linked_folder_that_leads_outside_is_refused_and_what_is_there_stays(
    world: Path, flickcast: Command, name: str
) -> None:
    """Seen 2026-11-22: a stage removes files of a table's folder that no manifest lists; through a link, others'."""
    workspace, _ = ours(world)
    (workspace / name).parent.mkdir(exist_ok=True)
    (workspace / name).symlink_to(world / "others/photos")
    before = listing(world)
    done = flickcast("ingest", "--workspace", workspace)
    assert done.code == 2
    assert f"{workspace / name} is a link that leads out of the workspace." in done.err
    assert listing(world) == before


@pytest.mark.parametrize("name", LINKED_FILES)
def test_a_linked_file_of_ours_that_leads_outside_is_refused(world: Path, flickcast: Command, name: str) -> None:
    workspace, _ = ours(world)
    (workspace / name).parent.mkdir(exist_ok=True, parents=True)
    for target in ("others/notes.txt", "others/not-there-yet"):
        (workspace / name).unlink(missing_ok=True)
        (workspace / name).symlink_to(world / target)
        before = listing(world)
        assert flickcast("ingest", "--workspace", workspace).code == 2
        assert listing(world) == before


def test_files_that_dvc_links_into_its_cache_are_replaced_and_removed_but_never_written_through(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, state = ours(world)
    for name in ("data/posts/2026-03-09.parquet", "data/posts/left-over.parquet", "data/posts/about.txt", "night.yaml"):
        path = workspace / name
        path.parent.mkdir(exist_ok=True, parents=True)
        if path.exists():
            path.rename(world / "others/night.yaml")
        path.symlink_to(world / "others" / (path.name if path.name == "night.yaml" else "photos/holiday.parquet"))
    (workspace / "manifests").mkdir()
    (workspace / "manifests/ingest.json").write_text('{"stage": "ingest", "parts": {}, "batches": {}}')
    (world / "others/manifest.json").write_text('{"stage": "ingest", "parts": {}, "batches": {}}')
    (workspace / "manifests/ingest.json").unlink()
    (workspace / "manifests/ingest.json").symlink_to(world / "others/manifest.json")
    before = listing(world, workspace, state)
    with serving(Service(photos=[photo(1, 1_773_014_400)])) as service:
        monkeypatch.setenv("FLICKCAST_FLICKR_URL", f"{service.base}/services/rest/")
        ingest(Workspace(workspace))
    assert listing(world, workspace, state) == before
    assert Workspace(workspace).read("posts").height == 1
    assert not (workspace / "data/posts/2026-03-09.parquet").is_symlink()


def test_a_link_that_stays_inside_and_a_linked_workspace_work(world: Path) -> None:
    workspace, _ = ours(world)
    (workspace / "elsewhere").mkdir()
    (workspace / "data").mkdir()
    (workspace / "data/posts").symlink_to(workspace / "elsewhere")
    (world / "here/linked").symlink_to(workspace)
    Workspace(world / "here/linked")
    os.unlink(workspace / "data/posts")
    (workspace / "data/posts").symlink_to(world / "others")
    with pytest.raises(UserError, match="leads out of the workspace"):
        Workspace(world / "here/linked")


def test_the_listing_sees_a_file_that_is_planted_changed_or_removed(world: Path) -> None:
    before = listing(world, *ours(world))
    assert before
    (world / "planted").touch()
    assert listing(world, *ours(world)) != before
    (world / "planted").unlink()
    assert listing(world, *ours(world)) == before
    (world / "others/notes.txt").write_bytes(b"changed")
    assert listing(world, *ours(world)) != before
