"""The stage `embed`: each input once, a table per encoder, what is kept when it is killed."""

import hashlib
import io
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from flickcast.cli.stages import run_stage
from flickcast.embeddings import encoders
from flickcast.errors import CheckError
from flickcast.schemas import TABLES
from flickcast.stages import embed
from flickcast.stages.embedding import fit, plan_of_embedding, run_shards
from flickcast.workspace import Workspace, set_params

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)
PICTURE, TEXT = "flickcast-tiny-picture", "flickcast-tiny-text"


def jpeg(seed: int, size: tuple[int, int] = (60, 80)) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def night(ws: Workspace, part: str, pictures: dict[str, bytes | None], title: str = "title of {}") -> None:
    """Posts, each with its picture (None: without one), as a night stores them."""
    posts = pl.DataFrame({"post_id": list(pictures), "title": [title.format(one) for one in pictures]}).with_columns(
        source=pl.lit("flickr"), user_id=pl.lit("u"), posted_at=pl.lit(MOMENT), first_seen_at=pl.lit(MOMENT)
    )
    there = {key: content for key, content in pictures.items() if content is not None}
    sums = [hashlib.sha256(content).hexdigest() for content in there.values()]
    images = pl.DataFrame({"post_id": list(there), "sha256": sums, "bytes": list(there.values())})
    with ws.appending("ingest") as appender:
        appender.append("posts", part, TABLES["posts"].conform(posts))
        if there:
            appender.append("images", f"{part}-0000", TABLES["images"].conform(images))


def table(ws: Workspace, name: str) -> pl.DataFrame:
    return ws.read(f"embeddings/{name}").sort("post_id")


def test_pictures_and_texts_are_two_tables_and_a_text_needs_no_picture(workspace: Workspace) -> None:
    night(workspace, "n1", {"1": jpeg(1), "2": None, "3": b"broken"})
    facts = embed(workspace).facts
    assert (facts["pictures"], facts["embedded"], facts["quarantined"]) == (2, 4, 1)
    assert table(workspace, PICTURE)["post_id"].to_list() == ["1", "3"]
    assert table(workspace, TEXT)["post_id"].to_list() == ["1", "2", "3"]
    vectors = workspace.vectors()
    assert vectors.select("post_id", pl.col("picture", "text").is_null()).rows() == [
        ("1", False, False), ("2", True, False), ("3", True, False),
    ]  # fmt: skip
    ids, matrix = workspace.matrix(TEXT)
    assert (sorted(ids), matrix.shape, matrix.dtype) == (["1", "2", "3"], (3, 64), np.float16)


def test_a_second_run_computes_nothing_and_a_new_night_only_what_is_new(
    workspace: Workspace, encoded: dict[str, int]
) -> None:
    night(workspace, "n1", {str(number): jpeg(number) for number in range(30)})
    embed(workspace)
    assert encoded == {PICTURE: 5 + 30, TEXT: 5 + 30}
    before = workspace.manifest("embed")
    encoded.clear()
    assert embed(workspace).facts["embedded"] == 0
    assert encoded == {PICTURE: 5, TEXT: 5}
    assert workspace.manifest("embed") == before
    night(workspace, "n2", {str(number): jpeg(number) for number in range(100, 103)})
    encoded.clear()
    assert embed(workspace).facts["encoders"][PICTURE]["known"] == 30
    assert encoded == {PICTURE: 5 + 3, TEXT: 5 + 3}


def bytes_of_column(part: Path, name: str) -> slice:
    column = next(
        one
        for number in range(pq.read_metadata(part).num_columns)
        if (one := pq.read_metadata(part).row_group(0).column(number)).path_in_schema.startswith(name)
    )
    start = column.dictionary_page_offset or column.data_page_offset
    return slice(start, start + column.total_compressed_size)


