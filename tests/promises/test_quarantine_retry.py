"""What is quarantined can be seen and tried again; nothing is lost or doubled by it, whatever stops it."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import table_rows as rows
from flickr_service import KEY, NIGHT_STARTS, Service, photo, serving
from starlette.responses import Response

from flickcast import stages
from flickcast.errors import TryAgainError, UserError
from flickcast.records import Batch, PictureChunk, ReadPictures, Rejected, quarantine_record, quarantine_rows
from flickcast.schemas import TABLES
from flickcast.sources.flickr_parse import rejected_photo
from flickcast.stages.forgetting import forget
from flickcast.stages.quarantine import entries, retry
from flickcast.workspace import Workspace, create_workspace

MOMENT = rows.day(80)
Run = Callable[..., Any]
FAST = {f"ingest.{name}": "1000000" for name in ("calls_per_second", "calls_per_hour", "pictures_per_second")}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with serving(Service()) as running:
        monkeypatch.setenv("FLICKCAST_FLICKR_URL", f"{running.base}/services/rest/")
        monkeypatch.setenv("FLICKCAST_FLICKR_KEY", KEY)
        yield running


@pytest.fixture
def ws(tmp_path: Path, service: Service) -> Workspace:
    """Post 1 is stored without its picture; photos 2 and 3 were refused, 3 for good; an import's record, embed's."""
    root = tmp_path / "workspace"
    create_workspace(root, FAST | {"embed.encoder": "flickcast-tiny"})
    ws = Workspace(root)
    usable = photo(2, NIGHT_STARTS) | {"url_z": f"{service.base}/pictures/2.jpg"}
    lasting = photo(3, NIGHT_STARTS) | {"owner": None}
    first = Batch(
        source="flickr",
        posts=rows.posts({"post_id": "1", "posted_at": MOMENT}),
        users=rows.users({"observed_at": MOMENT}),
        found=3,
        rejected=(
            rejected_photo(usable, "post 2 was not understood by an earlier version", MOMENT),
            rejected_photo(lasting, "post 3 has no owner", MOMENT),
        ),
        pictures=ReadPictures((_refused(f"{service.base}/pictures/1.jpg"),)),
    )
    stages.store(ws, first, "2026-03-09", MOMENT, part="2026-03-09")
    imported = [Rejected(b'{"Pid": "7", "Uid": "u7"}', "post 7 has no user")]
    with ws.appending("ingest") as appender:
        appender.append("quarantine/ingest", "import", quarantine_rows("ingest", "smpd-image", imported, MOMENT))
    return ws


def _refused(url: str) -> PictureChunk:
    broken = Rejected(quarantine_record("1", url, b"<html>"), "picture of post 1 is gone (HTTP 404)")
    return PictureChunk(TABLES["images"].empty(), (broken,))


def test_the_list_says_whose_why_when_and_how_much(flickcast: Run, ws: Workspace) -> None:
    told = json.loads(flickcast("quarantine", "list", "-w", ws.root, "--json").out)
    assert {(one["source"], one["post_id"], one["reason"]) for one in told["records"]} == {
        ("flickr", "1", "picture of post 1 is gone (HTTP 404)"),
        ("flickr", "2", "post 2 was not understood by an earlier version"),
        ("flickr", "3", "post 3 has no owner"),
        ("smpd-image", "7", "post 7 has no user"),
    }
    assert all(one["bytes"] > 10 and one["quarantined_at"] == MOMENT.isoformat() for one in told["records"])
    assert told["totals"]["post has no owner"] == told["totals"]["picture of post is gone (HTTP 404)"] == 1
    text = flickcast("quarantine", "list", "-w", ws.root).out
    assert "4 records" in text
    assert "post 3 has no owner" in text


def test_a_record_is_shown_byte_for_byte(flickcast: Run, ws: Workspace) -> None:
    (picture,) = (entry for entry in entries(ws) if entry.post_id == "1")
    shown = flickcast("quarantine", "show", picture.record_sha256[:10], "-w", ws.root)
    assert (shown.code, shown.out.endswith("<html>")) == (0, True)


@pytest.mark.parametrize("given", ["../../x", "", "%", "00000000", "a\x1b[31m"])
def test_a_hash_that_is_none_is_refused(flickcast: Run, ws: Workspace, given: str) -> None:
    for command in ("show", "retry"):
        done = flickcast("quarantine", command, "-w", ws.root, "--", given)
        assert (done.code, "quarantine list" in done.err, "\x1b" in done.err) == (2, True, False)
    with pytest.raises(UserError, match="no quarantine"):
        list(entries(ws, "../ingest"))


def test_texts_from_outside_do_nothing_to_the_terminal(flickcast: Run, ws: Workspace) -> None:
    hostile = [Rejected(b'{"Pid": "\\u001b[2Jx"}', "post \x1b[2Jx\n\rfake line [red]has no user")]
    with ws.appending("ingest") as appender:
        appender.append("quarantine/ingest", "hostile", quarantine_rows("ingest", "smpd-image", hostile, MOMENT))
    told = flickcast("quarantine", "list", "-w", ws.root).out
    assert "\x1b" not in told
    assert not any(line.startswith("fake line") for line in told.splitlines())


def test_what_works_is_stored_once_and_what_fails_stays(ws: Workspace, service: Service) -> None:
    report = retry(ws)
    assert report.facts == {
        "tried": 3, "stored": 2, "known": 0, "unusable": 1, "pictures": 2, "left_to_embed": 0, "not_retried": 1,
    }  # fmt: skip
    assert sorted(ws.read("posts")["post_id"]) == sorted(ws.read("images")["post_id"]) == ["1", "2"]
    assert ws.read("observations")["post_id"].to_list() == ["2"]
    assert ws.read("posts").filter(rows.pl.col("post_id") == "2")["first_seen_at"].to_list() == [MOMENT]
    assert sorted(entry.post_id or "" for entry in entries(ws)) == ["3", "7"]
    before = _state(ws.root)
    assert retry(ws).facts | {"unusable": 0} == dict.fromkeys(report.facts, 0) | {"tried": 1, "not_retried": 1}
    assert _state(ws.root) == before


def test_only_what_is_named_is_tried(ws: Workspace) -> None:
    (one,) = (entry for entry in entries(ws) if entry.post_id == "2")
    assert retry(ws, [one.record_sha256[:8]]).facts["tried"] == 1
    assert sorted(entry.post_id or "" for entry in entries(ws)) == ["1", "3", "7"]


def test_a_post_that_is_stored_by_now_leaves_the_quarantine(ws: Workspace) -> None:
    with ws.appending("ingest") as appender:
        appender.append("posts", "later", rows.posts({"post_id": "2", "posted_at": MOMENT, "title": "as stored"}))
    facts = retry(ws).facts
    assert (facts["stored"], facts["known"], facts["unusable"]) == (1, 1, 1)
    assert ws.read("posts").filter(rows.pl.col("post_id") == "2")["title"].to_list() == ["as stored"]


def test_a_picture_that_is_still_gone_stays_and_its_post_is_stored(ws: Workspace, service: Service) -> None:
    service.pictures = dict.fromkeys(("1.jpg", "2.jpg"), Response(status_code=404))
    facts = retry(ws).facts
    assert (facts["stored"], facts["unusable"], facts["pictures"]) == (1, 2, 0)
    assert sorted(entry.post_id or "" for entry in entries(ws)) == ["1", "2", "3", "7"]
    service.pictures = {}
    assert retry(ws).facts["pictures"] == 2


def test_what_is_forgotten_is_not_retried(ws: Workspace) -> None:
    forget(ws, "user", {"2@N01"}, MOMENT)
    retry(ws)
    assert ws.read("posts")["post_id"].to_list() == ["1"]


def test_what_embed_refused_is_left_to_its_next_run(ws: Workspace) -> None:
    broken = rows.pl.DataFrame({"post_id": ["1"], "sha256": ["00"], "bytes": [b"no picture"]})
    with ws.appending("ingest") as appender:
        appender.append("images", "broken", broken)
    assert stages.embed(ws).facts["quarantined"] == 1
    assert stages.embed(ws).facts["embedded"] == 0
    (refused,) = entries(ws, "embed")
    for _ in range(2):
        assert retry(ws, [refused.record_sha256]).facts["left_to_embed"] == 1
        assert not list(entries(ws, "embed"))
        assert stages.embed(ws).facts["quarantined"] == 1
    assert ws.vectors().height == 1


def _state(root: Path) -> dict[str, bytes]:
    files = [path for name in ("data", "manifests") for path in sorted((root / name).rglob("*")) if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


class Died(BaseException):
    """What the run dies of; nothing in the code catches it."""


def test_a_retry_that_dies_at_any_write_is_completed_by_another(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def stop_at(step: int, patch: pytest.MonkeyPatch) -> None:
        def counted(name: str, real: Callable[..., None]) -> Callable[..., None]:
            def call(*arguments: object, **options: object) -> None:
                seen.append(name)
                if len(seen) >= step > 0:
                    raise Died
                real(*arguments, **options)

            return call

        seen.clear()
        for owner, name in ((os, "fsync"), (os, "replace"), (Path, "unlink")):
            patch.setattr(owner, name, counted(name, getattr(owner, name)))

    def end(root: Path) -> tuple[Any, ...]:
        """What counts in the end: rows, whatever parts they came in."""
        ws = Workspace(root)
        names = ("posts", "images", "observations", "quarantine/ingest")
        tables = tuple(ws.read(name).sort(TABLES[name].key).to_dicts() for name in names)
        batches = [facts for name, facts in ws.manifest("ingest").batches.items() if name.startswith("retry")]
        return *tables, batches

    clean = shutil.copytree(ws.root, tmp_path / "clean")
    with monkeypatch.context() as patch:
        stop_at(0, patch)
        retry(Workspace(clean))
    count, expected = len(seen), end(clean)
    assert count > 20
    for step in range(1, count + 1):
        root = shutil.copytree(ws.root, tmp_path / f"died-{step}")
        with monkeypatch.context() as patch:
            stop_at(step, patch)
            with pytest.raises(Died):
                retry(Workspace(root))
        retry(Workspace(root))
        assert end(root) == expected, f"died at write {step}"
        shutil.rmtree(root)


def test_a_dead_image_host_ends_the_retry_and_nothing_is_lost(
    ws: Workspace, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLICKCAST_DEADLINE_SECONDS", "0.1")
    monkeypatch.setattr("flickcast.sources.flickr_images.FAILED_PICTURES", 1)
    monkeypatch.setenv("FLICKCAST_CLOCK_SPEED", "1000000")
    service.pictures = dict.fromkeys(("1.jpg", "2.jpg"), Response(status_code=503))
    with pytest.raises(TryAgainError):
        retry(ws)
    service.pictures = {}
    monkeypatch.setenv("FLICKCAST_DEADLINE_SECONDS", "60")
    retry(ws)
    assert sorted(ws.read("images")["post_id"]) == ["1", "2"]
