"""One function per stage: read tables, call the step, write tables, return a report. No step is known elsewhere."""

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from flickcast import posts as posts_step
from flickcast.console import progress
from flickcast.errors import UserError, nearest
from flickcast.params import read_yaml
from flickcast.records import Batch, Rejected, StageReport, quarantine_rows
from flickcast.schemas import EARLIEST, table_named
from flickcast.settings import load_settings
from flickcast.splits import time_split
from flickcast.tables import Appender, publish, publish_json
from flickcast.workspace import Workspace, night_bounds

if TYPE_CHECKING:
    from flickcast.embeddings.encoders import Encoder
    from flickcast.models import Model


PLOTTED_FEATURES = 40


def ingest(ws: Workspace) -> StageReport:
    """The new posts of the night's window, and the counts of posts that have come of age."""
    night = ws.night
    if ws.params.ingest.source == "files" or night is None:
        with ws.appending("ingest"):
            return StageReport("ingest", {"stored": 0}, ("Posts come by `flickcast import`: nothing to ask for.",))
    name = night.isoformat()
    if (done := ws.manifest("ingest").batches.get(name)) is not None:
        return StageReport("ingest", done, (f"The night of {name} is already stored.",))
    from flickcast.sources.flickr import open_flickr

    with open_flickr(load_settings(), ws.params.ingest, ws.params.label) as source:
        known = set(ws.keys("posts")["post_id"])
        batch = source.night(night, known_post_ids=known, fresh_user_ids=_fresh_users(ws, night_bounds(night)[1]))
        return store(ws, batch, name, part=name)


def store(ws: Workspace, batch: Batch, name: str, part: str | None = None) -> StageReport:
    """Append a batch: the new goes to the tables, the unusable to the quarantine; all of it counts, or nothing.

    Parts are named after the night, or (`part` None: an import) after the month of posting and the batch.
    """
    done = ws.manifest("ingest").batches.get(name)
    if done is not None:
        return StageReport("ingest", done, (f"{name} is already stored: nothing to do.",))
    new = posts_step.split_known(batch, set(ws.keys("posts")["post_id"]))
    moment = _moment(batch)
    with ws.appending("ingest") as appender:
        _append(appender, "posts", new.posts, part, name, "posted_at")
        for table, rows, by in (
            ("users", batch.users, "observed_at"),
            ("observations", batch.observations, "observed_at"),
            ("imported_labels", batch.imported_labels, None),
            ("oracle", batch.oracle, None),
        ):
            _append(appender, table, _unknown(ws, table, rows), part, name, by)
        pictures, rejected = _append_pictures(ws, appender, batch, name, new.posts.height)
        quarantine = quarantine_rows("ingest", batch.source, [*batch.rejected, *rejected], moment)
        _append(appender, "quarantine/ingest", _unknown(ws, "quarantine/ingest", quarantine), part, name, None)
        facts = {
            **new.counts,
            "users": batch.users.height,
            "observations": batch.observations.height,
            "pictures": pictures,
            "pictures_quarantined": len(rejected),
        }
        appender.finish_batch(name, facts)
    return StageReport("ingest", facts, batch.notes)


def read_source(name: str, folder: Path) -> Batch:
    """The posts of a folder in one of the formats we import."""
    from flickcast.sources import FILE_SOURCES

    if name not in FILE_SOURCES:
        raise UserError(f"'{name}' is no source of files; {nearest(name, FILE_SOURCES)}")
    return FILE_SOURCES[name](folder)


def import_batch(ws: Workspace, batch: Batch) -> StageReport:
    """Store an imported batch under a name made from its content, so that the same import again is the same batch."""
    ids = "\n".join([*batch.posts["post_id"].sort(), "labels", *batch.imported_labels["post_id"].sort()])
    return store(ws, batch, f"{batch.source}-{hashlib.sha256(ids.encode()).hexdigest()[:10]}")


