"""Pseudo-labels: posts without a label, of which a member is sure, teach it once more."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from flickcast.models.design import Design, stacked
from flickcast.models.learners import Learner
from flickcast.models.reductions import without_labels
from flickcast.params import Section

if TYPE_CHECKING:
    from flickcast.models.folds import Fitted, Fold

Values = NDArray[np.float64]
TINY = 1e-9


class PseudoSettings(Section):
    """A recipe's `pseudo`."""

    rounds: int = Field(
        3, ge=1, description="at most; one that does not lower the error of held posts is undone, and the last"
    )
    alpha: float = Field(0.5, description="posts whose confidence is at least mean + alpha * deviation get a label")
    weight: float = Field(0.5, gt=0, le=1, description="of such a post, where a labelled one weighs 1")
    days: float | None = Field(
        30, gt=0, description="in `train`: posts at most so far from the newest labelled one; null: all"
    )
    band: float = Field(0.8, gt=0, lt=1, description="share of labels in the conformal band whose width is the doubt")
    floor: float = Field(0.1, gt=0, description="added to the spread: learners that agree are not certain")
    inner_folds: int = Field(
        0, ge=0, description="members fitted on parts of a fold's own rows, for the spread between members; 0: none"
    )


@dataclass(frozen=True)
class Source:
    """Posts that a fold may give labels to. `others`: what its inner members' learners say of them and of held rows."""

    posts: pl.DataFrame
    design: Design
    others: Values  # (posts, inner learners)
    others_held: Values  # (held rows, inner learners)


@dataclass(frozen=True)
class PseudoLabels:
    """Posts with the labels that a member gave them."""

    posts: pl.DataFrame
    design: Design
    labels: Values
    weight: float

    def joined(self, rows: pl.DataFrame, design: Design, target: Values, weights: Values | None) -> Any:
        """Design, labels and weights of the labelled rows with these below them."""
        users = pl.concat([rows["user_id"], self.posts["user_id"]])
        known = np.ones(len(target)) if weights is None else weights
        return (
            stacked(design, self.design, users),
            np.concatenate([target, self.labels]),
            np.concatenate([known, np.full(len(self.labels), self.weight)]),
        )


@dataclass(frozen=True)
class Doubt:
    """How wide a conformal band is, from how far opinions are apart (normalised conformal regression; crepes)."""

    conformal: Any
    share: float
    floor: float

    @classmethod
    def fit(cls, residuals: Values, spread: Values, share: float, floor: float) -> Self:
        """From residuals (n,) of posts that were not learnt from, and the spread of opinions on them.

        New posts like these have their label in the band with probability `share`; of too few posts for that, with the
        largest probability that n posts can vouch for.
        """
        from crepes import ConformalRegressor

        possible = (len(residuals) - 0.5) / (len(residuals) + 1)
        return cls(ConformalRegressor().fit(residuals, sigmas=spread + floor), min(share, possible), floor)

    def half_widths(self, spread: Values) -> Values:
        """Of the bands of posts with this spread, (n,), in units of the label."""
        bands = self.conformal.predict_int(np.zeros(len(spread)), sigmas=spread + self.floor, confidence=self.share)
        return np.asarray(bands[:, 1], np.float64)


def candidates(pool: pl.DataFrame | None, labelled: pl.DataFrame) -> pl.DataFrame | None:
    """Posts of the pool that are not among the labelled ones, by post_id; None if there are none."""
    if pool is None:
        return None
    found = without_labels(pool).join(labelled, on="post_id", how="anti").sort("post_id")
    return None if found.is_empty() else found


def recent(pool: pl.DataFrame, labelled: pl.DataFrame, days: float | None) -> pl.DataFrame:
    """Posts of the pool at most so many days from the newest labelled post: their labels have not matured.

    An older one whose count was never read will hardly get a label any more.
    """
    if days is None:
        return pool
    return pool.filter((pl.col("posted_at") - labelled["posted_at"].max()).abs() <= timedelta(days=days))


def spread(opinions: Values) -> Values:
    """Standard deviation (n,) of what several say, (n, several)."""
    apart: Values = opinions.std(axis=1)
    return apart


def threshold(confidence: Values, alpha: float) -> float:
    """tau = mu + alpha * sigma (HyperFusion 2025, equation 10)."""
    return float(confidence.mean() + alpha * confidence.std())


def opinions(learners: Iterable[Learner], design: Design) -> Values:
    """What each says, (rows, learners)."""
    said: Values = np.column_stack([learner.predict(design) for learner in learners])
    return said


def given(fold: "Fold", fitted: "Fitted", source: Source, settings: PseudoSettings) -> PseudoLabels | None:
    """The posts that the fold's own member is sure of, with the plain mean of its learners; None if it is of none.

    No label of the held rows takes part. The member's learners did not learn from them (they only stopped them), the
    mean has no weights, and the held residuals merely scale the bands: confidence is minus their width, so that all of
    it is scaled alike, mu and sigma with it, and the same posts are above tau.
    """
    said, unseen = opinions(fitted.member.learners.values(), source.design), np.column_stack([*fitted.unseen.values()])
    apart = spread(np.column_stack([said, source.others]))
    held = fold.stopping["popularity"].to_numpy() - unseen.mean(axis=1)
    doubt = Doubt.fit(held, spread(np.column_stack([unseen, source.others_held])), settings.band, settings.floor)
    confidence = -doubt.half_widths(apart)
    sure = confidence >= threshold(confidence, settings.alpha)
    if confidence.std() < TINY * -confidence.mean() or not sure.any():  # as sure of one as of any other
        return None
    return PseudoLabels(source.posts.filter(sure), source.design.take(sure), said.mean(axis=1)[sure], settings.weight)


class Teach(Protocol):
    """Fits the learners of a fold on its rows and on posts with pseudo-labels."""

    def __call__(self, fold: "Fold", further: PseudoLabels | None) -> "Fitted":
        """The fold's member, fitted again."""
        ...


def refined(
    folds: Sequence["Fold"],
    first: Sequence["Fitted"],
    sources: Sequence[Source],
    settings: PseudoSettings,
    teach: Teach,
    error: Callable[[Sequence["Fitted"]], float],
) -> tuple[Sequence["Fitted"], dict[str, Any]]:
    """The members after the best round, and what each round brought (HyperFusion 2025, section 3.5).

    Each round labels anew, by the members of the round before, and fits all learners from the start. `error`: of held
    labelled rows; the first round that does not lower it is the last and is undone.
    """
    fitted, best = first, first
    errors, posts = [error(first)], []
    while len(errors) <= settings.rounds:
        labels = [given(*part, settings) for part in zip(folds, fitted, sources, strict=True)]
        if all(one is None for one in labels):
            break
        posts.append(float(np.mean([0 if one is None else len(one.labels) for one in labels])))
        fitted = [teach(fold, one) for fold, one in zip(folds, labels, strict=True)]
        errors.append(error(fitted))
        if errors[-1] >= errors[-2]:
            break
        best = fitted
    return best, {"errors": errors, "posts": posts, "kept": int(np.argmin(errors))}
