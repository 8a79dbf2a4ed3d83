"""Pseudo-labels in the stage `train`: the model to be judged learns nothing of the labels it is judged by."""

import json
from pathlib import Path
from typing import Any

import judgeable
import numpy as np
import polars as pl
import pytest

JUDGED = pl.col("post_id").is_between(pl.lit("p224"), pl.lit("p279"))  # the newest 20 % of the labelled posts


def trained(root: Path, patch: pytest.MonkeyPatch, change: pl.Expr | None) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Metrics of `train`, and the files of the holdout model, in a workspace whose labels are changed first."""
    batch = judgeable._batch

    def changed(*how: Any) -> Any:
        made = batch(*how)
        labels = made.imported_labels.with_columns(popularity=change)
        return judgeable.replace(made, imported_labels=labels)

    with patch.context() as inside:
        inside.setattr(judgeable, "RECIPE", {**judgeable.RECIPE, "pseudo": {"alpha": -0.5, "rounds": 2, "days": None}})
        if change is not None:
            inside.setattr(judgeable, "_batch", changed)
        ws = judgeable.judgeable(root)
    holdout = root / "models" / "champion" / "holdout"
    files = {path.name: path.read_bytes() for path in sorted(holdout.iterdir()) if path.suffix != ".json"}
    return json.loads((ws.root / "metrics" / "train.json").read_text()), files


def test_labels_of_the_newest_fifth_reach_no_pseudo_label_of_holdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = pl.Series(np.random.default_rng(5).normal(6, 4, 280))
    other = pl.when(JUDGED).then(noise).otherwise("popularity")
    metrics, files = trained(tmp_path / "one", monkeypatch, None)
    changed, same = trained(tmp_path / "two", monkeypatch, other)
    assert files == same
    assert metrics["holdout"] == changed["holdout"]
    assert metrics["final"] != changed["final"]
    assert (metrics["holdout"]["pseudo"]["pool"], metrics["final"]["pseudo"]["pool"]) == (56, 20)
    assert metrics["holdout"]["pseudo"]["posts"][0] > 0
