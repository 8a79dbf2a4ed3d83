"""From the matrix to predictions: train and predict; and drift."""

import hashlib
from typing import TYPE_CHECKING

import polars as pl

from flickcast.console import progress
from flickcast.errors import UserError
from flickcast.records import StageReport
from flickcast.splits import time_split
from flickcast.stages.evaluating import Judged
from flickcast.stages.matrix import feature_manifest
from flickcast.stages.recipes import model_folder, recipe_content
from flickcast.tables import publish, publish_json
from flickcast.workspace import Workspace, night_bounds

if TYPE_CHECKING:
    from flickcast.models import Model


def train(ws: Workspace) -> StageReport:
    """Two models of the recipe: one of the oldest 80 %, to be judged; one of all labelled posts, to be used."""
    from flickcast import models

    params, rows, recipe = ws.params.train, ws.read("labels"), recipe_content(ws)
    if rows.height < params.min_labelled:
        return _train_nothing(ws, rows.height)
    if rows["popularity"].n_unique() == 1:
        raise UserError(f"{ws.root}: all {rows.height} labels are {rows['popularity'][0]}: there is nothing to learn.")
    steps = models.recipe_of(params.recipe, recipe, ws.params.seed, params.threads)
    newest = Judged.of(ws).tested if steps.settings.pseudo else None
    with progress("train", models.fits(recipe, params)) as advance:
        metrics = models.train(
            ws.read("features"),
            feature_manifest(ws),
            ws.read("posts"),
            ws.vectors(steps.reads),
            rows,
            recipe,
            params,
            ws.params.seed,
            ws.root / "models" / params.recipe,
            advance,
            newest,
        )
    publish_json(ws.root / "metrics" / "train.json", metrics)
    facts = {"labelled": rows.height, "model": metrics["final"]["model"]}
    return StageReport("train", facts, models.notes(params.recipe, metrics["final"]["left_out"]))


def _train_nothing(ws: Workspace, labelled: int) -> StageReport:
    """The first nights of a workspace: no post is old enough yet. Without nights it is the user who forgot labels."""
    words = f"{labelled} posts have a label, train.min_labelled in params.yaml asks for {ws.params.train.min_labelled}"
    if ws.night is None:
        raise UserError(f"{ws.root}: {words}. Import more labelled posts.")
    publish(ws.root / "models" / "about.txt", f"No model yet: {words}.\n".encode())
    publish_json(ws.root / "metrics" / "train.json", {"labelled": labelled})
    return StageReport("train", {"labelled": labelled}, (f"No model tonight: {words}.",))


def predict(ws: Workspace) -> StageReport:
    """Predictions, each with a band, of every post whose label is not known yet."""
    from flickcast import models

    folder = model_folder(ws, "final")
    if folder is None:
        with ws.appending("predict"):
            return StageReport("predict", {"predicted": 0}, ("There is no model to predict with yet.",))
    model = models.load(folder)
    unlabelled = ws.read("posts", ("post_id",)).join(ws.read("labels", ("post_id",)), on="post_id", how="anti")
    rows = predictions(ws, model, unlabelled)
    with ws.appending("predict") as appender:
        new = ws.unknown("predictions", rows).sort("post_id")
        digest = hashlib.sha256("\n".join(new["post_id"]).encode()).hexdigest()[:8]
        appender.append("predictions", f"{ws.night or 'import'}-{model.name}-{digest}", new)
    return StageReport("predict", {"unlabelled": unlabelled.height, "predicted": new.height, "model": model.name})


def predictions(ws: Workspace, model: "Model", wanted: pl.DataFrame) -> pl.DataFrame:
    """Rows of the table `predictions` for the wanted posts (one column, post_id)."""
    matrix = ws.read("features").join(wanted, on="post_id", how="semi")
    posts = ws.read("posts").join(wanted, on="post_id", how="semi")
    predicted_at = night_bounds(ws.night)[1] if ws.night else ws.latest_seen()
    return model.predict(matrix, posts, ws.vectors(model.reads)).with_columns(
        model=pl.lit(model.name), predicted_at=pl.lit(predicted_at)
    )


def drift(ws: Workspace) -> StageReport:
    """How far the night's posts lie from the training data; Evidently's report as HTML and JSON."""
    from flickcast.drift import drift_report

    matrix, columns = ws.read("features"), feature_manifest(ws)
    new, known = _new_and_training_posts(ws)
    result = drift_report(
        matrix.join(known, on="post_id", how="semi"),
        matrix.join(new, on="post_id", how="semi"),
        {name: facts["kind"] for name, facts in columns.items() if name not in ws.params.drift.leave_out},
        ws.params.drift,
        ws.params.seed,
    )
    folder = ws.root / "reports" / "drift"
    publish(folder / "drift.html", result.html.encode())
    publish_json(folder / "drift.json", result.as_json())
    publish_json(
        ws.root / "metrics" / "drift.json",
        {"verdict": result.verdict, "share": result.share, "summary": result.summary},
    )
    facts = {"verdict": result.verdict, "drifted_share": result.share, **result.rows}
    return StageReport("drift", {**facts, "report": "reports/drift/drift.html"}, (result.summary,))


def _new_and_training_posts(ws: Workspace) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ids of the night's new posts and of the labelled ones; without a night, the newest fifth and the others."""
    if ws.night is None:
        older, newer = time_split(ws.read("posts", ("post_id", "posted_at")))
        return newer.to_frame(), older.to_frame()
    part = ws.part_named("posts", f"{ws.night}")
    new = ws.read_part("posts", part, ("post_id",)) if part else ws.keys("posts").clear()
    return new, ws.read("labels", ("post_id",))
