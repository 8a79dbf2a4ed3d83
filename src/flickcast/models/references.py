"""What recipes are measured against: ridge, boosters with their defaults and AutoGluon, on columns that cost no work.

`raw columns` are the tables' own, as they came; `simple columns` are these and what a line of code makes of one post.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flickcast.models.threads import useful_threads

Values = NDArray[np.float64]
Predict = Callable[[pl.DataFrame], Values]
Fit = Callable[[pl.DataFrame, Values, int, int], Predict]

NUMBERS = ("latitude", "longitude", "geo_accuracy", "width", "height", "duration_seconds")
CATEGORIES = (
    *("media_type", "category", "subcategory", "concept", "is_public", "media_status", "language", "country"),
    *("is_pro", "can_buy_pro", "timezone_id"),
)
COUNTS = (
    *("photo_count", "followers", "following", "total_views", "total_faves", "total_tags", "total_geotagged"),
    *("total_in_group", "faves_given"),
)
MADE = ("hour", "weekday", "words", "tags", "account_days")  # the simple columns that are not raw
NONE = "none"
RARE_BELOW = 5  # ridge: a category seen in fewer posts has no column of its own


def simple_columns(posts: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
    """The tables' own columns, one row per post by post_id: numbers as float64, categories as text.

    The user's are those of the latest snapshot at the time. Beside them MADE: hour and weekday of the posting, numbers
    of words and tags, the account's age; no statistic of other posts. A column without a value is left out.
    """
    known = users.sort("observed_at", "user_id")
    joined = posts.sort("posted_at", "post_id").join_asof(
        known, left_on="posted_at", right_on="observed_at", by="user_id", check_sortedness=False
    )
    numbers = pl.col(*NUMBERS, *COUNTS, "timezone_offset").cast(pl.Float64)
    rows = joined.sort("post_id").select(
        "post_id",
        numbers,
        pl.col(*CATEGORIES).cast(pl.String),
        hour=pl.col("posted_at").dt.hour().cast(pl.Float64),
        weekday=pl.col("posted_at").dt.weekday().cast(pl.Float64),
        words=pl.col("title").str.count_matches(r"\S+").cast(pl.Float64),
        tags=pl.col("tags").list.len().cast(pl.Float64),
        account_days=(pl.col("posted_at") - pl.col("first_post_at")).dt.total_seconds() / 86_400,
    )
    kept = [name for name in rows.columns if rows[name].null_count() < rows.height]
    return rows.select(kept).with_columns(pl.col(pl.String).exclude("post_id").fill_null(NONE))


def _columns(given: pl.DataFrame) -> tuple[list[str], list[str]]:
    """The names of its numbers and of its categories."""
    texts = [name for name, kind in given.schema.items() if kind == pl.String and name != "post_id"]
    return [name for name, kind in given.schema.items() if kind == pl.Float64], texts


def catboost_default(given: pl.DataFrame, target: Values, seed: int, threads: int) -> Predict:
    """CatBoost as it comes."""
    import catboost

    numbers, texts = _columns(given)
    if len(set(target)) == 1 or all(given[name].n_unique() == 1 for name in (*numbers, *texts)):
        return lambda rows: np.full(rows.height, target.mean())  # CatBoost refuses both
    model = catboost.CatBoostRegressor(
        cat_features=texts, random_seed=seed, thread_count=threads, verbose=False, allow_writing_files=False
    )
    model.fit(given.select(*numbers, *texts).to_pandas(), target)
    return lambda rows: np.asarray(model.predict(rows.select(*numbers, *texts).to_pandas()), np.float64)


def lightgbm_default(given: pl.DataFrame, target: Values, seed: int, threads: int) -> Predict:
    """LightGBM as it comes: 100 rounds; only seed, threads and determinism are set."""
    import lightgbm
    import pandas as pd

    numbers, texts = _columns(given)
    values = {name: given[name].unique().sort().to_list() for name in texts}

    def frame(rows: pl.DataFrame) -> pd.DataFrame:
        typed = {name: pl.col(name).replace_strict(_codes(values[name]), default=None) for name in texts}
        return rows.select(*numbers, **typed).to_pandas()

    settings = {
        "seed": seed,
        "num_threads": useful_threads(threads, given.height),
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(frame(given), target, categorical_feature=texts or "auto")
    booster = lightgbm.train({"objective": "regression", **settings}, data, num_boost_round=100)
    return lambda rows: np.asarray(booster.predict(frame(rows)), np.float64)


def _codes(values: list[str]) -> dict[str, int]:
    return {value: code for code, value in enumerate(values)}


def ridge(given: pl.DataFrame, target: Values, seed: int, threads: int) -> Predict:
    """Ridge regression, its strength by leave-one-out on the training rows: the honest floor.

    Counts are taken as log(1 + x), numbers filled with their median and standardised, categories as indicators.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    numbers, texts = _columns(given)
    counts = [name for name in numbers if name in COUNTS]
    steps = [SimpleImputer(strategy="median", add_indicator=True), StandardScaler()]
    indicators = OneHotEncoder(min_frequency=RARE_BELOW, handle_unknown="infrequent_if_exist", sparse_output=False)
    logarithm = FunctionTransformer(np.log1p, feature_names_out="one-to-one")
    columns = ColumnTransformer(
        [
            ("counts", make_pipeline(logarithm, *steps), counts),
            ("numbers", make_pipeline(*steps), [name for name in numbers if name not in COUNTS]),
            ("texts", indicators, texts),
        ]
    )
    model = make_pipeline(columns, RidgeCV(alphas=np.logspace(-2, 4, 13)))
    model.fit(given.to_pandas(), target)
    return lambda rows: np.asarray(model.predict(rows.to_pandas()), np.float64)


