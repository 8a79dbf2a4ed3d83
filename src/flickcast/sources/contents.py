"""What is in a dataset's JSON and text files, as columns of text."""

import codecs
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import orjson
import polars as pl

from flickcast.errors import UserError
from flickcast.sources.files import DataFile

# The user file holds 800 numbers a post (2.4 GB in all): never the whole of it in memory, as bytes or as objects.
# orjson works in twelve times a piece's size; 4 MiB take half the time of 32 MiB (benchmarks/ingest.py).
PIECE_BYTES = 4 << 20
START = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*(\[)?")
BETWEEN_RECORDS = re.compile(rb"\}\s*,\s*\{")  # or inside a text: only parsing tells


def read_records(file: DataFile, wanted: Sequence[str]) -> pl.DataFrame:
    """The wanted keys of a JSON file as columns of text, in file order; a key that no record has is left out.

    Accepts a list of records, an object with one list in it, and columns (`{key: {row: value}}`, as pandas writes).
    """
    frames = [_columns(file, part, wanted) for part in _parts(file)]
    kept = [name for name in wanted if any(name in frame.columns for frame in frames)]
    return pl.concat(frames, how="diagonal").select(kept) if kept else pl.DataFrame()


def read_json_lines(file: DataFile, wanted: Sequence[str]) -> pl.DataFrame:
    """The wanted keys of a file with one JSON object a line, as columns; values keep their JSON type."""
    records = []
    for number, line in enumerate(file.read().removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        if line.strip():
            records.append(_line(file, number, line))
    return pl.DataFrame(
        {name: pl.Series(name, [text_of(row.get(name)) for row in records], pl.String) for name in wanted}
    )


def read_numbers(file: DataFile) -> list[float]:
    """One number a line (the first field where a line holds more). UserError names the first line without one."""
    numbers = []
    for number, line in enumerate(file.lines(), 1):
        field = line.replace(",", " ").split()[:1]
        value = _finite(field[0]) if field else None
        if value is None:
            raise UserError(f"{file.place} line {number} is no number: '{line[:40]}'. Download it again.")
        numbers.append(value)
    return numbers


def text_of(value: Any) -> str | None:
    """A JSON value as text: lists joined by a tab (no word holds one; what is nested is dropped), whole numbers
    without a point.

    >>> text_of(775.0), text_of(["a", "b c"]), text_of(None)
    ('775', 'a\\tb c', None)
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\t".join(filter(None, (text_of(item) for item in value if not isinstance(item, list | dict))))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


LARGEST_NUMBER = 1000.0  # a label is a logarithm of a count: anything near this is no label


def _finite(field: str) -> float | None:
    try:
        value = float(field)
    except ValueError:
        return None
    return value if abs(value) <= LARGEST_NUMBER and "_" not in field else None


def _line(file: DataFile, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UserError(
            f"{file.place} line {number} is not valid JSON ({error.msg}). The file may be cut off: download it again."
        ) from None
    if not isinstance(record, dict):
        raise UserError(f"{file.place} line {number} is no JSON object. Download the file again.")
    return record


def _parts(file: DataFile) -> Iterator[Any]:
    """The parsed file; a long list of records comes in pieces, so that memory stays small."""
    blocks = file.blocks(PIECE_BYTES)
    held = next(blocks, b"")
    opening = START.match(held)
    start = opening.end() if opening else 0
    held = held[start:]
    if opening is None or opening[1] is None:
        yield _loads(file, start, b"", held + b"".join(blocks), b"")
        return
    for block in blocks:
        held += block
        for cut in BETWEEN_RECORDS.finditer(held, PIECE_BYTES):
            piece = _loads(file, start, b"[", held[: cut.start() + 1], b"]", may_end_early=True)
            if piece is not None:
                yield piece
                start, held = start + cut.end() - 1, held[cut.end() - 1 :]
                break
    yield _loads(file, start, b"[", held, b"")


def _loads(file: DataFile, start: int, before: bytes, content: bytes, after: bytes, may_end_early: bool = False) -> Any:
    """A stretch of the file from the byte `start` on, parsed, with what makes it whole before and after it.

    None where it fails only at its very end and the cut may be inside a text.
    """
    try:
        return orjson.loads(before + content + after)
    except orjson.JSONDecodeError as error:
        if may_end_early and len(error.doc) - error.pos <= 2:
            return None
        raise _invalid(file, start - len(before) + len(error.doc[: error.pos].encode())) from None


def _invalid(file: DataFile, offset: int) -> UserError:
    """What is wrong with a file that stops being JSON at a byte; reads it again to say in which line that is."""
    size, lines = 0, 1
    for block in file.blocks():
        lines += block[: max(offset - size, 0)].count(b"\n")
        size += len(block)
    return UserError(
        f"{file.place} is not valid JSON at line {lines} (byte {offset} of {size}). "
        "The file may be cut off: download or unpack it again."
    )


def _columns(file: DataFile, content: Any, wanted: Sequence[str]) -> pl.DataFrame:
    if isinstance(content, dict):
        content = _unwrapped(content, wanted)
    if not isinstance(content, list) or not all(isinstance(record, dict) for record in content):
        raise UserError(f"{file.place} holds no list of records. Download it again.")
    present: Collection[str] = set().union(*content) if content else ()
    return pl.DataFrame(
        {
            name: pl.Series(name, [text_of(record.get(name)) for record in content], pl.String)
            for name in wanted
            if name in present
        }
    )


def _unwrapped(content: dict[str, Any], wanted: Sequence[str]) -> Any:
    """The records in an object: under its only list, or spread over columns."""
    lists = [value for value in content.values() if isinstance(value, list)]
    if len(lists) == 1 and not any(key in wanted for key in content):
        return lists[0]
    columns = {key: value for key, value in content.items() if key in wanted}
    if columns and all(isinstance(value, dict) for value in columns.values()):
        rows = list(next(iter(columns.values())))
        return [{key: value.get(row) for key, value in columns.items()} for row in rows]
    if columns and all(isinstance(value, list) for value in columns.values()):
        return [dict(zip(columns, row, strict=False)) for row in zip(*columns.values(), strict=False)]
    return content
