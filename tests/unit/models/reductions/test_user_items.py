from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from reducible import fitted, reducible, settings
from table_rows import day

from flickcast.models.reductions import Training
from flickcast.models.reductions.user_items import UserItems

SEA, CITY = ["sea", "boat", "sand"], ["bus", "tram", "street"]


def post(user: str, moment: float, tags: Sequence[str] | None, known: float | None = None) -> dict[str, object]:
    return {"user_id": user, "posted_at": day(moment), "known_at": day(known or moment), "tags": tags}


def rows(*posts: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(posts, schema_overrides={"tags": pl.List(pl.String)})


TRAINING = rows(
    *(post(f"u{n}", n, SEA if n % 2 else CITY) for n in range(8)), post("u1", 20, CITY), post("u1", 30, SEA)
)


def fit(training: pl.DataFrame = TRAINING, context: pl.DataFrame | None = None) -> UserItems:
    how = settings("user_tags", dimensions=2, min_users=2)
    found = UserItems.fit(Training(training, 0, context), "user_tags", how)
    assert found is not None
    return found[0]


def cosine(reduction: UserItems, first: dict[str, object], second: dict[str, object]) -> float:
    one, other = reduction.transform(rows(first, second))
    return float(one @ other)


def test_a_stranger_is_what_the_row_says() -> None:
    assert cosine(fit(), post("new", 50, ["sea"]), post("other", 50, ["boat", "SAND"])) > 0.99
    assert abs(cosine(fit(), post("new", 50, ["sea"]), post("other", 50, ["tram"]))) < 0.1


def test_earlier_posts_of_a_user_count() -> None:
    reduction = fit()
    assert cosine(reduction, post("u3", 50, None), post("new", 50, SEA)) > 0.99
    assert 0.3 < cosine(reduction, post("u1", 25, None), post("new", 50, SEA)) < 0.9  # sea once, city once


def test_posts_known_in_the_same_moment_or_later_do_not_count() -> None:
    reduction = fit()
    assert cosine(reduction, post("u1", 20, None), post("new", 50, SEA)) > 0.99
    assert np.isnan(reduction.transform(rows(post("u1", 1, None)))).all()
    late = fit(TRAINING.with_columns(known_at=pl.lit(day(40))))
    assert np.isnan(late.transform(rows(post("u1", 35, None)))).all()


def test_posts_it_is_told_of_count_as_well_where_they_were_known() -> None:
    told = fit().told(rows(post("u9", 40, CITY), post("u3", 45, CITY)))
    assert cosine(told, post("u9", 50, None), post("new", 50, CITY)) > 0.99
    assert np.isnan(told.transform(rows(post("u9", 40, None)))).all()
    assert cosine(told, post("u3", 44, None), post("new", 50, SEA)) > 0.99, "the training posts still count"
    assert cosine(told, post("u3", 50, None), post("new", 50, SEA)) < 0.9
    every = fit(context=rows(post("u9", 60, CITY)))
    assert every.told(rows(post("u9", 40, SEA))) is every


def test_by_the_transductive_clock_all_posts_count() -> None:
    context = rows(post("u9", 60, CITY))
    assert cosine(fit(context=context), post("u9", 1, None), post("new", 50, CITY)) > 0.99


def test_many_columns_are_made_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    reduction, own = fitted("user_tags", reducible(), dimensions=5)
    monkeypatch.setattr("flickcast.models.reductions.user_items.BLOCK", 2)
    np.testing.assert_allclose(reduction.transform(reducible()), own, atol=1e-5)


def test_a_place_has_a_vector_of_its_own() -> None:
    reduction, own = fitted("user_places", reducible())
    assert reduction.names[3:] == ["made_own_1", "made_own_2", "made_own_3"]
    without_place = reducible()["latitude"].is_null().to_numpy()
    assert (np.isnan(own[:, 3:]).all(axis=1) == without_place).all()


def test_neither_names_nor_order_of_users_say_anything() -> None:
    renamed = TRAINING.with_columns(user_id=pl.col("user_id").replace({f"u{n}": f"x{9 - n}" for n in range(8)}))
    asked = rows(post("new", 50, ["sea", "tram"]))
    np.testing.assert_allclose(fit().transform(asked), fit(renamed).transform(asked), atol=1e-5)


def test_the_numbers_of_users_are_others_in_another_model() -> None:
    assert not set(fit().owners) & set(fit(TRAINING.filter(TRAINING["user_id"] != "u7")).owners)
