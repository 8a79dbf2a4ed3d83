"""Promise 8: a wrong input gets one clear sentence and exit code 2, and nothing already stored is lost."""

import json
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flickcast.settings import load_settings
from flickcast.simulate.corpus import write_corpus
from flickcast.simulate.world import World, WorldParams
from flickcast.workspace import Workspace

START = date(2026, 1, 1)
MATURE = datetime(2026, 2, 1, tzinfo=UTC)  # all labels are known by then
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def good_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    world = World(WorldParams(seed=1, users=12, posts_per_day=5, start=START))
    write_corpus(world, folder, START, START + timedelta(days=2), MATURE)
    return folder


@pytest.fixture
def corpus(good_corpus: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good_corpus, tmp_path / "corpus"))


def edit(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    records = json.loads(path.read_text())
    change(records)
    path.write_text(json.dumps(records))


def double_first_post(corpus: Path) -> None:
    for path in corpus.glob("train_*.json"):
        edit(path, lambda records: records.append(records[0]))
    for name in ("train_label.txt", "train_img_filepath.txt"):
        lines = (corpus / name).read_text().splitlines()
        (corpus / name).write_text("\n".join([*lines, lines[0]]) + "\n")


def lose_time(corpus: Path) -> None:
    edit(corpus / "train_temporalspatial_information.json", lambda records: records[1].pop("Postdate"))


def truncate(corpus: Path) -> None:
    path = corpus / "train_text.json"
    path.write_text(path.read_text()[:-40])


def lose_label(corpus: Path) -> None:
    path = corpus / "train_label.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def empty(corpus: Path) -> None:
    for path in list(corpus.iterdir()):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (empty, "smpd-image"),
        (truncate, "train_text.json"),
        (lose_label, "label"),
        (double_first_post, "twice|duplicate|more than once"),
        (lose_time, "Postdate|time"),
    ],
)
def test_a_broken_corpus_is_refused_in_one_sentence_and_the_stored_posts_stay(
    flickcast: Run, workspace: Workspace, good_corpus: Path, corpus: Path, damage: Callable[[Path], None], said: str
) -> None:
    assert flickcast("import", "smpd-image", good_corpus, "-w", workspace.root).code == 0
    before = workspace.read("posts")
    damage(corpus)
    refused = flickcast("import", "smpd-image", corpus, "-w", workspace.root)
    assert refused.code == 2
    assert any(word.lower() in refused.err.lower() for word in said.split("|")), refused.err
    assert "Traceback" not in refused.err
    assert workspace.read("posts").equals(before)


def test_a_picture_that_does_not_decode_is_quarantined_and_its_post_stays(
    flickcast: Run, workspace: Workspace, corpus: Path
) -> None:
    first = (corpus / "train_img_filepath.txt").read_text().splitlines()[0].strip('"')
    (corpus / first).write_bytes(b"\xff\xd8 not a picture")
    done = flickcast("import", "smpd-image", corpus, "-w", workspace.root, "--json")
    facts = json.loads(done.out)
    assert (done.code, facts["pictures_quarantined"]) == (0, 1)
    assert facts["stored"] == facts["found"] == workspace.read("posts").height
    assert workspace.read("images").height == facts["stored"] - 1
    (record,) = workspace.read("quarantine/ingest")["record"]
    assert record.endswith(b"\xff\xd8 not a picture")


def test_an_unknown_key_in_params_is_named_with_its_nearest(flickcast: Run, workspace: Workspace) -> None:
    path = workspace.root / "params.yaml"
    path.write_text(path.read_text().replace("batch_size", "batchsize"))
    refused = flickcast("embed", "-w", workspace.root)
    assert refused.code == 2
    assert "unknown key 'embed.batchsize'; did you mean 'batch_size'?" in refused.err


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("http://nowhere.invalid/services/rest/", 2, "no network"),
        ("http://127.0.0.1:9/services/rest/", 75, "is down: it does not connect (ConnectionRefusedError)"),
    ],
)
def test_without_a_network_or_a_service_ingest_says_so_and_stores_nothing(
    flickcast: Run, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, address: str, code: int, said: str
) -> None:
    path = workspace.root / "params.yaml"
    path.write_text(path.read_text().replace("source: files", "source: flickr"))
    workspace.set_night(START)
    monkeypatch.setenv("FLICKCAST_FLICKR_URL", address)
    monkeypatch.setenv("FLICKCAST_FLICKR_KEY", "canary-key")
    monkeypatch.setenv("FLICKCAST_CLOCK_SPEED", "100" if "127.0.0.1" in address else "1")
    refused = flickcast("ingest", "-w", workspace.root)
    assert refused.code == code
    assert said in refused.err
    assert "canary-key" not in refused.err
    assert workspace.read("posts").is_empty()


