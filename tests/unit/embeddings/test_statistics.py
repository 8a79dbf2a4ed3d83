"""A picture's plain numbers, against values worked out by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tiny_networks import assert_vectors_stand_alone, photo

from flickcast.embeddings import statistics
from flickcast.embeddings.protocol import Choice, Sample
from flickcast.embeddings.statistics import STATISTICS, build, measure
from flickcast.pictures import MOST_ELONGATED, MOST_PIXELS

NAME = "statistics-picture"


def picture(pixels: object) -> Image.Image:
    return Image.fromarray(np.array(pixels, dtype=np.uint8))


def measured(image: Image.Image, mode: str | None = None) -> dict[str, float]:
    return dict(zip(STATISTICS, measure(image, mode).tolist(), strict=True))


def grey(values: list[list[int]]) -> Image.Image:
    return picture(np.repeat(np.array(values)[..., None], 3, axis=2))


def test_numbers_depend_on_their_picture_only() -> None:
    assert_vectors_stand_alone(build(NAME, Choice()))


def test_size_is_counted_in_pixels() -> None:
    found = measured(Image.new("RGB", (300, 200)))
    assert (found["width"], found["height"], found["aspect"]) == (300, 200, 1.5)
    assert found["megapixels"] == pytest.approx(0.06)


def test_one_grey_has_brightness_and_nothing_else() -> None:
    found = measured(Image.new("RGB", (40, 30), (77, 77, 77)))
    assert found["brightness"] == 77
    assert (found["contrast"], found["colourfulness"], found["sharpness"]) == (0, 0, 0)


def test_brightness_and_contrast_of_black_and_white() -> None:
    found = measured(grey([[0, 255, 255, 255]]))
    assert found["brightness"] == 191.25
    assert found["contrast"] == pytest.approx(255 * np.sqrt(3) / 4)


def test_green_is_brighter_than_red_and_red_than_blue() -> None:
    red, green, blue = (measured(Image.new("RGB", (2, 2), colour))["brightness"] for colour in ("red", "lime", "blue"))
    assert (red, green, blue) == (76, 150, 29)  # 0.299, 0.587 and 0.114 of 255 (ITU-R 601)


def test_colourfulness_of_one_colour_is_in_the_means() -> None:
    # Pure red: red - green = 255, (red + green) / 2 - blue = 127.5, everywhere.
    assert measured(Image.new("RGB", (5, 4), "red"))["colourfulness"] == pytest.approx(0.3 * np.hypot(255, 127.5))


def test_colourfulness_of_red_beside_cyan_is_in_the_deviations() -> None:
    # red - green: 255 and -255; yellow - blue: 127.5 and -127.5: means 0, deviations 255 and 127.5.
    assert measured(picture([[[255, 0, 0], [0, 255, 255]]]))["colourfulness"] == pytest.approx(np.hypot(255, 127.5))


def test_sharpness_of_a_single_point() -> None:
    # The 3 x 3 pixels with four neighbours: -4 at the point, 1 beside it four times: mean 0, variance 20 / 9.
    values = np.zeros((5, 5), dtype=int)
    values[2, 2] = 255
    assert measured(grey(values.tolist()))["sharpness"] == pytest.approx(20 / 9)


def test_a_ramp_has_no_sharpness() -> None:
    assert measured(grey([[10 * x + 5 * y for x in range(8)] for y in range(8)]))["sharpness"] == 0


@pytest.mark.parametrize("size", [(1, 1), (2, 50), (50, 2), (1, 100)])
def test_pictures_without_an_inside_have_numbers_too(size: tuple[int, int]) -> None:
    found = measured(Image.new("RGB", size, (9, 8, 7)))
    assert np.isfinite(list(found.values())).all()
    assert found["sharpness"] == 0


def naive(image: Image.Image) -> NDArray[np.float64]:
    """The same from whole arrays of floats, as the papers have it."""
    red, green, blue = np.asarray(image, dtype=float).transpose(2, 0, 1)
    light = np.asarray(image.convert("L"), dtype=float)
    first, second = red - green, (red + green) / 2 - blue
    colourfulness = np.hypot(first.std(), second.std()) + 0.3 * np.hypot(first.mean(), second.mean())
    around = light[:-2, 1:-1] + light[2:, 1:-1] + light[1:-1, :-2] + light[1:-1, 2:]
    sharpness = ((around - 4 * light[1:-1, 1:-1]) / 255).var()
    return np.array([light.mean(), light.std(), colourfulness, sharpness])


@pytest.mark.parametrize("strip", [1, 1000, 4097, 1 << 18])
def test_strips_of_any_height_give_the_numbers_of_the_whole(monkeypatch: pytest.MonkeyPatch, strip: int) -> None:
    noise = picture(np.random.default_rng(5).integers(0, 256, (61, 83, 3)))
    monkeypatch.setattr(statistics, "_STRIP", strip)
    for image in (noise, photo(3)):
        np.testing.assert_allclose(measure(image)[5:], naive(image), rtol=1e-5)


@pytest.mark.parametrize(("mode", "code"), [("L", 1), ("RGB", 2), ("CMYK", 3), ("HSV", 0), (None, 0)])
def test_the_mode_of_the_file_is_a_number(mode: str | None, code: int) -> None:
    assert measured(photo(1), mode)["mode"] == code


def test_the_largest_numbers_fit_float16() -> None:
    checks = np.indices((40, 40)).sum(0) % 2 * 255
    assert measured(grey(checks.tolist()))["sharpness"] == pytest.approx(16)
    longest = max(MOST_PIXELS.values()) * MOST_ELONGATED  # squared
    assert np.isfinite(np.float16(longest**0.5))


def test_a_post_without_picture_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="reads pictures"):
        build(NAME, Choice()).prepare(Sample(text="only words"))
