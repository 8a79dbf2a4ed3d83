"""Retention: the service's pictures go once every encoder has seen them, none before, whenever the process dies."""

import errno
import shutil
from datetime import date
from pathlib import Path

import httpx
import polars as pl
import pytest
from disk_writes import DURABLE, Died, Trouble, death, disk_writes, refusal
from embeddable import filled
from simulated_nights import Nights, simulated_nights

from flickcast import stages
from flickcast.embeddings.names import PARTS
from flickcast.simulate.world import WorldParams
from flickcast.stages.embedding import plan_of_embedding
from flickcast.stages.retention import let_go, to_fetch_again
from flickcast.workspace import Workspace, set_params

NIGHT = date(2026, 1, 10)
ANOTHER = "[statistics-picture]"
SMALL = WorldParams(seed=3, users=40, posts_per_day=12, start=date(2026, 1, 1))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of four days, all embedded by the pair."""
    root = filled(tmp_path_factory.mktemp("retention") / "ws")
    stages.embed(Workspace(root))
    return root


@pytest.fixture
def root(embedded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(embedded, tmp_path / "ws"))


def pictures(root: Path) -> set[str]:
    return set(Workspace(root).keys("images")["post_id"])


def test_pictures_go_when_every_encoder_has_seen_them_and_their_hashes_stay(root):
    before = Workspace(root).read("images").drop("bytes").sort("post_id")
    vectors = Workspace(root).vectors()
    assert let_go(Workspace(root), NIGHT) == 20
    assert pictures(root) == set()
    assert not list((root / "data/images").glob("*.parquet"))
    assert Workspace(root).read("dropped_images").sort("post_id").equals(before)
    assert Workspace(root).vectors().equals(vectors)
    assert let_go(Workspace(root), NIGHT) == 0
    report = stages.embed(Workspace(root))
    assert report.facts["embedded"] == 0
    assert [note for note in report.notes if not note.startswith("lsa-text is left out")] == []


@pytest.mark.parametrize("end", ["text", *PARTS])
def test_what_reads_no_picture_wants_none_again(root, end):
    """Encoders of titles and of tags had all pictures fetched again."""
    let_go(Workspace(root), NIGHT)
    assert to_fetch_again(Workspace(root), f"another-{end}").to_list() == []


@pytest.mark.parametrize("name", ["statistics-picture", "vilt-both", "blip2"])
def test_what_reads_pictures_wants_those_that_went(root, name):
    let_go(Workspace(root), NIGHT)
    assert to_fetch_again(Workspace(root), name).len() == 20


@pytest.mark.parametrize(("days", "left"), [("null", 20), ("100", 20), ("9", 10), ("0", 0)])
def test_keep_days_counts_from_when_a_post_was_first_seen(root, days, left):
    set_params(root / "params.yaml", {"images.keep_days": days})
    let_go(Workspace(root), NIGHT)
    assert len(pictures(root)) == left


def test_a_picture_that_an_encoder_lacks_stays(root):
    with Workspace(root).appending("embed") as appender:
        appender.take_out("embeddings/flickcast-tiny-picture", pl.col("post_id") == "2-3")
    assert let_go(Workspace(root), NIGHT) == 19
    assert pictures(root) == {"2-3"}


@pytest.mark.parametrize(
    "change", [{"embed.others": ANOTHER}, {"embed.number_type": "bfloat16"}, {"embed.weights": "{a-picture: b}"}]
)
def test_none_goes_before_embed_has_finished_with_the_parameters_of_now(root, change):
    set_params(root / "params.yaml", change)
    assert let_go(Workspace(root), NIGHT) == 0
    assert len(pictures(root)) == 20


def test_none_goes_where_nothing_was_ever_embedded(tmp_path):
    assert let_go(Workspace(filled(tmp_path / "ws")), NIGHT) == 0


def test_imported_pictures_are_the_users_own_and_stay(root):
    path = next((root / "data/posts").glob("*01.parquet"))
    ws = Workspace(root)
    ids = ws.read_part("posts", path, ("post_id",))["post_id"].to_list()
    imported = pl.read_parquet(path).with_columns(source=pl.lit("smpd-image"))
    with ws.appending("ingest") as appender:
        appender.take_out("posts", pl.col("post_id").is_in(ids))
        appender.append("posts", "imported", imported)
    assert let_go(Workspace(root), NIGHT) == 15
    assert pictures(root) == set(ids)


@pytest.mark.parametrize("trouble", [death(), death(torn=True), refusal(errno.ENOSPC)], ids=["death", "torn", "full"])
def test_whichever_write_stops_it_each_picture_is_here_or_among_the_dropped(
    root: Path, tmp_path: Path, trouble: Trouble
) -> None:
    set_params(root / "params.yaml", {"images.keep_days": "9"})
    with Workspace(root).appending("embed") as appender:  # one part is written anew, another goes whole
        appender.take_out("embeddings/flickcast-tiny-picture", pl.col("post_id") == "0-3")
    clean = Path(shutil.copytree(root, tmp_path / "clean"))
    with disk_writes(tmp_path, kinds=DURABLE) as writes:
        assert let_go(Workspace(clean), NIGHT) == 9
    expected = state(clean)
    assert len(writes) > 8
    for step in range(1, len(writes) + 1):
        stopped = Path(shutil.copytree(root, tmp_path / f"stopped-{step}"))
        with disk_writes(tmp_path, step=step, trouble=trouble, kinds=DURABLE), pytest.raises((Died, OSError)):
            let_go(Workspace(stopped), NIGHT)
        told = f"stopped at write {step}: {writes[step - 1]}"
        gone = set(Workspace(stopped).keys("dropped_images")["post_id"])
        assert len(gone) in (0, 9), told
        assert pictures(stopped) == {f"{night}-{one}" for night in range(4) for one in range(5)} - gone, told
        assert len(Workspace(stopped).read("images", ("bytes",))) == 20 - len(gone), told
        let_go(Workspace(stopped), NIGHT)
        assert state(stopped) == expected, told
        shutil.rmtree(stopped)


def state(root: Path) -> dict[str, bytes]:
    """The tables of ingest after its next run, and its manifest."""
    with Workspace(root).appending("ingest"):
        pass
    files = [*(root / "data").rglob("*.parquet"), root / "manifests" / "ingest.json"]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_a_new_encoder_says_what_it_costs_and_gets_its_pictures_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    values = {"pictures": "true", "following": "false"}
    with simulated_nights(tmp_path, SMALL, monkeypatch, **values) as nights:
        root = nights.ws.root
        nights.ingest(0)
        stages.embed(Workspace(root))
        first = Workspace(root).read("images").sort("post_id")
        report = nights.ingest(1)
        assert report.facts["pictures_dropped"] == first.height > 5
        stages.embed(Workspace(root))
        set_params(root / "params.yaml", {"embed.others": ANOTHER, "images.again_per_night": "4"})
        cost = f"statistics-picture has not seen {first.height} pictures that were deleted after embedding"
        assert cost in " ".join(plan_of_embedding(Workspace(root)).notes)
        stages.embed(Workspace(root))
        assert cost in " ".join(capfd.readouterr().err.split())
        asked = len(downloads(nights))
        again = nights.ingest(2)
        assert (again.facts["fetched_again"], again.facts["left_to_fetch"]) == (4, first.height - 4)
        assert len(downloads(nights)) - asked == again.facts["pictures"] + 4
        here = Workspace(root).read("images").join(first.select("post_id"), on="post_id", how="semi").sort("post_id")
        assert here.height == 4
        assert here.equals(first.join(here.select("post_id"), on="post_id", how="semi"))
        stages.embed(Workspace(root))
        assert set(here["post_id"]) <= set(Workspace(root).keys("embeddings/statistics-picture")["post_id"])
        number = 3
        while nights.ingest(number).facts.get("fetched_again"):
            stages.embed(Workspace(root))
            number += 1
        seen = Workspace(root).keys("embeddings/statistics-picture")
        assert seen.join(first.select("post_id"), on="post_id", how="semi").height == first.height
        assert nights.unaccounted() == set()


def downloads(nights: Nights) -> list:
    """Pictures that were asked for."""
    return list(httpx.get(f"{nights.address}/simulation/log", timeout=60).json()["pictures"])
