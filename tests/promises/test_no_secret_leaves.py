"""Promise S1: whatever goes wrong in a night, the API key is found nowhere afterwards, in no spelling.

Nights under every fault of the simulated service, nights whose service repeats the key, crashes and a stuck run leave
their traces in one workspace, on which a real Prefect night then runs; all of it is searched byte by byte. That night
shows promise S6 (test_only_places_we_mean.py) for Prefect and DVC, too.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from canaries import bytes_of, hits, objects_of, rows_of, spellings, values_of
from flickr_service import Service, answer, fail, photo
from flickr_service import serving as serving_echoes
from network_notes import NetworkNotes
from simulated_nights import START
from starlette.responses import RedirectResponse, Response

from flickcast.demo import VALUES, night_clock
from flickcast.history import initialise
from flickcast.simulate.faults import ALL_KINDS
from flickcast.simulate.service import serving
from flickcast.simulate.world import World, WorldParams
from flickcast.workspace import create_workspace
from tests.toys import command_lines

pytestmark = pytest.mark.slow

KEYS = ("c4a9e07b13d85f62a0be94d7715cf38e", "Q7/x9+w=k&v%7Ez#?:@'u\"<é>\\ 5t2m8r")
ENVIRONMENT = {"FLICKCAST_CLOCK_SPEED": "3000", "FLICKCAST_TIMEOUT_SECONDS": "0.3", "FLICKCAST_CALL_SECONDS": "0.6"}
MOST_NIGHTS = 25  # with faults of the simulated service, until each kind was met

# One process runs all nights, as a user would with --debug and everything logged. After each it keeps what the next may
# remove. Keys and addresses come by stdin: a command line is one of the places that are searched.
NIGHTS = """
import json, logging, os, shutil, sys, time
from datetime import date
from pathlib import Path
import httpx
from flickcast import cli, demo
from flickcast.sources import web
from flickcast.stages import asking
from flickcast.workspace import Workspace

root, kept = map(Path, sys.argv[1:])
logging.basicConfig(level=logging.DEBUG, handlers=[logging.FileHandler(kept / "debug.log"), logging.StreamHandler()])

def leaking_exception(self, verb, address, limit=0, **form):
    raise RuntimeError(f"cannot send {form}")

def leaking_url(self, verb, address, limit=0, **form):
    raise web.TroubleError(f"fails at {address}?{httpx.QueryParams(form['data'])}")

def leaking_log(self, verb, address, limit=0, **form):
    logging.getLogger("leak").debug("sending %s", form)
    raise web.TroubleError("fails")

def crash(self, *args, **form):
    raise RuntimeError("a bug of ours")

def memory(self, *args, **form):
    raise MemoryError

def interrupted(self, *args, **form):
    raise KeyboardInterrupt

request = web.Web.request
for number, night in enumerate(json.load(sys.stdin)):
    os.environ |= {"FLICKCAST_FLICKR_KEY": night["key"], "FLICKCAST_FLICKR_URL": night["url"]} | night["environment"]
    if night["unmet"]:  # only what was not met yet
        met = httpx.get(night["service"] + "/simulation/ledger", timeout=60).json()["faults"]
        night["faults"]["kinds"] = [kind for kind in night["faults"]["kinds"] if kind not in met]
        if not night["faults"]["kinds"]:
            continue
    if night["faults"]:
        httpx.post(night["service"] + "/simulation/faults", json=night["faults"]).raise_for_status()
        demo.move_service_clock(night["service"], date.fromisoformat(night["date"]))
    web.Web.request = globals()[night["sabotage"]] if night["sabotage"] else request
    if night["stuck"]:
        asking.STUCK_SECONDS = 0.5
    Workspace(root).set_night(date.fromisoformat(night["date"]))
    sys.argv = ["flickcast", "ingest", "--workspace", str(root), "--debug"]
    try:
        cli.main()
    except SystemExit as end:
        print(night["name"], "ended with", end.code, flush=True)
    shutil.copytree(root / ".flickcast", kept / f"{number:03d}")
"""

# A night whose service refuses the key and repeats it, then a good one, under a Prefect that logs all it can.
PREFECT = """
import json, os, sys
from datetime import date
from pathlib import Path
import httpx
from flickcast import demo
from flickcast.errors import UserError
from flows.local import local_prefect

