"""Time what comes in, and write it into docs/performance.md: `python benchmarks/ingest.py --import-only`.

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
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import orjson
from stages import PAGE, Timing, corpus, timed

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
    machine = f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}"
    when = (
        f"Measured {date.today()} by `python benchmarks/ingest.py --import-only`, {os.cpu_count()} cores ({machine})."
    )
    head = (
        "| `flickcast import smpd-image` | posts | GB | seconds | peak memory, MiB | only read and parse, seconds |\n"
    )
    return f"{when}\n\n{head}| --- | --- | --- | --- | --- | --- |\n" + "\n".join(row.row() for row in rows) + "\n"


def write_between(mark: "re.Pattern[str]", content: str) -> None:
    """Put a table between its two comments in docs/performance.md."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(mark.sub(lambda found: found[1] + content + found[2], text), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--import-only", action="store_true")
    parser.add_argument("--import-posts", type=int, default=POSTS)
    parser.add_argument("--dry", action="store_true", help="print the table, leave the page as it is")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="flickcast-bench-"))
    try:
        rows = import_table(measure_import(root, given.import_posts))
    finally:
        shutil.rmtree(root)
    print(rows, flush=True)
    if not given.dry:
        write_between(MARK, rows)


if __name__ == "__main__":
    main()
