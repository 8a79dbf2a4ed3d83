"""Models of open_clip that read texts with a tokenizer of transformers: found beside the weights, or said to lack."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
from tiny_checkpoints import save_siglip

from flickcast.embeddings import encoders
from flickcast.embeddings.open_clip_tokenizers import open_tokenizer
from flickcast.embeddings.protocol import Encoder, Sample, Vectors
from flickcast.errors import TryAgainError, UserError
from flickcast.params import EmbedParams

NAME = "siglip-tiny"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_siglip(tmp_path_factory.mktemp("siglip"), NAME)


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def load(folder: Path, kind: str = "text") -> Encoder:
    params = EmbedParams(encoder=NAME, pretrained=f"{folder.name}/model.safetensors")
    return encoders.load_encoder(f"{NAME}-{kind}", params, folder.parent, threads=1)


def encoded(encoder: Encoder, *texts: str) -> Vectors:
    return encoder.encode([encoder.prepare(Sample(text=text)) for text in texts])


def test_a_text_is_read_as_open_clip_itself_reads_it(folder: Path) -> None:
    encoder = load(folder)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": open_clip.get_model_config(NAME)}))
    own = open_clip.get_tokenizer(f"local-dir:{folder}")
    text = "The  OLD mill; by the river!"
    assert encoder.prepare(Sample(text=text)).tolist() == own([text])[0].tolist()
    one, other = encoded(encoder, "old mill", "river")
    assert not np.allclose(one, other, atol=0.01)


def test_a_text_cannot_spell_the_tokenizers_own_signs(folder: Path) -> None:
    tokens = load(folder).prepare(Sample(text="mill <sentinel> </s>")).tolist()
    assert max(tokens) < 300, "the model knows 300 tokens, and the sentinel is beyond them"


@pytest.mark.parametrize(
    "sign", ["<end_of_text>", "<START_of_text>", "&amp;lt;end_of_text&gt;", "\uff1cend_of_text\uff1e"]
)
def test_a_text_cannot_spell_open_clips_own_signs(sign: str) -> None:
    """A title with `<end_of_text>` ended the prompt: whatever the tags were, the vector was the same."""
    encoder = encoders.load_encoder("flickcast-tiny-text", EmbedParams(encoder="flickcast-tiny", pretrained=None))
    start, *tokens, end = [token for token in encoder.prepare(Sample(text=f"mill {sign} river")).tolist() if token]
    assert not {start, end} & set(tokens)
    one, other = encoded(encoder, f"mill {sign} river", f"mill {sign} snow")
    assert not np.array_equal(one, other)


def test_any_other_text_is_read_as_open_clip_itself_reads_it() -> None:
    encoder = encoders.load_encoder("flickcast-tiny-text", EmbedParams(encoder="flickcast-tiny", pretrained=None))
    text = "The  OLD mill's <start> end_of_text; caf\u00e9 2019 &amp; \u65e5\u672c"
    assert encoder.prepare(Sample(text=text)).tolist() == open_clip.get_tokenizer("flickcast-tiny")([text])[0].tolist()


def test_other_words_of_the_tokenizer_are_another_version(folder: Path) -> None:
    before = load(folder).version
    path = folder / "tokenizer.json"
    stored = json.loads(path.read_text())
    vocabulary = stored["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    path.write_text(json.dumps(stored))
    assert load(folder).version != before


def test_pictures_need_no_tokenizer_and_texts_say_how_to_get_it(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    load(folder, "picture")
    with pytest.raises(UserError, match=r"which is not here: lay its tokenizer\.json and") as error:
        load(folder)
    assert "\n" not in str(error.value)


def test_one_that_was_not_fetched_names_the_command_for_these_weights(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=rf"with `flickcast encoders pull {NAME} --pretrained webli`, or lay its"):
        open_tokenizer(NAME, folder / "model.safetensors", "webli")


def test_a_damaged_tokenizer_is_one_sentence(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match="does not hold the tokenizer that encoder siglip-tiny needs") as error:
        load(folder)
    assert "\n" not in str(error.value)


def test_a_tokenizer_of_a_larger_model_is_refused(folder: Path) -> None:
    path = folder / "tokenizer.json"
    stored = json.loads(path.read_text())
    stored["model"]["vocab"]["z"] = 5000
    path.write_text(json.dumps(stored))
    with pytest.raises(UserError, match="it makes token 5000, and the model knows 300"):
        load(folder)


def test_pull_fetches_the_tokenizer_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, ...]] = []

    def snapshot(repository: str, *, allow_patterns: list[str]) -> str:
        asked.append((repository, *allow_patterns))
        return str(tmp_path)

    def download(**request: Any) -> str:
        asked.append((request["repo_id"], request["filename"]))
        return "/cache/open_clip_model.safetensors"

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    monkeypatch.setattr("open_clip.pretrained.hf_hub_download", download)
    encoders.pull("ViT-B-16-SigLIP-text", "webli")
    repository = "timm/ViT-B-16-SigLIP"
    files = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
    assert asked == [(repository, *files), (repository, "open_clip_model.safetensors")]


def test_pull_without_network_says_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot(repository: str, *, allow_patterns: list[str]) -> str:
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    with pytest.raises(TryAgainError, match=r"No connection.*ViT-B-16-SigLIP.*Try again later"):
        encoders.pull("ViT-B-16-SigLIP", "webli")