def damage(part: Path, column: str) -> None:
    """Zeros in place of the column's bytes, which no reader would take for its values."""
    content, where = bytearray(part.read_bytes()), bytes_of_column(part, column)
    content[where] = bytes(where.stop - where.start)
    part.write_bytes(content)


def flip_a_bit(ws: Workspace, name: str, column: str) -> None:
    """In the table's only part, so that one value is another one, and the file can still be read."""
    (part,) = ws.parts(name)
    before, content = pq.read_table(part, columns=[column])[column].to_pylist(), part.read_bytes()
    where = bytes_of_column(part, column)
    for place in range(where.start, where.stop):
        part.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with suppress(OSError, ValueError, pa.ArrowException):  # polars aborts at some, with the whole process
            after = pq.read_table(part, columns=[column])[column].to_pylist()
            if len(after) == len(before) and after != before and None not in after:
                return
    raise AssertionError("no flip gives another value")


def test_where_nothing_is_missing_no_vector_is_read(workspace: Workspace) -> None:
    night(workspace, "n1", {"1": jpeg(1), "2": jpeg(2)})
    embed(workspace)
    tables = [f"embeddings/{name}" for name in (PICTURE, TEXT)]
    for name in tables:
        damage(*workspace.parts(name), "vector")
    assert embed(Workspace(workspace.root)).facts["embedded"] == 0
    for name in tables:
        with pytest.raises(CheckError, match="is damaged"):
            Workspace(workspace.root).vectors_of(name)
        with pytest.raises(CheckError, match="is damaged"):
            Workspace(workspace.root).read(name)


@pytest.mark.parametrize("new_night", [False, True])
@pytest.mark.parametrize(
    ("name", "column"),
    [
        (f"embeddings/{PICTURE}", "post_id"),
        (f"embeddings/{PICTURE}", "encoder_version"),
        (f"embeddings/{TEXT}", "encoder_version"),
        (f"embeddings/{PICTURE}", "input_sha256"),
        ("images", "post_id"),
    ],
)
def test_a_flipped_bit_in_a_key_drops_nothing_and_adds_nothing(
    workspace: Workspace, name: str, column: str, new_night: bool
) -> None:
    night(workspace, "n1", {"1": jpeg(1), "2": jpeg(2)})
    embed(workspace)
    flip_a_bit(workspace, name, column)
    ws = Workspace(workspace.root)
    made = name if name != "images" else f"embeddings/{PICTURE}"
    before = ws.manifest("embed").parts[made]
    if column == "input_sha256" and not new_night:
        assert embed(ws).facts["embedded"] == 0, "nothing is missing, so nothing goes by it"
        return
    if new_night:
        night(ws, "n2", {"8": jpeg(1)})
    with pytest.raises(CheckError, match=r"is damaged.*dvc checkout"):
        embed(ws)
    assert ws.manifest("embed").parts[made] == before


@pytest.mark.parametrize("column", ["post_id", "encoder_version"])
def test_keys_that_cannot_be_read_are_one_sentence_that_names_the_part(workspace: Workspace, column: str) -> None:
    night(workspace, "n1", {"1": jpeg(1)})
    embed(workspace)
    (part,) = workspace.parts(f"embeddings/{PICTURE}")
    damage(part, column)
    with pytest.raises(CheckError, match=f"{part.name} is damaged"):
        run_stage("embed", workspace.root, as_json=True)


@pytest.mark.parametrize("length", [0, 1, 1000])
def test_a_part_of_vectors_that_is_cut_off_is_refused_though_only_its_keys_are_wanted(
    workspace: Workspace, length: int
) -> None:
    night(workspace, "n1", {"1": jpeg(1)})
    embed(workspace)
    (part,) = workspace.parts(f"embeddings/{PICTURE}")
    part.write_bytes(part.read_bytes()[:length])
    with pytest.raises(CheckError, match="is damaged"):
        embed(Workspace(workspace.root))


