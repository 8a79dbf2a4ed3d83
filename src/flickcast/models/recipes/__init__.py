"""Recipes: the steps of each; their numbers are in recipes/<name>.yaml."""

from flickcast.models.ensemble import Ensemble
from flickcast.models.recipes.champion import Champion

RECIPES: dict[str, type[Ensemble]] = {"champion": Champion}
