"""`flickcast explain`: parts that add up, sentences, a picture; user text stays text."""

import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from judgeable import HOSTILE

from flickcast import models
from flickcast.explain import Explanation, Scale
from flickcast.explain.chart import svg
from flickcast.explain.words import APART, GROUPS, KINDS, factor, group_in_words, sentences, value_in_words
from flickcast.features import GROUPS as FEATURE_GROUPS
from flickcast.models.contributions import contributions
from flickcast.models.reductions import REDUCTIONS
from flickcast.models.reductions.mixed_model import MixedModel
from flickcast.stages.evaluating import Judged
from flickcast.stages.explaining import explain, keep_picture, nearest_id, vectors_of
from flickcast.stages.forgetting import forget
from flickcast.workspace import Workspace

UNLABELLED, TESTED, LEARNT = "p299", "p275", "p010"
TOLD = Explanation(
    post_id="p1",
    user_id="u1",
    title="a boat",
    posted_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
    model="champion-1",
    prediction=10.0,
    low=9.0,
    high=11.0,
    band=0.8,
    base=8.0,
    fusion=0.0,
    calibration=0.5,
    themes=[],
    groups=[
        {"group": "user_popularity", "theme": "user", "kind": None, "contribution": 2.0},
        {"group": "looks", "theme": "visual", "kind": "vectors", "contribution": -0.5},
    ],
    columns=[
        {"column": "user_popularity_mean", "group": "user_popularity", "theme": "user", "contribution": 2.0},
        {"column": "looks_1", "group": "looks", "theme": "visual", "contribution": -0.5},
    ],
    members=[],
)


@pytest.fixture(scope="module", params=[UNLABELLED, TESTED, LEARNT])
def told(request: pytest.FixtureRequest, trained: Workspace) -> Explanation:
    return explain(trained, request.param)


def test_contributions_add_up_to_the_prediction(told: Explanation) -> None:
    for parts in (told.columns, told.groups, told.themes):
        total = told.base + sum(part["contribution"] for part in parts) + told.fusion + told.calibration
        assert total == pytest.approx(told.prediction, abs=1e-6)


def test_members_and_learners_add_up_to_the_prediction(told: Explanation) -> None:
    fused = [sum(one["weight"] * one["prediction"] for one in member.values()) for member in told.members]
    assert np.mean(fused) + told.fusion + told.calibration == pytest.approx(told.prediction, abs=1e-6)


def test_the_prediction_is_the_models_own(trained: Workspace) -> None:
    """Of a post that is not judged: read through few parts of the tables, it must be what `predict` says."""
    model = models.load(trained.root / "models" / "champion" / "final")
    rows = model.predict(trained.read("features"), trained.read("posts"), trained.vectors(model.reads))
    said = rows.filter(pl.col("post_id") == UNLABELLED).row(0, named=True)
    found = explain(trained, UNLABELLED)
    assert (found.prediction, found.low, found.high) == pytest.approx((said["prediction"], said["low"], said["high"]))


def test_a_group_that_nothing_depends_on_contributes_next_to_nothing(trained: Workspace) -> None:
    """Hours are the same four of each day in turn; users and titles make the popularity."""
    model, judged = models.load(trained.root / "models" / "champion" / "holdout"), Judged.of(trained)
    taken = contributions(model, models.gather(judged.tested, judged.test, trained.vectors())).by("group")
    mean = {name: float(np.abs(values).mean()) for name, values in taken.items()}
    assert mean["user_cadence"] < 0.1 * max(mean.values())


def test_a_post_that_judged_the_model_is_explained_by_one_that_never_met_it(trained: Workspace) -> None:
    found = {one: explain(trained, one) for one in (UNLABELLED, TESTED, LEARNT)}
    assert found[UNLABELLED].model == found[LEARNT].model != found[TESTED].model
    assert (found[UNLABELLED].label, found[TESTED].is_learnt_from, found[LEARNT].is_learnt_from) == (None, False, True)
    assert "has learnt from this very post" in " ".join(sentences(found[LEARNT]))