def test_the_same_picture_or_text_is_encoded_once_in_a_shard_in_a_run_and_in_later_runs(
    workspace: Workspace, encoded: dict[str, int]
) -> None:
    night(workspace, "n1", {"1": jpeg(1), "2": jpeg(1)}, title="same")
    night(workspace, "n2", {"3": jpeg(1), "4": jpeg(4)}, title="same")
    embed(workspace)
    assert encoded == {PICTURE: 5 + 2, TEXT: 5 + 1}
    night(workspace, "n3", {"5": jpeg(4)}, title="same")
    encoded.clear()
    embed(workspace)
    assert encoded == {PICTURE: 5, TEXT: 5}
    vectors = table(workspace, PICTURE)["vector"].to_list()
    assert vectors[0] == vectors[1] == vectors[2] != vectors[3] == vectors[4]


def test_a_post_whose_picture_comes_later_gets_its_vector_then(workspace: Workspace) -> None:
    night(workspace, "n1", {"1": jpeg(1), "2": None})
    embed(workspace)
    late = pl.DataFrame({"post_id": ["2"], "sha256": ["00"], "bytes": [jpeg(2)]})
    with workspace.appending("ingest") as appender:
        appender.append("images", "late", TABLES["images"].conform(late))
    assert embed(workspace).facts["embedded"] == 1
    assert workspace.vectors()["picture"].null_count() == 0


def test_vectors_of_another_version_are_dropped_and_made_anew(workspace: Workspace) -> None:
    night(workspace, "n1", {"1": jpeg(1), "2": jpeg(2)})
    embed(workspace)
    old = table(workspace, PICTURE)["encoder_version"][0]
    set_params(workspace.root / "params.yaml", {"embed.number_type": "bfloat16"})
    ws = Workspace(workspace.root)
    report = embed(ws)
    assert report.facts["embedded"] == 4
    assert [note.partition(":")[0] for note in report.notes if note.startswith("flickcast")] == [
        f"{name} is another version than that of its 2 stored rows" for name in (PICTURE, TEXT)
    ]
    assert not [note for note in embed(ws).notes if "another version" in note]
    assert old not in set(table(ws, PICTURE)["encoder_version"])
    assert table(ws, PICTURE).height == 2


def test_weights_that_were_replaced_are_refused_until_they_are_accepted(workspace: Workspace) -> None:
    tensors = load_file(Path(encoders.__file__).parent / "weights" / "flickcast-tiny.safetensors")
    mine = workspace.root / "mine.safetensors"
    save_file(tensors | {"logit_scale": tensors["logit_scale"] + 1}, mine)
    set_params(workspace.root / "params.yaml", {"embed.pretrained": mine.name})
    night(workspace, "n1", {"1": jpeg(1), "2": jpeg(2)})
    embed(Workspace(workspace.root))
    before = workspace.manifest("embed").parts
    save_file(tensors | {"logit_scale": tensors["logit_scale"] + 2}, mine)
    ws = Workspace(workspace.root)
    with pytest.raises(CheckError, match=rf"other weights here .*\(mine\.safetensors\).* delete .*{PICTURE}\.json"):
        embed(ws)
    assert ws.manifest("embed").parts == before
    for name in (PICTURE, TEXT):
        (ws.root / "encoders" / "canaries" / f"{name}.json").unlink()
    report = embed(ws)
    assert report.facts["embedded"] == 4
    assert len([note for note in report.notes if "made anew" in note]) == 2


