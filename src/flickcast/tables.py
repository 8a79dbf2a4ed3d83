"""Tables on disk: immutable Parquet parts, and one manifest per stage that says which parts count.

A stage that appends writes new parts first and its manifest last, in one atomic rename. Whatever a killed run left
behind is not in the manifest, is not read, and is removed when the stage starts again (SQLite's idea: after a crash
there are only two legal states). Parts are never rewritten, with one exception: rows are taken out of one by writing it
anew under another name, which the manifest then lists in place of the old one.
"""

import glob
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, NotRequired

import polars as pl
from pydantic import BaseModel, StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from flickcast import vectors
from flickcast.errors import CheckError, UserError
from flickcast.schemas import TABLES, TIME, Table, check, table_named

Json = dict[str, Any]
Parts = Iterable[tuple[str, pl.DataFrame]]  # a part's name and its rows


def publish(path: Path, content: bytes) -> None:
    """Put a whole file in place: the old one or the new one is there at every moment, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_behind(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _remove_left_behind(path: Path) -> None:
    """What processes that died while they published this file have written of it."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        process = temporary.name.split(".")[-2]
        if process.isdecimal() and not _is_alive(int(process)):
            temporary.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def publish_json(path: Path, content: Any) -> None:
    """A JSON file with sorted keys, so that equal content gives equal bytes."""
    publish(path, (json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def publish_parquet(path: Path, rows: pl.DataFrame) -> Json:
    """A Parquet file (zstd); returns what a manifest keeps of it: rows, sha256 and the spans of its times."""
    content = vectors.packed(rows) if vectors.of_vectors(rows) else _parquet(rows)
    publish(path, content)
    return {"rows": rows.height, "sha256": hashlib.sha256(content).hexdigest(), "spans": _spans(rows)}


def _spans(rows: pl.DataFrame) -> dict[str, list[int]]:
    """Smallest and largest value of each column of times that has one, in microseconds since 1970."""
    times = rows.select(pl.col(name).to_physical() for name, dtype in rows.schema.items() if dtype == TIME)
    ends = zip(times.columns, times.min().row(0), times.max().row(0), strict=True) if times.height else ()
    return {name: [low, high] for name, low, high in ends if low is not None}


def _parquet(rows: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.write_parquet(buffer, compression="zstd", statistics=True)
    return buffer.getvalue()


class _Facts(TypedDict):
    rows: int
    spans: NotRequired[dict[str, tuple[int, int]]]  # manifests before 2026-11-22 have none
    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


PartName = Annotated[str, StringConstraints(pattern=r"^[^/\\]+\.parquet$")]


class _ManifestFile(BaseModel):
    """The shape of a manifest on disk."""

    stage: str
    parts: dict[str, dict[PartName, _Facts]]
    batches: dict[str, Json]

    def manifest(self) -> "Manifest":
        return Manifest(**self.model_dump())


@dataclass
class Manifest:
    """What a stage has written: table to part to {rows, sha256}; and which batches it has finished."""

    stage: str
    parts: dict[str, dict[str, Json]] = field(default_factory=dict)
    batches: dict[str, Json] = field(default_factory=dict)

    def as_json(self) -> Json:
        """The manifest as it is stored."""
        return {"stage": self.stage, "parts": self.parts, "batches": self.batches}


class Store:
    """The tables under `<root>/data` with their manifests under `<root>/manifests`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: set[Path] = set()

    def folder(self, name: str) -> Path:
        """Where a table's parts lie."""
        return self.root / "data" / name

    def manifest(self, stage: str) -> Manifest:
        """What the stage has written so far; empty before its first run."""
        path = self._manifest_path(stage)
        if not path.exists():
            self._refuse_orphans(stage)
            return Manifest(stage)
        try:
            return _ManifestFile.model_validate_json(path.read_bytes()).manifest()
        except ValidationError:
            raise UserError(f"{path} is damaged. Get it back with `git checkout -- {path}`.") from None

    def parts(self, name: str) -> list[Path]:
        """The parts of a table that count, in a fixed order. UserError if one is not on disk."""
        folder = self.folder(name)
        paths = [folder / part for part in sorted(self._listed(name))]
        for path in paths:
            if not path.exists():
                raise UserError(
                    f"{path} is missing though its manifest lists it. "
                    f"Run `dvc pull` (or `dvc checkout`), then the same command again."
                )
        return paths

    def part_named(self, name: str, part: str) -> Path | None:
        """The part that counts of those written under a name, whether rows were taken out of it or not."""
        return next((path for path in self.parts(name) if first_name(path.stem) == part), None)

    def exists(self, name: str) -> bool:
        """Whether the table has a part."""
        return bool(self.parts(name))

    def read(self, name: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """All rows of a table; no rows where nothing was written yet."""
        return self.scan(name, columns).collect()

    def scan(self, name: str, columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """A table as a lazy frame; only the named columns are read, from parts that are what their manifest says.

        Pictures, and the keys of vectors, are the exception: hashing the whole history to read them would cost more
        each night. Whoever reads pictures' bytes calls `read_part`; whoever reads vectors has them checked; whoever
        writes by what those keys say calls `verify` first.
        """
        paths = self.parts(name)
        self._verify_what_is_read(name, columns, paths)
        frame = pl.scan_parquet(paths, glob=False) if paths else table_named(name).empty().lazy()
        return frame.select(columns) if columns is not None else frame

    def places(self, name: str, columns: Sequence[str]) -> pl.DataFrame:
        """The named columns of all rows, and in `part` the name of the part that each row is in."""
        paths = self.parts(name)
        self._verify_what_is_read(name, columns, paths)
        if not paths:
            return self.read(name, columns).with_columns(part=pl.lit("", pl.String))
        rows = pl.scan_parquet(paths, glob=False, include_file_paths="part").select(*columns, "part").collect()
        names = {str(path): path.name.removesuffix(".parquet") for path in paths}
        return rows.with_columns(pl.col("part").replace_strict(names, return_dtype=pl.String))

    def refresh(self, name: str, wanted: Mapping[str, str], make: Callable[[list[str]], Parts]) -> list[str]:
        """Bring a derived table up to date part by part; returns the names of the parts that were made.

        `wanted` maps each part to a digest of all that it is made from. A part listed with that digest stays as it is;
        `make` is called once with the names of the others and gives their rows. What is no longer wanted goes, and with
        it what an earlier version wrote without saying what it was made from.
        """
        listed, folder = self._listed(name), self.folder(name)
        kept = {
            file: facts
            for file, facts in listed.items()
            if "of" in facts and wanted.get(facts["part"]) == facts["of"] and (folder / file).exists()
        }
        missing = sorted(set(wanted) - {facts["part"] for facts in kept.values()})
        for part, rows in make(missing) if missing else ():
            digest = wanted[part]
            path = folder / f"{part}-{digest[:10]}.parquet"
            kept[path.name] = {**publish_parquet(path, check(name, rows)), "part": part, "of": digest}
        if kept != listed or not (folder / LISTING).exists():
            publish_json(folder / LISTING, kept)
        for path in (*self._files(name), *folder.glob(".*.parquet.*.tmp")):  # the latter: of runs that died
            if path.name not in kept:
                path.unlink()
        return missing

    def filled(self, name: str) -> list[str]:
        """The columns that hold a value in some part, from the parts' footers."""
        import pyarrow.parquet as pq

        found: set[str] = set()
        for footer in map(pq.read_metadata, self.parts(name)):
            for group in map(footer.row_group, range(footer.num_row_groups)):
                columns = map(group.column, range(group.num_columns))
                found |= {one.path_in_schema for one in columns if one.statistics.null_count < group.num_rows}
        return sorted(found)

    def digests(self, name: str) -> dict[str, str]:
        """Each part that counts and the sha256 of its content."""
        return {path.removesuffix(".parquet"): facts["sha256"] for path, facts in self._listed(name).items()}

    def spans(self, name: str, column: str) -> dict[str, tuple[datetime, datetime]]:
        """Each part that counts and has rows: smallest and largest value of a column of times that is never null."""
        listed = self._listed(name)
        found = {path: facts.get("spans") or self._footer_spans(name, path) for path, facts in sorted(listed.items())}
        ends = {path: spans[column] for path, spans in found.items() if column in spans}
        return {path.removesuffix(".parquet"): (_moment(low), _moment(high)) for path, (low, high) in ends.items()}

    def _footer_spans(self, name: str, part: str) -> dict[str, list[int]]:
        """What a manifest says since 2026-11-22, of a part written before."""
        times = [column for column, facts in table_named(name).columns.items() if facts.dtype == TIME]
        self._verify(name, [self.folder(name) / part])
        return _spans(pl.read_parquet(self.folder(name) / part, columns=times, glob=False))

    def verify(self, name: str, parts: Iterable[str] | None = None) -> None:
        """See that a table, or the parts of these names, is what its manifest says. CheckError if it is not."""
        wanted = None if parts is None else {f"{part}.parquet" for part in parts}
        self._verify(name, [path for path in self.parts(name) if wanted is None or path.name in wanted])

    @contextmanager
    def naming_damage(self) -> Iterator[None]:
        """Where polars fails at keys that were read unhashed, the damaged part is named instead. CheckError then."""
        try:
            yield
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            for stage in APPENDING_STAGES:
                for name in self.manifest(stage).parts:
                    self.verify(name)
            raise

    def read_part(self, name: str, path: Path, columns: Sequence[str]) -> pl.DataFrame:
        """Columns of one part, which is first checked against its manifest."""
        self._verify(name, [path])
        return pl.read_parquet(path, columns=list(columns), glob=False)

    def read_parts(self, name: str, parts: Sequence[str], columns: Sequence[str]) -> pl.DataFrame:
        """Columns of some parts, by their names without ending; no rows where there is no part."""
        rows = [self.read_part(name, self.folder(name) / f"{part}.parquet", columns) for part in parts]
        return pl.concat(rows) if rows else table_named(name).empty().select(columns)

    def height(self, name: str) -> int:
        """How many rows the table has."""
        return sum(facts["rows"] for facts in self._listed(name).values())

    def vectors_of(self, name: str) -> tuple[pl.Series, vectors.Matrix]:
        """The posts that have a vector in a table of vectors, and the vectors, (posts, dimension)."""
        paths, listed = self.parts(name), self._listed(name)
        heights = [listed[path.name]["rows"] for path in paths]
        return vectors.matrix(paths, heights, lambda path: self._content(path, listed), ("post_id", "vector"))

    def keys(self, name: str) -> pl.DataFrame:
        """The key columns of a table."""
        return self.read(name, table_named(name).key)

    def unknown(self, name: str, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows whose key the table does not hold yet."""
        return rows.join(self.keys(name), on=list(table_named(name).key), how="anti")

    @contextmanager
    def appending(self, stage: str) -> Iterator["Appender"]:
        """Collect new parts of the stage's tables; they count, all together, when the block ends well."""
        manifest = self.manifest(stage)
        self._refuse_lost_history(manifest)
        self._remove_leftovers(manifest)
        publish_json(self._manifest_path(stage), manifest.as_json())  # from now on, parts without one mean it was lost
        for table in appended_tables(stage):
            _describe(self.folder(table.name), table)
        appender = Appender(self, manifest)
        yield appender
        appender.checkpoint()

    def parts_with(self, name: str, matching: pl.Expr) -> dict[Path, int]:
        """The parts that hold rows for which `matching` is true, and how many; only the columns it names are read."""
        found = {path: self._scan_part(name, path).select(matching.sum()).collect().item() for path in self.parts(name)}
        return {path: int(count) for path, count in found.items() if count}

    def _scan_part(self, name: str, path: Path) -> pl.LazyFrame:
        if name != "images":
            self._verify(name, [path])
        return pl.scan_parquet(path, glob=False)

    def _verify_what_is_read(self, name: str, columns: Sequence[str] | None, paths: Sequence[Path]) -> None:
        """Refuse a part that is not its manifest's or, where only keys of much else are read, that is cut off."""
        if not _are_keys_of_much(name, columns):
            self._verify(name, paths)
            return
        for path in paths:
            if path not in self._verified and not _is_whole(path):
                self._judge(path, "", self._listed(name))

    def _verify(self, name: str, paths: Sequence[Path]) -> None:
        """Refuse a part whose sha256 is not its manifest's, before a parser sees it; once per store and part."""
        unseen = [path for path in paths if path not in self._verified]
        listed = self._listed(name) if unseen else {}
        for path in unseen:
            with path.open("rb") as file:
                self._judge(path, hashlib.file_digest(file, "sha256").hexdigest(), listed)

    def _content(self, path: Path, listed: dict[str, Json]) -> bytes:
        """A part's bytes, read once for both the check against its manifest and the parser."""
        content = path.read_bytes()
        if path not in self._verified:
            self._judge(path, hashlib.sha256(content).hexdigest(), listed)
        return content

    def _judge(self, path: Path, digest: str, listed: dict[str, Json]) -> None:
        if digest != listed[path.name]["sha256"]:
            raise CheckError(f"{path} is damaged: its manifest says otherwise. Run `dvc checkout --force`.")
        self._verified.add(path)

    def _listed(self, name: str) -> dict[str, Json]:
        """The parts that count: those in the stage's manifest or, for a derived table, in its own listing."""
        if table_named(name).owner in APPENDING_STAGES:
            return self.manifest(table_named(name).owner).parts.get(name, {})
        path = self.folder(name) / LISTING
        if not path.exists():
            return {}
        try:
            return _Parts.validate_json(path.read_bytes())
        except ValidationError:
            raise CheckError(f"{path} is damaged. Run `flickcast {table_named(name).owner}` again.") from None

    def _manifest_path(self, stage: str) -> Path:
        return self.root / "manifests" / f"{stage}.json"

    def _refuse_lost_history(self, manifest: Manifest) -> None:
        for name in manifest.parts:
            self.parts(name)

    def _refuse_orphans(self, stage: str) -> None:
        path = self._manifest_path(stage)
        orphans = [part for table in appended_tables(stage) for part in self._files(table.name)]
        if orphans:
            raise UserError(
                f"{path} is missing though {orphans[0]} and others are there. "
                f"Get it back with `git checkout -- {path}`, or move the data away to start anew."
            )

    def _files(self, name: str) -> list[Path]:
        """Every Parquet file in a table's folder, listed or not."""
        return sorted(self.folder(name).rglob("*.parquet"))

    def _remove_leftovers(self, manifest: Manifest) -> None:
        """What a killed run wrote and never listed; also half-written temporary files."""
        for table in appended_tables(manifest.stage):
            folder = self.folder(table.name)
            for path in folder.rglob("*") if folder.exists() else ():
                name = str(path.parent.relative_to(self.root / "data"))
                if path.is_file() and path.name not in manifest.parts.get(name, {}) and path.name not in KEPT:
                    path.unlink()


class Appender:
    """New parts of one stage, listed in its manifest when the run is over."""

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self._store = store
        self._manifest = manifest
        self._replaced: list[Path] = []

    def append(self, name: str, part: str, rows: pl.DataFrame) -> None:
        """Write a new part of a table; no rows, no part. CheckError if it counts already: parts are never rewritten."""
        if rows.is_empty():
            return
        path = self._store.folder(name) / f"{part}.parquet"
        if path.name in self._manifest.parts.get(name, {}) or path in self._replaced:
            raise CheckError(f"table {name}: its part {part} is stored already. Nothing was written.")
        self._manifest.parts.setdefault(name, {})[path.name] = publish_parquet(path, check(name, rows))

    def finish_batch(self, batch: str, facts: Json) -> None:
        """Note that a batch (a night, an import) is complete, with its counts."""
        self._manifest.batches[batch] = facts

    def drop(self, name: str) -> None:
        """Let the parts of a table count no longer; the next run removes the files."""
        self._manifest.parts.pop(name, None)

    def take_out(self, name: str, matching: pl.Expr) -> int:
        """Write the parts that hold matching rows anew without them, the rest as it is; how many rows went.

        A part that keeps no row goes whole. Counts with the next checkpoint, as everything does; the old files go then.
        """
        found = self._store.parts_with(name, matching)
        for path in found:
            self._store._verify(name, [path])  # of pictures, too: their bytes are written again
            kept = pl.read_parquet(path, glob=False).filter(~matching.fill_null(False))
            parts = self._manifest.parts[name]
            del parts[path.name]
            if kept.height:
                new = self._free_name(path)
                parts[new.name] = publish_parquet(new, kept)
            elif not parts:
                del self._manifest.parts[name]
            self._replaced.append(path)
        return sum(found.values())

    def _free_name(self, path: Path) -> Path:
        """`night~1.parquet` for `night.parquet`, then `night~2.parquet`."""
        number = 1
        while (new := path.with_name(f"{first_name(path.stem)}~{number}.parquet")).exists():
            number += 1
        return new

    def checkpoint(self) -> None:
        """Let what was written so far count now (long work: a kill loses at most what follows)."""
        publish_json(self._store._manifest_path(self._manifest.stage), self._manifest.as_json())
        while self._replaced:
            self._replaced.pop().unlink(missing_ok=True)


PARQUET_END = b"PAR1"
LISTING = "parts.json"  # of a derived table, whose parts no manifest lists
_Parts: TypeAdapter[dict[PartName, Json]] = TypeAdapter(dict[PartName, Json])
ABOUT = "about.txt"
KEPT = {ABOUT, ".gitignore"}  # files in a table's folder that are no parts
REWRITTEN = re.compile(r"(.+)~\d+")
APPENDING_STAGES = ("ingest", "embed", "predict")


def appended_tables(stage: str) -> list[Table]:
    """The tables that a stage appends to."""
    return [table for table in TABLES.values() if table.owner == stage]


def _are_keys_of_much(name: str, columns: Sequence[str] | None) -> bool:
    """Whether the columns are little of a table that is pictures, or vectors, for the rest."""
    vectors_stay = name.startswith("embeddings/") and columns is not None and "vector" not in columns
    return name == "images" or vectors_stay


def _is_whole(path: Path) -> bool:
    """Whether a file ends as Parquet does (its format, "File format"): one cut off, or emptied, does not."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(PARQUET_END)))
        return file.read() == PARQUET_END


def first_name(part: str) -> str:
    """The name that a part had before rows were taken out of it.

    >>> first_name("2026-03-01~2"), first_name("2026-03-01")
    ('2026-03-01', '2026-03-01')
    """
    match = REWRITTEN.fullmatch(part)
    return match[1] if match else part


def _moment(microseconds: int) -> datetime:
    """As Parquet stores it; pyarrow's own conversion would load pandas, a second and 40 MB."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)


def _describe(folder: Path, table: Table) -> None:
    """Every output of a stage must be there for DVC, and it warns of empty folders: so each says what it is for."""
    if not (folder / ABOUT).exists():
        publish(folder / ABOUT, f"{table.name}: {table.meaning} Columns: docs/tables.md of flickcast.\n".encode())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
