"""Forgetting: nothing of a post, or of a user and their posts, stays in the workspace, and nothing of it comes back.

The tombstones come first, all in one step. They alone say what is to go: whatever they name is removed wherever it is
found, so a run that was killed is completed by the next one.
"""

import hashlib
import shutil
from collections.abc import Collection, Iterator, Set
from datetime import datetime
from pathlib import Path

import polars as pl

from flickcast.errors import UserError
from flickcast.records import Forgotten, Named, StageReport, mentioned, named_in
from flickcast.schemas import TABLES, table_named
from flickcast.stages.describing import aggregate, labels
from flickcast.stages.matrix import features
from flickcast.stages.unlearning import unlearn
from flickcast.tables import APPENDING_STAGES
from flickcast.workspace import Workspace

DERIVED = {"labels": labels, "aggregates/users": aggregate, "features": features}
JOURNALS = "ingest"  # in .flickcast: answers of nights that did not end; such a night asks again
EXPLAINED = "reports/explain"  # pictures that `explain` draws again; ids are escaped in them
SHOWN = ("logs", "reports", "last-error.json")  # in .flickcast: what stages said last
TOLD = ("plots", "reports", "metrics", "comparison")  # made anew by the next night, or the next comparison

Quarantined = dict[str, dict[str, Named]]  # table to record_sha256 to whom the record names


def stored_posts(ws: Workspace, kind: str, ids: Collection[str]) -> int:
    """How many of the workspace's posts are these, or these users'."""
    column = "post_id" if kind == "post" else "user_id"
    return int(ws.scan("posts", (column,)).filter(pl.col(column).is_in(list(ids))).select(pl.len()).collect().item())


def forget(
    ws: Workspace, kind: str, ids: Collection[str], moment: datetime, *, even_if_unknown: bool = False
) -> StageReport:
    """Remove posts (`kind` "post") or users with all their posts ("user"); the derived tables are computed anew.

    UserError where nothing is stored of an id, unless `even_if_unknown`: then it will not be taken in later either.
    """
    _refuse_no_ids(ids)
    asked = Forgotten(frozenset(ids), frozenset()) if kind == "post" else Forgotten(frozenset(), frozenset(ids))
    quarantined = _quarantined(ws)
    if not even_if_unknown:
        _refuse_unknown(ws, kind, set(ids), quarantined)
    theirs = _with_posts(ws, asked, quarantined)
    new = _bury(ws, theirs, moment)
    models = _remove_models(ws, theirs)
    removed = _remove_rows(ws, theirs, quarantined)
    for table, stage in DERIVED.items():
        if ws.exists(table):
            stage(ws)
    files = [*models, *_remove_files(ws, theirs), *unlearn(ws)]
    facts = {"kind": kind, "ids": sorted(ids), "tombstones": new, "rows_removed": removed, "files_removed": files}
    return StageReport("forget", facts, tuple(_notes(ws, theirs, models)))


def _with_posts(ws: Workspace, asked: Forgotten, quarantined: Quarantined) -> Forgotten:
    """Who was asked for and who was before, with every post of the users among them."""
    before = ws.forgotten()
    users = asked.user_ids | before.user_ids
    posts = ws.scan("posts", ("post_id", "user_id")).filter(pl.col("user_id").is_in(list(users))).collect()["post_id"]
    refused = {
        record.post_id
        for records in quarantined.values()
        for record in records.values()
        if record.post_id is not None and record.user_id in users
    }
    return Forgotten(asked.post_ids | before.post_ids | set(posts) | refused, users)


def _bury(ws: Workspace, theirs: Forgotten, moment: datetime) -> int:
    """Write the tombstones that are missing, all at once; how many."""
    ids = [("post", one) for one in theirs.post_ids] + [("user", one) for one in theirs.user_ids]
    rows = [{"kind": kind, "id": one, "gone_at": moment, "reason": "forgotten"} for kind, one in sorted(ids)]
    new = ws.unknown("tombstones", pl.DataFrame(rows, schema=TABLES["tombstones"].dtypes()))
    digest = hashlib.sha256("\n".join(new["kind"] + new["id"]).encode()).hexdigest()[:10]
    with ws.appending("ingest") as appender:
        appender.append("tombstones", f"forgotten-{digest}", new)
    return new.height


def _remove_models(ws: Workspace, theirs: Forgotten) -> list[str]:
    """Delete every model while posts of theirs are stored; which folders. Some reductions keep what they learnt from.

    Before the rows go: where this was cut short the rows are still there, so the next run completes it.
    """
    if not stored_posts(ws, "post", theirs.post_ids):
        return []
    folders = sorted(path for path in (ws.root / "models").glob("*/*") if path.is_dir())
    for folder in folders:
        shutil.rmtree(folder)
    return [str(folder.relative_to(ws.root)) for folder in folders]