def test_a_killed_run_keeps_every_finished_shard_and_ends_with_the_same_table(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, encoded: dict[str, int]
) -> None:
    for number in range(4):
        night(workspace, f"n{number}", {f"{number}{one}": jpeg(10 * number + one) for one in range(3)})

    class Killed(BaseException):
        pass

    def die_at_third(real: Callable[..., Any]) -> Callable[..., Any]:
        calls: list[str] = []

        def rows(*arguments: Any) -> Any:
            calls.append("")
            if len(calls) == 3:
                raise Killed
            return real(*arguments)

        return rows

    from flickcast.embeddings import step

    with monkeypatch.context() as patch:
        patch.setattr(step, "rows", die_at_third(step.rows))
        with pytest.raises(Killed):
            embed(workspace)
    assert table(workspace, PICTURE).height == 6
    encoded.clear()
    embed(Workspace(workspace.root))
    assert encoded[PICTURE] == 5 + 6
    resumed = {name: table(workspace, name) for name in (PICTURE, TEXT)}
    with workspace.appending("embed") as appender:
        for name in (PICTURE, TEXT):
            appender.drop(f"embeddings/{name}")
    embed(workspace)
    for name, rows in resumed.items():
        whole = table(workspace, name)
        assert whole.drop("vector").equals(rows.drop("vector"))
        steps = whole["vector"].to_numpy().astype(np.float32) - rows["vector"].to_numpy().astype(np.float32)
        assert np.abs(steps).max() <= 2.0**-11


def test_without_any_picture_the_pair_has_nothing_to_do_and_others_read_the_texts(workspace: Workspace) -> None:
    set_params(workspace.root / "params.yaml", {"embed.others": "[lsa-text, statistics-picture]"})
    ws = Workspace(workspace.root)
    night(ws, "n1", {"1": None})
    report = embed(ws)
    assert report.facts["embedded"] == 0
    assert report.notes[0] == "No pictures here: nothing to embed."
    assert report.notes[1].startswith("lsa-text is left out")
    night(ws, "n2", {f"p{number}": None for number in range(120)}, title="the sea and the sand {}")
    facts = embed(ws).facts["encoders"]
    assert list(facts) == ["lsa-text"]
    assert facts["lsa-text"]["embedded"] == 121


def test_an_encoder_of_texts_reads_title_and_tags_alone(workspace: Workspace) -> None:
    names = ("flickcast-tiny-title", "flickcast-tiny-tags", "lsa-title", "lsa-text")
    set_params(workspace.root / "params.yaml", {"embed.others": f"[{', '.join(names)}]"})
    ws = Workspace(workspace.root)
    night(ws, "n1", {f"p{number}": None for number in range(120)}, title="the sea and the sand {}")
    night(ws, "n2", {"1": jpeg(1)}, title="old mill")
    report = embed(ws)
    titles, tags = (table(ws, name) for name in names[:2])
    assert titles.filter(post_id="1")["input_sha256"].item() == hashlib.sha256(b"old mill").hexdigest()
    assert set(tags["input_sha256"]) == {hashlib.sha256(b"").hexdigest()}, "no post has any"
    assert table(ws, "lsa-title")["vector"].null_count() == 0
    assert (ws.root / "encoders/fitted/lsa-title/state.json").exists()
    assert report.facts["encoders"]["lsa-title"]["learned_from"] == 121
    assert embed(Workspace(ws.root)).facts["embedded"] == 0
    assert plan_of_embedding(ws).facts["lsa-title"] == {"posts": 0, "inputs": 0}


