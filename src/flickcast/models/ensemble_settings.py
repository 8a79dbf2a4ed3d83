"""What a recipe's YAML may say, and the learners that it names."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from flickcast.errors import UserError, nearest
from flickcast.models.calibration import CalibrationSettings
from flickcast.models.design import PreparationSettings
from flickcast.models.learners import LEARNERS
from flickcast.models.pseudo import PseudoSettings
from flickcast.params import Section


class EnsembleSettings(PreparationSettings, CalibrationSettings):
    """recipes/<name>.yaml: what every recipe may say. A recipe with further steps adds to it."""

    folds: int = Field(5, ge=2)
    folds_by: Literal["user", "random", "newest"] = Field(
        "user", description="newest: no folds, the newest `held` of the posts stop and weigh the learners"
    )
    held: float = Field(0.125, gt=0, lt=1, description="newest: the share of the posts")
    learners: dict[str, dict[str, Any]] = Field(
        min_length=1, description="name to settings; `learner` names the family where the name does not"
    )
    fusion: Literal["non_negative", "simplex", "mean", "lambda", "fixed"] = "non_negative"
    weights: dict[str, float] = Field(
        {}, description="fixed: of each learner; of those that are there they add up to 1"
    )
    pseudo: PseudoSettings | None = Field(None, description="posts without a label that teach as well; null: none")
    drop_first: list[str] = Field([], description="learners to leave out, in this order, where time is short")
    at_night: dict[str, int] = Field(
        {},
        description="learner to how many posts of a fold, the newest ones, it learns from and is stopped by at most; "
        "train.full: all",
    )


def kind_of(name: str, content: Mapping[str, Any]) -> str:
    """The family of a learner: what `learner` names, or its own name."""
    kind = str(content.get("learner", name))
    if kind not in LEARNERS:
        raise UserError(f"learners: there is no learner '{kind}'; {nearest(kind, LEARNERS)}")
    return kind


def settings_of(name: str, content: Mapping[str, Any]) -> Section:
    """The numbers of a learner, checked by its family."""
    numbers = {key: value for key, value in content.items() if key != "learner"}
    return LEARNERS[kind_of(name, content)].settings(**numbers)
