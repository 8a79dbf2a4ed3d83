"""A workspace: a folder with params.yaml, dvc.yaml, recipes/ and the tables; one writer at a time."""

import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from flickcast.console import say
from flickcast.errors import FlickcastError, TryAgainError, UserError, is_text, nearest
from flickcast.params import Params, read_night, read_params
from flickcast.records import Forgotten, StageReport
from flickcast.schemas import EARLIEST
from flickcast.tables import Store, publish, publish_json

WRITTEN = (".flickcast", "comparison", "data", "encoders", "manifests", "metrics", "models", "plots", "reports")
LOCK_WAIT_SECONDS = 600.0  # a killed flow may leave its stage running: wait for it, longer than a stage takes


class Workspace(Store):
    """The tables of one folder together with its parameters and its night."""

    def __init__(self, root: Path) -> None:
        super().__init__(root.resolve())
        if not is_text(str(self.root)):
            raise UserError(f"{root}: the folder's name, or that of one above it, is no text in UTF-8. Rename it.")
        if not (self.root / "params.yaml").is_file():
            raise UserError(f"{root} is no workspace: it has no params.yaml. Make one with `flickcast init {root}`.")
        _refuse_ways_out(self.root)

    @cached_property
    def params(self) -> Params:
        """params.yaml, checked."""
        return read_params(self.root / "params.yaml")

    @property
    def night(self) -> date | None:
        """The logical date this workspace stands at; None before the first night."""
        return read_night(self.root / "night.yaml")

    def set_night(self, night: date) -> None:
        """Move the workspace to a night."""
        publish(self.root / "night.yaml", f"date: '{night.isoformat()}'\n".encode())

    def vectors(self, others: Sequence[str] = ()) -> pl.DataFrame:
        """The vectors of `embed.encoder`, and of other encoders, one row per post that has any.

        post_id, picture, text, and a column for each of `others` by the encoder's name; those without a table are left
        out.
        """
        named = dict(zip(("picture", "text"), self.params.embed.pair, strict=True))
        named |= {name: name for name in others if self.exists(f"embeddings/{name}")}
        rows: pl.DataFrame | None = None
        for column, encoder in named.items():
            ids, found = self.matrix(encoder)
            vectors = pl.Series(column, found.astype(np.float32)).arr.to_list()
            if rows is None:
                rows = pl.DataFrame([ids, vectors])
            elif rows["post_id"].equals(ids):  # a join would copy gigabytes
                rows = rows.with_columns(vectors)
            else:
                rows = rows.join(pl.DataFrame([ids, vectors]), on="post_id", how="full", coalesce=True)
        assert rows is not None
        return rows if rows["post_id"].is_sorted() else rows.sort("post_id")

    def some_vectors(self, encoder: str, posts: pl.Series) -> pl.DataFrame:
        """The rows (post_id, vector) of these posts in an encoder's table; only the parts that hold them are read."""
        table = f"embeddings/{encoder}"
        wanted = posts.to_frame("post_id")
        parts = self.places(table, ("post_id",)).join(wanted, on="post_id", how="semi")["part"].unique().sort()
        return self.read_parts(table, parts.to_list(), ("post_id", "vector")).join(wanted, on="post_id", how="semi")

    def matrix(self, encoder: str) -> tuple[pl.Series, NDArray[np.float16]]:
        """All vectors of an encoder: the posts that have one, and (posts, dimension)."""
        return self.vectors_of(f"embeddings/{encoder}")

    def latest_seen(self) -> datetime:
        """The latest moment known here: what stands for "now" where no night does (same data, same bytes)."""
        latest = self.scan("posts", ("first_seen_at",)).max().collect().item()
        return latest if isinstance(latest, datetime) else EARLIEST

    def forgotten(self) -> Forgotten:
        """The posts and users that asked to be forgotten (`flickcast forget`)."""
        rows = self.read("tombstones", ("kind", "id", "reason")).filter(pl.col("reason") == "forgotten")
        ids = {kind: frozenset(group["id"]) for (kind,), group in rows.group_by("kind")}
        return Forgotten(ids.get("post", frozenset()), ids.get("user", frozenset()))

    @property
    def state_folder(self) -> Path:
        """Locks, logs and Prefect's own files; never versioned."""
        folder = self.root / ".flickcast"
        folder.mkdir(exist_ok=True)
        return folder

    def keep_report(self, report: StageReport) -> None:
        """What a stage did last, for the night's summary."""
        publish_json(self.state_folder / "reports" / f"{report.stage}.json", report.as_json())
        (self.state_folder / "last-error.json").unlink(missing_ok=True)

    def keep_error(self, stage: str, error: FlickcastError) -> None:
        """A stage's last words, for whoever started it through DVC (which hides exit codes)."""
        words = {"stage": stage, "exit_code": error.exit_code, "message": str(error)}
        publish_json(self.state_folder / "last-error.json", words)

    @contextmanager
    def lock(self, who: str, wait_seconds: float = LOCK_WAIT_SECONDS) -> Iterator[None]:
        """Hold the workspace for writing. The operating system frees it when the holder dies.

        Whoever has to wait is told for whom. TryAgainError where it is not free in time.
        """
        with self._acquired(FileLock(self.state_folder / "lock"), wait_seconds):
            since = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
            (self.state_folder / "lock-holder").write_text(f"{who}, process {os.getpid()}, since {since}")
            yield

    def _acquired(self, lock: FileLock, wait_seconds: float) -> AbstractContextManager[object]:
        try:
            return lock.acquire(timeout=0)
        except Timeout:
            say(f"{self.root} is in use by {self._holder()}. Waiting for it, up to {wait_seconds:.0f} s.")
        try:
            return lock.acquire(timeout=wait_seconds)
        except Timeout:
            raise TryAgainError(
                f"{self.root} is in use by {self._holder()}. Run the same command when it has finished."
            ) from None

    def _holder(self) -> str:
        """Who has the lock, as far as it was written down."""
        try:
            return (self.state_folder / "lock-holder").read_text() or "another process"
        except FileNotFoundError:
            return "another process"

    @contextmanager
    def night_lock(self) -> Iterator[None]:
        """Keep the workspace for a whole night, or for what no night may come between; TryAgainError if it is kept.

        Each stage of a night takes `lock` for itself.
        """
        try:
            with FileLock(self.state_folder / "night-lock", timeout=0):
                yield
        except Timeout:
            raise TryAgainError(
                f"{self.root}: a night is running there, or a command that no night may come between. "
                "Run the same command when it has finished."
            ) from None


