"""Pictures of the simulated world."""

import io
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from flickcast.simulate.pictures import Appearance, render

PLAIN = Appearance(category=2, subcategory=18, concept=85, brightness=0.5, colourfulness=0.5, sharpness=0.5, seed=7)


def pixels(appearance: Appearance) -> NDArray[np.float64]:
    return np.asarray(Image.open(io.BytesIO(render(appearance))), dtype=np.float64)


def spread_of_colour(picture: NDArray[np.float64]) -> float:
    return float((picture.max(axis=2) - picture.min(axis=2)).mean())


def steepness(picture: NDArray[np.float64]) -> float:
    return float(np.abs(np.diff(picture.mean(axis=2), axis=0)).mean())


def test_equal_appearances_give_equal_bytes() -> None:
    assert render(PLAIN) == render(replace(PLAIN))


def test_another_seed_gives_another_picture() -> None:
    assert render(PLAIN) != render(replace(PLAIN, seed=8))


@pytest.mark.parametrize("size", [16, 64, 250])
def test_picture_is_a_square_jpeg_of_the_size_asked_for(size: int) -> None:
    picture = Image.open(io.BytesIO(render(PLAIN, size)))
    assert (picture.format, picture.size, picture.mode) == ("JPEG", (size, size), "RGB")


def test_brightness_lightens() -> None:
    assert pixels(replace(PLAIN, brightness=1.0)).mean() > 1.3 * pixels(replace(PLAIN, brightness=0.0)).mean()


def test_colourfulness_moves_away_from_grey() -> None:
    grey, colourful = (pixels(replace(PLAIN, colourfulness=value)) for value in (0.0, 1.0))
    assert spread_of_colour(colourful) > 2 * spread_of_colour(grey)


def test_sharpness_steepens_edges() -> None:
    assert steepness(pixels(replace(PLAIN, sharpness=1.0))) > 1.1 * steepness(pixels(replace(PLAIN, sharpness=0.0)))


@pytest.mark.parametrize("part", ["category", "subcategory", "concept"])
def test_each_level_of_meaning_changes_more_than_noise(part: str) -> None:
    other = replace(PLAIN, **{part: getattr(PLAIN, part) + 1})
    assert np.abs(pixels(other) - pixels(PLAIN)).mean() > 5


def test_numpy_numbers_are_as_good_as_python_numbers() -> None:
    numpy_made = replace(PLAIN, brightness=np.float64(0.5), sharpness=np.float64(0.5), seed=np.int64(7))
    assert render(numpy_made) == render(PLAIN)