root, nights = Path(sys.argv[1]), json.load(sys.stdin)
with local_prefect(root) as address:
    print(address)
    from flows.nightly import NightParams, nightly
    for night in nights:
        os.environ |= {"FLICKCAST_FLICKR_KEY": night["key"], "FLICKCAST_FLICKR_URL": night["url"]}
        if night["faults"]:
            httpx.post(night["service"] + "/simulation/faults", json=night["faults"]).raise_for_status()
            demo.move_service_clock(night["service"], date.fromisoformat(night["date"]))
        try:
            nightly(NightParams(workspace=root, date=date.fromisoformat(night["date"]), retries=0))
            print(night["name"], "ended well", flush=True)
        except UserError as error:
            print(night["name"], "ended with", error, flush=True)
"""


def listed(form: dict[str, str], **changes: Any) -> Response:
    """A search that finds one post, posted when asked for."""
    posted = int(form.get("min_upload_date", "0"))
    one = photo(posted, posted, **{"url_z": None} | changes)
    return answer({"stat": "ok", "photos": {"page": 1, "pages": 1, "total": "1", "photo": [one]}})


def repeated(form: dict[str, str]) -> Response:
    """Posts that hold the key in every field, and some that are unusable."""
    key, coded = form["api_key"], quote(form["api_key"], safe="")
    if form["method"] != "flickr.photos.search":
        return fail(5, f"User {key} deleted")
    odd = {"dateupload": None} if int(form["min_upload_date"]) % 2 else {}
    texts = {"title": f"by {key}", "tags": f"a {key} b", "ownername": key}
    return listed(form, **texts, **odd, url_z=f"http://127.0.0.1:1/{coded}.jpg?api_key={coded}")


def spread(form: dict[str, str]) -> Response:
    return fail(100, "Invalid API Key " + "\u200b".join(form["api_key"]))


ECHOES: dict[str, Callable[[dict[str, str]], Response]] = {
    "wrong key": lambda form: fail(100, f"Invalid API Key ({form['api_key']})"),
    "wrong key, coded": lambda form: fail(100, f"Invalid: api_key={quote(form['api_key'], safe='')}&x"),
    "wrong key, spread": spread,
    "key as code": lambda form: answer({"stat": "fail", "code": form["api_key"], "message": form["api_key"]}),
    "refusal": lambda form: fail(3, f"we do not know {form['api_key']} for a reason that is a very long one"),
    "unavailable": lambda form: fail(105, f"Service currently unavailable to {form['api_key']}"),
    "error page": lambda form: Response(f"<pre>api_key={form['api_key']}</pre>", 500, media_type="text/html"),
    "no access": lambda form: Response(f"no access for {form['api_key']}", 403),
    "no JSON": lambda form: Response(f"<html>{form['api_key']}", media_type="text/html"),
    "redirect": lambda form: RedirectResponse(f"http://127.0.0.1:1/?api_key={quote(form['api_key'])}"),
    "headers": lambda form: Response(
        b"{}", 429, {name: quote(form["api_key"]) for name in ("Retry-After", "Set-Cookie", "Date")}
    ),
    "posts that hold it": repeated,
}
SABOTAGES = ("crash", "memory", "interrupted")


@dataclass
class Nights:
    """One workspace, what its nights met, and all that they printed."""

    folder: Path
    service: str
    echoes: Service
    plan: list[dict[str, Any]] = field(default_factory=list)
    met: dict[str, int] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    printed: dict[str, bytes] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "workspace"

    @property
    def kept(self) -> Path:
        return self.folder / "kept"

    def add(self, name: str, key: str, url: str = "", faults: dict[str, Any] | None = None, **options: Any) -> None:
        """One more night."""
        self.plan.append(
            {
                "name": name,
                "key": key,
                "url": url or f"{self.service}/services/rest/",
                "faults": faults if faults or url else {"per_thousand": 0},
                "service": self.service,
                "date": (START + timedelta(days=len(self.plan))).isoformat(),
                **{"sabotage": "", "stuck": False, "unmet": False, "environment": {}},
                **options,
            }
        )

    @cached_property
    def notes(self) -> NetworkNotes:
        """What all processes did with the network."""
        return NetworkNotes(self.folder / "network")

    def run(self, name: str, script: str, plan: list[dict[str, Any]], *arguments: Path) -> int:
        """Run a script on some nights while its command lines are watched."""
        environment = os.environ | ENVIRONMENT | {"FLICKCAST_STATE_FOLDER": str(self.folder / "state")}
        environment |= {"PREFECT_LOGGING_LEVEL": "DEBUG", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "DEBUG"}
        environment |= self.notes.environment()
        with watched(self.seen):
            done = subprocess.run(
                [sys.executable, "-c", script, *map(str, arguments)],
                input=json.dumps(plan).encode(),
                capture_output=True,
                env=environment,
                cwd=self.folder,
            )
        self.printed |= {f"{name}: stdout": done.stdout, f"{name}: stderr": done.stderr}
        return done.returncode

    def places(self) -> dict[str, bytes]:
        """Everything that a night leaves, by place."""
        root, state = self.root, ".flickcast"
        states = [root / state, *sorted(self.kept.glob("[0-9]*"))]
        prefect = root / state / "prefect"
        data = root / "data"
        found = {
            **self.printed,
            "debug log": (self.kept / "debug.log").read_bytes(),
            "last errors": bytes_of(*(path for one in states for path in one.glob("last-error.json"))),
            "lock holders": bytes_of(*(path for one in states for path in one.glob("lock-holder"))),
            "journals": bytes_of(*(one / "ingest" for one in states)),
            "logs": bytes_of(*(one / "logs" for one in states)),
            "reports": bytes_of(*(one / "reports" for one in states)),
            "rest of .flickcast": bytes_of(*states, but=("prefect",)),
            "budgets": bytes_of(self.folder / "state"),
            "tables": bytes_of(data),
            "tables' values": values_of(data),
            "quarantine": values_of(data / "quarantine"),
            "manifests": bytes_of(root / "manifests"),
            "command lines": "\n".join(sorted(self.seen)).encode(),
        }
        if not prefect.exists():
            return found
        return found | {
            "DVC's cache": bytes_of(root / ".dvc/cache"),
            "DVC's cache: values": values_of(root / ".dvc/cache"),
            "DVC's remote": bytes_of(root / ".dvc/remote"),
            "DVC's remote: values": values_of(root / ".dvc/remote"),
            "git": bytes_of(root / ".git"),
            "git's objects": objects_of(root),
            "Prefect's database": rows_of(prefect / "prefect.db"),
            "Prefect's files": bytes_of(prefect),
            "rest of the workspace": bytes_of(root, but=("data", ".git", state)),
        }


@contextmanager
def watched(seen: set[str]) -> Iterator[None]:
    """Notes the command lines of all processes while the block runs."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            seen.update(command_lines())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def nights_in(folder: Path) -> Iterator[Nights]:
    """An empty workspace whose only stage is ingest, a simulated service and one that repeats the key."""
    options = {
        "ingest.oracle": "false",
        "ingest.following": "false",
        "ingest.observe_at_days": "[]",
        "ingest.per_page": "4",
    }
    create_workspace(folder / "workspace", VALUES | options)
    graph = folder / "workspace" / "dvc.yaml"
    graph.write_text(yaml.safe_dump({"stages": {"ingest": yaml.safe_load(graph.read_text())["stages"]["ingest"]}}))
    (folder / "kept").mkdir()
    world = World(WorldParams(seed=0, users=12, posts_per_day=4, start=START))
    with serving(world, night_clock(START)) as address, serving_echoes(Service()) as echoes:
        yield Nights(folder, address, echoes)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    """Everything that can go wrong has gone wrong, and then a Prefect night has published what was left."""
    with nights_in(tmp_path_factory.mktemp("secret")) as made, socket.create_server(("127.0.0.1", 0)) as silent:
        initialise(made.root)
        names = list(ECHOES)
        made.echoes.fault = lambda form: ECHOES[names[int(made.echoes.urls[-1].rpartition("=")[2])]](form)

        def echo(name: str) -> str:
            return f"{made.echoes.base}/services/rest/?echo={names.index(name)}"

        for key in KEYS:
            for name in names:
                made.add(name, key, echo(name))
            made.add("dead service", key, f"http://127.0.0.1:{closed_port()}/")
        for number in range(MOST_NIGHTS):
            faults = {"per_thousand": 500, "seed": number, "kinds": ALL_KINDS, "drip_seconds": 0.7}
            made.add(f"faulty {number}", KEYS[number % 2], faults=faults, unmet=True)
        for number, sabotage in enumerate(SABOTAGES):
            made.add(sabotage, KEYS[number % 2], sabotage=sabotage)
        patient = {"FLICKCAST_TIMEOUT_SECONDS": "60", "FLICKCAST_CALL_SECONDS": "60"}
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        made.add("stuck", KEYS[0], url, stuck=True, environment=patient)
        code = made.run("ingest", NIGHTS, made.plan, made.root, made.kept)
        assert code == 75, made.printed["ingest: stderr"][-2000:].decode()
        ran = len(made.plan)
        made.add("refused under Prefect", KEYS[1], echo("wrong key"))
        made.add("under Prefect", KEYS[0], faults={"per_thousand": 50})
        code = made.run("nightly", PREFECT, made.plan[ran:], made.root)
        assert code == 0, made.printed["nightly: stderr"][-2000:].decode()
        yield made


