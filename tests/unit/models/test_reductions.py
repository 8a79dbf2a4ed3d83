import numpy as np
import polars as pl

from flickcast.models.reductions import ReductionSettings, VectorReduction, WordReduction

VECTORS = ReductionSettings(kind="vectors", column="picture", dimensions=2)
WORDS = ReductionSettings(kind="words", column="words", dimensions=2, min_posts=2)


def pictures(*vectors: list[float] | None) -> pl.DataFrame:
    return pl.DataFrame({"picture": vectors}, schema={"picture": pl.List(pl.Float32)})


def texts(*words: str | None) -> pl.DataFrame:
    return pl.DataFrame({"words": words}, schema={"words": pl.String})


def test_components_keep_what_varies_most() -> None:
    rows = pictures([-2.0, 0.0, 5.0], [2.0, 0.1, 5.0], [-1.0, 0.1, 5.0], [1.0, 0.0, 5.0])
    reduction = VectorReduction.fit(rows, "picture", VECTORS, seed=0)
    assert reduction is not None
    assert reduction.names == ["picture_1", "picture_2"]
    np.testing.assert_allclose(np.abs(reduction.transform(rows)[:, 0]), [2, 2, 1, 1], atol=0.05)


def test_row_without_vector_or_with_another_length_is_missing() -> None:
    rows = pictures([1.0, 0.0], [0.0, 1.0], [1.0, 1.0])
    reduction = VectorReduction.fit(rows, "picture", VECTORS, seed=0)
    assert reduction is not None
    reduced = reduction.transform(pictures(None, [1.0, 0.0], [1.0, 2.0, 3.0]))
    assert np.isnan(reduced).all(axis=1).tolist() == [True, False, True]


def test_too_few_vectors_are_no_reduction() -> None:
    assert VectorReduction.fit(pictures([1.0], None, None, None), "picture", VECTORS, seed=0) is None


def test_vocabulary_holds_recurring_words_alone() -> None:
    rows = texts("Sea sky boat", "sea sand boat", "SKY sand once", None)
    reduction = WordReduction.fit(rows, "title_tags", WORDS, seed=0)
    assert reduction is not None
    assert reduction.vocabulary == ["boat", "sand", "sea", "sky"]


def test_texts_that_share_words_lie_close() -> None:
    rows = texts(*["sea boat sail"] * 4, *["cake tea plate"] * 4)
    reduction = WordReduction.fit(rows, "title_tags", WORDS, seed=0)
    assert reduction is not None
    sea, boat, cake, unknown = reduction.transform(texts("sea", "boat sail", "tea", "zebra"))
    assert sea @ boat > 0.1
    assert abs(sea @ cake) < 1e-6
    assert (unknown == 0).all()


def test_texts_without_recurring_words_are_no_reduction() -> None:
    assert WordReduction.fit(texts("one", "two", "three"), "title_tags", WORDS, seed=0) is None
