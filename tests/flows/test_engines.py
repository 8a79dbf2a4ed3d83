"""Engines for embedding: real clusters of dask and ray, and processes, make the table that this process makes."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from embeddable import filled

from flickcast import stages
from flickcast.errors import TryAgainError, UserError
from flickcast.workspace import Workspace, set_params
from flows import engines
from flows.engines import Crew, crew, in_order

KILLED = "A process that embeds was killed (out of memory?). What was finished is kept; run the same command again."
# A shell that starts us in the background has all that we start ignore Ctrl-C.
EMBED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from flickcast.cli import main
main()
"""


@pytest.fixture(scope="module")
def workspace_to_embed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("engines") / "ws")


@pytest.fixture(scope="module")
def expected(workspace_to_embed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = shutil.copytree(workspace_to_embed, tmp_path_factory.mktemp("local") / "ws")
    stages.embed(Workspace(root))
    return tables(root)


def tables(root: Path) -> dict[str, bytes]:
    """Every part of the embeddings that counts, with its bytes; and the manifest itself."""
    ws = Workspace(root)
    parts = [path for name in ws.params.embed.pair for path in ws.parts(f"embeddings/{name}")]
    assert parts
    found = {str(path.relative_to(root)): path.read_bytes() for path in parts}
    return found | {"manifest": (root / "manifests" / "embed.json").read_bytes()}


def choose(root: Path, engine: str, workers: int = 2) -> None:
    set_params(root / "params.yaml", {"compute.engine": engine, "compute.workers": str(workers)})


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Where clusters keep what is for the moment; short, for it holds sockets."""
    with tempfile.TemporaryDirectory(prefix="scratch", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def start_embedding(root: Path, scratch: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", EMBED, "embed", "--workspace", str(root), "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment["TMPDIR"] = str(scratch)
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def wait_for_the_first_part(child: "subprocess.Popen[str]", root: Path) -> None:
    """Return in the middle of the work: one shard is stored and counts, and all texts are still to come."""
    manifest = root / "manifests" / "embed.json"
    deadline = time.monotonic() + 300
    while not (manifest.exists() and "-picture" in manifest.read_text()) and time.monotonic() < deadline:
        assert child.poll() is None, child.communicate()[0]
        time.sleep(0.01)
    assert not list((root / "data" / "embeddings").glob("*-text/*.parquet"))


def last_words(out: str) -> list[str]:
    """What was said but for how far the work is, which a slow machine tells."""
    return [line for line in out.splitlines() if not line.startswith("embed flickcast-tiny")]


def workers_of(child: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The processes that embed for it."""
    found = []
    for one in psutil.Process(child.pid).children(recursive=True):
        with suppress(psutil.Error):
            line = " ".join(one.cmdline())
            if "spawn_main" in line or line.startswith(("ray::shard", "ray::IDLE", "ray::_run_prefect_task")):
                found.append(one)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "dask", "ray"])
