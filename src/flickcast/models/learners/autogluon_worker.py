"""AutoGluon's side: runs with the Python of its own environment, where no other part of flickcast can be imported.

`python -I autogluon_worker.py fit|predict|importances FOLDER PARENT` reads and writes Parquet and JSON in that folder,
which is temporary: what AutoGluon keeps beside them are pickles. `-I` because `import lightgbm` would otherwise find
the module beside this one. PARENT is the process with which it ends.
"""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

LABEL, WEIGHT = "label", "weight"
IMPORTANCE_ROWS, IMPORTANCE_SECONDS = 1000, 60
# Whether stacking helps is found out by a fit of a quarter of the time. Where no model is ready by then, AutoGluon
# 1.6.3 without ray fails with "Learner is already fit" (2026-11-22, 30 s on busy cores).
DYNAMIC_SECONDS = 300
LAST_SECONDS = 2.0  # what it still does when the time for models is over


def fit(folder: Path) -> None:
    """Fit on train.parquet by settings.json; about.json says which models the ensemble weighs."""
    from autogluon.tabular import TabularPredictor

    asked, rows = json.loads((folder / "settings.json").read_text()), _rows(folder / "train.parquet")
    predictor = TabularPredictor(
        LABEL,
        problem_type="regression",
        eval_metric=asked["eval_metric"],
        path=str(folder / "model"),
        sample_weight=WEIGHT if WEIGHT in rows.columns else None,
        verbosity=0,
    )
    stacking = asked["time_limit"] >= DYNAMIC_SECONDS and asked["presets"] != "medium_quality"
    seeds = {"model_random_seed": asked["seed"], "vary_seed_across_folds": True}
    predictor.fit(
        rows,
        time_limit=asked["until"] - time.time() - LAST_SECONDS,
        presets=asked["presets"],
        included_model_types=asked["included_model_types"],
        dynamic_stacking=stacking,
        num_cpus=asked["threads"],
        num_gpus=0,
        ag_args_ensemble=seeds if asked["presets"] != "medium_quality" else None,  # that one fits each model once
    )
    (folder / "about.json").write_text(json.dumps({"models": _weighed(predictor)}))


def predict(folder: Path) -> None:
    """predictions.parquet from rows.parquet."""
    found = _fitted(folder).predict(_rows(folder / "rows.parquet"), as_pandas=True)
    found.to_frame("prediction").to_parquet(folder / "predictions.parquet", index=False)


def importances(folder: Path) -> None:
    """importances.json: how much worse it is on training rows when a column is shuffled."""
    rows = _rows(folder / "train.parquet")
    worse = _fitted(folder).feature_importance(
        rows.drop(columns=WEIGHT, errors="ignore"),
        subsample_size=IMPORTANCE_ROWS,
        time_limit=IMPORTANCE_SECONDS,
        include_confidence_band=False,
        silent=True,
    )
    (folder / "importances.json").write_text(json.dumps(worse["importance"].to_dict()))


def _fitted(folder: Path) -> Any:
    from autogluon.tabular import TabularPredictor

    return TabularPredictor.load(str(folder / "model"), verbosity=0)


def _weighed(predictor: Any) -> list[str]:
    """The names of the models that the best one is put together from."""
    best = predictor.model_best
    parts = predictor.model_info(best).get("children_info", {})
    weights: dict[str, float] = {}
    for part in parts.values():
        weights |= part.get("model_weights", {})
    return sorted(weights) or [best]


def _rows(path: Path) -> "pd.DataFrame":
    import pandas as pd

    rows = pd.read_parquet(path)
    codes = [name for name in rows.columns if name.startswith("code")]
    return rows.astype(dict.fromkeys(codes, "category"))


STEPS: dict[str, Callable[[Path], None]] = {"fit": fit, "predict": predict, "importances": importances}


def _end_with_parent(parent: int) -> None:
    """Whatever ends the process that started us ends us as well (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it ended before we could ask
        sys.exit(1)


if __name__ == "__main__":
    _end_with_parent(int(sys.argv[3]))
    STEPS[sys.argv[1]](Path(sys.argv[2]))
