"""What a pass of batches guarantees."""

import numpy as np
import pytest
from numpy.typing import NDArray

from flickcast.models.networks.ppcl_sampler import hierarchical_batches

Rows = NDArray[np.int64]
DEPTH, BATCH = 3, 64
ANCHORS = BATCH // (DEPTH + 1)


def classes(rows: int, seed: int = 0, unlabelled: float = 0.0) -> Rows:
    """A tree of 4, 12 and 60 classes, unevenly full."""
    random = np.random.default_rng(seed)
    concept = (60 * random.random(rows) ** 2).astype(np.int64)
    levels = np.column_stack([concept // 15, concept // 5, concept])
    levels[random.random(rows) < unlabelled] = -1
    return levels


def drawn(levels: Rows, seed: int = 0, batch_size: int = BATCH) -> list[Rows]:
    return list(hierarchical_batches(levels, batch_size, np.random.default_rng(seed)))


@pytest.mark.parametrize("rows", [1, 2, 3, 10, 63, 64, 65, 1000])
@pytest.mark.parametrize("unlabelled", [0.0, 0.3, 1.0])
def test_every_row_is_seen_and_no_batch_too_large_or_with_a_row_twice(rows: int, unlabelled: float) -> None:
    batches = drawn(classes(rows, unlabelled=unlabelled))
    assert set(np.concatenate(batches).tolist()) == set(range(rows))
    assert max(map(len, batches)) <= BATCH
    assert all(len(set(batch.tolist())) == len(batch) for batch in batches)


@pytest.mark.parametrize("unlabelled", [0.0, 0.3])
def test_every_anchor_has_its_like_at_each_level_where_there_is_one(unlabelled: float) -> None:
    levels, seen = classes(1000, unlabelled=unlabelled), set[int]()
    sizes = [np.bincount(levels[:, level] + 1) for level in range(DEPTH)]
    for batch in drawn(levels):
        inside, anchors = levels[batch], min(ANCHORS, len(levels) - len(seen))
        seen.update(batch.tolist())
        for anchor in inside[:anchors]:
            for level in range(DEPTH):
                if anchor[level] >= 0 and sizes[level][anchor[level] + 1] > 1:
                    assert (inside[:, level] == anchor[level]).sum() > 1


def test_partners_differ_at_the_next_level_where_they_can() -> None:
    """Each class has several below it, so that the block of each level repeats the anchors at this one alone."""
    levels = classes(4000)
    batch = levels[drawn(levels)[0]].reshape(DEPTH + 1, ANCHORS, DEPTH)
    anchors = batch[0]
    for level in range(DEPTH):
        assert (batch[level + 1][:, level] == anchors[:, level]).all()
        if level + 1 < DEPTH:
            assert (batch[level + 1][:, level + 1] != anchors[:, level + 1]).all()


def test_class_with_a_single_one_below_it_has_partners_all_the_same() -> None:
    last = 200 % BATCH * (DEPTH + 1)  # anchors that nobody has drawn, partners that somebody has
    assert [len(batch) for batch in drawn(np.zeros((200, DEPTH), np.int64))] == [BATCH, BATCH, BATCH, last]


def test_a_pass_is_little_longer_than_the_rows() -> None:
    assert sum(map(len, drawn(classes(5000)))) < 1.5 * 5000


def test_same_seed_same_batches_and_another_seed_others() -> None:
    levels = classes(300)
    same = [np.concatenate(drawn(levels, seed)).tolist() for seed in (0, 0, 1)]
    assert same[0] == same[1] != same[2]


def test_anchors_are_not_in_the_order_of_the_rows() -> None:
    first = np.concatenate([batch[:ANCHORS] for batch in drawn(classes(1000))])
    assert (np.diff(first) < 0).mean() > 0.3
