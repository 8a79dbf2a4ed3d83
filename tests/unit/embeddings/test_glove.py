"""GloVe vectors from the authors' text format, learned directions, and what is said of damaged files."""

import random
from pathlib import Path

import numpy as np
import pytest

from flickcast.embeddings.fitted import TooFewTextsError, folder_of, load_state
from flickcast.embeddings.glove import WHOLE, build, fit, take_whole
from flickcast.embeddings.protocol import Choice, Encoder, Sample, Vectors
from flickcast.errors import UserError

NAME = "glove-text"
WIDTH = 25
WORDS = [f"w{number}" for number in range(60)] + ["café", "海", ".", "<unk>"]


def lines(words: list[str] = WORDS) -> list[str]:
    draw = np.random.default_rng(3)
    return [f"{word} {' '.join(f'{value:.5f}' for value in draw.normal(size=WIDTH))}" for word in words]


def table() -> dict[str, Vectors]:
    return {line.split()[0]: np.array(line.split()[1:], np.float64) for line in lines()}


def corpus() -> list[str | None]:
    draw = random.Random(7)
    return [" ".join(draw.choices([*WORDS[:60], "unknown"], k=5)) for _ in range(200)]


def write(path: Path, rows: list[str]) -> Choice:
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return Choice(weights=path.name, root=path.parent)


def learn(root: Path, rows: list[str], texts: list[str | None] | None = None) -> Encoder:
    choice = write(root / "glove.txt", rows)
    fit(corpus() if texts is None else texts, folder_of(NAME, root), choice)
    return build(NAME, choice)


def encoded(encoder: Encoder, *texts: str | None) -> Vectors:
    return encoder.encode([encoder.prepare(Sample(text=text)) for text in texts])


@pytest.fixture
def encoder(tmp_path: Path) -> Encoder:
    return learn(tmp_path, lines())


def test_coordinates_are_those_of_the_mean_in_a_singular_value_decomposition(encoder: Encoder) -> None:
    vectors = table()
    texts = [text for text in corpus() if text is not None]
    means = np.stack([np.mean([vectors[word] for word in text.split() if word in vectors], axis=0) for text in texts])
    right = np.linalg.svd(means, full_matrices=False)[2][:20]
    # Each direction's sign is open.
    np.testing.assert_allclose(np.abs(encoded(encoder, *texts)), np.abs(means @ right.T), atol=1e-5)


def test_shape_is_texts_by_twenty(encoder: Encoder) -> None:
    assert encoded(encoder, "w1", "w2").shape == (2, 20)
    assert encoder.encode([]).shape == (0, 20)


@pytest.mark.parametrize("text", [None, "", "  ", "nothing known", "\ud800\x00", "w1x"])
def test_text_without_a_known_word_is_zero(encoder: Encoder, text: str | None) -> None:
    assert not encoded(encoder, text).any()


def test_words_are_lower_cased_and_composed_and_cut_at_signs(encoder: Encoder) -> None:
    one, other = encoded(encoder, "café w1 海", "CAFE\u0301/W1_海!")
    assert np.array_equal(one, other)
    assert one.any()


def test_unknown_words_do_not_count(encoder: Encoder) -> None:
    assert np.array_equal(*encoded(encoder, "w1 w2", "w1 zzz w2 yyy"))


def test_vector_depends_on_no_neighbour(encoder: Encoder) -> None:
    together = encoded(encoder, *corpus())
    assert np.array_equal(together, encoded(encoder, *corpus()[::-1])[::-1])
    alone = [encoded(encoder, text)[0] for text in corpus()]
    assert np.array_equal(together, np.stack(alone))


def test_megabytes_are_read_no_further_than_their_beginning(encoder: Encoder) -> None:
    assert len(encoder.prepare(Sample(text="w1 " * 10**6))) <= 10_000
    assert np.array_equal(*encoded(encoder, "w1 " * 5000, "w1 " * 5000 + "w2 " * 10**6))


def test_order_of_texts_does_not_matter(tmp_path: Path, encoder: Encoder) -> None:
    (tmp_path / "other").mkdir()
    assert learn(tmp_path / "other", lines(), corpus()[::-1]).version == encoder.version


def test_other_texts_or_another_file_are_another_version(tmp_path: Path, encoder: Encoder) -> None:
    texts = learn(tmp_path, lines(), [*corpus(), "w1"]).version
    file = learn(tmp_path, lines()[:-1]).version
    assert len({texts, file, encoder.version}) == 3


