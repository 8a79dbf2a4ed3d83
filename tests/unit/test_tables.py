"""The store: parts, manifests, and what a crash may leave behind."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from flickcast.errors import CheckError, UserError
from flickcast.tables import Parts, Store, publish, publish_json, publish_parquet

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


def counts(post_id: str, views: int = 1) -> pl.DataFrame:
    return pl.DataFrame({"post_id": [post_id], "observed_at": [MOMENT], "views": [views]})


def test_what_was_appended_is_read_back_with_every_column(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.appending("ingest") as appender:
        appender.append("observations", "night", counts("a"))
    assert store.read("observations").to_dicts() == [
        {"post_id": "a", "observed_at": MOMENT, "views": 1, "faves": None, "comments": None}
    ]


def test_nothing_counts_when_the_run_fails_and_the_next_run_removes_what_it_left(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.appending("ingest") as appender:
        appender.append("observations", "first", counts("a"))

    def fail_after_a_write() -> None:
        with store.appending("ingest") as appender:
            appender.append("observations", "second", counts("b"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_a_write()
    assert store.read("observations")["post_id"].to_list() == ["a"]
    with store.appending("ingest"):
        pass
    assert sorted(p.name for p in store.folder("observations").iterdir()) == ["about.txt", "first.parquet"]


def test_a_part_that_counts_is_never_rewritten(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.appending("ingest") as appender:
        appender.append("observations", "night", counts("a"))
    with pytest.raises(CheckError, match="night is stored already"), store.appending("ingest") as appender:
        appender.append("observations", "night", counts("b"))
    assert store.read("observations")["post_id"].to_list() == ["a"]


def test_a_damaged_part_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.appending("ingest") as appender:
        appender.append("observations", "night", counts("a"))
    path = store.folder("observations") / "night.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckError, match=r"night\.parquet is damaged"):
        Store(tmp_path).read("observations")
    with pytest.raises(CheckError, match=r"night\.parquet is damaged"):
        Store(tmp_path).read_part("observations", path, ["post_id"])


def test_data_without_its_manifest_is_not_taken_for_leftovers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.appending("ingest") as appender:
        appender.append("observations", "night", counts("a"))
    (tmp_path / "manifests" / "ingest.json").unlink()
    with pytest.raises(UserError, match="git checkout"), store.appending("ingest"):
        pass
    assert (store.folder("observations") / "night.parquet").exists()


def test_a_stage_refuses_to_start_where_its_history_is_gone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.appending("ingest") as appender:
        appender.append("observations", "night", counts("a"))
    (store.folder("observations") / "night.parquet").unlink()
    with pytest.raises(UserError, match="dvc pull"), store.appending("ingest"):
        pass


def test_a_dropped_table_is_empty_and_its_files_go_with_the_next_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.appending("ingest") as appender:
        appender.append("observations", "night", counts("a"))
    with store.appending("ingest") as appender:
        appender.drop("observations")
    assert store.read("observations").is_empty()
    with store.appending("ingest"):
        pass
    assert not list(store.folder("observations").glob("*.parquet"))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (counts("a", -1), "views"),
        (pl.concat([counts("a"), counts("a")]), "post_id"),
        (counts("a").with_columns(observed_at=pl.lit(datetime(1970, 1, 1, tzinfo=UTC))), "observed_at"),
        (counts("a").with_columns(post_id=pl.lit(None, pl.String)), "post_id"),
    ],
    ids=["negative count", "doubled key", "time before any service", "no id"],
)
def test_a_row_that_breaks_the_schema_is_refused_with_its_column(tmp_path: Path, rows: pl.DataFrame, said: str) -> None:
    with pytest.raises(CheckError, match=said), Store(tmp_path).appending("ingest") as appender:
        appender.append("observations", "night", rows)
    assert Store(tmp_path).read("observations").is_empty()


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path / "file", b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="space"):
        publish(tmp_path / "file", b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"old")]


def test_a_damaged_manifest_says_how_to_get_it_back(tmp_path: Path) -> None:
    publish(tmp_path / "manifests" / "ingest.json", b"{ha")
    with pytest.raises(UserError, match="git checkout"):
        Store(tmp_path).read("posts")


def test_a_reader_too_refuses_data_without_its_manifest(tmp_path: Path) -> None:
    with Store(tmp_path).appending("ingest") as appender:
        appender.append("observations", "night", counts("a"))
    (tmp_path / "manifests" / "ingest.json").unlink()
    with pytest.raises(UserError, match="git checkout"):
        Store(tmp_path).read("observations")


LABELS = pl.DataFrame({"post_id": ["a"], "popularity": [1.0], "matured_at": [MOMENT], "kind": ["observed"]})


def made(missing: list[str]) -> Parts:
    """The labels, as each of the missing parts."""
    return ((part, LABELS) for part in missing)


def test_a_derived_table_is_checked_and_holds_only_what_its_stage_wrote(tmp_path: Path) -> None:
    Store(tmp_path).refresh("labels", {"2026-03": "digest"}, made)
    path = tmp_path / "data" / "labels" / "2026-03-digest.parquet"
    (path.parent / "planted.parquet").write_bytes(path.read_bytes())
    assert Store(tmp_path).read("labels").height == 1
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckError, match=r"2026-03-digest\.parquet is damaged"):
        Store(tmp_path).read("labels")


def test_a_derived_table_of_an_earlier_version_is_made_anew(tmp_path: Path) -> None:
    """Its listing does not say what its one part was made from (found 2026-11-22)."""
    folder = tmp_path / "data" / "labels"
    publish_json(folder / "parts.json", {"part.parquet": publish_parquet(folder / "part.parquet", LABELS)})
    store = Store(tmp_path)
    assert store.read("labels").height == 1
    assert store.refresh("labels", {"2026-03": "digest"}, made) == ["2026-03"]
    assert [path.name for path in folder.glob("*.parquet")] == ["2026-03-digest.parquet"]
    assert Store(tmp_path).read("labels").height == 1
    assert store.refresh("labels", {"2026-03": "digest"}, made) == [], "what it says now is enough the next time"


@pytest.mark.parametrize("content", ["[]", '{"stage": "ingest", "parts": null, "batches": {}}'])
def test_a_manifest_of_another_shape_is_damaged_too(tmp_path: Path, content: str) -> None:
    publish(tmp_path / "manifests" / "ingest.json", content.encode())
    with pytest.raises(UserError, match="is damaged"):
        Store(tmp_path).read("posts")


def test_a_part_outside_its_table_is_not_followed(tmp_path: Path) -> None:
    parts = {"posts": {"../../evil.parquet": {"rows": 1, "sha256": "0" * 64}}}
    publish(
        tmp_path / "manifests" / "ingest.json", json.dumps({"stage": "ingest", "parts": parts, "batches": {}}).encode()
    )
    with pytest.raises(UserError, match="is damaged"):
        Store(tmp_path).read("posts")


def three(*views: int) -> pl.DataFrame:
    return pl.concat([counts(post_id, number) for post_id, number in zip("abc", views, strict=True)])


def test_rows_taken_out_leave_the_others_as_they_were_in_a_part_of_another_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.appending("ingest") as appender:
        appender.append("observations", "first", three(1, 2, 3))
        appender.append("observations", "second", counts("d"))
    other = store.folder("observations") / "second.parquet"
    untouched = (other.stat().st_ino, other.stat().st_mtime_ns)
    with store.appending("ingest") as appender:
        assert appender.take_out("observations", pl.col("post_id") == "b") == 1
        assert store.read("observations").height == 4, "nothing counts before the end"
    assert [path.name for path in store.parts("observations")] == ["first~1.parquet", "second.parquet"]
    assert store.read("observations").select("post_id", "views").rows() == [("a", 1), ("c", 3), ("d", 1)]
    assert not (store.folder("observations") / "first.parquet").exists()
    assert (other.stat().st_ino, other.stat().st_mtime_ns) == untouched
    assert store.part_named("observations", "first") == store.folder("observations") / "first~1.parquet"


def test_rows_can_be_taken_out_again_and_again_until_the_part_is_gone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.appending("ingest") as appender:
        appender.append("observations", "night", three(1, 2, 3))
    for gone, left in (("a", ["night~1.parquet"]), ("b", ["night~2.parquet"]), ("c", [])):
        with store.appending("ingest") as appender:
            appender.take_out("observations", pl.col("post_id") == gone)
        assert [path.name for path in store.parts("observations")] == left
    assert "observations" not in store.manifest("ingest").parts
    assert store.part_named("observations", "night") is None
    assert store.read("observations").is_empty()


def test_a_damaged_part_is_not_written_again(tmp_path: Path) -> None:
    with Store(tmp_path).appending("ingest") as appender:
        appender.append("images", "night", pl.DataFrame({"post_id": ["a"], "sha256": ["0"], "bytes": [b"jpeg"]}))
    path = tmp_path / "data" / "images" / "night.parquet"
    good = path.read_bytes()
    path.write_bytes(good.replace(b"jpeg", b"jpog"))
    assert path.read_bytes() != good
    with pytest.raises(CheckError, match="is damaged"), Store(tmp_path).appending("ingest") as appender:
        appender.take_out("images", pl.col("post_id") == "a")
    assert path.exists()


def test_a_name_is_not_taken_again_before_what_had_it_counts_no_more(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.appending("ingest") as appender:
        appender.append("observations", "night", counts("a"))

    def take_out_and_write_again() -> None:
        with store.appending("ingest") as appender:
            appender.take_out("observations", pl.col("post_id") == "a")
            appender.append("observations", "night", counts("b"))

    with pytest.raises(CheckError, match="night is stored already"):
        take_out_and_write_again()
    assert store.read("observations")["post_id"].to_list() == ["a"]


def test_a_folder_may_be_named_like_a_pattern(tmp_path: Path) -> None:
    store = Store(tmp_path / "[a]*?")
    with store.appending("ingest") as appender:
        appender.append("observations", "night", three(1, 2, 3))
    with store.appending("ingest") as appender:
        appender.take_out("observations", pl.col("post_id") == "a")
    (part,) = store.parts("observations")
    assert store.read_part("observations", part, ("post_id",))["post_id"].to_list() == ["b", "c"]
