"""Exact search for the nearest vectors among those known before a moment: blocks of dot products, no index."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Numbers = NDArray[np.int64]
Values = NDArray[np.float64]
ENTRIES = 2**26  # of one block of similarities: 256 MB
LARGEST_BLOCK = 512
GROUP = 64
TIE = 2e-6  # cosines of the same vectors differ by some 3e-7, depending on where in a block they are computed


@dataclass(frozen=True)
class Events:
    """Unit vectors (n, d) with the moment (n,) from which each counts and its owner (n,)."""

    vectors: Matrix
    moments: Numbers
    owners: Numbers


def nearest_before(queries: Events, known: Events, values: Values, count: int, window: int) -> tuple[Matrix, Values]:
    """Cosines (n, count) of the nearest known vectors of other owners, strictly before, and their `values` (., c).

    The values have the shape (n, count, c). `known` must be sorted by moment; each query looks through the `window` of
    it that came last before the query. Whoever is as near as the last of the `count` gives an equal share of the values
    there, or the order in which known vectors lie would choose. The nearest comes first; where fewer are found the
    cosine is -inf and the values are 0.
    """
    cosines = np.full((len(queries.moments), count), -np.inf, np.float32)
    found = np.zeros((len(queries.moments), count, values.shape[1]))
    by_owner = np.argsort(known.owners, kind="stable")
    order = np.argsort(queries.moments, kind="stable")
    size = max(1, min(LARGEST_BLOCK, ENTRIES // max(1, len(known.moments))))
    memory = np.empty(size * len(known.moments), np.float32)  # fresh memory for each block would take five times longer
    for first in range(0, len(order), size):
        block = order[first : first + size]
        similarities, offset = _similarities(_some(queries, block), known, by_owner, window, memory)
        nearest, theirs = _nearest(similarities, values[offset:], count)
        cosines[block, : nearest.shape[1]] = nearest
        found[block, : nearest.shape[1]] = theirs
    return cosines, found


def first_of_newest(moments: Numbers, count: int) -> int:
    """Where the newest `count` of sorted moments begin; what came together with the oldest of them is among them."""
    return int(np.searchsorted(moments, moments[max(0, len(moments) - count)], side="left")) if len(moments) else 0


def _some(events: Events, block: Numbers) -> Events:
    return Events(events.vectors[block], events.moments[block], events.owners[block])


def _similarities(queries: Events, known: Events, by_owner: Numbers, window: int, memory: Matrix) -> tuple[Matrix, int]:
    """Dot products with all that may count for any of these queries, -inf where it does not; where those begin."""
    ends = np.searchsorted(known.moments, queries.moments, side="left")
    starts = np.array([first_of_newest(known.moments[:end], window) for end in ends])
    first, last = int(starts.min()), int(ends.max())
    found = memory[: len(ends) * (last - first)].reshape(len(ends), last - first)
    np.matmul(queries.vectors, known.vectors[first:last].T, out=found)
    begun, ended = int(starts.max()) - first, int(ends.min()) - first
    found[:, :begun][np.arange(first, first + begun) < starts[:, None]] = -np.inf
    found[:, ended:][np.arange(first + ended, last) >= ends[:, None]] = -np.inf
    rows, columns = _own(queries.owners, known.owners, by_owner)
    inside = (first <= columns) & (columns < last)
    found[rows[inside], columns[inside] - first] = -np.inf
    return found, first


def _nearest(similarities: Matrix, values: Values, count: int) -> tuple[Matrix, Values]:
    """The largest (n, count or fewer) of each row and their values (n, ., c)."""
    places = _largest(similarities, min(count + 1, similarities.shape[1]))
    cosines = np.take_along_axis(similarities, places, axis=1)
    order = np.argsort(-cosines, axis=1, kind="stable")
    places, cosines = np.take_along_axis(places, order, axis=1), np.take_along_axis(cosines, order, axis=1)
    chosen, found = (
        cosines[:, :count],
        np.where(np.isfinite(cosines), 1.0, 0.0)[:, :count, None] * values[places[:, :count]],
    )
    if cosines.shape[1] > count:
        edge = cosines[:, count - 1]
        for row in np.flatnonzero(cosines[:, count] >= np.where(np.isfinite(edge), edge, np.inf) - TIE):
            as_near = np.abs(similarities[row] - edge[row]) <= TIE
            found[row, chosen[row] <= edge[row] + TIE] = values[: len(as_near)][as_near].mean(axis=0)
    return chosen, found


def _own(queries: Numbers, known: Numbers, by_owner: Numbers) -> tuple[Numbers, Numbers]:
    """The pairs (query, known) of one owner."""
    of_owner = known[by_owner]
    start, end = (np.searchsorted(of_owner, queries, side=side) for side in ("left", "right"))
    counts = end - start
    rows = np.repeat(np.arange(len(queries)), counts)
    steps = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, by_owner[np.repeat(start, counts) + steps]


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