def _append_pictures(
    ws: Workspace, appender: Appender, batch: Batch, name: str, expected: int
) -> tuple[int, list[Rejected]]:
    """Store a batch's pictures chunk by chunk; how many, and those that are none."""
    known = set(ws.keys("images")["post_id"])
    stored = 0
    rejected: list[Rejected] = []
    with progress("pictures", expected) as advance:
        for number, chunk in enumerate(batch.pictures):
            new = chunk.images.filter(~pl.col("post_id").is_in(known))
            appender.append("images", f"{name}-{number:04d}", new)
            stored += new.height
            rejected += chunk.rejected
            advance(chunk.images.height + len(chunk.rejected))
    return stored, rejected


def _append(appender: Appender, table: str, rows: pl.DataFrame, part: str | None, name: str, by: str | None) -> None:
    """Append rows as one part, or, for an import (`part` None), as one part per month of the column `by`."""
    if part is not None or by is None:
        appender.append(table, part or name, rows)
        return
    for month, group in posts_step.partition_by_month(rows, by):
        appender.append(table, f"{month}-{name}", group)


def _moment(batch: Batch) -> datetime:
    """When a batch was known: the latest time in it, so that the same input gives the same bytes."""
    latest = batch.posts["first_seen_at"].max()
    return latest if isinstance(latest, datetime) else EARLIEST


def embed(ws: Workspace) -> StageReport:
    """Vectors for every picture, and its post's words, that this encoder has not seen yet."""
    from flickcast.embeddings import step
    from flickcast.embeddings.encoders import load_encoder

    table = f"embeddings/{ws.params.embed.encoder}"
    facts = {"pictures": 0, "embedded": 0, "quarantined": 0}
    with ws.appending("embed") as appender:
        if not ws.exists("images"):
            return StageReport("embed", facts, ("No pictures here: nothing to embed.",))
        encoder = load_encoder(ws.params.embed, root=ws.root)
        embedded = ws.read(table, ("post_id", "encoder_version", "input_sha256"))
        if (embedded["encoder_version"] != encoder.version).any():
            appender.drop(table)  # other weights under the same name: their vectors do not mix
        images = ws.read("images", ("post_id", "sha256"))
        todo = step.missing(ws.read("posts", ("post_id", "title", "tags")), images, embedded, encoder.version)
        facts["pictures"] = images.height
        with progress("embed", todo.height) as advance:
            for path in ws.parts("images"):
                work = todo.join(pl.read_parquet(path, columns=["post_id", "bytes"]), on="post_id")
                if work.height:
                    embedded_count, rejected_count = _embed_part(ws, appender, table, path.stem, work, encoder)
                    facts["embedded"] += embedded_count
                    facts["quarantined"] += rejected_count
                    advance(work.height)
    return StageReport("embed", facts)


def _embed_part(
    ws: Workspace, appender: Appender, table: str, part: str, work: pl.DataFrame, encoder: "Encoder"
) -> tuple[int, int]:
    """One shard: vectors and quarantine of the pictures of one part of `images`; counts as soon as it is done."""
    from flickcast.embeddings import step

    vectors, rejected = step.embed_shard(work, encoder, ws.params.embed.batch_size)
    part = f"{part}-{encoder.version[:8]}"
    appender.append(table, part, vectors)
    appender.append("quarantine/embed", part, quarantine_rows("embed", "images", rejected, _latest_seen(ws)))
    appender.checkpoint()
    return vectors.height - len(rejected), len(rejected)


def labels(ws: Workspace) -> StageReport:
    """The labels known so far: counts of posts that have come of age, and those of the challenge's files."""
    from flickcast.labels import popularity_labels

    rows = popularity_labels(
        ws.read("posts", ("post_id", "posted_at")),
        ws.read("observations"),
        ws.read("imported_labels"),
        ws.params.label,
    )
    ws.replace("labels", rows)
    kinds = dict(rows.group_by("kind").len().sort("kind").iter_rows())
    return StageReport("labels", {"labels": rows.height, **kinds})


