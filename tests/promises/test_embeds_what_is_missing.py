"""Promise: what is embedded is embedded: nothing twice, the same vectors in any batch and order, whoever was killed."""

import hashlib
import io
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from embeddable import filled
from PIL import Image

from flickcast.embeddings.encoders import load_encoder
from flickcast.schemas import TABLES
from flickcast.stages import embed
from flickcast.tables import Appender
from flickcast.workspace import Workspace, create_workspace

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)
PICTURE, TEXT = "flickcast-tiny-picture", "flickcast-tiny-text"
CANARIES = 5  # which every run embeds first
ROUNDING = 2.0**-11  # of float16 below 1
OLD, NEW, PART = 100_000, 1_000, 10_000


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((72, 64)).save(buffer, "JPEG")
    return buffer.getvalue()


def store(appender: Appender, part: str, ids: Sequence[str], pictures: Sequence[bytes]) -> pl.DataFrame:
    """Posts with their pictures, as a night stores them; the pictures' rows."""
    posts = pl.DataFrame({"post_id": ids, "title": [f"no. {one}" for one in ids]}).with_columns(
        source=pl.lit("flickr"), user_id=pl.lit("u"), posted_at=pl.lit(MOMENT), first_seen_at=pl.lit(MOMENT)
    )
    sums = [hashlib.sha256(content).hexdigest() for content in pictures]
    images = pl.DataFrame({"post_id": ids, "sha256": sums, "bytes": pictures})
    appender.append("posts", part, TABLES["posts"].conform(posts))
    appender.append("images", part, TABLES["images"].conform(images))
    return images


@pytest.mark.slow
def test_a_thousand_posts_beside_a_hundred_thousand_cost_a_thousand(
    workspace: Workspace, encoded: dict[str, int]
) -> None:
    """The old vectors are written as a run would have left them; the old pictures would not even decode."""
    encoders = [load_encoder(name, workspace.params.embed, workspace.root) for name in (PICTURE, TEXT)]
    with workspace.appending("ingest") as appender:
        for start in range(0, OLD, PART):
            ids = [f"{number:07}" for number in range(start, start + PART)]
            store(appender, f"p{start}", ids, [f"old {one}".encode() for one in ids])
    with workspace.appending("embed") as appender:
        for encoder in encoders:
            for start in range(0, OLD, PART):
                ids = [f"{number:07}" for number in range(start, start + PART)]
                sums = [hashlib.sha256(f"{encoder.name} {one}".encode()).hexdigest() for one in ids]
                vectors = np.zeros((PART, encoder.dimension), np.float16)
                rows = pl.DataFrame({"post_id": ids, "input_sha256": sums}).with_columns(
                    pl.Series("vector", vectors, dtype=pl.Array(pl.Float16, encoder.dimension)),
                    encoder_version=pl.lit(encoder.version),
                )
                appender.append(f"embeddings/{encoder.name}", f"p{start}", TABLES["embeddings"].conform(rows))

    assert embed(workspace).facts["embedded"] == 0
    assert encoded == {PICTURE: CANARIES, TEXT: CANARIES}

    new = [f"{number:07}" for number in range(OLD, OLD + NEW)]
    with workspace.appending("ingest") as appender:
        store(appender, "new", new, [picture(number) for number in range(NEW)])
    encoded.clear()
    assert embed(workspace).facts["embedded"] == 2 * NEW
    assert encoded == {PICTURE: CANARIES + NEW, TEXT: CANARIES + NEW}

    encoded.clear()
    before = workspace.manifest("embed")
    assert embed(workspace).facts["embedded"] == 0
    assert encoded == {PICTURE: CANARIES, TEXT: CANARIES}
    assert workspace.manifest("embed") == before


def vectors_of(ws: Workspace, name: str) -> tuple[list[str], np.ndarray[Any, Any]]:
    """By input, so that posts may have any name."""
    rows = ws.read(f"embeddings/{name}").sort("input_sha256")
    return rows["input_sha256"].to_list(), rows["vector"].to_numpy().astype(np.float32)


def test_the_vectors_are_the_same_for_any_batch_size_and_order(tmp_path: Path) -> None:
    pictures = [picture(number) for number in range(70)]
    expected = None
    for batch_size, seed in ((64, None), (1, 1), (7, 2), (500, 3)):
        root = tmp_path / f"batches-{batch_size}"
        create_workspace(root, {"embed.encoder": "flickcast-tiny", "embed.batch_size": str(batch_size)})
        ws = Workspace(root)
        order = np.arange(70) if seed is None else np.random.default_rng(seed).permutation(70)
        with ws.appending("ingest") as appender:
            store(appender, "p", [f"{number:03}" for number in range(70)], [pictures[one] for one in order])
        embed(ws)
        keys, vectors = vectors_of(ws, PICTURE)
        expected = expected or (keys, vectors)
        assert keys == expected[0]
        assert np.abs(vectors - expected[1]).max() <= ROUNDING, batch_size


def kill_when_stored(root: Path, name: str, parts: int) -> bool:
    """Start the stage in a process of its own and kill it as soon as the table has so many parts; did that hit?"""
    command = [str(Path(sys.executable).with_name("flickcast")), "embed", "-w", str(root)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = root / "data" / "embeddings" / name
    while process.poll() is None and len(list(folder.glob("*.parquet"))) < parts:
        time.sleep(0.002)
    hit = process.poll() is None
    process.kill()
    process.wait()
    return hit


@pytest.mark.slow
def test_a_worker_killed_again_and_again_ends_with_the_table_of_an_undisturbed_one(tmp_path: Path) -> None:
    killed, clean = (Workspace(filled(tmp_path / name, nights=9, posts=8)) for name in ("killed", "clean"))
    embed(clean)
    for name, parts in ((PICTURE, 2), (PICTURE, 5), (TEXT, 3)):
        kept = killed.manifest("embed").parts.get(f"embeddings/{PICTURE}", {})
        assert kill_when_stored(killed.root, name, parts), "over before it could be killed"
        assert kept.items() <= killed.manifest("embed").parts[f"embeddings/{PICTURE}"].items(), "work was lost"
    embed(killed)
    for name in (PICTURE, TEXT):
        found, expected = (ws.read(f"embeddings/{name}").sort("post_id") for ws in (killed, clean))
        assert found.drop("vector").equals(expected.drop("vector"))
        assert found.height == 9 * 8
        steps = found["vector"].to_numpy().astype(np.float32) - expected["vector"].to_numpy().astype(np.float32)
        assert np.abs(steps).max() <= ROUNDING
