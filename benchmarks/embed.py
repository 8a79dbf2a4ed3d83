"""Measure embedding, and write it into docs/performance.md: `python benchmarks/embed.py`.

ViT-B-32 with random weights, which cost a processor what trained ones do. What is compared runs in one go, in turns;
each contender is a process of its own, whose memory is what it and its children hold together.
"""

import argparse
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
import psutil
from ingest import write_between
from PIL import Image

from flickcast.schemas import TABLES
from flickcast.workspace import Workspace, create_workspace

MARK = re.compile(r"(<!-- embed -->\n).*(<!-- end of embed -->)", re.DOTALL)
MODEL = "ViT-B-32"
ENCODER = f"{MODEL}-picture"
NUMBER_TYPES = ("float32", "bfloat16")
BATCH = 64
PICTURES = 5_000
WARM = 32  # pictures, before any clock starts
RATE_PICTURES = 512
ROUNDS = 3
STORED, DIMENSION, PART = 500_000, 512, 2_000
MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


def picture(number: int) -> bytes:
    """A JPEG of 500 x 375: smooth as a photo is, with some grain; about 60 kB."""
    dice = np.random.default_rng(number)
    small = Image.fromarray(dice.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((500, 375), Image.Resampling.BICUBIC), dtype=np.int16)
    grain = dice.normal(0, 8, smooth.shape).astype(np.int16)
    buffer = io.BytesIO()
    Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def write_pictures(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:06}.jpg").write_bytes(picture(number))


def random_weights(path: Path) -> Path:
    import open_clip
    import torch
    from safetensors.torch import save_model

    torch.manual_seed(0)
    save_model(open_clip.create_model(MODEL, pretrained=None, load_weights=False), str(path))
    return path


def workspace(root: Path, weights: Path, number_type: str, contents: Iterator[bytes]) -> Workspace:
    """Posts and their pictures, as an import stores them; the pair is the small packaged one, which is quick."""
    values = {"embed.encoder": "flickcast-tiny", "embed.others": f"[{ENCODER}]", "embed.number_type": number_type}
    create_workspace(root, values | {"embed.weights": f"{{{MODEL}: {weights}}}", "embed.batch_size": str(BATCH)})
    ws = Workspace(root)
    with ws.appending("ingest") as appender:
        for part, some in enumerate(_slices(contents, 500)):
            ids = [f"{part}-{number:03}" for number in range(len(some))]
            posts = pl.DataFrame({"post_id": ids}).with_columns(
                source=pl.lit("flickr"), user_id=pl.lit("u"), posted_at=pl.lit(MOMENT), first_seen_at=pl.lit(MOMENT)
            )
            sums = [hashlib.sha256(one).hexdigest() for one in some]
            images = pl.DataFrame({"post_id": ids, "sha256": sums, "bytes": some})
            appender.append("posts", f"p{part:04}", TABLES["posts"].conform(posts))
            appender.append("images", f"p{part:04}", TABLES["images"].conform(images))
    return ws


def _slices(contents: Iterator[bytes], most: int) -> Iterator[list[bytes]]:
    gathered: list[bytes] = []
    for one in contents:
        gathered.append(one)
        if len(gathered) == most:
            yield gathered
            gathered = []
    if gathered:
        yield gathered


# --- the pipeline beside the bare model -------------------------------------------------------------------------------


def measure_rates(root: Path, weights: Path, count: int, rounds: int) -> str:
    rows = []
    for number_type in NUMBER_TYPES:
        ws = workspace(root / f"rate-{number_type}", weights, number_type, (picture(one) for one in range(count)))
        found = json.loads(_child("rates", str(ws.root), str(rounds)).stdout)
        ratios = [ours / bare for ours, bare in found]
        told = " | ".join(f"{median(column):.1f}" for column in zip(*found, strict=True))
        rows.append(
            f"| {number_type} | {count} | {told} | {median(ratios):.2f} | {', '.join(f'{one:.2f}' for one in ratios)} |"
        )
    head = "| number type | pictures | `flickcast embed`, pictures per second | bare model | ratio | of each round |"
    return _table(f"{head}\n", rows)


def rates(root: Path, rounds: int) -> list[tuple[float, float]]:
    """Pictures per second of the stage and of the bare model, in turns: the stage from table to table."""
    from flickcast.embeddings.encoders import load_encoder
    from flickcast.embeddings.protocol import Sample
    from flickcast.pictures import decode

    ws = Workspace(root)
    encoder: Any = load_encoder(ENCODER, ws.params.embed, root)
    contents = ws.read("images", ("bytes",))["bytes"].to_list()
    decoded = [decode(one, encoder.shortest_edge) for one in contents]
    prepared = [encoder.prepare(Sample(picture=one.rgb)) for one in decoded]
    model, numbers = _bare(encoder, prepared)
    _bare_rate(model, numbers[:WARM])
    return [(_stage(ws)["per_second"], _bare_rate(model, numbers)) for _ in range(rounds)]


