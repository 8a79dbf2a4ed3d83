"""All recipes, ridge, default boosters and AutoGluon, measured for docs/performance.md: `python benchmarks/recipes.py`.

On the real SMPD-Video posts by the protocols of ../shared/data/PROTOCOL.md (`--protocols`), on a simulated SMPD-Image
corpus beside the oracle (`--simulated`), and the champion's training at the challenge's size (`--large`). It asks
`compare_recipes`, as `flickcast compare` does. A run that is cut goes on where it was: workspaces and finished rows lie
in the folder for temporary files, in `flickcast-recipes`, until their part is done, then they are removed, unless
`--keep`.
"""

import argparse
import hashlib
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
from features import NIGHT, take_in
from features import workspace as crowded
from ingest import write_between
from recipe_tables import (
    AUTOGLUON,
    CHAMPION,
    Predictions,
    curve_line,
    goals,
    known_users,
    notes_of,
    rows_table,
    table,
    tests_table,
)
from stages import DAYS, START, timed

from flickcast import stages
from flickcast.comparison import Comparison
from flickcast.simulate.corpus import write_corpus
from flickcast.simulate.world import World, WorldParams
from flickcast.stages.comparing import compare_recipes
from flickcast.workspace import Workspace, create_workspace, set_params, template_root

REAL = Path(__file__).parents[2] / "shared" / "data" / "smpd_video" / "train"
PACKAGE = Path(stages.__file__).parents[1]
HOME = Path(tempfile.gettempdir()) / "flickcast-recipes"
PROTOCOLS = {"time": "P3", "user": "P2", "random": "P1"}
SIMULATED, CURVE, LARGE = 20_000, (0.25, 0.5, 1.0), 305_000
MATURITY = timedelta(days=7)
DESCRIBED = ("labels", "aggregate", "features")
THREADS = "FLICKCAST_BENCHMARK_THREADS"  # of each learner, where something else runs at the same time
SILENT = {"--dry", "--keep"}  # of the options, those that change no figure
STARTED = time.monotonic()


def say(text: str) -> None:
    """Progress, with the seconds since the start."""
    print(f"[{time.monotonic() - STARTED:6.0f} s] {text}", file=sys.stderr, flush=True)


# --- workspaces -------------------------------------------------------------------------------------------------------


def prepared(root: Path, make: Callable[[Path], None]) -> Workspace:
    """A workspace with features; made once, anew where an earlier run was cut amid it or the code has changed."""
    ready, code = root / "made-by", digest()
    if not ready.exists() or ready.read_text() != code:
        shutil.rmtree(root, ignore_errors=True)
        make(root)
        ready.write_text(code)
    return Workspace(root)


def digest() -> str:
    """Of all that makes a workspace and judges a row."""
    paths = [*PACKAGE.rglob("*.py"), *(template_root() / "recipes").glob("*.yaml"), template_root() / "params.yaml"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(paths))).hexdigest()


def take_batch(root: Path, source: str, folder: Path, others: str, *names: str) -> None:
    """Import a folder and run these stages; `others`: encoders beside the packaged pair. No learner is kept short."""
    params = {"embed.encoder": "flickcast-tiny", "embed.others": others, "train.full": "true"}
    create_workspace(root, params | {"train.threads": os.environ.get(THREADS, "2")})
    ws = Workspace(root)
    stages.import_batch(ws, stages.read_source(source, folder))
    describe(ws, *names)


def describe(ws: Workspace, *names: str) -> None:
    for name in names:
        say(f"{ws.root.name}: {name}")
        stages.STAGES[name](ws)


def real_workspace(root: Path, folder: Path) -> None:
    """No vectors: there are no pictures, and what learns from texts would learn from those of tested posts."""
    take_batch(root, "smpd-video", folder, "[]", *DESCRIBED)


