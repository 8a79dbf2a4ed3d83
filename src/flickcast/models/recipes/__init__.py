"""Recipes: the steps of each; their numbers are in recipes/<name>.yaml."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import polars as pl

from flickcast.models.design import Manifest
from flickcast.models.model import Model
from flickcast.models.recipes.champion import Champion


class Recipe(Protocol):
    """What `train` asks of a recipe."""

    @classmethod
    def from_yaml(cls, content: Mapping[str, Any], name: str, seed: int, threads: int) -> "Recipe":
        """The recipe with the numbers of its YAML; UserError names a wrong one."""
        ...

    @property
    def fits(self) -> int:
        """How many learners one `fit` fits: it calls `advance(1)` after each."""
        ...

    def fit(
        self,
        rows: pl.DataFrame,
        manifest: Manifest,
        advance: Callable[[int], None],
        context: pl.DataFrame | None = None,
    ) -> tuple[Model, dict[str, Any]]:
        """A model fitted on these rows alone, and the metrics of its cross-validation, their split named.

        `context`, by the transductive clock, are all other posts: what needs no label may be learnt from them as well.
        """
        ...


RECIPES: dict[str, type[Recipe]] = {"champion": Champion}
