"""Recipe ding2019 with its own numbers on rows that have all, some or none of its vectors."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from reducible import reducible

from flickcast.models import recipe_of
from flickcast.models.model import Model
from flickcast.params import read_yaml
from flickcast.workspace import template_root

CONTENT = read_yaml(template_root() / "recipes" / "ding2019.yaml")
NUMBERS = ["aesthetic_mean", "intrinsic_popularity", "tag_count", "title_chars", "log_following", "log_photo_count"]
MANIFEST = {name: {"group": "g", "kind": "number"} for name in [*NUMBERS, "log_followers", "latitude", "longitude"]}
OTHERS = {"log_views": {"group": "g", "kind": "number"}, "category": {"group": "g", "kind": "category"}}


def rows(**renamed: str) -> pl.DataFrame:
    random = np.random.default_rng(1)
    columns = {name: random.normal(size=240) for name in [*NUMBERS, "log_views"]}
    return reducible().with_columns(**{name: pl.Series(values) for name, values in columns.items()}).rename(renamed)


def fitted(data: pl.DataFrame, manifest: dict[str, Any] = MANIFEST) -> tuple[Model, dict[str, Any]]:
    recipe = recipe_of("ding2019", CONTENT, seed=0, threads=1)
    return recipe.fit(data, {**manifest, **OTHERS}, lambda count: None)


def test_reads_the_papers_ten_numbers_and_two_vectors_and_nothing_else() -> None:
    model, metrics = fitted(rows(picture="resnet101-picture", text="bert-text"))
    assert set(model.importances()["column"]) == {*MANIFEST, "age_days", "resnet101-picture", "bert-text"}
    assert len(MANIFEST) + 1 == 10
    assert model.reads == ["bert-text", "resnet101-picture"]
    assert not metrics["left_out"]
    assert len(model.members) == 1


def test_the_pair_stands_in_and_is_said() -> None:
    model, metrics = fitted(rows())
    assert metrics["left_out"] == {"instead": {"resnet101-picture": "picture", "bert-text": "text"}}
    assert model.reads == []
    without = rows().with_columns(picture=pl.lit(None, pl.List(pl.Float32)))
    assert not np.allclose(model.members_say(without), model.members_say(rows()))


@pytest.mark.parametrize("data", [rows(), rows().drop("picture", "text")])
def test_learns_with_and_without_vectors(data: pl.DataFrame) -> None:
    signal = data.with_columns(tag_count=pl.col("popularity") * 3 + 1)
    _, metrics = fitted(signal)
    assert metrics["fused"]["src"] > 0.5
    assert ("vectors" in metrics["left_out"]) == ("picture" not in data.columns)


def test_a_workspace_with_nothing_but_moments_gets_a_model() -> None:
    bare = rows().drop("picture", "text", *MANIFEST)
    model, metrics = fitted(bare, {})
    assert set(model.importances()["column"]) == {"age_days"}
    assert len(metrics["left_out"]["columns"]) == 9
    assert np.isfinite(model.members_say(bare)).all()
