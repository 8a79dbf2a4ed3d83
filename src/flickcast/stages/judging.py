"""One row of a comparison, in a process of its own: `python -m flickcast.stages.judging TASK`, a JSON file.

Its peak memory is then its own, and whatever goes wrong in it, a library's crash too, ends one row and not the command.
"""

import hashlib
import io
import json
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from flickcast.comparison import Run
from flickcast.errors import FlickcastError, UserError
from flickcast.params import Section
from flickcast.stages.contestants import Contestant
from flickcast.stages.fold_rows import FoldRows, fold_rows
from flickcast.tables import publish_json, publish_parquet
from flickcast.workspace import Workspace

Json = dict[str, Any]
Values = NDArray[np.float64]
Advance = Callable[[int], None]
EIGHTH = 8
LONGEST = 400  # characters of what a library says
KIB = 1024
MARK = "@flickcast "  # before a line that is for the parent; libraries print as they like
PREDICTION, WITHOUT = "prediction", "without "


class Task(BaseModel):
    """What a row's process is asked to do: fit a recipe, or a reference, on these folds with these seeds."""

    root: Path
    row: str
    kind: str  # recipe, learner or reference
    recipe: Json | None  # the content of its YAML
    split: str
    todo: list[tuple[int, int]]  # seed, fold
    folder: Path  # where runs are kept
    sample: int | None = None  # only so many training rows of the first fold, to see how long they take

    @classmethod
    def read(cls, path: Path) -> Self:
        """The task in a file."""
        return cls.model_validate_json(path.read_bytes())


def judge(task: Task, tell: Callable[[Json], None]) -> None:
    """Fit and predict what is to be done and keep each run as soon as it is there."""
    ws = Workspace(task.root)
    folds = dealt_folds(ws, task.split)
    if task.sample is not None:
        tell({"probe": probe(ws, task, folds, tell)})
        return
    rows: dict[int, FoldRows] = {}
    for seed, number in task.todo:
        if number not in rows:
            rows = {number: fold_rows(ws, folds, number, _contestant(task).reads)}
        run = run_of(ws, task, rows[number], number, seed, lambda count: tell({"fitted": count}))
        keep(task.folder, run)
        tell({"finished": [seed, number]})


def dealt_folds(ws: Workspace, split: str) -> pl.DataFrame:
    """Which fold tests a post of the workspace: post_id and fold."""
    from flickcast.splits import dealt

    labelled = ws.read("labels", ("post_id",)).with_columns(is_labelled=True)
    posts = ws.read("posts", ("post_id", "user_id", "posted_at")).join(labelled, on="post_id", how="left")
    return dealt(posts.with_columns(pl.col("is_labelled").fill_null(False)), split)


def run_of(ws: Workspace, task: Task, rows: FoldRows, number: int, seed: int, advance: Advance) -> Run:
    """One fit and its predictions."""
    if task.kind != "recipe":
        return (_of_reference if task.kind == "reference" else _of_learner)(ws, task, rows, number, seed)
    from flickcast.models import notes
    from flickcast.models.without import predictions_without, watched

    steps = _steps(ws, task, seed)
    seeing, seen = watched(steps)
    training, pool, context, tested = rows.training, rows.pool, rows.context, rows.tested_matrix
    started = time.perf_counter()
    model, facts = seeing.fit(training, rows.manifest, advance, context, pool)
    fitted = time.perf_counter()
    said = model.predict(tested, rows.posts, rows.vectors)
    predicted = time.perf_counter()
    weights = {
        name: float(np.mean([member.weights.get(name, 0.0) for member in model.members])) for name in seen.learners
    }
    peak = peak_bytes()
    without = predictions_without(steps, seen, model, pool)
    prediction = said["prediction"].to_numpy()
    told = (*notes(task.row, facts.get("left_out", {})), *steps.kept_short(training.height))
    return Run(number, seed, prediction, without, weights, fitted - started, predicted - fitted, peak, told)