def _remove_rows(ws: Workspace, theirs: Forgotten, quarantined: Quarantined) -> dict[str, int]:
    """Take their rows out of every appended table; per table, how many."""
    removed = {}
    for stage in APPENDING_STAGES:
        tables = [name for name in sorted(ws.manifest(stage).parts) if name != "tombstones"]
        if not tables:
            continue  # it has never run here
        with ws.appending(stage) as appender:
            for name in tables:
                matching = _matching(name, theirs, quarantined.get(name, {}))
                removed[name] = appender.take_out(name, matching)
    return {name: count for name, count in removed.items() if count}


def _matching(name: str, theirs: Forgotten, quarantined: dict[str, Named]) -> pl.Expr:
    """What is true of a table's rows that are theirs."""
    columns = table_named(name).columns
    if "record_sha256" in columns:
        return pl.col("record_sha256").is_in([key for key, one in quarantined.items() if theirs.names(*one)])
    ids = {"post_id": theirs.post_ids, "user_id": theirs.user_ids}
    return pl.any_horizontal(pl.col(column).is_in(list(known)) for column, known in ids.items() if column in columns)


def _quarantined(ws: Workspace) -> Quarantined:
    """Every quarantined record, as far as it says whose it is."""
    return {f"quarantine/{stage}": dict(_records(ws, f"quarantine/{stage}")) for stage in ("ingest", "embed")}


def _records(ws: Workspace, table: str) -> Iterator[tuple[str, Named]]:
    for path in ws.parts(table):
        for key, record in ws.read_part(table, path, ("record_sha256", "record")).iter_rows():
            yield key, named_in(record)


def _refuse_no_ids(ids: Collection[str]) -> None:
    for one in ids:
        try:
            one.encode()
        except UnicodeEncodeError:
            raise UserError("An id is no text in UTF-8. Nothing was changed.") from None
        if one != one.strip() or not one:
            raise UserError(f"'{one}' is no id: it is empty, or has blanks around it. Nothing was changed.")


def _refuse_unknown(ws: Workspace, kind: str, ids: Set[str], quarantined: Quarantined) -> None:
    unknown = set(ids - _buried(ws, kind))
    column = f"{kind}_id"
    for table in _tables_with(ws, column) if unknown else ():
        is_asked = pl.col(column).is_in(list(unknown))
        unknown -= set(ws.scan(table, (column,)).filter(is_asked).collect()[column])
    for record in (one for records in quarantined.values() for one in records.values() if unknown):
        unknown -= {getattr(record, column)} | mentioned(record.unread, unknown)
    if unknown:
        one, *others = sorted(unknown)
        more = f" and {len(others)} others" if others else ""
        raise UserError(
            f"Nothing is stored of the {kind} '{one}'{more}, so nothing was changed. "
            "To keep it out from now on: the same command with --even-if-unknown."
        )


def _buried(ws: Workspace, kind: str) -> set[str]:
    """Those that have a tombstone, whatever the reason."""
    return set(ws.read("tombstones", ("kind", "id")).filter(pl.col("kind") == kind)["id"])


def _tables_with(ws: Workspace, column: str) -> list[str]:
    """The appended tables that have the column, `posts` first."""
    names = [name for stage in APPENDING_STAGES for name in ws.manifest(stage).parts]
    found = [name for name in names if column in table_named(name).columns]
    return sorted(found, key=lambda name: (name != "posts", name))


def _remove_files(ws: Workspace, theirs: Forgotten) -> list[str]:
    """Delete the journals of unfinished nights, explanations, and every log, report and plot that names them; which."""
    journals = [*_files(ws.state_folder / JOURNALS), *_files(ws.root / EXPLAINED)]
    shown = [path for name in SHOWN for path in _files(ws.state_folder / name)]
    told = [path for name in TOLD for path in _files(ws.root / name)]
    naming = [path for path in (*shown, *told) if mentioned(path.read_bytes(), theirs.ids)]
    for path in (gone := sorted({*journals, *naming})):
        path.unlink(missing_ok=True)
    return [str(path.relative_to(ws.root)) for path in gone]


def _files(place: Path) -> list[Path]:
    return [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]


def _notes(ws: Workspace, theirs: Forgotten, models: list[str]) -> Iterator[str]:
    """What stays, as far as this workspace can tell."""
    if models:
        yield "The models had learned from them and are deleted. The next night trains anew, or now: `flickcast train`."
    if followed := sorted(theirs.user_ids.intersection(ws.params.ingest.sampling.users)):
        yield f"params.yaml still names {', '.join(followed)} in ingest.sampling.users: take it out there."
    naming = [path for path in _files(ws.state_folder / "prefect") if mentioned(path.read_bytes(), theirs.ids)]
    if naming:
        yield f"Prefect's own files still name them: delete {ws.state_folder / 'prefect'} while no night is running."
