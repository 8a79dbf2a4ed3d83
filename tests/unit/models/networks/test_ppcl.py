"""PPCL's network: which loss teaches which encoder, and what is left of it where inputs are absent."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from planted import Target, planted, without

from flickcast.models.design import Design
from flickcast.models.networks.inputs import Batch, Scaling
from flickcast.models.networks.ppcl import INFLUENCE, PPCL, PPCLSettings, contrasts
from flickcast.models.networks.ppcl_losses import hierarchical_contrast, supervised_contrast
from flickcast.models.networks.ppcl_module import PPCLModule

ROWS = 160
LEVELS = ["category", "subcategory", "concept"]
SMALL: dict[str, Any] = {"width": 24, "bottleneck": 12, "embedding": 6, "batch_size": 64}


def posts(rows: int = ROWS, seed: int = 0) -> tuple[Design, Target]:
    """The planted rows with a second category, followers by user and three levels of classes, a few missing."""
    design, target = planted(rows, seed)
    random = np.random.default_rng(seed)
    followers = np.log1p(random.integers(1, 10_000, rows + 1)).astype(np.float32)[design.users]
    concept = random.integers(1, 13, rows)
    levels = np.column_stack([(concept + 5) // 6, (concept + 2) // 3, concept])
    levels[random.random(rows) < 0.05] = -1
    made = replace(
        design,
        numbers=np.column_stack([design.numbers, followers]),
        codes=np.column_stack([design.codes, random.integers(-1, 3, rows), levels]).astype(np.int32),
        number_names=[*design.number_names, "log_followers"],
        category_names=[*design.category_names, "zone", *LEVELS],
    )
    return made, target


DESIGN, TARGET = posts()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads on so few rows wait for each other most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ready(design: Design = DESIGN, target: Target = TARGET, **own: Any) -> tuple[PPCLModule, Batch, PPCLSettings]:
    """A module that has seen the rows, and all of them as a batch."""
    settings = PPCLSettings(**SMALL | own)
    torch.manual_seed(0)
    scaling = Scaling.fit(design)
    module, data = PPCL._built(scaling.shape, settings), scaling.batch(design)
    centre = float(target.mean()), float(target.std())
    data.target = torch.tensor((target - centre[0]) / centre[1], dtype=torch.float32)
    data.labels = PPCL.prepare(module, data, scaling, centre, seed=0)
    return module, data, settings


def fit(design: Design = DESIGN, target: Target = TARGET, iterations: int = 3, **own: Any) -> PPCL:
    return PPCL.fit(design, target, settings=PPCLSettings(**SMALL | own), seed=0, threads=1, iterations=iterations)


def taught(module: PPCLModule, loss: torch.Tensor) -> set[str]:
    """The parts of the module with a weight that the loss would change."""
    module.zero_grad(set_to_none=True)
    loss.backward()
    return {
        name.split(".")[0]
        for name, weight in module.named_parameters()
        if weight.grad is not None and weight.grad.any()
    }


@pytest.mark.parametrize(("loss", "encoder"), [("content", "post"), ("influence", "user"), ("identity", "popularity")])
def test_each_contrast_teaches_its_own_encoder_and_no_other(loss: str, encoder: str) -> None:
    module, batch, settings = ready()
    assert taught(module, contrasts(module.views(batch), batch, settings)[loss]) == {encoder}


def test_every_weight_of_an_encoder_is_taught_by_its_contrast() -> None:
    module, batch, settings = ready()
    for name, encoder in (("content", module.post), ("influence", module.user), ("identity", module.popularity)):
        module.zero_grad(set_to_none=True)
        contrasts(module.views(batch), batch, settings)[name].backward()
        assert all(weight.grad.any() for weight in encoder.parameters())


def test_regression_teaches_all() -> None:
    module, batch, settings = ready(content=0, influence=0, identity=0)
    assert taught(module, PPCL.loss(module, batch, settings)) == {"post", "user", "popularity", "head"}


def test_joint_loss_is_equation_25_in_units_of_the_label() -> None:
    module, batch, settings = ready(dropout=0)
    views = module.views(batch)
    levels = [batch.labels[name] for name in LEVELS]
    said = views.said.detach().numpy() * TARGET.std() + TARGET.mean()
    expected = 0.9 * np.mean((said - TARGET) ** 2) + 0.1 * (
        3 * hierarchical_contrast(views.post, levels, 0.1)
        + supervised_contrast(views.user, batch.labels[INFLUENCE], 0.1)
        + 0.1 * supervised_contrast(views.popularity, batch.users, 0.1)
    )
    assert PPCL.loss(module, batch, settings).item() == pytest.approx(expected.item(), rel=1e-5)


def test_views_differ_by_dropout_alone() -> None:
    module, batch, _ = ready()
    views = module.views(batch)
    for features in (views.post, views.user, views.popularity):
        assert features.shape == (2 * ROWS, 24)
        assert not torch.equal(*features.split(ROWS))
    views = module.eval().views(batch)
    for features in (views.post, views.user, views.popularity):
        assert torch.equal(*features.split(ROWS))
    assert torch.equal(views.said, module(batch))


def test_levels_of_classes_are_no_inputs() -> None:
    module, batch, _ = ready()
    others = batch.codes.clone()
    others[:, 2:] = others[torch.randperm(ROWS), 2:]
    module.eval()
    assert torch.equal(module(batch), module(replace(batch, codes=others)))
    others[:, 0] = 0
    assert not torch.equal(module(batch), module(replace(batch, codes=others)))


def test_influence_levels_are_clusters_of_counts() -> None:
    """Ten accounts around 10 followers, one with 5,000 and one with 10,000: by their logarithms they would split."""
    followers = np.log1p(np.array([*range(6, 16), 5_000, 10_000, np.nan]))
    design = Design(followers[:, None].astype(np.float32), np.empty((13, 0), np.int32), ["log_followers"], [])
    _, batch, _ = ready(design, np.arange(13.0), clusters=3)
    assert batch.labels[INFLUENCE].tolist() == [0] * 10 + [1, 2, -1]


def test_more_followers_never_mean_a_lower_level() -> None:
    followers = np.log1p(np.random.default_rng(0).gamma(2, 2000, 3000)).astype(np.float32)
    design = Design(followers[:, None], np.empty((3000, 0), np.int32), ["log_followers"], [])
    _, batch, _ = ready(design, np.zeros(3000), clusters=40)
    levels = batch.labels[INFLUENCE].numpy()[np.argsort(followers)]
    assert (np.diff(levels) >= 0).all()
    assert len(set(levels)) == 40


def test_rare_and_missing_classes_are_alike_to_nothing() -> None:
    codes = np.array([[-1], [0], [1], [1]], np.int32)
    design = Design(np.zeros((4, 0), np.float32), codes, [], ["category"])
    _, batch, _ = ready(design, np.arange(4.0))
    assert batch.labels["category"].tolist()[:2] == [-1, -1]
    assert len(set(batch.labels["category"].tolist()[2:])) == 1


def test_batches_pair_content_only_where_there_is_content() -> None:
    _, data, settings = ready()
    generator = torch.Generator().manual_seed(0)
    paired = torch.cat(list(PPCL.batches(data, settings, generator)))
    assert set(paired.tolist()) == set(range(ROWS))
    for absent in (replace(data, vectors={}), replace(data, labels={})):
        assert sorted(torch.cat(list(PPCL.batches(absent, settings, generator))).tolist()) == list(range(ROWS))
    alone = settings.model_copy(update={"sampling": "random"})
    assert sorted(torch.cat(list(PPCL.batches(data, alone, generator))).tolist()) == list(range(ROWS))


def columns(design: Design, numbers: list[str], categories: list[str]) -> Design:
    return replace(
        design,
        numbers=design.numbers[:, [design.number_names.index(name) for name in numbers]],
        codes=design.codes[:, [design.category_names.index(name) for name in categories]],
        number_names=numbers,
        category_names=categories,
    )


ABSENT = {
    "levels": (columns(DESIGN, DESIGN.number_names, ["kind", "zone"]), {"influence", "identity"}),
    "followers": (columns(DESIGN, ["signal", "noise"], DESIGN.category_names), {"content", "identity"}),
    "users": (replace(DESIGN, users=None), {"content", "influence"}),
    "vectors": (without(DESIGN, "vectors"), {"influence", "identity"}),
    "numbers": (without(DESIGN, "numbers"), {"content", "identity"}),
    "categories": (without(DESIGN, "codes"), {"influence", "identity"}),
    "numbers and categories": (without(DESIGN, "numbers", "codes"), {"identity"}),
    "one of two vectors": (
        replace(DESIGN, vectors={"text": DESIGN.vectors["text"]}),
        {"content", "influence", "identity"},
    ),
}


@pytest.mark.parametrize("absent", ABSENT)
def test_what_is_absent_is_left_out_with_its_contrast(absent: str) -> None:
    design, left = ABSENT[absent]
    module, batch, settings = ready(design)
    assert set(contrasts(module.views(batch), batch, settings)) == left
    assert np.isfinite(fit(design).predict(design)).all()


@pytest.mark.parametrize("rows", [1, 2, 10, 65])
def test_few_rows(rows: int) -> None:
    fitted = fit(DESIGN.take(np.arange(rows)), TARGET[:rows])
    assert np.isfinite(fitted.predict(DESIGN)).all()


def test_one_user_and_one_class() -> None:
    alone = replace(DESIGN, users=np.zeros(ROWS, np.int32), codes=np.ones_like(DESIGN.codes))
    assert np.isfinite(fit(alone).predict(alone)).all()


def test_loaded_network_predicts_the_same_and_learns_more_than_the_mean() -> None:
    held, label = posts(seed=1)
    fitted = fit(iterations=30)
    loaded = PPCL.from_bytes(fitted.to_bytes())
    np.testing.assert_array_equal(fitted.predict(held), loaded.predict(held))
    assert np.abs(fitted.predict(held) - label).mean() < 0.7 * np.abs(TARGET.mean() - label).mean()
