"""From a design to columns that a linear model can read: standardised, holes filled and told of, one per category."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from flickcast.models.design import Design

Values = NDArray[np.float64]
LARGEST = 10.0  # standard deviations; what lies further out is drawn in
ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Columns:
    """What was learnt of the training rows. w: how many numbers there are, those of vectors among them."""

    names: list[str]  # of the numbers
    widths: dict[str, int]  # of the vectors, which follow the numbers
    sizes: dict[str, int]  # of each category: how many codes there are, -1 for missing among them
    mean: Values  # (w,)
    deviation: Values  # (w,)
    holed: NDArray[np.int64]  # which of the w have holes; of a vector the first alone

    @classmethod
    def fit(cls, design: Design) -> Self:
        """Mean and spread of what is there; a column without any counts as 0 throughout."""
        widths = {name: design.vectors[name].shape[1] for name in sorted(design.vectors)}
        count = sum(np.isfinite(wide).sum(axis=0) for wide in _parts(design, widths))
        mean = sum(_filled(wide).sum(axis=0) for wide in _parts(design, widths)) / np.maximum(count, 1)
        squares = sum((_filled(wide - mean) ** 2).sum(axis=0) for wide in _parts(design, widths))
        deviation = np.sqrt(squares / np.maximum(count, 1))
        asked = [*range(len(design.number_names)), *_starts(len(design.number_names), widths)]
        holed = [place for place in asked if 0 < count[place] < design.rows]
        highest = design.codes.max(axis=0, initial=-1).tolist()
        sizes = {name: code + 2 for name, code in zip(design.category_names, highest, strict=True)}
        deviation = np.where(deviation > 1e-6, deviation, np.inf)
        return cls(design.number_names, widths, sizes, mean, deviation, np.array(holed, np.int64))

    def parts(self, design: Design) -> Iterator[Values]:
        """(rows, columns) for some thousand rows at a time, in their order."""
        for part in _in_parts(design):
            yield self._of(part)

    def _of(self, design: Design) -> Values:
        wide = _wide(design, self.widths)
        inside = (_filled(wide - self.mean) / self.deviation).clip(-LARGEST, LARGEST)
        codes = [
            design.codes[:, place, None] == np.arange(-1, size - 1)[None, :]
            for place, size in enumerate(self.sizes.values())
        ]
        return np.hstack([inside, ~np.isfinite(wide[:, self.holed]), *codes]).astype(np.float64)

    def owners(self) -> list[str]:
        """The name in the design that each column comes from."""
        wide = [*self.names, *(name for name, width in self.widths.items() for _ in range(width))]
        categories = [name for name, size in self.sizes.items() for _ in range(size)]
        return [*wide, *(wide[place] for place in self.holed), *categories]

    def facts(self) -> dict[str, Any]:
        """All but the arrays, as JSON."""
        return {"names": self.names, "widths": list(self.widths.items()), "sizes": list(self.sizes.items())}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays."""
        return {"mean": self.mean, "deviation": self.deviation, "holed": self.holed}

    @classmethod
    def restore(cls, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """The same from its facts and arrays."""
        own = (arrays[name] for name in ("mean", "deviation", "holed"))
        return cls(facts["names"], dict(facts["widths"]), dict(facts["sizes"]), *own)


def _in_parts(design: Design) -> Iterator[Design]:
    for start in range(0, design.rows, ROWS_AT_ONCE):
        yield design.take(np.arange(start, min(start + ROWS_AT_ONCE, design.rows)))


def _parts(design: Design, widths: dict[str, int]) -> Iterator[Values]:
    return (_wide(part, widths) for part in _in_parts(design))


def _filled(values: Values) -> Values:
    return np.where(np.isfinite(values), values, 0)


def _wide(design: Design, widths: dict[str, int]) -> Values:
    """Numbers and vectors side by side, (rows, w); a vector that the design lacks is a hole throughout."""
    absent = np.full((design.rows, 1), np.nan)
    vectors = (design.vectors.get(name, np.repeat(absent, width, axis=1)) for name, width in widths.items())
    return np.hstack([design.numbers, *vectors]).astype(np.float64)


def _starts(place: int, widths: dict[str, int]) -> Iterator[int]:
    for width in widths.values():
        yield place
        place += width