def _of_learner(ws: Workspace, task: Task, rows: FoldRows, number: int, seed: int) -> Run:
    """A learner alone on the prepared rows, for those that a model could not store either.

    One that chooses its rounds (ridge: its penalty) is given the posts of an eighth of the users for it; AutoGluon,
    which holds out posts of its own, fits all rows.
    """
    from flickcast.models.design import Preparation
    from flickcast.models.folds import users_of
    from flickcast.models.learners import LEARNERS
    from flickcast.models.reductions import Training
    from flickcast.splits import user_folds

    steps, training = _steps(ws, task, seed), rows.training
    ((name, settings),) = steps.learner_settings.items()
    users_of(training)
    held = user_folds(training["user_id"], EIGHTH, seed).to_numpy() == 0
    held &= "max_iterations" in type(settings).model_fields
    started = time.perf_counter()
    learnt, stopping = training.filter(~held), training.filter(held)
    preparation, design = Preparation.fit(Training(learnt, steps.seed, rows.context), rows.manifest, steps.settings)
    preparation = preparation.told(stopping)
    validation = (preparation.design(stopping), stopping["popularity"].to_numpy()) if held.any() else None
    learner = LEARNERS[steps.kinds[name]].fit(
        design,
        learnt["popularity"].to_numpy(),
        settings=settings,
        seed=steps.seed,
        threads=steps.threads,
        validation=validation,
    )
    fitted = time.perf_counter()
    prediction = learner.predict(preparation.design(rows.pool))
    costs = fitted - started, time.perf_counter() - fitted, peak_bytes()
    return Run(number, seed, prediction, {}, {}, *costs)


def _of_reference(ws: Workspace, task: Task, rows: FoldRows, number: int, seed: int) -> Run:
    from flickcast.models.references import ASKED_FOR, REFERENCES, simple_columns

    simple = simple_columns(rows.posts, rows.users)
    learnt = simple.join(rows.labels.select("post_id", "popularity"), on="post_id").sort("post_id")
    training, tested = learnt.drop("popularity"), simple.filter(pl.col("post_id").is_in(rows.tested.implode()))
    target = learnt["popularity"].to_numpy()
    started = time.perf_counter()
    fit = (REFERENCES | ASKED_FOR)[task.row]
    predict = fit(training, target, ws.params.seed + seed, ws.params.train.threads, **(task.recipe or {}))
    fitted = time.perf_counter()
    prediction = predict(tested)
    costs = fitted - started, time.perf_counter() - fitted, peak_bytes()
    return Run(number, seed, prediction, {}, {}, *costs)


def probe(ws: Workspace, task: Task, folds: pl.DataFrame, tell: Callable[[Json], None]) -> Json:
    """How long a small fit takes, in all and learner by learner, and its SRC as learners are dropped in their order.

    The posts are those of randomly chosen users of the first fold's training rows. A recipe tells when it begins and
    whenever a learner is fitted, so that something is known should it be stopped.
    """
    from flickcast.models.without import watched
    from flickcast.splits import user_folds

    began = time.perf_counter()
    rows = fold_rows(ws, folds, 0, _contestant(task).reads)
    everything = rows.training
    parts = max(1, round(everything.height / (task.sample or 1)))
    chosen = everything.filter(user_folds(everything["user_id"], parts, 0) == 0)["post_id"]
    small = replace(rows, labels=rows.labels.filter(pl.col("post_id").is_in(chosen.implode())))
    facts: Json = {"rows": len(chosen), "of": everything.height, "reading": time.perf_counter() - began}
    if task.kind != "recipe":
        run = run_of(ws, task, small, 0, 0, lambda count: None)
        return facts | {"seconds": run.fit_seconds + run.predict_seconds, "learners": {}, "src_after": []}
    steps = _steps(ws, task, 0)
    names = list(steps.learner_settings)
    tell({"begun": facts | {"learners": names, "fits": steps.fits}})
    seeing, seen = watched(steps)
    started = time.perf_counter()
    ends = [started]

    def fitted(count: int) -> None:
        if not count and len(ends) == 1:  # prepared; only now the first learner is fitted
            ends.clear()
        ends.append(time.perf_counter())
        tell({"fitted": count})

    seeing.fit(small.training, small.manifest, fitted, small.context, small.pool)
    taken = {name: float(np.diff(ends)[place :: len(names)].sum()) for place, name in enumerate(names)}
    taken = {name: seconds for name, seconds in taken.items() if name in seen.learners}
    seconds = time.perf_counter() - started
    return facts | {"seconds": seconds, "learners": taken, "src_after": _src_after(steps, seen)}


