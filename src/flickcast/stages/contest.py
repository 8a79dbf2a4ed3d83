"""A split of a workspace with all that rows are judged by: folds, labels, baselines, and the runs kept so far."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flickcast.comparison import Entry, Labels, Run
from flickcast.errors import UserError
from flickcast.splits import PROTOCOLS
from flickcast.stages.contestants import Contestant
from flickcast.stages.judging import dealt_folds, kept
from flickcast.workspace import Workspace

Json = dict[str, Any]
Values = NDArray[np.float64]
PACKAGE = Path(__file__).parents[1]
# Whose change makes every row anew, as does any of our own code.
LIBRARIES = (
    *("catboost", "crepes", "lightgbm", "numpy", "polars", "pytorch-metric-learning", "scikit-learn", "scipy", "tabm"),
    "torch",
)


@dataclass
class Contest:
    """The tested posts of every fold, and who said what of them."""

    ws: Workspace
    split: str
    answers: pl.DataFrame | None = None  # post_id, popularity of the test posts of `smpd`

    @cached_property
    def folds(self) -> pl.DataFrame:
        """post_id and fold, by post_id. UserError where the workspace cannot be compared on."""
        folds = dealt_folds(self.ws, self.split)
        known, least = self.ws.read("labels", ("popularity",))["popularity"], self.ws.params.train.min_labelled
        if known.len() < least:
            raise UserError(
                f"{self.ws.root}: {known.len()} posts have a label, train.min_labelled asks for {least}. "
                "Import or ingest more posts, or wait until they have matured."
            )
        if known.n_unique() == 1:
            raise UserError(f"{self.ws.root}: all {known.len()} labels are {known[0]}: there is nothing to learn.")
        if not self.ws.exists("features"):
            raise UserError(f"{self.ws.root} has no features yet. Run `dvc repro`, then compare again.")
        return folds

    @cached_property
    def tested(self) -> pl.DataFrame:
        """Of each tested post: fold, post_id, user_id, popularity and oracle (null where unknown), by fold and id."""
        answers = self.ws.read("labels", ("post_id", "popularity"))
        if self.split == "smpd":
            given = answers.clear() if self.answers is None else self.answers.select("post_id", "popularity")
            answers = given.with_columns(pl.col("popularity").cast(pl.Float64))
        users = self.ws.read("posts", ("post_id", "user_id"))
        rows = self.folds.drop_nulls("fold").join(users, on="post_id").join(answers, on="post_id", how="left")
        oracle = self.ws.read("oracle", ("post_id", "oracle"))
        return rows.join(oracle, on="post_id", how="left").sort("fold", "post_id")

    @cached_property
    def numbers(self) -> list[int]:
        """Of the folds."""
        return self.tested["fold"].unique().sort().to_list()

    @cached_property
    def labels(self) -> Labels:
        """Of each fold's posts, in the order of their ids; NaN where unknown."""
        return {number: _values(self._of(number), "popularity") for number in self.numbers}

    def _of(self, number: int) -> pl.DataFrame:
        return self.tested.filter(pl.col("fold") == number)

    def baselines(self) -> list[Entry]:
        """The naive baselines, learnt from each fold's training posts, and the oracle where it is known."""
        from flickcast.evaluation import BASELINES

        known = self.ws.read("labels", ("post_id", "popularity"))
        known = known.join(self.ws.read("posts", ("post_id", "user_id")), on="post_id").sort("post_id")
        runs: dict[str, list[Run]] = {name: [] for name in BASELINES}
        for number in self.numbers:
            test = self._of(number)
            train = known.join(test, on="post_id", how="anti")
            for name, predict in BASELINES.items():
                runs[name].append(Run(number, 0, predict(test, train).cast(pl.Float64).to_numpy()))
        entries = [Entry(name, "baseline", found) for name, found in runs.items()]
        if self.tested["oracle"].is_not_null().any():
            said = [Run(number, 0, _values(self._of(number), "oracle")) for number in self.numbers]
            entries.append(Entry("oracle", "oracle", said))
        return entries

    def folder(self, row: Contestant) -> Path:
        """Where a row's runs are kept, by a hash of all that they depend on but the seed."""
        key = hashlib.sha256(json.dumps(self._made_from(row), sort_keys=True).encode()).hexdigest()[:16]
        name = "".join(character if character.isalnum() else "-" for character in row.name)
        return self.ws.state_folder / "comparison" / f"{self.split}-{name}-{key}"

    def _made_from(self, row: Contestant) -> Json:
        from flickcast.models.learners.autogluon import installed

        params = self.ws.params
        vectors = [*params.embed.pair, *row.reads]
        tables = ["posts", "labels", "users", "features", *(f"embeddings/{name}" for name in vectors)]
        return {
            "versions": [self._code, *(version(name) for name in LIBRARIES), *installed()],
            "data": {name: sorted(self.ws.digests(name).values()) for name in tables},
            "params": [
                params.seed,
                params.train.threads,
                params.train.full,
                params.features.model_dump(),
                params.embed.names,
            ],
            "row": [self.split, row.name, row.kind, row.recipe],
        }

    @cached_property
    def _code(self) -> str:
        files = sorted(PACKAGE.rglob("*.py"))
        return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()

    def todo(self, row: Contestant, seeds: int) -> list[tuple[int, int]]:
        """Seed and fold of each run that is not kept yet, or is damaged."""
        folder = self.folder(row)
        every = [(seed, number) for seed in range(seeds) for number in self.numbers]
        return [(seed, number) for seed, number in every if kept(folder, seed, number) is None]

    def entry(self, row: Contestant, seeds: int, notes: Sequence[str] = ()) -> Entry:
        """A row of the seeds that are whole: one that lacks a fold tells of other posts than the rest."""
        folder = self.folder(row)
        by_seed = [[kept(folder, seed, number) for number in self.numbers] for seed in range(seeds)]
        whole = [run for runs in by_seed if None not in runs for run in runs if run is not None]
        some = sum(run is not None for runs in by_seed for run in runs)
        more = [f"{some} of {seeds * len(self.numbers)} runs are done and kept."] if some > len(whole) else []
        return Entry(row.name, row.kind, whole, [*notes, *more])

    def notes(self) -> list[str]:
        """What holds for every row."""
        from flickcast.features import left_out
        from flickcast.stages.matrix import feature_manifest

        params = self.ws.params.features
        found = [
            f"Split {self.split}: {PROTOCOLS[self.split]}.",
            f"Features by the clock {params.clock}; whatever reads labels is made anew in each fold from its training "
            "labels.",
            "The tested posts are there without their labels, as a night knows the posts that it predicts: "
            "pseudo-labels may go to them.",
        ]
        if self.split == "smpd" and self.tested["popularity"].null_count():
            more = "; --answers gives labels" if self.answers is None else ""
            found.append(f"Test posts without a known label have no part in the measures{more}.")
        return [*found, *left_out(feature_manifest(self.ws), params.groups)]

    def predictions(self, entries: Sequence[Entry]) -> pl.DataFrame:
        """post_id, fold, popularity, and what each row said with its first seed, by fold and id."""
        columns = {
            entry.name: np.concatenate([first[number] for number in self.numbers])
            for entry in entries
            if (first := {run.fold: run.prediction for run in reversed(entry.runs)})
        }
        said = [pl.Series(name, values) for name, values in columns.items()]
        return self.tested.select("post_id", "fold", "popularity").with_columns(said)


def _values(rows: pl.DataFrame, name: str) -> Values:
    return rows[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
