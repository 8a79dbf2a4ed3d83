"""Measure embedding, and write it into docs/performance.md: `python benchmarks/embed.py`, all of it or one part.

Real architectures with random weights, which cost what trained ones do. What is compared runs in one go, in turns;
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
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
import psutil
from embed_work import BATCH
from ingest import write_between
from PIL import Image

from flickcast.schemas import TABLES
from flickcast.workspace import Workspace, create_workspace

MODEL, SMALL = "ViT-B-32", "ViT-S-32"  # 4.4 and 1.1 billion multiplications a picture
RATIO_PICTURES, RATIO_ROUNDS = 384, 5
SIDE_PICTURES = {SMALL: 5_000, MODEL: 400}
STORED, DIMENSION, PART, READ_ROUNDS = 500_000, 512, 2_000, 5
MOMENT = datetime(2026, 3, 1, tzinfo=UTC)
WATCH_SECONDS = 0.25  # adding up the pages of a gigabyte takes the system some milliseconds
STARTED = time.monotonic()


def say(text: str) -> None:
    """Progress, with the seconds since the start."""
    print(f"[{time.monotonic() - STARTED:5.0f} s] {text}", file=sys.stderr, flush=True)


# --- the pipeline beside the bare model -------------------------------------------------------------------------------


def measure_ratio(root: Path, given: argparse.Namespace) -> str:
    """The stage's rate over the bare model's, for each number type that this machine computes in."""
    weights = random_weights(root, MODEL)
    contents = [picture(one) for one in range(given.ratio_pictures)]
    rows = []
    for number_type in number_types():
        say(f"ratio, {number_type}: {given.rounds} rounds of {len(contents)} pictures")
        ws = workspace(root / number_type, MODEL, weights, number_type, contents)
        rows.append(ratio_row(number_type, Child("rates", str(ws.root), f"{MODEL}-picture", str(given.rounds)).found))
    head = (
        "| number type | `flickcast embed`, pictures per second | model, passes of as many | model, batches | ratio | "
        "of each round | ratio by processor time | decoding, ms of a core | ratio cannot exceed |"
    )
    said = (
        f"{MODEL}, {len(contents)} JPEGs of 500 x 375, {given.rounds} rounds: the model's passes before and after each "
        "run of the stage; median and each round. By processor time: seconds spent by all threads, the proof of the "
        "encoder taken off; a neighbour of this virtual machine cannot lengthen them."
    )
    return f"{said}\n\n{_table(head, rows)}"


def ratio_row(number_type: str, found: dict[str, Any]) -> str:
    """The ratio is to passes of the same size, just before and just after."""
    rounds, sizes, prepare = found["rounds"], found["sizes"], found["prepare_seconds"]
    ours, bare = (median(one[key]["wall"] for one in rounds) for key in ("ours", "passes"))
    ratios, spent = ([one["ours"][clock] / one["passes"][clock] for one in rounds] for clock in ("wall", "processor"))
    return (
        f"| {number_type} | {ours:.1f} | {bare:.1f} ({sizes[0]}) | {found['batches']['wall']:.1f} ({sizes[1]}) | "
        f"{median(ratios):.2f} | {', '.join(f'{one:.2f}' for one in ratios)} | {median(spent):.2f} | "
        f"{1000 * prepare:.1f} | {_most(found['device'], bare, prepare):.2f} |"
    )


def _most(device: str, bare: float, prepare: float) -> float:
    """What is left to the model where decoding takes its share of the same cores; or what the cores can decode."""
    cores = os.cpu_count() or 1
    return 1 / (1 + prepare * bare / cores) if device == "cpu" else min(1.0, cores / prepare / bare)


def number_types() -> list[str]:
    """float32, and bfloat16 where the processor or the graphics card multiplies it by itself."""
    import torch

    native = torch.cuda.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return ["float32", "bfloat16"] if native else ["float32"]


# --- the stage beside what a user would write -------------------------------------------------------------------------


def measure_side_by_side(root: Path, given: argparse.Namespace) -> str:
    """Rate and peak memory of a plain loop, of a DataLoader and of the stage, one after the other."""
    counts = {MODEL: min(given.pictures, SIDE_PICTURES[MODEL])} | {SMALL: given.pictures}
    folder = root / "pictures"
    folder.mkdir()
    for number in range(max(counts.values())):
        (folder / f"{number:06}.jpg").write_bytes(picture(number))
    rows = [row for model, count in counts.items() for row in side_rows(root, folder, model, count, given.side_rounds)]
    said = f"JPEGs of 500 x 375, float32, {given.side_rounds} round(s); without the start of torch and of the model."
    return f"{said}\n\n" + _table("| model | pictures | | pictures per second | peak memory, MiB |", rows)


CONTENDERS = {
    "loop": "plain loop: open one file, encode one picture",
    "loader": f"torch DataLoader, a worker for each core, batches of {BATCH}",
    "stage": "`flickcast embed`, from table to table",
}


def side_rows(root: Path, pictures: Path, model: str, count: int, rounds: int) -> list[str]:
    """The contenders' rows of one model, over the first so many pictures."""
    weights = random_weights(root, model)
    folder = root / model / "pictures"
    folder.mkdir(parents=True)
    for path in sorted(pictures.glob("*.jpg"))[:count]:
        os.link(path, folder / path.name)
    ws = workspace(root / f"{model}-stage", model, weights, "float32", [one.read_bytes() for one in _files(folder)])
    given = {name: (str(folder), model, str(weights)) for name in CONTENDERS} | {"stage": (str(ws.root), _of(model))}
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name, arguments in given.items():
            child = Child(name, *arguments, watch=True)
            runs[name].append((count / float(child.found), child.peak_bytes / 2**20))
            say(f"side by side, {model}, {count} pictures, {name}: {runs[name][-1][0]:.1f} a second")
    return [
        f"| {model} | {count:,} | {told} | {', '.join(f'{speed:.1f}' for speed, _ in runs[name])} | "
        f"{max(memory for _, memory in runs[name]):,.0f} |"
        for name, told in CONTENDERS.items()
    ]


