"""The Huber loss, its weights, and columns beside embedded categories."""

import numpy as np
import pytest
import torch
from planted import planted
from torch import nn

from flickcast.models.networks.inputs import Batch, Scaling, Shape
from flickcast.models.networks.layers import Columns, HuberLearner, HuberSettings, huber


def batch(target: list[float], weights: list[float] | None = None) -> Batch:
    rows = len(target)
    numbers, codes = torch.zeros(rows, 0), torch.zeros(rows, 0, dtype=torch.int64)
    heft = None if weights is None else torch.tensor(weights)
    return Batch(numbers, codes, {}, {}, torch.tensor(target), heft)


def by_hand(errors: list[float], delta: float) -> list[float]:
    return [e**2 / 2 if abs(e) <= delta else delta * abs(e) - delta**2 / 2 for e in errors]


@pytest.mark.parametrize("delta", [0.5, 1.0, 3.0])
def test_huber_is_the_papers_equation(delta: float) -> None:
    said = torch.tensor([[1.5], [0.0], [-4.0], [2.0]])
    expected = np.mean(by_hand([-0.5, 1.0, 4.0, 0.0], delta))
    assert huber(said, batch([1.0, 1.0, 0.0, 2.0]), delta).item() == pytest.approx(expected)


def test_rows_count_by_their_weights_and_predictions_alike() -> None:
    said = torch.tensor([[1.0, 3.0], [0.0, 9.0]])
    losses = by_hand([1.0, 3.0, 0.0, 9.0], 1.0)
    expected = (3 * (losses[0] + losses[1]) / 2 + 1 * (losses[2] + losses[3]) / 2) / 4
    assert huber(said, batch([0.0, 0.0], [3.0, 1.0]), 1.0).item() == pytest.approx(expected)
    assert huber(said, batch([0.0, 0.0], [0.0, 0.0]), 1.0).item() == 0


def test_a_learners_loss_is_that_of_its_module() -> None:
    class Fixed(nn.Module):
        def forward(self, rows: Batch) -> torch.Tensor:
            return torch.tensor([0.5, 4.0])

    expected = np.mean(by_hand([0.5, 4.0], 2.0))
    assert HuberLearner.loss(Fixed(), batch([0.0, 0.0]), HuberSettings(delta=2.0)).item() == pytest.approx(expected)


def test_columns_are_the_numbers_and_each_categorys_embedding() -> None:
    design, _ = planted(50)
    scaling = Scaling.fit(design)
    data = scaling.batch(design)
    columns = Columns(scaling.shape, largest=2)
    made = columns(data)
    assert made.shape == (50, columns.width) == (50, 4)
    torch.testing.assert_close(made[:, :2], data.numbers)
    torch.testing.assert_close(made[:, 2:], columns.embeddings[0].weight[data.codes[:, 0]])


def test_columns_may_be_none() -> None:
    assert Columns(Shape([], [], [], {}), 4)(batch([0.0, 0.0])).shape == (2, 0)
