"""Feature crossing against the same written in numpy."""

from itertools import combinations

import numpy as np
import torch

from flickcast.models.design import Design
from flickcast.models.networks.inputs import Scaling
from flickcast.models.networks.ppcl_crossing import DenseCrossing, SparseCrossing
from flickcast.models.networks.ppcl_inputs import ScaledPowers

ROWS, FIELDS, WIDTH, LAYERS = 4, 3, 5, 4
RANDOM = np.random.default_rng(0)


def with_biases(layer: DenseCrossing | SparseCrossing) -> tuple[np.ndarray, np.ndarray]:
    layer.bias.data = torch.tensor(RANDOM.normal(size=layer.bias.shape), dtype=torch.float32)
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def test_dense_layers_cross_the_input_with_the_layer_before() -> None:
    layer = DenseCrossing(WIDTH, LAYERS)
    weight, bias = with_biases(layer)
    numbers = RANDOM.normal(size=(ROWS, WIDTH)).astype(np.float32)
    for row, found in zip(numbers, layer(torch.tensor(numbers)).detach().numpy(), strict=True):
        orders = [row]
        for number in range(LAYERS):
            orders.append(np.dot(row, orders[-1]) * weight[number] + bias[number])
        np.testing.assert_allclose(found, np.concatenate(orders), rtol=1e-4, atol=1e-5)
    assert layer.width == (LAYERS + 1) * WIDTH


def test_each_pair_of_categories_is_crossed_by_weights_of_its_own() -> None:
    layer = SparseCrossing(FIELDS, WIDTH)
    weight, bias = with_biases(layer)
    embedded = RANDOM.normal(size=(ROWS, FIELDS, WIDTH)).astype(np.float32)
    for row, found in zip(embedded, layer(torch.tensor(embedded)).detach().numpy(), strict=True):
        pairs = [
            np.dot(row[one], row[other]) * weight[number] + bias[number]
            for number, (one, other) in enumerate(combinations(range(FIELDS), 2))
        ]
        np.testing.assert_allclose(found, np.concatenate([*row, *pairs]), rtol=1e-4, atol=1e-5)
    assert layer.width == FIELDS * (FIELDS + 1) // 2 * WIDTH


def test_one_category_or_none_has_no_pairs() -> None:
    for fields in (0, 1):
        assert SparseCrossing(fields, WIDTH)(torch.ones(ROWS, fields, WIDTH)).shape == (ROWS, fields * WIDTH)


def powers_of(names: list[str], columns: np.ndarray, new: np.ndarray) -> np.ndarray:
    """What the encoder sees of new rows after it has seen the columns."""
    designs = [
        Design(values.astype(np.float32), np.empty((len(values), 0), np.int32), names, []) for values in (columns, new)
    ]
    scaling = Scaling.fit(designs[0])
    powers = ScaledPowers(names)
    powers.learn(scaling.batch(designs[0]), scaling)
    return powers(scaling.batch(designs[1]).numbers).numpy()


def test_counts_squares_and_roots_lie_between_those_of_the_training_rows() -> None:
    counts, years = np.array([0.0, 9, 100, 400]), np.array([2004.0, 2008, 2010, 2014])
    columns = np.column_stack([np.log1p(counts), years])
    found = powers_of(["log_followers", "first_post_year"], columns, columns)
    augmented = np.column_stack([counts, years, counts**2, years**2, np.sqrt(counts), np.sqrt(years)])
    low, high = augmented.min(axis=0), augmented.max(axis=0)
    np.testing.assert_allclose(found, (augmented - low) / (high - low), atol=2e-3)


def test_what_lies_beyond_the_training_rows_is_drawn_in() -> None:
    columns = np.log1p(np.array([[0.0], [10], [100]]))
    assert powers_of(["log_followers"], columns, np.log1p([[1e9]])).tolist() == [[1, 1, 1]]
    assert powers_of(["constant"], np.full((3, 1), 7.0), np.array([[7.0]])).tolist() == [[0, 0, 0]]


def test_count_of_zero_has_a_slope_that_is_finite() -> None:
    powers = ScaledPowers(["log_followers", "first_post_year"])
    numbers = torch.tensor([[0.0, 2010.0]], requires_grad=True)
    powers(numbers).sum().backward()
    assert numbers.grad.isfinite().all()
