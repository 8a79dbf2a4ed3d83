"""Where vectors are computed: in this process, in several of this machine, or on a cluster of dask or ray.

Whatever the engine, a worker is given shards without bytes and gives back vectors; this process alone writes. There is
one worker per GPU, and each sees its own only; without any, one for every four cores.

dask and ray send objects between processes as pickles. That stays within one cluster: what is ours listens on loopback
only, dask's asks for a certificate made for this run and ray's for a token, and no pickle is ever kept in a file. Who
names a cluster of his own in `compute.address` trusts every machine that may reach it; its workers see the workspace
under the same path and Prefect's server under PREFECT_API_URL.
"""

import os
import secrets
import shutil
import signal
import tempfile
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import active_children, get_context, resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flickcast.errors import TryAgainError, UserError
from flickcast.leash import end_with_parent
from flickcast.params import ComputeParams
from flickcast.records import StageReport
from flickcast.stages.embedding import embed as in_this_process
from flickcast.stages.embedding import run_shards
from flickcast.workspace import Workspace
from flows.local import environment, local_prefect

if TYPE_CHECKING:
    from flickcast.embeddings.pipeline import Result
    from flickcast.embeddings.step import Shard
    from flickcast.stages.embedding import Run

CORES_PER_WORKER = 4  # more of them gain little for one model (ViT-B-32, 2 to 16 threads)
OBJECT_STORE_BYTES = 256 * 2**20  # ray's shared memory: a shard's vectors are a few MB
Item = TypeVar("Item")
Pending = TypeVar("Pending")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Crew:
    """The worker processes of this machine: how many, the cores of each, and the GPUs to divide among them."""

    workers: int
    threads: int
    gpus: tuple[str, ...] = ()

    def environment(self, worker: int) -> dict[str, str]:
        """What one worker is told; a GPU of its own where there is one for each.

        >>> Crew(2, 1, ("0", "3")).environment(1)
        {'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '3'}
        """
        own = {"CUDA_VISIBLE_DEVICES": self.gpus[worker % len(self.gpus)]} if self.gpus else {}
        return {"OMP_NUM_THREADS": str(self.threads), **own}


