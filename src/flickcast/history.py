"""A workspace's past: git for the small files, DVC's remote for tables and models, one commit per night."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flickcast.errors import FlickcastError, TryAgainError, UserError
from flickcast.graph import open_repo
from flickcast.leash import GIT_LOCATIONS, dvc, private_site_cache, site_cache
from flickcast.outputs import list_new_outputs
from flickcast.tables import Store, publish_json

if TYPE_CHECKING:
    from dvc.repo import Repo

Json = dict[str, Any]
CANARIES = "encoders/canaries"
OWN_FILES = (
    *("dvc.yaml", "dvc.lock", "params.yaml", "night.yaml", "recipes", ".gitignore", ".dvcignore"),
    CANARIES,
)
FINISHED = "manifests/nights.json"
FIRST_COMMIT = (*OWN_FILES, "prefect.yaml", ".dvc/config", ".dvc/.gitignore")


def initialise(root: Path) -> None:
    """Put a workspace under git and DVC, with a local remote in `.dvc/remote`; nothing outside it is touched.

    Doing it again changes nothing. For a copy elsewhere: `dvc remote modify local url ADDRESS`.
    """
    if not (root / ".git").exists():
        _git(root, "init", "--quiet", "--initial-branch", "main")
    if not _git(root, "config", "--default", "", "user.email"):
        _git(root, "config", "--local", "user.email", "flickcast@localhost")
        _git(root, "config", "--local", "user.name", "flickcast")
    if not (root / ".dvc" / "config").exists():
        _checked_dvc(root, "init", "--quiet")
    _configure(root)
    list_new_outputs(root)
    _ensure_line(root / ".dvc" / ".gitignore", "/remote")
    _ensure_line(root / ".gitignore", "/.flickcast/")
    _ensure_line(root / ".dvcignore", ".flickcast")
    if not _git(root, "rev-parse", "--quiet", "--verify", "HEAD", may_fail=True):
        _commit(root, [name for name in FIRST_COMMIT if (root / name).exists()], "A new workspace")


def publish(root: Path, message: str, night: date | None = None) -> dict[str, Any]:
    """Push the data, see that it arrived, then commit what describes it; no commit where nothing changed.

    With this commit, and not before, `night` is finished.
    Returns the commit (after it), the number of files pushed, and the number of objects seen on the remote.
    """
    pushed = _push(root)
    missing, seen = _missing_on_remote(root, repair=True)
    if missing:
        pushed += _push(root)
        missing, seen = _missing_on_remote(root, repair=False)
    if missing:
        raise TryAgainError(f"{root}: {len(missing)} objects did not arrive on DVC's remote. Run the command again.")
    if night:
        finished = sorted({*finished_nights(root), night})
        publish_json(root / FINISHED, {"nights": [night.isoformat() for night in finished]})
    _commit(root, _files_of_git(root), message)
    return {"commit": _git(root, "rev-parse", "HEAD"), "pushed": pushed, "on_remote": seen}


REPORT = "Report: "  # before a stage's report in the message of a worker's commit


def offer(root: Path, message: str, branch: str) -> str:
    """Publish what is here so far, for a worker's clone to go on from; the commit. The night is not finished by it."""
    rev = str(publish(root, message)["commit"])
    if origin := _origin(root):
        _git(root, "push", "--quiet", "--force", origin, f"{rev}:refs/heads/{branch}")
    return rev


def begin_at(root: Path, rev: str, branch: str) -> None:
    """In a worker's clone: stand at the parent's commit, whatever an earlier run has left."""
    _git(root, "fetch", "--quiet", "--force", "origin")
    _git(root, "checkout", "--quiet", "--force", "-B", branch, rev)


def pull_inputs(root: Path, stage: str) -> None:
    """What a stage reads, and what it has written so far. UserError where that was written and its manifest is lost."""
    with open_repo(root) as repo:
        found = _stage_named(repo, stage)
        known = [out.fs_path for one in repo.index.stages for out in one.outs if out.use_cache and out.hash_info]
        wanted = [dep.fs_path for dep in found.deps] + [out.fs_path for out in found.outs]
        uncached = [Path(out.fs_path) for out in found.outs if not out.use_cache]
        has_written = any(out.hash_info for out in found.outs)
    if has_written and (lost := [path for path in uncached if not path.exists()]):
        raise UserError(f"{lost[0]} is missing though dvc.lock says that {stage} has run: the commit is not whole.")
    targets = [str(Path(path).relative_to(root)) for path in wanted if path in known]
    if targets:
        _checked_dvc(root, "pull", "--force", *targets)


