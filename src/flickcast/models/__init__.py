"""Recipes become models: two per training, one to be judged and one to be used."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from flickcast.errors import UserError, nearest
from flickcast.models.model import Model
from flickcast.models.recipes import RECIPES, Recipe
from flickcast.models.rows import gather
from flickcast.params import TrainParams
from flickcast.splits import time_split

__all__ = ["Model", "fits", "load", "train"]


def train(
    matrix: pl.DataFrame,
    manifest: Mapping[str, Mapping[str, Any]],
    posts: pl.DataFrame,
    vectors: pl.DataFrame,
    labels: pl.DataFrame,
    recipe: Mapping[str, Any],
    params: TrainParams,
    seed: int,
    folder: Path,
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Fit the recipe twice and save both models; returns the metrics of its cross-validation.

    `holdout` learns from the oldest 80 % of the labelled posts alone, to be judged on the newest 20 %; `final`, the
    one to be used, from all of them.
    """
    steps = _recipe(recipe, params, seed)
    rows = gather(matrix, posts, vectors, labels)
    everything = gather(matrix, posts, vectors) if _is_transductive(manifest) else None
    oldest, _ = time_split(rows)
    training_rows = rows.filter(pl.col("post_id").is_in(oldest.implode()))
    metrics = {}
    for name, part in {"holdout": training_rows, "final": rows}.items():
        others = None if everything is None else everything.join(part, on="post_id", how="anti")
        model, cross_validation = steps.fit(part, manifest, advance, others)
        model.save(folder / name)
        metrics[name] = {"model": model.name, **cross_validation}
    return metrics


def fits(recipe: Mapping[str, Any], params: TrainParams) -> int:
    """How often `train` will call `advance(1)`."""
    return 2 * _recipe(recipe, params, seed=0).fits


def load(folder: Path) -> Model:
    """The model saved there, its files checked against their sha256 first."""
    return Model.load(folder)


def _is_transductive(manifest: Mapping[str, Mapping[str, Any]]) -> bool:
    return any(entry.get("clock") == "transductive" for entry in manifest.values())


def _recipe(content: Mapping[str, Any], params: TrainParams, seed: int) -> Recipe:
    if params.recipe not in RECIPES:
        raise UserError(f"params.yaml, train.recipe: there is no '{params.recipe}'; {nearest(params.recipe, RECIPES)}")
    return RECIPES[params.recipe].from_yaml(content, params.recipe, seed, params.threads)
