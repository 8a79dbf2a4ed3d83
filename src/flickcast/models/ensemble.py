"""What all recipes share: learners fitted fold by fold on prepared rows, fused, averaged and calibrated."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import polars as pl

from flickcast.errors import LeftOutError, UserError
from flickcast.metrics import measures
from flickcast.models.calibration import Calibration
from flickcast.models.design import Manifest, Preparation
from flickcast.models.ensemble_settings import EnsembleSettings, checked, kind_of
from flickcast.models.folds import (
    MIN_USERS,
    Fitted,
    Fold,
    Mask,
    Values,
    held_parts,
    newest_positions,
    target_of,
    unseen_rows,
)
from flickcast.models.fusion import FUSIONS
from flickcast.models.learners import LEARNERS, NEVER_SAVED, Learner
from flickcast.models.left_out import left_out
from flickcast.models.model import Member, Model
from flickcast.models.pseudo import PseudoLabels, Source, candidates, opinions, refined
from flickcast.models.reductions import Training, without_labels
from flickcast.models.rows import without_vectors
from flickcast.params import Section

Advance = Callable[[int], None]
UNSAVED = "no saved model may hold it, as its stored form executes when it is loaded; `flickcast compare` has it"
# Said beside the figures, which are a little too good.
SPLITS = {
    "user": "folds by user; rounds and weights chosen on the same folds; features know the user's own earlier labels",
    "random": "random folds; rounds and weights chosen on the same folds; posts of one upload are in several",
    "newest": "the newest of the training posts; rounds and weights chosen on the same posts",
}


@dataclass(frozen=True)
class Ensemble:
    """A recipe with its numbers. Recipes override the steps in which they differ."""

    settings_type = EnsembleSettings
    name: str
    settings: Any  # of settings_type
    learner_settings: Mapping[str, Section]
    seed: int
    threads: int

    @classmethod
    def from_yaml(cls, content: Mapping[str, Any], name: str, seed: int, threads: int) -> Self:
        """The recipe with the numbers of its YAML; UserError names a wrong one."""
        try:
            settings, learners = checked(content, cls.settings_type)
        except UserError as error:
            raise UserError(f"recipes/{name}.yaml: {error}") from None
        return cls(name, settings, learners, seed, threads)

    @property
    def kinds(self) -> dict[str, str]:
        """The family of each learner by its name in the recipe."""
        return {name: kind_of(name, self.settings.learners[name]) for name in self.learner_settings}

    def to_save(self) -> Self:
        """The recipe for a model that will be saved: without learners that have no stored form."""
        return self._without({name: UNSAVED for name, kind in self.kinds.items() if kind in NEVER_SAVED})

    def in_full(self) -> Self:
        """The recipe without what keeps a night short: every learner learns from all posts."""
        return replace(self, settings=self.settings.model_copy(update={"at_night": {}}))

    def kept_short(self, rows: int) -> list[str]:
        """Which learners do not learn from all of so many training rows, in sentences."""
        settings, shares = self.settings, 1 - 1 / self.settings.folds
        of = rows * (1 - settings.held if settings.folds_by == "newest" else shares)
        return [
            f"{self.name} keeps nights short: {name} learns from the newest {most:,} posts of a fold, with "
            f"`train.full: true` in params.yaml from all."
            for name, most in sorted(settings.at_night.items())
            if name in self.learner_settings and most < of
        ]

    @property
    def reads(self) -> list[str]:
        """The encoders, beside the pair, whose vectors it reads."""
        reduced = [part.column for part in self.settings.reductions.values() if hasattr(part, "column")]
        named = {*self.settings.vectors, *self.settings.instead.values(), *reduced}
        return sorted(named - {"picture", "text", "words", "title"})

    @property
    def fits(self) -> int:
        """How many learners one `fit` fits at most, for a progress bar."""
        pseudo = self.settings.pseudo
        times = 1 if pseudo is None else 1 + pseudo.inner_folds + pseudo.rounds
        return (1 if self.settings.folds_by == "newest" else self.settings.folds) * len(self.learner_settings) * times

    def fit(
        self,
        rows: pl.DataFrame,
        manifest: Manifest,
        advance: Advance,
        context: pl.DataFrame | None = None,
        pool: pl.DataFrame | None = None,
    ) -> tuple[Model, dict[str, Any]]:
        """The average of one member per fold, and the metrics of predictions for rows that a member never learnt from.

        `context`, by the transductive clock, are all other posts: what needs no label may be learnt from them as well.
        `pool` are posts without a label that pseudo-labels may be given to.

        Rounds, weights and band were chosen on the same predictions, so these metrics are a little too good; the ones
        to quote are those of `evaluate`, on posts that the holdout model never met. Averaging the folds' members did
        as well on SMPD-Video (SRC 0.697) as averaging four refits with different seeds (0.694), at no further cost.
        """

        def fold(held: Mask) -> Fold:
            return self._fold(rows, held, manifest, context)

        parts = held_parts(rows, self.settings, self.settings.folds, self.seed)
        further = None if self.settings.pseudo is None else candidates(pool, rows)
        left = self.fits

        def counted(fits: int) -> None:
            nonlocal left
            left -= fits
            advance(fits)

        if further is None:  # one at a time: each holds its rows with their vectors
            fitted, report = [self._taught(fold(held), counted) for held in parts], dict[str, Any]()
        else:
            folds = [fold(held) for held in parts]
            advance(0)  # all is prepared
            fitted, report = self._refined(rows, folds, further, manifest, counted)
        advance(left)  # of rounds that were not needed
        model, metrics = self.finished(rows, fitted)
        return model, {**metrics, **report}

    def chosen(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Of the rows that a member may be fitted on, those that it is: all of them. Held rows are not chosen from."""
        return rows

    def fused(self, fitted: Sequence[Fitted], target: Values) -> list[Mapping[str, float]]:
        """The weights of each member's learners: the same for all, from what is unseen by any."""
        names = list(self.learner_settings)
        if self.settings.fusion == "fixed":
            return [_shares({name: self.settings.weights.get(name, 0.0) for name in names}, self.name)] * len(fitted)
        unseen = np.column_stack([np.concatenate([part.unseen[name] for part in fitted]) for name in names])
        known = np.concatenate([target[part.held] for part in fitted])
        weights = FUSIONS[self.settings.fusion](unseen, known)
        return [dict(zip(names, weights.tolist(), strict=True))] * len(fitted)

    def _fold(self, rows: pl.DataFrame, held: Mask, manifest: Manifest, context: pl.DataFrame | None) -> Fold:
        """Everything fitted, vocabularies and components too, sees the training folds alone."""
        stopping = rows.filter(held)
        others = None if context is None else pl.concat([without_labels(stopping), context], how="diagonal")
        learnt = self.chosen(rows.filter(~held))
        training = Training(learnt, self.seed, others, read=self._read(learnt))
        untold, design = Preparation.fit(training, manifest, self.settings)
        preparation = untold.told(rows.join(training.rows.select("post_id"), on="post_id", how="anti"))
        seen = preparation.design(stopping)
        if not (self.settings.pseudo and self.settings.pseudo.inner_folds):  # nothing else is prepared from these rows
            learnt, stopping = without_vectors(learnt), without_vectors(stopping)
        return Fold(held, learnt, stopping, untold, preparation, design, seen)

    def _read(self, rows: pl.DataFrame) -> Mask | None:
        """Which of these rows any learner learns from; None: all."""
        most = [self.settings.at_night.get(name, rows.height) for name in self.learner_settings]
        newest = newest_positions(rows, max(most), rows.height)
        return None if newest is None else np.isin(np.arange(rows.height), newest)

    def _taught(self, fold: Fold, advance: Advance, further: PseudoLabels | None = None) -> Fitted:
        """The member of a fold; the held rows stop its learners."""
        learners, missing = self._learners(fold, advance, further)
        unseen = {name: learner.predict(fold.seen) for name, learner in learners.items()}
        member = Member(fold.preparation, learners, dict.fromkeys(learners, 1 / len(learners)))
        return Fitted(member, fold.held, unseen, missing)

    def _refined(
        self, rows: pl.DataFrame, folds: Sequence[Fold], pool: pl.DataFrame, manifest: Manifest, advance: Advance
    ) -> tuple[list[Fitted], dict[str, Any]]:
        """The members once posts of the pool taught them as well, if that is better; and what each round brought."""
        first = [self._taught(fold, advance) for fold in folds]
        sources = [self._source(fold, pool, manifest, advance) for fold in folds]
        fitted, report = refined(
            folds,
            first,
            sources,
            self.settings.pseudo,
            lambda fold, labels: self._taught(fold, advance, labels),
            lambda said: self._error(rows, said),
        )
        return list(fitted), {"pseudo": {"pool": pool.height, **report}}

    def _source(self, fold: Fold, pool: pl.DataFrame, manifest: Manifest, advance: Advance) -> Source:
        """The posts that a fold may label: where folds are by user, none of its held users, whose labels they know."""
        held_users = fold.stopping["user_id"].implode()
        posts = pool.filter(~pl.col("user_id").is_in(held_users)) if self.settings.folds_by == "user" else pool
        others = list(self._inner(fold, manifest, advance))
        said, unseen = (
            np.hstack([opinions(one.learners.values(), one.preparation.design(part)) for one in others])
            if others
            else np.empty((part.height, 0))
            for part in (posts, fold.stopping)
        )
        return Source(posts, fold.untold.design(posts), said, unseen)

    def _inner(self, fold: Fold, manifest: Manifest, advance: Advance) -> Iterator[Member]:
        """Members fitted on parts of what the fold's own is fitted on."""
        count = self.settings.pseudo.inner_folds
        if count and fold.rows["user_id"].n_unique() >= MIN_USERS:
            for held in held_parts(fold.rows, self.settings, count, self.seed):
                yield self._taught(self._fold(fold.rows, held, manifest, None), advance).member

    def _learners(
        self, fold: Fold, advance: Advance, further: PseudoLabels | None
    ) -> tuple[dict[str, Learner], dict[str, str]]:
        """Each fitted; and those that could take no part, with the reason."""
        design, target = fold.design, target_of(fold.rows)
        weights = fold.rows["weight"].to_numpy() if "weight" in fold.rows.columns else None
        if further is not None:
            design, target, weights = further.joined(fold.rows, design, target, weights)
        learners, missing = {}, {}
        for name, numbers in self.learner_settings.items():
            most = self.settings.at_night.get(name)
            part = newest_positions(fold.rows, most, len(target))
            stopping = newest_positions(fold.stopping, most, fold.stopping.height)
            try:
                learners[name] = LEARNERS[self.kinds[name]].fit(
                    design if part is None else design.take(part),
                    target if part is None else target[part],
                    settings=numbers,
                    seed=self.seed,
                    threads=self.threads,
                    validation=(
                        fold.seen if stopping is None else fold.seen.take(stopping),
                        target_of(fold.stopping if stopping is None else fold.stopping[stopping]),
                    ),
                    weights=weights if part is None or weights is None else weights[part],
                )
            except LeftOutError as why:
                missing[name] = str(why)
            advance(1)
        self._without(missing)  # refuses where none is left
        return learners, missing

    def _without(self, missing: Mapping[str, str]) -> Self:
        """The same recipe without the learners that could take no part."""
        there = {name: numbers for name, numbers in self.learner_settings.items() if name not in missing}
        if not there:
            raise UserError(f"recipes/{self.name}.yaml: no learner can take part: {'; '.join(missing.values())}.")
        return replace(self, learner_settings=there)

    def finished(self, rows: pl.DataFrame, fitted: Sequence[Fitted]) -> tuple[Model, dict[str, Any]]:
        """The model of members that are fitted on these rows, weighed and calibrated; and its metrics."""
        missing = {name: why for one in fitted for name, why in one.left_out.items()}
        if not missing.keys().isdisjoint(self.learner_settings):
            return self._without(missing).finished(rows, [one.without(missing) for one in fitted])
        weights, fused = self._blended(rows, fitted)
        members = [replace(one.member, weights=own) for one, own in zip(fitted, weights, strict=True)]
        known = unseen_rows(rows, fitted)
        calibration = Calibration.fit(known, fused, target_of(known), self.settings)
        model = Model(self.name, self.kinds, members, calibration)
        return model, self._metrics(target_of(known), fitted, fused, members)

    def _blended(self, rows: pl.DataFrame, fitted: Sequence[Fitted]) -> tuple[list[Mapping[str, float]], Values]:
        """The weights of each member, and what they make of its held rows, fold by fold."""
        weights = self.fused(fitted, target_of(rows))
        parts = zip(fitted, weights, strict=True)
        return weights, np.concatenate([sum(own[name] * one.unseen[name] for name in own) for one, own in parts])

    def _error(self, rows: pl.DataFrame, fitted: Sequence[Fitted]) -> float:
        """Mean absolute error of the rows that were held."""
        missing = {name: why for one in fitted for name, why in one.left_out.items()}
        _, fused = self._without(missing)._blended(rows, [one.without(missing) for one in fitted])
        return float(np.abs(target_of(unseen_rows(rows, fitted)) - fused).mean())

    def _metrics(
        self, target: Values, fitted: Sequence[Fitted], fused: Values, members: Sequence[Member]
    ) -> dict[str, Any]:
        learners = {
            name: {
                **measures(target, np.concatenate([one.unseen[name] for one in fitted])),
                "weight": float(np.mean([member.weights[name] for member in members])),
                "iterations": [member.learners[name].iterations for member in members],
            }
            for name in self.learner_settings
        }
        split = SPLITS[self.settings.folds_by]
        missing = {name: why for one in fitted for name, why in one.left_out.items()}
        unsaved = {name: UNSAVED for name in self.settings.learners if name not in {*self.learner_settings, *missing}}
        absent = left_out(self.settings, [member.preparation for member in members], unsaved | missing)
        return {
            "split": split,
            "rows": len(target),
            "learners": learners,
            "fused": measures(target, fused),
            "left_out": absent,
        }


def _shares(weights: Mapping[str, float], recipe: str) -> dict[str, float]:
    total = sum(weights.values())
    if total <= 0:
        raise UserError(f"recipes/{recipe}.yaml: 'weights': none of the learners has a weight above 0.")
    return {name: weight / total for name, weight in weights.items()}
