"""Forgotten means forgotten: no byte of it stays but its tombstone, others keep theirs, and it does not come back."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from challenge_files import jpeg

from flickcast import stages
from flickcast.aggregates import ENTITIES
from flickcast.records import Batch, PictureChunk, ReadPictures, Rejected, mentioned, quarantine_record, quarantine_rows
from flickcast.schemas import TABLES
from flickcast.stages.forgetting import forget
from flickcast.workspace import Workspace

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 3, 20, tzinfo=UTC)
CANARY, OTHER = "31415926@N00", "27182818@N01"
CANARY_POSTS, OTHER_POSTS = ("70001", "70002"), ("80001", "80002")
CANARY_TEXTS = ("canarytitle", "canarytag", "canarywords", *CANARY_POSTS, CANARY)
Run = Callable[..., Any]


def photo(post_id: str | None, owner: str | None, title: str) -> bytes:
    return json.dumps(
        {"photo": {"id": post_id, "owner": owner, "title": title}, "seen_at": MOMENT.isoformat()}
    ).encode()


def post(post_id: str, user_id: str) -> dict[str, Any]:
    words = "canary" if user_id == CANARY else "other"
    return {
        "post_id": post_id,
        "source": "flickr",
        "user_id": user_id,
        "posted_at": MOMENT,
        "first_seen_at": MOMENT,
        "title": f"{words}title",
        "description": f"{words}words",
        "tags": [f"{words}tag"],
    }


def picture(post_id: str) -> dict[str, Any]:
    return {"post_id": post_id, "sha256": post_id, "bytes": jpeg(int(post_id) % 250)}


def unusable_picture(post_id: str) -> Rejected:
    held = b"canarywords" if post_id in CANARY_POSTS else b"otherwords"
    return Rejected(quarantine_record(post_id, "place", held), f"picture of post {post_id} is broken")


def table(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return TABLES[name].conform(pl.DataFrame(rows, schema_overrides=_dtypes(name, rows)))


def _dtypes(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: dtype for key, dtype in TABLES[name].dtypes().items() if key in rows[0]}


def batch() -> Batch:
    """Two posts of the canary and two of another user in every table, and rejected records of both."""
    ids = [*CANARY_POSTS, *OTHER_POSTS]
    owners = dict.fromkeys(CANARY_POSTS, CANARY) | dict.fromkeys(OTHER_POSTS, OTHER)
    broken = [unusable_picture(one) for one in ids]
    return Batch(
        source="flickr",
        posts=table("posts", [post(one, owners[one]) for one in ids]),
        users=table("users", [{"user_id": one, "observed_at": MOMENT, "photo_count": 3} for one in (CANARY, OTHER)]),
        observations=table("observations", [{"post_id": one, "observed_at": LATER, "views": 9} for one in ids]),
        imported_labels=table("imported_labels", [{"post_id": one, "popularity": 3.0} for one in ids]),
        oracle=table("oracle", [{"post_id": one, "oracle": 3.0} for one in ids]),
        found=len(ids) + 4,
        rejected=(
            Rejected(photo("70003", CANARY, "canarytitle"), "no time of posting"),
            Rejected(photo("80003", OTHER, "othertitle"), "no time of posting"),
            Rejected(json.dumps({"Pid": "70004", "Uid": CANARY, "Title": "canarytitle"}).encode(), "no user"),
            Rejected(b'{"id": "70001", "title": "canarytitle" cut', "no JSON"),
        ),
        pictures=ReadPictures((PictureChunk(table("images", [picture(one) for one in ids]), (broken[0], broken[2])),)),
    )


@pytest.fixture
def filled(workspace: Workspace) -> Workspace:
    """Every table has rows of both users, and files that a night leaves behind name them."""
    stages.store(workspace, batch(), "2026-03-01", MOMENT, part="2026-03-01")
    for stage in (stages.embed, stages.labels, stages.aggregate, stages.features):
        stage(workspace)
    predictions = {"model": "m", "prediction": 1.0, "low": 0.0, "high": 2.0, "predicted_at": LATER}
    broken = [unusable_picture(one) for one in ("70002", "80002")]
    with workspace.appending("predict") as appender:
        ids = (*CANARY_POSTS, *OTHER_POSTS)
        appender.append("predictions", "night", table("predictions", [{"post_id": one, **predictions} for one in ids]))
    with workspace.appending("embed") as appender:
        appender.append("quarantine/embed", "night", quarantine_rows("embed", "images", broken, MOMENT))
    for name in (
        ".flickcast/ingest/2026-03-02/000.jsonl",
        ".flickcast/logs/ingest.log",
        ".flickcast/reports/ingest.json",
        "plots/predictions.csv",
    ):
        path = workspace.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"picture of post 70001: https://live.staticflickr.com/1/70001_c0ffee_z.jpg,{CANARY},canarytitle"
        )
    (workspace.root / ".flickcast" / "logs" / "embed.log").write_text("700011 and a70001")
    return workspace


def content(root: Path) -> dict[str, bytes]:
    """Every file of a workspace by its place; of a Parquet file what it holds, without compression."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            packed = path.suffix == ".parquet"
            found[str(path.relative_to(root))] = (
                repr(pl.read_parquet(path).to_dicts()).encode() if packed else path.read_bytes()
            )
    return found