def crew(workers: int | None, cores: int, gpus: tuple[str, ...]) -> Crew:
    """As many workers as asked for; by default one per GPU or, without any, one for every four cores.

    >>> crew(None, 16, ("0", "1")), crew(None, 2, ()).workers
    (Crew(workers=2, threads=8, gpus=('0', '1')), 1)
    """
    number = workers or len(gpus) or max(1, cores // CORES_PER_WORKER)
    return Crew(number, max(1, cores // number), gpus)


def crew_here(compute: ComputeParams) -> Crew:
    """The workers of this machine, by params.yaml, its cores and its GPUs."""
    return crew(compute.workers, len(os.sched_getaffinity(0)), _gpus())


def _gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES takes."""
    import torch

    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return tuple(named or map(str, range(torch.cuda.device_count()))) if torch.cuda.is_available() else ()


def embed(ws: Workspace) -> StageReport:
    """Vectors for every post that the encoders have not seen yet, on the engine of params.yaml."""
    compute = ws.params.compute
    if compute.engine != "local":
        return _on_cluster(ws, compute)
    here = crew_here(compute)
    if here.workers == 1:
        return in_this_process(ws)
    with _processes(here) as pool:
        return in_this_process(ws, pool)


@contextmanager
def _processes(crew: Crew) -> "Iterator[Run]":
    """Processes of this machine that end with this one, as a function that runs shards on them."""
    context = get_context("spawn")
    numbers = context.SimpleQueue()
    for number in range(crew.workers):
        numbers.put(number)
    begin = (os.getpid(), crew, numbers)
    pool = ProcessPoolExecutor(crew.workers, mp_context=context, initializer=_begin_worker, initargs=begin)

    def run(root: Path, name: str, version: str, shards: "Sequence[Shard]") -> "Generator[tuple[Shard, Result]]":
        def submit(shard: "Shard") -> "Future[Result]":
            with deaf_children():
                return pool.submit(run_one, root, name, version, shard)

        return in_order(shards, submit, Future.result, 2 * crew.workers)

    try:
        yield run
    except BrokenProcessPool:
        raise TryAgainError(
            "A process that embeds was killed (out of memory?). What was finished is kept; run the same command again."
        ) from None
    except KeyboardInterrupt:
        for worker in active_children():
            worker.terminate()  # else it would finish its shard first, for nobody
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes started in the block never hear Ctrl-C, which a terminal sends to all: this one hears it and ends them.

    A process and a thread inherit what their parent blocks; what comes meanwhile reaches this one after the block.
    """
    resource_tracker.ensure_running()  # when it starts, it lets through what we block (Python 3.11)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(parent: int, crew: Crew, numbers: Any) -> None:
    end_with_parent(parent)
    os.environ.update(crew.environment(numbers.get()))


def run_one(root: Path, name: str, version: str, shard: "Shard") -> "Result":
    """A worker's part: the result of one shard."""
    ((_, result),) = run_shards(root, name, version, [shard])
    return result


def in_order(
    items: Iterable[Item], submit: Callable[[Item], Pending], result: Callable[[Pending], Found], ahead: int
) -> Generator[tuple[Item, Found]]:
    """Each item with its result, in their order, with at most `ahead` of them submitted and not yet taken.

    >>> list(in_order([3, 1, 2], lambda item: item * 10, lambda pending: pending + 1, 2))
    [(3, 31), (1, 11), (2, 21)]
    """
    waiting: deque[tuple[Item, Pending]] = deque()
    for item in items:
        if len(waiting) >= ahead:
            oldest, pending = waiting.popleft()
            yield oldest, result(pending)
        waiting.append((item, submit(item)))
    for oldest, pending in waiting:
        yield oldest, result(pending)


def _on_cluster(ws: Workspace, compute: ComputeParams) -> StageReport:
    """The stage as a flow whose shards are tasks of Prefect's runner for dask or ray."""
    _demand(compute.engine)
    if compute.address and "PREFECT_API_URL" not in os.environ:
        raise UserError(
            "compute.address names a cluster: set PREFECT_API_URL to a Prefect server that its workers can reach."
        )
    here = crew_here(compute)
    with _prefect(ws.root), _quiet_cluster(compute) as folder:
        from flows import shards

        runner = shards.RUNNERS[compute.engine](compute.address, here, folder)
        flow = shards.embed_in_tasks.with_options(task_runner=runner)
        report = flow(ws.root, compute.engine, here)
        assert isinstance(report, StageReport)
        return report


def _demand(engine: str) -> None:
    if find_spec(f"prefect_{engine}") is None:
        raise UserError(
            f"compute.engine is {engine}, which is not installed: `pip install 'flickcast[{engine}]'`, "
            "or set it to local in params.yaml."
        )


@contextmanager
def _prefect(root: Path) -> Iterator[None]:
    """The server that this command was started under (a night's), or one of our own."""
    if "PREFECT_API_URL" in os.environ:
        yield
        return
    with local_prefect(root):
        yield


@contextmanager
def _quiet_cluster(compute: ComputeParams) -> Iterator[Path]:
    """A private folder for sockets, whose paths have at most 107 bytes, and for spilled data; no reports to anyone."""
    folder = Path(tempfile.mkdtemp(prefix="flickcast-"))
    try:
        with environment(cluster_environment(compute)):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def cluster_environment(compute: ComputeParams) -> Mapping[str, str]:
    """What keeps dask and ray to themselves. A cluster of the user's own has its own place and secrets."""
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    if compute.address:
        return quiet
    return quiet | {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else it takes 127.0.0.1 for the machine's outer address (ray 2.60)
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