# --- what is stored ---------------------------------------------------------------------------------------------------


def measure_read(root: Path, given: argparse.Namespace) -> str:
    """Bytes of a vector on disk, and seconds to have all of them as a matrix."""
    name = _of(MODEL)
    create_workspace(root / "stored", {"embed.encoder": "flickcast-tiny"})
    ws = Workspace(root / "stored")
    say(f"read: writing {given.stored:,} vectors")
    with ws.appending("embed") as appender:
        for start in range(0, given.stored, PART):
            appender.append(f"embeddings/{name}", f"p{start:08}", random_vectors(start, given.stored))
    seconds = Child("stored", str(ws.root), name, str(READ_ROUNDS)).found
    size = sum(path.stat().st_size for path in ws.folder(f"embeddings/{name}").glob("*.parquet"))
    told = " | ".join(f"{median(one[key] for one in seconds):.2f}" for key in ("first", "again", "bytes"))
    head = (
        "| float16 vectors | bytes stored per vector, with post, version and hash | the numbers alone | "
        "`Workspace.matrix`, parts checked, seconds | again | files' bytes only read |"
    )
    row = f"| {given.stored:,} x {DIMENSION} | {size / given.stored:,.0f} | {2 * DIMENSION:,} | {told} |"
    return f"Random unit vectors in parts of {PART:,}, median of {READ_ROUNDS}.\n\n{_table(head, [row])}"


def random_vectors(start: int, end: int) -> pl.DataFrame:
    """A part of the table."""
    ids = [f"{number:011}" for number in range(start, min(start + PART, end))]
    numbers = np.random.default_rng(start).normal(size=(len(ids), DIMENSION)).astype(np.float32)
    unit = (numbers / np.linalg.norm(numbers, axis=1, keepdims=True)).astype(np.float16)
    rows = pl.DataFrame({"post_id": ids, "input_sha256": [_sum(one.encode()) for one in ids]}).with_columns(
        pl.Series("vector", unit, dtype=pl.Array(pl.Float16, DIMENSION)), encoder_version=pl.lit("0" * 16)
    )
    return TABLES["embeddings"].conform(rows)


# --- pictures, weights, workspaces ------------------------------------------------------------------------------------


def picture(number: int) -> bytes:
    """A JPEG of 500 x 375: smooth as a photo is, with some grain; about 60 kB."""
    dice = np.random.default_rng(number)
    small = Image.fromarray(dice.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((500, 375), Image.Resampling.BICUBIC), dtype=np.int16)
    grain = dice.normal(0, 8, smooth.shape).astype(np.int16)
    buffer = io.BytesIO()
    Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def random_weights(root: Path, model: str) -> Path:
    """The real architecture, as it is before training."""
    import open_clip
    import torch
    from safetensors.torch import save_model

    path = root / f"{model}.safetensors"
    torch.manual_seed(0)
    save_model(open_clip.create_model(model, pretrained=None, load_weights=False), str(path))
    return path


