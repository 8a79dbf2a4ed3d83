"""Predictions for posts that are not in the workspace: the same stages in a throw-away copy of it."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from flickcast import models, stages
from flickcast.errors import UserError
from flickcast.records import StageReport
from flickcast.tables import APPENDING_STAGES, publish_parquet
from flickcast.workspace import Workspace, create_workspace


def predict_elsewhere(ws: Workspace, source: str, folder: Path, out: Path) -> StageReport:
    """Write a Parquet of post_id, prediction, low, high for every post of a folder; the workspace stays as it is.

    What the workspace knows of the posts' users counts, as it would in a night.
    """
    if not out.resolve().parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.resolve().parent}.")
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file in it, e.g. {out / 'predictions.parquet'}.")
    model = models.load(ws.root / "models" / ws.params.train.recipe / "final")
    batch = stages.read_source(source, folder)
    with tempfile.TemporaryDirectory(prefix="flickcast-") as scratch:
        copy = _linked_copy(ws, Path(scratch))
        stages.import_batch(copy, batch)
        for stage in (stages.embed, stages.labels, stages.aggregate, stages.features):
            stage(copy)
        rows = stages.predictions(copy, model, batch.posts.select("post_id"))
    publish_parquet(out, rows.select("post_id", "prediction", "low", "high").sort("post_id"))
    facts = {"posts": batch.posts.height, "predicted": rows.height, "model": model.name, "out": str(out)}
    return StageReport("predict", facts, batch.notes)


def _linked_copy(ws: Workspace, root: Path) -> Workspace:
    """A workspace over the same parts (parts are immutable, so links are safe), with its own manifests."""
    for name in ("params.yaml", "night.yaml"):
        if (ws.root / name).exists():
            (root / name).write_bytes((ws.root / name).read_bytes())
    if (ws.root / "encoders").is_dir():
        shutil.copytree(ws.root / "encoders", root / "encoders")
    create_workspace(root, _weights_from_anywhere(ws))
    for stage in APPENDING_STAGES:
        for table, parts in ws.manifest(stage).parts.items():
            (root / "data" / table).mkdir(parents=True, exist_ok=True)
            for part in parts:
                os.symlink(ws.folder(table) / part, root / "data" / table / part)
        manifest = ws.root / "manifests" / f"{stage}.json"
        if manifest.exists():
            (root / "manifests").mkdir(exist_ok=True)
            (root / "manifests" / manifest.name).write_bytes(manifest.read_bytes())
    return Workspace(root)


def _weights_from_anywhere(ws: Workspace) -> dict[str, str]:
    """The values of params.yaml that name files, which are seen from the workspace, as whole paths."""
    params = ws.params.embed

    def whole(place: str | None) -> str | None:
        return str(ws.root / place) if place and (ws.root / place).exists() else place

    values = {
        "embed.pretrained": (params.pretrained, whole(params.pretrained)),
        "embed.weights": (params.weights, {name: whole(place) for name, place in params.weights.items()}),
    }
    return {name: json.dumps(new) for name, (old, new) in values.items() if new != old}
