"""The stages as edges: what is stored once, what is never lost, and nights that know no label yet."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from feature_inputs import InMemory
from polars.testing import assert_frame_equal

from flickcast import stages
from flickcast.aggregates import ENTITIES
from flickcast.errors import UserError
from flickcast.records import Batch, PictureChunk, ReadPictures
from flickcast.schemas import TABLES
from flickcast.stages.inputs import Inputs, Stored
from flickcast.tables import Store
from flickcast.workspace import Workspace

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def batch(post_ids: Sequence[str], labels: Sequence[float] = ()) -> Batch:
    posts = pl.DataFrame({"post_id": post_ids}).with_columns(
        source=pl.lit("smpd-image"), user_id=pl.lit("u"), posted_at=pl.lit(MOMENT), first_seen_at=pl.lit(MOMENT)
    )
    known = pl.DataFrame({"post_id": post_ids[: len(labels)], "popularity": list(labels)})
    return Batch(
        source="smpd-image",
        posts=TABLES["posts"].conform(posts),
        users=TABLES["users"].empty(),
        found=len(post_ids),
        imported_labels=TABLES["imported_labels"].conform(known) if labels else TABLES["imported_labels"].empty(),
    )


def test_the_same_import_twice_is_one(workspace: Workspace) -> None:
    stages.import_batch(workspace, batch(["1", "2"]))
    before = workspace.manifest("ingest")
    stages.import_batch(workspace, batch(["2", "1"]))
    assert workspace.manifest("ingest") == before


def test_an_import_that_brings_pictures_for_known_posts_stores_them(workspace: Workspace) -> None:
    stages.import_batch(workspace, batch(["1"]))
    picture = PictureChunk(pl.DataFrame({"post_id": ["1"], "sha256": ["00"], "bytes": [b"jpeg"]}))
    report = stages.import_batch(workspace, replace(batch(["1"]), pictures=ReadPictures((picture,))))
    assert (report.facts["known"], report.facts["pictures"]) == (1, 1)
    assert workspace.read("images")["bytes"].to_list() == [b"jpeg"]


def test_another_label_for_a_known_post_is_told_and_not_taken(workspace: Workspace) -> None:
    stages.import_batch(workspace, batch(["1", "2"], [3.0, 4.0]))
    report = stages.import_batch(workspace, batch(["1", "2"], [3.0, 5.0]))
    assert report.notes == ("1 labels differ from those stored earlier, which are kept.",)
    assert workspace.read("imported_labels").sort("post_id")["popularity"].to_list() == [3.0, 4.0]


def test_a_night_without_a_known_label_ends_well_and_says_so(workspace: Workspace) -> None:
    workspace.set_night(date(2026, 3, 1))
    stages.store(workspace, batch([str(number) for number in range(40)]), "2026-03-01", MOMENT, part="2026-03-01")
    reports = {name: stage(workspace) for name, stage in stages.STAGES.items() if name != "ingest"}
    assert "No model tonight: 0 posts have a label" in reports["train"].notes[0]
    assert (reports["predict"].facts, reports["drift"].facts["verdict"]) == ({"predicted": 0}, "too few rows")
    for output in ("models", "metrics/train.json", "metrics/evaluation.json", "plots/importances.csv"):
        assert (workspace.root / output).exists(), f"DVC would miss {output}"


def test_without_nights_too_few_labels_are_the_users_mistake(workspace: Workspace) -> None:
    stages.import_batch(workspace, batch(["1", "2"], [3.0, 4.0]))
    stages.labels(workspace)
    with pytest.raises(UserError, match=r"2 posts have a label, train\.min_labelled .* asks for 50"):
        stages.train(workspace)


def test_predictions_of_posts_that_come_later_keep_the_earlier_ones(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fixed:
        name = "fixed"
        reads: tuple[str, ...] = ()

        def predict(self, matrix: pl.DataFrame, posts: pl.DataFrame, vectors: pl.DataFrame) -> pl.DataFrame:
            return matrix.select("post_id", prediction=pl.lit(1.0), low=pl.lit(0.0), high=pl.lit(2.0))

    monkeypatch.setattr("flickcast.models.load", lambda folder: Fixed())
    for post_ids in (["1", "2"], ["3"]):
        stages.import_batch(workspace, batch(post_ids))
        for stage in (stages.labels, stages.aggregate, stages.features, stages.predict, stages.predict):
            stage(workspace)
    assert sorted(workspace.read("predictions")["post_id"]) == ["1", "2", "3"]


def test_another_sources_post_with_a_known_id_is_refused(workspace: Workspace) -> None:
    stages.import_batch(workspace, batch(["1", "2"]))
    video = batch(["2", "3"])
    other = replace(video, source="smpd-video", posts=video.posts.with_columns(source=pl.lit("smpd-video")))
    with pytest.raises(UserError, match=r"Post 2 of smpd-video has the id of a post of smpd-image"):
        stages.import_batch(workspace, other)
    assert sorted(workspace.read("posts")["post_id"]) == ["1", "2"]


def test_labels_that_are_all_alike_teach_nothing(workspace: Workspace) -> None:
    stages.import_batch(workspace, batch([str(number) for number in range(60)], [5.0] * 60))
    stages.labels(workspace)
    with pytest.raises(UserError, match="all 60 labels are 5"):
        stages.train(workspace)


def asked(monkeypatch: pytest.MonkeyPatch, *methods: str) -> Counter[tuple[Any, ...]]:
    """How often each of the store's methods is called, and with what."""
    calls: Counter[tuple[Any, ...]] = Counter()

    def counted(method: str) -> Any:
        usual = getattr(Store, method)

        def call(store: Store, *arguments: Any) -> Any:
            calls[method, *(argument for argument in arguments if isinstance(argument, str | tuple | None))] += 1
            return usual(store, *arguments)

        return call

    for method in methods:
        monkeypatch.setattr(Store, method, counted(method))
    return calls


