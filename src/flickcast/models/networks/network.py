"""The learner that every network is: a training loop with early stopping, and weights kept as safetensors."""

import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from flickcast.errors import LeftOutError
from flickcast.models.design import Design
from flickcast.models.networks.inputs import MISSING, UNSEEN, Batch, Scaling, Shape
from flickcast.models.threads import useful_threads
from flickcast.params import Section

if TYPE_CHECKING:
    import torch
    from torch import nn

Target = NDArray[np.float64]
TINY = 1e-9
SCALING = "scaling."  # before the names of the arrays that are no weights of the module
PROBED_ROWS = 2048  # of the training rows, to see what the predictions depend on
PREDICTED_AT_ONCE = 1024


class NetworkSettings(Section):
    """What every network's training has; each adds its own."""

    max_iterations: int = Field(50, ge=1, description="passes over the training rows")
    patience: int = Field(10, ge=1, description="passes without a better validation score before it stops")
    batch_size: int = Field(512, ge=2)
    learning_rate: float = Field(1e-3, gt=0)
    decay_per_pass: float = Field(1.0, gt=0, le=1, description="what the learning rate is multiplied by after each")
    weight_decay: float = Field(1e-4, ge=0, description="L2 on the weights, as Adam takes it")
    dropout: float = Field(0.1, ge=0, lt=1)
    hidden_share: float = Field(
        0.01,
        ge=0,
        lt=1,
        description="of the categories, left out in training: it teaches what to say of unknown ones",
    )
    vectors: list[str] | None = Field(None, description="those of the recipe that it reads; null: all")
    numbers: bool = Field(True, description="whether it reads the numbers")
    categories: bool = Field(True, description="whether it reads the categories")


