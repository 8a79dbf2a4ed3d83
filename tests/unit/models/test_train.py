from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal
from table_rows import day, labels, posts, vectors

from flickcast import models
from flickcast.errors import CheckError, UserError
from flickcast.models.folds import newest_positions
from flickcast.params import TrainParams
from flickcast.workspace import template_root

COUNT = 120
MANIFEST = {
    "followers": {"group": "people", "kind": "number"},
    "category": {"group": "categories", "kind": "category"},
}
WORDS = ["sea boat", "cake tea", "snow ice", "city bus"]
SMALL = {
    "folds": 3,
    "rare_below": 2,
    "fusion": "non_negative",
    "band": 0.8,
    "reductions": {
        "title_tags": {"kind": "words", "column": "words", "dimensions": 3},
        "picture": {"kind": "vectors", "column": "picture", "dimensions": 2},
    },
    "learners": {"lightgbm": {"max_iterations": 40, "min_child_samples": 3}, "catboost": {"max_iterations": 40}},
}


def planted() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Matrix, posts, vectors and labels whose popularity follows followers, category and title."""
    random = np.random.default_rng(0)
    followers = random.normal(size=COUNT)
    topic = random.integers(0, 4, COUNT)
    ids = [f"p{number:03}" for number in range(COUNT)]
    rows = posts(
        *(
            {"post_id": key, "posted_at": day(n / 4), "user_id": f"u{n % 30}", "title": WORDS[topic[n]]}
            for n, key in enumerate(ids)
        )
    )
    matrix = pl.DataFrame(
        {"post_id": ids, "followers": followers.astype(np.float32), "category": [f"c{value % 2}" for value in topic]}
    )
    pictures = vectors(*({"post_id": key, "picture": random.normal(size=4).tolist()} for key in ids[:90]))
    popularity = 6 + 2 * followers + topic
    known = labels(
        *(
            {"post_id": key, "popularity": float(y), "matured_at": day(90)}
            for key, y in zip(ids, popularity, strict=True)
        )
    )
    return matrix, rows, pictures, known


MATRIX, POSTS, VECTORS, LABELS = planted()


def train(folder: Path, recipe: dict[str, Any] = SMALL, shuffle: bool = False, **how: Any) -> dict[str, Any]:
    order: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows.sample(fraction=1, shuffle=True, seed=4)  # noqa: E731
    matrix, rows, pictures, known = (order(t) if shuffle else t for t in (MATRIX, POSTS, VECTORS, LABELS))
    params = TrainParams(threads=1)
    return models.train(matrix, MANIFEST, rows, pictures, how.pop("labels", known), recipe, params, 0, folder, **how)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("models")
    return folder, train(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_holdout_learns_from_the_oldest_and_final_from_all(trained: tuple[Path, dict[str, Any]]) -> None:
    _, metrics = trained
    assert (metrics["holdout"]["rows"], metrics["final"]["rows"]) == (96, 120)


def test_unseen_users_are_predicted_well(trained: tuple[Path, dict[str, Any]]) -> None:
    _, metrics = trained
    assert metrics["holdout"]["fused"]["src"] > 0.8
    assert sum(learner["weight"] for learner in metrics["holdout"]["learners"].values()) == pytest.approx(1)


def test_shuffled_rows_give_the_same_bytes(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, metrics = trained
    assert train(tmp_path, shuffle=True) == metrics
    assert contents(tmp_path) == contents(folder)


def test_labels_of_the_newest_fifth_do_not_reach_holdout(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = trained
    newest = pl.col("post_id") >= "p096"
    poisoned = LABELS.with_columns(popularity=pl.when(newest).then(1e9).otherwise("popularity"))
    train(tmp_path, labels=poisoned)
    assert contents(tmp_path / "holdout") == contents(folder / "holdout")


def test_loaded_model_is_the_saved_one(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """safetensors wrote matrices stored by columns as they lay in memory: the loaded model mixed up its words."""
    folder, metrics = trained
    model = models.load(folder / "final")
    assert model.name == metrics["final"]["model"]
    fitted, _ = models.recipe_of("champion", SMALL, 0, 1).fit(
        models.gather(MATRIX, POSTS, VECTORS, LABELS), MANIFEST, lambda count: None
    )
    assert_frame_equal(fitted.predict(MATRIX, POSTS, VECTORS), model.predict(MATRIX, POSTS, VECTORS), check_exact=True)


def test_prediction_lies_in_its_band(trained: tuple[Path, dict[str, Any]]) -> None:
    rows = models.load(trained[0] / "final").predict(MATRIX.reverse(), POSTS, VECTORS)
    assert rows["post_id"].to_list() == MATRIX["post_id"].to_list()
    assert rows.select(
        (pl.col("low") <= pl.col("prediction")).all() & (pl.col("prediction") <= pl.col("high")).all()
    ).item()


def test_posts_without_vectors_and_columns_are_predicted(trained: tuple[Path, dict[str, Any]]) -> None:
    model = models.load(trained[0] / "final")
    rows = model.predict(MATRIX.select("post_id", extra=pl.lit(1.0)), POSTS, VECTORS.clear())
    assert rows.height == COUNT
    assert rows["prediction"].is_finite().all()


def test_no_posts_give_no_predictions(trained: tuple[Path, dict[str, Any]]) -> None:
    assert models.load(trained[0] / "final").predict(MATRIX.clear(), POSTS, VECTORS).is_empty()


def test_importances_add_up_and_point_at_the_signal(trained: tuple[Path, dict[str, Any]]) -> None:
    importances = models.load(trained[0] / "final").importances()
    assert importances["importance"].sum() == pytest.approx(1)
    assert importances.row(0)[:2] == ("followers", "people")
    assert {"title_tags", "picture"} <= set(importances["group"])


def test_changed_file_is_not_parsed(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    models.load(trained[0] / "final").save(tmp_path)
    path = tmp_path / "2-catboost.cbm"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(CheckError, match=r"2-catboost\.cbm is not the file that model\.json names"):
        models.load(tmp_path)


def test_files_of_an_earlier_model_go(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "9-lightgbm.txt").write_text("old")
    models.load(trained[0] / "final").save(tmp_path)
    assert contents(tmp_path) == contents(trained[0] / "final")


def test_no_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no model"):
        models.load(tmp_path)


def test_one_user_is_too_few(tmp_path: Path) -> None:
    alone = LABELS.filter(pl.col("post_id").is_in(["p000", "p030"]))
    with pytest.raises(UserError, match="1 labelled posts of 1 users"):
        train(tmp_path, labels=alone)


def test_progress_counts_every_fit(tmp_path: Path) -> None:
    done: list[int] = []
    train(tmp_path, advance=done.append)
    assert sum(done) == models.fits(SMALL, TrainParams()) == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fold": 3}, "champion.yaml: unknown key 'fold'; did you mean 'folds'"),
        (
            {"learners": {"lightgbm": {"leaves": 3}}},
            "unknown key 'learners.lightgbm.leaves'; did you mean 'num_leaves'",
        ),
        ({"learners": {"own": {"learner": "lightgmb"}}}, "champion.yaml: 'learners.own': .*did you mean 'lightgbm'"),
        ({"learners": {"lightgbm": {"learning_rate": -1}}}, "'learners.lightgbm.learning_rate' is -1: "),
        ({"learners": {"lightgbm": {"num_leaves": 10_000_000}}}, "'learners.lightgbm.num_leaves' is 10000000"),
        ({"learners": {"lightgbm": {"lambda_l2": float("inf")}}}, "'learners.lightgbm.lambda_l2' is inf"),
        ({"learners": {"/../../evil": {"learner": "lightgbm"}}}, "'learners./../../evil' is no name"),
        ({"learners": {"a b|<x>": {"learner": "lightgbm"}}}, "is no name"),
        ({"reductions": {'a b["{},:': {"kind": "words", "column": "words"}}}, "is no name"),
        ({"reductions": {"x": {"kind": "words", "column": "words", "dimension": 3}}}, "did you mean 'dimensions'"),
        ({"reductions": {"x": {"kind": "mixed_model", "penalty": float("inf")}}}, "penalty' is inf"),
        ({"reductions": {"x": {"kind": "words", "column": "words"}}}, "'reductions.x.dimensions' is missing."),
        (
            {"reductions": {"words": {"kind": "words", "column": "words", "dimensions": 2, "words": 1}}},
            "unknown key 'reductions.words.words'",
        ),
        (
            {"reductions": {"folds": {"kind": "mixed_model", "penaltyy": 1}}},
            "unknown key 'reductions.folds.penaltyy'; did you mean 'penalty'",
        ),
        (
            {"learners": {"a": {"learner": "ridge", "columns": ["x"], "vectors": ["y"]}}},
            "'learners.a.vectors' is .*nothing else",
        ),
        ({"learners": {"a": {"learner": "ridge", "columns": ["x", "x"]}}}, "'learners.a.columns' is .*named twice"),
        ({"learners": {"a": {"learner": "ridge", "columns": []}}}, "'learners.a.columns' is "),
        ({"at_night": {"lightgbm": 1}}, "'at_night.lightgbm' is 1"),
        ({"at_night": {"ligthgbm": 99}}, "'at_night' names 'ligthgbm', .*did you mean 'lightgbm'"),
        ({"drop_first": ["catbost"]}, "'drop_first' names 'catbost', .*did you mean 'catboost'"),
        ({"weights": {"lightgbm": 1, "nope": 3}}, "'weights' names 'nope'"),
        ({"weights": {"lightgbm": -1, "catboost": 3}}, "'weights.lightgbm' is -1"),
        ({"weights": {"lightgbm": float("nan")}}, "'weights.lightgbm' is nan"),
        ({"folds_by": "newest", "held": 0.999999}, "'held' is 0.999999"),
    ],
)
def test_wrong_recipe_names_the_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        models.fits({**SMALL, **change}, TrainParams())


def test_columns_that_hold_no_vectors_are_left_out_and_said(tmp_path: Path) -> None:
    reductions = {column: {"kind": "vectors", "column": column, "dimensions": 2} for column in ("words", "user_id")}
    metrics = train(tmp_path, recipe={**SMALL, "vectors": ["title"], "reductions": reductions})
    assert metrics["final"]["left_out"] == {"vectors": ["title"], "reductions": ["user_id", "words"]}


def test_a_number_that_is_a_class_is_no_number_as_well(tmp_path: Path) -> None:
    train(tmp_path, recipe={**SMALL, "classes": ["followers", "followers"]})
    preparation = models.load(tmp_path / "final").members[0].preparation
    assert "followers" in preparation.category_groups
    assert "followers" not in preparation.number_groups


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'champion'"):
        models.fits(SMALL, TrainParams(recipe="champoin"))


def test_shipped_recipe_is_valid() -> None:
    content = yaml.safe_load((template_root() / "recipes" / "champion.yaml").read_text())
    assert models.fits(content, TrainParams()) > 0


def test_learner_that_is_kept_short_learns_from_the_newest_unless_in_full(tmp_path: Path) -> None:
    short = {**SMALL, "learners": {"lightgbm": {"max_iterations": 5}}, "at_night": {"lightgbm": 40}}
    oldest = pl.col("post_id") < "p030"  # never among the newest 40 of a fold
    moved = LABELS.with_columns(popularity=pl.when(oldest).then(pl.col("popularity") + 5).otherwise("popularity"))
    boosters = {}
    for full in (False, True):
        for name, known in {"as_is": LABELS, "moved": moved}.items():
            params, folder = TrainParams(threads=1, full=full), tmp_path / f"{full}-{name}"
            models.train(MATRIX, MANIFEST, POSTS, VECTORS, known, short, params, 0, folder)
            boosters[full, name] = models.load(folder / "final").members[0].learners["lightgbm"].to_bytes()
    assert boosters[True, "as_is"] != boosters[False, "as_is"]
    assert boosters[True, "as_is"] != boosters[True, "moved"]
    assert boosters[False, "as_is"] == boosters[False, "moved"]


def test_what_is_kept_short_is_said() -> None:
    short = {**SMALL, "learners": {"lightgbm": {"max_iterations": 5}}, "folds": 4, "at_night": {"lightgbm": 40}}
    steps = models.steps_of(short, TrainParams(threads=1), 0)
    assert [line for line in steps.kept_short(60) if "newest 40 posts of a fold" in line]
    assert steps.kept_short(50) == []
    assert models.steps_of(short, TrainParams(threads=1, full=True), 0).kept_short(60) == []


def test_newest_positions_keep_what_stands_behind_the_rows() -> None:
    assert newest_positions(POSTS, None, COUNT) is None
    assert newest_positions(POSTS, COUNT, COUNT) is None
    found = newest_positions(POSTS, 3, COUNT + 2)
    assert found is not None
    assert found.tolist() == [117, 118, 119, 120, 121]