def aggregate(ws: Workspace) -> StageReport:
    """What each day added to what is known of each user."""
    from flickcast.aggregates import user_days

    rows = user_days(ws.read("posts"), ws.read("labels"))
    ws.replace("aggregates/users", rows)
    return StageReport("aggregate", {"users": rows["user_id"].n_unique(), "user_days": rows.height})


def features(ws: Workspace) -> StageReport:
    """The model matrix, one row per post, and the manifest that names each column's group and clock."""
    from flickcast.aggregates import as_of
    from flickcast.features import build, left_out

    posts, groups = ws.read("posts"), ws.params.features.groups
    states = as_of(posts, ws.read("aggregates/users"))
    matrix, manifest = build(posts, ws.read("users"), states, _vectors(ws), groups)
    ws.replace("features", matrix)
    publish_json(ws.folder("features") / "manifest.json", manifest)
    facts = {"posts": matrix.height, "columns": matrix.width - 1}
    return StageReport("features", facts, tuple(left_out(manifest, groups)))


def train(ws: Workspace) -> StageReport:
    """Two models of the recipe: one of the oldest 80 %, to be judged; one of all labelled posts, to be used."""
    from flickcast import models

    params, rows = ws.params.train, ws.read("labels")
    if rows.is_empty():
        raise UserError(
            f"{ws.root}: no post has a label yet, so there is nothing to learn from. Import labelled posts."
        )
    recipe = _recipe(ws)
    with progress("train", models.fits(recipe, params)) as advance:
        metrics = models.train(
            ws.read("features"),
            _feature_manifest(ws),
            ws.read("posts"),
            _vectors(ws),
            rows,
            recipe,
            params,
            ws.params.seed,
            ws.root / "models" / params.recipe,
            advance,
        )
    publish_json(ws.root / "metrics" / "train.json", metrics)
    return StageReport("train", {"labelled": rows.height, "model": metrics["final"]["model"]})


def _recipe(ws: Workspace) -> dict[str, Any]:
    path = ws.root / "recipes" / f"{ws.params.train.recipe}.yaml"
    if not path.exists():
        known = [other.stem for other in path.parent.glob("*.yaml")]
        raise UserError(f"params.yaml: train.recipe is '{ws.params.train.recipe}'; {nearest(path.stem, known)}")
    return read_yaml(path)


def _feature_manifest(ws: Workspace) -> dict[str, dict[str, Any]]:
    content: dict[str, dict[str, Any]] = json.loads((ws.folder("features") / "manifest.json").read_text())
    return content


def evaluate(ws: Workspace) -> StageReport:
    """The holdout model on the newest 20 %, beside the naive baselines and, on simulated data, the oracle."""
    from flickcast import models
    from flickcast.evaluation import evaluate as judge

    model = models.load(ws.root / "models" / ws.params.train.recipe / "holdout")
    labelled = ws.read("posts").join(ws.read("labels", ("post_id", "popularity")), on="post_id")
    oldest, newest = time_split(labelled)
    train, test = (labelled.filter(pl.col("post_id").is_in(ids.implode())) for ids in (oldest, newest))
    predicted = model.predict(_judged_matrix(ws, oldest, test), test, _vectors(ws))
    metrics, plots = judge(
        test.join(predicted, on="post_id"), train, ws.read("oracle"), ws.params.evaluate, ws.params.seed
    )
    publish_json(ws.root / "metrics" / "evaluation.json", metrics)
    plots["importances"] = model.importances().head(PLOTTED_FEATURES)
    for name, frame in plots.items():
        publish(ws.root / "plots" / f"{name}.csv", frame.write_csv().encode())
    facts = {name: {key: value[key] for key in ("src", "mae")} for name, value in metrics.items() if "src" in value}
    return StageReport("evaluate", {"split": metrics["split"], "test_posts": test.height, **facts})


