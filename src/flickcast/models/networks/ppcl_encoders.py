"""PPCL's encoders of post and user (Zhang et al. 2024, sections 4.1 and 4.2)."""

import torch
from torch import nn

from flickcast.models.networks.inputs import Batch
from flickcast.models.networks.ppcl_crossing import DenseCrossing, SparseCrossing, cross
from flickcast.models.networks.ppcl_inputs import ScaledPowers


def perceptron(width: int, hidden: int, dropout: float) -> nn.Sequential:
    """Two layers, (b, width) to (b, hidden), with dropout after each (section 5.5): each pass is another view."""
    layers = [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout))


class PostEncoder(nn.Module):
    """Vectors that are frozen, each through a bottleneck of its own (equations 4 and 5), then joined (equation 6)."""

    def __init__(self, widths: dict[str, int], bottleneck: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.names = list(widths)
        self.adapters = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, bottleneck, bias=False), nn.ReLU(), nn.Linear(bottleneck, hidden, bias=False)
            )
            for width in widths.values()
        )
        self.join = perceptron(len(widths) * hidden, hidden, dropout)
        self.width = hidden

    def forward(self, batch: Batch, views: int = 1) -> torch.Tensor:
        """f^p of each row, (views * b, hidden): all rows in one view, then all in the next."""
        adapted = [adapter(batch.vectors[name]) for name, adapter in zip(self.names, self.adapters, strict=True)]
        joined: torch.Tensor = self.join(torch.cat(adapted, dim=1).repeat(views, 1))
        return joined


class UserEncoder(nn.Module):
    """Numbers and categories of a user, crossed (equations 7 to 14) and in a perceptron (equation 15), half and half.

    `names`: of the numbers; `sizes`: of each category that it reads, how many codes it has, by its place in a batch.
    """

    def __init__(
        self, names: list[str], sizes: dict[int, int], embedding: int, layers: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.places, self.embedding = list(sizes), embedding
        self.powers, count = ScaledPowers(names), 3 * len(names)
        self.embeddings = nn.ModuleList(_embedding(size, embedding) for size in sizes.values())
        self.dense, self.sparse = DenseCrossing(count, layers), SparseCrossing(len(sizes), embedding)
        crossed = self.dense.width + self.sparse.width
        self.weight, self.bias = nn.Parameter(torch.randn(crossed) * crossed**-0.5), nn.Parameter(torch.zeros(crossed))
        self.mix = nn.Linear(2 * crossed, hidden // 2)
        self.perceptron = perceptron(count + len(sizes) * embedding, hidden // 2, dropout)
        self.width = hidden // 2 * 2

    def forward(self, batch: Batch, views: int = 1) -> torch.Tensor:
        """f^u of each row, (views * b, hidden): all rows in one view, then all in the next."""
        numbers, embedded = self.powers(batch.numbers), self._embedded(batch.codes)
        crossed = torch.cat([self.dense(numbers), self.sparse(embedded)], dim=1)
        mixed = self.mix(torch.cat([crossed, cross(crossed, crossed, self.weight, self.bias)], dim=1))
        plain = torch.cat([numbers, embedded.flatten(1)], dim=1)
        return torch.cat([mixed.repeat(views, 1), self.perceptron(plain.repeat(views, 1))], dim=1)

    def _embedded(self, codes: torch.Tensor) -> torch.Tensor:
        """(b, fields, embedding)."""
        found = [known(codes[:, place]) for place, known in zip(self.places, self.embeddings, strict=True)]
        return torch.stack(found, dim=1) if found else self.weight.new_empty((len(codes), 0, self.embedding))


def _embedding(size: int, width: int) -> nn.Embedding:
    """Vectors of length about 1, so that crossed ones begin as large as the numbers."""
    made = nn.Embedding(size, width)
    nn.init.normal_(made.weight, std=width**-0.5)
    return made
