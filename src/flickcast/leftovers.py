"""What a kill -9 leaves behind and later nights would stumble over: torn files of DVC, lock files of git."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import yaml

from flickcast.console import say
from flickcast.tables import publish

OLD_SECONDS = 600.0  # where processes cannot be looked at, a lock file counts as left behind when it is older


def clear_leftovers(root: Path) -> None:
    """Remove what no live process can still be using. Call it with the night's lock held."""
    root = root.resolve()
    _clear_torn_rwlock(root)
    _clear_git_locks(root)
    _restore_torn_dvc_lock(root)


def _restore_torn_dvc_lock(root: Path) -> None:
    """DVC writes dvc.lock in place. A torn one is put back as last committed: the stages since then run once more."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    path = root / "dvc.lock"
    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(path.read_bytes()))
    except FileNotFoundError:
        return
    except (yaml.YAMLError, UnicodeDecodeError, Invalid):
        if not _is_at_work(root, "dvc"):
            kept = subprocess.run(["git", "show", "HEAD:./dvc.lock"], cwd=root, capture_output=True)
            path.unlink()
            if kept.returncode == 0:
                publish(path, kept.stdout)
            say(f"{path} was torn by a command that was killed; it is as last committed now.")


def _clear_torn_rwlock(root: Path) -> None:
    """DVC writes its list of busy files in place, and refuses every command once that is torn."""
    from dvc.lock import Lock, LockError

    folder = root / ".dvc" / "tmp"
    if not _is_torn(folder / "rwlock") or _is_at_work(root, "dvc"):
        return
    with suppress(LockError), Lock(folder / "lock"), Lock(folder / "rwlock.lock"):
        if _is_torn(folder / "rwlock"):
            _remove(folder / "rwlock")


def _clear_git_locks(root: Path) -> None:
    """Git's lock files are there as long as a command changes what they are named after; a killed one leaves them."""
    folder = root / ".git"
    locks = [*folder.glob("*.lock"), *(folder / "refs").rglob("*.lock")]
    before = {lock: _version(lock) for lock in locks}
    for lock, version in before.items():
        # Of another version: its command has ended in the meantime and a new one begun.
        if version and not _is_in_use(lock, root) and _version(lock) == version:
            _remove(lock)


def _is_in_use(lock: Path, root: Path) -> bool:
    """Whether a process has the file open, or git runs here (it closes `index.lock` while its editor is open)."""
    if sys.platform != "linux":
        return time.time() - lock.stat().st_mtime < OLD_SECONDS
    return _is_at_work(root, "git") or any(_has_open(process, str(lock)) for process in _processes())


def _is_at_work(root: Path, program: str) -> bool:
    """Whether a process with the program in its command line stands in this folder or names it (Linux only)."""
    for process in _processes():
        words = _command(process)
        if program in (Path(word).name for word in words):
            place = _target(process / "cwd")
            if (place and Path(place).is_relative_to(root)) or any(str(root) in word for word in words):
                return True
    return False


def _has_open(process: Path, path: str) -> bool:
    with suppress(OSError):  # it has ended, or is another user's
        return any(_target(descriptor) == path for descriptor in list((process / "fd").iterdir()))
    return False


def _processes() -> list[Path]:
    return list(Path("/proc").glob("[0-9]*"))


def _command(process: Path) -> list[str]:
    with suppress(OSError):
        return (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    return []


def _target(link: Path) -> str:
    with suppress(OSError):
        return os.readlink(link)
    return ""


def _version(path: Path) -> tuple[int, int] | None:
    with suppress(FileNotFoundError):
        return path.stat().st_ino, path.stat().st_mtime_ns
    return None


def _is_torn(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return False


def _remove(path: Path) -> None:
    path.unlink()
    say(f"{path} was left behind by a command that was killed; removed.")