def hits(root: Path) -> list[tuple[str, str]]:
    """Where a word of the canary stands, tombstones and names of files included."""
    return [
        (place, word)
        for place, held in content(root).items()
        for word in CANARY_TEXTS
        if word.encode() in held.replace(b"700011 and a70001", b"") or word in place
    ]


def test_the_search_finds_the_canary_before(filled: Workspace) -> None:
    found = {place.rsplit("/", 1)[0] for place, _ in hits(filled.root)}
    everywhere = {f"data/{name}" for name in ("posts", "users", "observations", "imported_labels", "images", "oracle")}
    everywhere |= {"data/quarantine/ingest", "data/quarantine/embed"}
    everywhere |= {f"data/embeddings/flickcast-tiny-{half}" for half in ("picture", "text")}
    everywhere |= {"data/predictions", "data/labels", "data/features", "plots"}
    everywhere |= {"data/aggregates/users", "data/aggregates/tags"}
    assert everywhere <= found


def test_nothing_of_a_forgotten_user_stays_but_the_tombstones(filled: Workspace) -> None:
    report = forget(filled, "user", {CANARY}, LATER)
    assert {place.rsplit("/", 1)[0] for place, _ in hits(filled.root)} == {"data/tombstones"}
    tombstones = filled.read("tombstones")
    assert set(tombstones.select("kind", "id").iter_rows()) == {
        ("user", CANARY),
        *(("post", one) for one in (*CANARY_POSTS, "70003", "70004")),
    }
    assert set(tombstones["reason"]) == {"forgotten"}
    assert report.facts["rows_removed"] == {
        "posts": 2, "users": 1, "observations": 2, "imported_labels": 2, "images": 2, "oracle": 2,
        "quarantine/ingest": 4, "quarantine/embed": 1, "embeddings/flickcast-tiny-picture": 2,
        "embeddings/flickcast-tiny-text": 2, "predictions": 2,
    }  # fmt: skip
    assert (filled.root / ".flickcast" / "logs" / "embed.log").exists(), "another id that contains this one"


def _model(ws: Workspace) -> Path:
    """What a training leaves behind, of which only the place matters."""
    path = ws.root / "models" / "champion" / "final" / "1-arrays.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"rows of everyone")
    return path


def test_models_that_learned_from_a_forgotten_user_are_deleted(flickcast: Run, filled: Workspace) -> None:
    """Reductions keep row by row what they learnt from: labels, vectors and tags of the forgotten stayed in them."""
    model = _model(filled)
    report = forget(filled, "user", {CANARY}, LATER)
    assert not model.parent.exists()
    assert "models/champion/final" in report.facts["files_removed"]
    assert "The next night trains anew" in report.notes[0]
    refused = flickcast("predict", "-w", filled.root)
    assert (refused.code, "Train one" in refused.err) == (2, True)


def test_models_that_never_met_them_stay(filled: Workspace) -> None:
    forget(filled, "user", {CANARY}, LATER)
    model = _model(filled)
    for user in (CANARY, "nobody"):
        assert forget(filled, "user", {user}, LATER, even_if_unknown=True).notes == ()
    assert model.exists()


def test_what_is_others_is_as_it_was(filled: Workspace) -> None:
    listed = [name for stage in ("ingest", "embed", "predict") for name in filled.manifest(stage).parts]
    names = [name for name in listed if "post_id" in filled.read(name).columns]
    before = {name: filled.read(name).filter(pl.col("post_id").is_in(OTHER_POSTS)) for name in names}
    forget(filled, "user", {CANARY}, LATER)
    for name, rows in before.items():
        assert rows.height == 2, name
        assert filled.read(name).equals(rows), name
    assert filled.read("users")["user_id"].to_list() == [OTHER]
    assert filled.read("features")["post_id"].to_list() == [*OTHER_POSTS]


def test_a_forgotten_post_leaves_its_users_other_posts_and_counts_them_anew(filled: Workspace) -> None:
    forget(filled, "post", {"70001"}, LATER)
    assert filled.read("posts")["post_id"].to_list() == ["70002", *OTHER_POSTS]
    states = filled.read("aggregates/users").filter(pl.col("entity_id") == CANARY)
    assert (states["posts"].sum(), states["popularity_count"].sum()) == (1, 1)
    assert filled.read("aggregates/world")["posts"].sum() == 3


def test_the_last_post_of_a_workspace_can_be_forgotten(filled: Workspace) -> None:
    forget(filled, "user", {CANARY, OTHER}, LATER)
    for name in ("posts", "labels", *(f"aggregates/{entity}" for entity in ENTITIES), "features", "images"):
        assert filled.read(name).is_empty(), name
    assert not list(filled.folder("posts").glob("*.parquet"))


