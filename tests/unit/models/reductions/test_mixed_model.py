"""The mixed model: Henderson's equations solved directly, each user's level counted anew, and what no row may see."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from reducible import settings
from table_rows import day

from flickcast.models.contributions import columns_of
from flickcast.models.design import Preparation, PreparationSettings
from flickcast.models.folds import Fold
from flickcast.models.recipes.champion import Champion
from flickcast.models.reductions import Training, without_labels
from flickcast.models.reductions.fixed_effects import Bends, FixedEffects, Inputs
from flickcast.models.reductions.mixed_model import MixedModel
from flickcast.params import read_yaml
from flickcast.workspace import template_root

MANIFEST = {
    "first": {"kind": "number", "group": "trends"},
    "second": {"kind": "number", "group": "words"},
    "user_popularity_mean": {"kind": "number", "group": "user_popularity"},
    "topic": {"kind": "category", "group": "categories"},
}
FIXED, INTERCEPT, EXPECTED, EXCESS, DAYS = range(5)


def sample(count: int = 300, users: int = 30, seed: int = 0, days_apart: float = 0.25) -> pl.DataFrame:
    """Posts of users who differ, a label a week later; some appear before a label, two in one moment."""
    random = np.random.default_rng(seed)
    user = random.integers(0, users, count)
    first, second = random.normal(size=count), random.normal(size=count)
    second[random.random(count) < 0.1] = np.nan
    level = 1.5 * random.normal(size=users)
    posted = [day(number * days_apart) for number in range(count)]
    posted[11], user[11] = posted[10], user[10]
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


def model_of(rows: pl.DataFrame, **changes: Any) -> tuple[MixedModel, np.ndarray]:
    wanted = settings("mixed_model", **{"penalty": 5.0, **changes})
    found = MixedModel.fit(Training(rows, 0, manifest=MANIFEST), "level", wanted)
    assert found is not None
    return found


def test_fixed_effects_solve_hendersons_equations() -> None:
    """Both kinds of effects at once, and the mean; rows of one user and day weigh one together."""
    rows = sample(users=12, days_apart=0.1)
    codes = rows["topic"].cast(pl.Enum(["t0", "t1", "t2"])).to_physical().cast(pl.Int32).fill_null(-1).to_numpy()
    numbers = np.clip(rows.select("first", "second").to_numpy().astype(np.float64), -2, 2)  # none too far out
    inputs = Inputs(numbers.astype(np.float32), codes[:, None])
    settings = {"knots": [0.5], "penalty": 5.0, "class_penalty": 2.0, "most_posts": 1000}
    made = FixedEffects.of(inputs, 3, rows, **settings)
    parts = [np.nan_to_num(_standard(part)) for part in (numbers, _beyond_the_middle(numbers))]
    known = np.column_stack([np.ones(rows.height), *parts, codes[:, None] == np.arange(3)])
    owners = rows["user_id"].to_dummies().to_numpy().astype(np.float64)
    day = rows.select("user_id", pl.col("posted_at").dt.date())
    weights = day.with_columns(weight=1 / pl.len().over("user_id", "posted_at"))["weight"].to_numpy()
    assert weights.min() <= 0.5, "some users have several posts on a day"
    every = np.hstack([known, owners])
    penalties = np.diag([0.0, *[5.0] * 4, *[2.0] * 3, *[made.ratio] * owners.shape[1]])
    right = every.T @ (weights * rows["popularity"].to_numpy())
    solved = np.linalg.solve(every.T @ (weights[:, None] * every) + penalties, right)
    np.testing.assert_allclose([made.mean, *made.of_classes], solved[[0, 5, 6, 7]], atol=1e-4)
    np.testing.assert_allclose(made.of_rows(inputs), known @ solved[:8], atol=1e-4)


def _standard(numbers: np.ndarray) -> np.ndarray:
    return (numbers - np.nanmean(numbers, axis=0)) / np.nanstd(numbers, axis=0)


def _beyond_the_middle(numbers: np.ndarray) -> np.ndarray:
    return np.maximum(numbers - np.nanmedian(numbers, axis=0), 0)


def test_an_effect_may_bend_and_stays_as_it_is_beyond_its_ends() -> None:
    """What rises up to 0 and then falls is no straight line's; nothing is said of what was never there."""
    random = np.random.default_rng(1)
    rows = sample(count=2000, users=400, days_apart=0.5, seed=1)
    first = random.normal(size=2000)
    label = 3 - np.abs(first) + 0.1 * random.normal(size=2000)
    bent = rows.with_columns(first=pl.Series(first).cast(pl.Float32), popularity=pl.Series(label))

    def error(knots: list[float]) -> float:
        fixed = model_of(bent, knots=knots)[0].transform(without_labels(bent))[:, FIXED]
        return float(np.abs(fixed - bent["popularity"].to_numpy()).mean())

    assert error([]) > 0.4
    assert error([0.5]) < 0.15
    assert error([0.8, 0.2, 0.5]) < 0.15
    model, _ = model_of(bent, knots=[0.5])
    far, farther = (
        model.transform(without_labels(bent[:1]).with_columns(first=pl.lit(value, pl.Float32)))[0, FIXED]
        for value in (50.0, 1e30)
    )
    assert far == farther
    assert abs(far - (3 - np.abs(first).max())) < 0.5, "as it is where the numbers end"
    missing = without_labels(bent[:1]).with_columns(first=pl.lit(None, pl.Float32))
    assert abs(model.transform(missing)[0, FIXED] - bent["popularity"].mean()) < 0.2


