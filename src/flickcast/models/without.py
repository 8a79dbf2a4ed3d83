"""What an ensemble would say without one of its learners: the others weighed and calibrated anew by its own recipe."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flickcast.models.ensemble import Ensemble
from flickcast.models.folds import Fitted
from flickcast.models.model import Model

Values = NDArray[np.float64]


@dataclass
class Seen:
    """What a recipe made its model of: learners, rows, and members with their predictions of unseen rows."""

    learners: Sequence[str] = ()  # without those that could take no part
    rows: pl.DataFrame = field(default_factory=pl.DataFrame)
    fitted: Sequence[Fitted] = ()


def watched(steps: Ensemble) -> tuple[Ensemble, Seen]:
    """The same recipe, and what it will have made its model of once it is fitted."""
    seen, kind = Seen(), type(steps)

    class Watched(kind):  # type: ignore[valid-type, misc]
        def finished(self, rows: pl.DataFrame, fitted: Sequence[Fitted]) -> Any:
            seen.learners, seen.rows, seen.fitted = list(self.learner_settings), rows, list(fitted)
            return super().finished(rows, fitted)

    return Watched(**vars(steps)), seen


def model_without(steps: Ensemble, seen: Seen, gone: Collection[str]) -> Model:
    """The recipe's model once some learners are gone; nothing is fitted again but weights and calibration."""
    others = {name: steps.learner_settings[name] for name in seen.learners if name not in gone}
    parts = [one.without(dict.fromkeys(gone, "")) for one in seen.fitted]
    return replace(steps, learner_settings=others).finished(seen.rows, parts)[0]


def unseen_without(steps: Ensemble, seen: Seen, gone: Collection[str]) -> tuple[Values, Values]:
    """Labels and fused predictions of the rows that members were not fitted on, once some learners are gone."""
    weights = [member.weights for member in model_without(steps, seen, gone).members]
    fused = [_fused(own, one.unseen) for own, one in zip(weights, seen.fitted, strict=True)]
    labels = seen.rows["popularity"].to_numpy()
    return np.concatenate([labels[one.held] for one in seen.fitted]), np.concatenate(fused)


def predictions_without(steps: Ensemble, seen: Seen, model: Model, rows: pl.DataFrame) -> dict[str, Values]:
    """By learner, the recipe's predictions of rows (as `gather` makes them) without it; none where it has but one.

    None either where a recipe makes its prediction in another way than by weighing what its learners say.
    """
    if len(seen.learners) < 2 or len(seen.fitted) != len(model.members):
        return {}
    said = [_said(member.preparation.design(rows), member.learners) for member in model.members]

    def predicted(one: Model) -> Values:
        members = [_fused(member.weights, by) for member, by in zip(one.members, said, strict=True)]
        return one.calibration.finish(rows, np.column_stack(members))["prediction"]

    if not np.allclose(predicted(model), model.calibration.finish(rows, model.members_say(rows))["prediction"]):
        return {}
    return {name: predicted(model_without(steps, seen, [name])) for name in seen.learners}


def _said(design: Any, learners: Mapping[str, Any]) -> dict[str, Values]:
    return {name: learner.predict(design) for name, learner in learners.items()}


def _fused(weights: Mapping[str, float], by: Mapping[str, Values]) -> Values:
    return np.asarray(np.sum([share * by[name] for name, share in weights.items()], axis=0), np.float64)
