"""The CLIP-based hierarchical predictor: vectors alone, then together, then with what is known of post and user."""

from itertools import pairwise
from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from flickcast.models.networks.inputs import Batch, Shape
from flickcast.models.networks.layers import Columns, HuberLearner, HuberSettings, dense
from flickcast.models.networks.network import NetworkSettings


class HierarchicalSettings(HuberSettings):
    """Its sizes, tier by tier."""

    batch_size: int = Field(128, ge=2)
    vector_width: int = Field(64, ge=1, description="of each vector's own layer, the first tier")
    joint_width: int = Field(64, ge=1, description="of the vectors together, the second tier")
    hidden_widths: list[int] = Field([128, 64], min_length=1, description="with the columns, the third tier")
    embedding: int = Field(16, ge=1, description="numbers per category, at most")


class HierarchicalModule(nn.Module):
    """Three tiers of fully connected layers, each with batch norm and ReLU. Without vectors the third stands alone."""

    def __init__(self, shape: Shape, settings: HierarchicalSettings) -> None:
        super().__init__()
        own, joint, dropout = settings.vector_width, settings.joint_width, settings.dropout
        self.names = list(shape.widths)
        self.alone = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), dense(width, own, dropout)) for width in shape.widths.values()
        )
        self.together = dense(own * len(self.names), joint, dropout) if self.names else None
        self.columns = Columns(shape, settings.embedding)
        sizes = [(joint if self.names else 0) + self.columns.width, *settings.hidden_widths]
        layers = (dense(width, out, dropout) for width, out in pairwise(sizes))
        self.all = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))

    def forward(self, batch: Batch) -> torch.Tensor:
        """(b,)."""
        seen = self.columns(batch)
        if self.together is not None:
            alone = [
                part(batch.vectors[name]) * batch.has[name][:, None]
                for name, part in zip(self.names, self.alone, strict=True)
            ]
            seen = torch.cat([self.together(torch.cat(alone, dim=1)), seen], dim=1)
        said: torch.Tensor = self.all(seen)
        return said.squeeze(1)


class Hierarchical(HuberLearner):
    """HyperFusion 2025, section 3.4, the CLIP-based hierarchical predictor, its tiers those of section 1.

    There: pretrained representations through fully connected layers with ReLU and batch norm; no sizes are named.
    """

    settings: ClassVar[type[NetworkSettings]] = HierarchicalSettings

    @staticmethod
    def build(shape: Shape, settings: HierarchicalSettings) -> nn.Module:
        """The network for these columns and vectors."""
        return HierarchicalModule(shape, settings)
