"""Trains flickcast-tiny, the small CLIP of the demo and the tests, on pictures and captions of the simulated world.

It knows nothing of real photographs: for these, set embed.encoder in params.yaml to one of open_clip's models.
Run `python scripts/train_tiny_clip.py` after a change of simulate/pictures.py or of the words in simulate/text.py;
it takes some minutes on one core, writes the weights into the package and says how well they read unseen pictures.
Then run `python scripts/make_canaries.py`.
"""

import argparse
import io
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss, normalize

from flickcast.embeddings.encoders import load_encoder
from flickcast.embeddings.protocol import Sample
from flickcast.embeddings.step import prompt
from flickcast.params import EmbedParams
from flickcast.simulate.pictures import ANGLES, COLOURS, COUNTS, SHAPES, Appearance, render
from flickcast.simulate.text import CATEGORIES, COMMON_WORDS, CONCEPTS, PLACES, SUBCATEGORIES, TITLES

NAME = "flickcast-tiny"
WEIGHTS = Path(__file__).parents[1] / "src/flickcast/embeddings/weights"
SEED, UNSEEN_SEED = 0, 1
PICTURES_PER_CONCEPT = 24
BATCH = 192  # different concepts each: no two captions of a batch fit the same picture
PEAK_RATE = 2e-3
TRAITS_WEIGHT, LIGHT_WEIGHT = 0.3, 1.0


@dataclass(frozen=True)
class Pictures:
    """Decoded pictures: pixels (concepts, per concept, 3, 64, 64) and light (concepts, per concept, 3)."""

    pixels: torch.Tensor
    light: torch.Tensor


class Hints(nn.Module):
    """Heads used in training only: they ask a picture's vector for what was drawn, and for its light.

    Captions name a concept; what tells it apart is learned sooner when asked for. Light is in no caption, but it is
    in what real encoders see.
    """

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.traits = nn.ModuleList(nn.Linear(dimension, classes) for classes in TRAIT_CLASSES)
        self.light = nn.Linear(dimension, 3)

    def forward(self, vectors: torch.Tensor, concepts: torch.Tensor, light: torch.Tensor) -> torch.Tensor:
        """(batch, dimension), (batch,), (batch, 3) -> the loss."""
        wanted = TRAITS[concepts].T
        traits = sum(cross_entropy(head(vectors), trait) for head, trait in zip(self.traits, wanted, strict=True))
        return TRAITS_WEIGHT * traits + LIGHT_WEIGHT * mse_loss(self.light(vectors), light)


def traits_of(concept: int) -> tuple[int, ...]:
    """What pictures.py draws of a concept: ground, shape, its colour, its count, angle of the stripes."""
    subcategory = CONCEPTS[concept][0]
    category = SUBCATEGORIES[subcategory][0]
    return category, subcategory % len(SHAPES), subcategory % COLOURS, concept % COUNTS, concept % ANGLES


TRAITS = torch.tensor([traits_of(concept) for concept in range(len(CONCEPTS))])
TRAIT_CLASSES = (len(CATEGORIES), len(SHAPES), COLOURS, COUNTS, ANGLES)


def appearance(concept: int, rng: np.random.Generator) -> Appearance:
    """A picture of the concept in any light."""
    subcategory = CONCEPTS[concept][0]
    bright, colourful, sharp = rng.uniform(0, 1, 3).tolist()
    seed = int(rng.integers(2**40))
    return Appearance(SUBCATEGORIES[subcategory][0], subcategory, concept, bright, colourful, sharp, seed)


def draw(rng: np.random.Generator) -> Pictures:
    """Some pictures of every concept."""
    pixels, light = [], []
    for concept in range(len(CONCEPTS)):
        for _ in range(PICTURES_PER_CONCEPT):
            drawn = appearance(concept, rng)
            pixels.append(np.asarray(Image.open(io.BytesIO(render(drawn)))))
            light.append((drawn.brightness, drawn.colourfulness, drawn.sharpness))
    shape = (len(CONCEPTS), PICTURES_PER_CONCEPT)
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
    return Pictures(images.reshape(*shape, *images.shape[1:]), torch.tensor(light).reshape(*shape, 3))