def simulated_workspace(root: Path, posts: int) -> None:
    """A world of its own with seven posts a user in 200 days, pictures drawn."""
    world = World(WorldParams(seed=0, users=max(posts // 7, 50), posts_per_day=posts / DAYS, start=START))
    last = START + timedelta(days=DAYS - 1)
    corpus = root.with_name(f"{root.name}-corpus")
    shutil.rmtree(corpus, ignore_errors=True)
    moment = datetime.combine(last + timedelta(days=1), datetime.min.time(), UTC) + MATURITY
    write_corpus(world, corpus, START, last, moment)
    take_batch(root, "smpd-image", corpus, "[statistics-picture]", "embed", *DESCRIBED)
    shutil.rmtree(corpus)


# --- comparisons ------------------------------------------------------------------------------------------------------


def compare(ws: Workspace, split: str, given: argparse.Namespace) -> tuple[Comparison, Predictions]:
    """Every row, and what each said of the tested posts. FAME's five fits of AutoGluon have its seconds together."""
    if given.autogluon_seconds:
        limit = {"learners.autogluon.time_limit": str(max(given.autogluon_seconds / 5, 10))}
        set_params(ws.root / "recipes" / "fame.yaml", limit)
    extra = {AUTOGLUON: {"time_limit": given.autogluon_seconds}} if given.autogluon_seconds else {}
    seen: list[Predictions] = []

    def shown(comparison: Comparison, folds: pl.DataFrame, predictions: Predictions) -> None:
        seen[:] = [predictions]

    with ws.lock("benchmarks/recipes.py"):
        return compare_recipes(ws, given.only, split, extra=extra, shown=shown), seen[0]


# --- parts ------------------------------------------------------------------------------------------------------------


def measure_real(given: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """A section for each protocol."""
    ws = prepared(HOME / "real", lambda root: real_workspace(root, given.real))
    for split in given.protocols.split(","):
        say(f"real posts, {PROTOCOLS[split]}")
        found, _ = compare(ws, split, given)
        posts, folds = found.facts["posts"], found.facts["folds"]
        said = f"{PROTOCOLS[split]}, {posts:,} tested posts in {folds} fold{'s' * (folds > 1)}: "
        said += "mean ± standard deviation of the folds, seconds of one of them." if folds > 1 else "[95 % interval]."
        parts = [said, rows_table(found), goals(found), "Paired, bold where clear of zero:", tests_table(found)]
        yield split, "\n\n".join(part.strip() for part in [*parts, notes_of(found)] if part) + "\n"


def measure_simulated(given: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """The same beside the oracle, and how the champion does with fewer posts."""
    curve = []
    for share in CURVE:
        posts = round(share * given.simulated)
        ws = prepared(HOME / f"simulated-{posts}", lambda root, posts=posts: simulated_workspace(root, posts))
        say(f"simulated posts, {posts:,}")
        fewer = argparse.Namespace(only=[CHAMPION], autogluon_seconds=0)
        found, predictions = compare(ws, "time", given if share == 1 else fewer)
        errors = known_users(ws, predictions)
        curve.append(curve_line(posts, found, errors))
        if share == 1:
            known = {name: f"{error:.3f}" for name, error in errors.items()}
            text = [rows_table(found, {"MAE, users with earlier posts": known}), goals(found), tests_table(found)]
            yield "simulated", "\n\n".join(part.strip() for part in [*text, notes_of(found)] if part) + "\n"
    head = ["posts", "champion SRC", "MAE", "oracle SRC", "MAE", "lightgbm default MAE"]
    head += ["known users: champion MAE", "oracle MAE", "champion / oracle"]
    yield "curve", table(head, curve)


def measure_large(given: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """The champion's training on a synthetic matrix of all groups: in full, and as the night after does it."""
    root = HOME / f"large-{given.large}"
    shutil.rmtree(root, ignore_errors=True)
    ws, crowd = crowded(root, given.large + MATURITY.days * NIGHT, vectors=True)
    command = [str(Path(sys.executable).with_name("flickcast")), "train", "-w", str(root)]
    lines = []
    for name, full, nights in (("in full", "true", 0), ("the next night", "false", 1)):
        set_params(root / "params.yaml", {"train.full": full})
        take_in(ws, crowd, range(crowd.days - 1, crowd.days - 1 + nights), True)
        ws = Workspace(root)
        describe(ws, *DESCRIBED)
        say(f"large: train, {name}")
        took = timed(name, ws.keys("labels").height, command)
        columns = len(ws.read("features").columns) - 1
        lines.append([name, f"{took.posts:,}", f"{columns}", f"{took.seconds:,.0f}", f"{took.peak_bytes / 2**20:,.0f}"])
    yield "large", table(["`flickcast train`", "labelled posts", "columns", "seconds", "peak memory, MiB"], lines)


# --- the page ---------------------------------------------------------------------------------------------------------


def when(load: float) -> str:
    """Said above each table."""
    told = ("DIR" if Path(word).is_absolute() else word for word in sys.argv[1:] if word not in SILENT)
    words = " ".join(["python benchmarks/recipes.py", *told])
    machine = f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}"
    cores = f"{os.cpu_count()} cores ({machine})"
    cores += f", `{THREADS}={os.environ[THREADS]}`" if THREADS in os.environ else ""
    return f"Measured {date.today()} by `{words}`, {cores}, load average {load:.1f} before."


def write(name: str, section: str) -> None:
    mark = re.compile(rf"(<!-- recipes {name} -->\n).*(<!-- end of recipes {name} -->)", re.DOTALL)
    write_between(mark, section)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, nargs="?", const=REAL, help="the folder of real posts (the default part)")
    parser.add_argument("--protocols", default=",".join(PROTOCOLS), help="of the real posts: time, user, random")
    parser.add_argument("--simulated", type=int, nargs="?", const=SIMULATED, help="posts of the simulated corpus")
    parser.add_argument("--large", type=int, nargs="?", const=LARGE, help="labelled posts to train the champion on")
    parser.add_argument(
        "--autogluon-seconds", type=float, default=600.0, help="of a fold, FAME's too; 0: no row of its own"
    )
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="these recipes, with commas")
    parser.add_argument("--dry", action="store_true", help="print the tables, leave the page as it is")
    parser.add_argument("--keep", action="store_true", help="leave workspaces and finished rows where they are")
    given = parser.parse_args()
    if given.real is None and given.simulated is None and given.large is None:
        given.real = REAL
    HOME.mkdir(mode=0o700, exist_ok=True)
    temporary = HOME / "temporary"  # a row's process that is killed leaves what it had there
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    for part, measured in PARTS.items():
        if getattr(given, part) is None:
            continue
        load = os.getloadavg()[0]
        for name, content in measured(given):
            section = f"{when(load)}\n\n{content}"
            print(section, flush=True)
            if not given.dry:
                write(name, section)
        if not given.keep:
            for folder in HOME.glob(f"{part}*"):
                shutil.rmtree(folder)
    shutil.rmtree(temporary)


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[tuple[str, str]]]] = {
    "real": measure_real,
    "simulated": measure_simulated,
    "large": measure_large,
}

if __name__ == "__main__":
    main()
