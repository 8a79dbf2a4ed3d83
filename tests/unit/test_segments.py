"""Figures per segment: every test post once in each kind, by the measures of those rows alone."""

import polars as pl
import pytest

from flickcast.evaluation.segments import CATEGORIES, as_json, segments, worst
from flickcast.metrics import measures
from flickcast.params import EvaluateParams

PARAMS = EvaluateParams(bootstrap_rounds=20)
COUNT = 200
TRAIN = pl.DataFrame({"post_id": ["t"], "user_id": ["u1"], "popularity": [5.0]})
TEST = pl.DataFrame(
    {
        "post_id": [f"p{number:03}" for number in range(COUNT)],
        "user_id": [f"u{number % 7}" for number in range(COUNT)],
        "popularity": [float(number * 37 % 101) / 10 for number in range(COUNT)],
        "category": [None if number % 20 == 19 else f"c{number % 20}" for number in range(COUNT)],
        "is_cold_start": [number % 4 == 0 for number in range(COUNT)],
    }
).with_columns(prediction=pl.col("popularity") + pl.when("is_cold_start").then(3.0).otherwise(0.5))
ORACLE = TEST.select("post_id", oracle="popularity").head(50)


def table(test: pl.DataFrame = TEST, oracle: pl.DataFrame | None = ORACLE) -> pl.DataFrame:
    return segments(test, TRAIN, oracle, PARAMS, seed=0)


def test_every_row_is_in_one_segment_of_each_kind() -> None:
    counted = table().group_by("kind").agg(pl.col("rows").sum())
    assert dict(counted.iter_rows()) == {"user": COUNT, "category": COUNT, "popularity": COUNT}


def test_figures_are_those_of_the_segments_rows_alone() -> None:
    row = table().filter(pl.col("segment") == "first posts").row(0, named=True)
    own = TEST.filter("is_cold_start")
    assert row["rows"] == own.height
    assert (row["src"], row["mae"]) == pytest.approx(
        [measures(own["popularity"], own["prediction"])[name] for name in ("src", "mae")]
    )
    assert row["mae_low"] <= row["mae"] <= row["mae_high"]
    assert row["user_mean_mae"] == pytest.approx(float((own["popularity"] - 5).abs().mean()))  # type: ignore[arg-type]


def test_tenths_go_from_the_least_popular_to_the_most() -> None:
    tenths = table().filter(pl.col("kind") == "popularity")
    assert tenths["rows"].to_list() == [COUNT // 10] * 10
    labels = TEST["popularity"].sort()
    first = TEST.filter(pl.col("popularity") <= labels[COUNT // 10 - 1])
    assert first.height == COUNT // 10
    assert tenths["mae"][0] == pytest.approx(float((first["prediction"] - first["popularity"]).abs().mean()))  # type: ignore[arg-type]


def test_rare_categories_share_a_row_and_a_missing_one_is_named() -> None:
    names = table().filter(pl.col("kind") == "category")["segment"].to_list()
    assert len(names) == CATEGORIES + 1
    assert "all others" in names
    few = TEST.filter(pl.col("category").is_null() | (pl.col("category") == "c1"))
    assert table(few).filter(pl.col("kind") == "category")["segment"].to_list() == ["c1", "none"]


def test_a_source_without_categories_has_no_such_table() -> None:
    found = table(TEST.with_columns(category=pl.lit(None, pl.String)))
    assert found["kind"].unique().sort().to_list() == ["popularity", "user"]


def test_the_oracle_stands_beside_where_it_is_known() -> None:
    found = as_json(table())
    assert found["user"]["first posts"]["oracle"]["mae"] == 0
    assert set(as_json(table(oracle=None))["user"]["known users"]) == {"rows", "model", "user_mean"}


def test_a_segment_of_which_no_oracle_is_known_has_none() -> None:
    found = as_json(table(oracle=ORACLE.filter(pl.col("post_id") == "p000")))
    assert "oracle" not in found["user"]["known users"]
    assert found["user"]["first posts"]["oracle"]["mae"] == 0


def test_the_worst_segment_is_said_and_small_ones_are_chance() -> None:
    assert worst(table()) == "user first posts: MAE 3.000, SRC 1.000 of 50 posts"
    few = TEST.head(20)
    assert worst(table(few)) is None


def test_row_order_changes_nothing() -> None:
    assert table(TEST.reverse()).equals(table())
