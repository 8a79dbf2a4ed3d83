import polars as pl
import pytest
from table_rows import day, imported, observations, posts

from flickcast.labels import popularity_labels
from flickcast.params import LabelParams
from flickcast.schemas import check

ONE_POST = posts({"post_id": "p", "posted_at": day(0)})


def label_of(seen: pl.DataFrame, known: pl.DataFrame | None = None, **params: object) -> dict[str, object]:
    rows = popularity_labels(ONE_POST, seen, imported() if known is None else known, LabelParams(**params))
    return check("labels", rows).row(0, named=True)


def test_label_is_log2_of_views_plus_one() -> None:
    label = label_of(observations({"post_id": "p", "observed_at": day(7), "views": 7}))
    assert label == {"post_id": "p", "popularity": 3.0, "matured_at": day(7), "kind": "observed", "age_days": 7.0}


def test_per_day_formula_uses_the_age_at_observation() -> None:
    seen = observations({"post_id": "p", "observed_at": day(7.5), "views": 60})
    assert label_of(seen, formula="log2_views_per_day")["popularity"] == pytest.approx(4.0)  # log2(60 / 7.5) + 1


def test_per_day_formula_is_finite_without_views() -> None:
    seen = observations({"post_id": "p", "observed_at": day(8), "views": 0})
    assert label_of(seen, formula="log2_views_per_day")["popularity"] == pytest.approx(-2.0)  # log2(1 / 8) + 1


def test_first_observation_of_age_counts() -> None:
    seen = observations(
        {"post_id": "p", "observed_at": day(9), "views": 1023},
        {"post_id": "p", "observed_at": day(6.99), "views": 1},
        {"post_id": "p", "observed_at": day(7), "views": 15},
    )
    assert label_of(seen)["popularity"] == 4.0


@pytest.mark.parametrize("age", [10, 30])
def test_a_count_at_another_age_is_no_label(age: float) -> None:
    """Three simulated nights had 48 labels of 30 days beside 74 of 7: posts that were found late."""
    seen = observations({"post_id": "p", "observed_at": day(age), "views": 7})
    assert popularity_labels(ONE_POST, seen, imported(), LabelParams()).is_empty()
    assert label_of(seen, tolerance_days=24)["age_days"] == age


def test_observation_without_views_is_no_label() -> None:
    seen = observations(
        {"post_id": "p", "observed_at": day(7), "views": None}, {"post_id": "p", "observed_at": day(8), "views": 3}
    )
    assert label_of(seen)["matured_at"] == day(8)


def test_imported_label_wins_and_matures_with_age() -> None:
    seen = observations({"post_id": "p", "observed_at": day(9), "views": 7})
    label = label_of(seen, imported(p=8.25), maturity_days=3)
    assert label == {"post_id": "p", "popularity": 8.25, "matured_at": day(3), "kind": "imported", "age_days": None}


def test_young_and_unknown_posts_have_no_label() -> None:
    seen = observations(
        {"post_id": "p", "observed_at": day(1), "views": 7}, {"post_id": "other", "observed_at": day(9), "views": 7}
    )
    assert popularity_labels(ONE_POST, seen, imported(stranger=1.0), LabelParams()).is_empty()
