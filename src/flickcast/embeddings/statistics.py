"""Plain numbers of a picture: its size, mode, light, colours and sharpness; no weights."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flickcast.embeddings.protocol import Choice, Encoder, Family, Kind, Sample, Vectors

if TYPE_CHECKING:
    from PIL.Image import Image

# All fit float16, in which vectors are stored: hence millions of pixels, and a sharpness of values from 0 to 1.
STATISTICS = (
    "width",  # pixels
    "height",
    "megapixels",
    "aspect",  # width over height
    "mode",  # of the file: place in MODES, from 1; 0: another one, or not told
    "brightness",  # mean of the grey values, 0 to 255
    "contrast",  # their standard deviation
    "colourfulness",  # Hasler and Suesstrunk, "Measuring colourfulness in natural images" (2003): 0 grey, 109 extreme
    "sharpness",  # variance of the Laplacian of the grey values, these from 0 to 1
)
MODES = ("L", "RGB", "CMYK", "P", "RGBA", "LA", "1", "I;16", "I", "PA")
# Change it with the meaning of any number.
_REVISION = 2
# Pixels looked at at once: a picture of 25 million must not take hundreds of megabytes.
_STRIP = 1 << 18


class PictureStatistics:
    """The encoder that only measures."""

    reads: tuple[Kind, ...] = ("picture",)
    dimension = len(STATISTICS)
    shortest_edge: int | None = None  # the size itself is a statistic, and a reduced picture is sharper

    def __init__(self, name: str) -> None:
        self.name = name
        self.version = hashlib.sha256(repr((_REVISION, STATISTICS, MODES)).encode()).hexdigest()[:16]

    def prepare(self, sample: Sample) -> Vectors:
        """All of the work, as it is the processor's."""
        if sample.picture is None:
            raise ValueError(f"{self.name} reads pictures, and this post has none")
        return measure(sample.picture, sample.mode)

    def encode(self, prepared: Sequence[Vectors]) -> Vectors:
        """One row per picture, in the order of STATISTICS."""
        return np.array(prepared, dtype=np.float32).reshape(len(prepared), self.dimension)


def build(name: str, choice: Choice) -> Encoder:
    """The encoder; it needs nothing."""
    return PictureStatistics(name)


def measure(picture: "Image", mode: str | None = None) -> Vectors:
    """The numbers of a picture in RGB that had this mode in its file, in the order of STATISTICS.

    The sums are of whole numbers and exact, so that they do not depend on the strips.
    """
    width, height = picture.size
    grey, red_green, yellow_blue, laplacian = _Sums(), _Sums(), _Sums(), _Sums()
    for strip, rows in _strips(picture):
        light = np.asarray(strip.convert("L")).astype(np.int16)
        red, green, blue = (np.asarray(band)[rows].astype(np.int16) for band in strip.split())
        grey.add(light[rows])
        red_green.add(red - green)
        yellow_blue.add(red + green - 2 * blue)  # twice its value
        laplacian.add(_laplacian(light))
    spread = math.hypot(red_green.deviation(), yellow_blue.deviation() / 2)
    colourfulness = spread + 0.3 * math.hypot(red_green.mean(), yellow_blue.mean() / 2)
    code = MODES.index(mode) + 1 if mode in MODES else 0
    size = (width, height, width * height / 1e6, width / height)
    seen = (grey.mean(), grey.deviation(), colourfulness, (laplacian.deviation() / 255) ** 2)
    return np.array([*size, code, *seen], dtype=np.float32)


class _Sums:
    """Mean and deviation of whole numbers that come in parts."""

    def __init__(self) -> None:
        self._count = self._total = self._squares = 0

    def add(self, values: NDArray[np.int16]) -> None:
        self._count += values.size
        self._total += int(values.sum(dtype=np.int64))
        self._squares += int(np.square(values, dtype=np.int32).sum(dtype=np.int64))

    def mean(self) -> float:
        return self._total / self._count if self._count else 0.0

    def deviation(self) -> float:
        """Of the population; 0 where there are no numbers."""
        variation = self._count * self._squares - self._total**2
        return math.sqrt(variation) / self._count if self._count else 0.0


def _strips(picture: "Image") -> "Iterator[tuple[Image, slice]]":
    """The picture from top to bottom, each strip with a row more at its edges, and which of its rows are its own."""
    width, height = picture.size
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        above = min(1, top)
        strip = picture.crop((0, top - above, width, min(bottom + 1, height)))
        yield strip, slice(above, above + bottom - top)


def _laplacian(values: NDArray[np.int16]) -> NDArray[np.int16]:
    """Of every pixel that has four neighbours: their sum less four times itself."""
    inner = values[1:-1, 1:-1]
    return values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * inner


FAMILIES = {
    "statistics-picture": Family(
        build,
        meaning="plain numbers: size, mode, light, colours, sharpness; no weights",
        facts={"reads": ("picture",), "dimension": len(STATISTICS), "columns": STATISTICS},
    )
}