@dataclass(frozen=True)
class NetworkLearner(ABC):
    """A fitted network. A family says which module it is, what its loss is, and how batches are drawn."""

    settings: ClassVar[type[NetworkSettings]]
    suffix: ClassVar[str] = "safetensors"
    module: "nn.Module"
    scaling: Scaling
    centre: tuple[float, float]  # mean and deviation of the training labels
    own: NetworkSettings
    passes: int
    shares: dict[str, float]

    @staticmethod
    @abstractmethod
    def build(shape: Shape, settings: Any) -> "nn.Module":
        """The module, whose forward takes a Batch and gives the standardised prediction (b,)."""

    @classmethod
    def prepare(
        cls, module: "nn.Module", data: Batch, scaling: Scaling, centre: tuple[float, float], seed: int
    ) -> "dict[str, torch.Tensor]":
        """Let the module see all training rows before the first pass; the labels (b,) of its auxiliary losses."""
        return {}

    @staticmethod
    def loss(module: "nn.Module", batch: Batch, settings: Any) -> "torch.Tensor":
        """Mean squared error of the standardised label, rows in their weights."""
        return weighted_mean((module(batch) - batch.target) ** 2, batch.weights)

    @staticmethod
    def batches(data: Batch, settings: Any, generator: "torch.Generator") -> "Iterator[torch.Tensor]":
        """Positions of the rows of each batch of one pass: all rows once, in a random order."""
        import torch

        order = torch.randperm(data.rows, generator=generator)
        parts = list(order.split(settings.batch_size))
        if len(parts[-1]) < 2:  # batch norm needs two rows: those of the batch before, or else the same once more
            before = parts[-2:-1] or parts
            parts = [*parts[:-2], torch.cat([*before, parts[-1]])]
        yield from parts

    @property
    def iterations(self) -> int:
        """Passes over the training rows; of the best one where it stopped early."""
        return self.passes

    @classmethod
    def fit(
        cls,
        design: Design,
        target: Target,
        *,
        settings: Any,
        seed: int,
        threads: int,
        iterations: int | None = None,
        validation: tuple[Design, Target] | None = None,
        weights: Target | None = None,
    ) -> Self:
        """Fit for a number of passes, or stop early by the mean absolute error of the validation rows.

        LeftOutError where the design has nothing that the settings say it reads.
        """
        import torch

        design = _read(design, settings)
        if not design.names:
            raise LeftOutError("there is nothing that it could read")
        scaling = Scaling.fit(design)
        centre = float(target.mean()), float(target.std()) if target.std() > TINY else 1.0
        data = _with_target(scaling.batch(design), target, centre, weights)
        with _steady(seed, useful_threads(threads, design.rows)):
            module = cls._built(scaling.shape, settings)
            data.labels = cls.prepare(module, data, scaling, centre, seed)
            passes, state = cls._trained(
                module, data, settings, seed, iterations, _held(scaling, validation, settings), centre
            )
            module.load_state_dict(state)
            module.eval()
            shares = _shares(module, data.take(torch.arange(min(data.rows, PROBED_ROWS))), scaling.shape)
        return cls(module, scaling, centre, settings, passes, shares)

    @classmethod
    def _built(cls, shape: Shape, settings: Any) -> "nn.Module":
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")  # of inputs that are absent
            return cls.build(shape, settings)

    @classmethod
    def _trained(
        cls,
        module: "nn.Module",
        data: Batch,
        settings: Any,
        seed: int,
        iterations: int | None,
        held: "tuple[Batch, torch.Tensor] | None",
        centre: tuple[float, float],
    ) -> "tuple[int, dict[str, torch.Tensor]]":
        import torch

        generator = torch.Generator().manual_seed(seed)
        trainable = [weight for weight in module.parameters() if weight.requires_grad]
        optimiser = torch.optim.Adam(trainable, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, settings.decay_per_pass)
        best, kept, last = float("inf"), _state(module), 0
        for number in range(1, (iterations or settings.max_iterations) + 1):
            module.train()
            for positions in cls.batches(data, settings, generator):
                optimiser.zero_grad()
                cls.loss(module, _hidden(data.take(positions), settings.hidden_share, generator), settings).backward()
                optimiser.step()
            schedule.step()
            error = _error(module, held, centre)
            if held is None or error < best:
                best, kept, last = error, _state(module), number
            elif number - last >= settings.patience and iterations is None:
                break
        return last, kept

    def predict(self, design: Design) -> Target:
        """One prediction per row."""
        data = self.scaling.batch(_read(design, self.own))
        mean, deviation = self.centre
        with _steady(seed=0, threads=1):  # with another number of threads sums may differ in their last bits
            return _said(self.module, data) * deviation + mean

    def importances(self) -> dict[str, float]:
        """How far predictions move with a standard deviation of each column, as a share."""
        return dict(self.shares)

    def to_bytes(self) -> bytes:
        """safetensors: weights and scaling as arrays, all else as JSON in its head."""
        import torch
        from safetensors.torch import save

        arrays = {name: weight.contiguous().clone() for name, weight in self.module.state_dict().items()}
        arrays[f"{SCALING}mean"] = torch.from_numpy(self.scaling.mean.copy())
        arrays[f"{SCALING}deviation"] = torch.from_numpy(self.scaling.deviation.copy())
        facts = {
            "shape": asdict(self.scaling.shape),
            "centre": self.centre,
            "settings": self.own.model_dump(mode="json"),
            "passes": self.passes,
            "importances": self.shares,
        }
        return save(arrays, {"facts": json.dumps(facts, sort_keys=True)})

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The network from its stored form."""
        from safetensors.torch import load

        length = int.from_bytes(content[:8], "little")
        facts = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["facts"])
        arrays = load(content)
        scaling = Scaling(
            Shape(**facts["shape"]), *(arrays.pop(f"{SCALING}{name}").numpy() for name in ("mean", "deviation"))
        )
        settings = cls.settings(**facts["settings"])
        module = cls._built(scaling.shape, settings)
        module.load_state_dict(arrays)
        module.eval()
        return cls(module, scaling, tuple(facts["centre"]), settings, facts["passes"], facts["importances"])


def weighted_mean(errors: "torch.Tensor", weights: "torch.Tensor | None") -> "torch.Tensor":
    """Of (b,) errors, in the weights (b,) of their rows where these have any."""
    if weights is None:
        return errors.mean()
    return (errors * weights).sum() / weights.sum().clamp(min=TINY)


def _read(design: Design, settings: NetworkSettings) -> Design:
    """The part of the design that a network reads."""
    named = design.vectors if settings.vectors is None else settings.vectors
    nothing = np.empty((design.rows, 0), np.float32)
    return Design(
        design.numbers if settings.numbers else nothing,
        design.codes if settings.categories else nothing.astype(np.int32),
        design.number_names if settings.numbers else [],
        design.category_names if settings.categories else [],
        {name: design.vectors[name] for name in named if name in design.vectors},
        users=design.users,
    )


def _with_target(data: Batch, target: Target, centre: tuple[float, float], weights: Target | None) -> Batch:
    import torch

    data.target = torch.from_numpy(((target - centre[0]) / centre[1]).astype(np.float32))
    data.weights = None if weights is None else torch.from_numpy(weights.astype(np.float32))
    return data


def _held(scaling: Scaling, validation: tuple[Design, Target] | None, settings: NetworkSettings) -> Any:
    import torch

    if validation is None:
        return None
    design, target = validation
    return scaling.batch(_read(design, settings)), torch.from_numpy(target)


def _error(module: "nn.Module", held: "tuple[Batch, torch.Tensor] | None", centre: tuple[float, float]) -> float:
    if held is None:
        return 0.0
    said = _said(module, held[0]) * centre[1] + centre[0]
    return float(np.abs(said - held[1].numpy()).mean())


def _said(module: "nn.Module", data: Batch) -> Target:
    """The module's predictions, in passes of one size: a row's does not depend on how many others there are."""
    import torch

    module.eval()
    found = []
    with torch.inference_mode():
        for start in range(0, data.rows, PREDICTED_AT_ONCE):
            positions = torch.arange(start, min(start + PREDICTED_AT_ONCE, data.rows))
            filled = torch.cat(
                [positions, positions.new_full((PREDICTED_AT_ONCE - len(positions),), int(positions[-1]))]
            )
            found.append(module(data.take(filled))[: len(positions)].double().numpy())
    return np.concatenate(found) if found else np.empty(0)


def _hidden(batch: Batch, share: float, generator: "torch.Generator") -> Batch:
    """The same with some categories missing or unseen: new rows have such where the training rows have none."""
    import torch

    hide = torch.rand(batch.codes.shape, generator=generator) < share
    batch.codes = batch.codes.where(~hide, torch.randint(MISSING, UNSEEN + 1, batch.codes.shape, generator=generator))
    return batch


def _state(module: "nn.Module") -> "dict[str, torch.Tensor]":
    return {name: weight.detach().clone() for name, weight in module.state_dict().items()}


def _shares(module: "nn.Module", data: Batch, shape: Shape) -> dict[str, float]:
    """How far predictions move with each column, as a share; all 0 where they never move.

    Of a number or a vector: the mean over rows of the gradient's length, each direction in its standard deviations.
    Of a category: the mean change when a row takes the category of another.
    """
    import torch

    inputs = [data.numbers.requires_grad_(), *(values.requires_grad_() for values in data.vectors.values())]
    with torch.enable_grad():
        slopes = torch.autograd.grad(module(data).sum(), inputs, allow_unused=True, materialize_grads=True)
    spreads = [(values - values.mean(dim=0)).square().mean(dim=0).sqrt() for values in inputs]
    steps = [(slope * spread).detach() for slope, spread in zip(slopes, spreads, strict=True)]
    numbers = steps[0].abs().mean(dim=0).tolist()
    vectors = [float(step.norm(dim=1).mean()) for step in steps[1:]]
    found = [*numbers, *_changes(module, data), *vectors]
    names = [*shape.number_names, *shape.category_names, *shape.widths]
    total = sum(found) or 1.0
    return {name: value / total for name, value in zip(names, found, strict=True)}


def _changes(module: "nn.Module", data: Batch) -> list[float]:
    """Of each category."""
    import torch

    order, changes = torch.randperm(data.rows), []
    with torch.inference_mode():
        usual = module(data)
        for place in range(data.codes.shape[1]):
            codes = data.codes.clone()
            codes[:, place] = codes[order, place]
            changes.append(float((module(replace(data, codes=codes)) - usual).abs().mean()))
    return changes


@contextmanager
def _steady(seed: int, threads: int) -> Iterator[None]:
    """Within, torch draws the same numbers each time and sums in the same order."""
    import torch

    # By its mode, because `use_deterministic_algorithms` imports torch's compiler as well: 2 s (2.15, 2026-11-22).
    before, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode("error")
        try:
            yield
        finally:
            torch.set_deterministic_debug_mode(mode)
            torch.set_num_threads(before)
