import numpy as np
import polars as pl

from flickcast.models.design import Preparation
from flickcast.models.reductions import ReductionSettings

MANIFEST = {
    "size": {"group": "picture_text", "kind": "number"},
    "category": {"group": "categories", "kind": "category"},
}
ROWS = pl.DataFrame(
    {"size": [1.0, None, 3.0], "category": ["Food", "Food", "Urban"], "words": ["a", "b", "c"]},
    schema_overrides={"size": pl.Float32},
)


def fitted(rare_below: int = 1) -> Preparation:
    return Preparation.fit(ROWS, MANIFEST, {}, rare_below, seed=0)


def test_values_get_codes_of_the_training_rows() -> None:
    new = pl.DataFrame({"size": [5.0] * 4, "category": ["Urban", "Food", "Fashion", None]})
    assert fitted().design(new).codes[:, 0].tolist() == [2, 1, 0, -1]


def test_rare_values_share_a_code() -> None:
    assert fitted(rare_below=2).design(ROWS).codes[:, 0].tolist() == [1, 1, 0]


def test_missing_numbers_are_nan_and_absent_columns_missing() -> None:
    assert np.isnan(fitted().design(ROWS).numbers[:, 0]).tolist() == [False, True, False]
    without = fitted().design(ROWS.select("words"))
    assert np.isnan(without.numbers).all()
    assert without.codes.tolist() == [[-1], [-1], [-1]]


def test_frame_names_numbers_then_categories() -> None:
    assert list(fitted().design(ROWS).frame().columns) == ["size", "category"]


def test_reduction_without_input_is_left_out() -> None:
    settings = {"picture": ReductionSettings(kind="vectors", column="picture", dimensions=2)}
    assert Preparation.fit(ROWS, MANIFEST, settings, 1, seed=0).groups() == {
        "size": "picture_text",
        "category": "categories",
    }
