"""What an ensemble would say without one of its learners: the others weighed anew by the recipe's own fusion."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flickcast.models.ensemble import Ensemble, Fitted
from flickcast.models.model import Model

Values = NDArray[np.float64]


@dataclass
class Seen:
    """What a recipe's fusion was given last: learners, members with their predictions of unseen rows, and labels."""

    learners: Sequence[str] = ()  # without those that could take no part
    fitted: Sequence[Fitted] = ()
    target: Values = field(default_factory=lambda: np.empty(0))


def watched(steps: Ensemble) -> tuple[Ensemble, Seen]:
    """The same recipe, and what its fusion will have been given once it is fitted."""
    seen, kind = Seen(), type(steps)

    class Watched(kind):  # type: ignore[valid-type, misc]
        def fused(self, fitted: Sequence[Fitted], target: Values) -> Any:
            seen.learners, seen.fitted, seen.target = list(self.learner_settings), list(fitted), target
            return super().fused(fitted, target)

    return Watched(**vars(steps)), seen


def weights_without(steps: Ensemble, seen: Seen, gone: Collection[str]) -> list[Mapping[str, float]]:
    """Each member's weights once some learners are gone, from the predictions of rows that were not fitted on."""
    others = {name: steps.learner_settings[name] for name in seen.learners if name not in gone}
    parts = [replace(one, unseen={name: one.unseen[name] for name in others}) for one in seen.fitted]
    return replace(steps, learner_settings=others).fused(parts, seen.target)


def unseen_without(steps: Ensemble, seen: Seen, gone: Collection[str]) -> tuple[Values, Values]:
    """Labels and fused predictions of the rows that members were not fitted on, once some learners are gone."""
    parts = zip(seen.fitted, weights_without(steps, seen, gone), strict=True)
    fused = [np.sum([own[name] * one.unseen[name] for name in own], axis=0) for one, own in parts]
    return np.concatenate([seen.target[one.held] for one in seen.fitted]), np.concatenate(fused)


def predictions_without(steps: Ensemble, seen: Seen, model: Model, rows: pl.DataFrame) -> dict[str, Values]:
    """By learner, the recipe's predictions of rows (as `gather` makes them) without it; none where it has but one.

    None either where a recipe makes its prediction in another way than by weighing what its learners say.
    """
    names = seen.learners
    if len(names) < 2 or len(seen.fitted) != len(model.members):
        return {}
    said = [_said(member.preparation.design(rows), member.learners) for member in model.members]

    def predicted(weights: Sequence[Mapping[str, float]]) -> Values:
        members = [
            np.sum([own[name] * by[name] for name in own], axis=0) for own, by in zip(weights, said, strict=True)
        ]
        return model.calibration.finish(rows, np.column_stack(members))["prediction"]

    whole = model.calibration.finish(rows, model.members_say(rows))["prediction"]
    if not np.allclose(predicted([member.weights for member in model.members]), whole):
        return {}
    return {name: predicted(weights_without(steps, seen, [name])) for name in names}


def _said(design: Any, learners: Mapping[str, Any]) -> dict[str, Values]:
    return {name: learner.predict(design) for name, learner in learners.items()}
