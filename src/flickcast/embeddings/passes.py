"""Passes of one shape: a vector then does not depend on its neighbours or on how many were asked for at once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


def in_passes(items: Sequence[Item], rows: int) -> Iterator[tuple[list[Item], int]]:
    """The items, `rows` at a time, the last ones filled up with copies, and how many of them count.

    >>> list(in_passes("abc", 2))
    [(['a', 'b'], 2), (['c', 'c'], 1)]
    """
    for start in range(0, len(items), rows):
        some = list(items[start : start + rows])
        yield some + [some[-1]] * (rows - len(some)), len(some)


@contextmanager
def on_threads(count: int | None) -> Iterator[None]:
    """torch on this many threads, and as before afterwards; None leaves them as they are."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
