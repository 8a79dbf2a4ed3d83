"""Measure what comes in, and write it into docs/performance.md: `python benchmarks/ingest.py`.

The import reads a simulated corpus of the official train split's size, in the official format. The simulator writes
the two vectors of the user file short and mostly zero; here they get the official length in bytes (2.4 GB in all).
"""

import argparse
import os
import platform
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import orjson
from service import PURPOSES, REPLAYS, SEARCH, Night, Nights, World, served
from stages import PAGE, Timing, corpus, timed

SPEED = re.compile(r"(<!-- nights -->\n).*(<!-- end of nights -->)", re.DOTALL)
CALLS = re.compile(r"(<!-- calls -->\n).*(<!-- end of calls -->)", re.DOTALL)
# A first night lists the posts of five days: its own, two before it, and those that are 7 and 30 days old.
LARGE, FEW_USERS, PICTURED = World(20_000, 7_000), World(20_000, 1_000), World(400, 280)
SMALL, SMALL_NIGHTS = World(2_000, 1_500), 36
SHOWN = (0, 1, 2, 7, 10, 20, 29, 30, 33, 35)  # of them
PLANNED = range(1, 11)
OF_USERS = ("flickr.people.getInfo", "flickr.contacts.getPublicList")
MARK = re.compile(r"(<!-- import -->\n).*(<!-- end of import -->)", re.DOTALL)
POSTS = 307_000  # leaves a little more than the official 305,613 posts: the last day's are too young for a label
OTHER_VECTORS = 2_000
VECTOR = re.compile(rb'("(?:user|location)_description": ")([^"]+)')
BLOCK = 32 << 20


@dataclass(frozen=True)
class Import:
    """The import of one corpus beside what reading its files cannot cost less than."""

    kind: str
    posts: int
    bytes: int
    timing: Timing
    read_seconds: float

    def row(self) -> str:
        return (
            f"| {self.kind} | {self.posts:,} | {self.bytes / 1e9:.2f} | {self.timing.seconds:.1f} | "
            f"{self.timing.peak_bytes / 2**20:,.0f} | {self.read_seconds:.1f} |"
        )


def official_length(path: Path) -> None:
    """Give the vectors of a user file as many bytes as real ones have: a sign, a point and nine digits a number."""
    pool: dict[tuple[int, int], bytes] = {}

    def full(match: "re.Match[bytes]") -> bytes:
        length = match[2].count(b",") + 1
        key = (length, zlib.crc32(match[2]) % OTHER_VECTORS)
        if key not in pool:
            numbers = random.Random(len(pool))
            pool[key] = ",".join(f"{numbers.uniform(-1, 1):.9f}" for _ in range(length)).encode()
        return match[1] + pool[key]

    longer = path.with_suffix(".longer")
    with path.open("rb") as source, longer.open("wb") as target:
        target.writelines(VECTOR.sub(full, line) for line in source)
    longer.rename(path)


def read_and_parse(folder: Path) -> float:
    """Seconds to read all JSON of an unzipped corpus and to parse its records, one line at a time, keeping nothing."""
    started = time.perf_counter()
    for path in folder.glob("*.json"):
        with path.open("rb") as file:
            for line in file:
                if line.startswith(b"{"):
                    orjson.loads(line.rstrip(b",\n"))
    return time.perf_counter() - started


def inflate(path: Path) -> float:
    """Seconds to unpack a zip without keeping anything."""
    started = time.perf_counter()
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                while file.read(BLOCK):
                    pass
    return time.perf_counter() - started


