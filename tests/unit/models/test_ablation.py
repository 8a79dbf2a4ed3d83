"""What is left of a recipe without one of its parts, and of rows without their columns."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from reducible import settings

from flickcast.errors import UserError
from flickcast.models import recipe_of
from flickcast.models.ablation import Reduced, only, parts, without
from flickcast.models.ensemble_settings import without_learners
from flickcast.models.reductions import REDUCTIONS
from flickcast.models.themes import THEMES, of_reduction
from flickcast.params import read_yaml
from flickcast.workspace import template_root

MANIFEST = {
    "tag_count": {"group": "words", "kind": "number"},
    "hour": {"group": "time_place", "kind": "number"},
    "latitude": {"group": "time_place", "kind": "number"},
    "log_followers": {"group": "people", "kind": "number"},
    "category": {"group": "categories", "kind": "category"},
    "width": {"group": "picture_text", "kind": "number"},
}
RECIPE: dict[str, Any] = {
    "learners": {"lightgbm": {}, "catboost": {}},
    "weights": {"lightgbm": 0.4, "catboost": 0.6},
    "vectors": ["picture", "vilt-both", "glove-title"],
    "texts": ["words"],
    "reductions": {
        "title_tags": {"kind": "words", "dimensions": 3},
        "looks": {"kind": "vectors", "column": "picture", "dimensions": 3},
        "reach": {"kind": "mixed_model"},
        "where": {"kind": "user_places", "dimensions": 3},
    },
    "pseudo": {"rounds": 2},
    "outlier_factor": 1.5,
}
VECTORS = ["picture", "text", "vilt-both", "glove-title"]
ROWS = pl.DataFrame(
    {
        **{name: [1.0] for name in MANIFEST},
        "post_id": ["a"],
        "user_id": ["u"],
        "title": ["t"],
        "tags": [["t"]],
        "longitude": [1.0],
        **{name: [[1.0]] for name in VECTORS},
    }
)


def cut(names: str) -> Reduced:
    return without(names, RECIPE, MANIFEST, VECTORS)


def known(rows: pl.DataFrame) -> set[str]:
    return {name for name in rows.columns if rows[name].null_count() == 0}


@pytest.mark.parametrize(
    ("name", "columns", "reductions", "vectors"),
    [
        ("visual", {"width", "picture", "vilt-both"}, {"looks"}, ["glove-title"]),
        ("text", {"tag_count", "title", "tags", "text", "vilt-both", "glove-title"}, {"title_tags"}, ["picture"]),
        ("user", {"log_followers"}, {"reach"}, RECIPE["vectors"]),
        ("time", {"hour"}, set(), RECIPE["vectors"]),
        ("place", {"latitude", "longitude"}, {"where"}, RECIPE["vectors"]),
        ("time_place", {"hour", "latitude"}, set(), RECIPE["vectors"]),
        ("picture", {"picture"}, set(), ["vilt-both", "glove-title"]),
        ("title_tags", set(), {"title_tags"}, RECIPE["vectors"]),
    ],
)
def test_inputs_go_missing_everywhere(name: str, columns: set[str], reductions: set[str], vectors: list[str]) -> None:
    left = cut(name)
    assert known(ROWS) - known(left.rows(ROWS)) == columns
    assert set(MANIFEST) - set(left.manifest) == columns & set(MANIFEST)
    assert set(RECIPE["reductions"]) - set(left.content["reductions"]) == reductions
    assert left.content["vectors"] == vectors
    assert left.rows(ROWS).schema == ROWS.schema
    assert left.rows(ROWS)["user_id"].to_list() == ["u"]


def test_a_theme_is_more_than_the_vectors_of_its_name() -> None:
    left = without("text", RECIPE | {"vectors": ["picture", "text"]}, MANIFEST, VECTORS)
    assert "title_tags" not in left.content["reductions"]
    assert "tag_count" not in left.manifest


def test_what_stands_in_can_be_taken_away_and_nothing_stands_in_for_what_is() -> None:
    recipe = RECIPE | {
        "vectors": ["bert-text", "glove-title"],
        "instead": {"bert-text": "text", "glove-title": "lsa-text"},
    }
    names = ["picture", "lsa-text", "glove-title"]
    gone = without("glove-title", recipe, MANIFEST, names)
    assert (gone.content["vectors"], gone.content["instead"]) == (["bert-text"], {"bert-text": "text"})
    assert "lsa-text" not in parts(Reduced(recipe, MANIFEST), names), "glove-title is there"
    assert "lsa-text" in parts(Reduced(recipe, MANIFEST), ["lsa-text"])


def test_every_kind_of_reduction_tells_of_a_theme() -> None:
    """One that is missing in themes.py would count as topic: `--without text` would leave a new kind of words in."""
    themes = {kind: of_reduction(kind, settings(kind))[0] for kind in REDUCTIONS}
    assert set(themes.values()) <= set(THEMES)
    assert [kind for kind, theme in themes.items() if theme == "topic"] == ["target_encoding"]


def test_a_learner_goes_with_its_weight() -> None:
    assert cut("catboost").content["learners"] == {"lightgbm": {}}
    assert cut("catboost").content["weights"] == {"lightgbm": 0.4}
    named = without_learners({"learners": {"a": {}, "b": {}}, "drop_first": ["a", "b"], "at_night": {"a": 9}}, ["a"])
    assert named == {"learners": {"b": {}}, "drop_first": ["b"], "at_night": {}}


def test_steps_are_switched_off() -> None:
    left = cut("pseudo-labels+filter+folds").content
    assert (left["pseudo"], left["outlier_factor"], left["folds_by"]) == (None, None, "newest")


def test_parts_with_a_plus_sign_go_together() -> None:
    assert known(ROWS) - known(cut("time+user").rows(ROWS)) == {"hour", "log_followers"}


@pytest.mark.parametrize(
    ("name", "said"),
    [("vizual", "did you mean 'visual'"), ("catbost", "'catboost'"), ("pseudo_labels", "'pseudo-labels'")],
)
def test_an_unknown_part_names_the_nearest(name: str, said: str) -> None:
    with pytest.raises(UserError, match=f"--without {name}: .*{said}"):
        cut(name)


def test_a_part_that_the_recipe_does_not_have_is_not_offered() -> None:
    plain = Reduced({"learners": {"ridge": {}}, "folds_by": "newest"}, {"hour": MANIFEST["hour"]})
    assert set(parts(plain, [])) == {"time", "time_place"}


def test_the_last_learner_cannot_go() -> None:
    with pytest.raises(UserError, match="'lightgbm' cannot go as well: it is the last"):
        cut("catboost+lightgbm")


@pytest.mark.parametrize("names", ["", "+", "user+", "user+user"])
def test_a_part_is_named_once(names: str) -> None:
    with pytest.raises(UserError, match="each once"):
        cut(names)


def test_only_a_theme_is_the_opposite() -> None:
    left = only("text", RECIPE, MANIFEST, VECTORS)
    assert set(left.manifest) == {"tag_count"}
    assert set(left.content["reductions"]) == {"title_tags"}
    assert left.content["vectors"] == ["vilt-both", "glove-title"]


@pytest.mark.parametrize("path", sorted((template_root() / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_is_one_without_each_of_its_parts(path: Path) -> None:
    content = read_yaml(path)
    names = parts(Reduced(content, MANIFEST), [*VECTORS, *content.get("vectors", ())])
    assert {"text", "user"} <= set(names)
    for name in names:
        left = without(name, content, MANIFEST, VECTORS + content.get("vectors", []))
        assert recipe_of(path.stem, left.content, 0, 1).fits > 0


def test_the_recipe_itself_is_left_alone() -> None:
    before = repr(RECIPE)
    cut("visual+text+user+catboost+pseudo-labels")
    assert repr(RECIPE) == before
