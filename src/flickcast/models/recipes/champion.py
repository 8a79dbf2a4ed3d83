"""The champion: boosted trees on all feature groups and a few reductions, fused by what they do on unseen users."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from flickcast.errors import UserError, nearest
from flickcast.metrics import measures
from flickcast.models.design import Design, Manifest, Preparation
from flickcast.models.fusion import FUSIONS
from flickcast.models.learners import LEARNERS, Learner
from flickcast.models.model import Member, Model
from flickcast.models.reductions import ReductionSettings, Training, without_labels
from flickcast.params import Section
from flickcast.splits import user_folds

Advance = Callable[[int], None]
Values = NDArray[np.float64]
MIN_USERS = 2
# Said beside the figures, which are a little too good.
SPLIT = "folds by user; rounds and weights chosen on the same folds; features know the user's own earlier labels"


class ChampionSettings(Section):
    """recipes/champion.yaml."""

    folds: int = Field(ge=2)
    rare_below: int = Field(ge=1, description="a category seen in fewer posts has no code of its own")
    reductions: dict[str, ReductionSettings]
    learners: dict[str, dict[str, Any]] = Field(min_length=1)
    fusion: Literal["non_negative", "mean"]
    band: float = Field(gt=0, lt=1, description="share of posts that should lie between low and high")


@dataclass(frozen=True)
class Champion:
    """The recipe with its numbers."""

    name: str
    settings: ChampionSettings
    learner_settings: Mapping[str, Section]
    seed: int
    threads: int

    @classmethod
    def from_yaml(cls, content: Mapping[str, Any], name: str, seed: int, threads: int) -> Self:
        """The recipe with the numbers of its YAML; UserError names a wrong one."""
        try:
            settings = ChampionSettings.model_validate(content)
            learners = {key: _learner(key).settings(**value) for key, value in sorted(settings.learners.items())}
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UserError(f"recipes/{name}.yaml: '{where}': {first['msg']}.") from None
        return cls(name, settings, learners, seed, threads)

    @property
    def fits(self) -> int:
        """How many learners one `fit` fits, for a progress bar."""
        return self.settings.folds * len(self.learner_settings)

    def fit(
        self, rows: pl.DataFrame, manifest: Manifest, advance: Advance, context: pl.DataFrame | None = None
    ) -> tuple[Model, dict[str, Any]]:
        """The average of one member per fold, and the metrics of predictions for users that a member never learnt from.

        Rounds, weights and band were chosen on the same predictions, so these metrics are a little too good; the ones
        to quote are those of `evaluate`, on posts that the holdout model never met. Averaging the folds' members did
        as well on SMPD-Video (SRC 0.697) as averaging four refits with different seeds (0.694), at no further cost.
        """
        folds = self._folds(rows)
        target = rows["popularity"].to_numpy()
        unseen = {name: np.empty(rows.height) for name in self.learner_settings}
        members = []
        for fold in range(folds.max() + 1):
            inside = folds == fold
            held = rows.filter(inside)
            others = None if context is None else pl.concat([without_labels(held), context], how="diagonal")
            training = Training(rows.filter(~inside), self.seed, others)
            member, seen = self._member(training, held, manifest, advance)
            members.append(member)
            for name, learner in member.learners.items():
                unseen[name][inside] = learner.predict(seen)
        weights = self._weights(unseen, target)
        fused = np.sum([weights[name] * values for name, values in unseen.items()], axis=0)
        band = _band(target - fused, self.settings.band)
        return Model.assemble(self.name, members, weights, band), _metrics(target, unseen, fused, weights, members)

    def _member(
        self, training: Training, held: pl.DataFrame, manifest: Manifest, advance: Advance
    ) -> tuple[Member, Design]:
        """Everything fitted, vocabularies and components too, sees the training folds alone; the held fold stops it."""
        settings = self.settings
        preparation, design = Preparation.fit(training, manifest, settings.reductions, settings.rare_below)
        target = training.rows["popularity"].to_numpy()
        validation = preparation.design(held), held["popularity"].to_numpy()
        learners = {}
        for name, numbers in self.learner_settings.items():
            learners[name] = LEARNERS[name].fit(
                design, target, settings=numbers, seed=self.seed, threads=self.threads, validation=validation
            )
            advance(1)
        return Member(preparation, learners), validation[0]

    def _weights(self, unseen: Mapping[str, Values], target: Values) -> dict[str, float]:
        weights = FUSIONS[self.settings.fusion](np.column_stack(list(unseen.values())), target)
        return dict(zip(unseen, weights.tolist(), strict=True))

    def _folds(self, rows: pl.DataFrame) -> NDArray[np.int64]:
        users = rows["user_id"].n_unique()
        if users < MIN_USERS:
            raise UserError(
                f"train: the training rows hold {rows.height} labelled posts of {users} users; at least {MIN_USERS} "
                f"users are needed. Import or ingest more posts, or wait until they have matured."
            )
        return user_folds(rows["user_id"], min(self.settings.folds, users), self.seed).to_numpy()


def _metrics(
    target: Values, unseen: Mapping[str, Values], fused: Values, weights: Mapping[str, float], members: list[Member]
) -> dict[str, Any]:
    learners = {
        name: {
            **measures(target, values),
            "weight": weights[name],
            "iterations": [member.learners[name].iterations for member in members],
        }
        for name, values in unseen.items()
    }
    return {"split": SPLIT, "rows": len(target), "learners": learners, "fused": measures(target, fused)}


def _learner(name: str) -> type[Learner]:
    if name not in LEARNERS:
        raise UserError(f"learners: there is no learner '{name}'; {nearest(name, LEARNERS)}")
    return LEARNERS[name]


def _band(residuals: Values, share: float) -> tuple[float, float]:
    """Offsets between which the given share of the residuals lies, as many below as above.

    No guarantee comes with it: the residuals also chose rounds and weights, and are those of single members, not of
    their average. How many labels really lie in the band is `band_coverage` in metrics/evaluation.json.
    """
    tail = (1 - share) / 2
    low = np.quantile(residuals, tail, method="lower")
    high = np.quantile(residuals, 1 - tail, method="higher")
    return float(low), float(high)