def test_the_past_is_of_the_user_and_was_known_then(trained: Workspace) -> None:
    found = explain(trained, UNLABELLED)
    posts = trained.read("posts").join(trained.read("labels"), on="post_id")
    at = found.posted_at
    own = posts.filter((pl.col("user_id") == found.user_id) & (pl.col("matured_at") <= at) & (pl.col("posted_at") < at))
    assert sorted(found.past) == sorted(own["popularity"])
    assert found.past


def test_the_most_alike_posts_are_known_ones_by_exact_cosine(trained: Workspace) -> None:
    found = explain(trained, UNLABELLED).alike
    ids, vectors = trained.matrix(trained.params.embed.pair[0])
    unit = vectors.astype(float) / np.linalg.norm(vectors.astype(float), axis=1, keepdims=True)
    cosines = dict(zip(ids, unit @ unit[ids.to_list().index(UNLABELLED)], strict=True))
    known = set(trained.read("labels")["post_id"]) - {UNLABELLED}
    assert [one["post_id"] for one in found] == sorted(known, key=lambda one: -cosines[one])[:3]
    assert [one["cosine"] for one in found] == pytest.approx([cosines[one["post_id"]] for one in found], abs=1e-3)


def test_vectors_of_a_few_posts_are_those_of_all(trained: Workspace) -> None:
    everything = trained.vectors()
    some = vectors_of(trained, pl.Series("post_id", ["p003", "p001"]), [])
    expected = everything.filter(pl.col("post_id").is_in(["p001", "p003"]))
    assert some["picture"].to_list() == expected["picture"].to_list()
    assert some["text"].null_count() == 2


def test_an_unknown_post_names_the_nearest(trained: Workspace, flickcast: Callable[..., Any]) -> None:
    done = flickcast("explain", "p2999", "-w", trained.root)
    assert (done.code, done.out) == (2, "")
    assert "did you mean 'p299'?" in done.err


@pytest.mark.parametrize(
    ("asked", "known", "found"),
    [("12346", ["12345", "99999"], "12345"), ("x12345", ["12345", "yyyyy"], "12345"), ("abc", ["q"], "q")],
)
def test_the_nearest_id_is_looked_for_from_both_ends(asked: str, known: list[str], found: str) -> None:
    assert nearest_id(asked, pl.Series(known)) == found


def test_the_command_tells_and_draws(trained: Workspace, flickcast: Callable[..., Any]) -> None:
    done = flickcast("explain", TESTED, "-w", trained.root)
    assert done.code == 0, done.err
    assert done.out.startswith(f"Post {TESTED} ")
    assert (trained.root / "reports" / "explain" / f"{TESTED}.svg").is_file()
    assert f"{TESTED}.svg" in done.err


@pytest.mark.parametrize("name", ["params.yaml", "reports", "nowhere/x.svg", "/dev/null", "pipe.svg"])
def test_the_picture_replaces_nothing_but_a_picture(
    trained: Workspace, flickcast: Callable[..., Any], name: str
) -> None:
    os.mkfifo(trained.root / "pipe.svg")
    try:
        before = (trained.root / "params.yaml").read_bytes()
        done = flickcast("explain", TESTED, "-w", trained.root, "--out", trained.root / name)
        assert (done.code, done.out) == (2, "")
        assert "name a file that ends in .svg" in done.err
        assert (trained.root / "params.yaml").read_bytes() == before
        assert (trained.root / "pipe.svg").is_fifo()
    finally:
        (trained.root / "pipe.svg").unlink()


def test_json_holds_all_parts(trained: Workspace, flickcast: Callable[..., Any]) -> None:
    found = json.loads(flickcast("explain", UNLABELLED, "-w", trained.root, "--json").out)
    total = (
        found["base"] + sum(one["contribution"] for one in found["columns"]) + found["fusion"] + found["calibration"]
    )
    assert total == pytest.approx(found["prediction"], abs=1e-6)
    assert found["title"] == HOSTILE
    assert found["views"]["prediction"] == pytest.approx(2 ** found["prediction"] - 1)


