"""Each contrastive loss against sums written out in numpy, term by term as the paper has them."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from flickcast.models.networks.ppcl_losses import hierarchical_contrast, penalties, supervised_contrast

TEMPERATURE = 0.1
FEATURES = np.random.default_rng(0).normal(size=(12, 5))  # two views of six rows
CATEGORY, CONCEPT = [3, 3, 3, 7, 7, -1], [1, 1, 2, 5, -1, -1]


def twice(labels: list[int]) -> list[str]:
    """Labels of both views; a row without one is alike to itself alone."""
    own = [f"row {row}" if label < 0 else str(label) for row, label in enumerate(labels)]
    return own * 2


def equation_19(features: NDArray[np.float64], labels: list[str]) -> float:
    """Its sum over anchors, divided by their number."""

    def similarity(first: int, second: int) -> float:
        one, other = features[first], features[second]
        return float(np.exp(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)) / TEMPERATURE))

    total = 0.0
    for anchor in range(len(labels)):
        others = [row for row in range(len(labels)) if row != anchor]
        positives = [row for row in others if labels[row] == labels[anchor]]
        all_others = sum(similarity(anchor, row) for row in others)
        total -= sum(np.log(similarity(anchor, row) / all_others) for row in positives) / len(positives)
    return total / len(labels)


@pytest.mark.parametrize("labels", [CATEGORY, CONCEPT, [0, 1, 2, 3, 4, 5], [-1] * 6])
def test_contrast_is_equation_19(labels: list[int]) -> None:
    found = supervised_contrast(torch.tensor(FEATURES), torch.tensor(labels), TEMPERATURE)
    assert found.item() == pytest.approx(equation_19(FEATURES, twice(labels)), rel=1e-6)


def test_hierarchical_contrast_is_equation_20() -> None:
    levels = [torch.tensor(CATEGORY), torch.tensor(CONCEPT)]
    found = hierarchical_contrast(torch.tensor(FEATURES), levels, TEMPERATURE, "finest")
    expected = (equation_19(FEATURES, twice(CATEGORY)) / 4 + equation_19(FEATURES, twice(CONCEPT))) / 2
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_nothing_to_tell_apart_is_no_loss_and_teaches_nothing() -> None:
    features = torch.tensor(FEATURES, requires_grad=True)
    loss = supervised_contrast(features, torch.zeros(6, dtype=torch.int64), TEMPERATURE)
    loss.backward()
    assert loss.item() == 0
    assert not features.grad.any()


def test_alike_rows_that_lie_together_cost_less() -> None:
    together = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]).repeat(2, 1)
    right, wrong = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    assert supervised_contrast(together, right, TEMPERATURE) < supervised_contrast(together, wrong, TEMPERATURE)


@pytest.mark.parametrize("levels", [1, 2, 3, 5])
def test_penalties_rise_to_the_finest_level_or_fall_from_the_coarsest(levels: int) -> None:
    rising, falling = penalties(levels), penalties(levels, "coarsest")
    assert rising == sorted(rising) == falling[::-1]
    assert len(set(rising)) == levels
    assert (rising[-1], rising[0]) == (1, pytest.approx(levels**-2))
