"""How good the predictions are: measures with intervals, beside the naive baselines and, where known, the oracle."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flickcast.errors import UserError
from flickcast.metrics import bootstrap_interval, measures, resampled
from flickcast.params import EvaluateParams

Json = dict[str, Any]
PLOTTED_ROWS = 2000
TENTHS = 10


def evaluate(
    test: pl.DataFrame, train: pl.DataFrame, oracle: pl.DataFrame | None, params: EvaluateParams, seed: int
) -> tuple[Json, dict[str, pl.DataFrame]]:
    """Metrics of the test rows, and frames to plot.

    `test` holds post_id, user_id, popularity, prediction (low and high where there is a band); `train`, from which
    the baselines learn, post_id, user_id, popularity; `oracle` post_id and oracle. Row order changes nothing.
    """
    if test.is_empty() or train.is_empty():
        raise UserError(
            f"evaluate: {train.height} labelled posts to learn from and {test.height} to judge by are too few. "
            "Import or ingest more posts, or wait until they have matured."
        )
    rows = with_predictors(test, train, oracle)
    predictors = [name for name in ("model", *BASELINES, "oracle") if name in rows.columns]
    measured = {name: measured_with_intervals(rows, name, params, seed) for name in predictors}
    metrics: Json = {"split": params.split, "rows": {"train": train.height, "test": test.height}, **measured}
    if {"low", "high"} <= set(rows.columns):
        metrics["model"] = {**measured["model"], "band_coverage": _coverage(rows)}
    return metrics, {"predictions": _scatter(rows, seed), "tenths": _tenths(rows), "predictors": _table(metrics)}


def global_mean(test: pl.DataFrame, train: pl.DataFrame) -> pl.Series:
    """The mean label of the training rows, for every test row."""
    return pl.repeat(_mean(train), test.height, eager=True)


def global_median(test: pl.DataFrame, train: pl.DataFrame) -> pl.Series:
    """The median label of the training rows, for every test row."""
    return pl.repeat(float(np.median(train["popularity"].to_numpy())), test.height, eager=True)


def user_mean(test: pl.DataFrame, train: pl.DataFrame) -> pl.Series:
    """The mean training label of each row's user; of all rows where the user has none."""
    means = train.sort("post_id").group_by("user_id", maintain_order=True).agg(mean=pl.col("popularity").mean())
    joined = test.select("user_id").join(means, on="user_id", how="left", maintain_order="left")
    return joined["mean"].fill_null(_mean(train))


BASELINES = {"global_mean": global_mean, "global_median": global_median, "user_mean": user_mean}


def paired_difference(
    label: pl.Series, first: pl.Series, second: pl.Series, *, rounds: int, seed: int
) -> dict[str, dict[str, float]]:
    """first minus second, per measure, with a 95 % interval from rows resampled for both alike."""
    y, a, b = (series.to_numpy() for series in (label, first, second))
    rows = np.random.default_rng(seed).integers(0, len(y), (rounds, len(y)))
    of_first, of_second = resampled(y, a, rows), resampled(y, b, rows)
    observed = measures(y, a), measures(y, b)
    return {
        name: _difference(value - observed[1][name], of_first[name] - of_second[name])
        for name, value in observed[0].items()
    }


def _difference(value: float, samples: NDArray[np.float64]) -> dict[str, float]:
    low, high = np.quantile(samples, [0.025, 0.975])
    return {"difference": value, "low": float(low), "high": float(high)}


def _mean(train: pl.DataFrame) -> float:
    return float(np.mean(train["popularity"].to_numpy()))


def with_predictors(test: pl.DataFrame, train: pl.DataFrame, oracle: pl.DataFrame | None) -> pl.DataFrame:
    """The test rows by post_id, the prediction as `model`, the baselines and, where it is known, the oracle beside."""
    test, train = test.sort("post_id"), train.sort("post_id")
    baselines = {name: predict(test, train) for name, predict in BASELINES.items()}
    rows = test.rename({"prediction": "model"}).with_columns(**baselines)
    if oracle is None or oracle.is_empty():
        return rows
    return rows.join(oracle.select("post_id", "oracle"), on="post_id", how="left", maintain_order="left")


def measured_with_intervals(rows: pl.DataFrame, name: str, params: EvaluateParams, seed: int) -> Json:
    """Each measure with the ends of its 95 % interval; over the rows that have this prediction."""
    known = rows.filter(pl.col(name).is_not_null())
    if known.is_empty():
        return {"rows": 0}
    label, prediction = known["popularity"].to_numpy(), known[name].to_numpy()
    intervals = bootstrap_interval(label, prediction, rounds=params.bootstrap_rounds, seed=seed)
    metrics: Json = {"rows": known.height}
    for measure, value in measures(label, prediction).items():
        low, high = intervals[measure]
        metrics |= {measure: value, f"{measure}_low": low, f"{measure}_high": high}
    return metrics


def _coverage(rows: pl.DataFrame) -> float:
    inside = rows.select(pl.col("popularity").is_between("low", "high").mean()).item()
    return float(inside)


def _scatter(rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Label against prediction, of a sample of the rows."""
    sample = rows.sample(min(PLOTTED_ROWS, rows.height), seed=seed).sort("post_id")
    return sample.select("popularity", prediction="model")


def _tenths(rows: pl.DataFrame) -> pl.DataFrame:
    """Mean prediction, mean label and mean error, from the tenth with the lowest predictions to the highest."""
    tenth = (pl.col("model").rank("ordinal") - 1) * TENTHS // rows.height + 1
    return (
        rows.with_columns(tenth=tenth)
        .group_by("tenth")
        .agg(
            rows=pl.len(),
            prediction=pl.col("model").mean(),
            popularity=pl.col("popularity").mean(),
            mae=(pl.col("popularity") - pl.col("model")).abs().mean(),
        )
        .sort("tenth")
    )


def _table(metrics: Json) -> pl.DataFrame:
    """One row per predictor: its SRC, MAE and MSE."""
    predictors = {name: value for name, value in metrics.items() if isinstance(value, dict) and "src" in value}
    return pl.DataFrame(
        [
            {"predictor": name, **{key: value[key] for key in ("src", "mae", "mse")}}
            for name, value in predictors.items()
        ]
    )
