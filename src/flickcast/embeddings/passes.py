"""Passes of one shape through a model: a vector then depends neither on its neighbours nor on the caller's batches."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from flickcast.embeddings.protocol import Vectors


def in_passes(prepared: Sequence[Any], rows: int, run: Callable[[Sequence[Any]], Vectors], dimension: int) -> Vectors:
    """One row per prepared post: `run` always gets `rows` of them, the last pass filled up with copies of its last one.

    Matrix products of another shape round differently.
    """
    found = [np.empty((0, dimension), dtype=np.float32)]
    for start in range(0, len(prepared), rows):
        some = list(prepared[start : start + rows])
        found.append(run(some + [some[-1]] * (rows - len(some)))[: len(some)])
    return np.concatenate(found)


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """torch on this many threads (None: as it is), and as before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, the device's or the machine's (torch says the latter with a RuntimeError)."""
    import torch

    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )
