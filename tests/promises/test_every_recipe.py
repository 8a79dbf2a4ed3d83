"""Every recipe runs from the official SMPD-Image files to an explained prediction, and predicts real posts."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from comparable import NOW, START, up_to_the_matrix

from flickcast import stages
from flickcast.elsewhere import predict_elsewhere
from flickcast.models import RECIPES
from flickcast.simulate.corpus import write_corpus
from flickcast.simulate.world import World, WorldParams
from flickcast.stages.explaining import explain
from flickcast.workspace import Workspace, create_workspace, set_params

LAST = START + timedelta(days=29)
TESTED_FROM = date(2026, 1, 28)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("official") / "corpus"
    world = World(WorldParams(seed=4, users=40, posts_per_day=8, start=START))
    write_corpus(world, folder, START, LAST, NOW, pictures=True, test_from=TESTED_FROM)
    return folder


@pytest.fixture(scope="module")
def described(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("every") / "workspace"
    others = "[lsa-text, statistics-picture]"
    create_workspace(root, {"embed.encoder": "flickcast-tiny", "embed.others": others, "train.threads": "1"})
    ws = Workspace(root)
    stages.import_batch(ws, stages.read_source("smpd-image", corpus))
    stages.embed(ws)
    return up_to_the_matrix(ws)


def trained(recipe: str, described: Workspace) -> Workspace:
    """The workspace with a model of the recipe."""
    set_params(described.root / "params.yaml", {"train.recipe": recipe})
    ws = Workspace(described.root)
    if not (ws.root / "models" / recipe / "final").exists():
        stages.train(ws)
    return ws


@pytest.mark.slow
@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_a_recipe_learns_predicts_and_explains(recipe: str, described: Workspace) -> None:
    ws = trained(recipe, described)
    stages.evaluate(ws)
    stages.predict(ws)
    said = ws.read("predictions").filter(pl.col("model").str.starts_with(recipe))
    tested = ws.read("posts").join(ws.read("labels"), on="post_id", how="anti")
    assert set(said["post_id"]) == set(tested["post_id"])
    assert tested.height > 10
    assert said["prediction"].is_finite().all()
    assert (said["low"] <= said["high"]).all()
    told = explain(ws, said["post_id"][0])
    assert np.isclose(told.prediction, said["prediction"][0], atol=1e-3)


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_a_recipe_predicts_real_posts(recipe: str, described: Workspace, shared_data: Path, tmp_path: Path) -> None:
    """They come without users and pictures."""
    ws = trained(recipe, described)
    report = predict_elsewhere(ws, "smpd-image", shared_data / "smpd_image" / "posts_200", tmp_path / "real.parquet")
    real = pl.read_parquet(tmp_path / "real.parquet")
    assert report.facts["predicted"] == real.height == 200
    assert real["prediction"].is_finite().all()
    assert real["prediction"].std() > 0.01
