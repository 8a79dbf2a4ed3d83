"""AutoGluon: many models stacked within a time limit, for comparison; in an environment of its own, never saved."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from flickcast.errors import CheckError, LeftOutError, UserError
from flickcast.models.design import Design
from flickcast.models.learners.autogluon_worker import LABEL, WEIGHT
from flickcast.params import Section
from flickcast.settings import load_settings
from flickcast.watchdog import progress

Target = NDArray[np.float64]
WORKER = Path(__file__).with_name("autogluon_worker.py")
PASSED_ON = ("PATH", "LANG", "LC_ALL")  # of our environment, which may hold keys
LOOK_SECONDS = 0.1
OTHER_SECONDS = 600.0  # for its predictions and its importances, which have no limit of their own
OVERRUN, OVERRUN_SECONDS = 1.1, 60.0  # it looks at its limit between models, so that one may end a little later


class AutoGluonSettings(Section):
    """AutoGluon's own parameters, under its own names."""

    time_limit: float = Field(600.0, ge=10, description="seconds of one fit, its start included")
    presets: Literal["best_quality", "high_quality", "good_quality", "medium_quality"] = "best_quality"
    eval_metric: Literal["mean_absolute_error", "root_mean_squared_error"] = "mean_absolute_error"
    included_model_types: list[Literal["GBM", "CAT", "XGB", "RF", "XT"]] | None = Field(None, description="null: all")


@dataclass(frozen=True)
class AutoGluon:
    """A fitted predictor in a temporary folder, which goes when this object does.

    With its default settings it is deterministic only where the limit does not decide how many models it fits. It
    holds out rows of its own, so the validation rows are not shown to it, and it has no rounds to be given.
    """

    settings: ClassVar[type[Section]] = AutoGluonSettings
    suffix: ClassVar[str] = "none"
    folder: "tempfile.TemporaryDirectory[str]"
    models: tuple[str, ...]  # that it weighs
    columns: Mapping[str, str]  # of its table, to the design's names

    @property
    def iterations(self) -> int:
        """How many models it weighs."""
        return len(self.models)

    @classmethod
    def fit(
        cls,
        design: Design,
        target: Target,
        *,
        settings: Any,
        seed: int,
        threads: int,
        iterations: int | None = None,
        validation: tuple[Design, Target] | None = None,
        weights: Target | None = None,
    ) -> Self:
        """Fit within the limit. LeftOutError where its environment is missing, or it fails or overruns."""
        _python()
        if not design.names:
            raise LeftOutError("it has no column to read")
        folder = tempfile.TemporaryDirectory(prefix="flickcast-autogluon-")
        columns = _columns(design)
        extra = {LABEL: target} if weights is None else {LABEL: target, WEIGHT: weights}
        pl.DataFrame({**columns, **extra}).write_parquet(Path(folder.name) / "train.parquet")
        asked = {**settings.model_dump(), "seed": seed, "threads": threads, "until": time.time() + settings.time_limit}
        (Path(folder.name) / "settings.json").write_text(json.dumps(asked))
        try:
            _run("fit", Path(folder.name), settings.time_limit * OVERRUN + OVERRUN_SECONDS)
        except CheckError as error:
            raise LeftOutError(str(error)) from None
        about = json.loads((Path(folder.name) / "about.json").read_text())
        return cls(folder, tuple(about["models"]), dict(zip(columns, _owners(design), strict=True)))

    def predict(self, design: Design) -> Target:
        """One prediction per row."""
        if not design.rows:
            return np.empty(0)
        folder = Path(self.folder.name)
        pl.DataFrame(_columns(design)).write_parquet(folder / "rows.parquet")
        _run("predict", folder, OTHER_SECONDS)
        return pl.read_parquet(folder / "predictions.parquet")["prediction"].cast(pl.Float64).to_numpy()

    def importances(self) -> dict[str, float]:
        """How much worse it is on training rows when a column is shuffled, as a share."""
        _run("importances", Path(self.folder.name), OTHER_SECONDS)
        worse = json.loads((Path(self.folder.name) / "importances.json").read_text())
        shares = dict.fromkeys(self.columns.values(), 0.0)
        total = max(sum(max(value, 0.0) for value in worse.values()), 1e-12)
        for column, value in worse.items():
            shares[self.columns[column]] += max(value, 0.0) / total
        return shares

    def to_bytes(self) -> NoReturn:
        """AutoGluon stores pickles, which execute when they are loaded: never in a model of ours."""
        raise UserError(
            "recipes: 'autogluon' has no stored form that holds data alone (it pickles), so it is for "
            "`flickcast compare` only. Take it out of the recipe that you train."
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> NoReturn:
        """There is no stored form."""
        raise UserError("models: 'autogluon' has no stored form; train the model again without it.")


def _columns(design: Design) -> dict[str, pl.Series]:
    """The design as columns that a learner of tables reads, under names that mean nothing: no name can offend it."""
    found = [pl.Series(column).fill_nan(None) for column in design.numbers.T]
    columns = {f"number{place}": values for place, values in enumerate(found)}
    coded = [pl.Series(column).replace(-1, None).cast(pl.String) for column in design.codes.T]
    columns |= {f"code{place}": values for place, values in enumerate(coded)}
    for place, vector in enumerate(design.vectors.values()):
        columns |= {f"vector{place}_{axis}": pl.Series(part).fill_nan(None) for axis, part in enumerate(vector.T)}
    return columns | {f"text{place}": pl.Series(text) for place, text in enumerate(design.texts.values())}


def _owners(design: Design) -> list[str]:
    """The design's name of each of these columns."""
    vectors = [name for name, vector in design.vectors.items() for _ in range(vector.shape[1])]
    return [*design.number_names, *design.category_names, *vectors, *design.texts]


def installed() -> list[str]:
    """Name and version of AutoGluon in its environment; empty where that was not made."""
    home = load_settings().autogluon_python.parents[1]
    return [path.stem for path in home.glob("lib/python*/site-packages/autogluon?tabular-*.dist-info")]


def _python() -> Path:
    """The interpreter of AutoGluon's environment."""
    python = load_settings().autogluon_python
    if not python.is_file():
        raise LeftOutError(
            f"it has an environment of its own, and {python} is not there; make it with `make autogluon`, or name its "
            "Python in FLICKCAST_AUTOGLUON_PYTHON"
        )
    return python


def _run(step: str, folder: Path, seconds: float) -> None:
    """One step of the worker, which ends with us, at the latest after so many seconds."""
    command = [str(_python()), "-I", str(WORKER), step, str(folder), str(os.getpid())]
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    passed |= {"HOME": str(folder), "TMPDIR": str(folder)}  # whatever it leaves goes with the folder
    last = time.monotonic() + seconds
    with (folder / "said.txt").open("w") as said:
        child = subprocess.Popen(
            command, env=passed, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
        try:
            while child.poll() is None and time.monotonic() < last:
                progress()
                time.sleep(LOOK_SECONDS)
        finally:
            if overran := child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if overran:
        raise CheckError(f"AutoGluon's {step} was still busy after {seconds:.0f} s and was stopped")
    if child.returncode:
        last_words = ((folder / "said.txt").read_text(errors="replace").strip() or "no word").splitlines()[-1]
        raise CheckError(f"AutoGluon's {step} ended with {child.returncode}: {last_words}")
