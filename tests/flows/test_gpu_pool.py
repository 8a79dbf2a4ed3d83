"""The embed stage on a work pool: a real server, a real worker process, a second clone, and a parent that waits."""

import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml
from embeddable import filled
from prefect.logging import disable_run_logger
from safetensors.torch import load_file, save_file

from flickcast import leash, stages
from flickcast.embeddings import encoders
from flickcast.errors import CheckError, TryAgainError, UserError
from flickcast.history import begin_at, finished_nights, initialise, offer, pull_inputs, take_over
from flickcast.leash import dvc
from flickcast.workspace import Workspace, set_params
from flows.embed import embed as embed_here

CHECKOUT = Path(__file__).parents[2]
NIGHT = """
import pathlib, sys
from flows.nightly import NightParams, nightly
nightly(NightParams(workspace=pathlib.Path(sys.argv[1]), date="2026-01-05", retries=0))
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """A workspace of two stages, under git and DVC, with posts and pictures."""
    root = filled(tmp_path / "parent")
    stages_ = yaml.safe_load((CHECKOUT / "dvc.yaml").read_text())["stages"]
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {name: stages_[name] for name in ("ingest", "embed")}}))
    set_params(root / "params.yaml", {"compute.pool": "gpu"})
    initialise(root)
    return root


@pytest.fixture
def clone(parent: Path, tmp_path: Path) -> Path:
    """What lies on the worker's machine."""
    subprocess.run(["git", "clone", "--quiet", str(parent), str(tmp_path / "clone")], check=True)
    root = tmp_path / "clone"
    assert dvc(root, "remote", "modify", "--local", "local", "url", str(parent / ".dvc" / "remote")).code == 0
    return root


def tables(root: Path) -> dict[str, bytes]:
    ws = Workspace(root)
    return {
        str(path.relative_to(root)): path.read_bytes()
        for name in ws.params.embed.pair
        for path in ws.parts(f"embeddings/{name}")
    }


