"""Language models as encoders of texts, tiny random ones: what a vector depends on, which folders are refused."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_checkpoints import leave_only_pickle
from tiny_sentences import HEADS, SIZES, SPREAD, save, save_bert, save_embedding_gemma, save_gemma, save_tokenizer
from transformers import (
    AutoModel,
    AutoTokenizer,
    CLIPConfig,
    CLIPModel,
    GemmaConfig,
    GemmaForCausalLM,
    T5Config,
    T5Model,
)

from flickcast.embeddings.protocol import Choice, Encoder, Sample, Vectors
from flickcast.embeddings.sentences import FAMILIES, build
from flickcast.errors import UserError

TEXTS = ["Old mill", "", "the river " * 20, "海の写真 🌊", None, "x" * 200, "\ud800 \x00", "Old mill"]


def opened(folder: Path, **choice: Any) -> Encoder:
    return build("sentence-text", Choice(weights=folder.name, root=folder.parent, threads=1, **choice))


def encoded(encoder: Encoder, *texts: str | None) -> Vectors:
    return encoder.encode([encoder.prepare(Sample(text=text)) for text in texts])


@pytest.fixture(scope="module", params=[save_bert, save_gemma, save_embedding_gemma])
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return opened(request.param(tmp_path_factory.mktemp("weights")))


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return save_bert(tmp_path / "bert")


def say(folder: Path, file: str, content: Any) -> Path:
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def hidden_states(folder: Path, text: str) -> torch.Tensor:
    """All tokens' vectors of one text by the library alone: (length, dimension)."""
    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.inference_mode():
        states: torch.Tensor = AutoModel.from_pretrained(folder)(tokens["input_ids"]).last_hidden_state[0]
    return states


def unit(vector: torch.Tensor) -> Vectors:
    found: Vectors = (vector / vector.norm()).numpy()
    return found


def test_vectors_have_length_one(encoder: Encoder) -> None:
    vectors = encoded(encoder, *TEXTS)
    assert (vectors.shape, vectors.dtype) == ((len(TEXTS), 16), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert encoder.encode([]).shape == (0, 16)


def test_other_texts_have_other_vectors(encoder: Encoder) -> None:
    assert len(np.unique(encoded(encoder, *TEXTS).round(4), axis=0)) == len(TEXTS) - 2  # one twice; none is empty


def test_vector_depends_on_no_neighbour(encoder: Encoder) -> None:
    many = [f"{text or ''} {number % 11}" for number, text in enumerate(TEXTS * 12)]
    together = encoded(encoder, *many)
    assert np.array_equal(together, encoded(encoder, *many[::-1])[::-1])
    assert np.array_equal(together[:8], np.concatenate([encoded(encoder, text) for text in many[:8]]))
    assert np.array_equal(together, np.concatenate([encoded(encoder, *many[:7]), encoded(encoder, *many[7:])]))


def test_smaller_passes_give_the_same_but_for_rounding(bert: Path) -> None:
    encoder = opened(bert)
    before = encoded(encoder, *TEXTS)
    encoder.rows = 1  # type: ignore[attr-defined]
    np.testing.assert_allclose(encoded(encoder, *TEXTS), before, atol=1e-5)


def test_model_that_reads_both_ways_gives_the_mean_of_its_tokens(tmp_path: Path) -> None:
    for folder in (save_bert(tmp_path / "bert"), save_embedding_gemma(tmp_path / "gemma")):
        expected = unit(hidden_states(folder, "Old mill").mean(dim=0))
        np.testing.assert_allclose(encoded(opened(folder), "Old mill")[0], expected, atol=1e-5)


def test_decoder_gives_its_last_token(tmp_path: Path) -> None:
    folder = save_gemma(tmp_path / "gemma")
    expected = unit(hidden_states(folder, "Old mill")[-1])
    np.testing.assert_allclose(encoded(opened(folder), "Old mill")[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("said", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "include_prompt": True}, "cls"),
        ({"pooling_mode_lasttoken": True, "word_embedding_dimension": 16}, "last"),
        ({"pooling_mode": "cls", "embedding_dimension": 16}, "cls"),
    ],
)
def test_pooling_that_the_folder_declares_is_used(bert: Path, said: dict[str, Any], pooling: str) -> None:
    version = opened(bert).version
    encoder = opened(say(bert, "1_Pooling/config.json", said))
    states = hidden_states(bert, "Old mill")
    expected = unit(states[0] if pooling == "cls" else states[-1])
    np.testing.assert_allclose(encoded(encoder, "Old mill")[0], expected, atol=1e-5)
    assert encoder.version != version


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}),
        ("modules.json", [{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]),
    ],
)
def test_parts_that_we_do_not_have_are_refused(bert: Path, file: str, content: Any) -> None:
    with pytest.raises(UserError, match=r"^[^\n]+parts that flickcast does not have: [\w., ]+$"):
        opened(say(bert, file, content))


def test_lower_case_and_length_are_taken_from_the_folder(bert: Path) -> None:
    assert not np.array_equal(*encoded(opened(bert), "OLD", "old"))
    encoder = opened(say(bert, "sentence_bert_config.json", {"do_lower_case": True, "max_seq_length": 10}))
    assert np.array_equal(*encoded(encoder, "OLD", "old"))
    assert len(encoder.prepare(Sample(text="x" * 50))) == 10


