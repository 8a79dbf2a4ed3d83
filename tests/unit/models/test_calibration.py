import json

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy.optimize import linprog

from flickcast.models.calibration import Calibration, CalibrationSettings, _least_absolute

Values = NDArray[np.float64]
SETTINGS = CalibrationSettings(line=True)


def drawn(posts: int, cold: float, seed: int, slope: float = 1.0) -> tuple[pl.DataFrame, Values, Values]:
    """Rows, predictions, labels: cold users' labels have three times the spread, and lie lopsided."""
    random = np.random.default_rng(seed)
    is_cold = random.random(posts) < cold
    rows = pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in range(posts)],
            "log_earlier_posts": np.where(is_cold, 0.0, random.uniform(0.7, 4, posts)),
        }
    )
    said = random.normal(6, 2, posts)
    noise = np.where(is_cold, random.gamma(2, 1.5, posts) - 3, random.normal(0, 0.7, posts))
    return rows, said, np.where(is_cold, 6 + slope * (said - 6), said) + noise


def finished(fitted: Calibration, rows: pl.DataFrame, said: Values) -> tuple[Values, Values, Values]:
    found = fitted.finish(rows, np.column_stack([said, said]))
    return found["prediction"], found["low"], found["high"]


@pytest.mark.parametrize("band", [0.5, 0.8, 0.95])
def test_band_holds_its_share_of_fresh_labels_in_each_segment(band: float) -> None:
    settings = CalibrationSettings(band=band)
    fitted = Calibration.fit(*drawn(8000, 0.4, seed=0), settings)
    rows, said, target = drawn(20_000, 0.4, seed=1)
    _, low, high = finished(fitted, rows, said)
    for cold in (True, False):
        mask = (rows["log_earlier_posts"] == 0).to_numpy() == cold
        assert np.mean((low <= target) & (target <= high), where=mask) == pytest.approx(band, abs=0.02)
        assert np.mean(target < low, where=mask) == pytest.approx((1 - band) / 2, abs=0.02)


def test_few_posts_of_a_segment_have_the_band_of_all() -> None:
    rows, said, target = drawn(3000, 0.02, seed=0)
    fitted = Calibration.fit(rows, said, target, SETTINGS)
    assert set(fitted.segments) == {"all", "known"}
    _, low, high = finished(fitted, rows, said)
    cold = (rows["log_earlier_posts"] == 0).to_numpy()
    everyone = fitted.segments["all"]
    np.testing.assert_allclose((high - low)[cold], everyone.high - everyone.low)


def test_without_line_predictions_stay_as_they_are() -> None:
    rows, said, target = drawn(3000, 0.4, seed=0, slope=0.3)
    assert finished(Calibration.fit(rows, said, target, SETTINGS), rows, said)[0] != pytest.approx(said)
    np.testing.assert_array_equal(
        finished(Calibration.fit(rows, said, target, CalibrationSettings()), rows, said)[0], said
    )


def test_null_is_a_user_without_earlier_posts() -> None:
    rows, said, target = drawn(1000, 0.5, seed=0)
    nulls = rows.with_columns(pl.col("log_earlier_posts").replace(0.0, None))
    assert Calibration.fit(nulls, said, target, SETTINGS) == Calibration.fit(rows, said, target, SETTINGS)


@pytest.mark.parametrize("cold", [0.0, 1.0])
def test_segment_that_was_absent_is_finished_like_all(cold: float) -> None:
    fitted = Calibration.fit(*drawn(1000, cold, seed=0), SETTINGS)
    rows, said, _ = drawn(10, 1 - cold, seed=1)
    prediction, low, high = finished(fitted, rows, said)
    everyone = fitted.segments["all"]
    np.testing.assert_allclose(prediction, everyone.line(said))
    np.testing.assert_allclose((low, high), (prediction + everyone.low, prediction + everyone.high))


