"""Promise S6: nothing is asked but the service itself, whatever it names, and nothing listens beyond loopback.

Every process of a run notes each name it looks up and each address it connects to, sends to or listens on. The night
under Prefect and DVC is that of test_no_secret_leaves.py, as it takes long.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flickr_service import KEY, NIGHT_STARTS, Service, photo, serving
from network_notes import NetworkNotes
from starlette.responses import RedirectResponse, Response

from flickcast.workspace import Workspace, create_workspace

INGEST = "import sys; from flickcast import cli; sys.argv = ['flickcast', 'ingest', '-w', sys.argv[1]]; cli.main()"

FETCHES = """
import json, sys
from pathlib import Path
from flickcast.sources.budget import Budget
from flickcast.sources.flickr_images import ImageClient
from flickcast.sources.pictures import NoPictureError

client = ImageClient("api.flickr.com", budget=Budget("p", folder=Path(sys.argv[1]), per_second=1e6))
said = []
for address in json.load(sys.stdin):
    try:
        client.fetch(address)
    except NoPictureError as error:
        said.append(str(error))
print(json.dumps(said))
"""

# A network of its own, in which there is nothing but this; the ioctl says of `lo` that it is up.
ALONE = """
import fcntl, socket, struct, sys
from datetime import date
from pathlib import Path

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    fcntl.ioctl(one, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))
try:
    socket.create_connection(("192.0.2.1", 80), 2)
    sys.exit("this is no network of its own")
except OSError:
    pass

from flickcast import cli, demo
from flickcast.simulate.service import serving
from flickcast.simulate.world import World, WorldParams

root, night = Path(sys.argv[1]), date(2026, 1, 1)
world = World(WorldParams(seed=0, users=12, posts_per_day=6, start=night))
with serving(world, demo.night_clock(night)) as address, demo.service_environment(f"{address}/services/rest/", root):
    sys.argv = ["flickcast", "ingest", "-w", str(root)]
    cli.main()
