"""PPCL's network (Zhang et al. 2024, Figure 2): post encoder, user encoder, predictor."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from flickcast.models.networks.inputs import Batch, Shape
from flickcast.models.networks.ppcl_encoders import PostEncoder, UserEncoder, perceptron


@dataclass(frozen=True)
class Views:
    """Of b rows in two views each: what the encoders give (2 b, width), None where there is none; `said` (b,)."""

    post: torch.Tensor | None
    user: torch.Tensor | None
    popularity: torch.Tensor
    said: torch.Tensor


class PPCLModule(nn.Module):
    """A Batch in, the standardised prediction (b,) out; an encoder without any input is left out.

    The categories named in `settings.levels` are no inputs: they are the labels of a loss.
    """

    def __init__(self, shape: Shape, settings: Any) -> None:
        super().__init__()
        self.shape, self.settings = shape, settings
        self.label_variance = 1.0  # makes squared errors those of labels that are not standardised; in training alone
        self.post = self._post_encoder() if shape.widths else None
        fields = [place for place, name in enumerate(shape.category_names) if name not in settings.levels]
        self.user = self._user_encoder(fields) if fields or shape.number_names else None
        encoded = sum(encoder.width for encoder in (self.post, self.user) if encoder is not None)
        self.popularity = perceptron(encoded, settings.width, settings.dropout)
        self.head = nn.Linear(settings.width, 1)

    def _post_encoder(self) -> PostEncoder:
        own = self.settings
        return PostEncoder(self.shape.widths, own.bottleneck, own.width, own.dropout)

    def _user_encoder(self, fields: list[int]) -> UserEncoder:
        own, sizes = self.settings, {place: self.shape.sizes[place] for place in fields}
        return UserEncoder(self.shape.number_names, sizes, own.embedding, own.cross_layers, own.width, own.dropout)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Equations 16 and 17, (b,)."""
        post, user = self._encoded(batch, 1)
        return self._said(_joined(post, user, batch.rows))

    def views(self, batch: Batch) -> Views:
        """Two passes with different dropout masks (equations 23 and 24); the prediction is made of the first.

        The popularity features of the contrast are made of inputs that no gradient goes through (section 5.4).
        """
        post, user = self._encoded(batch, 2)
        joined = _joined(post, user, batch.rows)
        return Views(post, user, self.popularity(joined.detach().repeat(2, 1)), self._said(joined))

    def _encoded(self, batch: Batch, views: int) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        return (
            None if self.post is None else self.post(batch, views),
            None if self.user is None else self.user(batch, views),
        )

    def _said(self, joined: torch.Tensor) -> torch.Tensor:
        said: torch.Tensor = self.head(self.popularity(joined))[:, 0]
        return said


def _joined(post: torch.Tensor | None, user: torch.Tensor | None, rows: int) -> torch.Tensor:
    """[f^p, f^u] of the first view, (rows, both widths)."""
    parts = [part[:rows] for part in (post, user) if part is not None]
    return torch.cat(parts, dim=1) if parts else torch.empty(rows, 0)
