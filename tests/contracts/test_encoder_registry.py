"""Every entry of the registry: listed, fetched by repository and patterns, and missing in one sentence that helps."""

import json

import huggingface_hub
import pytest
from typer.testing import CliRunner

from flickcast.cli import app
from flickcast.embeddings import encoders
from flickcast.errors import TryAgainError, UserError
from flickcast.params import EmbedParams

ENTRIES = encoders.families()
FETCHED = [name for name, family in ENTRIES.items() if family.repository]
LEARNED = [name for name, family in ENTRIES.items() if "fit" in family.facts]
FREE = ["statistics-picture"]


@pytest.fixture(scope="module")
def listed():
    found = CliRunner().invoke(app, ["encoders", "list", "--json"])
    assert found.exit_code == 0
    return {one["encoder"]: one for one in json.loads(found.stdout)["encoders"]}


@pytest.mark.parametrize("name", [*ENTRIES, "flickcast-tiny-picture", "ViT-B-32-picture", "ViT-B-32-text"])
def test_it_is_listed_with_what_it_reads_and_where_its_weights_come_from(name, listed):
    assert listed[name]["reads"] == list(encoders.reads(name))
    assert listed[name]["weights"]
    assert listed[name]["meaning"]
    if name in ENTRIES:
        assert tuple(ENTRIES[name].facts.get("reads", encoders.reads(name))) == encoders.reads(name)


def test_the_list_for_people_names_every_entry_and_every_part_that_it_reads(tmp_path):
    found = CliRunner().invoke(app, ["encoders", "list", "--workspace", str(tmp_path)])
    assert found.exit_code == 0
    shown = set(found.stdout.replace(",", " ").split())
    assert set(ENTRIES) | {"ViT-B-32-picture", "lsa-caption", "blip-tags", "glove-title", "ViT-B-32-caption"} <= shown
    assert max(map(len, found.stdout.splitlines())) <= 132


@pytest.mark.parametrize("name", ["bert-caption", "glove-tags", "flickcast-tiny-title"])
def test_a_part_of_the_texts_is_read_by_the_encoder_of_texts(name):
    assert encoders.reads(name) == ("text",)
    assert encoders.text_of(name) == name.rpartition("-")[2]


@pytest.mark.parametrize("name", ["statistics-title", "resnet101-caption", "blip2-tags"])
def test_what_reads_pictures_reads_no_part_of_the_texts(name):
    with pytest.raises(UserError, match="There is no encoder"):
        encoders.family_named(name)


@pytest.mark.parametrize("name", [*(one for one in ENTRIES if one not in FREE), "ViT-B-32-picture"])
def test_missing_weights_are_one_sentence_with_the_command_and_the_parameter(name, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *place, **more: None)
    family = encoders.family_named(name)
    choice = encoders.choice_of(name, EmbedParams(), tmp_path)
    learns_from_a_file = "bring" in family.facts and "fit" in family.facts
    with pytest.raises(UserError) as caught:
        family.facts["fit"](["old mill"] * 200, tmp_path, choice) if learns_from_a_file else family.build(name, choice)
    said = str(caught.value)
    assert "\n" not in said
    if name in LEARNED and "bring" not in family.facts:
        assert f"`flickcast encoders fit {name}`" in said, "it has no weights but what it learns here"
    else:
        assert f"flickcast encoders pull {name.removesuffix('-picture') if name not in ENTRIES else name}" in said
        assert "embed.weights" in said


OTHERS = {name: "someone/theirs" for name in FETCHED} | {"RN50-picture": "openai", "RN50-title": "yfcc15m"}


@pytest.mark.parametrize(("name", "weights"), OTHERS.items())
def test_the_command_is_for_the_weights_that_params_yaml_names(name, weights, tmp_path, monkeypatch):
    """`pull RN50` asked for a tag that RN50 does not have, and `pull bert-text` fetched the usual BERT."""
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *place, **more: None)
    choice = encoders.choice_of(name, EmbedParams(weights={name: weights}), tmp_path)
    with pytest.raises(UserError) as caught:
        encoders.family_named(name).build(name, choice)
    command = f"`flickcast encoders pull {name if name in ENTRIES else 'RN50'} --pretrained {weights}`"
    assert command in str(caught.value)


@pytest.mark.parametrize("name", FETCHED)
def test_pull_asks_for_the_repository_and_its_patterns(name, tmp_path, monkeypatch, capsys):
    asked = []

    def snapshot(repository, *, allow_patterns):
        asked.append((repository, allow_patterns))
        (tmp_path / "model.safetensors").touch()
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert encoders.pull(name, None) == tmp_path
    family = ENTRIES[name]
    assert asked == [(family.repository, list(family.files))]
    assert any(pattern.endswith(".safetensors") for pattern in family.files)
    assert not any(pattern.endswith((".bin", ".pt", ".pth", "*")) for pattern in family.files)
    assert f"{family.repository}: {', '.join(family.files)}" in capsys.readouterr().err


@pytest.mark.parametrize("name", FETCHED)
def test_without_network_pull_names_repository_patterns_and_the_parameter(name, monkeypatch):
    def snapshot(repository, *, allow_patterns):
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    with pytest.raises(TryAgainError) as caught:
        encoders.pull(name, None)
    for word in (name, ENTRIES[name].repository, *ENTRIES[name].files, f"embed.weights.{name}"):
        assert word in str(caught.value)


def test_a_repository_without_safetensors_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *place, **more: str(tmp_path))
    with pytest.raises(UserError, match="offers no weights of encoder vilt-both as safetensors"):
        encoders.pull("vilt-both", None)


@pytest.mark.parametrize("name", [one for one in ENTRIES if one not in FETCHED])
def test_pull_of_what_nobody_offers_says_where_it_comes_from(name):
    with pytest.raises(UserError, match=rf"{name}.*(embed.weights|nothing to fetch)"):
        encoders.pull(name, None)


def test_a_captioner_is_no_encoder(tmp_path, monkeypatch):
    import tiny_checkpoints

    tiny_checkpoints.save_blip2(tmp_path / "blip2")
    with pytest.raises(UserError, match=r"name it as embed\.captions"):
        encoders.load_encoder("blip2", EmbedParams(weights={"blip2": "blip2"}), tmp_path)