def test_state_suffices_without_the_file(tmp_path: Path, encoder: Encoder) -> None:
    (tmp_path / "glove.txt").unlink()
    assert np.array_equal(encoded(build(NAME, Choice(root=tmp_path)), "w1"), encoded(encoder, "w1"))


def test_words_with_spaces_and_bytes_that_are_no_text_are_read(tmp_path: Path, encoder: Encoder) -> None:
    rows = [*lines(), f". . . {' '.join(['1.0'] * WIDTH)}"]
    path = tmp_path / "glove.txt"
    write(path, rows)
    path.write_bytes(path.read_bytes() + b"\xff\xfe " + b" ".join([b"1"] * WIDTH) + b"\n")
    fit(corpus(), folder_of(NAME, tmp_path), Choice(weights="glove.txt", root=tmp_path))
    again = build(NAME, Choice(root=tmp_path))
    assert np.array_equal(encoded(again, "w1"), encoded(encoder, "w1"))
    assert load_state(NAME, tmp_path).facts["words"][-2:] == [". . .", "\ufffd\ufffd"]


def test_of_a_word_given_twice_the_first_counts(tmp_path: Path, encoder: Encoder) -> None:
    changed = [f"{row.split()[0]} {' '.join(['9'] * WIDTH)}" for row in lines()]
    again = learn(tmp_path, [*lines(), changed[-1], *changed])
    assert np.array_equal(encoded(again, *WORDS), encoded(encoder, *WORDS))


@pytest.mark.parametrize(
    "damaged",
    ["", "w", "w 1 2 3", f"w{' 1' * WIDTH} 2", f"w{' x' * WIDTH}", f"w{' nan' * WIDTH}", f"w{' 1e99' * WIDTH}"],
)
def test_damaged_line_is_one_sentence_with_its_number(tmp_path: Path, damaged: str) -> None:
    with pytest.raises(UserError, match=r"^[^\n]+glove.txt is damaged at line 31: [^\n]+ 25 numbers\.$"):
        learn(tmp_path, [*lines()[:30], damaged, *lines()[30:]])
    assert not folder_of(NAME, tmp_path).exists()


@pytest.mark.parametrize("content", [b"", b"no vectors\n", b"\x00" * 3_000_000, b"400000 300\n"])
def test_file_of_another_kind_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "glove.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"^[^\n]+holds no GloVe vectors[^\n]+$"):
        fit(corpus(), folder_of(NAME, tmp_path), Choice(weights="glove.txt", root=tmp_path))


def test_file_cut_off_in_its_last_number_is_refused(tmp_path: Path) -> None:
    choice = write(tmp_path / "glove.txt", lines())
    (tmp_path / "glove.txt").write_bytes((tmp_path / "glove.txt").read_bytes()[:-2])
    with pytest.raises(UserError, match="damaged at line 64"):
        fit(corpus(), folder_of(NAME, tmp_path), choice)


def test_without_a_file_the_place_for_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"embed\.weights: \{glove-text: PATH\}"):
        fit(corpus(), folder_of(NAME, tmp_path), Choice(root=tmp_path))
    with pytest.raises(UserError, match=r"nowhere\.txt for glove-text, which is not there"):
        fit(corpus(), folder_of(NAME, tmp_path), Choice(weights="nowhere.txt", root=tmp_path))


def test_without_a_state_the_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`flickcast encoders fit glove-text`"):
        build(NAME, write(tmp_path / "glove.txt", lines()))


def test_texts_of_unknown_words_teach_nothing(tmp_path: Path) -> None:
    with pytest.raises(TooFewTextsError, match="there are 0 texts"):
        learn(tmp_path, lines(), ["unheard"] * 200)


def test_whole_vectors_are_the_mean_as_the_file_has_them_whatever_the_texts(tmp_path: Path) -> None:
    choice = write(tmp_path / "glove.txt", lines())
    take_whole([], folder_of(WHOLE, tmp_path), choice)
    encoder, vectors = build(WHOLE, choice), table()
    expected = np.mean([vectors["w1"], vectors["w2"]], axis=0)
    np.testing.assert_allclose(encoded(encoder, "W1 unknown w2")[0], expected, atol=2e-3)
    before = encoder.version
    take_whole(corpus(), folder_of(WHOLE, tmp_path), choice)
    assert build(WHOLE, choice).version == before
