"""Promises R1, R2 and R4 for all that ingest writes: a night that dies or is refused at its k-th write, for every k.

Whatever happened, running it again gives the same tables and manifests, byte for byte, and leaves nothing behind.
"""

import errno
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import certifi
import dying_processes
import pytest
from disk_writes import AUDITED, Died, Write, audited, death, disk_writes, refusal
from simulated_nights import START, content, simulated_nights

from flickcast.cli.stages import run_stage
from flickcast.demo import move_service_clock
from flickcast.simulate.oddities import Oddities
from flickcast.simulate.world import WorldParams
from flickcast.sources import flickr_images
from flickcast.workspace import Workspace

NIGHT = 3  # the first one at which a post is gone and a new user turns up
ODDITIES = Oddities(late=0.1, removed=0.4, unusable=0.2)
WORLD = WorldParams(seed=31, users=14, posts_per_day=6, start=START, oddities=ODDITIES)
SHARES = 4  # of the points, so that workers can take them at the same time
OTHER_ERRORS = (errno.EIO, errno.EACCES, errno.EMFILE)
UNSTABLE = (".flickcast", "state")  # files there name times and processes: of these only the names are compared

State = dict[str, bytes]


@dataclass
class Evening:
    """A folder before its night, what it is like after an undisturbed one, and what that wrote."""

    folder: Path
    before: State
    asked: Callable[[], int]  # how many calls have arrived at the service
    picture: str = ""  # sha256 of one that the night finds and that counts as a stand-in
    after: State = field(default_factory=dict)
    writes: list[Write] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    calls: int = 0
    made_good: set[frozenset[tuple[str, bytes | int]]] = field(default_factory=set)

    @contextmanager
    def copy(self, name: str) -> Iterator[Path]:
        """The evening once more; the count of calls lies there, too."""
        folder = Path(shutil.copytree(self.folder, self.folder.with_name(name)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FLICKCAST_STATE_FOLDER", str(folder / "state"))
            yield folder
        shutil.rmtree(folder)

    def steps(self, share: int, shares: int = SHARES) -> range:
        """This share of all points, spread over the whole night; the last point lies after the last write."""
        return range(1 + share, len(self.writes) + 2, shares)

    def point(self, step: int) -> str:
        """For whoever reads a failure."""
        return f"write {step} of {len(self.writes)}: {[*self.writes, 'the end'][step - 1]}"

    def is_safe(self, folder: Path, step: int) -> None:
        """Before anything is done about it: nothing stored is lost, and the tables are the old or the new ones."""
        now, manifest = state(folder), "workspace/manifests/ingest.json"
        assert now[manifest] in (self.before[manifest], self.after[manifest]), self.point(step)
        kept = {name for name in self.before if name.startswith("workspace/data")}
        assert all(now.get(name) == self.before[name] for name in kept), self.point(step)
        content(Workspace(folder / "workspace"))  # which refuses parts that are not what the manifest says

    def is_cleared(self, folder: Path, step: int) -> None:
        """Another run of ingest, which need not write parts of these names, removes what no manifest lists."""
        other = Path(shutil.copytree(folder, folder.with_name(f"{folder.name}-other")))
        with Workspace(other / "workspace").appending("ingest"):
            pass
        assert tables(state(other)) in (tables(self.before), tables(self.after)), self.point(step)

    def is_made_good(self, folder: Path, step: int) -> None:
        """Running it again is all it takes. What differs in nothing but times from what was made good is not tried."""
        found = frozenset((name, content or (folder / name).stat().st_size) for name, content in state(folder).items())
        if found in self.made_good:
            return
        self.made_good.add(found)
        ingest(folder)
        now = state(folder)
        assert sorted(now) == sorted(self.after), self.point(step)
        assert now == self.after, self.point(step)


def state(folder: Path) -> State:
    """Every file, by its place."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = {str(path.relative_to(folder)): path for path in files}
    return {n: b"" if set(path.parts) & set(UNSTABLE) else path.read_bytes() for n, path in names.items()}


def tables(files: State) -> State:
    """The parts and manifests among the files."""
    return {n: content for n, content in files.items() if n.startswith(("workspace/data", "workspace/manifests"))}


def ingest(folder: Path) -> None:
    """The stage as its command runs it: under the lock, with its report."""
    run_stage("ingest", folder / "workspace", as_json=False)


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evening]:
    """Some nights, and the next one due."""
    root = tmp_path_factory.mktemp("evening")
    with pytest.MonkeyPatch.context() as patch:
        certificate = _one_certificate(root)
        patch.setattr(certifi, "where", lambda: certificate)  # reading all of them takes as long as a night
        with simulated_nights(root / "first", WORLD, patch, following="false", observe_at_days="[1]") as nights:
            for number in range(NIGHT):
                nights.ingest(number)
            # However busy the machine is: a late answer must not change how many writes there are.
            for name in ("TIMEOUT_SECONDS", "CALL_SECONDS"):
                patch.setenv(f"FLICKCAST_{name}", "20")
            move_service_clock(nights.address, START + timedelta(days=NIGHT))
            nights.ws.set_night(START + timedelta(days=NIGHT))
            one = Evening(root / "first", state(root / "first"), lambda: sum(nights.ledger()["calls"].values()))
            with one.copy("trial") as folder:
                ingest(folder)
                new = content(Workspace(folder / "workspace"))["images"]["sha256"]
                one.picture = min(set(new) - set(content(nights.ws)["images"]["sha256"]))
            patch.setattr(flickr_images, "KNOWN_PLACEHOLDERS", frozenset({one.picture}))
            with one.copy("clean") as folder:
                before = one.asked()
                with audited(folder) as one.heard, disk_writes(folder) as one.writes:
                    ingest(folder)
                one.calls = one.asked() - before
                one.after = state(folder)
                one.heard = [line.replace(str(folder), "") for line in one.heard]
                one.writes = [Write(write.kind, write.path.replace(str(folder), "")) for write in one.writes]
            yield one


def _one_certificate(root: Path) -> str:
    end = "-----END CERTIFICATE-----\n"
    (root / "certificate.pem").write_text(Path(certifi.where()).read_text().partition(end)[0] + end)
    return str(root / "certificate.pem")


def test_the_night_writes_a_part_of_every_table_that_a_night_can_and_every_write_is_counted(evening: Evening) -> None:
    new = {Path(name).parent.name for name in evening.after.keys() - evening.before.keys()}
    assert new >= {"posts", "users", "observations", "images", "tombstones", "ingest"}
    kinds = Counter(write.kind for write in evening.writes)
    assert kinds.keys() >= {"open", "write", "flush", "fsync", "replace", "unlink", "truncate", "sqlite commit"}
    seen = [str(write) for write in evening.writes if write.kind in AUDITED.values()]
    assert Counter(seen) == Counter(evening.heard)
    assert len(evening.writes) > 80


@pytest.mark.parametrize("share", range(SHARES))
def test_a_night_that_dies_at_any_write_ends_as_an_undisturbed_one(evening: Evening, share: int) -> None:
    for step in evening.steps(share):
        for torn in _whole_or_torn(evening, step):
            before = evening.asked()
            with evening.copy(f"died-{step}") as folder:
                with disk_writes(folder, step=step, trouble=death(torn)), suppress(Died):
                    ingest(folder)
                    assert step > len(evening.writes), f"{evening.point(step)} is survived"
                evening.is_safe(folder, step)
                evening.is_made_good(folder, step)
            assert evening.asked() - before <= evening.calls + 1, f"answers are lost: {evening.point(step)}"


def _whole_or_torn(evening: Evening, step: int) -> tuple[bool, ...]:
    """A write may leave nothing or half of it; all of it is the next point."""
    return (False, True) if step <= len(evening.writes) and evening.writes[step - 1].kind == "write" else (False,)


@pytest.mark.parametrize("share", range(SHARES))
def test_an_error_of_the_disk_at_any_write_is_one_sentence_and_running_it_again_is_all_it_takes(
    evening: Evening, share: int, flickcast: Callable[..., Any]
) -> None:
    for step in evening.steps(share)[: -1 if len(evening.writes) % SHARES == share else None]:
        for trouble in (refusal(errno.ENOSPC, lasting=True), refusal(OTHER_ERRORS[step // SHARES % 3])):
            with evening.copy(f"refused-{step}") as folder:
                with disk_writes(folder, step=step, trouble=trouble):
                    ended = flickcast("ingest", "--workspace", folder / "workspace")
                assert ended.code in (1, 75), (evening.point(step), ended)
                assert re.fullmatch(rf"flickcast: (?!Unexpected).*{folder}.*\n", ended.err), (
                    evening.point(step),
                    ended,
                )
                evening.is_safe(folder, step)
                evening.is_made_good(folder, step)


@pytest.mark.parametrize("damage", ["cut", "garbage", "wrong bit", "empty"])
def test_a_power_cut_that_damages_the_journal_costs_calls_and_nothing_else(evening: Evening, damage: str) -> None:
    damages: dict[str, Callable[[bytes], bytes]] = {
        "cut": lambda content: content[:-3],
        "garbage": lambda content: content + b'{"name": "\x00\xff',
        "wrong bit": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
        "empty": lambda content: b"",
    }
    damaged = 0
    for step in evening.steps(5, 12):
        with evening.copy(f"dark-{step}") as folder:
            with disk_writes(folder, step=step, trouble=death()), suppress(Died):
                ingest(folder)
            for journal in (folder / "workspace" / ".flickcast" / "ingest").glob("*.journal"):
                if answers := journal.read_bytes():
                    journal.write_bytes(damages[damage](answers))
                    damaged += 1
            evening.made_good.clear()  # damage need not show in the length
            evening.is_made_good(folder, step)
    assert damaged > 5


def test_a_process_that_ends_at_a_write_without_a_word_is_made_good_too(evening: Evening) -> None:
    command = [sys.executable, dying_processes.__file__, evening.picture]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as births:
        assert births.stdin
        assert births.stdout
        for step in evening.steps(3, 9):
            with evening.copy(f"killed-{step}") as folder:
                print(folder, step, file=births.stdin, flush=True)
                assert births.stdout.readline() == f"{9 if step <= len(evening.writes) else 0}\n", evening.point(step)
                evening.is_safe(folder, step)
                evening.is_cleared(folder, step)
                evening.is_made_good(folder, step)
        births.stdin.close()