ODD = {
    "plain": lambda random: random.normal(size=500),
    "holes": lambda random: np.where(random.random(500) < 0.3, np.nan, random.normal(size=500)),
    "binary": lambda random: (random.random(500) < 0.3).astype(float),
    "mostly nothing": lambda random: np.where(random.random(500) < 0.8, 0.0, random.exponential(size=500)),
    "far out": lambda random: -np.exp(2 * random.normal(size=500)),
    "always the same": lambda random: np.full(500, 3.0),
    "never there": lambda random: np.full(500, np.nan),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("knots", [[], [0.5], [0.2, 0.5, 0.8]])
def test_an_effect_is_that_of_its_columns_wherever_a_number_is(kind: str, knots: list[float]) -> None:
    """Told by its heights as by the columns that it was found with; none of these is the copy of another."""
    random = np.random.default_rng(3)
    numbers = np.column_stack([ODD[kind](random), ODD["plain"](random)]).astype(np.float32)
    bends = Bends.of(numbers, knots)
    effects = random.normal(size=len(bends.centre))
    told = FixedEffects(bends.places, bends.heights(effects), np.zeros(0, np.float32), 0.0, 1.0)
    asked = np.vstack([numbers, [[np.nan, np.nan], [np.inf, -np.inf], [-1e30, 1e30], [0.5, 0.5]]]).astype(np.float32)
    inputs = Inputs(asked, np.zeros((len(asked), 0), np.int32))
    known = np.where(np.isinf(asked), np.sign(asked) * 1e30, asked)
    np.testing.assert_allclose(told._said(inputs), bends.basis(known) @ effects, atol=1e-9)
    assert told._said(inputs.take(np.array([7])))[0] == told._said(inputs)[7]
    assert (np.diff(bends.places) >= 0).all()
    basis = bends.basis(numbers)
    moving = basis[:, basis.any(axis=0)]
    assert np.linalg.matrix_rank(moving) == moving.shape[1]


def test_what_is_beyond_all_numbers_says_no_more_than_the_farthest() -> None:
    """A number that nearly always is at its end has steep lines there; nobody has seen where they lead."""
    random = np.random.default_rng(4)
    rows = sample(count=3000, users=1000, days_apart=0.2, seed=4)
    skewed = -np.exp(1.5 * random.normal(size=3000))
    noise = pl.Series(2 * random.normal(size=3000))
    model, _ = model_of(rows.with_columns(first=pl.Series(skewed).cast(pl.Float32), popularity=noise), penalty=30.0)
    asked = without_labels(rows[:1])
    said = [
        model.transform(asked.with_columns(first=pl.lit(value, pl.Float32)))[0, FIXED] for value in (-1.0, 0.0, 1e9)
    ]
    assert abs(said[2] - said[0]) < 1
    assert abs(said[2] - said[1]) < 0.1


def test_classes_alone_are_enough() -> None:
    rows = sample()
    wanted = settings("mixed_model", groups=["categories"])
    found = MixedModel.fit(Training(rows, 0, manifest=MANIFEST), "level", wanted)
    assert found is not None
    assert found[0].columns == []
    assert np.isfinite(found[1][rows["topic"].is_not_null().to_numpy(), FIXED]).all()


def test_the_shipped_champion_reads_columns_that_its_reductions_make() -> None:
    content = read_yaml(template_root() / "recipes" / "champion.yaml")
    model, _ = model_of(sample())
    made = {*replace(model, name="own_level").names, "wording"}
    assert content["reductions"]["own_level"]["kind"] == "mixed_model"
    assert content["reductions"]["wording"]["kind"] == "wording"
    assert set(content["learners"]["linear"]["columns"]) <= made


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("places", lambda places: places[:, ::-1]),
        ("places", lambda places: places * np.nan),
        ("places", lambda places: places[:1]),
        ("heights", lambda heights: heights * np.inf),
        ("heights", lambda heights: heights[:, 1:]),
        ("heights", lambda heights: heights[0]),
    ],
)
def test_effects_that_no_fit_makes_are_refused(name: str, wrong: Callable[[np.ndarray], np.ndarray]) -> None:
    model, _ = model_of(sample())
    arrays = model.arrays()
    assert MixedModel.restore("level", model.facts(), arrays).fixed.mean == model.fixed.mean
    with pytest.raises(ValueError, match="the mixed model's effects"), np.errstate(invalid="ignore"):
        MixedModel.restore("level", model.facts(), {**arrays, name: wrong(arrays[name])})