def _src_after(steps: Any, seen: Any) -> list[float]:
    """Cross-validated SRC of the small fit: of all learners, then without the first of `drop_first`, the first two."""
    from flickcast.metrics import spearman
    from flickcast.models.without import unseen_without

    order = [name for name in steps.settings.drop_first if name in seen.learners]
    prefixes = [order[:count] for count in range(len(order) + 1) if count < len(seen.learners)]
    return [spearman(*unseen_without(steps, seen, gone)) for gone in prefixes]


def _contestant(task: Task) -> Contestant:
    return Contestant(task.row, task.kind, task.recipe)


def _steps(ws: Workspace, task: Task, seed: int) -> Any:
    steps = _contestant(task).steps(ws.params.seed + seed, ws.params.train.threads)
    return steps.in_full() if ws.params.train.full else steps


class Told(Section):
    """What is kept of a run beside its predictions."""

    weights: dict[str, float]
    notes: list[str]
    sha256: str  # of the Parquet file
    fit_seconds: float
    predict_seconds: float
    peak_bytes: int


def keep(folder: Path, run: Run) -> None:
    """Store a run; its JSON comes last, so that a run with one is whole. No ids: the order of the posts tells them.

    UserError where a prediction is no finite number.
    """
    if not all(np.isfinite(values).all() for values in (run.prediction, *run.without.values())):
        raise UserError("it predicted something that is no finite number.")
    columns = {PREDICTION: run.prediction, **{f"{WITHOUT}{name}": values for name, values in run.without.items()}}
    facts = publish_parquet(folder / f"{run.seed}-{run.fold}.parquet", pl.DataFrame(columns))
    own = {name: getattr(run, name) for name in Told.model_fields if name != "sha256"}
    told = Told(**own, sha256=facts["sha256"])
    publish_json(folder / f"{run.seed}-{run.fold}.json", told.model_dump(mode="json"))


def kept(folder: Path, seed: int, fold: int) -> Run | None:
    """A run that was stored; None where it was not finished, or is not as it was stored."""
    path = folder / f"{seed}-{fold}.json"
    try:
        told = Told.model_validate_json(path.read_bytes())
        content = path.with_suffix(".parquet").read_bytes()
    except (OSError, ValidationError):
        return None
    if hashlib.sha256(content).hexdigest() != told.sha256:
        return None
    facts, columns = told.model_dump(exclude={"sha256"}), pl.read_parquet(io.BytesIO(content))
    without = {name.removeprefix(WITHOUT): columns[name].to_numpy() for name in columns.columns if name != PREDICTION}
    return Run(fold, seed, columns[PREDICTION].to_numpy(), without, **facts)


def peak_bytes() -> int:
    """The most memory this process held so far, and beside it the largest of its children that have ended."""
    import resource

    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * KIB
    status = Path("/proc/self/status")
    if status.is_file():  # not getrusage: that counts the parent's, from before the exec
        lines = (line.split() for line in status.read_text().splitlines())
        return next(int(line[1]) * KIB for line in lines if line[0] == "VmHWM:") + children
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB + children


def _main() -> None:
    def tell(message: Json) -> None:
        sys.stdout.write(f"\n{MARK}{json.dumps(message)}\n")
        sys.stdout.flush()

    try:
        judge(Task.read(Path(sys.argv[1])), tell)
    except FlickcastError as error:
        tell({"error": str(error)})
    except Exception as error:  # its row says so; the other rows go on
        traceback.print_exc()
        words = " ".join(str(error).split())[:LONGEST]
        tell({"error": f"Unexpected {type(error).__name__}: {words}"})


if __name__ == "__main__":
    _main()
