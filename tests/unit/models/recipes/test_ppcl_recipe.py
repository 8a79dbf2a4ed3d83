"""Recipe ppcl with its own inputs, and a smaller network, on rows that have all, some or none of them."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from reducible import reducible
from shipped_recipes import small

from flickcast import models
from flickcast.errors import UserError
from flickcast.models.model import Model

NUMBERS = {  # Table A1 by our names, and the feature group of each
    "log_total_views": "people",
    "log_total_tags": "people",
    "log_total_geotagged": "people",
    "log_total_faves": "people",
    "log_total_in_group": "people",
    "log_photo_count": "people",
    "log_followers": "people",
    "log_following": "people",
    "geo_accuracy": "time_place",
    "first_post_year": "people",
    "first_taken_year": "people",
}
CLASS_LIKE = {
    "is_pro": "people",
    "can_buy_pro": "people",
    "timezone_offset": "people",
    "hour": "time_place",
    "weekday": "time_place",
    "season_sine": "time_place",
    "log_earlier_posts": "user_behaviour",
}
CATEGORIES = {
    "timezone_id": "people",
    "category": "categories",
    "subcategory": "categories",
    "concept": "categories",
    "country": "time_place",
}
MANIFEST = {
    **{name: {"group": group, "kind": "number"} for name, group in {**NUMBERS, **CLASS_LIKE}.items()},
    **{name: {"group": group, "kind": "category"} for name, group in CATEGORIES.items()},
}
FIELDS = {"user_id", "is_pro", "can_buy_pro", "is_public", "timezone_id", "timezone_offset"}
MOMENTS = {"posted_hour", "posted_weekday", "posted_month"}
LEVELS = {"category", "subcategory", "concept"}
QUICK = {"width": 32, "bottleneck": 16, "embedding": 8, "batch_size": 64, "max_iterations": 5}
CONTENT = small("ppcl", ppcl=QUICK)


def rows(count: int = 200, *without: str) -> pl.DataFrame:
    random = np.random.default_rng(1)
    made = reducible(count, max(count // 6, 3))
    missing = [name for name in (*NUMBERS, *CLASS_LIKE) if name not in made.columns]
    return made.with_columns(
        **{name: pl.Series(random.integers(0, 3, count), dtype=pl.Float32) for name in missing},
        timezone_id=pl.lit("Europe/Berlin"),
        concept=pl.col("subcategory") + (pl.int_range(count) % 2).cast(pl.String),
        is_public=pl.lit(value=True),
    ).drop(without)


def fitted(data: pl.DataFrame, content: dict[str, Any] = CONTENT) -> tuple[Model, dict[str, Any]]:
    manifest = {name: entry for name, entry in MANIFEST.items() if name in data.columns}
    return models.recipe_of("ppcl", content, seed=0, threads=1).fit(data, manifest, lambda count: None)


def test_reads_the_fields_of_table_a1_two_vectors_and_three_levels() -> None:
    model, metrics = fitted(rows())
    assert set(model.importances()["column"]) == {*NUMBERS, *FIELDS, *MOMENTS, *LEVELS, "picture", "text"}
    assert (len(NUMBERS), len(FIELDS | MOMENTS)) == (11, 9)
    assert not metrics["left_out"]
    assert len(model.members) == 1
    shares = dict(model.importances().select("column", "importance").iter_rows())
    assert [shares[name] for name in sorted(LEVELS)] == [0, 0, 0]


def test_one_of_nine_parts_chooses_the_pass_and_it_is_the_newest() -> None:
    data = rows()
    _, metrics = fitted(data)
    assert metrics["rows"] == pytest.approx(len(data) / 9, abs=1)
    newest = pl.col("posted_at") >= data["posted_at"].sort()[-metrics["rows"]]
    model, other = fitted(data.with_columns(popularity=pl.when(newest).then(9.0).otherwise("popularity")))
    assert other["fused"] != metrics["fused"]
    assert np.isfinite(model.members_say(data)).all()


def test_learns() -> None:
    data = rows(600).with_columns(popularity=2 * pl.col("is_pro") + pl.col("timezone_offset"))
    _, metrics = fitted(data, small("ppcl", ppcl={**QUICK, "max_iterations": 25, "learning_rate": 0.01}))
    assert metrics["fused"]["src"] > 0.9


@pytest.mark.parametrize(
    ("absent", "said"),
    [
        (("picture", "text"), {"vectors": ["picture", "text"]}),
        (("category", "subcategory", "concept"), {"columns": ["category", "concept", "subcategory"]}),
        (("log_followers",), {"columns": ["log_followers"]}),
        (("is_public", "can_buy_pro"), {"classes": ["can_buy_pro", "is_public"]}),
    ],
)
def test_what_a_source_lacks_is_left_out_and_said(absent: tuple[str, ...], said: dict[str, Any]) -> None:
    data = rows(200, *absent)
    model, metrics = fitted(data)
    assert metrics["left_out"] == said
    assert models.notes("ppcl", metrics["left_out"])
    assert np.isfinite(model.members_say(data)).all()


@pytest.mark.parametrize(
    "odd",
    [
        rows(10),
        rows().with_columns(popularity=pl.lit(6.0)),
        rows().with_columns(log_followers=pl.lit(1.0, pl.Float32)),
    ],
    ids=["ten rows", "equal labels", "a constant column"],
)
def test_odd_corpora_give_a_model(odd: pl.DataFrame) -> None:
    model, _ = fitted(odd)
    assert np.isfinite(model.members_say(odd)).all()


def test_no_inputs_and_a_single_user_are_a_sentence() -> None:
    with pytest.raises(UserError, match="there is nothing that it could read"):
        fitted(rows(200, *NUMBERS, *CLASS_LIKE, *CATEGORIES, "picture", "text"))
    with pytest.raises(UserError, match="of 1 users; at least 2 users are needed"):
        fitted(rows().with_columns(user_id=pl.lit("u1")))


def test_saved_model_predicts_the_same_new_users_too(tmp_path: Any) -> None:
    data = rows()
    model, _ = fitted(data)
    model.save(tmp_path)
    new = data.with_columns(user_id=pl.lit("never seen"))
    for some in (data, new):
        np.testing.assert_array_equal(models.load(tmp_path).members_say(some), model.members_say(some))
    assert not np.allclose(model.members_say(data), model.members_say(new))