"""


def hostile(own: int, trap: int) -> list[str]:
    """Addresses of pictures that lead, or could be read to lead, elsewhere; `own` and `trap` are ports of this machine.

    At the trap somebody listens, so that a client which goes there is seen there, too.
    """
    elsewhere = [
        f"127.0.0.1:{trap}",
        f"127.0.0.2:{trap}",
        f"localhost:{trap}",
        f"localhost:{own}",
        f"127.0.0.2:{own}",
        f"0.0.0.0:{own}",
        f"[::1]:{own}",
        f"[::ffff:127.0.0.1]:{trap}",
        f"2130706433:{trap}",
        f"0x7f.1:{trap}",
        f"0177.0.0.1:{trap}",
        f"127.1:{trap}",
        f"127.0.0.1.:{own}",
        f"127.0.0.1.nip.io:{trap}",
        f"①②⑦.⓪.⓪.①:{trap}",
        f"127。0。0。1:{trap}",
        "127.0.0.1",
        "127.0.0.1:22",
        "169.254.169.254",
        "169.254.169.254:80",
        "[fd00:ec2::254]",
        "[fe80::1%25lo]",
        "metadata.google.internal",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "100.64.0.1",
        "192.0.2.1",
        "evil.example",
        "live.staticflickr.com.evil.example",
        "evilstaticflickr.com",
        "staticflickr.com.",
        "live.staticflickr.com.",
        "live.staticflickr.com:22",
        "live.staticflickr.com:8080",
        "live_staticflickr.com",
        "live.staticflickr.com\\@evil.example",
        "live.staticflickr.com%2eevil.example",
        "live.staticflickr.com%00.evil.example",
        "lіve.statіcflіckr.com",
        "xn--lve-mpa.staticflickr.co",
        "api.flickr.com.evil.example",
        f"user:password@127.0.0.1:{own}",
        f"127.0.0.1:{own}@127.0.0.1:{trap}",
        f"127.0.0.1%3a{own}@169.254.169.254",
        "user@live.staticflickr.com",
        "live.staticflickr.com@evil.example",
        "",
        ":80",
    ]
    other_schemes = [
        "file:///etc/passwd",
        "file://localhost/etc/passwd",
        f"ftp://127.0.0.1:{own}/p.jpg",
        f"gopher://127.0.0.1:{trap}/p.jpg",
        f"ws://127.0.0.1:{own}/p.jpg",
        "data:image/jpeg;base64,/9j/4AAQ",
        "unix:///var/run/docker.sock",
        f"HTTPX://127.0.0.1:{own}/p.jpg",
        f"//127.0.0.1:{trap}/p.jpg",
        "/etc/passwd",
        "javascript:alert(1)",
        "jar:http://evil.example!/p.jpg",
    ]
    return [f"{scheme}://{host}/p.jpg" for host in elsewhere for scheme in ("http", "https")] + other_schemes


@dataclass
class Traps:
    """Ports that nobody has any business at, and who came all the same."""

    port: int
    visitors: list[Any] = field(default_factory=list)


@contextmanager
def traps() -> Iterator[Traps]:
    """One port on several addresses of this machine."""
    with socket.create_server(("0.0.0.0", 0)) as listener:
        found = Traps(listener.getsockname()[1])

        def watch() -> None:
            with suppress(OSError):
                while True:
                    connection, visitor = listener.accept()
                    found.visitors.append(visitor)
                    connection.close()

        threading.Thread(target=watch, daemon=True).start()
        yield found
        listener.shutdown(socket.SHUT_RDWR)


@dataclass
class Recorded:
    """How a run ended, and what its processes did with the network."""

    code: int
    out: str
    err: str
    notes: NetworkNotes


def recorded(
    folder: Path, script: str, *arguments: object, given: str = "", before: tuple[str, ...] = (), **environment: str
) -> Recorded:
    """Run a script whose processes note what they do with the network; `before` is what runs Python."""
    notes = NetworkNotes(folder / "network")
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [*before, sys.executable, "-c", script, *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        env=kept | notes.environment() | {"FLICKCAST_STATE_FOLDER": str(folder / "state")} | environment,
        cwd=folder,
    )
    return Recorded(done.returncode, done.stdout, done.stderr, notes)


def ready(folder: Path, **changes: str) -> Path:
    options = {
        "ingest.source": "flickr",
        "ingest.calls_per_second": "1000",
        "ingest.pictures_per_second": "1000",
        "ingest.following": "false",
        "ingest.observe_at_days": "[]",
        "embed.encoder": "flickcast-tiny",
    }
    create_workspace(folder / "workspace", options | changes)
    (folder / "workspace/night.yaml").write_text("date: '2026-03-09'\n")
    return folder / "workspace"


@pytest.mark.parametrize("where", ["pictures", "redirects"])
def test_a_night_asks_its_own_service_only(tmp_path: Path, where: str) -> None:
    """Each address is that of a post's picture, or the own service's picture redirects to it."""
    workspace = ready(tmp_path)
    with traps() as trap, serving(Service()) as service:
        own = int(service.base.rpartition(":")[2])
        addresses = hostile(own, trap.port)
        for number, address in enumerate(addresses):
            shown = address if where == "pictures" else f"{{base}}/pictures/{number}.jpg"
            service.photos.append(photo(1000 + number, NIGHT_STARTS + 60 * number, url_z=shown))
            status = (301, 302, 303, 307, 308)[number % 5]
            service.pictures[f"{number}.jpg"] = RedirectResponse("/elsewhere", status)
            with suppress(UnicodeError):
                service.pictures[f"{number}.jpg"].headers["Location"] = address
        service.photos.append(photo(999, NIGHT_STARTS))
        environment = {"FLICKR_KEY": KEY, "FLICKR_URL": f"{service.base}/services/rest/", "CLOCK_SPEED": "1000"}
        proxy = {name: f"http://127.0.0.2:{trap.port}" for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy")}
        told = {f"FLICKCAST_{name}": value for name, value in environment.items()}
        done = recorded(tmp_path, INGEST, workspace, **told, **proxy)
    assert done.code == 0, done.err
    assert done.notes.asked() == {("127.0.0.1", own)}
    assert done.notes.looked_up() <= {"127.0.0.1", None}
    assert trap.visitors == []
    ws = Workspace(workspace)
    assert ws.read("posts").height == len(addresses) + 1
    assert ws.keys("images")["post_id"].to_list() == ["999"]
    reasons = ws.read("quarantine/ingest")["reason"]
    named = [address for address in addresses if address.startswith(("http", "HTTP"))]
    said = "is not on an image host of the service" if where == "pictures" else "a redirect"
    assert reasons.str.contains(said).sum() >= len(named)
    assert reasons.len() == len(addresses)
    assert "/pictures/1.jpg" not in service.pictured


def test_no_address_beyond_the_image_hosts_is_asked_when_the_service_is_the_real_one(tmp_path: Path) -> None:
    addresses = [one for one in hostile(80, 8080)]
    done = recorded(tmp_path, FETCHES, tmp_path, given=json.dumps(addresses))
    assert done.code == 0, done.err
    assert json.loads(done.out) == ["is not on an image host of the service"] * len(addresses)
    assert (done.notes.asked() | done.notes.looked_up()) == set()


def test_a_redirect_of_the_api_itself_is_not_followed(tmp_path: Path) -> None:
    workspace = ready(tmp_path)
    with traps() as trap, serving(Service()) as service:
        service.fault = lambda form: RedirectResponse(f"http://127.0.0.1:{trap.port}/?{form['method']}", 307)
        url = f"{service.base}/services/rest/"
        told = {"FLICKCAST_FLICKR_KEY": KEY, "FLICKCAST_FLICKR_URL": url, "FLICKCAST_CLOCK_SPEED": "1000"}
        done = recorded(tmp_path, INGEST, workspace, **told)
    assert done.code != 0
    assert "HTTP 307" in done.err
    assert done.notes.asked() == {("127.0.0.1", int(service.base.rpartition(":")[2]))}
    assert trap.visitors == []


def test_a_night_needs_no_network_but_loopback(tmp_path: Path) -> None:
    alone = ("unshare", "--net", "--map-root-user")
    try:
        tried = subprocess.run([*alone, "true"], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if tried.returncode:
        pytest.skip(f"unshare does not work here: {tried.stderr.strip()}")
    workspace = ready(tmp_path)
    (workspace / "night.yaml").write_text("date: '2026-01-01'\n")
    done = recorded(tmp_path, ALONE, workspace, before=alone)
    assert done.code == 0, done.err
    assert Workspace(workspace).read("posts").height > 0
    assert Workspace(workspace).read("images").height > 0


def test_an_attempt_elsewhere_is_recorded_and_trapped(tmp_path: Path) -> None:
    with traps() as trap:
        script = f"import httpx; httpx.get('http://127.0.0.2:{trap.port}/')"
        done = recorded(tmp_path, script)
        assert done.notes.asked() == {("127.0.0.2", trap.port)}
        assert len(trap.visitors) == 1


def test_a_client_that_follows_redirects_or_any_address_is_caught(tmp_path: Path) -> None:
    """The same night with the two refusals taken out of the client reaches the trap."""
    workspace = ready(tmp_path)
    spoilt = (
        "import httpx; from flickcast.sources.flickr_images import ImageClient\n"
        "ImageClient._allowed = lambda self, url: httpx.URL(url)\n" + INGEST
    )
    with traps() as trap, serving(Service()) as service:
        service.photos.append(photo(1, NIGHT_STARTS, url_z=f"http://127.0.0.2:{trap.port}/p.jpg"))
        service.pictures = {"1.jpg": Response(b"")}
        url = f"{service.base}/services/rest/"
        told = {"FLICKCAST_FLICKR_KEY": KEY, "FLICKCAST_FLICKR_URL": url, "FLICKCAST_CLOCK_SPEED": "1000"}
        done = recorded(tmp_path, spoilt, workspace, **told)
    assert ("127.0.0.2", trap.port) in done.notes.asked()
    assert trap.visitors