def test_rows_without_the_column_are_one_segment() -> None:
    rows, said, target = drawn(500, 0.5, seed=0)
    fitted = Calibration.fit(rows.drop("log_earlier_posts"), said, target, SETTINGS)
    assert set(fitted.segments) == {"all"}
    assert np.isfinite(finished(fitted, rows, said)).all()


def test_segment_that_is_told_too_far_out_is_drawn_in() -> None:
    fitted = Calibration.fit(*drawn(8000, 0.5, seed=0, slope=0.3), SETTINGS)
    assert fitted.segments["cold"].slope == pytest.approx(0.3, abs=0.05)
    rows, said, target = drawn(8000, 0.5, seed=1, slope=0.3)
    prediction, _, _ = finished(fitted, rows, said)
    assert np.abs(target - prediction).mean() < 0.9 * np.abs(target - said).mean()


def test_line_goes_towards_the_middle_of_the_labels() -> None:
    """Cold users' labels have their median 0.5 below the prediction, their mean at it: the absolute error counts."""
    rows, said, target = drawn(8000, 1.0, seed=0)
    prediction, _, _ = finished(Calibration.fit(rows, said, target, SETTINGS), rows, said)
    assert np.mean(target < prediction) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_right_predictions_stay_as_they_are(seed: int) -> None:
    rows, said, target = drawn(400, 0.0, seed=seed)
    prediction, _, _ = finished(Calibration.fit(rows, said, target, SETTINGS), rows, said)
    assert np.abs(prediction - said).max() < 0.15


def test_more_shrinkage_moves_less() -> None:
    lines = [
        Calibration.fit(*drawn(2000, 1.0, 0, slope=0.3), CalibrationSettings(line=True, shrinkage=posts)).segments[
            "cold"
        ]
        for posts in (0, 2000)
    ]
    assert lines[0].slope == pytest.approx(0.3, abs=0.07)
    assert 1 - lines[1].slope == pytest.approx((1 - lines[0].slope) / 2)


@pytest.mark.parametrize("posts", [2, 10])
def test_few_posts_have_a_finite_band_around_the_prediction(posts: int) -> None:
    rows, said, target = drawn(posts, 0.5, seed=0)
    prediction, low, high = finished(Calibration.fit(rows, said, target, CalibrationSettings(band=0.99)), rows, said)
    assert np.isfinite([low, high]).all()
    assert ((low <= prediction) & (prediction <= high)).all()


def test_labels_that_are_all_equal_and_predictions_that_are() -> None:
    rows, said, _ = drawn(500, 0.5, seed=0)
    for unseen, target in ((said, np.full(500, 5.0)), (np.full(500, 4.0), said)):
        fitted = Calibration.fit(rows, unseen, target, SETTINGS)
        assert np.isfinite(finished(fitted, rows, unseen)).all()


def test_order_of_the_rows_changes_nothing_beyond_the_last_bits() -> None:
    rows, said, target = drawn(900, 0.5, seed=0, slope=0.3)
    order = np.random.default_rng(1).permutation(900)
    shuffled = Calibration.fit(rows[order], said[order], target[order], SETTINGS)
    given = Calibration.fit(rows, said, target, SETTINGS)
    np.testing.assert_allclose(finished(shuffled, rows, said), finished(given, rows, said))


def test_facts_are_json_and_give_it_back() -> None:
    fitted = Calibration.fit(*drawn(1000, 0.5, seed=0, slope=0.3), SETTINGS)
    assert Calibration.restore(json.loads(json.dumps(fitted.facts()))) == fitted


def test_least_absolute_errors_are_those_of_a_linear_programme() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=60)
    target = 2 * values - 1 + random.standard_t(2, 60)
    design = np.column_stack([values, np.ones(60)])
    either = np.hstack([design, np.eye(60), -np.eye(60)])  # target = line + above - below
    best = linprog(np.r_[0, 0, np.ones(120)], A_eq=either, b_eq=target, bounds=[(None, None)] * 2 + [(0, None)] * 120)
    found = np.array(_least_absolute(values, target))
    assert np.abs(target - design @ found).sum() == pytest.approx(best.fun, rel=1e-3)
