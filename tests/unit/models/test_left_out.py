import polars as pl

from flickcast.models.design import Preparation, PreparationSettings
from flickcast.models.ensemble_settings import EnsembleSettings
from flickcast.models.left_out import left_out, notes
from flickcast.models.reductions import Training

MANIFEST = {"size": {"group": "picture_text", "kind": "number"}, "hour": {"group": "time_place", "kind": "number"}}
ROWS = pl.DataFrame(
    {
        "size": [1.0, 2.0, 3.0, 4.0],
        "hour": [1.0, 2.0, 3.0, 4.0],
        "picture": [[1.0, 2.0], [0.0, 1.0], [4.0, 5.0], None],
        "user_id": ["a"] * 4,
    },
    schema_overrides={"picture": pl.List(pl.Float32)},
)
VECTORS = {"kind": "vectors", "dimensions": 1}


def told(rows: pl.DataFrame = ROWS, **settings: object) -> dict[str, object]:
    wanted = PreparationSettings.model_validate(settings)
    return left_out(wanted, [Preparation.fit(Training(rows, seed=0), MANIFEST, wanted)[0]], {})


def test_nothing_named_is_nothing_left_out() -> None:
    assert told() == {}
    assert notes("champion", {}) == ()


def test_each_kind_names_what_is_absent_and_nothing_else() -> None:
    wanted = {"a": {**VECTORS, "column": "picture"}, "b": {**VECTORS, "column": "text"}}
    assert told(groups=["picture_text", "trends"]) == {"groups": ["trends"]}
    assert told(columns=["size", "width"]) == {"columns": ["width"]}
    assert told(vectors=["picture", "text"]) == {"vectors": ["text"]}
    assert told(reductions=wanted) == {"reductions": ["b"]}


def test_a_column_that_a_learner_reads_and_nothing_makes_is_told() -> None:
    learners = {"lightgbm": {}, "linear": {"learner": "ridge", "columns": ["size", "sise", "own_level_fixed"]}}
    wanted = EnsembleSettings.model_validate({"learners": learners})
    preparation, _ = Preparation.fit(Training(ROWS, seed=0), MANIFEST, wanted)
    found = left_out(wanted, [preparation], {})
    assert found == {"read": ["own_level_fixed", "sise"]}
    assert notes("champion", found) == (
        "champion leaves out columns that a learner reads and nothing makes: own_level_fixed, sise.",
    )


def test_what_one_fold_has_is_not_left_out() -> None:
    wanted = PreparationSettings(vectors=["picture"])
    folds = (ROWS, ROWS.with_columns(picture=pl.lit(None, ROWS.schema["picture"])))
    preparations = [Preparation.fit(Training(rows, seed=0), MANIFEST, wanted)[0] for rows in folds]
    assert left_out(wanted, preparations[1:], {}) == {"vectors": ["picture"]}
    assert left_out(wanted, preparations, {}) == {}


def test_stand_in_is_said_only_where_it_was_needed() -> None:
    assert told(vectors=["blip"], instead={"blip": "picture"}) == {"instead": {"blip": "picture"}}
    assert told(vectors=["blip"], instead={"blip": "text"}) == {"vectors": ["blip"]}
    there = ROWS.with_columns(blip=pl.col("picture"))
    assert told(there, vectors=["blip"], instead={"blip": "picture"}) == {}


def test_stand_in_is_kept_with_the_preparation() -> None:
    wanted = PreparationSettings(vectors=["blip"], instead={"blip": "picture"})
    made, _ = Preparation.fit(Training(ROWS, seed=0), MANIFEST, wanted)
    again = Preparation.restore(made.facts(), made.arrays())
    assert again.design(ROWS).vectors["blip"][:2].tolist() == [[1, 2], [0, 1]]
    assert again.reads == set()


def test_one_sentence_for_each_kind_and_learner() -> None:
    found = {"groups": ["trends"], "instead": {"blip": "picture"}, "learners": {"autogluon": "it is not here"}}
    assert notes("fame", found) == (
        "fame leaves out feature groups without a column in the matrix: trends.",
        "fame reads other encoders in the place of those it names: picture for blip.",
        "fame leaves out autogluon: it is not here.",
    )
