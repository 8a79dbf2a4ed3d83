"""The stage graph as dvc.yaml tells it, and one stage run through DVC with its errors as ours."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flickcast.console import say
from flickcast.errors import CheckError, FlickcastError, TryAgainError, UserError, nearest
from flickcast.leash import Outcome, dvc, private_site_cache

if TYPE_CHECKING:
    from dvc.repo import Repo

BUSY = ("is busy, it is being blocked by", "Unable to acquire lock")  # DVC 3.67 names no exit code for it
BUSY_PAUSE_SECONDS = 0.5
ERROR_OF_CODE: dict[int, type[FlickcastError]] = {1: CheckError, 2: UserError, 75: TryAgainError}


@contextmanager
def open_repo(root: Path) -> Iterator["Repo"]:
    """The workspace as DVC sees it. UserError where it is not under DVC or dvc.yaml is wrong."""
    if not (root / ".dvc" / "config").is_file():
        raise UserError(f"{root} is not under DVC yet. Run `flickcast init {root}`.")
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root), config={"core": {"site_cache_dir": str(private_site_cache(root))}}) as repo:
            yield repo
    except DvcException as error:
        raise UserError(f"{root}: DVC says: {error}") from None


def stage_names(root: Path) -> list[str]:
    """The stages of dvc.yaml, each after those it depends on; otherwise in the file's order."""
    import networkx

    with open_repo(root) as repo:
        own = str(repo.root_dir) + "/dvc.yaml"
        place = {stage: number for number, stage in enumerate(repo.index.stages) if stage.path == own}
        graph = repo.index.graph.subgraph(place).reverse()
        return [stage.name for stage in networkx.lexicographical_topological_sort(graph, key=place.__getitem__)]


def run_stage(
    root: Path,
    stage: str,
    *,
    force: bool = False,
    show: Callable[[str], None] = say,
    wait_seconds: float = 60.0,
    timeout_seconds: float | None = None,
) -> bool:
    """Run one stage through DVC; True if it had something to do. Its own errors arrive as the stage raised them.

    The output goes to `show` line by line and to `.flickcast/logs/<stage>.log`.
    """
    words = root / ".flickcast" / "last-error.json"
    words.unlink(missing_ok=True)
    arguments = ["repro", "--single-item", *(["--force"] if force else []), stage]
    outcome = _wait_for_turn(root, arguments, show, wait_seconds, timeout_seconds)
    _keep_log(root, stage, outcome)
    if outcome.code != 0:
        raise _as_error(root, stage, outcome, timeout_seconds)
    return f"Running stage '{stage}':" in outcome.lines


def _wait_for_turn(
    root: Path, arguments: list[str], show: Callable[[str], None], wait_seconds: float, timeout_seconds: float | None
) -> Outcome:
    """Run DVC, again while another DVC command holds what it needs (DVC itself does not wait for stages)."""
    deadline = time.monotonic() + wait_seconds
    while True:
        outcome = dvc(root, *arguments, show=show, timeout_seconds=timeout_seconds)
        if outcome.code == 0 or not any(phrase in outcome.text for phrase in BUSY):
            return outcome
        if time.monotonic() >= deadline:
            raise TryAgainError(f"{root} is in use by another DVC command. Run the same command when it has finished.")
        time.sleep(BUSY_PAUSE_SECONDS)


def _as_error(root: Path, stage: str, outcome: Outcome, timeout_seconds: float | None) -> FlickcastError:
    """What went wrong: the stage's own last words if it left any, else what DVC says of it."""
    words = _last_words(root, stage)
    if words is not None:
        return words
    if outcome.code < 0:
        limit = f" (limit: {timeout_seconds:.0f} s)" if timeout_seconds is not None else ""
        return TryAgainError(f"Stage '{stage}' was stopped before its end{limit}. Run the same command to continue.")
    ended = re.search(r"exited with (-?\d+)$", outcome.text)
    if ended is None:
        known = stage_names(root)
        if stage not in known:
            return UserError(f"dvc.yaml has no stage '{stage}'; {nearest(stage, known)}")
        return FlickcastError(f"DVC could not run stage '{stage}': {_complaint(outcome)}")
    kind = ERROR_OF_CODE.get(int(ended[1]), FlickcastError)
    before = [line for line in outcome.lines if line.strip() and not line.startswith("ERROR: failed to reproduce")]
    return kind(
        f"Stage '{stage}' ended with exit code {ended[1]}; its last line: {before[-1].strip()} "
        f"(all of it: .flickcast/logs/{stage}.log)"
    )


def _last_words(root: Path, stage: str) -> FlickcastError | None:
    """The error that the stage's command left in `.flickcast/last-error.json`, DVC hides exit codes."""
    path = root / ".flickcast" / "last-error.json"
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["stage"] != stage:
        return None
    return ERROR_OF_CODE.get(content["exit_code"], FlickcastError)(content["message"])


def _complaint(outcome: Outcome) -> str:
    errors = [line.removeprefix("ERROR: ") for line in outcome.lines if line.startswith("ERROR: ")]
    return errors[-1] if errors else outcome.text.strip()


def _keep_log(root: Path, stage: str, outcome: Outcome) -> None:
    path = root / ".flickcast" / "logs" / f"{stage}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(outcome.text + "\n", encoding="utf-8")