def test_every_fault_was_met(nights: Nights) -> None:
    import httpx

    met = httpx.get(f"{nights.service}/simulation/ledger", timeout=60).json()["faults"]
    said = nights.printed["ingest: stdout"].decode()
    ends = dict(line.split(" ended with ") for line in said.splitlines() if " ended with " in line)
    errors = nights.printed["ingest: stderr"].decode()
    assert set(ALL_KINDS) - set(met) == set()
    assert [ends[name] for name in ("wrong key", "dead service", "error page")] == ["2", "75", "75"]
    assert {ends[name] for name in SABOTAGES} == {"1", "130"}
    assert "a bug of ours" in errors
    assert "Traceback" in errors
    assert "no progress for" in errors
    assert "refused under Prefect ended with 127.0.0.1" in nights.printed["nightly: stdout"].decode()
    assert "under Prefect ended well" in nights.printed["nightly: stdout"].decode()
    assert len(met) + len(ECHOES) + len(SABOTAGES) >= 20


def test_no_place_holds_the_key_in_any_spelling(nights: Nights) -> None:
    places = nights.places()
    print(f"{len(places)} places, {sum(map(len, places.values())) >> 10} KiB")
    assert len(places) >= 14
    assert not [name for name, content in places.items() if not content], "a place without content shows nothing"
    assert {name: found for name, content in places.items() if (found := hits(content, KEYS))} == {}