def test_every_engine_makes_the_same_table_though_a_worker_is_killed_in_the_middle(
    workspace_to_embed, expected, tmp_path, scratch, engine
):
    """dask and ray give the shard to another worker; of our own processes, the next run does."""
    root = shutil.copytree(workspace_to_embed, tmp_path / "ws")
    choose(root, engine)
    child = start_embedding(root, scratch)
    wait_for_the_first_part(child, root)
    workers_of(child)[-1].kill()
    out, _ = child.communicate(timeout=300)
    if engine == "local":
        assert (child.returncode, last_words(out)) == (TryAgainError.exit_code, [f"flickcast: {KILLED}"])
        child = start_embedding(root, scratch)
        out, _ = child.communicate(timeout=300)
    else:
        assert '"embedded": 40' in out
    assert child.returncode == 0, out
    assert tables(root) == expected
    assert not list((root / ".flickcast").rglob("*.pickle"))
    assert not (root / ".flickcast/prefect/storage").exists()
    assert not list(scratch.glob("flickcast-*"))


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "workers"), [("local", 1), ("local", 2), ("dask", 2), ("ray", 2)])
def test_control_c_is_one_sentence_and_the_next_run_ends_with_the_same_table(
    workspace_to_embed, expected, tmp_path, scratch, engine, workers
):
    """As a terminal sends it: to every process of the command."""
    root = shutil.copytree(workspace_to_embed, tmp_path / "ws")
    choose(root, engine, workers)
    child = start_embedding(root, scratch)
    wait_for_the_first_part(child, root)
    family = psutil.Process(child.pid).children(recursive=True)
    os.killpg(child.pid, signal.SIGINT)
    out, _ = child.communicate(timeout=100)
    assert (child.returncode, last_words(out)) == (130, ["flickcast: Interrupted. Run the same command to continue."])
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
    kept = tables(root)
    choose(root, "local", 1)
    stages.embed(Workspace(root))
    assert tables(root) == expected
    kept.pop("manifest")
    assert kept.items() <= expected.items()


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "processes"), [("local", 3), ("dask", 5), ("ray", 9)])
def test_a_killed_engine_leaves_no_process_and_the_next_run_the_same_table(
    workspace_to_embed, expected, tmp_path, scratch, engine, processes
):
    root = shutil.copytree(workspace_to_embed, tmp_path / "ws")
    choose(root, engine)
    child = start_embedding(root, scratch)
    family = [psutil.Process(child.pid)]
    deadline = time.monotonic() + 200
    while child.poll() is None and len(family) < processes and time.monotonic() < deadline:
        time.sleep(0.05)
        family = [family[0], *family[0].children(recursive=True)]
    listening = {place.ip for one in family for place in addresses(one)}
    child.send_signal(signal.SIGKILL)
    child.communicate()
    _, alive = psutil.wait_procs(family[1:], timeout=30)
    assert not alive
    assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    choose(root, "local", 1)
    stages.embed(Workspace(root))
    assert tables(root) == expected


def addresses(process: psutil.Process) -> list:
    """Where it waits for connections."""
    try:
        return [one.laddr for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]
    except psutil.Error:
        return []


def test_gpus_are_divided_one_to_a_worker():
    assert crew(None, 16, ("0", "1", "2")) == Crew(3, 5, ("0", "1", "2"))
    seen = [crew(None, 16, ("2", "5")).environment(number)["CUDA_VISIBLE_DEVICES"] for number in range(2)]
    assert seen == ["2", "5"]


def test_more_workers_than_gpus_share_them_evenly():
    seen = [crew(4, 8, ("0", "1")).environment(number)["CUDA_VISIBLE_DEVICES"] for number in range(4)]
    assert seen == ["0", "1", "0", "1"]


def test_without_a_gpu_a_worker_gets_four_cores_and_hides_nothing():
    assert crew(None, 16, ()) == Crew(4, 4)
    assert crew(None, 1, ()) == Crew(1, 1)
    assert "CUDA_VISIBLE_DEVICES" not in crew(None, 16, ()).environment(0)


def test_every_shard_goes_to_one_worker_and_no_more_than_a_few_wait():
    waiting: list[int] = []
    most = 0

    def submit(item: int) -> int:
        nonlocal most
        waiting.append(item)
        most = max(most, len(waiting))
        return item

    found = list(in_order(range(20), submit, lambda item: waiting.remove(item) or item * 2, 4))
    assert found == [(item, item * 2) for item in range(20)]
    assert most == 4


def test_an_engine_that_is_not_installed_names_the_command(workspace, monkeypatch):
    choose(workspace.root, "ray")
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"ray, which is not installed: `pip install 'flickcast\[ray\]'`"):
        engines.embed(Workspace(workspace.root))


def test_a_cluster_of_the_users_needs_a_prefect_server_it_can_reach(workspace, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    choose(workspace.root, "dask")
    set_params(workspace.root / "params.yaml", {"compute.address": "tcp://10.0.0.1:8786"})
    with pytest.raises(UserError, match="set PREFECT_API_URL"):
        engines.embed(Workspace(workspace.root))