def caption(concept: int, rng: np.random.Generator) -> str:
    """Words like those of the world's posts, in the prompt that the embed stage uses."""
    subcategory, word = CONCEPTS[concept]
    category, subcategory_name = SUBCATEGORIES[subcategory]
    common = str(rng.choice(COMMON_WORDS))
    title = TITLES[rng.integers(len(TITLES))].format(
        concept=word,
        Concept=word.capitalize(),
        common=common,
        Common=common.capitalize(),
        place=PLACES[rng.integers(len(PLACES))][0],
        number=rng.integers(1, 9999),
    )
    chance = rng.random(3)
    tags = [str(tag) for tag in rng.choice(COMMON_WORDS, rng.integers(0, 6))]
    tags += [word] * bool(chance[0] < 0.8 or word not in title.lower())
    tags += [subcategory_name.lower()] * bool(chance[1] < 0.4) + [CATEGORIES[category].lower()] * bool(chance[2] < 0.3)
    rng.shuffle(tags)
    return prompt(title, tags)


def train(model: open_clip.CLIP, pictures: Pictures, steps: int, rng: np.random.Generator) -> None:
    """Bring the vectors of pictures and of their captions together."""
    settings = PreprocessCfg(**model.visual.preprocess_cfg)
    mean, spread = (torch.tensor(values).view(3, 1, 1) * 255 for values in (settings.mean, settings.std))
    tokenize = open_clip.get_tokenizer(NAME)
    hints = Hints(model.visual.output_dim)
    weights = [*model.parameters(), *hints.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps, pct_start=0.1)
    started = time.monotonic()
    for step in range(1, steps + 1):
        concepts = torch.from_numpy(rng.permutation(len(CONCEPTS))[:BATCH])
        which = torch.from_numpy(rng.integers(PICTURES_PER_CONCEPT, size=BATCH))
        seen = model.encode_image((pictures.pixels[concepts, which].float() - mean) / spread)
        read = model.encode_text(tokenize([caption(concept, rng) for concept in concepts.tolist()]), normalize=True)
        likeness = model.logit_scale.exp().clamp(max=100) * normalize(seen, dim=-1) @ read.T
        pairs = torch.arange(BATCH)
        loss = (cross_entropy(likeness, pairs) + cross_entropy(likeness.T, pairs)) / 2
        optimizer.zero_grad()
        (loss + hints(seen, concepts, pictures.light[concepts, which])).backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        if step % 25 == 0:
            print(f"step {step} of {steps}: loss {loss.item():.2f}, {time.monotonic() - started:.0f} s", flush=True)


def report() -> None:
    """How well the weights in the package find the concept of unseen pictures among all concepts."""
    params = EmbedParams(encoder=NAME, pretrained=None)
    pictures, texts = (load_encoder(name, params) for name in params.pair)
    rng = np.random.default_rng(UNSEEN_SEED)
    concepts = np.repeat(np.arange(len(CONCEPTS)), 3)
    drawn = [Image.open(io.BytesIO(render(appearance(int(concept), rng)))) for concept in concepts]
    seen = pictures.encode([pictures.prepare(Sample(picture=picture)) for picture in drawn])
    read = texts.encode([texts.prepare(Sample(text=prompt(word, [word]))) for _, word in CONCEPTS])
    best = np.argsort(-seen @ read.T, axis=1)[:, :5]
    parents = np.array([subcategory for subcategory, _ in CONCEPTS])
    print(f"versions {pictures.version} {texts.version}, {len(concepts)} unseen pictures, {len(CONCEPTS)} concepts")
    print(
        f"concept: top-1 {np.mean(best[:, 0] == concepts):.3f}, top-5 {np.mean((concepts == best.T).any(axis=0)):.3f}"
    )
    print(f"subcategory of the best concept: {np.mean(parents[best[:, 0]] == parents[concepts]):.3f}")
    print(f"chance: top-1 {1 / len(CONCEPTS):.4f}, top-5 {5 / len(CONCEPTS):.4f}")


def main() -> None:
    """Train, save, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    open_clip.add_model_config(WEIGHTS)
    model = open_clip.create_model(NAME)
    train(model, draw(rng), arguments.steps, rng)
    halves = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    save_file(halves, WEIGHTS / f"{NAME}.safetensors")
    report()


if __name__ == "__main__":
    main()
