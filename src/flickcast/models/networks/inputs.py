"""From a design to what a network reads: standardised numbers, codes from 0 on, vectors without holes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from flickcast.models.design import Design

if TYPE_CHECKING:
    import torch

Arrays = Mapping[str, NDArray[Any]]
LARGEST = 10.0  # standard deviations; what lies further out is drawn in
UNSEEN = 1  # code of a category that the training rows do not have


@dataclass
class Batch:
    """Rows as tensors. b rows, p numbers, q categories.

    `numbers` (b, p) standardised, 0 where missing; `codes` (b, q) int64, 0 where missing; `vectors` by name (b, width),
    0 where missing, and `has` by name (b,), 1 where there is one; in training `target`, `weights` and `users` (b,).
    """

    numbers: "torch.Tensor"
    codes: "torch.Tensor"
    vectors: "dict[str, torch.Tensor]"
    has: "dict[str, torch.Tensor]"
    target: "torch.Tensor | None" = None
    weights: "torch.Tensor | None" = None
    users: "torch.Tensor | None" = None

    @property
    def rows(self) -> int:
        """b."""
        return len(self.numbers)

    def take(self, positions: "torch.Tensor") -> "Batch":
        """Some of the rows."""

        def some(values: "torch.Tensor | None") -> "torch.Tensor | None":
            return None if values is None else values[positions]

        return Batch(
            self.numbers[positions],
            self.codes[positions],
            {name: values[positions] for name, values in self.vectors.items()},
            {name: values[positions] for name, values in self.has.items()},
            some(self.target),
            some(self.weights),
            some(self.users),
        )


@dataclass(frozen=True)
class Shape:
    """What a network is built for, as the training rows have it."""

    number_names: list[str]
    category_names: list[str]
    sizes: list[int]  # codes of each category, those for missing (0) and unseen (1) among them
    widths: dict[str, int]  # of each vector


@dataclass(frozen=True)
class Scaling:
    """What was learnt of the training rows' inputs. mean, deviation and middle: (p,)."""

    shape: Shape
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]

    @classmethod
    def fit(cls, design: Design) -> Self:
        """Mean and spread of what is there; a column without any counts as 0 throughout."""
        numbers = np.where(np.isfinite(design.numbers), design.numbers, np.nan).astype(np.float64)
        there = np.isfinite(numbers)
        count = np.maximum(there.sum(axis=0), 1)
        mean = np.where(there, numbers, 0).sum(axis=0) / count
        deviation = np.sqrt((np.where(there, numbers - mean, 0) ** 2).sum(axis=0) / count)
        sizes = [int(design.codes[:, place].max(initial=0)) + 3 for place in range(design.codes.shape[1])]
        widths = {name: values.shape[1] for name, values in design.vectors.items()}
        shape = Shape(design.number_names, design.category_names, sizes, widths)
        return cls(shape, mean.astype(np.float32), np.where(deviation > 1e-6, deviation, 1).astype(np.float32))

    def batch(self, design: Design) -> Batch:
        """All rows, without target."""
        import torch

        numbers = np.clip((design.numbers - self.mean) / self.deviation, -LARGEST, LARGEST)
        codes = design.codes + 2  # -1, 0, 1, ... become 1, 2, 3, ...; then missing 0 and rare ones, like unseen ones, 1
        codes = np.where(design.codes < 0, 0, np.where(codes >= np.array(self.shape.sizes)[None, :], UNSEEN, codes))
        there = {name: np.isfinite(values[:, :1]).all(axis=1) for name, values in design.vectors.items()}
        return Batch(
            torch.from_numpy(np.nan_to_num(numbers, nan=0.0).astype(np.float32)),
            torch.from_numpy(codes.astype(np.int64)),
            {name: torch.from_numpy(np.nan_to_num(values, nan=0.0)) for name, values in design.vectors.items()},
            {name: torch.from_numpy(mask.astype(np.float32)) for name, mask in there.items()},
            users=None if design.users is None else torch.from_numpy(design.users.astype(np.int64)),
        )