def _judged_matrix(ws: Workspace, training_ids: pl.Series, test: pl.DataFrame) -> pl.DataFrame:
    """The matrix of the test rows, what they know of labels coming from training rows alone (PROTOCOL: no test label
    is ever learnt from, though a night would know the older ones).
    """
    from flickcast.aggregates import as_of, user_days
    from flickcast.features import build

    training_labels = ws.read("labels").filter(pl.col("post_id").is_in(training_ids.implode()))
    states = as_of(test, user_days(ws.read("posts"), training_labels))
    group = "user_popularity"
    known, _ = build(test, ws.read("users"), states, _vectors(ws), [group])
    columns = [name for name, facts in _feature_manifest(ws).items() if facts["group"] == group]
    absent = [pl.lit(None, pl.Float32).alias(name) for name in columns if name not in known.columns]
    matrix = ws.read("features").join(test, on="post_id", how="semi").drop(columns)
    return matrix.join(known.with_columns(absent), on="post_id", how="left")


def predict(ws: Workspace) -> StageReport:
    """Predictions, with an 80 % band, of every post whose label is not known yet."""
    from flickcast import models

    model = models.load(ws.root / "models" / ws.params.train.recipe / "final")
    unlabelled = ws.read("posts", ("post_id",)).join(ws.read("labels", ("post_id",)), on="post_id", how="anti")
    rows = predictions(ws, model, unlabelled)
    with ws.appending("predict") as appender:
        new = _unknown(ws, "predictions", rows)
        appender.append("predictions", f"{ws.night or 'import'}-{model.name}", new)
    return StageReport("predict", {"unlabelled": unlabelled.height, "predicted": new.height, "model": model.name})


def predictions(ws: Workspace, model: "Model", wanted: pl.DataFrame) -> pl.DataFrame:
    """Rows of the table `predictions` for the wanted posts (one column, post_id)."""
    matrix = ws.read("features").join(wanted, on="post_id", how="semi")
    posts = ws.read("posts").join(wanted, on="post_id", how="semi")
    predicted_at = night_bounds(ws.night)[1] if ws.night else _latest_seen(ws)
    return model.predict(matrix, posts, _vectors(ws)).with_columns(
        model=pl.lit(model.name), predicted_at=pl.lit(predicted_at)
    )


def drift(ws: Workspace) -> StageReport:
    """How far the night's posts lie from the training data; Evidently's report as HTML and JSON."""
    from flickcast.drift import drift_report

    matrix, columns = ws.read("features"), _feature_manifest(ws)
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
    part = ws.folder("posts") / f"{ws.night}.parquet"
    new = pl.read_parquet(part, columns=["post_id"]) if part in ws.parts("posts") else ws.keys("posts").clear()
    return new, ws.read("labels", ("post_id",))


def _vectors(ws: Workspace) -> pl.DataFrame:
    return ws.read(f"embeddings/{ws.params.embed.encoder}")


def _latest_seen(ws: Workspace) -> datetime:
    """The latest moment this workspace knows of: what stands for "now" where no night does (same data, same bytes)."""
    latest = ws.scan("posts", ("first_seen_at",)).max().collect().item()
    return latest if isinstance(latest, datetime) else EARLIEST


def _fresh_users(ws: Workspace, now: datetime) -> set[str]:
    """Users whose numbers are recent enough not to be asked for again."""
    oldest = now - timedelta(days=ws.params.ingest.user_refresh_days)
    return set(ws.scan("users", ("user_id", "observed_at")).filter(pl.col("observed_at") > oldest).collect()["user_id"])


def _unknown(ws: Workspace, table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows whose key the table does not hold yet."""
    return rows.join(ws.keys(table), on=list(table_named(table).key), how="anti")


STAGES: dict[str, Callable[[Workspace], StageReport]] = {
    stage.__name__: stage for stage in (ingest, embed, labels, aggregate, features, train, evaluate, predict, drift)
}
