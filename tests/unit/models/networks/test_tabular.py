"""TabM: what each of its networks says, and their loss."""

from typing import Any

import numpy as np
import pytest
import torch
from planted import planted, without

from flickcast.models.networks.inputs import Batch, Scaling
from flickcast.models.networks.tabular import Tabular, TabularModule, TabularSettings

DESIGN, TARGET = planted(60)
SMALL: dict[str, Any] = {"members": 3, "blocks": 1, "width": 8, "dropout": 0.0}


def made(*missing: str) -> tuple[TabularModule, Batch]:
    torch.manual_seed(0)
    design = without(DESIGN, *missing)
    scaling = Scaling.fit(design)
    data = scaling.batch(design)
    data.target = torch.from_numpy(TARGET.astype(np.float32))
    return TabularModule(scaling.shape, TabularSettings(**SMALL)), data


@pytest.mark.parametrize("missing", [(), ("numbers", "vectors"), ("codes",), ("vectors",), ("numbers",)])
def test_the_prediction_is_the_mean_of_its_networks(missing: tuple[str, ...]) -> None:
    module, data = made(*missing)
    assert module.each(data).shape == (60, 3)
    torch.testing.assert_close(module(data), module.each(data).mean(dim=1))


def test_its_networks_differ_from_the_start() -> None:
    module, data = made()
    assert (module.each(data).std(dim=1) > 0).all()


def test_the_loss_is_the_mean_of_its_networks_own() -> None:
    module, data = made()
    own = module.each(data) - data.target[:, None]  # type: ignore[index]
    expected = torch.where(own.abs() <= 0.5, own**2 / 2, 0.5 * own.abs() - 0.125).mean()
    torch.testing.assert_close(Tabular.loss(module, data, TabularSettings(**SMALL, delta=0.5)), expected)


def test_each_network_is_taught_by_its_own_error_alone() -> None:
    """The last layers are not shared: where only the first is wrong, only the first has a gradient."""
    module, data = made()
    said = module.each(data)
    data.target = said[:, 1].detach()
    ((said[:, 0] - data.target) ** 2).mean().backward()
    gradients = module.network.output.weight.grad.abs().sum(dim=(1, 2))  # type: ignore[union-attr]
    assert gradients[0] > 0
    assert (gradients[1:] == 0).all()
