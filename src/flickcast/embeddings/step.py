"""Which posts have no vectors yet, and the vectors of a shard of them."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import polars as pl

from flickcast.embeddings.encoders import Encoder, Failures, Vectors
from flickcast.records import Rejected, quarantine_record
from flickcast.schemas import TABLES

Item = TypeVar("Item")


def prompt(title: str | None, tags: Sequence[str] | None) -> str:
    """What the text encoder reads of a post. The words in it are data; only their place is ours.

    >>> prompt("Old mill", ["river", "mill"])
    'The title of the image is Old mill and the tags are river, mill'
    """
    return f"The title of the image is {title or ''} and the tags are {', '.join(tags or ())}"


def missing(
    posts: pl.DataFrame, image_keys: pl.DataFrame, embedded: pl.DataFrame, encoder_version: str
) -> pl.DataFrame:
    """Posts with a picture whose vectors this version of the encoder has not made yet, sorted by post_id.

    Takes posts (post_id, title, tags), pictures (post_id, sha256) and what is embedded (post_id, encoder_version,
    input_sha256); returns post_id, sha256, text, input_sha256.
    """
    work = posts.select("post_id", "title", "tags").join(image_keys.select("post_id", "sha256"), on="post_id")
    texts = [prompt(title, tags) for title, tags in work.select("title", "tags").iter_rows()]
    inputs = [_input_sha256(sha256, text) for sha256, text in zip(work["sha256"], texts, strict=True)]
    work = work.select(
        "post_id",
        "sha256",
        text=pl.Series(texts, dtype=pl.String),
        input_sha256=pl.Series(inputs, dtype=pl.String),
    )
    done = embedded.filter(pl.col("encoder_version") == encoder_version)
    return work.join(done, on=["post_id", "input_sha256"], how="anti").sort("post_id")


def embed_shard(work: pl.DataFrame, encoder: Encoder, batch_size: int) -> tuple[pl.DataFrame, list[Rejected]]:
    """Rows of the table `embeddings` for work with its `bytes`, and the pictures that do not decode.

    A post whose picture does not decode gets a row without picture vector, so that it is not tried every night.
    The same picture or text is encoded once, however many posts carry it.
    """
    work = work.sort("post_id")
    pictures = work.unique("sha256", keep="first", maintain_order=True)
    texts = work["text"].unique(maintain_order=True)
    picture_vectors, failures = _picture_vectors(pictures["bytes"].to_list(), encoder, batch_size)
    text_vectors = [vector for some in _batches(texts.to_list(), batch_size) for vector in encoder.embed_texts(some)]
    rows = work.join(
        pictures.select("sha256", _rounded("picture", picture_vectors)), on="sha256", how="left", maintain_order="left"
    ).join(pl.DataFrame([texts, _rounded("vector", text_vectors)]), on="text", how="left", maintain_order="left")
    rows = rows.with_columns(text="vector", encoder_version=pl.lit(encoder.version))
    reasons = {pictures["sha256"][index]: reason for index, reason in failures}
    return TABLES["embeddings"].conform(rows), _rejected(work, reasons)


def _picture_vectors(pictures: list[bytes], encoder: Encoder, batch_size: int) -> tuple[list[Vectors | None], Failures]:
    """One vector per picture, None for those that do not decode."""
    found: list[Vectors | None] = []
    failures: Failures = []
    for some in _batches(pictures, batch_size):
        vectors, failed = encoder.embed_pictures(some)
        reasons, rest = dict(failed), iter(vectors)
        failures += [(len(found) + index, reason) for index, reason in failed]
        found += [None if index in reasons else next(rest) for index in range(len(some))]
    return found, failures


def _batches(items: list[Item], size: int) -> Iterator[list[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _rounded(name: str, vectors: Sequence[Vectors | None]) -> pl.Series:
    """A column of vectors, rounded through float16: what is beyond differs between machines."""
    values = [None if vector is None else vector.astype(np.float16).astype(np.float32).tolist() for vector in vectors]
    return pl.Series(name, values, dtype=pl.List(pl.Float32))


def _rejected(work: pl.DataFrame, reasons: dict[str, str]) -> list[Rejected]:
    broken = work.filter(pl.col("sha256").is_in(list(reasons))).select("post_id", "sha256", "bytes")
    return [
        Rejected(quarantine_record(post_id, sha256, content), f"post {post_id}: {reasons[sha256]}")
        for post_id, sha256, content in broken.iter_rows()
    ]


def _input_sha256(picture_sha256: str, text: str) -> str:
    return hashlib.sha256(f"{picture_sha256}\n{text}".encode()).hexdigest()
