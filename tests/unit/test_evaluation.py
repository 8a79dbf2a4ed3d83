import json

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from flickcast.errors import UserError
from flickcast.evaluation import evaluate, paired_difference
from flickcast.params import EvaluateParams

PARAMS = EvaluateParams(bootstrap_rounds=20)
TRAIN = pl.DataFrame(
    {"post_id": ["a", "b", "c"], "user_id": ["u1", "u1", "u2"], "popularity": [2.0, 4.0, 9.0]},
)
TEST = pl.DataFrame(
    {
        "post_id": ["d", "e", "f", "g"],
        "user_id": ["u1", "u2", "new", "new"],
        "popularity": [3.0, 8.0, 6.0, 1.0],
        "prediction": [3.5, 8.0, 5.0, 1.5],
        "low": [2.0, 7.0, 6.5, 0.0],
        "high": [4.0, 9.0, 7.0, 2.0],
    }
)


def test_model_stands_beside_the_baselines() -> None:
    metrics, _ = evaluate(TEST, TRAIN, None, PARAMS, seed=0)
    assert metrics["split"] == "time"
    assert metrics["rows"] == {"train": 3, "test": 4}
    assert metrics["model"]["mae"] == 0.5
    assert metrics["global_mean"]["mae"] == pytest.approx((2 + 3 + 1 + 4) / 4)
    assert metrics["global_median"]["mae"] == pytest.approx((1 + 4 + 2 + 3) / 4)
    assert metrics["user_mean"]["mae"] == pytest.approx((0 + 1 + 1 + 4) / 4)  # a new user gets the mean of all, 5


def test_every_measure_has_an_interval_around_it() -> None:
    metrics, _ = evaluate(TEST, TRAIN, None, PARAMS, seed=0)
    for measure in ("src", "mae", "mse", "mape"):
        model = metrics["model"]
        assert model[f"{measure}_low"] <= model[measure] <= model[f"{measure}_high"]


def test_band_coverage_counts_labels_inside() -> None:
    assert evaluate(TEST, TRAIN, None, PARAMS, seed=0)[0]["model"]["band_coverage"] == 0.75


def test_oracle_stands_beside_where_it_is_known() -> None:
    oracle = pl.DataFrame({"post_id": ["d", "e", "zzz"], "oracle": [3.0, 8.0, 1.0]})
    metrics, _ = evaluate(TEST, TRAIN, oracle, PARAMS, seed=0)
    assert (metrics["oracle"]["rows"], metrics["oracle"]["mae"]) == (2, 0.0)
    assert "oracle" not in evaluate(TEST, TRAIN, oracle.clear(), PARAMS, seed=0)[0]


def test_row_order_changes_nothing() -> None:
    metrics, plots = evaluate(TEST, TRAIN, None, PARAMS, seed=0)
    other, other_plots = evaluate(TEST.reverse(), TRAIN.reverse(), None, PARAMS, seed=0)
    assert json.dumps(metrics) == json.dumps(other)
    for name, plot in plots.items():
        assert_frame_equal(plot, other_plots[name], check_exact=True)


def test_plots_hold_points_tenths_and_predictors() -> None:
    _, plots = evaluate(TEST, TRAIN, None, PARAMS, seed=0)
    assert plots["predictions"].columns == ["popularity", "prediction"]
    assert plots["tenths"]["rows"].sum() == 4
    assert plots["predictors"]["predictor"].to_list() == ["model", "global_mean", "global_median", "user_mean"]


def test_nothing_to_judge_is_one_sentence() -> None:
    with pytest.raises(UserError, match="3 labelled posts to learn from and 0 to judge by"):
        evaluate(TEST.clear(), TRAIN, None, PARAMS, seed=0)


def test_paired_difference_of_equal_predictions_is_nothing() -> None:
    difference = paired_difference(TEST["popularity"], TEST["prediction"], TEST["prediction"], rounds=10, seed=0)
    assert difference["mae"] == {"difference": 0.0, "low": 0.0, "high": 0.0}


def test_paired_difference_sees_the_better_one() -> None:
    label = pl.Series(range(50), dtype=pl.Float64)
    difference = paired_difference(label, label + 0.1, label + 1, rounds=50, seed=0)
    assert difference["mae"]["high"] < 0
