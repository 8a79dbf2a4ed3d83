"""What is still to be embedded, and the rows of a shard, with an encoder that needs no weights."""

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl

from flickcast.embeddings.encoders import Failures, Vectors
from flickcast.embeddings.step import embed_shard, missing, prompt
from flickcast.schemas import check


class LetterEncoder:
    """A picture's or text's vector points to its first byte; pictures that begin with `!` are broken."""

    name, version, dimension = "letters", "v1", 256

    def __init__(self) -> None:
        self.pictures_seen: list[bytes] = []
        self.texts_seen: list[str] = []

    def embed_pictures(self, pictures: Sequence[bytes]) -> tuple[Vectors, Failures]:
        self.pictures_seen += pictures
        good = [content for content in pictures if not content.startswith(b"!")]
        return self._point(good), [(i, "broken") for i, content in enumerate(pictures) if content.startswith(b"!")]

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        self.texts_seen += texts
        return self._point([text.encode() for text in texts])

    def _point(self, contents: list[bytes]) -> Vectors:
        return np.eye(self.dimension, dtype=np.float32)[[content[0] for content in contents]]


def posts(*ids: str) -> pl.DataFrame:
    return pl.DataFrame({"post_id": ids, "title": [f"title {i}" for i in ids], "tags": [["tag"] for _ in ids]})


def images(**contents: bytes) -> pl.DataFrame:
    sums = [hashlib.sha256(content).hexdigest() for content in contents.values()]
    return pl.DataFrame({"post_id": list(contents), "sha256": sums, "bytes": list(contents.values())})


def work(**contents: bytes) -> pl.DataFrame:
    pictures = images(**contents)
    return missing(posts(*contents), pictures, NOTHING, "v1").join(pictures.select("post_id", "bytes"), on="post_id")


NOTHING = pl.DataFrame(schema={"post_id": pl.String, "encoder_version": pl.String, "input_sha256": pl.String})


def test_only_posts_with_a_picture_are_missing_and_they_come_sorted() -> None:
    assert missing(posts("c", "a", "b"), images(c=b"1", a=b"2"), NOTHING, "v1")["post_id"].to_list() == ["a", "c"]


def test_nothing_is_missing_after_embedding() -> None:
    pictures = images(a=b"A", b=b"!")
    rows, _ = embed_shard(work(a=b"A", b=b"!"), LetterEncoder(), 8)
    assert missing(posts("a", "b"), pictures, rows, "v1").is_empty()


def test_another_version_or_picture_or_text_is_missing_again() -> None:
    rows, _ = embed_shard(work(a=b"A"), LetterEncoder(), 8)
    renamed = posts("a").with_columns(title=pl.lit("new"))
    assert missing(posts("a"), images(a=b"A"), rows, "v2").height == 1
    assert missing(posts("a"), images(a=b"B"), rows, "v1").height == 1
    assert missing(renamed, images(a=b"A"), rows, "v1").height == 1


def test_missing_of_no_posts_has_the_same_columns() -> None:
    empty = missing(posts("a").clear(), images(a=b"A"), NOTHING, "v1")
    assert empty.schema == missing(posts("a"), images(a=b"A"), NOTHING, "v1").schema


def test_each_post_gets_its_own_vectors_whatever_the_batch_size() -> None:
    contents = {"c": b"Z", "a": b"X", "d": b"!", "b": b"Y"}
    for batch_size in (1, 2, 100):
        rows, _ = embed_shard(work(**contents), LetterEncoder(), batch_size)
        assert rows["post_id"].to_list() == ["a", "b", "c", "d"]
        assert [v and int(np.argmax(v)) for v in rows["picture"].to_list()] == [ord("X"), ord("Y"), ord("Z"), None]


def test_rows_keep_the_schema_of_embeddings() -> None:
    rows, _ = embed_shard(work(a=b"A", b=b"!"), LetterEncoder(), 8)
    assert check("embeddings", rows).equals(rows)
    assert rows["encoder_version"].to_list() == ["v1", "v1"]


def test_broken_picture_is_rejected_with_its_post_and_keeps_its_text() -> None:
    rows, rejected = embed_shard(work(a=b"A", b=b"!bad"), LetterEncoder(), 1)
    assert [(item.record.endswith(b"\n!bad"), item.reason) for item in rejected] == [(True, "post b: broken")]
    assert rows.filter(post_id="b")["picture"].to_list() == [None]
    assert rows.filter(post_id="b")["text"].is_not_null().all()


def test_every_post_of_a_broken_picture_is_rejected() -> None:
    _, rejected = embed_shard(work(a=b"!", b=b"!"), LetterEncoder(), 1)
    assert [item.reason for item in rejected] == ["post a: broken", "post b: broken"]


def test_a_picture_uploaded_twice_is_encoded_once() -> None:
    encoder = LetterEncoder()
    rows, _ = embed_shard(work(a=b"A", b=b"A"), encoder, 1)
    assert encoder.pictures_seen == [b"A"]
    assert rows["picture"][0].equals(rows["picture"][1])


def test_row_order_of_the_work_changes_nothing() -> None:
    shard = work(a=b"A", b=b"B", c=b"A")
    forward, _ = embed_shard(shard, LetterEncoder(), 2)
    backward, _ = embed_shard(shard.reverse(), LetterEncoder(), 2)
    assert forward.equals(backward)


def test_a_shard_without_rows_gives_no_rows() -> None:
    rows, rejected = embed_shard(work(a=b"A").clear(), LetterEncoder(), 8)
    assert rows.is_empty()
    assert rejected == []


def test_prompt_of_a_post_without_words_stays_a_sentence() -> None:
    assert prompt(None, None) == prompt("", []) == "The title of the image is  and the tags are "
