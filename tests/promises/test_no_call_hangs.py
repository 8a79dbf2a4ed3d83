"""Promise R9: whatever a service does to a connection, a call ends by its deadline, and says what happened."""

import gzip
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import pytest
from pydantic import SecretStr

from flickcast.errors import TryAgainError
from flickcast.sources.budget import Budget
from flickcast.sources.flickr_client import FlickrClient
from flickcast.sources.flickr_images import ImageClient
from flickcast.sources.pictures import MAX_BYTES, NoPictureError
from flickcast.sources.web import Deadlines, Patience

DEADLINE = 1.0
SLACK = 1.0  # for a machine that is busy
DEADLINES = Deadlines(call_seconds=DEADLINE, read_seconds=30, connect_seconds=30)
ONCE = Patience(attempts=1)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"
KEY = "canary-key"

Behaviour = Callable[[socket.socket], None]


@contextmanager
def raw_service(behave: Behaviour) -> Iterator[int]:
    """A port on loopback where each connection is treated as `behave` says, by a thread of its own."""

    def treat(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(20)
            with suppress(OSError):  # the client has gone, as it should
                behave(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=treat, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def drip(connection: socket.socket, content: bytes) -> None:
    for byte in content:
        connection.sendall(bytes([byte]))
        time.sleep(DEADLINE / 4)


def dripping_head(connection: socket.socket) -> None:
    drip(connection, OK + b"X-Long: " + b"a" * 100)


def dripping_body(connection: socket.socket) -> None:
    connection.recv(65_536)
    connection.sendall(OK + b"Content-Length: 1000\r\n\r\n")
    drip(connection, b"{" * 100)


def never_answering(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


def never_closing(connection: socket.socket) -> None:
    connection.recv(65_536)
    connection.sendall(OK + b'\r\n{"stat":"ok","photos":{}}')  # no length: the body ends with the connection
    never_answering(connection)


def endless_interim_answers(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        time.sleep(DEADLINE / 20)


def endless_body(connection: socket.socket) -> None:
    connection.recv(65_536)
    connection.sendall(OK + b"\r\n")
    while True:
        connection.sendall(b"a" * (1 << 20))


def packed(make: Callable[[], bytes], coding: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        content = make()
        connection.recv(65_536)
        connection.sendall(
            OK + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(content)) + content
        )

    return behave


@cache
def bomb(layers: int = 1) -> bytes:
    packer = zlib.compressobj(wbits=31)
    content = b"".join([packer.compress(bytes(1 << 20)) for _ in range(2 * MAX_BYTES >> 20)] + [packer.flush()])
    return content if layers == 1 else gzip.compress(content)


@contextmanager
def client(
    port: int, folder: Path, host: str = "127.0.0.1", deadlines: Deadlines = DEADLINES
) -> Iterator[FlickrClient]:
    budget = Budget("test", folder=folder, per_second=1e6)
    one = FlickrClient(f"http://{host}:{port}/", SecretStr(KEY), budget=budget, patience=ONCE, deadlines=deadlines)
    yield one
    one.close()


def search(one: FlickrClient) -> tuple[str, float]:
    """What the client says of the trouble, and after how long."""
    started = time.monotonic()
    with pytest.raises(TryAgainError) as caught:
        one.call("flickr.photos.search", "photos")
    assert KEY not in str(caught.value)
    return str(caught.value), time.monotonic() - started


LASTING = [dripping_head, dripping_body, never_answering, never_closing, endless_interim_answers]


@pytest.mark.parametrize("behave", LASTING)
def test_an_answer_that_does_not_come_to_an_end_is_left_at_the_deadline(behave: Behaviour, tmp_path: Path) -> None:
    with raw_service(behave) as port, client(port, tmp_path) as one:
        said, seconds = search(one)
    assert "is down: it did not finish its answer within 1 s" in said
    assert DEADLINE <= seconds < DEADLINE + SLACK


@pytest.mark.parametrize("behave", LASTING)
def test_a_picture_that_does_not_come_to_an_end_is_left_at_the_deadline(behave: Behaviour, tmp_path: Path) -> None:
    budget = Budget("test", folder=tmp_path, per_second=1e6)
    with raw_service(behave) as port:
        images = ImageClient("127.0.0.1", budget=budget, patience=ONCE, deadlines=DEADLINES)
        started = time.monotonic()
        with pytest.raises(NoPictureError, match=r"could not be had: 127.0.0.1 did not finish its answer within 1 s"):
            images.fetch(f"http://127.0.0.1:{port}/1.jpg")
        images.close()
    assert time.monotonic() - started < DEADLINE + SLACK


def test_silence_is_left_before_the_deadline_where_reads_have_one(tmp_path: Path) -> None:
    deadlines = Deadlines(call_seconds=30, read_seconds=0.2)
    with raw_service(never_answering) as port, client(port, tmp_path, deadlines=deadlines) as one:
        said, seconds = search(one)
    assert "it broke off (ReadTimeout)" in said
    assert seconds < SLACK


@pytest.mark.parametrize(
    ("behave", "said"),
    [
        (endless_body, "an answer without end"),
        (packed(bomb, b"gzip"), "an answer without end"),
        (packed(lambda: bomb(layers=2), b"gzip, gzip"), "a damaged answer"),
        (packed(lambda: b"\x1f\x8b no gzip", b"gzip"), "a damaged answer"),
        (packed(lambda: gzip.compress(bytes(10**6))[:500], b"gzip"), "a damaged answer"),
        (packed(lambda: b"whatever", b"zstd"), "a damaged answer"),
    ],
)
def test_a_body_beyond_its_limit_or_of_no_sense_is_broken_off(behave: Behaviour, said: str, tmp_path: Path) -> None:
    deadlines = Deadlines(call_seconds=30)
    with raw_service(behave) as port, client(port, tmp_path, deadlines=deadlines) as one:
        assert f"it sent {said}" in search(one)[0]


def stalled_lookup(*arguments: object, **options: object) -> list[object]:
    time.sleep(20)
    return []


def test_a_name_that_is_looked_up_for_ever_is_left_at_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", stalled_lookup)
    with client(80, tmp_path, host="api.flickr.invalid") as one:
        said, seconds = search(one)
    assert "did not finish its answer within 1 s" in said
    assert DEADLINE <= seconds < DEADLINE + SLACK


CHILD = """
import socket, sys, time
from pathlib import Path
import polars  # it puts its own handler in place
import test_no_call_hangs as here
if "{host}" != "127.0.0.1":
    socket.getaddrinfo = here.stalled_lookup
with here.client({port}, Path(sys.argv[1]), host="{host}", deadlines=here.Deadlines({deadline}, 30, 30)) as one:
    print("calling", flush=True)
    one.call("flickr.photos.search", "photos")
"""


def calling(folder: Path, host: str, port: int, deadline: float) -> "subprocess.Popen[str]":
    """A process of its own in the midst of a call."""
    program = CHILD.format(host=host, port=port, deadline=deadline)
    child = subprocess.Popen(
        [sys.executable, "-c", program, folder],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "calling\n"
    return child


def test_a_stalled_look_up_does_not_hold_up_the_end_of_the_process(tmp_path: Path) -> None:
    with calling(tmp_path, "api.flickr.invalid", 80, DEADLINE) as child:
        _, said = child.communicate(timeout=DEADLINE + 5)
    assert "did not finish its answer within 1 s" in said


@pytest.mark.parametrize("host", ["127.0.0.1", "api.flickr.invalid"])
def test_ctrl_c_ends_a_call_at_once(tmp_path: Path, host: str) -> None:
    with raw_service(never_answering) as port, calling(tmp_path, host, port, 60) as child:
        time.sleep(0.3)
        child.send_signal(2)
        started = time.monotonic()
        _, said = child.communicate(timeout=10)
    assert time.monotonic() - started < 2
    assert "KeyboardInterrupt" in said
