"""PPCL's feature crossing (Zhang et al. 2024, section 4.2.1): of numbers layer by layer, of categories pair by pair."""

import torch
from torch import nn


def cross(left: torch.Tensor, right: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Equation 7: the inner product of two inputs (..., d), times a weight (d,), plus a bias (d,).

    So the equation and the sentence above it. The published code has the inner product for categories alone; for
    numbers it multiplies `left` with the scalar `right . weight`, as a deep and cross network does.
    """
    return (left * right).sum(dim=-1, keepdim=True) * weight + bias


class DenseCrossing(nn.Module):
    """Equations 8 and 9: D (b, d) crossed with what the layer before made of it; all orders side by side."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.weight, self.bias = _weights(layers, width)
        self.width = (layers + 1) * width

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """(b, d) to (b, (layers + 1) d)."""
        orders = [numbers]
        for weight, bias in zip(self.weight, self.bias, strict=True):
            orders.append(cross(numbers, orders[-1], weight, bias))
        return torch.cat(orders, dim=1)


class SparseCrossing(nn.Module):
    """Equations 11 and 12: the embeddings of m fields, then each pair of them crossed, all side by side."""

    def __init__(self, fields: int, width: int) -> None:
        super().__init__()
        self.left, self.right = torch.triu_indices(fields, fields, offset=1)
        self.weight, self.bias = _weights(len(self.left), width)
        self.width = (fields + len(self.left)) * width

    def forward(self, embedded: torch.Tensor) -> torch.Tensor:
        """(b, m, d) to (b, m (m + 1) / 2 * d)."""
        crossed = cross(embedded[:, self.left], embedded[:, self.right], self.weight, self.bias)
        return torch.cat([embedded, crossed], dim=1).flatten(1)


def _weights(count: int, width: int) -> tuple[nn.Parameter, nn.Parameter]:
    """(count, width) each. Weights start small: four layers multiply them."""
    return nn.Parameter(torch.randn(count, width) * max(width, 1) ** -0.5), nn.Parameter(torch.zeros(count, width))