def _refuse_ways_out(root: Path) -> None:
    """A link among the folders that we write to and clear must not lead us elsewhere, whoever made it.

    Table folders may hold linked files, as DVC makes them: those are replaced and removed, never written through.
    """
    links = [root / name for name in WRITTEN if (root / name).is_symlink()]
    for name in WRITTEN:
        for folder, folders, files in os.walk(root / name):
            here = [*folders, *files] if name == ".flickcast" else folders
            links += [path for path in (Path(folder, one) for one in here) if path.is_symlink()]
    for path in links:
        if not Path(os.path.realpath(path)).is_relative_to(root):
            raise UserError(
                f"{path} is a link that leads out of the workspace. Put a folder there; to keep a workspace on another "
                "disk, move all of it there."
            )


def night_bounds(night: date) -> tuple[datetime, datetime]:
    """First moment of a night's day and of the next day, in UTC: the night's window is [first, second)."""
    start = datetime.combine(night, time.min, UTC)
    return start, start + timedelta(days=1)


TEMPLATE_FILES = ("params.yaml", "dvc.yaml", "prefect.yaml", ".dvcignore")
TEMPLATE_FOLDERS = ("recipes",)


def template_root() -> Path:
    """Where the files a new workspace starts from lie: the checkout, or the installed package's copy of them."""
    packaged = Path(__file__).parent / "template"
    return packaged if packaged.is_dir() else Path(__file__).parents[2]


def create_workspace(root: Path, values: Mapping[str, str] | None = None) -> None:
    """Make a folder a workspace by copying the templates; files that are there already are kept.

    `values` go into params.yaml: dotted name to value, e.g. {"embed.encoder": "flickcast-tiny"}.
    """
    source = template_root()
    root.mkdir(parents=True, exist_ok=True)
    folders = [path.relative_to(source) for name in TEMPLATE_FOLDERS for path in sorted((source / name).glob("*.yaml"))]
    for name in [*map(Path, TEMPLATE_FILES), *folders]:
        if not (root / name).exists():
            (root / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source / name, root / name)
    if not (root / "night.yaml").exists():
        publish(root / "night.yaml", b"date: null\n")
    if values:
        set_params(root / "params.yaml", values)


def set_params(path: Path, values: Mapping[str, str]) -> None:
    """Change values in params.yaml and keep its comments. UserError on a section or key that is not there."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    content = yaml.load(path.read_text(encoding="utf-8"))
    for name, value in values.items():
        *sections, key = name.split(".")
        section = content
        for part in [*sections, key]:
            if not isinstance(section, dict) or part not in section:
                known = section if isinstance(section, dict) else ()
                raise UserError(f"{path.name} has no key '{name}'; {nearest(part, known)}")
            parent, section = section, section[part]
        parent[key] = YAML(typ="safe").load(value)
    with io.StringIO() as text:
        yaml.dump(content, text)
        publish(path, text.getvalue().encode())