def workspace(root: Path, model: str, weights: Path, number_type: str, contents: list[bytes]) -> Workspace:
    """Posts and their pictures, as an import stores them; the pair is the small packaged one, which is quick."""
    values = {"embed.encoder": "flickcast-tiny", "embed.others": f"[{_of(model)}]", "embed.number_type": number_type}
    create_workspace(root, values | {"embed.weights": f"{{{model}: {weights}}}", "embed.batch_size": str(BATCH)})
    ws = Workspace(root)
    with ws.appending("ingest") as appender:
        for part, start in enumerate(range(0, len(contents), 500)):
            some = contents[start : start + 500]
            ids = [f"{part}-{number:03}" for number in range(len(some))]
            posts = pl.DataFrame({"post_id": ids}).with_columns(
                source=pl.lit("flickr"), user_id=pl.lit("u"), posted_at=pl.lit(MOMENT), first_seen_at=pl.lit(MOMENT)
            )
            images = pl.DataFrame({"post_id": ids, "sha256": [_sum(one) for one in some], "bytes": some})
            appender.append("posts", f"p{part:04}", TABLES["posts"].conform(posts))
            appender.append("images", f"p{part:04}", TABLES["images"].conform(images))
    return ws


def _of(model: str) -> str:
    return f"{model}-picture"


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jpg"))


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# --- processes and tables ---------------------------------------------------------------------------------------------


class Child:
    """A part of embed_work.py in a process of its own: what it found and, if watched, the most memory it held."""

    def __init__(self, *arguments: str, watch: bool = False) -> None:
        command = [sys.executable, str(Path(__file__).with_name("embed_work.py")), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        watched, self.peak_bytes = psutil.Process(process.pid), 0
        while watch and process.poll() is None:  # what it says fits into a pipe's buffer
            self.peak_bytes = max(self.peak_bytes, _held(watched))
            time.sleep(WATCH_SECONDS)
        said = process.communicate()[0].splitlines()
        if process.returncode:
            raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}")
        self.found: Any = json.loads(said[-1])


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
    return f"{head}\n|" + " --- |" * (head.count("|") - 1) + "\n" + "\n".join(rows) + "\n"


def _when(part: str, load: float) -> str:
    import torch

    words = " ".join(["python benchmarks/embed.py", f"--{part}", *_options(sys.argv[1:])])
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"Measured {date.today()} by `{words}`, {os.cpu_count()} cores ({platform.machine()}, "
        f"{platform.python_implementation()} {platform.python_version()}, torch {torch.__version__}), {card}; load "
        f"average {load:.1f} before the start."
    )


def _options(words: list[str]) -> list[str]:
    """Those of the command line that change what is measured."""
    return [word for word in words if word.removeprefix("--") not in {*PARTS, "dry"}]


PARTS: dict[str, Callable[[Path, argparse.Namespace], str]] = {
    "ratio": measure_ratio,
    "side-by-side": measure_side_by_side,
    "read": measure_read,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for part in PARTS:
        parser.add_argument(f"--{part}", action="append_const", const=part, dest="parts", help=PARTS[part].__doc__)
    parser.add_argument("--ratio-pictures", type=int, default=RATIO_PICTURES)
    parser.add_argument("--rounds", type=int, default=RATIO_ROUNDS, help="of the ratio")
    parser.add_argument("--pictures", type=int, default=SIDE_PICTURES[SMALL], help="of the comparison")
    parser.add_argument("--side-rounds", type=int, default=1, help="of the comparison, which takes long")
    parser.add_argument("--stored", type=int, default=STORED, help="vectors to read")
    parser.add_argument("--dry", action="store_true", help="print the tables, leave the page as it is")
    given = parser.parse_args()
    for part in given.parts or PARTS:
        load = os.getloadavg()[0]
        root = Path(tempfile.mkdtemp(prefix="flickcast-bench-"))
        try:
            table = PARTS[part](root, given)
        finally:
            shutil.rmtree(root)
        section = f"{_when(part, load)} {table}"
        print(section, flush=True)
        if not given.dry:
            mark = re.compile(rf"(<!-- embed {part} -->\n).*(<!-- end of embed {part} -->)", re.DOTALL)
            write_between(mark, section)


if __name__ == "__main__":
    main()
