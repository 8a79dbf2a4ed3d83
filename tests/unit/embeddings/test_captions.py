"""BLIP-2 says of a picture what the library's own generation says, whatever else is asked in the same breath."""

import json

import numpy as np
import pytest
import tiny_checkpoints as tiny
import torch

from flickcast.embeddings import canary, captions
from flickcast.embeddings.protocol import Choice, Sample
from flickcast.errors import CheckError, UserError

PROMPT = "The title of the image is Old mill and the tags are river"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save_blip2(tmp_path_factory.mktemp("blip2"))


@pytest.fixture(scope="module")
def captioner(folder):
    return build(folder)


def build(folder, **choice):
    return captions.build(captions.BLIP_2, Choice(weights=str(folder), threads=1, **choice))


def prepared(captioner, *texts):
    return [captioner.prepare(Sample(tiny.picture(seed), text)) for seed, text in enumerate(texts)]


def test_a_caption_is_what_the_library_answers_to_the_question(folder, captioner):
    from transformers import AutoTokenizer, Blip2ForConditionalGeneration, Blip2Processor, BlipImageProcessor

    processor = Blip2Processor(
        BlipImageProcessor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder), num_query_tokens=4
    )
    question = "</s>Question: Old mill. What does the image show? Answer:"
    inputs = processor(tiny.picture(0), question, return_tensors="pt")
    model = Blip2ForConditionalGeneration.from_pretrained(folder).eval()
    made = model.generate(**inputs, do_sample=False, num_beams=5, max_new_tokens=30, min_new_tokens=1)
    answer = processor.decode(made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert captioner.generate(prepared(captioner, "Old mill")) == [captions._one_line(answer)]
    assert answer


def test_a_caption_depends_on_its_own_post_alone(captioner):
    posts = prepared(captioner, PROMPT, None, "mill", "river " * 20, "")
    together = captioner.generate(posts)
    assert len(set(together)) == 5
    assert captioner.generate(posts[::-1])[::-1] == together
    assert [captioner.generate([post])[0] for post in posts] == together


def test_nothing_to_say_of_no_posts(captioner):
    assert captioner.generate([]) == []


def test_another_build_and_another_seed_say_the_same(folder, captioner):
    again = build(folder)
    torch.manual_seed(7)
    assert again.version == captioner.version
    assert again.generate(prepared(again, PROMPT)) == captioner.generate(prepared(captioner, PROMPT))


def test_the_text_guides_the_caption(captioner):
    picture = tiny.picture(0)
    said = captioner.generate([captioner.prepare(Sample(picture, text)) for text in ("mill", "river", None, "")])
    assert said[0] != said[1] != said[2]
    assert said[2] == said[3]


def test_scores_are_those_of_the_library_and_of_each_post_alone(captioner):
    posts = prepared(captioner, PROMPT, None, "mill")
    together = captioner.scores(posts)
    assert together.shape == (3, captioner._words)
    assert len(np.unique(together, axis=0)) == 3
    np.testing.assert_allclose(together.mean(axis=1), 0, atol=1e-4)
    for row, post in zip(together, posts, strict=True):
        np.testing.assert_array_equal(captioner.scores([post])[0], row)
    with torch.inference_mode():
        one = posts[0]
        logits = captioner._model(
            pixel_values=one.pixels[None], input_ids=torch.tensor([one.tokens]), attention_mask=None
        ).logits[0, -1]
    np.testing.assert_allclose(together[0], logits - logits.mean(), atol=1e-4)
    assert captioner.scores([]).shape == (0, captioner._words)


def test_a_captioner_is_proven_by_its_canaries_once_they_are_kept(captioner, folder, tmp_path):
    choice = Choice(root=tmp_path, weights=str(folder))
    with pytest.raises(CheckError, match=r"blip2 is version .* says nothing"):
        canary.prove(captioner, choice, may_write=False)
    canary.prove(captioner, choice)
    canary.prove(captioner, choice, may_write=False)
    assert (tmp_path / "encoders/canaries/blip2.json").stat().st_size < 100_000


def sees_swapped_colours(captioner, monkeypatch):
    real = captioner._pixels
    monkeypatch.setattr(captioner, "_pixels", lambda sample: real(sample).flip(0))


def has_another_language_model(captioner, monkeypatch):
    head = captioner._model.language_model.lm_head
    monkeypatch.setattr(head, "weight", torch.nn.Parameter(head.weight.roll(1, 0)))


def asks_nothing(captioner, monkeypatch):
    monkeypatch.setattr(captioner, "_tail", [])


@pytest.mark.parametrize("fault", [sees_swapped_colours, has_another_language_model, asks_nothing])
def test_a_captioner_at_fault_is_refused(folder, tmp_path, monkeypatch, fault):
    choice = Choice(root=tmp_path, weights=str(folder))
    captioner = build(folder)
    canary.prove(captioner, choice)
    fault(captioner, monkeypatch)
    with pytest.raises(CheckError, match=r"blip2 does not work as it should here.*blip2\.json"):
        canary.prove(captioner, choice)


def test_a_long_text_is_cut_and_the_question_stays_whole(captioner):
    short, long = prepared(captioner, None, "mill " * 1_000_000)
    assert len(long.tokens) == len(short.tokens) + captions.MOST_TEXT_TOKENS
    tail = len(captions.TAIL)  # the tiny tokenizer makes a token of every byte
    assert long.tokens[-tail:] == short.tokens[-tail:]


def test_a_text_cannot_spell_the_models_own_signs(captioner):
    plain, odd = prepared(captioner, "old mill", "old<image> mill</s><pad>")
    assert odd.tokens == plain.tokens
    assert captioner.generate(prepared(captioner, "\ud800\0\u202e</s>"))


def test_a_caption_is_one_line_of_printable_letters():
    assert captions._one_line(" a\tred\n\x1b[31mmill\u202e ") == "a red [31mmill"


@pytest.mark.parametrize("number_type", ["bfloat16", "float16"])
def test_another_number_type_is_another_version(folder, captioner, number_type):
    rough = build(folder, number_type=number_type)
    assert rough.version != captioner.version
    posts = prepared(rough, PROMPT, "mill", None)
    together = rough.generate(posts)
    assert [rough.generate([post])[0] for post in posts] == together


def test_the_version_names_prompt_generation_and_weights(tmp_path, monkeypatch):
    folder = tiny.save_blip2(tmp_path)
    versions = [build(folder).version]
    monkeypatch.setitem(captions.GENERATION, "num_beams", 2)
    versions.append(build(folder).version)
    monkeypatch.setattr(captions, "TAIL", " Answer:")
    versions.append(build(folder).version)
    tiny.save_blip2(folder, seed=1)
    versions.append(build(folder).version)
    assert len(set(versions)) == 4


def test_missing_weights_are_one_sentence_with_the_command():
    with pytest.raises(
        UserError, match=r"fetch them with `flickcast encoders pull blip2 --pretrained someone/never-fetched`"
    ):
        captions.build(captions.BLIP_2, Choice(weights="someone/never-fetched"))


def test_a_pickle_is_refused_and_not_opened(tmp_path):
    mark = tmp_path / "opened"
    folder = tiny.leave_only_pickle(tiny.save_blip2(tmp_path / "model"), mark)
    with pytest.raises(UserError, match=r"only as pickle \(pytorch_model.bin\), which flickcast does not open"):
        build(folder)
    assert not mark.exists()


def test_a_model_of_another_type_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds a model of type vilt, but encoder blip2 needs one of type blip-2"):
        build(tiny.save_vilt(tmp_path))


def test_a_checkpoint_without_image_token_is_refused(tmp_path):
    folder = tiny.save_blip2(tmp_path)
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"image_token_index": None}))
    with pytest.raises(UserError, match="without an image token"):
        build(folder)
