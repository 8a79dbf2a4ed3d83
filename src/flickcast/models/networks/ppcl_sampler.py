"""PPCL's batches (Zhang et al. 2024, section 5.6): beside each anchor a row that is alike at each level of classes."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]
LOOKS = 64  # at rows not drawn yet, before a partner may be alike at the finer level too


def hierarchical_batches(levels: Rows, batch_size: int, random: np.random.Generator) -> Iterator[Rows]:
    """The rows of each batch of one pass, anchors first: one in (depth + 1) of the batch.

    `levels` (rows, depth): classes, coarsest first, below 0 where a row has none. Every row is in a batch. Each anchor
    has another row of its class at each level where there is one in the data, if possible one of another class at the
    next level. Partners are rows that were not drawn in this pass, as long as there are such; so a pass is little
    longer than the rows. Places that no partner takes go to further rows, without partners of their own.
    """
    rows, depth = levels.shape
    order, drawn = random.permutation(rows), np.zeros(rows, bool)
    partners = [_Partners(levels, level, order) for level in range(depth)]
    anchors_at_once = max(1, min(batch_size, rows) // (depth + 1))
    while not drawn.all():
        waiting = order[~drawn[order]]
        anchors = waiting[:anchors_at_once]
        batch, inside = list(anchors), np.zeros(rows, bool)
        inside[anchors] = drawn[anchors] = True
        for level in partners:
            for anchor in anchors:
                partner = level.of(anchor, drawn, inside, random)
                if partner is not None:
                    batch.append(partner)
                    inside[partner] = drawn[partner] = True
        others = waiting[~drawn[waiting]][: max(0, batch_size - len(batch))]
        drawn[others] = True
        yield np.array([*batch, *others])


class _Partners:
    """Rows of the same class at one level."""

    def __init__(self, levels: Rows, level: int, order: Rows) -> None:
        self.own = levels[:, level]
        # at the finest level no two rows differ further
        self.finer = levels[:, level + 1] if level + 1 < levels.shape[1] else np.zeros(len(levels), np.int64)
        waiting = defaultdict(list)
        for row in order[self.own[order] >= 0].tolist():
            waiting[int(self.own[row])].append(row)
        self.waiting = dict(waiting)  # not drawn when last looked at
        self.members = {label: np.array(rows) for label, rows in waiting.items()}
        self.varied = {label: np.ptp(self.finer[rows]) > 0 for label, rows in self.members.items()}

    def of(self, anchor: int, drawn: Mask, inside: Mask, random: np.random.Generator) -> int | None:
        """A row for the anchor's batch; None where all rows of its class are in it, or where it has no class."""
        label = int(self.own[anchor])
        if label < 0:
            return None
        found = self._waiting(label, self.finer[anchor], drawn)
        return self._any(label, self.finer[anchor], inside, random) if found is None else found

    def _waiting(self, label: int, finer: int, drawn: Mask) -> int | None:
        """One not drawn in this pass, from the end of the list, of another finer class if that is soon found."""
        rows = self.waiting[label]
        while rows and drawn[rows[-1]]:
            rows.pop()
        seen = [row for row in rows[: -LOOKS - 1 : -1] if not drawn[row]]
        other = [row for row in seen if self.finer[row] != finer] if self.varied[label] else seen
        return next(iter([*other, *seen]), None)

    def _any(self, label: int, finer: int, inside: Mask, random: np.random.Generator) -> int | None:
        rows = self.members[label][~inside[self.members[label]]]
        other = rows[self.finer[rows] != finer]
        rows = other if len(other) else rows
        return int(random.choice(rows)) if len(rows) else None
