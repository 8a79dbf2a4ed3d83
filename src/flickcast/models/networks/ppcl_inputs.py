"""How PPCL's user encoder reads its numbers (Zhang et al. 2024, appendix A): counts, their squares and their roots."""

import torch
from torch import nn

from flickcast.models.networks.inputs import Batch, Scaling

LOGARITHM = "log_"  # before the names of columns that are log(1 + n)
SMALLEST = 1e-12  # below it the root has no slope to speak of


class ScaledPowers(nn.Module):
    """Standardised numbers (b, n) in, [D, D^2, sqrt D] (b, 3n) between 0 and 1 out.

    D is the count itself where the column is log(1 + n). The root keeps the sign, for numbers that the paper does not
    have. What lies beyond the training rows is drawn in to 0 or 1: the square of an account ten times as large as any
    known would drown all else.
    """

    mean: torch.Tensor  # (n,), with deviation: how the columns were standardised
    deviation: torch.Tensor
    low: torch.Tensor  # (3n,), with span: the range of each power
    span: torch.Tensor

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        count = len(names)
        self.logarithm = [name.startswith(LOGARITHM) for name in names]
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("deviation", torch.ones(count))
        self.register_buffer("low", torch.zeros(3 * count))
        self.register_buffer("span", torch.ones(3 * count))

    def learn(self, data: Batch, scaling: Scaling) -> None:
        """Take the range of each power from the training rows."""
        self.mean.copy_(torch.from_numpy(scaling.mean))
        self.deviation.copy_(torch.from_numpy(scaling.deviation))
        low, high = self._powers(data.numbers).aminmax(dim=0)
        self.low.copy_(low)
        self.span.copy_(torch.where(high > low, high - low, 1.0))

    def counts(self, numbers: torch.Tensor) -> torch.Tensor:
        """D, (b, n): what the columns held before they were standardised, logarithms undone."""
        values = numbers * self.deviation + self.mean
        logarithm = torch.tensor(self.logarithm, dtype=torch.bool)
        return torch.where(logarithm, torch.where(logarithm, values, 0.0).expm1(), values)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """(b, n) to (b, 3n)."""
        return ((self._powers(numbers) - self.low) / self.span).clamp(0, 1)

    def _powers(self, numbers: torch.Tensor) -> torch.Tensor:
        counts = self.counts(numbers)
        roots = counts.sign() * counts.abs().clamp_min(SMALLEST).sqrt()
        return torch.cat([counts, counts.square(), roots], dim=1)
