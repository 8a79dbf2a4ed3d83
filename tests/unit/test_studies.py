"""`flickcast evaluate` on a trained workspace: what it keeps, and the studies that leave models and metrics alone."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from flickcast import models
from flickcast.metrics import measures
from flickcast.models.contributions import contributions
from flickcast.models.importances import importances
from flickcast.models.univariate import columns_alone
from flickcast.stages.evaluating import Judged, evaluate
from flickcast.stages.matrix import feature_manifest
from flickcast.workspace import Workspace

STAGE = yaml.safe_load((Path(__file__).parents[2] / "dvc.yaml").read_text())["stages"]["evaluate"]


def contents(ws: Workspace, *folders: str) -> dict[str, str]:
    paths = [path for folder in folders for path in sorted((ws.root / folder).rglob("*")) if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def kept(trained: Workspace) -> dict[str, pl.DataFrame]:
    """The plots of the stage."""
    evaluate(trained)
    return {path.stem: pl.read_csv(path) for path in sorted((trained.root / "plots").glob("*.csv"))}


def test_every_plot_of_dvc_yaml_names_columns_that_are_there(kept: dict[str, pl.DataFrame]) -> None:
    plots = {Path(path).stem: plot for entry in STAGE["plots"] for path, plot in entry.items()}
    assert plots.keys() == kept.keys()
    assert all({plot["x"], plot["y"]} <= set(kept[name].columns) for name, plot in plots.items())


def test_segments_are_kept_as_json_that_dvc_lists(trained: Workspace, kept: dict[str, pl.DataFrame]) -> None:
    assert "metrics/segments.json" in [next(iter(out)) for out in STAGE["outs"]]
    found = json.loads((trained.root / "metrics" / "segments.json").read_text())
    assert {kind: sum(one["rows"] for one in parts.values()) for kind, parts in found.items()} == dict.fromkeys(
        found, 56
    )
    assert set(found["user"]) == {"first posts", "known users"}
    assert set(found["category"]["c1"]) == {"rows", "model", "user_mean"}


def test_first_posts_are_those_of_users_without_an_earlier_one(trained: Workspace) -> None:
    cold = Judged.of(trained).test.filter("is_cold_start")
    assert cold.height > 5
    assert cold["user_id"].str.starts_with("n").all()


def test_importances_list_groups_first_and_name_the_papers(trained: Workspace, kept: dict[str, pl.DataFrame]) -> None:
    table = kept["importances"]
    levels = table["level"].to_list()
    assert levels == sorted(levels, reverse=True), "groups, then columns"
    manifest = feature_manifest(trained)
    known = {name: source for name, source in table.select("name", "source").iter_rows() if name in manifest}
    assert known
    assert {name: source or "" for name, source in known.items()} == {name: manifest[name]["source"] for name in known}
    assert {"title_tags", "picture"} <= set(table["group"])
    assert table.filter(pl.col("level") == "group")["gain"].sum() == pytest.approx(1)


def test_shap_of_groups_is_that_of_their_columns_together(trained: Workspace) -> None:
    model, judged = models.load(trained.root / "models" / "champion" / "holdout"), Judged.of(trained)
    rows = models.gather(judged.tested, judged.test, trained.vectors())
    alone = columns_alone(judged.sampled(), feature_manifest(trained), 0)
    table = importances(model, rows, alone, 0).filter(pl.col("level") == "group")
    taken = contributions(model, rows)
    for name, value in table.select("group", "shap").iter_rows():
        assert value == pytest.approx(abs(taken.by("group")[name]).mean())


def test_without_a_part_is_a_refit_and_changes_nothing_that_is_kept(
    trained: Workspace, kept: dict[str, pl.DataFrame], flickcast: Callable[..., Any]
) -> None:
    before = contents(trained, "models", "metrics", "plots", "data")
    done = flickcast("evaluate", "-w", trained.root, "--without", "text+user", "--without", "folds", "--json")
    assert done.code == 0, done.err
    rows = json.loads(done.out)["facts"]["rows"]
    assert list(rows) == ["whole", "without text+user", "without folds"]
    whole = json.loads((trained.root / "metrics" / "evaluation.json").read_text())["model"]
    assert rows["whole"]["mae"] == pytest.approx(whole["mae"])
    difference = rows["without text+user"]["differences"]["mae"]
    assert difference["difference"] == pytest.approx(rows["without text+user"]["mae"] - whole["mae"])
    assert difference["low"] > 0.2, "popularity follows user and title: the recipe must be worse without both"
    assert contents(trained, "models", "metrics", "plots", "data") == before


def test_without_an_unknown_part_names_the_nearest(trained: Workspace, flickcast: Callable[..., Any]) -> None:
    done = flickcast("evaluate", "-w", trained.root, "--without", "vizual")
    assert (done.code, done.out) == (2, "")
    assert "--without vizual" in done.err
    assert "did you mean 'visual'?" in done.err


def test_two_studies_at_once_are_refused(trained: Workspace, flickcast: Callable[..., Any]) -> None:
    assert flickcast("evaluate", "-w", trained.root, "--without", "text", "--univariate").code == 2


def test_each_input_alone_is_told(trained: Workspace, flickcast: Callable[..., Any]) -> None:
    done = flickcast("evaluate", "-w", trained.root, "--univariate")
    assert done.code == 0, done.err
    assert "Each theme alone" in done.out
    told = json.loads((trained.root / "reports" / "univariate.json").read_text())
    themes = {row["theme"]: row["src"] for row in told["themes"]}
    assert set(themes) == {"visual", "text", "user", "time", "place", "topic", "time+place"}
    assert min(themes["user"], themes["text"]) > max(themes["time"], themes["place"], 0.3)
    assert len(told["columns"]) == len(feature_manifest(trained))


def test_the_whole_is_what_the_stage_measured(trained: Workspace, kept: dict[str, pl.DataFrame]) -> None:
    judged = Judged.of(trained)
    model = models.load(trained.root / "models" / "champion" / "holdout")
    said = model.predict(judged.tested, judged.test, trained.vectors())["prediction"]
    row = kept["predictors"].filter(pl.col("predictor") == "model").row(0, named=True)
    assert row["mae"] == pytest.approx(measures(judged.test.sort("post_id")["popularity"], said)["mae"])
