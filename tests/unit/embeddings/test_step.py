"""What is still to be embedded, in shards, and their rows; encoders that need no weights."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from flickcast.embeddings.pipeline import Result
from flickcast.embeddings.step import missing, plain, prompt, rejected, rows, shards, shared, with_inputs
from flickcast.schemas import check

NONE = pl.Series([], dtype=pl.String)


def embedded(*ids: str, version: str = "v1") -> pl.DataFrame:
    columns = {"post_id": list(ids), "encoder_version": [version] * len(ids)}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def work(parts: dict[str, str], **titles: str) -> pl.DataFrame:
    """Posts with a title, in the parts that are named; a picture's hash is its post's title in capitals."""
    posts = pl.DataFrame({"post_id": list(titles), "title": list(titles.values())})
    return posts.with_columns(
        part=pl.col("post_id").replace_strict(parts),
        sha256=pl.col("title").str.to_uppercase(),
        tags=pl.lit(None, pl.List(pl.String)),
    )


def pictures(parts: dict[str, str], **contents: str) -> pl.DataFrame:
    return with_inputs(work(parts, **contents), ("picture",))


def result(vectors: dict[str, Sequence[float]], **reasons: str) -> Result:
    return Result({key: np.array(vector, np.float16) for key, vector in vectors.items()}, reasons)


def inputs(made: Sequence[Any]) -> list[list[str]]:
    return [shard.inputs["input_sha256"].to_list() for shard in made]


def test_only_posts_that_this_version_has_not_seen_are_missing() -> None:
    posts = pl.DataFrame({"post_id": ["a", "b", "c"]})
    assert sorted(missing(posts, embedded("b"), "v1")["post_id"]) == ["a", "c"]
    assert missing(posts, embedded("a", "b", "c"), "v1").is_empty()
    assert missing(posts, embedded("a", "b", "c"), "v2").height == 3
    assert missing(posts, embedded(), "v1").height == 3


def test_an_input_is_the_picture_or_the_text_or_both() -> None:
    posts = work({"p": "x", "q": "x", "r": "y"}, p="sea", q="sea", r="sand")
    hashes = {
        reads: with_inputs(posts, reads)["input_sha256"].to_list()
        for reads in (("picture",), ("text",), ("picture", "text"))
    }
    assert hashes[("picture",)] == ["SEA", "SEA", "SAND"]
    assert hashes[("text",)][0] == hashlib.sha256(prompt("sea", None).encode()).hexdigest()
    for found in hashes.values():
        assert found[0] == found[1] != found[2]
    assert with_inputs(posts, ("text",), "words")["text"].to_list() == ["sea", "sea", "sand"]


def test_shards_follow_the_parts_and_are_not_too_long() -> None:
    parts = dict(zip("abcde", "yxxxx", strict=True))
    made = shards(pictures(parts, a="1", e="2", d="3", c="4", b="5"), NONE, most=3)
    assert [(one.part, "".join(one.posts["post_id"])) for one in made] == [("x", "bcd"), ("x", "e"), ("y", "a")]
    assert len({one.name("v1") for one in made}) == 3
    assert made[0].name("v1") != made[0].name("v2")


def test_an_input_is_computed_once_however_many_posts_carry_it() -> None:
    parts = dict(zip("abcd", "xxyy", strict=True))
    carried = pictures(parts, a="s", b="s", c="s", d="t")
    assert inputs(shards(carried, NONE)) == [["S"], ["T"]]
    assert inputs(shards(carried, pl.Series(["S"]))) == [[], ["T"]]


def test_shards_give_one_another_what_they_share() -> None:
    parts = dict(zip("abcd", "xyyz", strict=True))
    first, second, third = made = shards(pictures(parts, a="s", b="s", c="u", d="old"), pl.Series(["OLD"]))
    sharing = shared(made, {"OLD": np.array([7], np.float16)})
    sharing.complete(first, result({"S": [1]}))
    assert sharing.complete(second, result({}, U="broken")).vectors == {"S": 1}
    assert sharing.complete(third, result({})).vectors == {"OLD": 7}


def test_a_shared_input_that_is_broken_is_rejected_for_every_post() -> None:
    first, second = made = shards(pictures({"a": "x", "b": "y"}, a="s", b="s"), NONE)
    sharing = shared(made, {})
    sharing.complete(first, result({}, S="broken"))
    assert list(rejected(second, sharing.complete(second, result({})))) == [("b", "S", "broken")]


def test_rows_are_the_posts_with_their_vectors_in_float16() -> None:
    (shard,) = shards(pictures(dict.fromkeys("abc", "x"), b="2", a="1", c="1"), NONE)
    found = rows(shard, result({"1": [0.1, 3.0]}, **{"2": "broken"}), "v1", 2)
    assert check("embeddings", found).equals(found)
    assert found["vector"].dtype == pl.Array(pl.Float16, 2)
    first = np.array([0.1, 3.0], np.float16).tolist()
    assert found["vector"].to_list() == [first, None, first]
    assert found["input_sha256"].to_list() == ["1", "2", "1"]
    assert found["encoder_version"].to_list() == ["v1"] * 3


def test_rows_of_nothing_but_broken_inputs_have_the_type_of_the_others() -> None:
    (shard,) = shards(pictures({"a": "x"}, a="1"), NONE)
    assert rows(shard, result({}, **{"1": "broken"}), "v1", 5)["vector"].dtype == pl.Array(pl.Float16, 5)


def test_no_work_is_no_shard() -> None:
    assert shards(pictures({"a": "x"}, a="1").clear(), NONE) == []


def test_words_of_a_post_without_words() -> None:
    assert prompt(None, None) == prompt("", []) == "The title of the image is  and the tags are "
    assert plain(None, None) == plain("", []) == ""
