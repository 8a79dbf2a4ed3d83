"""The mixed model: Henderson's equations solved directly, each user's level counted anew, and what no row may see."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from reducible import settings
from table_rows import day

from flickcast.models.reductions import Training, without_labels
from flickcast.models.reductions.mixed_model import FixedEffects, Inputs, MixedModel

MANIFEST = {
    "first": {"kind": "number", "group": "trends"},
    "second": {"kind": "number", "group": "words"},
    "user_popularity_mean": {"kind": "number", "group": "user_popularity"},
    "topic": {"kind": "category", "group": "categories"},
}
FIXED, INTERCEPT, EXPECTED, EXCESS, DAYS = range(5)


def sample(count: int = 300, users: int = 30, seed: int = 0, days_apart: float = 0.3) -> pl.DataFrame:
    """Posts of users who differ, a label a week later; some appear before a label, two in one moment."""
    random = np.random.default_rng(seed)
    user = random.integers(0, users, count)
    first, second = random.normal(size=count), random.normal(size=count)
    second[random.random(count) < 0.1] = np.nan
    level = 1.5 * random.normal(size=users)
    posted = [day(number * days_apart) for number in range(count)]
    posted[11] = posted[10]
    topic = random.integers(0, 3, count)
    label = 6 + first + topic - 0.5 * np.nan_to_num(second) + level[user] + random.normal(size=count)
    return pl.DataFrame(
        {
            "post_id": [f"p{number:04}" for number in range(count)],
            "user_id": [f"u{one:02}" for one in user],
            "posted_at": posted,
            "label_known_at": [moment + timedelta(days=7) for moment in posted],
            "first": first,
            "second": pl.Series(second).fill_nan(None),
            "topic": [None if number % 9 == 0 else f"t{one}" for number, one in enumerate(topic)],
            "user_popularity_mean": label,
            "popularity": label,
        }
    ).with_columns(pl.col("first", "second", "user_popularity_mean").cast(pl.Float32))


def model_of(rows: pl.DataFrame, **changes: float) -> tuple[MixedModel, np.ndarray]:
    wanted = settings("mixed_model", penalty=5.0, **changes)
    found = MixedModel.fit(Training(rows, 0, manifest=MANIFEST), "level", wanted)
    assert found is not None
    return found


def test_fixed_effects_and_ratio_solve_hendersons_equations() -> None:
    """Where no user has two posts on a day, in the limit of many rounds: both kinds of effects at once."""
    rows = sample(days_apart=1.0, seed=2)
    codes = rows["topic"].cast(pl.Enum(["t0", "t1", "t2"])).to_physical().cast(pl.Int32).fill_null(-1).to_numpy()
    inputs = Inputs(rows.select("first", "second").to_numpy().astype(np.float32), codes[:, None])
    made = FixedEffects.of(inputs, 3, rows, settings("mixed_model", penalty=5.0, class_penalty=2.0, rounds=500))
    scaled = np.hstack([made._scaled(inputs.numbers).astype(np.float64), (codes[:, None] == np.arange(3)) * 1.0])
    owners = rows["user_id"].to_dummies().to_numpy().astype(np.float64)
    left = np.block(
        [
            [scaled.T @ scaled + np.diag([5.0, 5.0, 2.0, 2.0, 2.0]), scaled.T @ owners],
            [owners.T @ scaled, owners.T @ owners + made.ratio * np.eye(owners.shape[1])],
        ]
    )
    labels = rows["popularity"].to_numpy() - made.mean
    solved = np.linalg.solve(left, np.concatenate([scaled.T @ labels, owners.T @ labels]))
    np.testing.assert_allclose(np.append(made.effects, made.of_classes), solved[:5], atol=1e-4)
    assert 0.2 < made.ratio < 1.0, "the variances are 1 within and 2.25 between users"


def test_levels_are_those_of_a_count_over_all_posts() -> None:
    rows = sample()
    model, _ = model_of(rows)
    new = without_labels(rows).with_columns(posted_at=pl.col("posted_at") + timedelta(days=3))
    said = model.transform(new)
    fixed = model.transform(without_labels(rows))[:, FIXED].astype(np.float64)
    excess = rows["popularity"].to_numpy() - fixed
    for place, row in enumerate(new.iter_rows(named=True)):
        days: dict[object, list[float]] = {}
        for other, one in enumerate(rows.iter_rows(named=True)):
            if one["user_id"] == row["user_id"] and one["label_known_at"] < row["posted_at"]:
                days.setdefault(one["posted_at"].date(), []).append(excess[other])
        means = [float(np.mean(values)) for values in days.values()]
        intercept = sum(means) / (len(means) + model.fixed.ratio)
        wanted = [intercept, said[place, FIXED] + intercept, np.mean(means) if means else np.nan, len(means)]
        np.testing.assert_allclose(said[place, INTERCEPT:], wanted, atol=1e-4)


def test_a_user_with_earlier_posts_is_known_and_a_stranger_is_not() -> None:
    rows = sample()
    model, own = model_of(rows)
    later = without_labels(rows).with_columns(posted_at=pl.col("posted_at") + timedelta(days=200))
    known = model.transform(later)
    level = rows.group_by("user_id").agg(pl.col("popularity").mean()).join(later, on="user_id", maintain_order="right")
    assert np.corrcoef(known[:, INTERCEPT], level["popularity"].to_numpy())[0, 1] > 0.9
    strangers = model.transform(later.with_columns(user_id=pl.lit("stranger")))
    assert (strangers[:, INTERCEPT] == 0).all()
    assert np.isnan(strangers[:, EXCESS]).all()
    assert (own[0, [INTERCEPT, DAYS]] == 0).all()


@pytest.mark.parametrize("place", [10, 11, 150])
def test_no_label_that_was_not_known_moves_a_row(place: int) -> None:
    """Its own among them; nor does a label of its fold move what it can expect by itself."""
    rows = sample()
    _, own = model_of(rows)
    moment, fold = rows["posted_at"][place], Training(rows, 0).folds(5)
    unknown = rows["label_known_at"] >= moment
    others = pl.Series(fold == fold[place])
    poisoned = rows.with_columns(
        popularity=pl.when(unknown & others).then(1e9).otherwise("popularity"),
    )
    _, after = model_of(poisoned)
    assert own[place].tobytes() == after[place].tobytes()
    of_fold = rows.with_columns(popularity=pl.when(others).then(1e9).otherwise("popularity"))
    assert model_of(of_fold)[1][place, FIXED] == own[place, FIXED]


def test_what_it_is_told_counts_and_teaches_nothing() -> None:
    rows = sample()
    first, second = rows.filter(pl.col("user_id") < "u15"), rows.filter(pl.col("user_id") >= "u15")
    model, _ = model_of(first)
    told = model.told(second)
    assert told.fixed is model.fixed
    later = without_labels(second).with_columns(posted_at=pl.col("posted_at") + timedelta(days=200))
    assert (model.transform(later)[:, DAYS] == 0).all()
    assert (told.transform(later)[:, DAYS] > 0).all()
    same = without_labels(first)
    assert told.transform(same).tobytes() == model.transform(same).tobytes()


def test_it_does_not_read_what_knows_the_users_labels() -> None:
    model, _ = model_of(sample())
    assert (model.columns, list(model.classes)) == (["first", "second"], ["topic"])


def test_users_of_a_single_day_have_the_usual_ratio() -> None:
    rows = sample(users=3000)
    assert model_of(rows.unique("user_id", keep="first", maintain_order=True))[0].fixed.ratio == 1.0
