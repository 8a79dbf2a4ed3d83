"""`compute.address`: a cluster that somebody else runs makes the same table, and goes on running afterwards."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from embeddable import filled, vectors_by_post

from flickcast import leash, stages
from flickcast.workspace import Workspace, set_params
from flows.local import free_port

FEW_SECONDS = 200.0  # to start, on a busy machine
# What its own user asks of the cluster, in a process that knows nothing of us; it waits until a worker is there.
ASKED = {
    "dask": """
import sys
from distributed import Client
with Client(sys.argv[1], timeout=200) as client:
    client.wait_for_workers(1, timeout=200)
    print(client.submit(sum, [20, 22]).result())
""",
}

pytestmark = pytest.mark.slow


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, for it holds sockets."""
    with tempfile.TemporaryDirectory(prefix="cluster", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    """Processes that end with the test."""
    with ExitStack() as stack:
        yield stack


def start(stack: ExitStack, folder: Path, module: str, *arguments: str) -> "subprocess.Popen[str]":
    log = stack.enter_context((folder / f"{module}.log").open("ab"))
    child = leash.start(module, arguments, cwd=folder, environment=os.environ, output=log)
    stack.callback(leash.end, child)
    return child


def start_dask(stack: ExitStack, folder: Path) -> tuple[str, "list[subprocess.Popen[str]]"]:
    """A scheduler and a worker, as `dask scheduler` and `dask worker` start them."""
    address = f"tcp://127.0.0.1:{free_port()}"
    scheduler = start(stack, folder, "distributed.cli.dask_scheduler", "--host", address, "--no-dashboard")
    options = ("--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder))
    return address, [scheduler, start(stack, folder, "distributed.cli.dask_worker", address, *options)]


def ask(engine: str, address: str) -> str:
    """The cluster's answer to its user, asked again while it starts."""
    deadline = time.monotonic() + FEW_SECONDS
    while True:
        command = [sys.executable, "-c", ASKED[engine], address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=FEW_SECONDS, check=False)
        if done.returncode == 0 or time.monotonic() > deadline:
            return done.stdout + done.stderr if done.returncode else done.stdout
        time.sleep(0.5)


@pytest.mark.parametrize(("engine", "begin"), [("dask", start_dask)])
def test_a_cluster_of_the_users_makes_the_same_vectors_and_stays(server, tmp_path, folder, processes, engine, begin):
    address, cluster = begin(processes, folder)
    root, local = (filled(tmp_path / name) for name in ("ws", "local"))
    stages.embed(Workspace(local))
    assert ask(engine, address) == "42\n"
    set_params(root / "params.yaml", {"compute.engine": engine, "compute.address": address})
    command = [str(Path(sys.executable).with_name("flickcast")), "embed", "-w", str(root), "--json"]
    done = subprocess.run(command, env=server.environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    assert '"embedded": 40' in done.stdout
    assert vectors_by_post(root) == vectors_by_post(local)
    assert [child.poll() for child in cluster] == [None] * len(cluster)
    assert ask(engine, address) == "42\n"