def test_the_matrix_asks_once_of_each_table_what_its_parts_are(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages.import_batch(workspace, batch(["1", "2"], [3.0, 4.0]))
    stages.labels(workspace)
    stages.aggregate(workspace)
    calls = asked(monkeypatch, "digests", "spans")
    assert stages.features(workspace).facts["made"] == 1
    assert {("digests", "posts"), ("spans", "posts", "posted_at")} <= set(calls)
    assert set(calls.values()) == {1}


@pytest.mark.parametrize("labels_are_others", [False, True])
def test_states_are_filtered_as_they_are_read_and_posts_are_read_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, labels_are_others: bool
) -> None:
    """Of a night's history; and those of the training labels, with which a model is judged."""
    new = batch([str(number) for number in range(9)], [float(number) for number in range(8)])
    users = new.posts.with_columns(
        user_id=pl.concat_str(pl.lit("u"), pl.col("post_id").cast(pl.Int64) % 3), tags=pl.lit(["a"])
    )
    early = MOMENT.replace(year=2025)
    dated = users.with_columns(
        pl.when(pl.col("post_id") == "8").then("posted_at").otherwise(pl.lit(early)).alias("posted_at")
    )
    stages.import_batch(workspace, replace(new, posts=dated.with_columns(first_seen_at="posted_at")))
    stages.labels(workspace)
    stages.aggregate(workspace)
    posts, known = workspace.read("posts"), workspace.read("labels")
    labels = known.filter(pl.col("post_id") < "5") if labels_are_others else known
    calls = asked(monkeypatch, "scan", "read_parts")
    wanted = posts.filter(pl.col("post_id") == "8")
    read = Inputs(Stored(workspace, labels if labels_are_others else None), wanted, "point_in_time")
    memory = Inputs(InMemory(posts, labels=labels), wanted, "point_in_time")
    for name in ENTITIES:
        assert_frame_equal(read[f"{name}_states"], memory[f"{name}_states"], check_exact=True)
    assert read["world_states"]["popularity_count"].item() == labels.height
    of_posts = [call for call in calls.elements() if call[1] == "posts"]
    assert len(of_posts) == labels_are_others
    assert all(columns for *_, columns in of_posts), "only the columns that are needed"
    assert not [call for call in calls if call[0] == "read_parts"], "nothing is loaded whole"