@pytest.mark.parametrize("field", ["title", "user_id", "post_id"])
def test_hostile_text_is_text_in_the_picture_and_on_the_terminal(field: str) -> None:
    hostile = HOSTILE + "\ufffe\n]]><!-- \x00 -->&lt;"
    told = replace(TOLD, **{field: hostile})
    drawn = ElementTree.fromstring(svg(told))
    assert {part.tag.rpartition("}")[2] for part in drawn.iter()} == {"svg", "rect", "text", "line"}
    assert any("<script>" in (part.text or "") for part in drawn.iter())
    told_lines = sentences(told)
    assert len(told_lines) == len(sentences(TOLD))
    assert not any(one in line for line in told_lines for one in ("\x1b", "\u202e", "\x00", "\n"))


def test_hostile_names_of_columns_and_values_are_text_too() -> None:
    columns = [{**TOLD.columns[0], "column": HOSTILE, "value": HOSTILE, "unit": ""}]
    drawn = ElementTree.fromstring(svg(replace(TOLD, columns=columns)))
    assert {part.tag.rpartition("}")[2] for part in drawn.iter()} == {"svg", "rect", "text", "line"}
    assert any("<script>" in (part.text or "") for part in drawn.iter())


def test_the_picture_of_a_post_with_any_id_stays_in_its_folder(trained: Workspace) -> None:
    for post_id in ("../../out", "/etc/x", "a/b", ".hidden", "x" * 300, "\x00"):
        path = keep_picture(trained, replace(TOLD, post_id=post_id))
        assert path.resolve().parent == (trained.root / "reports" / "explain").resolve()
        path.unlink()


def test_who_is_forgotten_is_on_no_picture(workspace: Workspace) -> None:
    path = keep_picture(workspace, replace(TOLD, user_id="a&b", post_id="other"))
    forget(workspace, "user", ["a&b"], datetime(2026, 3, 1, tzinfo=UTC), even_if_unknown=True)
    assert not path.exists()


def test_a_story_by_hand() -> None:
    told = replace(TOLD, label=9.5, past=[8.0, 9.0, 11.0])
    assert sentences(told) == [
        'Post p1 "a boat" by u1, posted 2026-03-01 12:00 UTC.',
        "It should reach about 1,020 views (popularity 10.00 = log2(views + 1)); 80% of posts like it end between 511 "
        "and 2,050 (9.00 to 11.00).",
        "In truth it had 723 views (9.50). The model that is asked here has not learnt from this post.",
        "Knowing nothing of a post the model starts at 255 views (8.00); from there each thing it looks at multiplies "
        "them.",
        "Up: how the user's earlier posts did ×4.00.",
        "Down: the picture itself ×0.71.",
        "All else together ×1.00; the calibration on posts of users like this one ×1.41.",
        "Of the user's 3 earlier posts whose popularity was known, the middle half had 361 to 1,020 views (median "
        "511); the prediction is above 67% of them.",
    ]


def test_by_the_papers_formula_it_is_views_a_day() -> None:
    assert "about 512 views a day (popularity 10.00 = log2(views a day) + 1)" in " ".join(
        sentences(replace(TOLD, scale=Scale("log2_views_per_day")))
    )


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ({"value": 2.3978953, "unit": "log(1 + posts)"}, "10 posts"),
        ({"value": 0.6931472, "unit": "log(1 + n)"}, "1"),
        ({"value": 2.302585, "unit": "log ratio of n + 1"}, "a ratio of 10"),
        ({"value": 8.172, "unit": "popularity"}, "popularity 8.17"),
        ({"value": None, "unit": "days"}, "not known"),
        ({"value": 1.0, "unit": "0 or 1"}, "yes"),
        ({"value": "c3", "unit": ""}, "c3"),
        ({}, ""),
    ],
)
def test_values_are_said_as_counts(column: dict[str, Any], said: str) -> None:
    assert value_in_words(column) == said


def test_every_group_and_kind_has_words() -> None:
    assert set(GROUPS) == set(FEATURE_GROUPS)
    assert set(KINDS) == set(REDUCTIONS)
    assert set(APART) == {"expected"} == set(MixedModel("level", [], {}, None, None, None).apart.values())
    assert group_in_words({"group": "text", "theme": "text", "kind": "vectors"}) == "the text itself"
    assert factor(1) == "×2.00"