def _bare(encoder: Any, prepared: list[Any]) -> tuple[Any, Any]:
    """The encoder's own model and its input, normalised and in the model's number type, all in memory."""
    import torch

    pixels = torch.stack(prepared).float().div(255)
    return encoder._model, encoder._normalise(pixels).to(encoder._dtype)


def _bare_rate(model: Any, numbers: Any) -> float:
    import torch

    started = time.perf_counter()
    with torch.inference_mode():
        for some in numbers.split(BATCH):
            model.encode_image(some)
    return len(numbers) / (time.perf_counter() - started)


def _stage(ws: Workspace) -> dict[str, Any]:
    """What `flickcast embed` says of the encoder, from nothing embedded."""
    from flickcast.stages import embed

    with ws.appending("embed") as appender:
        appender.drop(f"embeddings/{ENCODER}")
    report = embed(ws)
    if ENCODER not in report.facts["encoders"]:
        raise SystemExit(f"{ENCODER} was left out: {'; '.join(report.notes)}")
    return dict(report.facts["encoders"][ENCODER])


# --- the stage beside what a user would write -------------------------------------------------------------------------


def measure_side_by_side(root: Path, weights: Path, count: int, rounds: int) -> str:
    folder = root / "pictures"
    write_pictures(folder, count)
    files = sorted(folder.glob("*.jpg"))
    ws = workspace(root / "side-by-side", weights, "float32", (path.read_bytes() for path in files))
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name in CONTENDERS:
            given = str(ws.root) if name == "stage" else str(folder)
            child = _child(name, given, str(weights))
            found[name].append((count / float(json.loads(child.stdout)), child.peak_bytes / 2**20))
    rows = [
        f"| {CONTENDERS[name]} | {median(speed for speed, _ in runs):.1f} | "
        f"{', '.join(f'{speed:.1f}' for speed, _ in runs)} | {max(memory for _, memory in runs):,.0f} |"
        for name, runs in found.items()
    ]
    said = f"{count:,} JPEGs of 500 x 375, {rounds} rounds, float32; model loading not counted."
    return f"{said}\n\n" + _table("| | pictures per second | of each round | peak memory, MiB |\n", rows)


CONTENDERS = {
    "loop": "plain loop: open one file, encode one picture",
    "loader": f"torch DataLoader, 2 workers, batches of {BATCH}",
    "stage": "`flickcast embed`, from table to table",
}


def loop(folder: Path, weights: str) -> float:
    import torch

    model, preprocess = _opened(weights)
    started = time.perf_counter()
    vectors = []
    with torch.no_grad():
        for path in sorted(folder.glob("*.jpg")):
            found = model.encode_image(preprocess(Image.open(path)).unsqueeze(0))
            vectors.append((found / found.norm(dim=-1, keepdim=True)).numpy())
    np.save(folder.parent / "loop.npy", np.concatenate(vectors).astype(np.float16))
    return time.perf_counter() - started


def loader(folder: Path, weights: str) -> float:
    import torch
    from torch.utils.data import DataLoader, Dataset

    model, preprocess = _opened(weights)
    paths = sorted(folder.glob("*.jpg"))

    class Files(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, number: int) -> Any:
            return preprocess(Image.open(paths[number]))

    started = time.perf_counter()
    vectors = []
    with torch.no_grad():
        for some in DataLoader(Files(), batch_size=BATCH, num_workers=2):
            found = model.encode_image(some)
            vectors.append((found / found.norm(dim=-1, keepdim=True)).numpy())
    np.save(folder.parent / "loader.npy", np.concatenate(vectors).astype(np.float16))
    return time.perf_counter() - started


def _opened(weights: str) -> tuple[Any, Any]:
    import open_clip

    model, _, preprocess = open_clip.create_model_and_transforms(MODEL, pretrained=weights)
    return model.eval(), preprocess


# --- what is stored ---------------------------------------------------------------------------------------------------


def measure_stored(root: Path, count: int) -> str:
    create_workspace(root / "stored", {"embed.encoder": "flickcast-tiny"})
    ws = Workspace(root / "stored")
    dice = np.random.default_rng(0)
    with ws.appending("embed") as appender:
        for start in range(0, count, PART):
            ids = [f"{number:011}" for number in range(start, min(start + PART, count))]
            numbers = dice.normal(size=(len(ids), DIMENSION)).astype(np.float32)
            unit = (numbers / np.linalg.norm(numbers, axis=1, keepdims=True)).astype(np.float16)
            rows = pl.DataFrame({"post_id": ids, "input_sha256": [_sum(one) for one in ids]}).with_columns(
                pl.Series("vector", unit, dtype=pl.Array(pl.Float16, DIMENSION)), encoder_version=pl.lit("0" * 16)
            )
            appender.append(f"embeddings/{ENCODER}", f"p{start:08}", TABLES["embeddings"].conform(rows))
    found = json.loads(_child("stored", str(ws.root)).stdout)
    size = sum(path.stat().st_size for path in ws.folder(f"embeddings/{ENCODER}").glob("*.parquet"))
    reads, matrices = (median(column) for column in zip(*found, strict=True))
    row = f"| {count:,} x {DIMENSION} | {size / count:,.0f} | {2 * DIMENSION:,} | {matrices:.2f} | {reads:.2f} | "
    head = "| float16 vectors | bytes stored per vector | numbers alone, unpacked | `Workspace.matrix`, seconds | "
    return _table(head + "the same files' bytes only read, seconds | ratio |\n", [f"{row}{matrices / reads:.1f} |"])


