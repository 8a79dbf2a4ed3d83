"""Where weights are looked for, and what is said when they are not there."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from flickcast.embeddings.encoders import load_encoder, pull
from flickcast.embeddings.pretrained import find, list_models
from flickcast.errors import TryAgainError, UserError
from flickcast.params import EmbedParams

TAG = "laion2b_s34b_b79k"


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a hub that must not be asked."""

    def refuse(**request: Any) -> str:
        raise AssertionError(f"the network was asked for {request}")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("open_clip.pretrained.hf_hub_download", refuse)
    return tmp_path / "hub"


def cache(folder: Path, repository: str, file: str) -> Path:
    """A file laid down as the hub's own cache does."""
    place = folder / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("abc")
    (place / "snapshots" / "abc").mkdir(parents=True)
    (place / "snapshots" / "abc" / file).write_bytes(b"weights")
    return place / "snapshots" / "abc" / file


def test_absent_weights_are_an_error_that_names_both_ways_out() -> None:
    with pytest.raises(
        UserError, match=r"flickcast encoders pull ViT-B-32 --pretrained laion2b_s34b_b79k`.*local \.safetensors file"
    ):
        load_encoder("ViT-B-32-text", EmbedParams())


def test_weights_in_the_cache_are_found(hub_cache: Path) -> None:
    path = cache(hub_cache, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "open_clip_model.safetensors")
    assert find("ViT-B-32", TAG).weights == path


def test_weights_that_are_a_pickle_are_not_found(hub_cache: Path) -> None:
    cache(hub_cache, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "open_clip_pytorch_model.bin")
    with pytest.raises(UserError, match="not here"):
        find("ViT-B-32", TAG)


def test_file_is_seen_from_the_root(tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes(b"")
    assert find("ViT-B-32", "mine.safetensors", tmp_path).weights == tmp_path / "mine.safetensors"


def test_packaged_encoder_needs_no_tag() -> None:
    assert find("flickcast-tiny", None) == find("flickcast-tiny", TAG)


@pytest.mark.parametrize(
    ("name", "pretrained", "message"),
    [
        ("vit-b-32", TAG, "did you mean 'ViT-B-32'"),
        ("ViT-B-32", "laion2b_s34b", "did you mean 'laion2b_s34b_b79k'"),
        ("ViT-B-32", None, "known names: .*openai"),
        ("ViT-M-32", "openai", "name a local .safetensors file"),
        ("ViT-B-32", "gone.safetensors", "gone.safetensors, which is not there"),
        ("roberta-ViT-B-32", TAG, "a model of transformers that open_clip would download"),
        ("ViT-B-16-SigLIP", "webli", "encoders pull ViT-B-16-SigLIP --pretrained webli`"),
    ],
)
def test_mistakes_are_one_sentence_with_a_way_out(name: str, pretrained: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        find(name, pretrained)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all, whatever its name says", None])
def test_weights_of_something_else_are_refused(tmp_path: Path, content: bytes | None) -> None:
    import numpy as np

    path = tmp_path / "odd.safetensors"
    if content is None:
        save_file({"weight": np.zeros(3, dtype=np.float32)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"odd\.safetensors does not hold weights of encoder flickcast-tiny") as error:
        load_encoder(
            "flickcast-tiny-text", EmbedParams(encoder="flickcast-tiny", pretrained="odd.safetensors"), root=tmp_path
        )
    assert "\n" not in str(error.value)


def test_list_shows_which_weights_are_here(hub_cache: Path) -> None:
    cache(hub_cache, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "open_clip_model.safetensors")
    found = list_models()
    here = [(row["model"], row["pretrained"], row["dimension"]) for row in found if row["here"]]
    assert here == [("flickcast-tiny", "packaged", 64), ("ViT-B-32", TAG, 512)]
    assert len(found) > 100


def test_pull_without_network_says_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**request: Any) -> str:
        raise ConnectionError("[Errno -2] Name or service not known")

    monkeypatch.setattr("open_clip.pretrained.hf_hub_download", fail)
    with pytest.raises(TryAgainError, match=r"No connection.*ViT-B-32.*Try again later"):
        pull("ViT-B-32", TAG)


def test_pull_asks_for_safetensors_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def download(**request: Any) -> str:
        asked.append(request)
        return "/cache/open_clip_model.safetensors"

    monkeypatch.setattr("open_clip.pretrained.hf_hub_download", download)
    assert pull("ViT-B-32", TAG) == Path("/cache/open_clip_model.safetensors")
    assert [request["filename"] for request in asked] == ["open_clip_model.safetensors"]


def test_pull_of_the_packaged_encoder_asks_nobody() -> None:
    assert pull("flickcast-tiny", None).is_file()


def test_openai_weights_get_the_activation_they_were_trained_with(hub_cache: Path) -> None:
    cache(hub_cache, "timm/vit_base_patch32_clip_224.openai", "open_clip_model.safetensors")
    assert find("ViT-B-32", "openai").tag["quick_gelu"] is True
