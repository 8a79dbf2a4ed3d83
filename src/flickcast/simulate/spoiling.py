"""Ways to send an answer badly: late, in part, with a wrong length, without end, or not at all."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol, TypeAlias

EXTENSION = "flickcast.wire"  # where a request's scope holds its connection
BLOCK = 1 << 16
BLOCKS_OF_A_BOMB = 4096  # 256 MiB
MOST_WAITING = 1 << 20
MOMENT = 0.02  # for what was sent to arrive before the reset does


@dataclass(frozen=True)
class Reply:
    """An answer as it is meant: body, status and headers."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def head(self, **changed: str) -> bytes:
        """The first lines, with the body's true length unless another is told; no header where it is ''.

        The connection is told to end, so that the next request on it does not suffer too.
        """
        headers = {"Content-Length": str(len(self.body)), "Connection": "close", **self.headers}
        headers |= {name.replace("_", "-"): value for name, value in changed.items()}
        lines = [f"{name}: {value}" for name, value in headers.items() if value]
        status = f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"
        return "\r\n".join([status, *lines, "", ""]).encode("latin-1")


class Connection(Protocol):
    """What is needed of a connection."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be sent."""

    @property
    def waiting(self) -> int:
        """Bytes that the client has not taken yet."""

    def write(self, content: bytes) -> None:
        """Sends bytes as they are."""

    def end(self) -> None:
        """Ends the connection in good order, whether the answer was whole or not."""

    def reset(self) -> None:
        """Ends the connection so that the client sees a reset."""


Way: TypeAlias = Callable[[Connection, Reply], Awaitable[None]]


async def _never(connection: Connection, reply: Reply) -> None:
    """Says nothing until the client goes."""


async def _reset_at_once(connection: Connection, reply: Reply) -> None:
    connection.reset()


async def _reset_before_body(connection: Connection, reply: Reply) -> None:
    connection.write(reply.head())
    await asyncio.sleep(MOMENT)
    connection.reset()


async def _reset_mid_body(connection: Connection, reply: Reply) -> None:
    connection.write(reply.head() + reply.body[: len(reply.body) // 2])
    await asyncio.sleep(MOMENT)
    connection.reset()


async def _too_long(connection: Connection, reply: Reply) -> None:
    """More is told than comes."""
    connection.write(reply.head(Content_Length=str(len(reply.body) + 1000)) + reply.body)
    connection.end()


async def _too_short(connection: Connection, reply: Reply) -> None:
    """More comes than is told."""
    connection.write(reply.head(Content_Length=str(len(reply.body) // 2)) + reply.body)
    connection.end()


async def _bomb(connection: Connection, reply: Reply) -> None:
    """Small on the wire, large when unpacked."""
    packed = packed_spaces()
    connection.write(reply.head(Content_Encoding="gzip", Content_Length=str(len(packed))) + packed)
    connection.end()


async def _without_end(connection: Connection, reply: Reply) -> None:
    """Spaces for as long as the client reads."""
    connection.write(reply.head(Content_Length="", Transfer_Encoding="chunked"))
    chunk = f"{BLOCK:x}\r\n".encode() + b" " * BLOCK + b"\r\n"
    while not connection.is_over:
        if connection.waiting < MOST_WAITING:
            connection.write(chunk)
        await asyncio.sleep(0.001)


def dripping(seconds: float) -> Way:
    """A byte of the body at a time, so many seconds apart."""

    async def drip(connection: Connection, reply: Reply) -> None:
        connection.write(reply.head())
        for place in range(len(reply.body)):
            if connection.is_over:
                return
            connection.write(reply.body[place : place + 1])
            await asyncio.sleep(seconds)
        connection.end()

    return drip


@lru_cache(maxsize=1)
def packed_spaces() -> bytes:
    """A whole gzip stream of 256 MiB of spaces. One block is packed once and repeated: it refers to no other."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    spaces = b" " * BLOCK
    block = packer.compress(spaces) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(BLOCKS_OF_A_BOMB):
        checksum = zlib.crc32(spaces, checksum)
    size = (BLOCK * BLOCKS_OF_A_BOMB) % 2**32
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    return (
        head + block * BLOCKS_OF_A_BOMB + packer.flush() + checksum.to_bytes(4, "little") + size.to_bytes(4, "little")
    )


WAYS: dict[str, Way] = {
    "timeout": _never,
    "reset-at-once": _reset_at_once,
    "reset-before-body": _reset_before_body,
    "reset-mid-body": _reset_mid_body,
    "length-long": _too_long,
    "length-short": _too_short,
    "gzip-bomb": _bomb,
    "endless-body": _without_end,
}
# Of these the client gets nothing of the answer.
SILENT = ("timeout", "reset-at-once", "reset-before-body", "gzip-bomb", "endless-body")
