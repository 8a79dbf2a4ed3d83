"""Captions in the stage `embed`: each picture told of once, read by encoders of texts, quarantined and forgotten."""

import hashlib
from datetime import UTC, datetime

import polars as pl
import pytest
import tiny_checkpoints
from embeddable import jpeg
from test_embedding_stage import night

from flickcast.embeddings.captions import Blip2Captioner
from flickcast.errors import CheckError, UserError
from flickcast.stages import embed
from flickcast.stages.embedding import run_shards
from flickcast.stages.forgetting import forget
from flickcast.stages.quarantine import _release, entries
from flickcast.stages.retention import let_go
from flickcast.tables import Appender
from flickcast.workspace import Workspace, set_params

READER = "embeddings/flickcast-tiny-caption"


@pytest.fixture
def told(monkeypatch):
    """How many pictures were told of."""
    counts = []
    real = Blip2Captioner.generate

    def generate(self, prepared):
        counts.append(len(prepared))
        return real(self, prepared)

    monkeypatch.setattr(Blip2Captioner, "generate", generate)
    return counts


@pytest.fixture
def ws(workspace):
    """A workspace whose captioner is tiny and random."""
    tiny_checkpoints.save_blip2(workspace.root / "blip2")
    values = {"embed.captions": "blip2", "embed.others": "[flickcast-tiny-caption]", "embed.weights": "{blip2: blip2}"}
    set_params(workspace.root / "params.yaml", values)
    return Workspace(workspace.root)


def captions(ws):
    return ws.read("captions").sort("post_id")


def test_each_picture_is_told_of_once_and_encoders_of_texts_read_it(ws, told):
    night(ws, "n1", {"1": jpeg(1), "2": jpeg(2), "3": jpeg(2), "4": None, "5": b"broken"}, title="mill")
    report = embed(ws)
    # The third post has the picture and the words of the second; in the broken one's place goes a copy.
    assert sum(told) == 2 + 1
    found = captions(ws)
    assert found["post_id"].to_list() == ["1", "2", "3", "5"]
    assert found["caption"].is_null().to_list() == [False, False, False, True]
    assert found["caption"][1] == found["caption"][2]
    assert report.facts["quarantined"] == 1
    read = ws.read(READER).sort("post_id")
    assert read["post_id"].to_list() == ["1", "2", "3"]
    assert read["input_sha256"].to_list() == [
        hashlib.sha256(one.encode()).hexdigest() for one in found["caption"].drop_nulls()
    ]
    assert read["vector"].null_count() == 0
    told.clear()
    before = ws.manifest("embed")
    assert embed(ws).facts["embedded"] == 0
    night(ws, "n2", {"6": jpeg(6)})
    embed(ws)
    assert (sum(told), captions(ws).height, ws.read(READER).height) == (1, 5, 4)
    assert set(before.parts["captions"]) < set(ws.manifest("embed").parts["captions"])


def test_another_captioner_tells_all_anew_and_what_was_read_of_the_old_one_goes(ws, told):
    night(ws, "n1", {"1": jpeg(1), "2": jpeg(2)})
    embed(ws)
    old = captions(ws)
    tiny_checkpoints.save_blip2(ws.root / "blip2", seed=1)
    with pytest.raises(CheckError, match=r"encoders/canaries/blip2\.json") as refused:
        embed(ws)
    assert captions(ws).equals(old), str(refused.value)
    (ws.root / "encoders" / "canaries" / "blip2.json").unlink()  # as the sentence says: these weights are meant
    embed(ws)
    new = captions(ws)
    assert set(old["captioner_version"]).isdisjoint(new["captioner_version"])
    assert (sum(told), new.height) == (4, 2)
    assert sorted(ws.read(READER)["input_sha256"]) == sorted(
        hashlib.sha256(one.encode()).hexdigest() for one in new["caption"]
    )


def test_a_killed_run_keeps_the_captions_of_every_finished_shard(ws, told, monkeypatch):
    for number in range(3):
        night(ws, f"n{number}", {f"{number}": jpeg(number + 1)})

    class Killed(BaseException):
        pass

    real = Appender.append

    def append(self, name, part, rows):
        if name == "captions" and part.startswith("n2"):
            raise Killed
        real(self, name, part, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Appender, "append", append)
        with pytest.raises(Killed):
            embed(ws)
    assert captions(ws)["post_id"].to_list() == ["0", "1"]
    told.clear()
    embed(Workspace(ws.root))
    assert (sum(told), captions(ws).height) == (1, 3)


def test_a_worker_says_the_same(ws):
    night(ws, "n1", {"1": jpeg(1), "2": jpeg(2)})
    embed(ws, run_shards)
    by_worker = captions(ws)
    with ws.appending("embed") as appender:
        appender.drop("captions")
    embed(ws)
    assert captions(ws).equals(by_worker)


def test_a_forgotten_posts_caption_goes(ws):
    night(ws, "n1", {"1": jpeg(1), "2": jpeg(2)})
    embed(ws)
    kept = captions(ws).filter(pl.col("post_id") == "2")
    removed = forget(ws, "post", {"1"}, datetime(2026, 4, 1, tzinfo=UTC)).facts["rows_removed"]
    assert (removed["captions"], removed[READER]) == (1, 1)
    assert captions(ws).equals(kept)
    assert ws.read(READER)["post_id"].to_list() == ["2"]


def test_a_quarantined_picture_that_is_released_is_told_of_again(ws):
    night(ws, "n1", {"1": jpeg(1), "2": b"broken"})
    embed(ws)
    assert _release(ws, list(entries(ws, "embed"))) == 1
    assert captions(ws)["post_id"].to_list() == ["1"]
    embed(ws)
    assert captions(ws)["post_id"].to_list() == ["1", "2"]


def test_a_picture_stays_until_the_captioner_has_seen_it(ws):
    night(ws, "n1", {"1": jpeg(1), "2": jpeg(2)})
    embed(ws)
    with ws.appending("embed") as appender:
        appender.take_out("captions", pl.col("post_id") == "2")
    assert let_go(ws, datetime(2026, 5, 1, tzinfo=UTC).date()) == 1
    assert ws.keys("images")["post_id"].to_list() == ["2"]


def test_readers_of_captions_need_a_captioner(workspace):
    set_params(workspace.root / "params.yaml", {"embed.others": "[flickcast-tiny-caption]"})
    with pytest.raises(UserError, match=r"names flickcast-tiny-caption in embed.others, but no captioner"):
        embed(Workspace(workspace.root))
