"""What the service has answered to a night so far: a night that is killed goes on from there, at no further call.

One file of records, each behind a line that names it and its checksum. Records are only ever added, so whatever a kill
or a power cut leaves is a whole beginning and at most one torn end, which is cut off when the file is opened again.
The journal saves calls; it is not where the truth is kept, and goes when the night is stored.
"""

import json
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, BinaryIO, Protocol

import orjson

from flickcast.sources.flickr_client import Answer, RefusedError, Verdict

LONGEST_LINE = 1 << 20  # of a record's head; where no line ends, the file is not a journal's
MOST_SKEW = timedelta(hours=1)  # a Date further off than this from what the night's other answers say is wrong


class Journal:
    """Records by name, in a file that survives the process."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._places: dict[str, tuple[int, int]] = {}
        self._file: BinaryIO = path.open("r+b" if path.exists() else "w+b", buffering=0)
        self._end = self._read_places()
        self._file.truncate(self._end)

    def __len__(self) -> int:
        return len(self._places)

    def names(self) -> list[str]:
        """The names of the records, in the order in which they were put."""
        return list(self._places)

    def get(self, name: str) -> bytes | None:
        """The record of this name, None where there is none."""
        if name not in self._places:
            return None
        start, length = self._places[name]
        self._file.seek(start)
        return self._file.read(length)

    def put(self, name: str, content: bytes) -> None:
        """Add a record; in one write, so that a kill leaves all of it or a torn end."""
        head = json.dumps({"name": name, "bytes": len(content), "crc32": zlib.crc32(content)}).encode() + b"\n"
        self._file.seek(self._end)
        _write_all(self._file, head + content + b"\n")
        self._places[name] = (self._end + len(head), len(content))
        self._end += len(head) + len(content) + 1

    def close(self) -> None:
        """Keep the file for the next try."""
        self._file.close()

    def discard(self) -> None:
        """The night is stored: the file has done its duty."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _read_places(self) -> int:
        """Find the records; returns where the last whole one ends."""
        end, size = 0, self._path.stat().st_size
        with self._path.open("rb") as file:
            while (head := _head(file.readline(LONGEST_LINE))) is not None:
                start = file.tell()
                if not 0 <= head["bytes"] <= size - start:
                    break
                content = file.read(head["bytes"])
                if len(content) < head["bytes"] or zlib.crc32(content) != head["crc32"] or file.read(1) != b"\n":
                    break
                self._places[head["name"]] = (start, head["bytes"])
                end = file.tell()
        return end


@contextmanager
def journal_at(path: Path) -> Iterator[Journal]:
    """An open journal; one that was not discarded stays for the next try."""
    journal = Journal(path)
    try:
        yield journal
    finally:
        journal.close()


class Client(Protocol):
    """What answers calls."""

    def call(self, method: str, expect: str, **arguments: str | int) -> Answer:
        """The part of an answer under the key `expect`."""

    def is_alive(self) -> bool:
        """Whether the service answers anything at all."""


class Images(Protocol):
    """What downloads pictures."""

    def fetch(self, url: str, expected: tuple[int, int] | None = None) -> bytes:
        """A picture's bytes."""


class Session:
    """The calls and downloads of one night, answered by the journal where it can."""

    def __init__(self, client: Client, images: Images, journal: Journal, origin: str = "") -> None:
        self._client = client
        self._images = images
        self._journal = journal
        self._origin = origin  # answers of another service are not ours
        self._asked: Counter[str] = Counter()
        self._skews: list[float] = []  # seconds
        self.calls: Counter[str] = Counter()

    def call(self, method: str, expect: str, **arguments: str | int) -> Answer:
        """As the client's; whatever the service decided, a refusal too, is kept and said again."""
        name = json.dumps([self._origin, method, arguments], sort_keys=True)
        self._asked[name] += 1
        name = f"{name} #{self._asked[name]}"  # a page that is asked for twice on purpose may have two answers
        self.calls[method] += 1
        kept = self._journal.get(name)
        if kept is None:
            kept = self._outcome(method, expect, arguments)
            self._journal.put(name, kept)
        answer = _answer(_unpacked(kept))
        if answer.at is not None:
            self._skews.append((answer.at - answer.received_at).total_seconds())
        return answer

    def is_alive(self) -> bool:
        """Whether the service answers anything at all now; never from the journal."""
        return self._client.is_alive()

    def fetch(self, url: str, expected: tuple[int, int] | None = None) -> bytes:
        """A picture's bytes; those that could not be had are asked for again by the next try."""
        kept = self._journal.get(url)
        if kept is None:
            kept = self._images.fetch(url, expected)
            self._journal.put(url, kept)
        return kept

    def facts(self) -> dict[str, Any]:
        """The calls that the night needs, by method; the same however often it is killed."""
        return {"calls": dict(sorted(self.calls.items())), "calls_in_all": self.calls.total()}

    def done(self) -> None:
        """The night is stored: nothing of what was answered is needed any more."""
        self._journal.discard()

    def moment(self, answer: Answer) -> datetime:
        """When the service answered, by its own clock; where one answer's clock is off, by that of all the others."""
        usual = timedelta(seconds=median(self._skews) if self._skews else 0.0)
        if answer.at is not None and abs(answer.at - answer.received_at - usual) <= MOST_SKEW:
            return answer.at
        return (answer.received_at + usual).replace(microsecond=0)

    def _outcome(self, method: str, expect: str, arguments: dict[str, str | int]) -> bytes:
        try:
            answer = self._client.call(method, expect, **arguments)
        except RefusedError as error:
            if error.verdict is Verdict.BUG:
                raise
            return _packed({"refused": str(error), "verdict": error.verdict})
        at = answer.at.isoformat() if answer.at else None
        received_at = answer.received_at.isoformat()
        return _packed({"content": answer.content, "at": at, "received_at": received_at})


def _answer(kept: dict[str, Any]) -> Answer:
    if "refused" in kept:
        raise RefusedError(kept["refused"], Verdict(kept["verdict"]))
    at = datetime.fromisoformat(kept["at"]) if kept["at"] else None
    return Answer(kept["content"], at, datetime.fromisoformat(kept["received_at"]))


def _packed(record: dict[str, Any]) -> bytes:
    """As JSON; orjson takes a tenth of the time, and takes neither half characters nor numbers of more than 64 bits."""
    try:
        return orjson.dumps(record)
    except orjson.JSONEncodeError:
        return json.dumps(record).encode()


def _unpacked(record: bytes) -> Any:
    try:
        return orjson.loads(record)
    except orjson.JSONDecodeError:
        return json.loads(record)


def _head(line: bytes) -> dict[str, Any] | None:
    """The line before a record; None at the end of the file and where the line is torn."""
    try:
        head = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kinds = {"name": str, "bytes": int, "crc32": int}
    is_one = isinstance(head, dict) and all(isinstance(head.get(key), kind) for key, kind in kinds.items())
    return head if is_one else None


def _write_all(file: BinaryIO, content: bytes) -> None:
    """An unbuffered write may write less than asked."""
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]
