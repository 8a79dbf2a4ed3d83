"""The stages as edges: what is stored once, what is never lost, and nights that know no label yet."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

import polars as pl
import pytest

from flickcast import stages
from flickcast.errors import UserError
from flickcast.records import Batch, PictureChunk, ReadPictures
from flickcast.schemas import TABLES
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