def start_night(server, root: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", NIGHT, str(root)]
    return subprocess.Popen(command, env=server.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end_of(night: "subprocess.Popen[str]") -> tuple[int, str]:
    """Its exit code and what it said of errors."""
    _, said = night.communicate(timeout=400)
    return night.returncode, said


def run_night(server, root: Path) -> tuple[int, str]:
    return end_of(start_night(server, root))


def deploy(server, parent: Path, clone: Path) -> None:
    server.cli("work-pool", "create", "gpu", "--type", "process", "--overwrite", cwd=clone)
    shutil.copyfile(CHECKOUT / "prefect.yaml", clone / "prefect.yaml")
    server.cli("deploy", "--name", "gpu", cwd=clone, FLICKCAST_WORKSPACE=str(parent), FLICKCAST_CLONE=str(clone))


def a_worker_makes_the_same(server, parent: Path, local: Path) -> None:
    """With a worker there, the night ends well and with the bytes of a local run."""
    set_params(parent / "params.yaml", {"compute.pool_seconds": "300"})
    worker = server.start_worker("gpu")
    try:
        code, said = run_night(server, parent)
    finally:
        leash.end(worker)
    assert code == 0, said + (server.home / "worker.log").read_text()
    assert tables(parent) == tables(local)
    assert (parent / "manifests/embed.json").read_bytes() == (local / "manifests/embed.json").read_bytes()


def test_a_night_embeds_on_the_pool_and_ends_with_the_table_of_a_local_run(server, parent, clone, tmp_path):
    local = shutil.copytree(parent, tmp_path / "local")
    stages.embed(Workspace(local))
    set_params(parent / "params.yaml", {"compute.pool_seconds": "3"})
    _, said = run_night(server, parent)
    assert "has no deployment embed/gpu" in said
    deploy(server, parent, clone)
    code, said = run_night(server, parent)
    assert code != 0
    assert TryAgainError.__name__ in said
    assert "The pool gpu has not embedded the night within 3 s" in said
    assert not (parent / "data" / "embeddings").exists()
    assert finished_nights(parent) == []
    a_worker_makes_the_same(server, parent, local)
    assert [night.isoformat() for night in finished_nights(parent)] == ["2026-01-05"]
    assert '"embedded": 40' in (parent / ".flickcast/nights/2026-01-05.json").read_text()
    assert "Data and pipelines are up to date" in dvc(parent, "status").text


def lose(worker: "subprocess.Popen[str]", what: str) -> None:
    """Kill the flow run, as a machine without memory does, or all of the machine."""
    running = psutil.Process(worker.pid).children()
    if what == "machine":
        running = psutil.Process(worker.pid).children(recursive=True)
        leash.end(worker)
    for process in running:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.mark.parametrize(
    ("lost", "pool_seconds", "sentence"),
    [
        ("flow run", 300, "The pool gpu could not embed the night: Crashed"),
        ("machine", 60, "The pool gpu has not embedded the night within 60 s"),
    ],
)
def test_a_worker_lost_in_the_middle_ends_the_wait_and_the_next_night_has_the_same_table(
    server, parent, clone, tmp_path, lost, pool_seconds, sentence
):
    """A machine that is lost tells nobody, so the wait lasts as long as it may."""
    local = shutil.copytree(parent, tmp_path / "local")
    stages.embed(Workspace(local))
    deploy(server, parent, clone)
    set_params(parent / "params.yaml", {"compute.pool_seconds": str(pool_seconds)})
    worker = server.start_worker("gpu")
    try:
        night = start_night(server, parent)
        while night.poll() is None and not list(clone.glob("data/embeddings/*-picture/*.parquet")):
            time.sleep(0.01)
        lose(worker, lost)
        code, said = end_of(night)
    finally:
        leash.end(worker)
    assert code != 0
    assert TryAgainError.__name__ in said
    assert sentence in said
    assert not (parent / "data" / "embeddings").exists()
    assert finished_nights(parent) == []
    a_worker_makes_the_same(server, parent, local)


def test_a_worker_whose_weights_are_others_embeds_nothing_and_proofs_come_back(parent, clone):
    """The parent has no weights: what it is proven by is what a worker has kept."""
    tensors = load_file(Path(encoders.__file__).parent / "weights" / "flickcast-tiny.safetensors")
    save_file(tensors | {"logit_scale": tensors["logit_scale"] + 1}, clone / "mine.safetensors")
    set_params(parent / "params.yaml", {"embed.pretrained": "mine.safetensors", "embed.others": "[]"})
    assert dvc(parent, "repro", "ingest").code == 0
    branch = "embedded/2026-01-05"
    rev = offer(parent, "to be embedded", branch)
    with disable_run_logger():
        embed_here.fn(clone, rev, branch)
    take_over(parent, "embed", rev, branch)
    before = tables(parent)
    assert len(list((parent / "encoders" / "canaries").glob("*.json"))) == 2
    save_file(tensors | {"logit_scale": tensors["logit_scale"] + 2}, clone / "mine.safetensors")
    set_params(parent / "params.yaml", {"embed.batch_size": "4"})
    rev = offer(parent, "to be embedded again", branch)
    with disable_run_logger(), pytest.raises(CheckError, match="other weights here"):
        embed_here.fn(clone, rev, branch)
    assert tables(clone) == before


def test_a_worker_refuses_a_commit_that_has_lost_its_manifest(parent, clone):
    stages.ingest(Workspace(parent))
    assert dvc(parent, "repro").code == 0
    (parent / "manifests" / "embed.json").unlink()
    subprocess.run(
        ["git", "rm", "--quiet", "--cached", "--ignore-unmatch", "manifests/embed.json"], cwd=parent, check=True
    )
    rev = offer(parent, "not whole", "embedded/2026-01-05")
    begin_at(clone, rev, "embedded/2026-01-05")
    with pytest.raises(UserError, match=r"embed.json is missing though dvc.lock says that embed has run"):
        pull_inputs(clone, "embed")
