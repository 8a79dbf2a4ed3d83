"""A workspace whose stages are one shell line each, for what only needs DVC and git."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from flickcast.history import initialise
from flickcast.leash import site_cache

STAGES = """
stages:
  last:
    cmd: cat middle.txt > last.txt
    deps: [middle.txt]
    outs: [last.txt]
  ingest:
    cmd: mkdir -p data/posts manifests && sed -n "s/date. //p" night.yaml | tr -d "'\\n" > night
      && cp night data/posts/$(cat night).txt
      && printf '{"stage":"ingest","parts":{},"batches":{"%s":{}}}' $(cat night) > manifests/ingest.json
    deps: [night.yaml]
    outs:
      - data/posts: {persist: true}
      - manifests/ingest.json: {cache: false}
  middle:
    cmd: cat data/posts/* > middle.txt
    deps: [data/posts]
    outs: [middle.txt]
"""


def toy(root: Path, stages: str = STAGES) -> Path:
    """A workspace with these stages, under git and DVC."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text("seed: 0\n")
    (root / "night.yaml").write_text("date: '2026-01-01'\n")
    (root / "dvc.yaml").write_text(stages)
    initialise(root)
    assert site_cache(root).is_dir()
    return root


def stage(name: str, command: str) -> str:
    """A dvc.yaml with one stage that writes nothing."""
    return f"stages:\n  {name}:\n    cmd: {command}\n    deps: [night.yaml]\n"


def command_lines() -> list[str]:
    """The command lines of all processes, arguments parted by NUL; a process may end while one looks."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes().decode(errors="replace"))
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 90.0) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()
