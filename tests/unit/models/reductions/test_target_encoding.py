import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from flickcast.models.reductions import Training
from flickcast.models.reductions.target_encoding import TargetEncoding, TargetEncodingSettings

COLUMNS = {"category": None, "concept": "category"}
ROWS = pl.DataFrame(
    {
        "post_id": ["a", "b", "c", "d"],
        "user_id": ["u", "u", "v", "w"],
        "category": ["Food", "Food", "Urban", "Urban"],
        "concept": ["cake", "tea", "bus", None],
        "popularity": [1.0, 3.0, 6.0, 10.0],
    }
)


def settings(**changes: object) -> TargetEncodingSettings:
    return TargetEncodingSettings.model_validate(
        {"kind": "target_encoding", "columns": COLUMNS, "smoothing": 2.0, **changes}
    )


def encoding(rows: pl.DataFrame = ROWS) -> TargetEncoding:
    found = TargetEncoding.fit_all(rows, "popularity_of", settings())
    assert found is not None
    return found


def asked(*pairs: tuple[str | None, str | None]) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema={"category": pl.String, "concept": pl.String}, orient="row")


def test_a_class_is_drawn_to_the_wider_class_and_that_to_the_mean_of_all() -> None:
    food = (1 + 3 + 2 * 5) / (2 + 2)
    cake = (1 + 2 * food) / (1 + 2)
    np.testing.assert_allclose(encoding().transform(asked(("Food", "cake"))), [[food, cake]])


def test_a_class_never_met_has_the_wider_class_and_at_last_the_mean() -> None:
    food = (1 + 3 + 2 * 5) / (2 + 2)
    found = encoding().transform(asked(("Food", "soup"), ("Fashion", "hat")))
    np.testing.assert_allclose(found, [[food, food], [5, 5]])


def test_a_row_without_class_is_missing() -> None:
    found = encoding().transform(asked((None, "cake"), ("Food", None)))
    assert np.isnan(found).tolist() == [[True, False], [False, True]]


def test_a_column_that_is_not_there_passes_its_wider_class_on() -> None:
    rows = ROWS.rename({"category": "class"}).with_columns(sub="concept")
    chain = settings(columns={"category": None, "sub": "category", "class": None})
    found = TargetEncoding.fit_all(rows, "popularity_of", chain)
    assert found is not None
    assert found.wider == {"sub": None, "class": None}


def test_posts_of_one_user_alone_have_no_other_fold_to_learn_from() -> None:
    alone = ROWS.with_columns(user_id=pl.lit("u"))
    assert TargetEncoding.fit(Training(alone, 0), "popularity_of", settings()) is None


def test_wider_classes_have_to_come_first() -> None:
    with pytest.raises(ValidationError, match="'category', which stands above 'concept', has to be a column before it"):
        settings(columns={"concept": "category", "category": None})
