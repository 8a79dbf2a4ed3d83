"""Exact search for the nearest vectors among those known before a moment: blocks of dot products, no index."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Numbers = NDArray[np.int64]
ENTRIES = 2**26  # of one block of similarities: 256 MB
LARGEST_BLOCK = 512
GROUP = 64


@dataclass(frozen=True)
class Events:
    """Unit vectors (n, d) with the moment (n,) from which each counts and its owner (n,)."""

    vectors: Matrix
    moments: Numbers
    owners: Numbers


def nearest_before(queries: Events, known: Events, count: int) -> tuple[Matrix, Numbers]:
    """Cosines (n, count) and positions (n, count) of the nearest known vectors of other owners, strictly before.

    `known` must be sorted by moment. Where fewer are found, the cosine is -inf. In no particular order within a row.
    """
    count = min(count, len(known.moments))
    cosines = np.full((len(queries.moments), count), -np.inf, np.float32)
    positions = np.zeros((len(queries.moments), count), np.int64)
    by_owner = np.argsort(known.owners, kind="stable")
    order = np.argsort(queries.moments, kind="stable")
    size = max(1, min(LARGEST_BLOCK, ENTRIES // max(1, len(known.moments))))
    memory = np.empty(size * len(known.moments), np.float32)  # fresh memory for each block would take five times longer
    for first in range(0, len(order), size):
        block = order[first : first + size]
        found = _similarities(_some(queries, block), known, by_owner, memory)
        width = min(count, found.shape[1])
        places = _largest(found, width)
        positions[block, :width] = places
        cosines[block, :width] = np.take_along_axis(found, places, axis=1)
    return cosines, positions


def _some(events: Events, block: Numbers) -> Events:
    return Events(events.vectors[block], events.moments[block], events.owners[block])


def _similarities(queries: Events, known: Events, by_owner: Numbers, memory: Matrix) -> Matrix:
    """Dot products with all that may count for any of these queries; -inf where it does not count for one."""
    ends = np.searchsorted(known.moments, queries.moments, side="left")
    last = int(ends.max())
    found = memory[: len(ends) * last].reshape(len(ends), last)
    np.matmul(queries.vectors, known.vectors[:last].T, out=found)
    start = int(ends.min())
    found[:, start:][np.arange(start, last) >= ends[:, None]] = -np.inf
    found[_own(queries.owners, known.owners, by_owner, last)] = -np.inf
    return found


def _own(queries: Numbers, known: Numbers, by_owner: Numbers, last: int) -> tuple[Numbers, Numbers]:
    """The pairs (query, known) of one owner, known among the first `last`."""
    of_owner = known[by_owner]
    start, end = (np.searchsorted(of_owner, queries, side=side) for side in ("left", "right"))
    counts = end - start
    rows = np.repeat(np.arange(len(queries)), counts)
    steps = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    columns = by_owner[np.repeat(start, counts) + steps]
    return rows[columns < last], columns[columns < last]


def _largest(values: Matrix, count: int) -> Numbers:
    """Positions of the largest `count` values of each row.

    They lie in the `count` groups with the largest maxima, so only those are looked through: five times quicker than a
    partition of whole rows.
    """
    groups = values.shape[1] // GROUP
    if groups <= count:
        return _partition(values, count)
    body = values[:, : groups * GROUP].reshape(len(values), GROUP, groups)
    chosen = _partition(body.max(axis=1), count)
    places = (chosen[:, :, None] + groups * np.arange(GROUP)).reshape(len(values), -1)
    rest = np.broadcast_to(np.arange(groups * GROUP, values.shape[1]), (len(values), values.shape[1] - groups * GROUP))
    places = np.concatenate([places, rest], axis=1)
    among = _partition(np.take_along_axis(values, places, axis=1), count)
    return np.take_along_axis(places, among, axis=1)


def _partition(values: Matrix, count: int) -> Numbers:
    if count >= values.shape[1]:
        return np.broadcast_to(np.arange(values.shape[1]), values.shape).copy()
    return np.argpartition(-values, count - 1, axis=1)[:, :count]