def test_a_learned_encoder_says_when_it_knows_little_of_the_corpus_and_learns_again_when_told(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flickcast.stages.embedding.MUCH_MORE", 2)
    night(workspace, "n1", {f"a{number}": None for number in range(110)}, title="the sea and the sand {}")
    assert not [note for note in embed(workspace).notes if "learned from" in note]
    before = table(workspace, "lsa-text")["encoder_version"].unique().item()
    night(workspace, "n2", {f"b{number}": None for number in range(110)}, title="the hill and the snow {}")
    (note,) = [note for note in embed(workspace).notes if "learned from" in note]
    assert note.startswith("lsa-text learned from 110 texts, and there are 220 now: `flickcast encoders fit lsa-text`")
    assert table(workspace, "lsa-text")["encoder_version"].unique().item() == before
    assert fit(workspace, "lsa-text") == 220
    assert embed(workspace).facts["encoders"]["lsa-text"]["embedded"] == 220
    assert table(workspace, "lsa-text")["encoder_version"].unique().item() != before
    assert embed(workspace).facts["embedded"] == 0


def test_further_encoders_have_tables_of_their_own(workspace: Workspace) -> None:
    set_params(workspace.root / "params.yaml", {"embed.others": "[statistics-picture]"})
    ws = Workspace(workspace.root)
    night(ws, "n1", {"1": jpeg(1), "2": b"broken"})
    report = embed(ws)
    assert report.facts["quarantined"] == 1, "both encoders refuse the same picture: one record"
    assert ws.read("quarantine/embed").height == 1
    assert table(ws, "statistics-picture")["vector"].null_count() == 1
    assert (ws.root / "encoders" / "canaries" / "statistics-picture.json").exists()


def test_the_statistics_know_the_mode_of_the_file(workspace: Workspace) -> None:
    from flickcast.embeddings.statistics import MODES, STATISTICS

    set_params(workspace.root / "params.yaml", {"embed.others": "[statistics-picture]"})
    ws = Workspace(workspace.root)
    grey = io.BytesIO()
    Image.new("L", (40, 30), 99).save(grey, "JPEG")
    night(ws, "n1", {"1": jpeg(1), "2": grey.getvalue()})
    embed(ws)
    codes = table(ws, "statistics-picture")["vector"].to_numpy()[:, STATISTICS.index("mode")]
    assert codes.tolist() == [MODES.index("RGB") + 1, MODES.index("L") + 1]


def test_the_plan_says_what_is_missing_and_changes_nothing(workspace: Workspace) -> None:
    night(workspace, "n1", {"1": jpeg(1), "2": jpeg(1), "3": None})
    facts = plan_of_embedding(workspace).facts
    assert facts == {
        PICTURE: {"posts": 2, "inputs": 1},
        TEXT: {"posts": 3, "inputs": 3},
        "lsa-text": {"posts": 3, "inputs": 3},
    }
    assert not workspace.exists(f"embeddings/{PICTURE}")
    embed(workspace)
    assert plan_of_embedding(workspace).facts[TEXT] == {"posts": 0, "inputs": 0}


def test_a_worker_gives_the_same_vectors_and_refuses_other_work(workspace: Workspace) -> None:
    night(workspace, "n1", {str(number): jpeg(number) for number in range(5)})
    sent: list[Any] = []

    def run(*order: Any) -> Any:
        sent.append(order)
        return run_shards(*order)

    embed(workspace, run)
    by_worker = table(workspace, PICTURE)
    with workspace.appending("embed") as appender:
        appender.drop(f"embeddings/{PICTURE}")
    embed(workspace)
    assert table(workspace, PICTURE).equals(by_worker)
    root, name, _, shards = sent[0]
    with pytest.raises(CheckError, match="was planned for 0123"):
        run_shards(root, name, "0123", shards)


@pytest.mark.parametrize("size", [(64, 64), (65, 200), (130, 300), (520, 700)])
def test_reduced_decoding_is_deterministic_and_nearly_the_whole_picture(size: tuple[int, int]) -> None:
    """Smooth pictures, as photos are at the scale of a pixel."""
    small = np.random.default_rng(3).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    from flickcast.embeddings.protocol import Sample
    from flickcast.params import EmbedParams
    from flickcast.pictures import Picture, decode

    encoder = encoders.load_encoder(PICTURE, EmbedParams(encoder="flickcast-tiny"))
    whole, reduced, again = (decode(buffer.getvalue(), edge) for edge in (None, encoder.shortest_edge, 64))
    assert isinstance(whole, Picture)
    assert isinstance(reduced, Picture)
    assert isinstance(again, Picture)
    assert min(reduced.rgb.size) >= 64
    assert reduced.rgb.tobytes() == again.rgb.tobytes()
    vectors = encoder.encode([encoder.prepare(Sample(picture=one.rgb)) for one in (whole, reduced)])
    assert vectors[0] @ vectors[1] > 0.99
