"""From a design to what a network reads: standardised numbers, codes from 0 on, vectors without holes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from flickcast.models.design import Design

if TYPE_CHECKING:
    import torch

Arrays = Mapping[str, NDArray[Any]]
LARGEST = 10.0  # standard deviations; what lies further out is drawn in
COLUMNS_AT_ONCE = 64
MISSING, UNSEEN = 0, 1  # codes: of no category, and of one that is rare or that the training rows do not have


@dataclass
class Batch:
    """Rows as tensors. b rows, p numbers, q categories.

    `numbers` (b, p) standardised, 0 where missing; `codes` (b, q) int64, 0 where missing; `vectors` by name (b, width),
    0 where missing, and `has` by name (b,), 1 where there is one; in training `target`, `weights` and `users` (b,)
    and by name the `labels` (b,) of auxiliary losses.
    """

    numbers: "torch.Tensor"
    codes: "torch.Tensor"
    vectors: "dict[str, torch.Tensor]"
    has: "dict[str, torch.Tensor]"
    target: "torch.Tensor | None" = None
    weights: "torch.Tensor | None" = None
    users: "torch.Tensor | None" = None
    labels: "dict[str, torch.Tensor]" = field(default_factory=dict)

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
            {name: values[positions] for name, values in self.labels.items()},
        )


@dataclass(frozen=True)
class Shape:
    """What a network is built for, as the training rows have it."""

    number_names: list[str]
    category_names: list[str]
    sizes: list[int]  # how many codes each category has, MISSING and UNSEEN among them
    widths: dict[str, int]  # of each vector, by name


@dataclass(frozen=True)
class Scaling:
    """What was learnt of the training rows' inputs. mean and deviation: (p,)."""

    shape: Shape
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]

    @classmethod
    def fit(cls, design: Design) -> Self:
        """Mean and spread of what is there; a column without any counts as 0 throughout."""
        width = design.numbers.shape[1]
        mean, deviation = np.zeros(width), np.zeros(width)
        for start in range(0, width, COLUMNS_AT_ONCE):  # in float64 all of them are several times the design
            some = slice(start, start + COLUMNS_AT_ONCE)
            mean[some], deviation[some] = _moments(design.numbers[:, some])
        sizes = [int(design.codes[:, place].max(initial=0)) + 2 for place in range(design.codes.shape[1])]
        widths = {name: design.vectors[name].shape[1] for name in sorted(design.vectors)}  # a stored form sorts, too
        shape = Shape(design.number_names, design.category_names, sizes, widths)
        return cls(shape, mean.astype(np.float32), np.where(deviation > 1e-6, deviation, 1).astype(np.float32))

    def batch(self, design: Design) -> Batch:
        """All rows, without target; a vector that the design lacks counts as missing throughout."""
        import torch

        with np.errstate(over="ignore"):  # what is too far for float32 becomes infinite, and is drawn in
            numbers = np.clip((design.numbers - self.mean) / self.deviation, -LARGEST, LARGEST)
        codes = np.maximum(design.codes, -1) + 1  # -1, 0, 1, ... become 0 for missing, 1 for rare, 2, ...
        vectors = {name: _vectors(design, name, width) for name, width in self.shape.widths.items()}
        return Batch(
            torch.from_numpy(np.nan_to_num(numbers, nan=0.0).astype(np.float32)),
            torch.from_numpy(np.where(codes < np.array(self.shape.sizes), codes, UNSEEN).astype(np.int64)),
            {name: torch.from_numpy(values) for name, (values, _) in vectors.items()},
            {name: torch.from_numpy(there) for name, (_, there) in vectors.items()},
            users=None if design.users is None else torch.from_numpy(design.users.astype(np.int64)),
        )


def _moments(numbers: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation (p,) of what is there of columns (n, p); 0 and 0 where nothing is."""
    there = np.isfinite(numbers)
    count = np.maximum(there.sum(axis=0), 1)
    known = np.where(there, numbers, 0).astype(np.float64)
    mean = known.sum(axis=0) / count
    return mean, np.sqrt((np.where(there, known - mean, 0) ** 2).sum(axis=0) / count)


def _vectors(design: Design, name: str, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(n, width) without holes, and (n,) whether there is one."""
    if name not in design.vectors:
        return np.zeros((design.rows, width), np.float32), np.zeros(design.rows, np.float32)
    values: NDArray[np.float32] = np.asarray(design.vectors[name], np.float32)
    there = np.all(np.isfinite(values), axis=1)
    filled = values if there.all() else np.where(there[:, None], values, np.float32(0))
    return filled, there.astype(np.float32)
