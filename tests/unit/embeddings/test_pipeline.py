"""The work between threads: order, bad inputs, memory that runs out, failures in every thread."""

import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flickcast.embeddings.pipeline import BATCHES_AHEAD, Input, Result, embed_shards
from flickcast.embeddings.protocol import Kind, Sample, Vectors
from flickcast.errors import TryAgainError


class Lengths:
    """A text's vector is its length and, so that places show, its place in the pass."""

    name, version, dimension = "lengths-text", "v1", 2
    reads: tuple[Kind, ...] = ("text",)
    shortest_edge = None

    def __init__(self, most: int = 1000) -> None:
        self.most = most  # rows that fit into memory
        self.batches: list[int] = []

    def prepare(self, sample: Sample) -> Any:
        if sample.text == "odd":
            raise ValueError("an odd text")
        return len(sample.text or "")

    def encode(self, prepared: Sequence[Any]) -> Vectors:
        if len(prepared) > self.most:
            raise MemoryError
        self.batches.append(len(prepared))
        return np.array([(length, place) for place, length in enumerate(prepared)], np.float32)


def texts(*lengths: int) -> list[Input]:
    return [Input(f"k{length}", None, "x" * length) for length in lengths]


def work(encoder: Any, shards: Any, batch_size: int = 4) -> list[tuple[str, Result]]:
    return list(embed_shards(encoder, shards, batch_size))


def lengths(results: list[tuple[str, Result]]) -> dict[str, list[float]]:
    return {tag: [float(vector[0]) for vector in result.vectors.values()] for tag, result in results}


SHARDS = [("a", texts(1, 2, 3)), ("b", texts()), ("c", texts(*range(10, 25))), ("d", texts(4))]
WANTED = {"a": [1, 2, 3], "b": [], "c": list(range(10, 25)), "d": [4]}


@pytest.mark.parametrize("batch_size", [1, 2, 4, 100])
def test_every_shard_gets_its_own_vectors_in_order_whatever_the_batch_size(batch_size: int) -> None:
    assert lengths(work(Lengths(), SHARDS, batch_size)) == WANTED


def test_batches_run_across_shards() -> None:
    encoder = Lengths()
    work(encoder, SHARDS, 8)
    assert encoder.batches == [8, 8, 3]


def test_batches_are_whole_passes() -> None:
    encoder = Lengths()
    encoder.rows = 5  # type: ignore[attr-defined]
    work(encoder, SHARDS, 7)
    assert encoder.batches == [10, 9]


def test_an_input_that_cannot_be_read_keeps_its_place_and_the_others_go_on() -> None:
    clean = dict(work(Lengths(), [("a", texts(1, 2, 3, 4, 5))]))["a"]
    spoilt = dict(work(Lengths(), [("a", [*texts(1), Input("k2", None, "odd"), *texts(3, 4, 5)])]))["a"]
    assert spoilt.reasons == {"k2": "encoder lengths-text cannot read it (ValueError: an odd text)"}
    assert {key: vector.tolist() for key, vector in spoilt.vectors.items()} == {
        key: vector.tolist() for key, vector in clean.vectors.items() if key != "k2"
    }


def test_batches_of_nothing_but_bad_inputs_never_reach_the_model() -> None:
    encoder = Lengths()
    ((_, result),) = work(encoder, [("a", [Input(f"k{n}", None, "odd") for n in range(9)])])
    assert (len(result.reasons), result.vectors, encoder.batches) == (9, {}, [])


def test_a_picture_that_does_not_decode_is_named_with_its_reason() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 3)).save(buffer, "PNG")

    class Sizes(Lengths):
        reads: tuple[Kind, ...] = ("picture",)

        def prepare(self, sample: Sample) -> Any:
            assert sample.picture is not None
            return sample.picture.width

    ((_, result),) = work(Sizes(), [("a", [Input("bad", b"GIF89a"), Input("good", buffer.getvalue())])])
    assert result.vectors["good"][0] == 3
    assert result.reasons["bad"].startswith("does not decode")


