"""What a recipe's YAML may say, and the learners that it names."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from flickcast.errors import UserError, nearest
from flickcast.models.calibration import CalibrationSettings
from flickcast.models.design import PreparationSettings
from flickcast.models.learners import LEARNERS
from flickcast.models.pseudo import PseudoSettings
from flickcast.params import Name, Section, first_problem


class EnsembleSettings(PreparationSettings, CalibrationSettings):
    """recipes/<name>.yaml: what every recipe may say. A recipe with further steps adds to it."""

    folds: int = Field(5, ge=2)
    folds_by: Literal["user", "random", "newest"] = Field(
        "user", description="newest: no folds, the newest `held` of the posts stop and weigh the learners"
    )
    held: float = Field(0.125, gt=0, le=0.5, description="newest: the share of the posts")
    learners: dict[Name, dict[str, Any]] = Field(
        min_length=1, description="name to settings; `learner` names the family where the name does not"
    )
    fusion: Literal["non_negative", "simplex", "mean", "lambda", "fixed"] = "non_negative"
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        {}, description="fixed: of each learner; of those that are there they add up to 1"
    )
    pseudo: PseudoSettings | None = Field(None, description="posts without a label that teach as well; null: none")
    drop_first: list[str] = Field([], description="learners to leave out, in this order, where time is short")
    at_night: dict[str, Annotated[int, Field(ge=10)]] = Field(
        {},
        description="learner to how many posts of a fold, the newest ones, it learns from and is stopped by at most; "
        "train.full: all",
    )


def checked(content: Mapping[str, Any], kind: type[EnsembleSettings]) -> tuple[EnsembleSettings, dict[str, Section]]:
    """A recipe's settings and those of its learners, by name. UserError: what is wrong, without the file's name."""
    try:
        settings = kind.model_validate(content)
    except ValidationError as error:
        raise UserError(first_problem(error, kind)) from None
    for key in ("drop_first", "at_night", "weights"):
        for name in getattr(settings, key):
            if name not in settings.learners:
                raise UserError(
                    f"'{key}' names '{name}', which is none of the learners; {nearest(name, settings.learners)}"
                )
    return settings, {name: _settings_of(name, settings.learners[name]) for name in sorted(settings.learners)}


def without_learners(content: Mapping[str, Any], gone: Collection[str]) -> dict[str, Any]:
    """A recipe's YAML without some of its learners, wherever it names them."""
    named = {key: content[key] for key in ("learners", "drop_first", "at_night", "weights") if content.get(key)}
    left = {
        key: {name: one for name, one in value.items() if name not in gone}
        if isinstance(value, Mapping)
        else [name for name in value if name not in gone]
        for key, value in named.items()
    }
    return {**content, **left}


def kind_of(name: str, content: Mapping[str, Any]) -> str:
    """The family of a learner: what `learner` names, or its own name."""
    return str(content.get("learner", name))


def _settings_of(name: str, content: Mapping[str, Any]) -> Section:
    """The numbers of a learner, checked by its family."""
    kind = kind_of(name, content)
    if kind not in LEARNERS:
        raise UserError(f"'learners.{name}': there is no learner '{kind}'; {nearest(kind, LEARNERS)}")
    numbers = {key: value for key, value in content.items() if key != "learner"}
    try:
        return LEARNERS[kind].settings(**numbers)
    except ValidationError as error:
        raise UserError(first_problem(error, LEARNERS[kind].settings, f"learners.{name}")) from None