def autogluon(given: pl.DataFrame, target: Values, seed: int, threads: int, **settings: Any) -> Predict:
    """The best that AutoGluon makes of the same columns in its time; `settings`: numbers of `AutoGluonSettings`."""
    from flickcast.models.coding import MISSING_CODE
    from flickcast.models.design import Design
    from flickcast.models.learners.autogluon import AutoGluon, AutoGluonSettings

    numbers, texts = _columns(given)
    codes = {name: _codes(given[name].unique().sort().to_list()) for name in texts}

    def design(rows: pl.DataFrame) -> Design:
        coded = rows.select(pl.col(name).replace_strict(codes[name], default=MISSING_CODE) for name in texts)
        wide = rows.select(pl.col(numbers).fill_null(float("nan")).cast(pl.Float32)).to_numpy()
        return Design(wide, coded.cast(pl.Int32).to_numpy().reshape(rows.height, -1), numbers, texts)

    fitted = AutoGluon.fit(design(given), target, settings=AutoGluonSettings(**settings), seed=seed, threads=threads)
    return lambda rows: fitted.predict(design(rows))


def raw_alone(fit: Fit) -> Fit:
    """The same, shown raw columns alone; the mean where there are none."""

    def fitted(simple: pl.DataFrame, target: Values, seed: int, threads: int) -> Predict:
        raw = simple.drop(MADE, strict=False)
        if raw.columns == ["post_id"]:
            return lambda rows: np.full(rows.height, target.mean())
        predict = fit(raw, target, seed, threads)
        return lambda rows: predict(rows.drop(MADE, strict=False))

    return fitted


SIMPLE: dict[str, Fit] = {"ridge": ridge, "catboost default": catboost_default, "lightgbm default": lightgbm_default}
REFERENCES: dict[str, Fit] = {
    **{f"{name}, raw columns": raw_alone(fit) for name, fit in SIMPLE.items()},
    **{f"{name}, simple columns": fit for name, fit in SIMPLE.items()},
}
# Too long for every comparison: a row only where `compare_recipes` is given settings under this name.
ASKED_FOR: dict[str, Callable[..., Predict]] = {"autogluon, simple columns": autogluon}
