"""Promise S2, S3: a model is data; foreign or damaged files are refused, and never end the process that loads them."""

import hashlib
import json
import os
import pickle
import pickletools
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import model_trials
import numpy as np
import pytest

from flickcast import models
from flickcast.errors import CheckError, UserError
from flickcast.models import trial
from flickcast.models.stored import digest_of

MUTATIONS = int(os.environ.get("FLICKCAST_MUTATIONS", "200"))  # 10,000 in the long run
MOST_SECONDS = 300 + 5 * MUTATIONS  # of all trials together: more is a hang
ALONE = """
import sys, json
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import model_trials
from flickcast import models
folder = Path(sys.argv[1])
again = models.load(folder).members_say(model_trials.rows()).tolist()  # every import is done, none comes later
seen = []
sys.addaudithook(lambda event, details: seen.append(event))
said = models.load(folder).members_say(model_trials.rows()).tolist()
print(json.dumps([again, said, sorted(set(seen))]))
"""
EXECUTED = {"pickle.find_class", "exec", "compile", "import", "subprocess.Popen", "os.system", "os.exec", "os.fork"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model `whole` and what it says of some rows, `said.npy`."""
    folder = tmp_path_factory.mktemp("models")
    model_trials.make(folder)
    return folder


@pytest.fixture
def foreign(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same model on a machine that neither made nor tried it."""
    monkeypatch.setenv("FLICKCAST_STATE_FOLDER", str(tmp_path / "state"))
    return Path(shutil.copytree(made / "whole", tmp_path / "model"))


def said(made: Path) -> Any:
    return np.load(made / "said.npy", allow_pickle=False)


def tried(path: Path) -> list[str]:
    return [place.name for place in path.glob("state/models/*")]


def change(model: Path, file: str, content: bytes) -> None:
    """As somebody would who can change every file."""
    (model / file).write_bytes(content)
    model_trials.sign(model, model / file)


def test_saved_model_says_the_same_in_a_fresh_process_and_executes_nothing(made: Path) -> None:
    command = [sys.executable, "-c", ALONE, str(made / "whole"), str(Path(model_trials.__file__).parent)]
    first, second, events = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert first == second == said(made).tolist()
    assert "open" in events, "the hook hears nothing"
    assert EXECUTED.isdisjoint(events)


def test_files_are_text_json_cbm_or_safetensors_and_none_is_a_pickle(made: Path) -> None:
    files = sorted((made / "whole").iterdir())
    assert {path.suffix for path in files} == {".json", ".txt", ".cbm", ".safetensors"}
    for path in files:
        with pytest.raises(ValueError, match=r"opcode|pickle|exhausted|expected|codec"):
            list(pickletools.genops(path.read_bytes()))


def test_foreign_model_is_tried_once_and_says_the_same(foreign: Path, made: Path, tmp_path: Path) -> None:
    np.testing.assert_array_equal(models.load(foreign).members_say(model_trials.rows()), said(made))
    assert tried(tmp_path) == [json.loads((foreign / "model.json").read_bytes())["sha256"]]


def test_own_model_is_not_tried(foreign: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = models.load(foreign)
    shutil.rmtree(tmp_path / "state")
    monkeypatch.setattr(trial, "SECONDS", 0)
    with pytest.raises(CheckError, match="took longer than 0 s"):
        models.load(foreign)
    model.save(tmp_path / "own")
    assert len(models.load(tmp_path / "own").members) == 2


@pytest.mark.parametrize(
    ("old", "new", "how"),
    [
        ("tree_sizes=", "tree_sizes=9", "it ended the process that read it"),
        ("left_child=", "left_child=9", "ValueError"),
        ("shrinkage=0.05", "shrinkage=.050", "not written as this version writes it"),
    ],
)
def test_foreign_file_that_ends_its_reader_is_one_sentence(
    foreign: Path, old: str, new: str, how: str, tmp_path: Path
) -> None:
    text = (foreign / "1-lightgbm.txt").read_text()
    assert old in text
    change(foreign, "1-lightgbm.txt", text.replace(old, new, 1).encode())
    with pytest.raises(CheckError, match=how):
        models.load(foreign)
    assert not tried(tmp_path)


class Planted:
    """What a pickle would execute."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("file", ["1-lightgbm.txt", "1-catboost.cbm", "1-ding.safetensors", "1-preparation.json"])
def test_planted_pickle_is_refused_and_not_executed(foreign: Path, file: str, tmp_path: Path) -> None:
    content = pickle.dumps(Planted(tmp_path / "executed"))
    change(foreign, file, content)
    with pytest.raises(CheckError, match="is not a model that can be used"):
        models.load(foreign)
    assert not (tmp_path / "executed").exists()
    pickle.loads(content)  # noqa: S301
    assert (tmp_path / "executed").exists(), "the test could not fail"


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "", "1-lightgbm.txt\n"])
def test_names_stay_inside_the_folder(foreign: Path, name: str) -> None:
    facts = json.loads((foreign / "model.json").read_bytes())
    facts["files"][name] = hashlib.sha256(b"").hexdigest()
    facts["sha256"] = digest_of(facts)
    (foreign / "model.json").write_text(json.dumps(facts))
    with pytest.raises(CheckError, match="does not describe a model"):
        models.load(foreign)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"\xff", b"{", b"[" * 100_000, b'{"format": 4}', b'{"format": 99}', b"{}"]
)
def test_odd_description_is_one_sentence(foreign: Path, content: bytes) -> None:
    (foreign / "model.json").write_bytes(content)
    with pytest.raises((CheckError, UserError), match=r"model\.json .*\. (Get|Train) it "):
        models.load(foreign)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the libraries do not survive a fork")
def test_damaged_files_are_refused_or_say_the_same_and_the_parent_never_dies(tmp_path: Path) -> None:
    """Three in four have sums that fit again: what then still is a model may say something else, but harms nobody."""
    command = [sys.executable, model_trials.__file__, str(tmp_path), str(MUTATIONS)]
    environment = {**os.environ, "FLICKCAST_STATE_FOLDER": str(tmp_path / "state")}
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=MOST_SECONDS, env=environment, check=False)
    whole, *found = map(json.loads, done.stdout.splitlines())
    assert (whole["by"], whole["ends"]) == ("parent", "the same")
    assert (done.returncode, len(found)) == (0, MUTATIONS)
    assert [one for one in found if one["code"]] == []
    ends = Counter((one["signed"], one["ends"].partition(":")[0]) for one in found)
    assert {end for is_signed, end in ends if not is_signed} <= {"refused", "the same"}
    assert {end for is_signed, end in ends if is_signed} <= {"refused", "the same", "other"}
    assert all(one["by"] == "sums" or one["ends"] == "the same" for one in found if not one["signed"])
    if MUTATIONS >= 200:
        assert any(one["by"].startswith("death") for one in found), "no mutation ended a parser: were they any?"