def import_timed(folder: Path, root: Path, posts: int) -> Timing:
    flickcast = str(Path(sys.executable).with_name("flickcast"))
    workspace = tempfile.mkdtemp(dir=root)
    subprocess.run([flickcast, "init", workspace], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return timed("import", posts, [flickcast, "import", "smpd-image", str(folder), "-w", workspace])


def zipped(folder: Path, path: Path) -> Path:
    """The corpus as it is handed out: one archive."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"{path.stem}/{file.name}")
    return path


def measure_import(root: Path, posts: int) -> list[Import]:
    folder = root / "corpus"
    corpus(folder, posts)
    for path in folder.glob("*_user_data.json"):
        official_length(path)
    size = sum(path.stat().st_size for path in folder.iterdir())
    written = sum(path.read_bytes().count(b"\n") for path in folder.glob("*_img_filepath.txt"))
    floor = read_and_parse(folder)
    rows = [Import("plain files", written, size, import_timed(folder, root, written), floor)]
    archive = zipped(folder, root / "train_allmetadata_json.zip")
    shutil.rmtree(folder)
    floor += inflate(archive)
    return [*rows, Import("one zip", written, size, import_timed(archive, root, written), floor)]


def import_table(rows: list[Import]) -> str:
    head = (
        "| `flickcast import smpd-image` | posts | GB | seconds | peak memory, MiB | only read and parse, seconds |\n"
    )
    return f"{_when(' --import-only')}\n\n{head}{_rule(head)}" + "\n".join(row.row() for row in rows) + "\n"


def measure_speed(root: Path) -> str:
    """Rows of first nights, each beside the same requests without what ingest does."""
    rows = []
    for number, (world, pictures) in enumerate([(LARGE, False), (FEW_USERS, False), (PICTURED, True)]):
        with served(world) as address:
            values = {"pictures": str(pictures).lower()}
            Nights(root / f"unmeasured-{number}", address, **values).night(0)  # the service makes its world up
            nights = Nights(root / f"speed-{number}", address, **values)
            night = nights.night(0)
            replayed = [nights.replay(kind, night) for kind in REPLAYS]
        rows.append(_speed_row(night, replayed))
    return "\n".join(rows) + "\n"


def _speed_row(night: Night, replayed: list[float]) -> str:
    seconds, memory = night.timing.seconds, night.timing.peak_bytes / 2**20
    posts = night.facts["stored"]
    others = " | ".join(f"{one:.1f}" for one in replayed)
    return (
        f"| {posts:,} | {night.calls(OF_USERS[0]):,} | {len(night.pictures):,} | {night.calls():,} | {seconds:.1f} | "
        f"{posts / seconds:,.0f} | {memory:,.0f} | {others} | {seconds / replayed[0]:.1f} |"
    )


def measure_calls(root: Path) -> tuple[str, str]:
    """Rows of nights until all ages are known, and what became of their plans."""
    with served(SMALL) as address:
        nights = Nights(root / "calls", address, pictures="false")
        measured = [nights.night(number) for number in range(SMALL_NIGHTS)]
    planned = [measured[n].facts["planned"]["calls_in_all"] / measured[n].calls() for n in PLANNED]
    told = ", ".join(f"{ratio:.2f}" for ratio in planned)
    return "\n".join(_calls_row(n, measured[n]) for n in SHOWN) + "\n", told


def _calls_row(number: int, night: Night) -> str:
    new, listed = night.facts["stored"], night.facts["found"]
    users, calls = night.calls(*OF_USERS), night.calls()
    shares = night.searches()
    purposes = " | ".join(f"{shares[name]:.0f}" for name in PURPOSES)
    planned = night.facts["planned"].get("calls_in_all", "unknown")
    return (
        f"| {number + 1} | {new:,} | {listed:,} | {purposes} | {users:,} | {calls - users - night.calls(SEARCH):,} | "
        f"{calls:,} | {planned} | {1000 * calls / new:.0f} | {1000 * (1 / 500 + users / new):.0f} | "
        f"{calls / (new / 500 + users):.2f} | {calls / (listed / 500 + users):.2f} |"
    )


def speed_table(rows: str) -> str:
    head = "| posts | users | pictures | calls | seconds | posts per second | peak memory, MiB | "
    head += "httpx and json, seconds | service alone, seconds | ratio to httpx and json |\n"
    return f"{_when('')}\n\n{head}{_rule(head)}{rows}"


def calls_table(rows: str, planned: str) -> str:
    head = "| night | new posts | posts listed | searches: new | re-query | age 7 | age 30 | users | single posts | "
    head += "calls | planned | per 1,000 new | at least | calls / least, new only | calls / least, all listed |\n"
    ends = f"\nPlan divided by truth, nights {PLANNED[0] + 1} to {PLANNED[-1] + 1}: {planned}.\n"
    return f"{_when('')}\n\n{head}{_rule(head)}{rows}{ends}"


def _rule(head: str) -> str:
    return "|" + " --- |" * (head.count("|") - 1) + "\n"


def _when(options: str) -> str:
    machine = f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}"
    return f"Measured {date.today()} by `python benchmarks/ingest.py{options}`, {os.cpu_count()} cores ({machine})."


def write_between(mark: "re.Pattern[str]", content: str) -> None:
    """Put a table between its two comments in docs/performance.md."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(mark.sub(lambda found: found[1] + content + found[2], text), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    only = parser.add_mutually_exclusive_group()
    for part in PARTS:
        only.add_argument(f"--{part}-only", action="store_const", const=part, dest="only")
    parser.add_argument("--import-posts", type=int, default=POSTS)
    parser.add_argument("--dry", action="store_true", help="print the tables, leave the page as it is")
    given = parser.parse_args()
    for part in [given.only] if given.only else PARTS:
        root = Path(tempfile.mkdtemp(prefix="flickcast-bench-"))
        try:
            mark, rows = PARTS[part](root, given)
        finally:
            shutil.rmtree(root)
        print(rows, flush=True)
        if not given.dry:
            write_between(mark, rows)


Part = Callable[[Path, argparse.Namespace], tuple["re.Pattern[str]", str]]
PARTS: dict[str, Part] = {
    "import": lambda root, given: (MARK, import_table(measure_import(root, given.import_posts))),
    "speed": lambda root, given: (SPEED, speed_table(measure_speed(root))),
    "calls": lambda root, given: (CALLS, calls_table(*measure_calls(root))),
}


if __name__ == "__main__":
    main()
