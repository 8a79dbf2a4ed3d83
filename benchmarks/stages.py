"""Time each stage on simulated corpora and write the table in docs/performance.md: `make bench`.

Each stage runs in a process of its own, as DVC would start it, so that its peak memory is its own.
"""

import argparse
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from flickcast.simulate.corpus import write_corpus
from flickcast.simulate.world import World, WorldParams

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
MARK = re.compile(r"(<!-- stages -->\n).*(<!-- end of stages -->)", re.DOTALL)
SIZES = (2_000, 20_000, 100_000)
DAYS = 200
START = date(2026, 1, 1)
STAGES = ("embed", "labels", "aggregate", "features", "train", "evaluate", "predict", "drift")
WITH_PICTURES = 2_000  # embedding is timed at this size only


@dataclass(frozen=True)
class Timing:
    stage: str
    posts: int
    seconds: float
    peak_bytes: int

    def row(self) -> str:
        speed, memory = self.posts / self.seconds, self.peak_bytes / 2**20
        return f"| {self.stage} | {self.posts:,} | {self.seconds:.1f} | {speed:,.0f} | {memory:,.0f} |"


def corpus(folder: Path, posts: int) -> None:
    world = World(WorldParams(seed=0, users=max(posts // 7, 50), posts_per_day=posts / DAYS, start=START))
    last = START + timedelta(days=DAYS - 1)
    moment = datetime.combine(last + timedelta(days=1), datetime.min.time(), UTC)
    cut = last - timedelta(days=6)
    write_corpus(world, folder, START, last, moment, pictures=posts <= WITH_PICTURES, test_from=cut)


def timed(name: str, posts: int, command: list[str]) -> Timing:
    """One command: wall-clock seconds and the largest memory it or a child of it held."""
    program = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
    program += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program, *command], check=True, stdout=subprocess.PIPE, text=True)
    return Timing(name, posts, time.perf_counter() - started, int(done.stdout) * 1024)


def measure(posts: int, root: Path) -> list[Timing]:
    flickcast = str(Path(sys.executable).with_name("flickcast"))
    started = time.perf_counter()
    corpus(root / "corpus", posts)
    written = Timing(
        "simulate corpus",
        posts,
        time.perf_counter() - started,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )
    folder = str(root / "workspace")
    subprocess.run([flickcast, "init", folder, "--set", "embed.encoder=flickcast-tiny"], check=True)
    timings = [written, timed("import", posts, [flickcast, "import", "smpd-image", str(root / "corpus"), "-w", folder])]
    for stage in STAGES:
        if stage != "embed" or posts <= WITH_PICTURES:
            timings.append(timed(stage, posts, [flickcast, stage, "-w", folder]))
        else:
            subprocess.run([flickcast, stage, "-w", folder], check=True, stdout=subprocess.DEVNULL)
    return timings


def table(timings: list[Timing]) -> str:
    machine = f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}"
    head = "| stage | posts | seconds | posts per second | peak memory, MiB |\n| --- | --- | --- | --- | --- |\n"
    when = f"Measured {date.today()} by `make bench` on 2 cores ({machine}), no GPU.\n\n"
    return when + head + "\n".join(timing.row() for timing in timings) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    timings: list[Timing] = []
    for posts in parser.parse_args().sizes:
        root = Path(tempfile.mkdtemp(prefix="flickcast-bench-"))
        try:
            timings += measure(posts, root)
        finally:
            shutil.rmtree(root)
        print(table(timings), flush=True)
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(MARK.sub(lambda found: found[1] + table(timings) + found[2], text), encoding="utf-8")


if __name__ == "__main__":
    main()
