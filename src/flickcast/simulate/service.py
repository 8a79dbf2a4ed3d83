"""The simulated world over HTTP: the real API's paths on loopback, with a clock that is set from outside."""

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import orjson

from flickcast.errors import UserError
from flickcast.simulate.answers import PIXELS, Json
from flickcast.simulate.faults import API_KINDS, PICTURE_KINDS, SEARCH_KINDS, Dice, Fault, Faults
from flickcast.simulate.matching import Arguments
from flickcast.simulate.methods import Call, Clock, Simulation
from flickcast.simulate.pages import BENT, NOT_ON_THE_FIRST, Bend, PageLimits
from flickcast.simulate.pictures import Appearance, render
from flickcast.simulate.spoiling import EXTENSION, SILENT, WAYS, Reply, dripping
from flickcast.simulate.world import World
from flickcast.simulate.wrong_answers import INSTEAD, INSTEAD_OF_DATA, PICTURES, SPOILT, gone, skewed

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from uvicorn import Server

LOOPBACK = "127.0.0.1"
START_SECONDS = 30.0
JSON = {"Content-Type": "application/json"}


def create_app(
    world: World, clock: Clock, limits: PageLimits | None = None, faults: Faults | None = None
) -> "Starlette":
    """The service as an application. Nothing later than `clock.now` exists; every answer is dated by that clock."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.routing import Route

    pages = _Pages(Simulation(world, clock, limits or PageLimits()), faults or Faults())
    routes = [
        Route("/services/rest/", pages.rest, methods=["GET", "POST"]),
        Route("/simulation/clock", pages.set_clock, methods=["POST"]),
        Route("/simulation/faults", pages.set_faults, methods=["POST"]),
        Route("/simulation/ledger", pages.ledger),
        Route("/simulation/log", pages.log),
        Route("/{server:int}/{name}.jpg", pages.picture),
    ]
    return Starlette(routes=routes, middleware=[Middleware(_DatedBy, clock=clock)])


@dataclass
class _Log:
    """Each request with its time of arrival, by this machine's clock, and its fault."""

    requests: list[Json] = field(default_factory=list)
    pictures: list[Json] = field(default_factory=list)

    def faults(self) -> dict[str, int]:
        kinds = Counter(row["fault"] for row in (*self.requests, *self.pictures) if row["fault"])
        return dict(sorted(kinds.items()))


class _Pages:
    """The answers of each path."""

    def __init__(self, simulation: Simulation, faults: Faults) -> None:
        self.simulation, self.dice = simulation, Dice(faults)
        self._log = _Log()

    async def rest(self, request: "Request") -> "Response":
        """One call of the API; errors of the API come with status 200."""
        arrived = time.time()
        body = (await request.body()).decode("utf-8", "replace")
        arguments = {**dict(request.query_params), **dict(parse_qsl(body, keep_blank_values=True))}
        method = arguments.get("method", "")
        self.simulation.ledger.calls[method] += 1
        fault = self.dice.draw(_asked(arguments), _fitting(arguments))
        self._log.requests.append({"at": arrived, "method": method, "fault": fault and fault.kind})
        if fault and fault.kind in INSTEAD | INSTEAD_OF_DATA:
            return _response((INSTEAD | INSTEAD_OF_DATA)[fault.kind](self.simulation.clock.now))
        if fault and fault.kind in SILENT:
            return await self._send(request, _json({"stat": "ok"}, arguments), fault)
        answer = self.simulation.call(Call(arguments, str(request.base_url), _bend(fault)))
        reply = _json(answer, arguments)
        if fault and fault.kind in SPOILT:
            reply = replace(reply, body=SPOILT[fault.kind](reply, fault.random))
        return await self._send(request, reply, fault)

    async def _send(self, request: "Request", reply: Reply, fault: Fault | None) -> "Response":
        """The answer, or what is left to do once it was sent in a bad way."""
        from starlette.responses import Response

        ways = WAYS | {"slow-drip": dripping(self.dice.faults.drip_seconds)}
        now = self.simulation.clock.now
        if fault and fault.kind == "clock-skew":
            now = skewed(now, fault.random)
        reply = replace(reply, headers={**reply.headers, "Date": _http_date(now)})
        if not fault or fault.kind not in ways:
            return _response(reply)
        await request.scope["extensions"][EXTENSION].take(ways[fault.kind], reply)
        return Response()  # nobody is there to read it

    async def set_clock(self, request: "Request") -> "Response":
        """Moves the present."""
        from starlette.responses import JSONResponse

        try:
            now = datetime.fromisoformat((await request.json())["now"])
        except (ValueError, KeyError, TypeError):
            return JSONResponse({"error": 'give {"now": "2016-03-01T02:00:00+00:00"}'}, status_code=400)
        self.simulation.clock.now = now.replace(tzinfo=UTC) if now.tzinfo is None else now.astimezone(UTC)
        return JSONResponse({"now": self.simulation.clock.now.isoformat()})

    async def set_faults(self, request: "Request") -> "Response":
        """Changes what goes wrong from now on."""
        from starlette.responses import JSONResponse

        try:
            self.dice = Dice(Faults(**await request.json()))
        except UserError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        except (ValueError, TypeError):
            return JSONResponse({"error": 'give {"per_thousand": 100, "seed": 0, "kinds": ["html"]}'}, status_code=400)
        return JSONResponse({"per_thousand": self.dice.faults.per_thousand})

    async def ledger(self, request: "Request") -> "Response":
        """What was asked and offered so far."""
        ledger = self.simulation.ledger
        body: Json = {
            "calls": dict(sorted(ledger.calls.items())),
            "posts_offered": sorted(ledger.offered),
            "posts_unusable": dict(sorted(ledger.unusable.items())),
            "faults": self._log.faults(),
        }
        return _response(Reply(orjson.dumps(body), headers=JSON))

    async def log(self, request: "Request") -> "Response":
        """Every request so far."""
        body = {"requests": self._log.requests, "pictures": self._log.pictures}
        return _response(Reply(orjson.dumps(body), headers=JSON))

    async def picture(self, request: "Request") -> "Response":
        """A picture file; the picture of a deleted account or post leads to the placeholder, as on the real host."""
        arrived, name = time.time(), request.path_params["name"]
        fault = self.dice.draw(name, PICTURE_KINDS)
        post_id = name.partition("_")[0]
        self._log.pictures.append({"at": arrived, "post_id": post_id, "fault": fault and fault.kind})
        if fault and fault.kind in INSTEAD:
            return _response(INSTEAD[fault.kind](self.simulation.clock.now))
        reply = self._picture(name)
        if fault and fault.kind in PICTURES and reply.body:
            reply = PICTURES[fault.kind](reply, fault.random)
        return await self._send(request, reply, fault)

    def _picture(self, name: str) -> Reply:
        post_id, _, rest = name.partition("_")
        secret, _, suffix = rest.partition("_")
        world, now = self.simulation.world, self.simulation.clock.now
        post = world.post(post_id, now)
        if not post or post["secret"] != secret or suffix not in PIXELS:
            return Reply(b"", 404)
        is_removed = post["removed_at"] is not None and post["removed_at"] <= now
        if is_removed or self.simulation.is_deleted(post["user"]):
            return gone()
        content = render(appearance(post), min(PIXELS[suffix], world.params.picture_size))
        return Reply(content, headers={"Content-Type": "image/jpeg"})


