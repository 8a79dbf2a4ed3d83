"""AutoGluon's child process: what it is given, how it ends, what is left of it."""

import gc
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from autogluon_here import skip_without_autogluon
from planted import planted

from flickcast.errors import CheckError, LeftOutError, UserError
from flickcast.models.learners import autogluon
from flickcast.models.learners.autogluon import AutoGluon, AutoGluonSettings
from flickcast.models.references import ASKED_FOR

DESIGN, TARGET = planted(120)


def fit(**settings: object) -> AutoGluon:
    chosen = AutoGluonSettings(presets="medium_quality", included_model_types=["GBM"], **settings)  # type: ignore[arg-type]
    return AutoGluon.fit(DESIGN, TARGET, settings=chosen, seed=0, threads=1)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shell script in the place of the environment's Python."""
    path = tmp_path / "python"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setenv("FLICKCAST_AUTOGLUON_PYTHON", str(path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return path


def test_without_its_environment_the_sentence_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLICKCAST_AUTOGLUON_PYTHON", "/nowhere/python")
    with pytest.raises(LeftOutError, match=r"/nowhere/python is not there; make it with `make autogluon`"):
        fit()


def test_a_failing_child_is_left_out_with_its_last_words(program: Path) -> None:
    program.write_text("#!/bin/sh\necho first\necho 'MemoryError: too large' >&2\nexit 3\n")
    with pytest.raises(LeftOutError, match=r"fit ended with 3: MemoryError: too large"):
        fit()
    assert not list(program.parent.glob("flickcast-autogluon-*"))


def test_a_child_that_overruns_is_stopped_with_all_that_it_started(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autogluon, "OVERRUN", 0.0)
    monkeypatch.setattr(autogluon, "OVERRUN_SECONDS", 1.0)
    lives = program.parent / "lives"
    program.write_text(f"#!/bin/sh\n(while true; do touch {lives}; sleep 0.1; done) &\nwait\n")
    with pytest.raises(LeftOutError, match="still busy after 1 s"):
        fit()
    lives.unlink()
    time.sleep(0.5)
    assert not lives.exists()


def test_the_child_sees_no_secret_and_no_home(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLICKCAST_FLICKR_KEY", "secret-key")
    seen = program.parent / "seen"
    program.write_text(f"#!/bin/sh\nenv > {seen}\nexit 1\n")
    with pytest.raises(LeftOutError):
        fit()
    names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
    assert names <= {"PATH", "LANG", "LC_ALL", "HOME", "TMPDIR", "PWD", "SHLVL", "_", "OLDPWD"}
    assert str(Path.home()) not in seen.read_text().split("HOME=")[1].splitlines()[0]


def test_it_is_told_the_numbers_with_holes_as_nulls(program: Path) -> None:
    copy = program.parent / "train.parquet"
    program.write_text(f"#!/bin/sh\ncp $4/train.parquet {copy}\nexit 1\n")
    with pytest.raises(LeftOutError):
        AutoGluon.fit(DESIGN, TARGET, settings=AutoGluonSettings(), seed=0, threads=1, weights=np.arange(120.0))
    told = pl.read_parquet(copy)
    assert told["number1"].is_null().to_list() == np.isnan(DESIGN.numbers[:, 1]).tolist()
    assert told["code0"].is_null().to_list() == (DESIGN.codes[:, 0] == -1).tolist()
    assert told["code0"].drop_nulls().cast(pl.Int32).to_list() == DESIGN.codes[DESIGN.codes >= 0].tolist()
    assert told["label"].to_list() == TARGET.tolist()
    assert told["weight"].to_list() == list(range(120))
    assert sum(name.startswith("vector") for name in told.columns) == sum(
        vector.shape[1] for vector in DESIGN.vectors.values()
    )


def test_no_saved_model_can_hold_it() -> None:
    with pytest.raises(UserError, match="no stored form"):
        AutoGluon.from_bytes(b"")


@pytest.mark.slow
def test_a_fit_keeps_its_limit_repeats_itself_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_without_autogluon()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    started = time.monotonic()
    first = fit(time_limit=20)
    assert time.monotonic() - started < 20 + 10
    second = fit(time_limit=20)
    np.testing.assert_array_equal(first.predict(DESIGN), second.predict(DESIGN))
    with pytest.raises(UserError, match="`flickcast compare` only"):
        first.to_bytes()
    del first, second
    gc.collect()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_child_that_fails_later_is_a_clear_sentence() -> None:
    skip_without_autogluon()
    fitted = fit(time_limit=20)
    (Path(fitted.folder.name) / "model" / "predictor.pkl").unlink()
    with pytest.raises(CheckError, match="predict ended with 1"):
        fitted.predict(DESIGN)


@pytest.mark.slow
def test_as_a_reference_it_beats_the_mean() -> None:
    skip_without_autogluon()
    random = np.random.default_rng(0)
    kind = random.choice(["a", "b", "none"], 300)
    raw = pl.DataFrame({"post_id": [f"{n:03}" for n in range(300)], "views": random.normal(size=300), "kind": kind})
    target = raw["views"].to_numpy() * 2 + (kind == "a")
    settings = {"time_limit": 20, "presets": "medium_quality", "included_model_types": ["GBM"]}
    predict = ASKED_FOR["autogluon, simple columns"](raw[:200], target[:200], 0, 1, **settings)
    unseen = raw[200:].with_columns(kind=pl.when(pl.int_range(100) == 0).then(pl.lit("new")).otherwise("kind"))
    error = np.abs(predict(unseen) - target[200:]).mean()
    assert error < 0.5 * np.abs(target[:200].mean() - target[200:]).mean()
