"""What benchmarks/embed.py times, each part in a process of its own: `python benchmarks/embed_work.py PART ARGUMENTS`
says what it found as one line of JSON.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from flickcast.embeddings.passes import device
from flickcast.stages import embed
from flickcast.workspace import Workspace

BATCH = 64
WARM = 32  # pictures, before any clock starts
TIMED_ALONE = 200  # pictures, whose decoding is timed in one thread


# --- the pipeline beside the bare model -------------------------------------------------------------------------------


def rates(root: Path, name: str, rounds: int) -> dict[str, Any]:
    """Pictures per second, wall and per second of processor time, of the stage and of the bare model, in turns.

    The model alone gets its input decoded, normalised and in its number type: in passes of the encoder's size before
    and after each run of the stage, whose mean stands beside it, and in batches. `prepare_seconds` is what one core
    needs to decode and shrink a picture.
    """
    from flickcast.embeddings.encoders import load_encoder

    ws = Workspace(root)
    encoder: Any = load_encoder(name, ws.params.embed, root)
    contents = ws.read("images", ("bytes",))["bytes"].to_list()
    numbers, seconds = _prepared(encoder, contents)
    sizes = (encoder.rows, max(BATCH, encoder.rows))
    for size in sizes:
        _bare(encoder, numbers[:WARM], size)
    found = []
    before = _rate(len(contents), lambda: _bare(encoder, numbers, sizes[0]))
    for number in range(rounds):
        ours = _stage_rate(ws, name, len(contents))
        after = _rate(len(contents), lambda: _bare(encoder, numbers, sizes[0]))
        passes = {key: 2 / (1 / before[key] + 1 / after[key]) for key in before}
        found.append({"ours": ours, "passes": passes})
        told = ", ".join(f"{key} {value['wall']:.1f}" for key, value in found[-1].items())
        print(f"  round {number + 1}: {told}", file=sys.stderr, flush=True)
        before = after
    batches = _rate(len(contents), lambda: _bare(encoder, numbers, sizes[1]))
    told = {"rounds": found, "batches": batches, "sizes": sizes, "prepare_seconds": seconds}
    return {**told, "device": encoder._device}


def _rate(pictures: int, work: Callable[[], Any]) -> dict[str, float]:
    """Pictures per second by the clock, and per second of the processor, all threads together."""
    started, used = time.perf_counter(), time.process_time()
    work()
    return {
        "wall": pictures / (time.perf_counter() - started),
        "processor": pictures / (time.process_time() - used),
    }


def _stage_rate(ws: Workspace, name: str, pictures: int) -> dict[str, float]:
    """The same of the stage; a run with nothing missing, which proves the encoder too, is taken off."""
    used = time.process_time()
    seconds = stage(ws, name)["seconds"]
    with_work = time.process_time() - used
    used = time.process_time()
    embed(ws)
    return {"wall": pictures / seconds, "processor": pictures / (with_work - (time.process_time() - used))}


def _prepared(encoder: Any, contents: list[bytes]) -> tuple[Any, float]:
    """The model's input, on its device; and the seconds of one core that the processor's part of a picture takes."""
    import torch

    from flickcast.embeddings.protocol import Sample
    from flickcast.pictures import Picture, decode

    def prepare(content: bytes) -> Any:
        decoded = decode(content, encoder.shortest_edge)
        assert isinstance(decoded, Picture)
        return encoder.prepare(Sample(picture=decoded.rgb))

    pixels = [prepare(content) for content in contents]
    started = time.thread_time()
    for content in contents[:TIMED_ALONE]:
        prepare(content)
    seconds = (time.thread_time() - started) / len(contents[:TIMED_ALONE])
    numbers = encoder._normalise(torch.stack(pixels).to(encoder._device).float().div(255)).to(encoder._dtype)
    return numbers.contiguous(memory_format=torch.channels_last), seconds


def _bare(encoder: Any, numbers: Any, size: int) -> None:
    """Nothing but the model."""
    import torch

    with torch.inference_mode():
        found = [encoder._model.encode_image(some) for some in numbers.split(size)]
        found[-1].cpu()  # a graphics card is done only when it gives something back


def stage(ws: Workspace, name: str) -> dict[str, Any]:
    """What `flickcast embed` says of the encoder, from nothing embedded."""
    with ws.appending("embed") as appender:
        appender.drop(f"embeddings/{name}")
    report = embed(ws)
    if name not in report.facts["encoders"]:
        raise SystemExit(f"{name} was left out: {'; '.join(report.notes)}")
    return dict(report.facts["encoders"][name])


# --- what a user would write ------------------------------------------------------------------------------------------


def loop(folder: Path, model: str, weights: str) -> float:
    """Seconds to open one file, encode one picture, and so on."""
    import torch

    network, preprocess = _opened(model, weights)
    started = time.perf_counter()
    vectors = []
    with torch.no_grad():
        for path in sorted(folder.glob("*.jpg")):
            found = network.encode_image(preprocess(Image.open(path)).unsqueeze(0).to(device()))
            vectors.append((found / found.norm(dim=-1, keepdim=True)).cpu().numpy())
    np.save(folder.parent / "loop.npy", np.concatenate(vectors).astype(np.float16))
    return time.perf_counter() - started


def loader(folder: Path, model: str, weights: str) -> float:
    """Seconds of a DataLoader with a worker for each core."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    network, preprocess = _opened(model, weights)
    paths = sorted(folder.glob("*.jpg"))

    class Files(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, number: int) -> Any:
            return preprocess(Image.open(paths[number]))

    started = time.perf_counter()
    vectors = []
    with torch.no_grad():
        for some in DataLoader(Files(), batch_size=BATCH, num_workers=os.cpu_count() or 1):
            found = network.encode_image(some.to(device()))
            vectors.append((found / found.norm(dim=-1, keepdim=True)).cpu().numpy())
    np.save(folder.parent / "loader.npy", np.concatenate(vectors).astype(np.float16))
    return time.perf_counter() - started


def _opened(model: str, weights: str) -> tuple[Any, Any]:
    import open_clip

    network, _, preprocess = open_clip.create_model_and_transforms(model, pretrained=weights)
    return network.eval().to(device()), preprocess


# --- what is stored ---------------------------------------------------------------------------------------------------


def stored(root: Path, name: str, rounds: int) -> list[dict[str, float]]:
    """Seconds to read the files' bytes, to have the matrix, parts checked, and to have it again; from the cache."""
    files = sorted(Workspace(root).folder(f"embeddings/{name}").glob("*.parquet"))
    found = []
    for _ in range(rounds + 1):
        ws = Workspace(root)
        ws.parts(f"embeddings/{name}")
        found.append(
            {
                "bytes": _seconds(lambda: [path.read_bytes() for path in files]),
                "first": _seconds(lambda ws=ws: ws.matrix(name)),
                "again": _seconds(lambda ws=ws: ws.matrix(name)),
            }
        )
    return found[1:]


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    kept = work()
    taken = time.perf_counter() - started
    del kept
    return taken


PARTS: dict[str, Callable[..., Any]] = {
    "rates": lambda root, name, rounds: rates(Path(root), name, int(rounds)),
    "loop": lambda folder, model, weights: loop(Path(folder), model, weights),
    "loader": lambda folder, model, weights: loader(Path(folder), model, weights),
    "stage": lambda root, name: stage(Workspace(Path(root)), name)["seconds"],
    "stored": lambda root, name, rounds: stored(Path(root), name, int(rounds)),
}

if __name__ == "__main__":
    print(json.dumps(PARTS[sys.argv[1]](*sys.argv[2:])))
