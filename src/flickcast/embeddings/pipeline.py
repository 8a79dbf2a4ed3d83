"""The work: a reader, decoders, one encoder and whoever iterates, with short queues between them.

On the processor whoever iterates runs the encoder; a graphics card has a thread of its own.

Order is kept, and so is the place of an input in its batch where another one cannot be decoded: the good ones go
through the model exactly as they would without it.
"""

import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread
from typing import Any, Generic, TypeVar

import numpy as np

from flickcast.embeddings.passes import device, is_out_of_memory
from flickcast.embeddings.protocol import Captioner, Encoder, Sample
from flickcast.errors import TryAgainError
from flickcast.pictures import decode

Tag = TypeVar("Tag")

BATCHES_AHEAD = 2  # decoded and waiting, so that the model never does; what more would only cost memory
MOST_DECODERS = 32
POLL_SECONDS = 0.1  # how soon a thread that waits sees that another one has failed


@dataclass(frozen=True)
class Input:
    """What one vector is made of: a picture file, a text, or both; `key` is its hash."""

    key: str
    picture: bytes | None = None
    text: str | None = None


@dataclass
class Result:
    """Vectors in float16, or captions, by the hash of their input; and why some have none, in words that go on after
    "post 7:".
    """

    vectors: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Failure:
    reason: str


_END = object()


def embed_shards(
    encoder: Encoder | Captioner,
    shards: Iterable[tuple[Tag, Iterable[Input]]],
    batch_size: int,
    decoders: int | None = None,
) -> Generator[tuple[Tag, Result]]:
    """Each shard's result as soon as it is complete, in order; batches run across shards.

    The shards are iterated, and so read, in a thread of their own. What any thread raises is raised here, after the
    others have stopped. Whoever may stop early closes the iterator (`contextlib.closing`).
    """
    line = _Line()
    work: _Work[Tag] = _Work(encoder, batch_size)
    prepared: Queue[Any] = Queue(BATCHES_AHEAD * work.batch)
    done: Queue[Any] = Queue(2)
    pool = ThreadPoolExecutor(decoders or min(_cores(), MOST_DECODERS), "decoder", _one_thread)
    line.start("reader", lambda: _read(shards, work.prepare, pool, line, prepared))
    try:
        if device() == "cpu":
            yield from _encoded(work, line, prepared)
        else:  # a graphics card waits for nobody who writes
            line.start("encoder", lambda: _encode(work, line, prepared, done))
            while (result := line.get(done)) is not _END:
                yield result
    except _StoppedError:
        pass  # what stopped it is raised below
    finally:
        line.stop()
        pool.shutdown(cancel_futures=True)
    if line.error is not None:
        raise line.error


def _read(
    shards: Iterable[tuple[Tag, Iterable[Input]]],
    prepare: Callable[[Input], Any],
    pool: ThreadPoolExecutor,
    line: "_Line",
    prepared: "Queue[Any]",
) -> None:
    """Hand every input to the decoders; what comes out keeps its order by the queue of what they are at."""
    for tag, inputs in shards:
        for one in inputs:
            line.put(prepared, (one.key, pool.submit(prepare, one)))
        line.put(prepared, (_END, tag))
    line.put(prepared, _END)


def _encode(work: "_Work[Tag]", line: "_Line", prepared: "Queue[Any]", done: "Queue[Any]") -> None:
    for finished in _encoded(work, line, prepared):
        line.put(done, finished)
    line.put(done, _END)


def _encoded(work: "_Work[Tag]", line: "_Line", prepared: "Queue[Any]") -> Generator[tuple[Tag, Result]]:
    while (item := line.get(prepared)) is not _END:
        yield from work.add(*item)
    yield from work.flush()


