"""FAME's denoising autoencoder: rebuild noisy picture and text vectors first, then predict from their code.

FAME 2025, section 3.2.3. Sizes and dropout are not given there; learning rates, batches and passes are (section 4.2).
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from flickcast.models.networks.inputs import Batch, Scaling, Shape
from flickcast.models.networks.network import TINY, NetworkLearner, NetworkSettings

if TYPE_CHECKING:
    from collections.abc import Mapping


class AutoencoderSettings(NetworkSettings):
    """What phase two is trained with, under the names of every network, and phase one under its own."""

    max_iterations: int = Field(200, ge=1, description="passes of phase two over the training rows")
    patience: int = Field(8, ge=1, description="passes without a better validation score before phase two stops")
    batch_size: int = Field(2048, ge=2)
    weight_decay: float = Field(0.0, ge=0)
    dropout: float = Field(0.5, ge=0, lt=1, description="not in the paper")
    numbers: Literal[False] = Field(False, description="it reads vectors alone (3.2.3)")
    categories: Literal[False] = Field(False, description="it reads vectors alone (3.2.3)")
    noise: float = Field(0.1, ge=0, description="standard deviation of the noise in training")
    code: int = Field(256, ge=1, description="length of the code, W1; not in the paper")
    hidden_units: int = Field(128, ge=1, description="of phase one's perceptron, W3; not in the paper")
    predictor_units: int = Field(256, ge=1, description="of phase two's layers, W5 and W6; not in the paper")
    first_passes: int = Field(100, ge=1)
    first_patience: int = Field(10, ge=1)
    first_batch_size: int = Field(256, ge=2)

    def first(self) -> "AutoencoderSettings":
        """The same for phase one."""
        numbers = {"max_iterations": self.first_passes, "patience": self.first_patience}
        return self.model_copy(update={**numbers, "batch_size": self.first_batch_size})


class Noise(nn.Module):
    """Gaussian noise on (b, width) in training, nothing otherwise."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, values: Tensor) -> Tensor:
        """The same shape."""
        return values + self.deviation * torch.randn_like(values) if self.training else values


class DenoisingAutoencoder(nn.Module):
    """Equations 1 to 9. X_input (b, width) are the vectors side by side, zeros where a post has none.

    Phase one fits the encoder, the decoder and a perceptron upon it. In phase two the encoder is frozen, the batch
    norm's statistics with it; its noise goes on. Vectors of an encoder are first divided by their usual size (root mean
    square): those of the paper are alike in size, a CLIP vector's numbers are twenty times smaller than BLIP's.
    """

    sizes: Tensor

    def __init__(self, widths: "Mapping[str, int]", settings: AutoencoderSettings) -> None:
        super().__init__()
        self.names, width = list(widths), sum(widths.values())
        self.is_phase_one = False
        self.register_buffer("sizes", torch.ones(len(widths)))
        self.normalised, self.noise = nn.BatchNorm1d(width), Noise(settings.noise)
        self.encoder, self.decoder = nn.Linear(width, settings.code), nn.Linear(settings.code, width)
        self.dropout = nn.Dropout(settings.dropout)
        self.perceptron = nn.Sequential(
            nn.Linear(width, settings.hidden_units),
            nn.ReLU(),
            nn.BatchNorm1d(settings.hidden_units),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.hidden_units, 1),
        )
        units = settings.predictor_units
        self.predictor = nn.Sequential(
            *(nn.Linear(settings.code + width, units), Noise(settings.noise), nn.Dropout(settings.dropout)),
            *(nn.Linear(units, units), Noise(settings.noise), nn.Dropout(settings.dropout)),
            nn.Linear(units, 1),
        )

    def enter(self, phase: int) -> None:
        """From now on fit the layers of phase 1 or 2, and predict by them."""
        self.is_phase_one = phase == 1
        for part in (self.normalised, self.encoder, self.decoder, self.perceptron):
            part.requires_grad_(self.is_phase_one)
        self.predictor.requires_grad_(not self.is_phase_one)

    def train(self, mode: bool = True) -> "DenoisingAutoencoder":
        """Training or not; the statistics of a frozen batch norm stay."""
        super().train(mode)
        self.normalised.train(mode and self.is_phase_one)
        return self

    def inputs(self, batch: Batch) -> Tensor:
        """X_input, (b, width)."""
        return torch.cat([batch.vectors[name] / size for name, size in zip(self.names, self.sizes, strict=True)], dim=1)

    def coded(self, inputs: Tensor) -> Tensor:
        """(b, width) to (b, code): equations 1 and 2."""
        return torch.relu(self.encoder(self.noise(self.normalised(inputs))))

    def rebuilt(self, inputs: Tensor) -> Tensor:
        """(b, width) to (b, width): equation 3."""
        return torch.relu(self.decoder(self.dropout(self.coded(inputs))))

    def forward(self, batch: Batch) -> Tensor:
        """The standardised prediction (b,): equation 4 in phase one, 6 to 8 in phase two and for good."""
        inputs = self.inputs(batch)
        if self.is_phase_one:
            said: Tensor = self.perceptron(self.rebuilt(inputs))
        else:
            said = self.predictor(torch.cat([self.coded(inputs), inputs], dim=1))
        return said.squeeze(1)

    def errors(self, batch: Batch) -> Tensor:
        """Absolute errors (b,): equation 5 in phase one, that of rebuilding as a mean over the numbers; 9 in two."""
        assert batch.target is not None
        if not self.is_phase_one:
            error: Tensor = (self(batch) - batch.target).abs()
            return error
        inputs = self.inputs(batch)
        rebuilt = self.rebuilt(inputs)
        said: Tensor = self.perceptron(rebuilt).squeeze(1)
        return (said - batch.target).abs() + (rebuilt - inputs).abs().mean(dim=1)


class Autoencoder(NetworkLearner):
    """The autoencoder as a learner; labels standardised, as for every network."""

    settings: ClassVar[type[NetworkSettings]] = AutoencoderSettings

    @staticmethod
    def build(shape: Shape, settings: Any) -> nn.Module:
        """The autoencoder for these vectors."""
        return DenoisingAutoencoder(shape.widths, settings)

    @classmethod
    def prepare(
        cls, module: Any, data: Batch, scaling: Scaling, centre: tuple[float, float], seed: int
    ) -> dict[str, Tensor]:
        """The usual size of each encoder's vectors; no labels."""
        for place, name in enumerate(module.names):
            found = data.vectors[name][data.has[name] > 0]
            module.sizes[place] = found.square().mean().sqrt().clamp(min=TINY) if len(found) else 1.0
        return {}

    @staticmethod
    def loss(module: Any, batch: Batch, settings: Any) -> Tensor:
        """Mean of the phase's absolute errors, rows in their weights."""
        errors: Tensor = module.errors(batch)
        if batch.weights is None:
            return errors.mean()
        return (errors * batch.weights).sum() / batch.weights.sum().clamp(min=TINY)

    @classmethod
    def _trained(
        cls, module: Any, data: Batch, settings: Any, seed: int, iterations: int | None, held: Any, centre: Any
    ) -> tuple[int, dict[str, Tensor]]:
        """Phase one to its best pass, then phase two; the passes are those of phase two."""
        module.enter(1)
        _, state = super()._trained(module, data, settings.first(), seed, None, held, centre)
        module.load_state_dict(state)
        module.enter(2)
        return super()._trained(module, data, settings, seed, iterations, held, centre)