def _asked(arguments: Arguments) -> str:
    """What a request asks, whoever asks it."""
    return repr(sorted(item for item in arguments.items() if item[0] != "api_key"))


def _fitting(arguments: Arguments) -> tuple[str, ...]:
    """The kinds of faults that a call may meet."""
    if arguments.get("method") != "flickr.photos.search":
        return API_KINDS
    on_first = arguments.get("page", "1") in ("", "0", "1")
    return API_KINDS + tuple(kind for kind in SEARCH_KINDS if not (on_first and kind in NOT_ON_THE_FIRST))


def _bend(fault: Fault | None) -> Bend:
    if fault and fault.kind in BENT:
        bent, random = BENT[fault.kind], fault.random
        return lambda page: bent(page, random)
    return lambda page: page


def _json(answer: Json, arguments: Arguments) -> Reply:
    text = orjson.dumps(answer)
    if arguments.get("nojsoncallback") == "1":
        return Reply(text, headers=JSON)
    return Reply(b"jsonFlickrApi(" + text + b")", headers={"Content-Type": "text/javascript"})


def _response(reply: Reply) -> "Response":
    from starlette.responses import Response

    return Response(reply.body, reply.status, reply.headers)


def appearance(row: dict[str, Any]) -> Appearance:
    """How a post (a row of World.posts) looks."""
    names = ("category", "subcategory", "concept", "brightness", "colourfulness", "sharpness")
    return Appearance(**{name: row[name] for name in names}, seed=row["salt"])


class _DatedBy:
    """Sets the Date header to the virtual clock, where an answer does not tell another time."""

    def __init__(self, app: "ASGIApp", clock: Clock) -> None:
        self.app, self.clock = app, clock

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def dated(message: "Message") -> None:
            if message["type"] == "http.response.start":
                _set_date(message, self.clock.now)
            await send(message)

        await self.app(scope, receive, dated)


def _set_date(message: MutableMapping[str, Any], now: datetime) -> None:
    headers = list(message.get("headers", []))
    if not any(name.lower() == b"date" for name, _ in headers):
        headers.append((b"date", _http_date(now).encode("latin-1")))
    message["headers"] = headers


def _http_date(moment: datetime) -> str:
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def run(
    world: World,
    host: str = LOOPBACK,
    port: int = 0,
    *,
    now: datetime,
    announce: Callable[[str], None],
    faults: Faults | None = None,
) -> None:
    """Serves until interrupted; `announce` is told the address once it is bound. Port 0 takes any free one."""
    with _listen(host, port) as listener:
        announce(_address(listener))
        _server(world, now, faults=faults).run(sockets=[listener])


@contextmanager
def serving(
    world: World, now: datetime, limits: PageLimits | None = None, faults: Faults | None = None
) -> Iterator[str]:
    """The service in a thread of this process; gives its address, and stops at the end of the block."""
    with _listen(LOOPBACK, 0) as listener:
        server = _server(world, now, limits, faults)
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


def _server(world: World, now: datetime, limits: PageLimits | None = None, faults: Faults | None = None) -> "Server":
    import uvicorn

    from flickcast.simulate.wire import Wire

    app = create_app(world, Clock(now), limits, faults)
    return uvicorn.Server(uvicorn.Config(app, http=Wire, log_level="warning", access_log=False, date_header=False))
