"""PPCL's contrastive losses (Zhang et al. 2024, section 5): alike in content, in influence, of the same user.

Features (2 b, d) hold two views of b rows, one after the other; labels (b,) are below 0 where a row has none, which is
then alike to its own other view alone.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import SupConLoss
from pytorch_metric_learning.reducers import MeanReducer

Heaviest = Literal["finest", "coarsest"]


class Remembered(CosineSimilarity):  # type: ignore[misc]
    """The similarities of the first features that it is given, for losses that differ in labels alone."""

    found: torch.Tensor | None = None

    def forward(self, query_emb: torch.Tensor, ref_emb: torch.Tensor | None = None) -> torch.Tensor:
        """(n, n)."""
        if self.found is None:
            self.found = super().forward(query_emb, ref_emb)
        return self.found


def supervised_contrast(
    features: torch.Tensor, labels: torch.Tensor, temperature: float, similarity: CosineSimilarity | None = None
) -> torch.Tensor:
    """Equation 19 by cosine similarity, the mean over all views instead of their sum; 0 where all are alike."""
    alone = -1 - torch.arange(len(labels))
    classes = torch.where(labels < 0, alone, labels).repeat(2)
    found: torch.Tensor = SupConLoss(temperature, distance=similarity, reducer=MeanReducer())(features, classes)
    return found


def hierarchical_contrast(
    features: torch.Tensor, levels: Sequence[torch.Tensor], temperature: float, heaviest: Heaviest = "finest"
) -> torch.Tensor:
    """Equation 20: the mean over levels, coarsest first, of each level's contrast times its penalty."""
    weights, similarity = penalties(len(levels), heaviest), Remembered()
    parts = [
        weight * supervised_contrast(features, level, temperature, similarity)
        for weight, level in zip(weights, levels, strict=True)
    ]
    return torch.stack(parts).mean()


def penalties(levels: int, heaviest: Heaviest = "finest") -> list[float]:
    """1 / l^2 of each level, coarsest first.

    The paper does not say from which end it counts l. Its reason (a pair alike at a low level may be unlike at a higher
    one, so the higher weighs more) holds where high means fine, and its code and that of Zhang et al. 2022, whose loss
    it is, count from the finest as well: that one has l = 1.
    """
    falling = [1 / level**2 for level in range(1, levels + 1)]
    return falling if heaviest == "coarsest" else falling[::-1]