def test_a_vector_that_is_no_number_is_none() -> None:
    class Huge(Lengths):
        def encode(self, prepared: Sequence[Any]) -> Vectors:
            return np.array([[1e9 if one == 2 else np.nan if one == 3 else 1.0, 0] for one in prepared], np.float32)

    ((_, result),) = work(Huge(), [("a", texts(1, 2, 3))])
    assert list(result.vectors) == ["k1"]
    assert set(result.reasons) == {"k2", "k3"}


@pytest.mark.parametrize("most", [1, 3, 5])
def test_when_memory_runs_out_batches_get_smaller_and_the_work_goes_on(most: int) -> None:
    encoder = Lengths(most)
    assert lengths(work(encoder, SHARDS, 16)) == WANTED
    assert max(encoder.batches) <= most
    assert encoder.batches[-2:] != [1, 1] or most == 1


def test_memory_that_is_too_small_for_one_says_so() -> None:
    with pytest.raises(TryAgainError, match="runs out of memory with a single post"):
        work(Lengths(0), SHARDS)


OF_TORCH = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."


class Hungry(Lengths):
    """One of its texts gets no memory so many times."""

    def __init__(self, error: Exception, times: int) -> None:
        super().__init__()
        self.error, self.times = error, times

    def prepare(self, sample: Sample) -> Any:
        if sample.text == "x" * 12 and self.times:
            self.times -= 1
            raise self.error
        return super().prepare(sample)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError(OF_TORCH)])
def test_decoders_that_run_out_of_memory_try_again_one_by_one(error: Exception) -> None:
    assert lengths(work(Hungry(error, 1), SHARDS)) == WANTED
    with pytest.raises(TryAgainError, match="lengths-text runs out of memory with a single post"):
        work(Hungry(error, 2), SHARDS)


def test_a_decoder_that_fails_otherwise_is_not_asked_again() -> None:
    with pytest.raises(RuntimeError, match="another"):
        work(Hungry(RuntimeError("another"), 1), SHARDS)


class PlannedError(Exception):
    pass


def failing(where: str) -> tuple[Any, Any]:
    class Failing(Lengths):
        def prepare(self, sample: Sample) -> Any:
            if where == "decoder" and sample.text == "x" * 20:
                raise PlannedError
            return super().prepare(sample)

        def encode(self, prepared: Sequence[Any]) -> Vectors:
            if where == "encoder" and 20 in prepared:
                raise PlannedError
            return super().encode(prepared)

    def shards() -> Iterator[tuple[str, Any]]:
        yield from SHARDS[:2]
        if where == "reader":
            raise PlannedError
        yield from SHARDS[2:]

    return Failing(), shards()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("where", ["reader", "decoder", "encoder"])
def test_a_failure_in_any_thread_ends_the_run_with_it(where: str) -> None:
    before = threading.active_count()
    with pytest.raises(PlannedError):
        work(*failing(where))
    assert threading.active_count() <= before


@pytest.mark.timeout(30)
def test_whoever_stops_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    endless = ((str(number), texts(1, 2, 3)) for number in range(10**9))
    with closing(embed_shards(Lengths(), endless, 2)) as results:
        assert next(results)[0] == "0"
    assert threading.active_count() <= before


@pytest.mark.timeout(30)
def test_the_reader_does_not_run_ahead_of_a_slow_encoder() -> None:
    read: list[int] = []
    gate = threading.Event()

    class Slow(Lengths):
        def encode(self, prepared: Sequence[Any]) -> Vectors:
            gate.wait(0.3)
            ahead.append(len(read))
            gate.set()
            return super().encode(prepared)

    def inputs() -> Iterator[Input]:
        for number in range(200):
            read.append(number)
            yield Input(f"k{number}", None, "x")

    ahead: list[int] = []
    work(Slow(), [("a", inputs())], 4)
    assert ahead[0] <= 4 + BATCHES_AHEAD * 4 + 1
