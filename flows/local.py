"""Nights without a Prefect installation: a server of our own for as long as they run, kept inside the workspace.

Prefect reads its settings and makes its home folder when it is imported, so nothing here imports it before the
environment says where that is.
"""

import datetime as dt
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flickcast import leash
from flickcast.errors import TryAgainError
from flickcast.workspace import Workspace

# As Prefect starts its own temporary server; ours ends with us even after kill -9, Prefect's would stay.
SERVER_ONLY = {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1", "PREFECT_UI_ENABLED": "false"}
START_SECONDS = 120.0  # the first start in a workspace makes the database: 10 s on two busy cores


def run_nights(
    root: Path, dates: Iterable[dt.date], *, before: Callable[[dt.date], None] = lambda date: None, **options: Any
) -> list[dict[str, Any]]:
    """Run the nights one after the other under one local server; the summary of each.

    `before` is called with the date just before its night; `options` are further fields of NightParams.
    """
    todo = list(dates)
    if not todo:
        return []
    with local_prefect(Workspace(root).root):
        from flows.nightly import NightParams, nightly

        summaries = []
        for date in todo:
            before(date)
            summaries += nightly(NightParams(workspace=root, date=date, **options))
        return summaries


@contextmanager
def local_prefect(root: Path) -> Iterator[str]:
    """A Prefect server on loopback, its files in `.flickcast/prefect`; yields its address and ends with the block."""
    home = root / ".flickcast" / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    address = f"http://127.0.0.1:{port}/api"
    with environment(prefect_environment(home, address)), (home / "server.log").open("ab") as log:
        server = leash.start("uvicorn", _server(port), cwd=home, environment=os.environ | SERVER_ONLY, output=log)
        try:
            with _settings(home, address):
                wait_until_healthy(address, server, home / "server.log")
                try:
                    yield address
                finally:
                    _drain()
        finally:
            leash.end(server)


def prefect_environment(home: Path, address: str) -> dict[str, str]:
    """What makes Prefect keep to itself: its own folder, our server, no reports to anyone, no pickle, little talk."""
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": address,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "NO_PROXY": ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1", "localhost"))),
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": os.environ.get("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL"),
    }


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """These variables for as long as the block lasts, for this process and those it starts."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _settings(home: Path, address: str) -> Iterator[None]:
    """The same for a Prefect that was imported earlier, under another environment."""
    from prefect.settings import temporary_settings

    updates = {"home": home, "api.url": address, "results.default_serializer": "json"}
    with temporary_settings(updates=updates):
        yield


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _server(port: int) -> list[str]:
    application = ["--factory", "prefect.server.api.server:create_app", "--lifespan", "on"]
    return [*application, "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]


def wait_until_healthy(address: str, server: "subprocess.Popen[str]", log: Path) -> None:
    """Return when the server answers; TryAgainError if it ends or takes too long."""
    import httpx

    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(f"{address}/health", trust_env=False).is_success:
                return
        time.sleep(0.05)
    raise TryAgainError(f"Prefect's server did not start; what it said is in {log}. Run the same command again.")


def _drain() -> None:
    """Let what Prefect still holds in memory (logs, events) reach the server before it ends."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all()
    with suppress(RuntimeError):  # never started: nothing was logged
        APILogWorker.instance().drain()
