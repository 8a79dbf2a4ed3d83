"""Recipes: the steps of each; their numbers are in recipes/<name>.yaml."""

from flickcast.models.ensemble import Ensemble
from flickcast.models.recipes.champion import Champion
from flickcast.models.recipes.ding2019 import Ding2019
from flickcast.models.recipes.fame import Fame
from flickcast.models.recipes.hvla import Hvla
from flickcast.models.recipes.hyperfusion import HyperFusion
from flickcast.models.recipes.ppcl import PPCL

RECIPES: dict[str, type[Ensemble]] = {
    "champion": Champion,
    "ding2019": Ding2019,
    "fame": Fame,
    "hvla": Hvla,
    "hyperfusion": HyperFusion,
    "ppcl": PPCL,
}
