"""The hierarchical predictor's tiers on a batch made by hand."""

import pytest
import torch
from planted import planted, without

from flickcast.models.networks.hierarchical import HierarchicalModule, HierarchicalSettings
from flickcast.models.networks.inputs import Batch, Scaling

DESIGN, _ = planted(40)


def made(*missing: str) -> tuple[HierarchicalModule, Batch]:
    torch.manual_seed(0)
    design = without(DESIGN, *missing)
    scaling = Scaling.fit(design)
    settings = HierarchicalSettings(vector_width=5, joint_width=4, hidden_widths=[6], dropout=0.0)
    return HierarchicalModule(scaling.shape, settings).eval(), scaling.batch(design)


def test_vectors_alone_then_together_then_with_the_columns() -> None:
    module, data = made()
    alone = [
        part(data.vectors[name]) * data.has[name][:, None]
        for name, part in zip(("picture", "text"), module.alone, strict=True)
    ]
    assert module.together is not None
    joint = module.together(torch.cat(alone, dim=1))
    expected = module.all(torch.cat([joint, module.columns(data)], dim=1))[:, 0]
    torch.testing.assert_close(module(data), expected)
    assert ([one.shape[1] for one in alone], joint.shape[1]) == ([5, 5], 4)


@pytest.mark.parametrize("missing", [("vectors",), ("numbers", "codes"), ("codes",)])
def test_a_tier_without_input_is_left_out(missing: tuple[str, ...]) -> None:
    module, data = made(*missing)
    assert (module.together is None) == ("vectors" in missing)
    assert module(data).shape == (40,)


def test_a_missing_vector_says_nothing_whatever_stands_there() -> None:
    module, data = made()
    data.has["picture"] = torch.zeros(40)
    before = module(data)
    data.vectors["picture"] = torch.randn(40, 6)
    torch.testing.assert_close(module(data), before)


def test_layers_have_batch_norm_and_relu() -> None:
    module, _ = made()
    kinds = [type(layer).__name__ for layer in module.all.modules()]
    assert kinds.count("BatchNorm1d") == kinds.count("ReLU") == 1
