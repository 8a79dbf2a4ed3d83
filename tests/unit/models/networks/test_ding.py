"""Ding's network: its four layers, its loss, its passes."""

import numpy as np
import torch
from planted import planted, without
from torch import nn

from flickcast.models.networks.ding import Ding, DingModule, DingSettings
from flickcast.models.networks.inputs import Scaling

DESIGN, TARGET = planted(300)
SCALING = Scaling.fit(without(DESIGN, "codes"))


def test_four_dense_layers_each_with_batch_norm_and_relu() -> None:
    module = DingModule(SCALING.shape, DingSettings())
    kinds = [type(layer) for layer in module.modules() if not list(layer.children())]
    assert [kinds.count(kind) for kind in (nn.Linear, nn.BatchNorm1d, nn.ReLU)] == [5, 4, 4]
    widths = [layer.out_features for layer in module.modules() if isinstance(layer, nn.Linear)]
    assert widths == [64, 256, 256, 128, 1]


def test_prediction_is_what_the_layers_say_one_after_another() -> None:
    module = DingModule(SCALING.shape, DingSettings()).eval()
    batch = SCALING.batch(DESIGN)
    norm = 1 / (1 + 1e-5) ** 0.5  # batch norm before any training

    def layer(branch: nn.Module, values: torch.Tensor) -> torch.Tensor:
        return ((values @ branch[0].weight.T + branch[0].bias) * norm).clamp(min=0)

    branches = [layer(branch, batch.vectors[name]) for name, branch in zip(module.names, module.vectors, strict=True)]
    joint = layer(module.joint, torch.cat([layer(module.numbers, batch.numbers), *branches], dim=1))
    expected = joint @ module.last.weight[0] + module.last.bias
    torch.testing.assert_close(module(batch), expected)


def test_categories_are_not_read_unless_asked_for() -> None:
    how = {"seed": 0, "threads": 1, "iterations": 1}
    assert "kind" not in Ding.fit(DESIGN, TARGET, settings=DingSettings(), **how).importances()
    assert "kind" in Ding.fit(DESIGN, TARGET, settings=DingSettings(categories=True), **how).importances()


def test_pass_goes_through_few_rows_again_until_it_has_its_steps() -> None:
    data = SCALING.batch(DESIGN)
    drawn = list(Ding.batches(data, DingSettings(least_steps=7), torch.Generator().manual_seed(0)))
    assert len(drawn) == 9  # whole passes of three
    assert np.bincount(torch.cat(drawn).numpy()).tolist() == [3] * 300
    assert len(list(Ding.batches(data, DingSettings(), torch.Generator().manual_seed(0)))) == 3
