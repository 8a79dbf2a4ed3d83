"""Pictures of posts: read one by one when asked for, checked by decoding, kept as the bytes they are."""

import hashlib
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from flickcast.pictures import decode
from flickcast.records import PictureChunk, Rejected, quarantine_record
from flickcast.schemas import TABLES
from flickcast.sources.files import UNREADABLE, members
from flickcast.watchdog import progress

CHUNK_POSTS = 500
CHUNK_BYTES = 256 << 20  # a chunk ends early rather than fill the memory with large pictures
MAX_BYTES = 64 << 20


class NoPictureError(Exception):
    """There is no usable picture: the reason in a user's words, and the bytes if some came."""

    def __init__(self, reason: str, content: bytes = b"") -> None:
        super().__init__(reason)
        self.content = content


Fetch = Callable[[str], bytes]


@dataclass(frozen=True)
class Wanted:
    """A picture to get: whose, where it is said to be, and what gets it from there."""

    post_id: str
    where: str
    fetch: Fetch


@dataclass(frozen=True)
class Pictures:
    """Chunks of pictures, fetched anew each time one iterates; a picture that cannot be had is rejected, no more."""

    wanted: Sequence[Wanted]
    chunk_posts: int = CHUNK_POSTS

    def __len__(self) -> int:
        return len(self.wanted)

    def but(self, post_ids: Collection[str]) -> "Pictures":
        """Those of other posts: what is left out is never fetched."""
        left_out = frozenset(post_ids)
        return replace(self, wanted=[one for one in self.wanted if one.post_id not in left_out])

    def __iter__(self) -> Iterator[PictureChunk]:
        rows: list[dict[str, Any]] = []
        rejected: list[Rejected] = []
        held = 0
        for wanted in self.wanted:
            progress()  # a hundred thousand, fetched already, take longer to decode than the watchdog waits
            try:
                row = picture_row(wanted.post_id, wanted.fetch(wanted.where))
                rows.append(row)
                held += len(row["bytes"])
            except NoPictureError as error:
                rejected.append(_rejected(wanted, error))
                held += len(error.content)
            if len(rows) + len(rejected) >= self.chunk_posts or held >= CHUNK_BYTES:
                yield _chunk(rows, rejected)
                rows, rejected, held = [], [], 0
        if rows or rejected:
            yield _chunk(rows, rejected)


def picture_row(post_id: str, content: bytes) -> dict[str, Any]:
    """A row of the table `images`. NoPictureError if the bytes are no picture that every stage can read."""
    picture = decode(content)
    if isinstance(picture, str):
        raise NoPictureError(picture, content)
    return {
        "post_id": post_id,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": content,
        "width": picture.rgb.width,
        "height": picture.rgb.height,
        "mode": picture.mode,
    }


def from_folder(root: Path) -> Fetch:
    """Reads pictures by their listed path, which must stay inside the first folder it names."""

    def fetch(where: str) -> bytes:
        listed = checked_path(where)
        path = root / listed
        try:
            if not path.resolve().is_relative_to((root / listed.parts[0]).resolve()):
                raise NoPictureError("is listed outside the dataset's folder")
            if path.exists() and not path.is_file():
                raise NoPictureError("is no plain file")
            if path.stat().st_size > MAX_BYTES:
                raise NoPictureError(f"is larger than {MAX_BYTES >> 20} MiB")
            return path.read_bytes()
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
            raise NoPictureError(f"cannot be read ({getattr(error, 'strerror', None) or 'a loop of links'})") from None

    return fetch


def from_zip(path: Path) -> Fetch:
    """Reads pictures from an archive by the end of their names (archives carry outer folders)."""
    archive = zipfile.ZipFile(path)
    by_end = {"/".join(name.split("/")[-3:]): name for name in sorted(members(path), reverse=True)}

    def fetch(where: str) -> bytes:
        name = by_end.get("/".join(checked_path(where).parts[-3:]))
        if name is None:
            raise NoPictureError(f"is not in {path.name}")
        try:
            if archive.getinfo(name).file_size > MAX_BYTES:
                raise NoPictureError(f"is larger than {MAX_BYTES >> 20} MiB")
            return archive.read(name)
        except UNREADABLE as error:
            raise NoPictureError(f"cannot be read from {path.name} ({type(error).__name__})") from None

    return fetch


def checked_path(where: str) -> PurePosixPath:
    """A listed path in the form of this system. NoPictureError if it points outside the dataset."""
    listed = PurePosixPath(where)
    if listed.is_absolute() or ".." in listed.parts or ":" in where or "\0" in where or len(listed.parts) < 2:
        raise NoPictureError("is listed outside the dataset's folder")
    return listed


def _chunk(rows: list[dict[str, Any]], rejected: list[Rejected]) -> PictureChunk:
    return PictureChunk(pl.DataFrame(rows, schema=TABLES["images"].dtypes()), tuple(rejected))


def _rejected(wanted: Wanted, error: NoPictureError) -> Rejected:
    record = quarantine_record(wanted.post_id, wanted.where, error.content)
    return Rejected(record, f"picture of post {wanted.post_id} {error}")
