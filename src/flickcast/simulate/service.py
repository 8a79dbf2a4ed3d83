"""The simulated world over HTTP: the real API's paths on loopback, with a clock that is set from outside."""

import json
import socket
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from flickcast.errors import UserError
from flickcast.simulate.answers import PIXELS, Json
from flickcast.simulate.methods import Clock, PageLimits, Simulation
from flickcast.simulate.pictures import Appearance, render
from flickcast.simulate.world import World

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from uvicorn import Server

LOOPBACK = "127.0.0.1"
UNAVAILABLE = "/images/photo_unavailable.png"
START_SECONDS = 30.0


def create_app(world: World, clock: Clock, limits: PageLimits | None = None) -> "Starlette":
    """The service as an application. Nothing later than `clock.now` exists; every answer is dated by that clock."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.routing import Route

    pages = _Pages(Simulation(world, clock, limits or PageLimits()))
    routes = [
        Route("/services/rest/", pages.rest, methods=["GET", "POST"]),
        Route("/simulation/clock", pages.set_clock, methods=["POST"]),
        Route("/simulation/ledger", pages.ledger),
        Route("/{server:int}/{name}.jpg", pages.picture),
    ]
    return Starlette(routes=routes, middleware=[Middleware(_DatedBy, clock=clock)])


class _Pages:
    """The answers of each path."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation

    async def rest(self, request: "Request") -> "Response":
        """One call of the API; errors of the API come with status 200."""
        from starlette.responses import JSONResponse, Response

        body = (await request.body()).decode("utf-8", "replace")
        arguments = {**dict(request.query_params), **dict(parse_qsl(body, keep_blank_values=True))}
        answer = self.simulation.call(arguments, str(request.base_url))
        if arguments.get("nojsoncallback") == "1":
            return JSONResponse(answer)
        return Response(f"jsonFlickrApi({json.dumps(answer)})", media_type="text/javascript")

    async def set_clock(self, request: "Request") -> "Response":
        """Moves the present."""
        from starlette.responses import JSONResponse

        try:
            now = datetime.fromisoformat((await request.json())["now"])
        except (ValueError, KeyError, TypeError):
            return JSONResponse({"error": 'give {"now": "2016-03-01T02:00:00+00:00"}'}, status_code=400)
        self.simulation.clock.now = now.replace(tzinfo=UTC) if now.tzinfo is None else now.astimezone(UTC)
        return JSONResponse({"now": self.simulation.clock.now.isoformat()})

    async def ledger(self, request: "Request") -> "Response":
        """What was asked and offered so far."""
        from starlette.responses import JSONResponse

        ledger = self.simulation.ledger
        body: Json = {"calls": dict(sorted(ledger.calls.items())), "posts_offered": sorted(ledger.offered)}
        return JSONResponse(body)

    async def picture(self, request: "Request") -> "Response":
        """A picture file; a deleted account's picture leads to the placeholder, as on the real host."""
        from starlette.responses import RedirectResponse, Response

        post_id, _, rest = request.path_params["name"].partition("_")
        secret, _, suffix = rest.partition("_")
        world, now = self.simulation.world, self.simulation.clock.now
        posts = world.find([post_id], now)
        if posts.is_empty() or posts["secret"][0] != secret or suffix not in PIXELS:
            return Response(status_code=404)
        deleted_at = world.users.profiles["deleted_at"][posts["user"][0]]
        if deleted_at is not None and deleted_at <= now:
            return RedirectResponse(UNAVAILABLE, status_code=302)
        size = min(PIXELS[suffix], world.params.picture_size)
        return Response(render(appearance(posts.row(0, named=True)), size), media_type="image/jpeg")


def appearance(row: dict[str, Any]) -> Appearance:
    """How a post (a row of World.posts) looks."""
    names = ("category", "subcategory", "concept", "brightness", "colourfulness", "sharpness")
    return Appearance(**{name: row[name] for name in names}, seed=row["salt"])


class _DatedBy:
    """Sets the Date header to the virtual clock."""

    def __init__(self, app: "ASGIApp", clock: Clock) -> None:
        self.app, self.clock = app, clock

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def dated(message: "Message") -> None:
            if message["type"] == "http.response.start":
                _set_date(message, self.clock.now)
            await send(message)

        await self.app(scope, receive, dated)


def _set_date(message: MutableMapping[str, Any], now: datetime) -> None:
    others = [header for header in message.get("headers", []) if header[0].lower() != b"date"]
    message["headers"] = [*others, (b"date", format_datetime(now.astimezone(UTC), usegmt=True).encode("latin-1"))]


def run(world: World, host: str = LOOPBACK, port: int = 0, *, now: datetime, announce: Callable[[str], None]) -> None:
    """Serves until interrupted; `announce` is told the address once it is bound. Port 0 takes any free one."""
    with _listen(host, port) as listener:
        announce(_address(listener))
        _server(world, now).run(sockets=[listener])


@contextmanager
def serving(world: World, now: datetime, limits: PageLimits | None = None) -> Iterator[str]:
    """The service in a thread of this process; gives its address, and stops at the end of the block."""
    with _listen(LOOPBACK, 0) as listener:
        server = _server(world, now, limits)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]}, name="simulated-service", daemon=True)
        thread.start()
        try:
            yield _address(listener)
        finally:
            server.should_exit = True
            thread.join(START_SECONDS)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket: whoever connects from now on waits until the service answers."""
    try:
        return socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot serve on {host}:{port} ({error}). Choose another --port or --host.") from None


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


def _server(world: World, now: datetime, limits: PageLimits | None = None) -> "Server":
    import uvicorn

    app = create_app(world, Clock(now), limits)
    return uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, date_header=False))
