"""Passes of one shape through a model: a vector then depends neither on its neighbours nor on the caller's batches."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from flickcast.embeddings.protocol import Vectors

if TYPE_CHECKING:
    import torch


def in_passes(
    prepared: Sequence[Any], rows: int, run: "Callable[[Sequence[Any]], Vectors | torch.Tensor]", dimension: int
) -> Vectors:
    """One row per prepared post: `run` always gets `rows` of them, the last pass filled up with copies of its last one.

    Matrix products of another shape round differently. Where `run` leaves its result on a graphics card, nothing waits
    before all passes are on their way: the next one's input is copied while this one is computed.
    """
    found: list[Vectors | torch.Tensor] = [np.empty((0, dimension), dtype=np.float32)]
    for start in range(0, len(prepared), rows):
        some = list(prepared[start : start + rows])
        found.append(run(some + [some[-1]] * (rows - len(some)))[: len(some)])
    return np.concatenate([one if isinstance(one, np.ndarray) else one.cpu().numpy() for one in found])


def on_device(some: "Sequence[torch.Tensor]", place: str) -> "torch.Tensor":
    """Tensors of one shape as one, (rows, ...); to a graphics card from pinned memory, so that nobody waits for it."""
    import torch

    shape = (len(some), *some[0].shape)
    stacked = torch.empty(shape, dtype=some[0].dtype, pin_memory=place != "cpu")
    return torch.stack(list(some), out=stacked).to(place, non_blocking=True)


def device() -> str:
    """Where models compute: the graphics card if there is one. Its sums are float32 whatever the numbers are."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    return "cuda"


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
