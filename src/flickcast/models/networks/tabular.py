"""TabM: a tabular network, many small networks that share most of their weights and are trained as one."""

from typing import ClassVar

import tabm
import torch
from pydantic import Field
from torch import nn

from flickcast.models.networks.inputs import Batch, Shape
from flickcast.models.networks.layers import HuberLearner, HuberSettings, huber
from flickcast.models.networks.network import NetworkSettings


class TabularSettings(HuberSettings):
    """TabM's own sizes, beside what every network's training has."""

    batch_size: int = Field(128, ge=2)
    learning_rate: float = Field(2e-3, gt=0)
    members: int = Field(8, ge=1, description="networks that share weights (k)")
    blocks: int = Field(2, ge=1)
    width: int = Field(128, ge=1, description="of each block")


class TabularModule(nn.Module):
    """Numbers, vectors and one-hot categories through TabM."""

    def __init__(self, shape: Shape, settings: TabularSettings) -> None:
        super().__init__()
        self.numeric = len(shape.number_names) + sum(shape.widths.values())
        self.network = tabm.TabM.make(
            n_num_features=self.numeric,
            cat_cardinalities=shape.sizes,
            d_out=1,
            k=settings.members,
            n_blocks=settings.blocks,
            d_block=settings.width,
            dropout=settings.dropout,
        )

    def each(self, batch: Batch) -> torch.Tensor:
        """What each of the k networks says: (b, k)."""
        numbers = torch.cat([batch.numbers, *batch.vectors.values()], dim=1) if self.numeric else None
        said: torch.Tensor = self.network(numbers, batch.codes if batch.codes.shape[1] else None)
        return said.squeeze(2)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Their mean: (b,)."""
        return self.each(batch).mean(dim=1)


class Tabular(HuberLearner):
    """TabM (Gorishniy, Kotelnikov, Babenko, ICLR 2025; package tabm), in the place of HyperFusion's TabNet.

    TabNet's only library for torch, pytorch-tabnet, has had no release since 2023. TabM is what its field's benchmarks
    put first since; like TabNet it reads a post's columns alone, unlike it it does not select them by attention.
    """

    settings: ClassVar[type[NetworkSettings]] = TabularSettings

    @staticmethod
    def build(shape: Shape, settings: TabularSettings) -> nn.Module:
        """TabM for these columns."""
        return TabularModule(shape, settings)

    @staticmethod
    def loss(module: nn.Module, batch: Batch, settings: HuberSettings) -> torch.Tensor:
        """The mean of the networks' own losses: on the loss of their mean they would cease to differ."""
        assert isinstance(module, TabularModule)
        return huber(module.each(batch), batch, settings.delta)