def test_a_folder_that_is_no_workspace_is_told_how_to_become_one(flickcast: Run, tmp_path: Path) -> None:
    refused = flickcast("train", "-w", tmp_path)
    assert (refused.code, "flickcast init" in refused.err) == (2, True)


@pytest.mark.parametrize("command", [("tarin",), ("import", "smpd-imgae", "x"), ("train", "--wrkspace", "x")])
def test_a_misspelt_command_is_exit_2_without_a_traceback(flickcast: Run, command: tuple[str, ...]) -> None:
    refused = flickcast(*command)
    assert refused.code == 2
    assert "Traceback" not in refused.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("init", "{tmp}/new", "--set", "seed=["), "'seed=['"),
        (("init", "{tmp}/new", "--set", "seed=-1"), "'seed' is -1"),
        (("init", "{tmp}/file"), "is a file"),
        (("demo", "--folder", "{tmp}/file"), "file is a file"),
        (("simulate", "corpus", "{tmp}/new", "--days", "4"), "--days 4"),
        (("simulate", "corpus", "{tmp}/new", "--users", "0"), "--users"),
        (("simulate", "corpus", "{tmp}/new", "--posts-per-day=-5"), "--posts-per-day"),
        (("simulate", "corpus", "{tmp}/new", "--seed=-1"), "--seed"),
        (("simulate", "serve", "--now", "today"), "--now 'today'"),
        (("predict", "{tmp}", "-w", "{workspace}"), "--from"),
        (("predict", "--out", "{tmp}/x.parquet", "-w", "{workspace}"), "--from"),
        (("predict", "--from", "smpd-image", "{tmp}", "--out", "{tmp}", "-w", "{workspace}"), "is a folder"),
    ],
)
def test_a_wrong_argument_is_exit_2_and_named(
    flickcast: Run, workspace: Workspace, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "file").touch()
    refused = flickcast(*(argument.format(tmp=tmp_path, workspace=workspace.root) for argument in arguments))
    assert refused.code == 2, refused.err
    assert said in refused.err
    assert len(refused.err.splitlines()) == 1


def test_a_wrong_setting_is_named_with_its_value(
    flickcast: Run, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workspace.root / "params.yaml"
    path.write_text(path.read_text().replace("source: files", "source: flickr"))
    workspace.set_night(START)
    monkeypatch.setenv("FLICKCAST_FLICKR_KEY", "canary-key")
    monkeypatch.setenv("FLICKCAST_TIMEOUT_SECONDS", "abc")
    refused = flickcast("ingest", "-w", workspace.root)
    assert refused.code == 2
    assert "FLICKCAST_TIMEOUT_SECONDS is 'abc'" in refused.err
    assert "canary-key" not in refused.err


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FLICKR_KEY", "canary\udcff", "FLICKCAST_FLICKR_KEY is no text in UTF-8."),
        ("FLICKR_URL", "http://127.0.0.1/\udcff?canary", "FLICKCAST_FLICKR_URL is no text in UTF-8."),
        ("FLICKR_URL", "http://127.0.0.1:65536/", "FLICKCAST_FLICKR_URL is no address"),
        ("FLICKR_URL", "http://xn--/", "FLICKCAST_FLICKR_URL is no address"),
        ("STATE_FOLDER", "~nobody-of-this-name/state", "Name a folder in FLICKCAST_STATE_FOLDER"),
        ("CLOCK_SPEED", "1e-9", "FLICKCAST_CLOCK_SPEED is '1e-9'"),
    ],
)
def test_a_setting_that_cannot_work_is_exit_2_and_named(
    flickcast: Run, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    path = workspace.root / "params.yaml"
    path.write_text(path.read_text().replace("source: files", "source: flickr"))
    workspace.set_night(START)
    for one, its in {"FLICKR_KEY": "key", "FLICKR_URL": "http://127.0.0.1:9/", name: value}.items():
        monkeypatch.setenv(f"FLICKCAST_{one}", its)
    refused = flickcast("ingest", "-w", workspace.root)
    assert refused.code == 2
    assert said in refused.err
    assert len(refused.err.splitlines()) == 1
    assert "canary" not in refused.err


def test_an_empty_state_folder_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("FLICKCAST_STATE_FOLDER", "")
    assert load_settings().budget_folder() == tmp_path / "flickcast"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take no such names")
def test_a_workspace_whose_name_is_no_text_is_refused_in_one_sentence(flickcast: Run, workspace: Workspace) -> None:
    folder = workspace.root.rename(workspace.root.with_name("w\udcff"))
    refused = flickcast("ingest", "-w", folder)
    assert refused.code == 2
    assert "is no text in UTF-8. Rename it." in refused.err