class _Work(Generic[Tag]):
    """Gathers prepared inputs into batches, and the batches' vectors, or captions, into shards."""

    def __init__(self, encoder: Encoder | Captioner, batch_size: int) -> None:
        self._encoder = encoder
        rows = getattr(encoder, "rows", 1)
        self.batch = -(-batch_size // rows) * rows
        self._one_at_a_time = Lock()
        self._has_cores = device() != "cpu"
        self._cores_are_free = Event()
        self._cores_are_free.set()
        self._waiting: list[tuple[str, Any, Result]] = []
        self._open = Result()
        self._closed: list[tuple[Tag, Result]] = []

    def prepare(self, one: Input) -> Any:
        """The decoder's part. Where memory runs out for several at a time, one by one; TryAgainError if that fails.

        A model that computes on the processor has it for itself: its threads wait for the one that a decoder delays,
        which costs more than decoding between its batches.
        """
        self._cores_are_free.wait()
        try:
            return _prepared(self._encoder, one)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        try:
            with self._one_at_a_time:
                return _prepared(self._encoder, one)
        except (MemoryError, RuntimeError) as error:
            raise self._too_little_memory() if is_out_of_memory(error) else error from None

    def add(self, key: Any, value: Any) -> list[tuple[Tag, Result]]:
        """Take an input's future, or the end of a shard; the shards that are complete now."""
        if key is _END:
            self._closed.append((value, self._open))
            self._open = Result()
            return [] if self._waiting else self._complete()
        future: Future[Any] = value
        self._waiting.append((key, future.result(), self._open))
        return self.flush() if len(self._waiting) >= self.batch else []

    def flush(self) -> list[tuple[Tag, Result]]:
        """Encode what waits; the shards that are complete now."""
        waiting, self._waiting = self._waiting, []
        for (key, _, result), found in zip(waiting, self._encoded([one for _, one, _ in waiting]), strict=True):
            if isinstance(found, _Failure):
                result.reasons[key] = found.reason
            else:
                result.vectors[key] = found
        return self._complete()

    def _complete(self) -> list[tuple[Tag, Result]]:
        closed, self._closed = self._closed, []
        return closed

    def _encoded(self, prepared: list[Any]) -> list[Any]:
        """A vector or a failure for each; a copy of a good one goes through the model in the place of a bad one."""
        good = next((one for one in prepared if not isinstance(one, _Failure)), None)
        if good is None:
            return prepared
        made = self._made([good if isinstance(one, _Failure) else one for one in prepared])
        return [one if isinstance(one, _Failure) else found for one, found in zip(prepared, made, strict=True)]

    def _made(self, prepared: Sequence[Any]) -> list[Any]:
        """Encode; in halves, from now on, where memory runs out. TryAgainError if it does for a single one."""
        try:
            with self._alone():
                return _through(self._encoder, prepared)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        if len(prepared) == 1:
            raise self._too_little_memory()
        half = len(prepared) // 2
        self._shrink(half)
        return [*self._made(prepared[:half]), *self._made(prepared[half:])]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._has_cores:
            self._cores_are_free.clear()
        try:
            yield
        finally:
            self._cores_are_free.set()

    def _too_little_memory(self) -> TryAgainError:
        return TryAgainError(
            f"Encoder {self._encoder.name} runs out of memory with a single post. Free some and run the command again."
        )

    def _shrink(self, batch: int) -> None:
        import torch

        self.batch = min(self.batch, max(1, batch))
        if rows := getattr(self._encoder, "rows", None):
            self._encoder.rows = max(1, rows // 2)  # type: ignore[union-attr]
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _through(encoder: Encoder | Captioner, prepared: Sequence[Any]) -> list[Any]:
    """A caption for each; or a vector in float16, or a failure where that is not finite."""
    if isinstance(encoder, Captioner):
        return list(encoder.generate(prepared))
    vectors = encoder.encode(prepared)
    with np.errstate(over="ignore"):
        rounded = vectors.astype(np.float16)  # what is beyond differs between machines
    unsound = _Failure(f"encoder {encoder.name} gives it no finite vector")
    sound: list[bool] = np.isfinite(rounded).all(axis=1).tolist()  # type: ignore[assignment]
    return [vector if fine else unsound for vector, fine in zip(rounded, sound, strict=True)]


def _prepared(encoder: Encoder | Captioner, one: Input) -> Any:
    picture = mode = None
    if one.picture is not None:
        decoded = decode(one.picture, encoder.shortest_edge)
        if isinstance(decoded, str):
            return _Failure(decoded)
        picture, mode = decoded.rgb, decoded.mode
    try:
        return encoder.prepare(Sample(picture, one.text, mode))
    except (ValueError, OSError) as error:
        return _Failure(f"encoder {encoder.name} cannot read it ({type(error).__name__}: {error})")


class _StoppedError(Exception):
    """Another thread has failed, or nobody wants the rest."""


class _Line:
    """Threads that stop together: the first error of any of them is kept, and all that wait are woken."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._stopped = Event()
        self._threads: list[Thread] = []

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Run the work in a thread."""

        def guarded() -> None:
            try:
                with suppress(_StoppedError):
                    work()
            except BaseException as error:
                self.error = self.error or error
                self._stopped.set()

        thread = Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """Wake and end all threads."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def put(self, queue: "Queue[Any]", item: Any) -> None:
        """Wait for room. _StoppedError if that is in vain."""
        while not self._stopped.is_set():
            with suppress(Full):
                return queue.put(item, timeout=POLL_SECONDS)
        raise _StoppedError

    def get(self, queue: "Queue[Any]") -> Any:
        """Wait for an item. _StoppedError if that is in vain."""
        while not self._stopped.is_set():
            with suppress(Empty):
                return queue.get(timeout=POLL_SECONDS)
        raise _StoppedError


def _one_thread() -> None:
    """A decoder's torch, if any, computes in the decoder's own thread.

    OpenMP's threads stop spinning at barriers as soon as all teams together have more of them than there are cores: a
    model on 2 cores then loses a sixth of its speed (libgomp, 2026-11-22). For the same reason a model that computes on
    the processor runs in the thread that has proven it, whose team exists already.
    """
    if "torch" in sys.modules:
        import torch
        from threadpoolctl import threadpool_limits

        torch.get_num_threads()  # sets this thread's number, once; torch.set_num_threads would change all threads'
        threadpool_limits(1, user_api="openmp")


def _cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
