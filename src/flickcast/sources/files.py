"""Files of a published dataset: found by name in folders and zips."""

import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from flickcast.errors import UserError

SEARCH_DEPTH = 2  # folders below the given one; the published archives nest once, twice with the archive's own name
USER_FOLDER = re.compile(r"\d+@N\d+")  # picture folders: 70,000 of them, no metadata inside

BLOCK_BYTES = 4 << 20

Name = tuple[str, str]  # (split, content), such as ("train", "text")


# All that Python's zipfile and the system may raise for a file that is broken.
UNREADABLE = (
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    RuntimeError,
    NotImplementedError,
)


@dataclass(frozen=True)
class DataFile:
    """A file of a dataset; `place` is what messages call it, `folder` where it (or its zip) lies."""

    place: str
    folder: Path
    path: Path
    member: str | None = None

    def blocks(self, size: int = BLOCK_BYTES) -> Iterator[bytes]:
        """The content in blocks of a size (the last one is shorter), one in memory at a time.

        UserError if it cannot be read.
        """
        try:
            with self._opened() as stream:
                while block := stream.read(size):
                    yield block
        except UNREADABLE as error:
            raise UserError(f"{self.place} cannot be read ({error}). Download it again.") from None

    def read(self) -> bytes:
        """The whole content. UserError if it cannot be read."""
        return b"".join(self.blocks())

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        if self.member is not None:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as stream:
                yield stream
        elif self.path.is_file():
            with self.path.open("rb") as stream:
                yield stream
        else:
            raise UserError(f"{self.place} is no plain file. Download it again.")

    def lines(self) -> list[str]:
        """The lines of a text file, without empty ones at the end."""
        try:
            return self.read().decode("utf-8-sig").rstrip().splitlines()
        except UnicodeDecodeError:
            raise UserError(f"{self.place} is not UTF-8 text. Download it again.") from None


def find_files(folder: Path, named: Callable[[str], Name | None], kind: str, looked_for: str) -> dict[Name, DataFile]:
    """The dataset's files at, or a little below, a folder (or in its zips), by split and content.

    An unpacked file is preferred to the same one in a zip. UserError if there is none, or two of one kind.
    """
    if not folder.exists():
        raise UserError(f"{folder} does not exist. Give the folder that holds the {kind} files.")
    found = _search(folder, named, kind)
    if not found and is_picture_folder(folder):
        found = _search(folder.parent, named, kind)
    if not found:
        raise UserError(
            f"{folder} is no {kind} dataset: it has no {looked_for}, neither in folders below nor in zips. "
            "Give the folder that holds them."
        )
    return found


def is_picture_folder(folder: Path) -> bool:
    """Whether it holds the challenge's folders of users, `<s>/<Uid>/<Pid>.jpg`."""
    return folder.is_dir() and any(USER_FOLDER.fullmatch(entry.name) for entry in os.scandir(folder))


def _search(folder: Path, named: Callable[[str], Name | None], kind: str) -> dict[Name, DataFile]:
    found: dict[Name, DataFile] = {}
    for file in _candidates(folder):
        name = named(PurePosixPath(file.member or file.path.name).name)
        if name is None or (name in found and file.member is not None and found[name].member is None):
            continue
        if name in found:
            raise UserError(
                f"{folder} holds two {kind} datasets: {found[name].place} and {file.place}. "
                "Give the folder of the one you mean."
            )
        found[name] = file
    return found


def _candidates(folder: Path) -> Iterator[DataFile]:
    """Plain files first, then the members of zips, each in the order of their names."""
    paths = [folder] if folder.is_file() else sorted(walk(folder))
    for path in paths:
        if path.suffix != ".zip":
            yield DataFile(str(path), path.parent, path)
    for path in paths:
        if path.suffix == ".zip":
            for member in sorted(members(path)):
                yield DataFile(f"{member} in {path}", path.parent, path, member)


def walk(folder: Path, depth: int = SEARCH_DEPTH) -> Iterator[Path]:
    """The files at and a little below a folder, without those in the folders of users."""
    for entry in os.scandir(folder):
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        if not entry.is_dir():
            yield Path(entry.path)
        elif depth and not USER_FOLDER.fullmatch(entry.name):
            yield from walk(Path(entry.path), depth - 1)


def members(path: Path) -> list[str]:
    """The files in a zip, without the ones macOS adds. UserError if it is no zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is no readable zip ({error}). Download it again.") from None
    return [name for name in names if not name.startswith("__MACOSX/") and "/." not in f"/{name}" and name[-1] != "/"]
