"""A model that was not made on this machine is tried in a process of its own first.

The parsers of LightGBM and CatBoost end the process that gives them certain damaged files: of 200 random mutations with
sums to match 89 and 3 did so (4.7.0 and 1.2.10, 2026-11-22). Whoever can change a file can change its sum as well.
"""

import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from flickcast.errors import UserError
from flickcast.models.design import Design, Preparation
from flickcast.models.learners.lightgbm_text import check_text
from flickcast.models.stored import damaged, read
from flickcast.settings import load_settings

if TYPE_CHECKING:
    from flickcast.models.model import Model

SECONDS = 600
MEMORY = 4 << 30  # bytes, beside twenty times those of the files
ROWS = 64
REFUSED = 3
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")  # of our environment, which may hold keys


def is_trusted(digest: str) -> bool:
    """Whether the model of this sum was made here or has been tried here."""
    place = _place(digest)
    return place is not None and place.exists()


def trust(digest: str) -> None:
    """Remember it, for all runs of this user on this machine."""
    place = _place(digest)
    if place is not None:
        with suppress(OSError):  # then it is tried again
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()


def try_out(folder: Path, digest: str) -> None:
    """Read the model in a child process and let it predict. CheckError if that fails, or ends the child."""
    command = [sys.executable, "-I", "-m", __name__, str(folder.absolute()), digest]
    known = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, env=known, check=False)
    except subprocess.TimeoutExpired:
        raise damaged(folder, f"took longer than {SECONDS} s to read") from None
    if done.returncode == REFUSED:
        raise damaged(folder, f"is not a model that can be used ({done.stdout.decode(errors='replace').strip()})")
    if done.returncode:
        raise damaged(folder, "is not a model that can be used (it ended the process that read it)")


def attempt(folder: Path, digest: str) -> str | None:
    """In the child: why the model of this sum cannot be used, or None; may end the process."""
    from flickcast.models.model import Model

    try:
        description, files = read(folder)
        if description.sha256 != digest:
            return "it changes while it is read"
        for file, content in files.items():
            if file.endswith(".txt"):
                check_text(content)
        model = Model.parsed(description, files)
        if replace(model, stored=None).files != files:
            return "it is not written as this version writes it"
        _predict(model)
    except Exception as error:
        return type(error).__name__
    return None


def _predict(model: "Model") -> None:
    """Rows of all kinds, and designs that lead into all branches."""
    rows = _rows([member.preparation for member in model.members])
    model.calibration.finish(rows, model.members_say(rows))
    for member in model.members:
        design = _scattered(member.preparation.design(rows))
        for learner in member.learners.values():
            learner.predict(design)


def _rows(preparations: list[Preparation]) -> pl.DataFrame:
    random = np.random.default_rng(0)
    moments = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number) for number in range(ROWS)]
    texts = [f"{number} sea" for number in range(ROWS)]
    columns: dict[str, Any] = {
        "post_id": [f"p{number}" for number in range(ROWS)],
        "user_id": [f"u{number % 9}" for number in range(ROWS)],
        "posted_at": moments,
        "known_at": moments,
        "title": texts,
        "words": texts,
        "tags": [text.split() for text in texts],
        "latitude": random.uniform(-90, 90, ROWS),
        "longitude": random.uniform(-180, 180, ROWS),
    }
    for one in preparations:
        columns |= {name: random.normal(0, 10, ROWS) for name in one.number_groups}
        columns |= {name: random.choice([*known, "?"], ROWS) for name, known in one.vocabularies.items()}
        columns |= {name: random.normal(size=(ROWS, width)).tolist() for name, width in _widths(one).items()}
    return pl.DataFrame(columns)


def _widths(preparation: Preparation) -> dict[str, int]:
    """Of all vectors that are read."""
    reduced = {
        part.column: len(part.arrays()["mean"])
        for part in preparation.reductions.values()
        if hasattr(part, "column") and "mean" in part.arrays()
    }
    return reduced | {preparation.instead.get(name, name): width for name, width in preparation.widths.items()}


def _scattered(design: Design) -> Design:
    random = np.random.default_rng(1)
    numbers = random.normal(0, 10.0 ** random.integers(-2, 6, design.numbers.shape)).astype(np.float32)
    return replace(design, numbers=numbers, codes=random.integers(-1, 50, design.codes.shape, dtype=np.int32))


def _place(digest: str) -> Path | None:
    with suppress(UserError):  # a user without a home
        return load_settings().budget_folder() / "models" / digest
    return None


def limit(folder: Path) -> None:
    """In the child: so much memory and time, and no image of the memory when it dies."""
    size = sum(path.stat().st_size for path in folder.iterdir())
    most = MEMORY + 20 * size
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(SECONDS)


def main() -> int:
    """The child: its arguments are the folder and the sum."""
    folder = Path(sys.argv[1])
    limit(folder)
    why = attempt(folder, sys.argv[2])
    print(why or "")
    return REFUSED if why else 0


if __name__ == "__main__":
    sys.exit(main())
