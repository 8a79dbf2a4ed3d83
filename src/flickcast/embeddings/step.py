"""Which posts have no vector of an encoder yet, in shards, and the table's rows of a shard.

A post's words and picture are kept as first seen and never changed, so that a post whose id has a vector of this
version needs no other: a night costs what is new in it, not the length of the history.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from flickcast.embeddings.pipeline import Result
from flickcast.embeddings.protocol import Kind
from flickcast.schemas import TABLES

SHARD_POSTS = 2000  # what a kill costs at most, of texts; pictures come in parts of 500


def prompt(title: str | None, tags: Sequence[str] | None) -> str:
    """What the text encoder reads of a post. The words in it are data; only their place is ours.

    >>> prompt("Old mill", ["river", "mill"])
    'The title of the image is Old mill and the tags are river, mill'
    """
    return f"The title of the image is {title or ''} and the tags are {', '.join(tags or ())}"


def plain(title: str | None, tags: Sequence[str] | None) -> str:
    """Title and tags and nothing else, for encoders that count words.

    >>> plain("Old mill", ["river", "mill"]), plain(None, None)
    ('Old mill river mill', '')
    """
    return " ".join([*([title] if title else []), *(tags or ())])


# By what of a post's words an encoder reads.
TEXTS: dict[str, Callable[[str | None, Sequence[str] | None], str]] = {
    "prompt": prompt,
    "words": plain,
    "title": lambda title, tags: title or "",
    "tags": lambda title, tags: ", ".join(tags or ()),
}


@dataclass(frozen=True)
class Shard:
    """Posts of one part, to be embedded and stored together: no bytes, so that it can be sent anywhere.

    `posts`: post_id, input_sha256, in the order of the table. `inputs`: input_sha256, post_id, text; one row per input
    that this shard computes, none for what an earlier shard does or the table already has.
    """

    part: str
    posts: pl.DataFrame
    inputs: pl.DataFrame

    def name(self, version: str) -> str:
        """Of the part that its rows become: other posts or another version give another one."""
        digest = hashlib.sha256("\n".join([version, *self.posts["post_id"]]).encode()).hexdigest()
        return f"{self.part}-{digest[:8]}"


def missing(posts: pl.DataFrame, embedded: pl.DataFrame, encoder_version: str) -> pl.DataFrame:
    """The rows of `posts` (post_id and others) of which this version has not made a vector yet, by post_id alone."""
    done = embedded.filter(pl.col("encoder_version") == encoder_version)
    return posts.join(done, on="post_id", how="anti")


def with_inputs(work: pl.DataFrame, reads: Sequence[Kind], text: str = "prompt") -> pl.DataFrame:
    """post_id, part, text, input_sha256 of work (post_id, part and what the encoder reads: sha256; title, tags)."""
    write = TEXTS[text]
    texts = (
        [write(title, tags) for title, tags in work.select("title", "tags").iter_rows()]
        if "text" in reads
        else [None] * work.height
    )
    pictures = work["sha256"].to_list() if "picture" in reads else [None] * work.height
    hashes = [_input_sha256(picture, words) for picture, words in zip(pictures, texts, strict=True)]
    return work.select(
        "post_id",
        "part",
        text=pl.Series(texts, dtype=pl.String),
        input_sha256=pl.Series(hashes, dtype=pl.String),
    )


def with_captions(work: pl.DataFrame, captions: pl.DataFrame) -> pl.DataFrame:
    """The same of an encoder that reads captions (post_id, caption), of the posts that have one."""
    found = work.join(captions, on="post_id").rename({"caption": "text"})
    hashes = [_input_sha256(None, text) for text in found["text"]]
    return found.select("post_id", "part", "text", input_sha256=pl.Series(hashes, dtype=pl.String))


def shards(work: pl.DataFrame, known: pl.Series, most: int = SHARD_POSTS) -> list[Shard]:
    """The work (of `with_inputs`) cut into shards, by part and post_id.

    The same input is computed once, however many posts carry it, and not at all if it is among `known`.
    """
    ordered = work.sort("part", "post_id")
    new = pl.col("input_sha256").is_first_distinct() & ~pl.col("input_sha256").is_in(known.implode())
    ordered = ordered.with_columns(is_new=new)
    return [
        Shard(str(part), some.select("post_id", "input_sha256"), some.filter("is_new").select(_INPUT))
        for (part,), rows in ordered.group_by("part", maintain_order=True)
        for some in rows.iter_slices(most)
    ]


_INPUT = ("input_sha256", "post_id", "text")


def shared(work: Sequence[Shard], known: Mapping[str, Any]) -> "Shared":
    """What shards take from one another: the inputs that posts of several shards, or of the table, carry."""
    none = pl.Series("input_sha256", [], dtype=pl.String)
    carried = pl.concat([none, *(shard.posts["input_sha256"].unique() for shard in work)])
    several = carried.filter(carried.is_duplicated())
    return Shared({*several, *known}, Result(dict(known)))


@dataclass
class Shared:
    """Results that later shards need, too."""

    hashes: set[str]
    kept: Result

    def complete(self, shard: Shard, result: Result) -> Result:
        """The shard's result with what earlier ones have found for it; keeps what later ones will need."""
        for key in self.hashes.intersection(shard.posts["input_sha256"]):
            for name in ("vectors", "reasons"):
                own, kept = getattr(result, name), getattr(self.kept, name)
                if key in own:
                    kept[key] = own[key]
                elif key in kept:
                    own[key] = kept[key]
        return result


def rows(shard: Shard, result: Result, encoder_version: str, dimension: int) -> pl.DataFrame:
    """The table's rows, one per post; null where the input could not be embedded: it is not tried every night."""
    keys = shard.posts["input_sha256"].to_list()
    matrix = np.zeros((len(keys), dimension), np.float16)
    for row, key in enumerate(keys):
        if key in result.vectors:
            matrix[row] = result.vectors[key]
    there = pl.Series([key in result.vectors for key in keys], dtype=pl.Boolean)
    vectors = pl.Series("vector", matrix, dtype=pl.Array(pl.Float16, dimension))
    found = shard.posts.with_columns(vectors, encoder_version=pl.lit(encoder_version)).with_columns(
        pl.when(there).then(pl.col("vector")).otherwise(None).alias("vector")
    )
    return TABLES["embeddings"].conform(found)


def caption_rows(shard: Shard, result: Result, captioner_version: str) -> pl.DataFrame:
    """The same of a captioner."""
    captions = [result.vectors.get(key) for key in shard.posts["input_sha256"]]
    found = shard.posts.with_columns(
        caption=pl.Series(captions, dtype=pl.String), captioner_version=pl.lit(captioner_version)
    )
    return TABLES["captions"].conform(found)


def rejected(shard: Shard, result: Result) -> Iterator[tuple[str, str, str]]:
    """Post, input and reason of every post of the shard whose input could not be embedded."""
    for post_id, key in shard.posts.iter_rows():
        if key in result.reasons:
            yield post_id, key, result.reasons[key]


def _input_sha256(picture_sha256: str | None, text: str | None) -> str:
    if text is None:
        return str(picture_sha256)
    words = hashlib.sha256(text.encode()).hexdigest()
    return words if picture_sha256 is None else hashlib.sha256(f"{picture_sha256}\n{words}".encode()).hexdigest()