def hand_back(root: Path, stage: str, branch: str) -> None:
    """In a worker's clone: publish the stage's tables, give the parent the commit, the report in its message."""
    path = root / ".flickcast" / "reports" / f"{stage}.json"
    report = json.dumps(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else ""
    publish(root, f"{branch}\n\n{REPORT}{report}")
    _git(root, "push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{branch}")


def take_over(root: Path, stage: str, rev: str, branch: str) -> None:
    """Make a worker's vectors this workspace's own. TryAgainError if the branch is not the answer to our commit."""
    if origin := _origin(root):
        _git(root, "fetch", "--quiet", "--force", origin, f"refs/heads/{branch}:refs/heads/{branch}")
    answer = _git(root, "rev-parse", "--verify", f"refs/heads/{branch}")
    if rev not in _git(root, "rev-list", "--max-count=2", answer).split():
        raise TryAgainError(f"{root}: the branch {branch} does not go on from {rev[:10]}. Run the command again.")
    with open_repo(root) as repo:
        found = _stage_named(repo, stage)
        cached = [str(Path(out.fs_path).relative_to(root)) for out in found.outs if out.use_cache]
        plain = [str(Path(out.fs_path).relative_to(root)) for out in found.outs if not out.use_cache]
    proofs = _git(root, "ls-tree", "--name-only", answer, "--", CANARIES).split()
    _git(root, "checkout", "--quiet", answer, "--", "dvc.lock", *plain, *proofs)
    _checked_dvc(root, "pull", "--force", *cached)
    report = _git(root, "log", "-1", "--format=%B", answer).partition(REPORT)[2]
    if report:
        publish_json(root / ".flickcast" / "reports" / f"{stage}.json", json.loads(report))
    _git(root, "branch", "--quiet", "--delete", "--force", branch)


def _stage_named(repo: "Repo", name: str) -> Any:
    """Not DVC's own search: that begins in the current folder."""
    return next(one for one in repo.index.stages if getattr(one, "name", None) == name)


def _origin(root: Path) -> str | None:
    """The remote that parent and worker both push to; None where this repository is the worker's origin itself."""
    return "origin" if "origin" in _git(root, "remote").split() else None


def finished_nights(root: Path) -> list[date]:
    """The nights that have been published, oldest first: those that the last commit names."""
    text = _git(root, "show", f"HEAD:./{FINISHED}", may_fail=True)
    try:
        return sorted(date.fromisoformat(name) for name in json.loads(text)["nights"]) if text else []
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{root / FINISHED} as last committed is damaged: put an earlier one in place.") from None


def begun_nights(root: Path) -> list[date]:
    """The nights whose posts have been taken in, whether the rest of the night was done or not."""
    names = Store(root).manifest("ingest").batches
    return sorted(date.fromisoformat(name) for name in names if re.fullmatch(r"\d{4}-\d{2}-\d{2}", name))


def nights_to_run(root: Path, night: date | None) -> list[date]:
    """The night asked for, else all missed ones; UserError where it is finished and a newer one is, too.

    A night that was left out may be run after newer ones. Model and report are then as of that night, until the next
    night or until the newest one is repeated.
    """
    if night is None:
        return missed_dates(root)
    finished = finished_nights(root)
    if night in finished and night != finished[-1]:
        raise UserError(
            f"The night of {night} is finished, and only the newest can be repeated: `--date {finished[-1]}`."
        )
    return [night]


def missed_dates(root: Path) -> list[date]:
    """The nights to catch up on now: those after the last published one, up to yesterday (UTC)."""
    return missed_nights(finished_nights(root), begun_nights(root), yesterday())


def yesterday() -> date:
    """The last day that is over, in UTC."""
    return datetime.now(UTC).date() - timedelta(days=1)


def missed_nights(finished: list[date], begun: list[date], last: date) -> list[date]:
    """The nights after the newest finished one up to `last`; where none is finished, from the first that was begun."""
    start = max(finished) + timedelta(days=1) if finished else min([*begun, last])
    return [start + timedelta(days=number) for number in range((last - start).days + 1)]


def versions_with_removed_parts(root: Path) -> list[Json]:
    """The commits, oldest first, that list a part of the ingest's tables which counts no longer: {commit, at}.

    Rows have been taken out of such a part since (`flickcast forget`, `quarantine retry`); what those commits describe
    still holds them. Empty where there is no git.
    """
    counting = _listed_parts(json.dumps(Store(root).manifest("ingest").as_json()))
    lines = _git(root, "log", "--all", "--reverse", "--format=%H %cI", may_fail=True).splitlines()
    commits = [dict(zip(("commit", "at"), line.split(), strict=True)) for line in lines]
    blobs = _blobs(root, [f"{one['commit']}:./manifests/ingest.json" for one in commits])
    holding = {blob for blob in set(blobs) if blob and _listed_parts(_git(root, "cat-file", "blob", blob)) - counting}
    return [one for one, blob in zip(commits, blobs, strict=True) if blob in holding]


def _blobs(root: Path, names: list[str]) -> list[str | None]:
    """The objects that git has under these names, None where it has none."""
    if not names:
        return []
    lines = _git(root, "cat-file", "--batch-check", given="\n".join(names)).splitlines()
    return [line.split()[0] if " blob " in line else None for line in lines]


def _listed_parts(manifest: str) -> set[tuple[str, str]]:
    """Table and hash of every part that a manifest lists."""
    try:
        parts = json.loads(manifest)["parts"]
        return {(table, facts["sha256"]) for table, listed in parts.items() for facts in listed.values()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()  # of a commit that never worked


def _configure(root: Path) -> None:
    """DVC's settings: the local remote, no reports, no question for newer versions, its working files kept here."""
    from dvc.config import Config
    from dvc.config_schema import RelPath

    config = Config(str(root / ".dvc"), validate=False)
    with config.edit("repo") as shared:
        shared["core"] = {"remote": "local"} | shared.get("core", {}) | {"analytics": False, "check_update": False}
        shared.setdefault("remote", {}).setdefault("local", {"url": RelPath(root.resolve() / ".dvc" / "remote")})
    with config.edit("local") as own:
        own["core"] = own.get("core", {}) | {"site_cache_dir": str(private_site_cache(root)), "autostage": True}


def _push(root: Path) -> int:
    """`dvc push`, with DVC's index of the remote thrown away first.

    A push killed while collecting leaves an index which makes every later push, and `dvc status -c`, believe that
    all is there (DVC 3.67: 10 of 14 kills; 0 of 14 with the index deleted).
    """
    for index in site_cache(root).glob("repo/*/index"):
        shutil.rmtree(index)
    found = re.search(r"(\d+) files? pushed", _checked_dvc(root, "push"))
    return int(found[1]) if found else 0


def _missing_on_remote(root: Path, *, repair: bool) -> tuple[list[str], int]:
    """The objects of dvc.lock that the remote lacks, and how many it has; folders count with all their files.

    `repair` deletes a folder's own object where files of it are missing: DVC skips the files of a folder it finds.
    """
    with open_repo(root) as repo:
        remote = repo.cloud.get_remote_odb()
        folders = dict(_cached_objects(repo))
        wanted = sorted({*folders, *(oid for members in folders.values() for oid in members)})
        there = set(remote.oids_exist(wanted))
        for folder, members in folders.items():
            if repair and folder in there and not there.issuperset(members):
                remote.delete(folder)
        return [oid for oid in wanted if oid not in there], len(there)


def _cached_objects(repo: "Repo") -> Iterator[tuple[str, list[str]]]:
    """Each output's object and, for a folder, the objects of its files."""
    for out in repo.index.outs:
        if not (out.use_cache and out.can_push and out.hash_info):
            continue
        oid = out.hash_info.value
        cached = Path(repo.cache.local.oid_to_path(oid))
        is_readable_folder = oid.endswith(".dir") and cached.exists()
        yield oid, [entry["md5"] for entry in json.loads(cached.read_bytes())] if is_readable_folder else []


def _files_of_git(root: Path) -> list[str]:
    """What a night's commit holds, by name: `git add --all` could take data that DVC has not listed as ignored yet."""
    with open_repo(root) as repo:
        outs = [(Path(out.fs_path), out.use_cache) for out in repo.index.outs]
    paths = [root / name for name in (*OWN_FILES, FINISHED)]
    paths += [path for path, is_cached in outs if not is_cached]
    paths += [path.parent / ".gitignore" for path, is_cached in outs if is_cached]
    return sorted({str(path.relative_to(root)) for path in paths if path.exists()})


def _commit(root: Path, names: list[str], message: str) -> None:
    """Commit these files and nothing else, whatever else is staged; no commit where they have not changed."""
    _git(root, "add", "--", *names)
    if _git(root, "diff", "--cached", "--name-only", "--", *names):
        _git(root, "commit", "--no-gpg-sign", "--quiet", "--message", message, "--only", "--", *names)


def _git(root: Path, *arguments: str, may_fail: bool = False, given: str = "") -> str:
    environment = {name: value for name, value in os.environ.items() if name not in GIT_LOCATIONS}
    done = subprocess.run(
        ["git", *arguments],
        cwd=root,
        env=environment | {"GIT_TERMINAL_PROMPT": "0"},
        input=given,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0 and not may_fail:
        raise FlickcastError(f"{root}: `git {arguments[0]}` failed: {done.stderr.strip()}")
    return done.stdout.strip() if done.returncode == 0 else ""


def _checked_dvc(root: Path, *arguments: str) -> str:
    outcome = dvc(root, *arguments)
    if outcome.code != 0:
        raise FlickcastError(f"{root}: `dvc {arguments[0]}` failed: {outcome.text.strip()}")
    return outcome.text


def _ensure_line(path: Path, line: str) -> None:
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if line not in text.splitlines():
        gap = "" if not text or text.endswith("\n") else "\n"
        path.write_text(f"{text}{gap}{line}\n", encoding="utf-8")
