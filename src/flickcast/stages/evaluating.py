"""How good the model is: the stage `evaluate`."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from flickcast.records import StageReport
from flickcast.splits import time_split
from flickcast.stages.inputs import Inputs, Stored
from flickcast.stages.matrix import feature_manifest
from flickcast.stages.recipes import model_folder
from flickcast.tables import publish, publish_json
from flickcast.workspace import Workspace

if TYPE_CHECKING:
    from flickcast.models import Model

Json = dict[str, Any]
PLOTTED_COLUMNS = 40
PLOTS = ("predictions", "tenths", "predictors", "importances", "segments")


@dataclass(frozen=True)
class Judged:
    """The labelled posts of a workspace: the oldest 80 %, learnt from, and the newest 20 %, judged by.

    `test` has is_cold_start beside the columns of `posts` and popularity: whether its user had no post before.
    """

    ws: Workspace
    train: pl.DataFrame
    test: pl.DataFrame

    @classmethod
    def of(cls, ws: Workspace) -> Self:
        """Both parts, by posted_at."""
        posts = ws.read("posts")
        labelled = posts.join(ws.read("labels", ("post_id", "popularity")), on="post_id")
        first = posts.group_by("user_id").agg(first_at=pl.col("posted_at").min())
        known = labelled.join(first, on="user_id", how="left", maintain_order="left")
        dated = known.with_columns(is_cold_start=pl.col("posted_at") <= pl.col("first_at")).drop("first_at")
        oldest, newest = time_split(labelled)
        parts = (dated.filter(pl.col("post_id").is_in(ids.implode())) for ids in (oldest, newest))
        return cls(ws, *parts)

    def matrix(self, posts: pl.DataFrame) -> pl.DataFrame:
        """The matrix of these test posts, what they know of labels coming from training posts alone."""
        from flickcast.features import with_other_labels

        ids, params = self.train["post_id"].implode(), self.ws.params.features
        training_labels = self.ws.read("labels").filter(pl.col("post_id").is_in(ids))
        inputs = Inputs(Stored(self.ws, training_labels), posts, params.clock)
        rows = self.ws.scan("features").filter(pl.col("post_id").is_in(posts["post_id"].implode()))
        return with_other_labels(rows.collect(), inputs, params.groups)

    @cached_property
    def tested(self) -> pl.DataFrame:
        """The matrix of all test posts."""
        return self.matrix(self.test)

    def sampled(self) -> pl.DataFrame:
        """Some of the training rows, without vectors, for what columns tell alone."""
        from flickcast.models.univariate import sample_of

        some = sample_of(self.train.select("post_id", "user_id", "popularity"), self.ws.params.seed)
        rows = self.ws.scan("features").filter(pl.col("post_id").is_in(some["post_id"].implode())).collect()
        return some.join(rows, on="post_id").sort("post_id")


def evaluate(ws: Workspace) -> StageReport:
    """The holdout model on the newest 20 %, beside the naive baselines and, on simulated data, the oracle."""
    from flickcast import models
    from flickcast.evaluation import evaluate as judge
    from flickcast.evaluation.segments import as_json, segments, worst

    folder = model_folder(ws, "holdout")
    if folder is None:
        return _evaluate_nothing(ws)
    model, judged = models.load(folder), Judged.of(ws)
    predicted = model.predict(judged.tested, judged.test, vectors := ws.vectors(model.reads))
    test, oracle = judged.test.join(predicted, on="post_id"), ws.read("oracle")
    metrics, plots = judge(test, judged.train, oracle, ws.params.evaluate, ws.params.seed)
    plots["segments"] = segments(test, judged.train, oracle, ws.params.evaluate, ws.params.seed)
    plots["importances"] = _importances(model, judged, vectors)
    _keep_evaluation(ws, metrics, as_json(plots["segments"]), {name: plots[name].write_csv() for name in PLOTS})
    facts = {name: {key: value[key] for key in ("src", "mae")} for name, value in metrics.items() if "src" in value}
    worse = {"worst_segment": found} if (found := worst(plots["segments"])) else {}
    return StageReport("evaluate", {"split": metrics["split"], "test_posts": test.height, **facts, **worse})


def _importances(model: "Model", judged: Judged, vectors: pl.DataFrame) -> pl.DataFrame:
    """Of all groups and the first columns."""
    from flickcast.models import gather
    from flickcast.models.importances import COLUMN, importances
    from flickcast.models.univariate import columns_alone

    seed = judged.ws.params.seed
    alone = columns_alone(judged.sampled(), feature_manifest(judged.ws), seed)
    table = importances(model, gather(judged.tested, judged.test, vectors), alone, seed)
    is_column = pl.col("level") == COLUMN
    return pl.concat([table.filter(~is_column), table.filter(is_column).head(PLOTTED_COLUMNS)])


def _evaluate_nothing(ws: Workspace) -> StageReport:
    _keep_evaluation(ws, {}, {}, {name: "\n" for name in PLOTS})
    return StageReport("evaluate", {}, ("There is no model to judge yet.",))


def _keep_evaluation(ws: Workspace, metrics: Json, of_segments: Json, plots: dict[str, str]) -> None:
    publish_json(ws.root / "metrics" / "evaluation.json", metrics)
    publish_json(ws.root / "metrics" / "segments.json", of_segments)
    for name, content in plots.items():
        publish(ws.root / "plots" / f"{name}.csv", content.encode())
