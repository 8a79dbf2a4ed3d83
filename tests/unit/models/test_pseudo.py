"""Pseudo-labels: whom they are given, by whom, and when the rounds end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pytest
from reducible import reducible
from table_rows import day

from flickcast.models.ensemble import Ensemble
from flickcast.models.folds import Fitted, Fold, held_parts
from flickcast.models.pseudo import Doubt, PseudoLabels, PseudoSettings, candidates, given, recent, refined, threshold
from flickcast.models.reductions import without_labels

MANIFEST = {
    "log_followers": {"group": "people", "kind": "number"},
    "category": {"group": "categories", "kind": "category"},
    "subcategory": {"group": "categories", "kind": "category"},
}
# One round of large steps: nothing is left that held labels could stop.
ONCE = {
    "learner": "lightgbm",
    "max_iterations": 1,
    "learning_rate": 1.0,
    "min_child_samples": 5,
    "bagging_fraction": 1.0,
}
RECIPE: dict[str, Any] = {
    "folds": 3,
    "rare_below": 2,
    "reductions": {"picture": {"kind": "vectors", "column": "picture", "dimensions": 3}},
    "learners": {"small": {**ONCE, "num_leaves": 3}, "large": {**ONCE, "num_leaves": 12}},
    "pseudo": {"rounds": 2, "alpha": 0.0},
}
LABELLED = reducible(180)
POOL = without_labels(reducible(90, seed=5)).with_columns(post_id="x" + pl.col("post_id"))


@dataclass(frozen=True)
class Watched(Ensemble):
    """An ensemble that notes what each fold is taught."""

    seen: list[tuple[Fold, PseudoLabels]] = field(default_factory=list)

    def _taught(self, fold: Fold, advance: Callable[[int], None], further: PseudoLabels | None = None) -> Fitted:
        if further is not None:
            self.seen.append((fold, further))
        return super()._taught(fold, advance, further)


def watched(rows: pl.DataFrame = LABELLED, pool: pl.DataFrame = POOL, **changes: Any) -> tuple[Watched, Any, Any]:
    recipe = Watched.from_yaml({**RECIPE, **changes}, "champion", 0, 1)
    return recipe, *recipe.fit(rows, MANIFEST, lambda count: None, None, pool)


def pseudo(**numbers: Any) -> dict[str, Any]:
    return {"pseudo": {**RECIPE["pseudo"], **numbers}}


@pytest.mark.parametrize("alpha", [-1.0, 0.0, 0.5, 2.0])
def test_tau_is_mean_and_deviations_of_numpy(alpha: float) -> None:
    confidence = np.random.default_rng(0).gamma(2, 1, 500)
    assert threshold(confidence, alpha) == pytest.approx(np.mean(confidence) + alpha * np.std(confidence))


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("telling", [True, False])
def test_bands_cover_what_they_say_on_fresh_posts(share: float, telling: bool) -> None:
    random = np.random.default_rng(3)
    size = random.gamma(2, 0.5, 28_000)
    errors = random.normal(0, size)
    spread = size * random.lognormal(0, 0.3, len(size)) if telling else random.gamma(2, 0.5, len(size))
    doubt = Doubt.fit(errors[:8000], spread[:8000], share, floor=0.1)
    covered = np.abs(errors[8000:]) <= doubt.half_widths(spread[8000:])
    assert covered.mean() == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_held_posts_still_give_finite_bands(count: int) -> None:
    doubt = Doubt.fit(np.arange(count) + 1.0, np.ones(count), 0.95, 0.1)
    assert np.isfinite(doubt.half_widths(np.ones(4))).all()


def test_candidates_have_no_label_and_say_none() -> None:
    pool = pl.concat([LABELLED, POOL], how="diagonal").sample(fraction=1, shuffle=True, seed=2)
    found = candidates(pool, LABELLED[:100])
    assert found is not None
    assert set(found["post_id"]) == {*POOL["post_id"], *LABELLED["post_id"][100:]}
    assert found["post_id"].is_sorted()
    assert "popularity" not in found.columns
    assert candidates(LABELLED, LABELLED) is candidates(None, LABELLED) is None


def test_recent_posts_are_near_the_newest_labelled_one() -> None:
    labelled = pl.DataFrame({"posted_at": [day(3), day(10)]})
    pool = pl.DataFrame({"posted_at": [day(1), day(7.5), day(12), day(14)]})
    assert recent(pool, labelled, 3)["posted_at"].to_list() == [day(7.5), day(12)]
    assert recent(pool, labelled, None).height == 4


def test_those_above_tau_get_the_mean_of_the_learners() -> None:
    recipe = Watched.from_yaml(RECIPE, "champion", 0, 1)
    fold, fitted, source = _parts(recipe)[0]
    found = given(fold, fitted, source, PseudoSettings(alpha=0.3, weight=0.25))
    assert found is not None
    said = np.column_stack([one.predict(source.design) for one in fitted.member.learners.values()])
    unseen = np.column_stack(list(fitted.unseen.values()))
    ratios = np.abs(fold.stopping["popularity"].to_numpy() - unseen.mean(axis=1)) / (unseen.std(axis=1) + 0.1)
    width = np.sort(ratios)[::-1][int(0.2 * (len(ratios) + 1)) - 1] * (said.std(axis=1) + 0.1)
    sure = -width >= -width.mean() + 0.3 * width.std()
    assert 0 < sure.sum() < len(sure)
    assert found.posts["post_id"].to_list() == source.posts.filter(sure)["post_id"].to_list()
    np.testing.assert_allclose(found.labels, said.mean(axis=1)[sure])
    np.testing.assert_array_equal(found.design.numbers, source.design.numbers[sure])
    _, _, weights = found.joined(fold.rows, fold.design, np.zeros(fold.rows.height), None)
    assert weights.tolist() == [1.0] * fold.rows.height + [0.25] * int(sure.sum())


def test_a_post_with_a_label_is_never_given_one() -> None:
    poisoned = LABELLED.with_columns(popularity=pl.lit(-50.0))
    recipe, _, metrics = watched(pool=pl.concat([poisoned, POOL], how="diagonal"))
    given_to = {key for _, further in recipe.seen for key in further.posts["post_id"]}
    assert given_to
    assert given_to <= set(POOL["post_id"])
    assert metrics["pseudo"]["pool"] == POOL.height


def test_no_fold_is_taught_posts_of_the_users_it_is_judged_on() -> None:
    recipe, _, metrics = watched()
    for fold, further in recipe.seen:
        assert set(further.posts["user_id"]).isdisjoint(fold.stopping["user_id"])
        assert set(further.posts["post_id"]).isdisjoint(fold.stopping["post_id"])
    assert {*POOL["user_id"]} & {*LABELLED["user_id"]}
    assert metrics["rows"] == LABELLED.height


@pytest.mark.parametrize("inner", [0, 2])
def test_labels_of_the_held_rows_reach_nothing_that_their_fold_is_taught(inner: int) -> None:
    """Shuffle the labels of one fold: what its member is given, and the member itself, stay as they were."""
    changes = pseudo(inner_folds=inner, rounds=1)
    before, model, _ = watched(**changes)
    held = pl.Series("held", before.seen[0][0].held)
    labels = LABELLED["popularity"].to_numpy().copy()
    labels[held.to_numpy()] = np.random.default_rng(1).permutation(labels[held.to_numpy()]) * 3 - 20
    after, other, _ = watched(LABELLED.with_columns(popularity=pl.Series(labels)), **changes)
    same = [_as_lists(one) == _as_lists(two) for (_, one), (_, two) in zip(before.seen, after.seen, strict=True)]
    assert same == [True, False, False]
    first = [_taught_by(recipe, 0) for recipe in (before, after)]
    assert first[0] == first[1]
    assert model.files != other.files


def test_a_round_that_does_not_help_is_the_last_and_undone() -> None:
    recipe = Watched.from_yaml(RECIPE, "champion", 0, 1)
    parts = _parts(recipe)
    folds, first, sources = ([part[place] for part in parts] for place in range(3))
    errors = iter([3.0, 2.0, 2.5, 1.0])
    rounds: list[Sequence[Fitted]] = []

    def error(fitted: Sequence[Fitted]) -> float:
        rounds.append(fitted)
        return next(errors)

    def teach(fold: Fold, further: PseudoLabels | None) -> Fitted:
        return recipe._taught(fold, lambda count: None, further)

    best, report = refined(folds, first, sources, PseudoSettings(rounds=5), teach, error)
    assert (report["errors"], report["kept"], len(rounds)) == ([3.0, 2.0, 2.5], 1, 3)
    assert best is rounds[1]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kept_is_the_round_with_the_least_error(seed: int) -> None:
    _, _, metrics = watched(reducible(120, seed=seed), **pseudo(rounds=4, alpha=-0.5, weight=1.0))
    report = metrics["pseudo"]
    assert metrics["fused"]["mae"] == pytest.approx(min(report["errors"]))
    assert report["errors"][report["kept"]] == min(report["errors"])
    assert len(report["errors"]) - 1 == len(report["posts"]) <= 4


def test_one_learner_alone_is_not_surer_of_one_post_than_of_another() -> None:
    recipe, _, metrics = watched(learners={"small": RECIPE["learners"]["small"]})
    assert recipe.seen == []
    assert metrics["pseudo"]["posts"] == []


def test_inner_members_make_a_spread_where_there_is_one_learner() -> None:
    recipe, _, _ = watched(learners={"small": RECIPE["learners"]["small"]}, **pseudo(inner_folds=2))
    assert recipe.seen


def test_order_of_the_pool_changes_nothing() -> None:
    _, model, _ = watched()
    _, other, _ = watched(pool=POOL.sample(fraction=1, shuffle=True, seed=3))
    assert model.name == other.name


@pytest.mark.parametrize("rounds", [1, 3])
def test_progress_counts_rounds_that_were_not_needed(rounds: int) -> None:
    recipe = Ensemble.from_yaml({**RECIPE, **pseudo(rounds=rounds, inner_folds=2)}, "champion", 0, 1)
    done: list[int] = []
    recipe.fit(LABELLED, MANIFEST, done.append, None, POOL)
    assert sum(done) == recipe.fits == 3 * 2 * (1 + 2 + rounds)


def _parts(recipe: Watched) -> list[Any]:
    nothing: Callable[[int], None] = lambda count: None  # noqa: E731
    folds = [
        recipe._fold(LABELLED, held, MANIFEST, None) for held in held_parts(LABELLED, recipe.settings, 3, recipe.seed)
    ]
    return [(fold, recipe._taught(fold, nothing), recipe._source(fold, POOL, MANIFEST, nothing)) for fold in folds]


def _as_lists(further: PseudoLabels) -> tuple[list[str], list[float]]:
    return further.posts["post_id"].to_list(), further.labels.tolist()


def _taught_by(recipe: Watched, number: int) -> dict[str, bytes]:
    fold, further = recipe.seen[number]
    return Ensemble._taught(recipe, fold, lambda count: None, further).member.files()
