"""Layers that several networks are built of, and the Huber loss."""

import torch
from pydantic import Field
from torch import nn

from flickcast.models.networks.inputs import Batch, Shape
from flickcast.models.networks.network import NetworkLearner, NetworkSettings, weighted_mean


class HuberSettings(NetworkSettings):
    """Of a network that is trained with the Huber loss."""

    delta: float = Field(1.0, gt=0, description="errors beyond count linearly; in standard deviations of the label")


class HuberLearner(NetworkLearner):
    """A network with the Huber loss (HyperFusion 2025, equation 7) of the standardised label."""

    @staticmethod
    def loss(module: nn.Module, batch: Batch, settings: HuberSettings) -> torch.Tensor:
        """Mean over the batch, rows in their weights."""
        return huber(module(batch)[:, None], batch, settings.delta)


def huber(said: torch.Tensor, batch: Batch, delta: float) -> torch.Tensor:
    """The mean loss of k predictions per row, (b, k); rows in their weights."""
    assert batch.target is not None
    target = batch.target[:, None].expand_as(said)
    losses = nn.functional.huber_loss(said, target, delta=delta, reduction="none").mean(dim=1)
    return weighted_mean(losses, batch.weights)


def dense(width: int, out: int, dropout: float) -> nn.Sequential:
    """(b, width) -> (b, out): linear, batch norm, ReLU, dropout."""
    return nn.Sequential(nn.Linear(width, out), nn.BatchNorm1d(out), nn.ReLU(), nn.Dropout(dropout))


class Columns(nn.Module):
    """The numbers beside an embedding of each category: (b, width)."""

    def __init__(self, shape: Shape, largest: int) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(size, min(largest, (size + 1) // 2)) for size in shape.sizes)
        self.width = len(shape.number_names) + sum(min(largest, (size + 1) // 2) for size in shape.sizes)

    def forward(self, batch: Batch) -> torch.Tensor:
        """(b, width)."""
        embedded = (embedding(batch.codes[:, place]) for place, embedding in enumerate(self.embeddings))
        return torch.cat([batch.numbers, *embedded], dim=1)
