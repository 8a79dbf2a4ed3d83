"""Fitted columns of a model: what a recipe's `reductions` may be, one file per kind.

Long inputs made short, and what training labels say of a post; each is fitted in `train` on training rows and saved
with the model as data.
"""

from typing import Annotated

from pydantic import Field

from flickcast.models.reductions.age import Age, AgeSettings
from flickcast.models.reductions.clusters import Clusters, ClusterSettings
from flickcast.models.reductions.mixed_model import MixedModel, MixedModelSettings
from flickcast.models.reductions.nearest import Nearest, NearestSettings
from flickcast.models.reductions.protocol import Arrays, Matrix, Reduction, Training, apart_of, without_labels
from flickcast.models.reductions.target_encoding import TargetEncoding, TargetEncodingSettings
from flickcast.models.reductions.user_items import UserItems, UserPlaceSettings, UserTagSettings
from flickcast.models.reductions.vectors import Vectors, VectorSettings
from flickcast.models.reductions.wording import Wording, WordingSettings
from flickcast.models.reductions.words import Words, WordSettings

__all__ = ["REDUCTIONS", "Arrays", "Matrix", "Reduction", "ReductionSettings", "Training", "apart_of", "without_labels"]

ReductionSettings = Annotated[
    VectorSettings
    | WordSettings
    | WordingSettings
    | TargetEncodingSettings
    | NearestSettings
    | UserTagSettings
    | UserPlaceSettings
    | ClusterSettings
    | AgeSettings
    | MixedModelSettings,
    Field(discriminator="kind"),
]

REDUCTIONS: dict[str, type[Reduction]] = {
    "vectors": Vectors,
    "words": Words,
    "wording": Wording,
    "target_encoding": TargetEncoding,
    "nearest": Nearest,
    "user_tags": UserItems,
    "user_places": UserItems,
    "clusters": Clusters,
    "age": Age,
    "mixed_model": MixedModel,
}
