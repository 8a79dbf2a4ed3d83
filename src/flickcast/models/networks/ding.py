"""Ding, Wang and Wang (MM 2019): a dense layer for each kind of input, and one for all of them together."""

from collections.abc import Iterator
from typing import Any

import torch
from pydantic import Field
from torch import nn

from flickcast.models.networks.inputs import Batch, Shape
from flickcast.models.networks.layers import Columns, dense
from flickcast.models.networks.network import NetworkLearner, NetworkSettings


class DingSettings(NetworkSettings):
    """The paper's numbers (section 5.1); widths and the least number of steps are not in its text."""

    max_iterations: int = Field(10, ge=1)
    batch_size: int = Field(128, ge=2)
    learning_rate: float = Field(1e-4, gt=0)
    decay_per_pass: float = Field(0.9, gt=0, le=1)
    weight_decay: float = Field(1e-3, ge=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    categories: bool = False
    vector_width: int = Field(256, ge=1, le=4096, description="of the layer over each vector")
    number_width: int = Field(64, ge=1, le=4096, description="of the layer over the numbers")
    joint_width: int = Field(128, ge=1, le=4096, description="of the layer over all of these")
    least_steps: int = Field(1, ge=1, description="of a pass: few rows are gone through again until it is reached")


class DingModule(nn.Module):
    """(b, ...) to (b,): figure 2, whose four layers (linear, batch norm, ReLU) are picture, text, numbers and joint."""

    def __init__(self, shape: Shape, settings: DingSettings) -> None:
        super().__init__()
        self.columns = Columns(shape, settings.number_width)
        self.numbers = dense(self.columns.width, settings.number_width, settings.dropout)
        self.vectors = nn.ModuleList(
            dense(width, settings.vector_width, settings.dropout) for width in shape.widths.values()
        )
        self.names = list(shape.widths)
        wide = settings.number_width + settings.vector_width * len(self.names)
        self.joint = dense(wide, settings.joint_width, settings.dropout)
        self.last = nn.Linear(settings.joint_width, 1)

    def forward(self, batch: Batch) -> torch.Tensor:
        """The standardised prediction."""
        branches = [layer(batch.vectors[name]) for name, layer in zip(self.names, self.vectors, strict=True)]
        joint = self.joint(torch.cat([self.numbers(self.columns(batch)), *branches], dim=1))
        said: torch.Tensor = self.last(joint)[:, 0]
        return said


class Ding(NetworkLearner):
    """The paper's network: mean squared error, L2 on the weights, Adam."""

    settings = DingSettings

    @staticmethod
    def build(shape: Shape, settings: DingSettings) -> nn.Module:
        """For these inputs."""
        return DingModule(shape, settings)

    @staticmethod
    def batches(data: Batch, settings: Any, generator: torch.Generator) -> Iterator[torch.Tensor]:
        """All rows once, or as often as it takes for the least number of steps."""
        steps = 0
        while steps < settings.least_steps:
            for positions in NetworkLearner.batches(data, settings, generator):
                yield positions
                steps += 1