def test_forgotten_again_is_nothing_to_do(flickcast: Run, filled: Workspace) -> None:
    assert flickcast("forget", "user", CANARY, "-w", filled.root).code == 0
    before = content(filled.root / "data") | content(filled.root / "manifests")
    again = flickcast("forget", "user", CANARY, "-w", filled.root, "--json")
    assert (again.code, json.loads(again.out)["rows_removed"]) == (0, {})
    assert content(filled.root / "data") | content(filled.root / "manifests") == before


@pytest.mark.parametrize(("answer", "code", "left"), [("n\n", 1, 4), ("y\n", 0, 2)])
def test_on_a_terminal_it_asks_first(
    flickcast: Run, filled: Workspace, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, left: int
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(answer))
    asked = flickcast("forget", "user", CANARY, "-w", filled.root)
    assert (asked.code, filled.read("posts").height) == (code, left)
    assert "2 stored posts" in asked.err


def test_a_night_that_runs_is_not_disturbed(flickcast: Run, filled: Workspace) -> None:
    with filled.night_lock():
        refused = flickcast("forget", "user", CANARY, "-w", filled.root)
    assert (refused.code, "a night is running" in refused.err) == (75, True)
    assert filled.read("posts").height == 4


def test_a_batch_is_freed_of_who_is_forgotten(filled: Workspace) -> None:
    forget(filled, "user", {CANARY}, LATER)
    freed, count = filled.forgotten().without(batch())
    assert count == 2 + 3  # of the rejected records all but the other user's
    assert freed.found == freed.posts.height + len(freed.rejected) == batch().found - count
    for name in ("posts", "observations", "imported_labels", "oracle"):
        assert set(getattr(freed, name)["post_id"]) == set(OTHER_POSTS), name
    assert freed.users["user_id"].to_list() == [OTHER]
    (chunk,) = freed.pictures
    assert chunk.images["post_id"].to_list() == [*OTHER_POSTS]
    assert [one.reason for one in chunk.rejected] == ["picture of post 80001 is broken"]


@pytest.mark.parametrize("identifier", ["../../x", "a\x1b[31mb", "[bold]x[/bold]", "nobody", "*"])
def test_an_unknown_id_is_refused_in_one_harmless_sentence(
    flickcast: Run, filled: Workspace, tmp_path: Path, identifier: str
) -> None:
    before = content(tmp_path)
    for kind in ("post", "user"):
        done = flickcast("forget", kind, identifier, "-w", filled.root)
        assert done.code == 2
        assert "Nothing is stored of the" in done.err
        assert "--even-if-unknown" in done.err
        assert "\x1b" not in done.err
        assert len(done.err.splitlines()) == 1
    assert {place: held for place, held in content(tmp_path).items() if "lock" not in place} == before


@pytest.mark.parametrize("identifier", ["", " 1", "\udcff"])
def test_what_is_no_id_is_refused(flickcast: Run, filled: Workspace, identifier: str) -> None:
    done = flickcast("forget", "post", "--even-if-unknown", "-w", filled.root, "--", identifier)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert filled.read("tombstones").is_empty()


def test_an_id_of_signs_only_takes_no_report_with_it(flickcast: Run, filled: Workspace) -> None:
    """`forget user '['` deleted every log, report and plot that had a bracket in it."""
    report = filled.root / "plots" / "other.json"
    report.write_text('{"a":["b", "c"]}')
    before = content(filled.root / "plots") | content(filled.state_folder / "logs")
    assert flickcast("forget", "user", "[", "]", ":", ",", "--even-if-unknown", "-w", filled.root).code == 0
    assert content(filled.root / "plots") | content(filled.state_folder / "logs") == before


@pytest.mark.parametrize(
    ("identifier", "text", "stands_in"),
    [
        ("VID-12", "of VID-12.", True),
        ("VID-12", "of VID-123", False),
        ("VID-12", "XVID-12", False),
        ("VID_12", "/VID_12_z.jpg", True),
        ("Ñandú", "by Ñandú, Ñandúes", True),
        ("Ñandú", "by Ñandúes", False),
        ("Ñandú", json.dumps({"user": "Ñandú"}), True),
        ("日本", "日本語", False),
        ("🦊", json.dumps(["🦊"]), True),
        ("a.b@c", "a.b@c", True),
        ("*", "5 * 7", False),
        ("a|b", "a or b", False),
    ],
)
def test_an_id_is_found_whole_or_not_at_all(identifier: str, text: str, stands_in: bool) -> None:
    assert mentioned(text.encode(), {identifier}) == ({identifier} if stands_in else set())


def test_hostile_ids_can_be_forgotten_and_stay_inside(flickcast: Run, filled: Workspace, tmp_path: Path) -> None:
    hostile = ["../../x", "a\x1b[31mb", "-rf", "x" * 5000]
    before = set(content(tmp_path))
    done = flickcast("forget", "user", "--even-if-unknown", "-w", filled.root, "--", *hostile)
    assert (done.code, "\x1b" in done.out + done.err) == (0, False)
    assert filled.forgotten().user_ids == set(hostile)
    new = set(content(tmp_path)) - before
    assert all(place.startswith(("workspace/data/", "workspace/manifests/", "workspace/.flickcast/")) for place in new)
