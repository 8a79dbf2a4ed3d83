import polars as pl

from flickcast.models.reductions import Training
from flickcast.models.reductions.words import Words, WordSettings

SETTINGS = WordSettings(kind="words", dimensions=2, min_posts=2)


def texts(*words: str | None) -> pl.DataFrame:
    return pl.DataFrame({"words": words}, schema={"words": pl.String})


def fit(rows: pl.DataFrame) -> Words:
    found = Words.fit(Training(rows, 0), "title_tags", SETTINGS)
    assert found is not None
    return found[0]


def test_vocabulary_holds_recurring_words_alone() -> None:
    rows = texts("Sea sky boat", "sea sand boat", "SKY sand once", None)
    assert fit(rows).vocabulary == ["boat", "sand", "sea", "sky"]


def test_texts_that_share_words_lie_close() -> None:
    reduction = fit(texts(*["sea boat sail"] * 4, *["cake tea plate"] * 4))
    sea, boat, cake, unknown = reduction.transform(texts("sea", "boat sail", "tea", "zebra"))
    assert sea @ boat > 0.1
    assert abs(sea @ cake) < 1e-6
    assert (unknown == 0).all()


def test_texts_without_recurring_words_are_no_reduction() -> None:
    assert Words.fit(Training(texts("one", "two", "three"), 0), "title_tags", SETTINGS) is None


def test_words_are_the_same_ones_in_the_vocabulary_and_in_a_row() -> None:
    """Two ways to find words differed: a letter with its accent apart ended a word in one of them."""
    apart = "cafe\u0301s"
    rows = texts(*[f"{apart} sea boat"] * 4, *["cake tea plate"] * 4)
    reduction = fit(rows)
    assert apart in reduction.vocabulary
    assert abs(reduction.transform(texts(apart))).max() > 0.1