def test_what_the_post_promises_is_not_told_as_the_users_doing() -> None:
    wanted = PreparationSettings(reductions={"level": {"kind": "mixed_model"}})
    preparation, _ = Preparation.fit(Training(sample(), 0, manifest=MANIFEST), MANIFEST, wanted)
    told = {column: (one.group, one.theme) for column, one in columns_of(preparation).items() if "level" in column}
    assert told == {
        **dict.fromkeys(("level_fixed", "level_expected"), ("level (expected)", "several")),
        **dict.fromkeys(("level_intercept", "level_excess", "level_days"), ("level", "user")),
    }


def test_the_ratio_is_that_of_the_variances() -> None:
    rows = sample(count=3000, users=300, days_apart=1.0)
    assert 0.35 < model_of(rows)[0].fixed.ratio < 0.55, "1 within and 2.25 between users"


def test_busy_days_and_busy_users_decide_no_effect_and_no_level() -> None:
    """Of users without an effect, one posts a lot, others more on days of little: nothing of it is an effect."""
    random = np.random.default_rng(5)
    rows = sample(count=900, users=90, seed=5)
    level = {f"u{user:02}": float(random.normal()) for user in range(90)} | {"u00": 9.0}
    busy = rows.with_columns(user_id=pl.when(pl.int_range(pl.len()) < 450).then(pl.lit("u00")).otherwise("user_id"))
    owned = busy["user_id"].replace_strict(level, return_dtype=pl.Float64)
    noisy = owned + pl.Series(0.3 * random.normal(size=900))
    busy = busy.with_columns(popularity=noisy, first=owned.cast(pl.Float32))
    model, _ = model_of(busy)
    others = model.transform(without_labels(busy.filter(pl.col("user_id") != "u00")))[:, FIXED]
    assert abs(others).max() < 1, "the busy user's level is not everyone's"
    straight, _ = model_of(busy, knots=[])
    assert abs(straight.fixed.mean) < 1


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


def test_a_label_of_the_very_moment_is_not_known() -> None:
    rows = sample(users=4)
    model, _ = model_of(rows)
    asked = without_labels(rows[:1]).with_columns(posted_at=rows["label_known_at"][:1])
    earlier = rows.filter(pl.col("user_id") == rows["user_id"][0], pl.col("label_known_at") < asked["posted_at"][0])
    tied = rows.filter(pl.col("user_id") == rows["user_id"][0], pl.col("label_known_at") == asked["posted_at"][0])
    assert tied.height == 1
    assert model.transform(asked)[0, DAYS] == earlier["posted_at"].dt.date().n_unique()


def test_a_single_user_is_left_out() -> None:
    rows = sample(users=1)
    assert MixedModel.fit(Training(rows, 0, manifest=MANIFEST), "level", settings("mixed_model")) is None


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


def test_a_member_knows_how_users_did_that_it_was_not_fitted_on() -> None:
    """As on the night its model is used; pseudo-labels alone come from one that was not told."""
    rows = sample(users=10)
    content = {
        "learners": {"lightgbm": {"max_iterations": 3}},
        "reductions": {"level": {"kind": "mixed_model", "penalty": 5.0}},
    }
    recipe = Champion.from_yaml(content, "champion", 0, 1)
    held = (rows["user_id"] < "u05").to_numpy()

    def fold_of(given: pl.DataFrame) -> Fold:
        return recipe._fold(given, held, MANIFEST, None)

    fold = fold_of(rows)
    days, first = fold.seen.number_names.index("level_days"), fold.seen.numbers
    assert (first[-20:, days] > 3).all()
    assert (fold.untold.design(without_labels(fold.stopping)).numbers[:, days] == 0).all()
    last = fold.stopping["post_id"][-1]
    poisoned = rows.with_columns(popularity=pl.when(pl.col("post_id") == last).then(1e9).otherwise("popularity"))
    assert fold_of(poisoned).seen.numbers.tobytes() == first.tobytes()
