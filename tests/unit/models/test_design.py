import numpy as np
import polars as pl
from reducible import reducible, settings

from flickcast.models.design import Preparation, PreparationSettings
from flickcast.models.reductions import Training
from flickcast.models.reductions.vectors import VectorSettings

MANIFEST = {
    "size": {"group": "picture_text", "kind": "number"},
    "category": {"group": "categories", "kind": "category"},
}
ROWS = pl.DataFrame(
    {"size": [1.0, None, 3.0], "category": ["Food", "Food", "Urban"], "words": ["a", "b", "c"]},
    schema_overrides={"size": pl.Float32},
)


def fitted(rare_below: int = 1) -> Preparation:
    return Preparation.fit(Training(ROWS, seed=0), MANIFEST, PreparationSettings(rare_below=rare_below))[0]


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
    wanted = {"picture": VectorSettings(kind="vectors", column="picture", dimensions=2)}
    assert Preparation.fit(Training(ROWS, seed=0), MANIFEST, PreparationSettings(reductions=wanted))[0].groups() == {
        "size": "picture_text",
        "category": "categories",
    }


def test_training_rows_look_out_of_fold_and_new_rows_by_all() -> None:
    rows = reducible()
    wanted = {"popularity_of": settings("target_encoding"), "like": settings("clusters")}
    preparation, own = Preparation.fit(Training(rows, seed=0), {}, PreparationSettings(reductions=wanted))
    assert own.number_names == [f"popularity_of_{name}" for name in ("category", "subcategory", "country")]
    new = preparation.design(rows)
    assert np.nanmax(np.abs(own.numbers - new.numbers)) > 0.01
    np.testing.assert_array_equal(new.numbers, preparation.reductions["popularity_of"].transform(rows))


def test_codes_of_clusters_are_categories() -> None:
    rows = reducible()
    preparation, design = Preparation.fit(
        Training(rows, seed=0), {}, PreparationSettings(rare_below=1, reductions={"like": settings("clusters")})
    )
    assert design.category_names == ["like_1", "like_2"]
    assert (design.codes[:, 0] == -1).tolist() == rows["picture"].is_null().to_list()
    assert preparation.groups() == {"like_1": "like", "like_2": "like"}
