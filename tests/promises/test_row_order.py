"""File order leaks the label in the real data, so it must not matter: shuffled input files change no prediction."""

import json
import random
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from flickcast import stages
from flickcast.simulate.corpus import write_corpus
from flickcast.simulate.world import World, WorldParams
from flickcast.workspace import Workspace, create_workspace

START = date(2026, 1, 1)
DAYS = 25
AFTER_IMPORT = ("embed", "labels", "aggregate", "features", "train", "evaluate", "predict", "drift")


def shuffled(folder: Path, target: Path) -> Path:
    """The same dataset with the rows of each split in another order, the same one in all of its files."""
    shutil.copytree(folder, target)
    for split in ("train", "test"):
        files = [path for path in sorted(target.glob(f"{split}_*")) if path.is_file()]
        rows = {path: _rows(path) for path in files}
        order = list(range(len(next(iter(rows.values())))))
        random.Random(5).shuffle(order)
        for path, content in rows.items():
            _write(path, [content[number] for number in order])
    return target


def _rows(path: Path) -> list[object]:
    return list(json.loads(path.read_text())) if path.suffix == ".json" else list(path.read_text().splitlines())


def _write(path: Path, rows: list[object]) -> None:
    path.write_text(json.dumps(rows) if path.suffix == ".json" else "\n".join(map(str, rows)) + "\n")


def outputs(root: Path, corpus: Path) -> dict[str, bytes]:
    """All that the stages make of a corpus, by place."""
    create_workspace(root, {"embed.encoder": "flickcast-tiny"})
    ws = Workspace(root)
    stages.import_batch(ws, stages.read_source("smpd-image", corpus))
    for stage in AFTER_IMPORT:
        stages.STAGES[stage](ws)
    assert ws.read("predictions").height > 100
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in ("data/features", "data/predictions", "models", "metrics", "reports", "plots")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_shuffled_input_files_change_no_byte_of_features_models_predictions_and_metrics(tmp_path: Path) -> None:
    world = World(WorldParams(seed=2, users=60, posts_per_day=25, start=START))
    last, now = START + timedelta(days=DAYS - 1), datetime(2026, 3, 1, tzinfo=UTC)
    write_corpus(world, tmp_path / "corpus", START, last, now, test_from=last - timedelta(days=6))
    other = shuffled(tmp_path / "corpus", tmp_path / "other")
    assert (other / "train_label.txt").read_text() != (tmp_path / "corpus" / "train_label.txt").read_text()
    assert outputs(tmp_path / "one", tmp_path / "corpus") == outputs(tmp_path / "two", other)
