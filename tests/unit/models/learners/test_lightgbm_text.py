"""A genuine text passes; one that points out of its bounds does not."""

import numpy as np
import pytest
from planted import planted

from flickcast.models.learners import LEARNERS
from flickcast.models.learners.lightgbm_text import check_text

DESIGN, TARGET = planted(300)


def genuine(target: np.ndarray = TARGET, rounds: int = 15) -> str:
    learner = LEARNERS["lightgbm"]
    fitted = learner.fit(DESIGN, target, settings=learner.settings(), seed=0, threads=1, iterations=rounds)
    return fitted.to_bytes().decode()


TEXT = genuine()


def changed(field: str, place: int, value: int, tree: int = 0) -> bytes:
    """The text with one number of a field of a tree replaced."""
    before, start, rest = TEXT.partition(f"\nTree={tree}\n")
    head, name, tail = rest.partition(f"\n{field}=")
    line, end, after = tail.partition("\n")
    numbers = line.split()
    numbers[place] = str(value)
    return (before + start + head + name + " ".join(numbers) + end + after).encode()


def test_what_lightgbm_writes_passes() -> None:
    check_text(TEXT.encode())
    check_text(genuine(np.full(300, 6.1)).encode())
    assert "num_cat=1" in TEXT, "a set of categories is among the checks"


@pytest.mark.parametrize("field", ["left_child", "right_child"])
@pytest.mark.parametrize("value", [-999, -1, 0, 1, 999])
def test_other_children_are_refused(field: str, value: int) -> None:
    content = changed(field, 0, value)
    if content != TEXT.encode():
        with pytest.raises(ValueError, match="one way to them"):
            check_text(content)


@pytest.mark.parametrize("value", [-1, 2 + 1, 10**9])
def test_columns_that_are_not_there_are_refused(value: int) -> None:
    with pytest.raises(ValueError, match="columns that are there"):
        check_text(changed("split_feature", 0, value))


@pytest.mark.parametrize("value", [0, 1, 1000, -3])
def test_another_number_of_leaves_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match=r"leaf|inner node"):
        check_text(changed("num_leaves", 0, value))


@pytest.mark.parametrize(("field", "value"), [("cat_boundaries", 7), ("cat_boundaries", -1), ("num_cat", 5)])
def test_sets_of_categories_out_of_their_words_are_refused(field: str, value: int) -> None:
    tree = next(number for number, part in enumerate(TEXT.split("\nTree=")[1:]) if "num_cat=1" in part)
    with pytest.raises(ValueError, match="sets of categories"):
        check_text(changed(field, -1, value, tree))


@pytest.mark.parametrize("old", ["max_feature_idx=2", "num_class=1", "Tree=3", "feature_names=signal "])
def test_heads_that_do_not_fit_are_refused(old: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        check_text(TEXT.replace(old, old[:-1] + "9", 1).encode())
