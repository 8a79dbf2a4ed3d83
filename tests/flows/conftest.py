"""A Prefect server of our own for a whole module, and what asks it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from flickcast import leash
from flows.local import free_port, prefect_environment, wait_until_healthy


@dataclass(frozen=True)
class Server:
    """A running `prefect server start` and the environment that points at it."""

    address: str
    environment: dict[str, str]
    home: Path

    def cli(self, *arguments: str, cwd: Path, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            cwd=cwd,
            env=self.environment | environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, path: str, **content: Any) -> Any:
        answer = httpx.post(f"{self.address}/{path}", json=content, trust_env=False)
        answer.raise_for_status()
        return answer.json()

    def start_worker(self, pool: str) -> "subprocess.Popen[str]":
        with (self.home / "worker.log").open("ab") as log:
            arguments = ["worker", "start", "--pool", pool, "--name", "test"]
            return leash.start("prefect", arguments, cwd=self.home, environment=self.environment, output=log)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("prefect")
    port = free_port()
    address = f"http://127.0.0.1:{port}/api"
    own = {
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_PREFETCH_SECONDS": "1",
    }
    environment = os.environ | prefect_environment(home, address) | own
    with (home / "server.log").open("ab") as log:
        arguments = ["server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
        child = leash.start("prefect", arguments, cwd=home, environment=environment, output=log)
    try:
        wait_until_healthy(address, child, home / "server.log")
        yield Server(address, environment, home)
    finally:
        leash.end(child)
