"""Connections on which an answer may be sent that no well-behaved server sends."""

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

from uvicorn.protocols.http.h11_impl import H11Protocol

from flickcast.simulate.spoiling import EXTENSION, Reply, Way

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # linger for 0 s: the peer sees a reset, not an end


class Wire(H11Protocol):
    """A connection on which a request's handler may write by itself; it then ends without what uvicorn would say."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Tells the requests of this connection of it."""
        super().connection_made(transport)
        self.lost = asyncio.Event()
        self.is_taken = False
        app = self.app

        async def told(scope: "Scope", receive: "Receive", send: "Send") -> None:
            scope["extensions"] = {EXTENSION: self}
            await app(scope, receive, send)

        self.app = told

    def connection_lost(self, exc: Exception | None) -> None:
        """Wakes who waits for the end."""
        super().connection_lost(exc)
        self.lost.set()

    def shutdown(self) -> None:
        """Ends the connection with the server, at once where its answer would never end."""
        if self.is_taken:
            self.transport.abort()
        else:
            super().shutdown()

    async def take(self, way: Way, reply: Reply) -> None:
        """Answers in this way; comes back when the connection is gone."""
        self.is_taken = True
        await way(self, reply)
        await self.lost.wait()

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be sent."""
        return self.transport.is_closing()

    @property
    def waiting(self) -> int:
        """Bytes that the client has not taken yet."""
        return self.transport.get_write_buffer_size()

    def write(self, content: bytes) -> None:
        """Sends bytes as they are."""
        self.transport.write(content)

    def end(self) -> None:
        """Ends the connection in good order, whether the answer was whole or not."""
        self.transport.close()

    def reset(self) -> None:
        """Ends the connection so that the client sees a reset."""
        fileno = self.transport.get_extra_info("socket").fileno()
        with socket.socket(fileno=socket.dup(fileno)) as twin:
            twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        self.transport.abort()
