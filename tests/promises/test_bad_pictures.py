"""Promise R10: bad pictures harm nobody: each is embedded or quarantined with its reason, and no neighbour changes."""

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import picture_trials
import polars as pl
import pytest
from picture_files import BROKEN, LONGEST_SECONDS, MOST_MEMORY, PICTURES, photo

from flickcast.schemas import TABLES
from flickcast.stages import embed
from flickcast.workspace import Workspace, create_workspace

MUTATIONS = int(os.environ.get("FLICKCAST_MUTATIONS", "500"))  # 5,000 in the long run
MOST_SECONDS = 120 + MUTATIONS / 5  # of all trials together: more is a hang
MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak memory of a stretch of time")
def test_every_kind_and_mutation_is_accounted_for_in_time_and_memory_and_harms_no_neighbour() -> None:
    command = [sys.executable, picture_trials.__file__, str(MUTATIONS)]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=MOST_SECONDS, check=False)
    trials = {found["trial"]: found for found in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0, f"died after {list(trials)[-1:]}"
    kinds = [trial for trial in trials if not trial.startswith("mutations")]
    assert len(kinds) >= 80
    assert sum(len(found["embedded"]) + len(found["reasons"]) for found in trials.values()) == (
        3 * len(kinds) + MUTATIONS
    )
    for name, found in trials.items():
        assert not found["unaccounted"], name
        assert not found["spoiled"], name
        assert found["seconds"] < LONGEST_SECONDS, name
        assert found["bytes"] < MOST_MEMORY, name
        assert all(len(reason) > 15 for reason in found["reasons"].values()), name
    embedded = {kind for kind in kinds if kind in trials[kind]["embedded"]}
    assert embedded == set(PICTURES), "what an encoder can take, and nothing else"


def store(ws: Workspace, part: str, pictures: dict[str, bytes]) -> None:
    posts = pl.DataFrame({"post_id": list(pictures)}).with_columns(
        source=pl.lit("flickr"), user_id=pl.lit("u"), posted_at=pl.lit(MOMENT), first_seen_at=pl.lit(MOMENT)
    )
    sums = [hashlib.sha256(content).hexdigest() for content in pictures.values()]
    images = pl.DataFrame({"post_id": list(pictures), "sha256": sums, "bytes": list(pictures.values())})
    with ws.appending("ingest") as appender:
        appender.append("posts", part, TABLES["posts"].conform(posts))
        appender.append("images", part, TABLES["images"].conform(images))


def good(number: int) -> bytes:
    return photo(quality=20 + number, comment=f"no. {number}".encode())


def embedded(ws: Workspace) -> dict[str, bytes | None]:
    rows = ws.read(f"embeddings/{picture_trials.ENCODER}")
    vectors = rows["vector"].to_list()
    return {
        key: None if vector is None else np.array(vector, np.float16).tobytes()
        for key, vector in zip(rows["post_id"], vectors, strict=True)
    }


@pytest.mark.slow
def test_the_stage_embeds_or_quarantines_each_and_the_good_ones_are_those_of_a_clean_run(
    workspace: Workspace, tmp_path: Path
) -> None:
    create_workspace(tmp_path / "clean", {"embed.encoder": "flickcast-tiny"})
    clean = Workspace(tmp_path / "clean")
    heavy = {kind for kind in PICTURES if kind.startswith(("the largest", "a header"))}  # decoded in the other test
    kinds = picture_trials.kinds()
    odd = [content for kind, content in kinds.items() if kind not in heavy]
    mixed = {f"a{2 * number + which:04}": (content, which) for number, content in enumerate(odd) for which in (0, 1)}
    fine = {key: good(number % 60) for number, (key, (_, which)) in enumerate(mixed.items()) if which}
    refused = [kinds[kind] for kind in BROKEN]
    store(workspace, "1", {key: fine.get(key, content) for key, (content, _) in mixed.items()})
    store(workspace, "2", {f"b{number:04}": content for number, content in enumerate(refused)})
    store(workspace, "3", {f"c{number:04}": picture_trials.mutation(number) for number in range(100)})
    store(workspace, "4", after := {f"d{number:04}": good(number) for number in range(40)})
    store(clean, "1", {key: fine.get(key, photo("PNG")) for key in mixed})
    store(clean, "4", after)

    report = embed(workspace)
    embed(clean)

    found, expected = embedded(workspace), embedded(clean)
    assert found.keys() == {
        *mixed,
        *after,
        *(f"b{n:04}" for n in range(len(refused))),
        *(f"c{n:04}" for n in range(100)),
    }
    assert all(found[key] is not None and found[key] == expected[key] for key in (*fine, *after))
    without = {key for key, vector in found.items() if vector is None}
    assert {f"b{number:04}" for number in range(len(refused))} <= without
    quarantined = workspace.read("quarantine/embed")
    assert report.facts["quarantined"] == len(without)
    reasons = {reason.split(":")[0].removeprefix("post "): reason for reason in quarantined["reason"]}
    assert reasons.keys() == without
    assert all(len(reason.partition(": ")[2]) > 15 for reason in reasons.values())
    assert embed(workspace).facts["embedded"] == 0
