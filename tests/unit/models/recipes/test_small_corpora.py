"""Odd little corpora: each of these recipes gives a model, or says in one sentence why not."""

import numpy as np
import polars as pl
import pytest
from shipped_recipes import corpus, fitted, small

from flickcast import models
from flickcast.errors import UserError

FEW = {
    "catboost": {"max_iterations": 5, "depth": 3},
    "lightgbm": {"max_iterations": 5},
    "autoencoder": {"first_passes": 2, "max_iterations": 2, "code": 4, "predictor_units": 4},
}
ROWS = corpus(picture="picture", text="text")
ODD = {
    "ten rows": ROWS.head(10),
    "equal labels": ROWS.head(40).with_columns(popularity=pl.lit(6.0)),
    "a constant column": ROWS.with_columns(log_followers=pl.lit(1.0, pl.Float32)),
    "no columns at all": ROWS.drop("log_followers", "latitude", "longitude", "category", "subcategory"),
}


@pytest.mark.parametrize("recipe", ["fame", "hvla"])
@pytest.mark.parametrize("odd", sorted(ODD))
def test_gives_a_model(recipe: str, odd: str) -> None:
    model, metrics = fitted(recipe, small(recipe, **FEW), ODD[odd], clear=odd == "no columns at all")
    assert np.isfinite(model.members_say(ROWS)).all()
    assert models.notes(recipe, metrics["left_out"])


@pytest.mark.parametrize("recipe", ["fame", "hvla"])
def test_one_user_is_one_sentence(recipe: str) -> None:
    with pytest.raises(UserError, match="of 1 users; at least 2 users are needed"):
        fitted(recipe, small(recipe, **FEW), ROWS.with_columns(user_id=pl.lit("u1")))
