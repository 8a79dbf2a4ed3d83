import numpy as np
import polars as pl

from flickcast.models.reductions import Training
from flickcast.models.reductions.vectors import Vectors, VectorSettings

SETTINGS = VectorSettings(kind="vectors", column="picture", dimensions=2)


def pictures(*vectors: list[float] | None) -> pl.DataFrame:
    return pl.DataFrame({"picture": vectors}, schema={"picture": pl.List(pl.Float32)})


def fit(rows: pl.DataFrame, context: pl.DataFrame | None = None) -> Vectors:
    found = Vectors.fit(Training(rows, 0, context), "picture", SETTINGS)
    assert found is not None
    return found[0]


def test_components_keep_what_varies_most() -> None:
    rows = pictures([-2.0, 0.0, 5.0], [2.0, 0.1, 5.0], [-1.0, 0.1, 5.0], [1.0, 0.0, 5.0])
    assert fit(rows).names == ["picture_1", "picture_2"]
    np.testing.assert_allclose(np.abs(fit(rows).transform(rows)[:, 0]), [2, 2, 1, 1], atol=0.05)


def test_row_without_vector_or_with_another_length_or_a_hole_is_missing() -> None:
    reduction = fit(pictures([1.0, 0.0], [0.0, 1.0], [1.0, 1.0]))
    reduced = reduction.transform(pictures(None, [1.0, 0.0], [1.0, 2.0, 3.0], [1.0, float("nan")], []))
    assert np.isnan(reduced).all(axis=1).tolist() == [True, False, True, True, True]


def test_too_few_vectors_are_no_reduction() -> None:
    assert Vectors.fit(Training(pictures([1.0], None, None, None), 0), "picture", SETTINGS) is None


def test_context_is_learnt_from_as_well() -> None:
    rows = pictures([1.0, 0.0], [-1.0, 0.0], [0.0, 0.1])
    assert np.abs(fit(rows).components[0]).argmax() == 0
    assert np.abs(fit(rows, pictures([0.0, 9.0], [0.0, -9.0])).components[0]).argmax() == 1