def test_long_text_keeps_its_frame_and_is_cut_before_it_is_read(bert: Path) -> None:
    encoder = opened(bert)
    tokens = encoder.prepare(Sample(text="mill " * 10**6))
    assert (len(tokens), tokens[0], tokens[-1]) == (64, 2, 3)
    assert np.array_equal(*encoded(encoder, "mill " * 10**6, "mill " * 100))


def test_special_token_spelled_out_in_a_text_stays_text(bert: Path) -> None:
    assert 3 not in opened(bert).prepare(Sample(text="a [SEP] b"))[1:-1]


def test_empty_text_without_tokens_around_it_is_zero(tmp_path: Path) -> None:
    config = GemmaConfig(**SIZES, **HEADS, **SPREAD)
    encoder = opened(save(tmp_path / "bare", lambda: GemmaForCausalLM(config), "", ""))
    vectors = encoded(encoder, "", "mill", None)
    assert vectors.any(axis=1).tolist() == [False, True, False]


def test_any_thread_may_prepare(bert: Path) -> None:
    encoder = opened(bert)
    texts = [f"mill {number}" * (number % 9) for number in range(400)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: encoder.prepare(Sample(text=text)), texts)) == [
            encoder.prepare(Sample(text=text)) for text in texts
        ]


def test_version_changes_with_weights_tokenizer_and_numbers_only(bert: Path, tmp_path: Path) -> None:
    first = opened(bert).version
    assert opened(save_bert(tmp_path / "again")).version == first
    assert opened(bert, number_type="bfloat16").version != first
    save_tokenizer(bert, after="")
    tokenizer = opened(bert).version
    with_other_weights = AutoModel.from_pretrained(bert)
    with_other_weights.embeddings.word_embeddings.weight.data[7] += 1
    with_other_weights.save_pretrained(bert)
    assert len({first, tokenizer, opened(bert).version}) == 3


def test_other_number_type_is_near(bert: Path) -> None:
    exact, rounded = encoded(opened(bert), "mill"), encoded(opened(bert, number_type="bfloat16"), "mill")
    assert 0.99 < float((exact * rounded).sum()) != 1


def test_absent_weights_are_one_sentence_with_both_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in FAMILIES:
        with pytest.raises(
            UserError, match=rf"^[^\n]+`flickcast encoders pull {name}`[^\n]+embed.weights.{name}[^\n]+$"
        ):
            build(name, Choice(root=tmp_path))


def test_folder_with_pickle_only_is_refused_and_not_opened(bert: Path, tmp_path: Path) -> None:
    mark = tmp_path / "opened"
    with pytest.raises(UserError, match="only as pickle"):
        opened(leave_only_pickle(bert, mark))
    assert not mark.exists()


def test_folder_with_code_is_refused_and_not_run(bert: Path, tmp_path: Path) -> None:
    config = json.loads((bert / "config.json").read_text())
    say(bert, "config.json", config | {"model_type": "mine", "auto_map": {"AutoConfig": "c.C", "AutoModel": "c.M"}})
    say(bert, "c.py", f"open({str(tmp_path / 'run')!r}, 'w')")
    with pytest.raises(UserError, match=r"does not hold what encoder sentence-text needs"):
        opened(bert)
    assert not (tmp_path / "run").exists()


def test_missing_tensors_are_refused_but_for_the_pooler(bert: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(bert / "model.safetensors")
    assert not any("pooler" in name for name in tensors)
    save_file({name: tensor for name, tensor in tensors.items() if "layer.1" not in name}, bert / "model.safetensors")
    with pytest.raises(UserError, match="tensors are missing"):
        opened(bert)


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_damaged_file_is_one_sentence(bert: Path, file: str) -> None:
    (bert / file).write_bytes((bert / file).read_bytes()[:100])
    with pytest.raises(UserError, match=r"^[^\n]+$"):
        opened(bert)


def test_folder_without_a_tokenizer_is_refused(bert: Path) -> None:
    for path in bert.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(UserError, match=r"lacks tokenizer\.json"):
        opened(bert)


@pytest.mark.parametrize("file", ["modules.json", "1_Pooling/config.json", "sentence_bert_config.json"])
def test_damaged_description_is_one_sentence(bert: Path, file: str) -> None:
    with pytest.raises(UserError, match=r"^[^\n]+ is damaged[^\n]+$"):
        opened(say(bert, file, '{"type": '))


def test_model_that_reads_no_texts_alone_is_refused(tmp_path: Path) -> None:
    vision = SIZES | {"image_size": 8, "patch_size": 4}
    clip = CLIPConfig(text_config=SIZES | {"vocab_size": 300}, vision_config=vision)
    t5 = T5Config(vocab_size=300, d_model=16, d_ff=32, num_layers=1, num_heads=2, d_kv=8)
    for name, make in {"clip": lambda: CLIPModel(clip), "t5": lambda: T5Model(t5)}.items():
        with pytest.raises(UserError, match=r"^[^\n]+holds no model that reads texts[^\n]+$"):
            opened(save(tmp_path / name, make))


def test_longer_texts_than_the_model_has_positions_are_refused_at_once(tmp_path: Path) -> None:
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig(**SIZES, **SPREAD, max_position_embeddings=40, pad_token_id=1)
    folder = save(tmp_path / "roberta", lambda: RobertaModel(config))
    with pytest.raises(UserError, match="reads texts of 40 tokens"):
        opened(folder)
    assert opened(say(folder, "sentence_bert_config.json", {"max_seq_length": 38})).dimension == 16
