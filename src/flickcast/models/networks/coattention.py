"""The co-attention network: picture and text look at each other before a perceptron reads them and the columns."""

from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from flickcast.models.networks.inputs import Batch, Shape
from flickcast.models.networks.layers import Columns, HuberLearner, HuberSettings, dense
from flickcast.models.networks.network import NetworkSettings

FAR = -1e9  # the score of what is missing; finite, so that rows without anything get no NaN


class CoAttentionSettings(HuberSettings):
    """Its sizes, and which vectors are of the picture and which of the text."""

    batch_size: int = Field(128, ge=2)
    pictures: list[str] = Field(["picture"], description="those that are there form one side")
    texts: list[str] = Field(["text"], description="the other")
    tokens: int = Field(4, ge=1, description="parts that each vector is taken apart into")
    token_width: int = Field(32, ge=1)
    hidden_widths: list[int] = Field([256, 64], min_length=1)
    embedding: int = Field(16, ge=1, description="numbers per category, at most")


class Tokens(nn.Module):
    """Vectors of one side as tokens, t for each: (b, vectors * t, width), 0 where a vector is missing."""

    def __init__(self, widths: Mapping[str, int], tokens: int, width: int) -> None:
        super().__init__()
        self.names, self.tokens, self.width = list(widths), tokens, width
        self.parts = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(wide), nn.Linear(wide, tokens * width)) for wide in widths.values()
        )

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The tokens, and which of them are there (b, vectors * t)."""
        parted = [
            part(batch.vectors[name]).unflatten(1, (self.tokens, self.width))
            for name, part in zip(self.names, self.parts, strict=True)
        ]
        there = torch.stack([batch.has[name] for name in self.names], dim=1).repeat_interleave(self.tokens, dim=1)
        return torch.cat(parted, dim=1) * there[:, :, None], there


class CoAttention(nn.Module):
    """Parallel co-attention (Lu et al. 2016, section 3.3, without its sum over positions).

    One affinity between the tokens of both sides; each picture token takes the texts' tokens in the softmax of its row,
    each text token the pictures' in the softmax of its column.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.affinity = nn.Linear(width, width, bias=False)
        self.scale = width**-0.5

    def attention(
        self, pictures: torch.Tensor, texts: torch.Tensor, has_picture: torch.Tensor, has_text: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(b, p, t) and (b, t, p) of tokens (b, p, width) and (b, t, width); each row adds up to 1."""
        scores = self.affinity(pictures) @ texts.transpose(1, 2) * self.scale
        over_texts = scores.masked_fill(has_text[:, None, :] == 0, FAR).softmax(dim=2)
        over_pictures = scores.transpose(1, 2).masked_fill(has_picture[:, None, :] == 0, FAR).softmax(dim=2)
        return over_texts, over_pictures

    def forward(
        self, pictures: torch.Tensor, texts: torch.Tensor, has_picture: torch.Tensor, has_text: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Each side's tokens with what they took from the other, same shapes."""
        over_texts, over_pictures = self.attention(pictures, texts, has_picture, has_text)
        return pictures + over_texts @ texts, texts + over_pictures @ pictures


class CoAttentionModule(nn.Module):
    """Co-attended picture and text, and the columns, through dense layers. Without one side the other stands alone."""

    def __init__(self, shape: Shape, settings: CoAttentionSettings) -> None:
        super().__init__()
        sides = [{name: shape.widths[name] for name in side if name in shape.widths} for side in _sides(settings)]
        self.sides = nn.ModuleList(Tokens(side, settings.tokens, settings.token_width) for side in sides if side)
        self.attention = CoAttention(settings.token_width) if len(self.sides) == 2 else None
        self.columns = Columns(shape, settings.embedding)
        sizes = [settings.token_width * len(self.sides) + self.columns.width, *settings.hidden_widths]
        layers = (dense(width, out, settings.dropout) for width, out in pairwise(sizes))
        self.perceptron = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))

    def forward(self, batch: Batch) -> torch.Tensor:
        """(b,)."""
        parted = [side(batch) for side in self.sides]
        tokens = [side for side, _ in parted]
        if self.attention is not None:
            tokens = list(self.attention(*tokens, *(there for _, there in parted)))
        pooled = [side.mean(dim=1) for side in tokens]
        said: torch.Tensor = self.perceptron(torch.cat([*pooled, self.columns(batch)], dim=1))
        return said.squeeze(1)


class CoAttentionNetwork(HuberLearner):
    """HyperFusion 2025, section 3.4: a perceptron with co-attention layers. The paper names no sizes."""

    settings: ClassVar[type[NetworkSettings]] = CoAttentionSettings

    @staticmethod
    def build(shape: Shape, settings: CoAttentionSettings) -> nn.Module:
        """The network for these columns and vectors."""
        return CoAttentionModule(shape, settings)


def _sides(settings: CoAttentionSettings) -> tuple[list[str], list[str]]:
    return settings.pictures, settings.texts