def stored(root: Path) -> list[tuple[float, float]]:
    """Seconds to read the files and to have the matrix, in turns; all of it is in the system's cache."""
    ws = Workspace(root)
    return [(_read_files(ws), _read_matrix(ws)) for _ in range(ROUNDS + 1)][1:]


def _read_files(ws: Workspace) -> float:
    started = time.perf_counter()
    kept = [path.read_bytes() for path in ws.folder(f"embeddings/{ENCODER}").glob("*.parquet")]
    assert kept
    return time.perf_counter() - started


def _read_matrix(ws: Workspace) -> float:
    started = time.perf_counter()
    ids, matrix = ws.matrix(ENCODER)
    assert matrix.shape == (len(ids), DIMENSION)
    assert float(matrix[-1, -1]) == matrix[-1, -1]
    return time.perf_counter() - started


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# --- processes and tables ---------------------------------------------------------------------------------------------


class Child:
    """A part of this program in a process of its own, until it ends."""

    def __init__(self, *arguments: str) -> None:
        process = subprocess.Popen([sys.executable, __file__, "--child", *arguments], stdout=subprocess.PIPE, text=True)
        watched, self.peak_bytes = psutil.Process(process.pid), 0
        while process.poll() is None:  # what it says fits into a pipe's buffer
            self.peak_bytes = max(self.peak_bytes, _held(watched))
            time.sleep(0.1)
        self.stdout = process.communicate()[0].splitlines()[-1] if process.returncode == 0 else ""
        if process.returncode:
            raise SystemExit(f"{arguments[0]} ended with {process.returncode}")


_child = Child


def _held(process: psutil.Process) -> int:
    """Bytes of a process and its children; what they share counts once."""
    total = 0
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    for one in family:
        try:
            total += one.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def _table(head: str, rows: list[str]) -> str:
    return head + "|" + " --- |" * (head.count("|") - 1) + "\n" + "\n".join(rows) + "\n"


def _when(options: str) -> str:
    machine = f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}"
    load = os.getloadavg()[0]
    return (
        f"Measured {date.today()} by `python benchmarks/embed.py{options}`, {os.cpu_count()} cores ({machine}), no "
        f"GPU; load average {load:.1f} before the start."
    )


CHILDREN: dict[str, Callable[..., Any]] = {
    "rates": lambda root, rounds: rates(Path(root), int(rounds)),
    "loop": lambda folder, weights: loop(Path(folder), weights),
    "loader": lambda folder, weights: loader(Path(folder), weights),
    "stage": lambda root, _: _stage(Workspace(Path(root)))["seconds"],
    "stored": lambda root: stored(Path(root)),
}


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(CHILDREN[sys.argv[2]](*sys.argv[3:])))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=PICTURES, help="of the comparison with a user's own code")
    parser.add_argument("--rate-pictures", type=int, default=RATE_PICTURES)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="in which the contenders take turns")
    parser.add_argument("--side-rounds", type=int, default=1, help="the same with a user's own code, which takes long")
    parser.add_argument("--threads", type=int, help="of torch, for all; default: one per core")
    parser.add_argument("--stored", type=int, default=STORED)
    parser.add_argument("--dry", action="store_true", help="print the tables, leave the page as it is")
    given = parser.parse_args()
    if given.threads:
        os.environ["OMP_NUM_THREADS"] = str(given.threads)  # the processes to come
    told = [f"{_when(''.join(f' {word}' for word in sys.argv[1:]))}\n"]
    root = Path(tempfile.mkdtemp(prefix="flickcast-bench-"))
    try:
        weights = random_weights(root / "random.safetensors")
        told.append(measure_rates(root, weights, given.rate_pictures, given.rounds))
        print(told[-1], flush=True)
        told.append(measure_side_by_side(root, weights, given.pictures, given.side_rounds))
        print(told[-1], flush=True)
        told.append(measure_stored(root, given.stored))
        print(told[-1], flush=True)
    finally:
        shutil.rmtree(root)
    if not given.dry:
        write_between(MARK, "\n".join(told))


if __name__ == "__main__":
    main()