def test_prefect_and_dvc_ask_and_listen_on_loopback_only(nights: Nights) -> None:
    told = nights.printed["nightly: stdout"].decode().splitlines()[0]
    prefect = ("127.0.0.1", int(told.removesuffix("/api").rpartition(":")[2]))
    asked, listening = nights.notes.asked(), nights.notes.listening()
    assert prefect in asked & listening
    assert {where[0] for where in asked | listening if isinstance(where, tuple)} <= {"127.0.0.1", "::1"}
    assert nights.notes.looked_up() <= {"127.0.0.1", "localhost", "::1", None}


@pytest.mark.parametrize(
    ("sabotage", "where"),
    [
        ("leaking_exception", {"ingest: stderr"}),
        ("leaking_url", {"ingest: stderr", "last errors"}),
        ("leaking_log", {"ingest: stderr", "debug log"}),
    ],
)
def test_a_build_that_leaks_is_caught(tmp_path: Path, sabotage: str, where: set[str]) -> None:
    with nights_in(tmp_path) as leaking:
        leaking.add("leak", KEYS[1], sabotage=sabotage)
        leaking.run("ingest", NIGHTS, leaking.plan, leaking.root, leaking.kept)
        assert where <= {name for name, content in leaking.places().items() if hits(content, KEYS)}


def test_a_key_in_any_one_place_is_caught(nights: Nights, tmp_path: Path) -> None:
    """The search reads what is compressed or encoded, and compares with nothing but the key's own spellings."""
    import sqlite3
    from contextlib import closing

    import polars as pl

    key = KEYS[1]
    pl.DataFrame({"title": [f"by {key}"], "tags": [["a", key]]}).write_parquet(tmp_path / "a", compression="zstd")
    assert hits(values_of(tmp_path), [key])
    with closing(sqlite3.connect(tmp_path / "prefect.db")) as database, database:
        database.execute("CREATE TABLE log (message TEXT)")
        database.execute("INSERT INTO log VALUES (?)", (f"POST {quote(key, safe='')}",))
    assert hits(rows_of(tmp_path / "prefect.db"), [key])
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    subprocess.run(["git", "hash-object", "-w", "--stdin"], cwd=tmp_path, input=key.encode(), check=True)
    assert hits(objects_of(tmp_path), [key])
    for name, content in nights.places().items():
        middle = len(content) // 2
        assert hits(content[:middle] + key.encode() + content[middle:], [key]), name


@pytest.mark.parametrize("key", KEYS)
def test_each_spelling_is_found_wherever_it_stands(key: str) -> None:
    import base64

    for needle in spellings(key):
        assert hits(b"before" + needle + b"after", [key])
    for shift in range(6):
        assert hits(base64.b64encode(b"x" * shift + key.encode() + b"y" * shift), [key])
    assert not hits(b"nothing of it: c4a9e07b 13d85f62", [key])
