"""Pictures of the simulated world: drawn from a few numbers, so that a small encoder can learn to read them.

A category shows in the colour and layout of the ground, a subcategory in the shape and colour of what stands on it, a
concept in how many stand there and in the stripes behind them. Neighbouring concepts differ in both (5 counts and 8
angles share no factor), as do neighbouring subcategories (7 shapes, 11 colours).
"""

import colorsys
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Plane = NDArray[np.float32]

_QUALITY = 88
_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
COLOURS, COUNTS, ANGLES = 11, 5, 8


@dataclass(frozen=True)
class Appearance:
    """What a picture shows (indices into the world's words) and how; the last three of these range from 0 to 1."""

    category: int
    subcategory: int
    concept: int
    brightness: float
    colourfulness: float
    sharpness: float
    seed: int


def render(appearance: Appearance, size: int = 64) -> bytes:
    """A square JPEG of the appearance; equal appearances give equal bytes."""
    rng = np.random.default_rng(int(appearance.seed) % 2**63)
    ground = _ground(appearance, size, rng)
    picture = _light(_things(appearance, ground, rng), appearance)
    picture += rng.normal(0.0, 0.015, picture.shape).astype(np.float32)
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    blur = float(1 - appearance.sharpness) * size / 40
    buffer = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(blur)).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


@lru_cache(maxsize=4)
def _coordinates(size: int) -> tuple[Plane, Plane]:
    """x and y of every pixel, from -1 to 1."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    return x, y


def _ground(appearance: Appearance, size: int, rng: np.random.Generator) -> Plane:
    """The category's colour and layout under the concept's stripes: (size, size, 3)."""
    x, y = _coordinates(size)
    colour = _colour(appearance.category, COLOURS, saturation=0.65, value=0.55, rng=rng)
    shade = 0.75 + 0.35 * _LAYOUTS[appearance.category % len(_LAYOUTS)](x, y)
    angle = np.pi * (appearance.concept % ANGLES) / ANGLES + rng.normal(0, 0.03)
    waves = 2.0 + 1.5 * (appearance.concept // ANGLES % 3)
    along = np.cos(angle) * x + np.sin(angle) * y
    stripes = 1 + 0.5 * np.sin(np.pi * waves * along + rng.uniform(0, 2 * np.pi))
    return np.asarray((shade * stripes)[..., None] * colour, dtype=np.float32)


def _things(appearance: Appearance, ground: Plane, rng: np.random.Generator) -> Plane:
    """The subcategory's shape in its colour, as many times as the concept says, on the ground."""
    count = 1 + appearance.concept % COUNTS
    colour = _colour(appearance.subcategory, COLOURS, saturation=0.85, value=1.0, rng=rng)
    x, y = _coordinates(len(ground))
    radius = (0.5, 0.4, 0.34, 0.3, 0.26)[count - 1] * rng.uniform(0.9, 1.1)
    turn = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(count) / count
    distance = 0.0 if count == 1 else 0.55
    middle_x = (distance * np.cos(turn) + rng.normal(0, 0.04, count)).astype(np.float32)
    middle_y = (distance * np.sin(turn) + rng.normal(0, 0.04, count)).astype(np.float32)
    shape = SHAPES[appearance.subcategory % len(SHAPES)]
    inside = np.any(shape((x[..., None] - middle_x) / radius, (y[..., None] - middle_y) / radius), axis=-1)
    return np.where(inside[..., None], colour, ground).astype(np.float32)


def _light(picture: Plane, appearance: Appearance) -> Plane:
    """Less colourful is nearer to grey, less bright is darker."""
    grey = (picture @ _GREY)[..., None]
    coloured = grey + (0.25 + 0.75 * appearance.colourfulness) * (picture - grey)
    return (coloured * (0.45 + 0.75 * appearance.brightness)).astype(np.float32)


def _colour(index: int, colours: int, saturation: float, value: float, rng: np.random.Generator) -> Plane:
    hue = (index % colours / colours + rng.normal(0, 0.01)) % 1
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value), dtype=np.float32)


_LAYOUTS: tuple[Callable[[Plane, Plane], Any], ...] = (
    lambda x, y: y,
    lambda x, y: x,
    lambda x, y: 1 - 1.4 * np.hypot(x, y),
    lambda x, y: np.copysign(np.float32(1), x * y),
)

# Each says whether a point, relative to the shape's middle and in units of its radius, lies inside.
SHAPES: tuple[Callable[[Plane, Plane], Any], ...] = (
    lambda x, y: x * x + y * y < 1,
    lambda x, y: np.maximum(np.abs(x), np.abs(y)) < 0.85,
    lambda x, y: np.abs(x) + np.abs(y) < 1.1,
    lambda x, y: np.abs(np.hypot(x, y) - 0.75) < 0.28,
    lambda x, y: (np.minimum(np.abs(x), np.abs(y)) < 0.3) & (np.maximum(np.abs(x), np.abs(y)) < 1),
    lambda x, y: (y < 0.75) & (y > 2 * np.abs(x) - 1),
    lambda x, y: (np.abs(y) < 0.38) & (np.abs(x) < 1.15),
)
