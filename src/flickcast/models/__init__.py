"""Recipes become models: two per training, one to be judged and one to be used."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from flickcast.errors import UserError, nearest
from flickcast.models.ensemble import Ensemble
from flickcast.models.left_out import notes
from flickcast.models.model import Model
from flickcast.models.pseudo import recent
from flickcast.models.recipes import RECIPES
from flickcast.models.rows import gather
from flickcast.params import TrainParams
from flickcast.splits import time_split

__all__ = [
    "RECIPES",
    "Model",
    "fits",
    "gather",
    "is_transductive",
    "load",
    "notes",
    "recent_pool",
    "recipe_of",
    "steps_of",
    "train",
]


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
    newest: pl.DataFrame | None = None,
) -> dict[str, Any]:
    """Fit the recipe twice and save both models; returns the metrics of its cross-validation.

    `holdout` learns from the oldest 80 % of the labelled posts alone, to be judged on the newest 20 %; `final`, the
    one to be used, from all of them. Pseudo-labels may go to recent posts that have no label, of `holdout` to those of
    the newest 20 % that are in `newest`, a matrix that knows no label of them.
    """
    steps = steps_of(recipe, params, seed)
    transductive = is_transductive(manifest)
    rows = gather(matrix, posts, vectors, labels)
    everything = gather(matrix, posts, vectors) if transductive or steps.settings.pseudo else None
    candidates = None if newest is None else gather(newest, posts, vectors)
    del matrix, vectors  # gigabytes, and nobody else holds them
    oldest, _ = time_split(rows)
    metrics = {}
    for name in ("holdout", "final"):
        part = rows.filter(pl.col("post_id").is_in(oldest.implode())) if name == "holdout" else rows
        others = None if everything is None else everything.join(part, on="post_id", how="anti")
        pool = recent_pool(candidates if name == "holdout" else others, part, steps)
        model, cross_validation = steps.fit(part, manifest, advance, others if transductive else None, pool)
        model.save(folder / name)
        metrics[name] = {"model": model.name, **cross_validation}
    return metrics


def steps_of(recipe: Mapping[str, Any], params: TrainParams, seed: int) -> Ensemble:
    """The recipe of `params` with these numbers, as it becomes a model that is saved."""
    steps = recipe_of(params.recipe, recipe, seed, params.threads).to_save()
    return steps.in_full() if params.full else steps


def recent_pool(pool: pl.DataFrame | None, rows: pl.DataFrame, steps: Ensemble) -> pl.DataFrame | None:
    """The posts of a pool that the recipe may give pseudo-labels to beside these rows; None if it gives none."""
    pseudo = steps.settings.pseudo
    return None if pool is None or pseudo is None else recent(pool, rows, pseudo.days)


def fits(recipe: Mapping[str, Any], params: TrainParams) -> int:
    """How often `train` will call `advance(1)`."""
    return 2 * steps_of(recipe, params, 0).fits


def load(folder: Path) -> Model:
    """The model saved there, its files checked against their sha256 first."""
    return Model.load(folder)


def is_transductive(manifest: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether columns of this matrix count posts that came later."""
    return any(entry.get("clock") == "transductive" for entry in manifest.values())


def recipe_of(name: str, content: Mapping[str, Any], seed: int, threads: int) -> Ensemble:
    """The recipe of a name with the numbers of its YAML; UserError with the nearest name, or for a wrong number."""
    if name not in RECIPES:
        raise UserError(f"params.yaml, train.recipe: there is no '{name}'; {nearest(name, RECIPES)}")
    return RECIPES[name].from_yaml(content, name, seed, threads)
