"""The embed stage as a Prefect flow: one task per shard, on workers of dask or ray.

Imported only where Prefect's settings are in place (`flows.engines`).
"""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flickcast import leash
from flickcast.errors import TryAgainError
from flickcast.records import StageReport
from flickcast.stages import embed
from flickcast.workspace import Workspace
from flows.engines import OBJECT_STORE_BYTES, Crew, deaf_children, in_order, run_one
from flows.local import START_SECONDS, free_port

if TYPE_CHECKING:
    from distributed import SpecCluster
    from prefect.futures import PrefectFuture
    from prefect.task_runners import TaskRunner

    from flickcast.embeddings.pipeline import Result
    from flickcast.embeddings.step import Shard

NOTHING_KEPT: dict[str, Any] = {"persist_result": False, "result_serializer": "json"}


@task(name="shard", cache_policy=NO_CACHE, **NOTHING_KEPT)
def shard_task(root: Path, name: str, version: str, shard: "Shard") -> "Result":
    """The vectors of one shard."""
    return run_one(root, name, version, shard)


@flow(name="embed", validate_parameters=False, **NOTHING_KEPT)
def embed_in_tasks(root: Path, engine: str, crew: Crew) -> StageReport:
    """The whole stage; the shards of each encoder as tasks. Only this process writes."""

    def run(root: Path, name: str, version: str, shards: "Sequence[Shard]") -> "Generator[tuple[Shard, Result]]":
        def submit(shard: "Shard") -> "PrefectFuture[Result]":
            with OPTIONS[engine](crew):
                return shard_task.submit(root, name, version, shard)

        return in_order(shards, submit, lambda future: future.result(), 2 * crew.workers)

    return embed(Workspace(root), run)


def _dask_runner(address: str | None, crew: Crew, folder: Path) -> "TaskRunner[Any]":
    from prefect_dask.task_runners import DaskTaskRunner

    if address:
        return DaskTaskRunner(address=address)
    return DaskTaskRunner(cluster_class=lambda: dask_cluster(crew, folder))


def dask_cluster(crew: Crew, folder: Path) -> "SpecCluster":
    """A scheduler in this process and a worker process each, on loopback, by TLS with a certificate of its own."""
    import dask
    from distributed import Nanny, Scheduler, SpecCluster
    from distributed.security import Security

    here = {"host": "127.0.0.1", "protocol": "tls", "security": Security.temporary()}
    dask.config.set(temporary_directory=str(folder))
    pages = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    worker = {**here, **pages, "nthreads": 1, "memory_limit": None, "local_directory": str(folder), "silence_logs": 50}
    workers = {
        number: {"cls": Nanny, "options": {**worker, "env": crew.environment(number)}} for number in range(crew.workers)
    }
    with deaf_children():
        return SpecCluster(
            scheduler={"cls": Scheduler, "options": {**here, **pages}},
            workers=workers,
            security=here["security"],
            silence_logs=50,
        )


def _ray_runner(address: str | None, crew: Crew, folder: Path) -> "TaskRunner[Any]":
    import ray
    from prefect.task_runners import TaskRunner
    from prefect_ray.task_runners import RayTaskRunner

    runner: TaskRunner[Any] = RayTaskRunner(address=address)
    if address:
        return runner

    class OnALeash(RayTaskRunner[Any]):  # type: ignore[misc]
        """Starts ray with the first task (most nights of a small workspace have none), and so that it ends with us.

        What `ray.init` starts outlives a killed parent for minutes (ray 2.60).
        """

        _head: "subprocess.Popen[str] | None" = None

        def __enter__(self) -> Any:
            return TaskRunner.__enter__(self)

        def submit(self, *arguments: Any, **options: Any) -> Any:
            if self._head is None:
                port = free_port()
                self._head = _start_ray(crew, folder, port)
                ray.init(f"127.0.0.1:{port}", **self.init_kwargs)
                self._owns_ray = True
            return super().submit(*arguments, **options)

        def __exit__(self, *error: Any) -> None:
            try:
                super().__exit__(*error)
            finally:
                if self._head is not None:
                    leash.end(self._head)

    runner = OnALeash(init_kwargs={"log_to_driver": False, "logging_level": "ERROR"})
    return runner


def _start_ray(crew: Crew, folder: Path, port: int) -> "subprocess.Popen[str]":
    """A ray of one machine, on loopback. TryAgainError if it does not come up."""
    options = {
        **{"port": port, "ray-client-server-port": free_port(), "dashboard-agent-listen-port": 0},
        **{"num-cpus": crew.workers * crew.threads, "num-gpus": len(crew.gpus)},
        **{"node-ip-address": "127.0.0.1", "temp-dir": folder, "object-store-memory": OBJECT_STORE_BYTES},
        "include-dashboard": "false",
    }
    arguments = ["start", "--head", "--block", *(f"--{name}={value}" for name, value in options.items())]
    log = folder / "start.log"
    with log.open("ab") as output:
        head = leash.start("ray.scripts.scripts", arguments, cwd=folder, environment=os.environ, output=output)
    deadline = time.monotonic() + START_SECONDS
    while head.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return head
        time.sleep(0.1)
    leash.end(head)
    said = log.read_text(errors="replace").strip().splitlines()
    raise TryAgainError(f"Ray did not start ({said[-1] if said else 'it said nothing'}). Run the same command again.")


def _ray_options(crew: Crew) -> Any:
    """A worker's share of the machine; ray itself shows it no other GPU and tells torch how many threads."""
    from prefect_ray.context import remote_options

    return remote_options(num_cpus=crew.threads, num_gpus=min(1.0, len(crew.gpus) / crew.workers))


RUNNERS: dict[str, Callable[[str | None, Crew, Path], "TaskRunner[Any]"]] = {"dask": _dask_runner, "ray": _ray_runner}
OPTIONS: dict[str, Callable[[Crew], Any]] = {"dask": nullcontext, "ray": _ray_options}
