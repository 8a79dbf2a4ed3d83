"""The champion on the real SMPD-Video posts, beside the user mean and CatBoost with default settings on raw columns.

    python benchmarks/real_video.py ../shared/data/smpd_video/train [--protocols time,user,random]

Splits as the data's PROTOCOL says: `time` is P3 (oldest 80 % against newest 20 %, 95 % intervals from 1,000 bootstrap
resamples, differences paired), `user` P2 and `random` P1 (five folds, mean and spread). Prints, writes nothing else.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from flickcast import aggregates, features, models
from flickcast.evaluation import paired_difference, user_mean
from flickcast.labels import popularity_labels
from flickcast.metrics import bootstrap_interval, measures
from flickcast.models.recipes import RECIPES
from flickcast.models.rows import VECTOR, gather
from flickcast.params import Params, read_yaml
from flickcast.records import Batch
from flickcast.sources import smpd_video
from flickcast.splits import time_split, user_folds
from flickcast.workspace import template_root

PARAMS = Params()
NO_VECTORS = pl.DataFrame(schema={"post_id": pl.String, "picture": VECTOR, "text": VECTOR})
ROUNDS, FOLDS, SEED = 1000, 5, 0
SHOWN = ("src", "mae", "mape")
USER_COUNTS = ("photo_count", "followers", "following", "total_faves", "faves_given")
POST_NUMBERS = ("width", "height", "duration_seconds")
Predictions = dict[str, np.ndarray]


def main() -> None:
    """Read the posts once, then one table per protocol."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--protocols", default="time,user,random")
    arguments = parser.parse_args()
    batch = smpd_video.read(arguments.folder)
    labels = popularity_labels(batch.posts, batch.observations, batch.imported_labels, PARAMS.label)
    for protocol in arguments.protocols.split(","):
        folds = [_predict(batch, labels, train, test) for train, test in SPLITS[protocol](batch.posts)]
        (_with_intervals if protocol == "time" else _with_spread)(protocol, folds)


def _time(posts: pl.DataFrame) -> Iterator[tuple[pl.Series, pl.Series]]:
    yield time_split(posts)


def _by_user(posts: pl.DataFrame) -> Iterator[tuple[pl.Series, pl.Series]]:
    ordered = posts.sort("post_id")
    yield from _folds(ordered, user_folds(ordered["user_id"], FOLDS, SEED))


def _random(posts: pl.DataFrame) -> Iterator[tuple[pl.Series, pl.Series]]:
    fold = np.empty(posts.height, dtype=np.int64)
    fold[np.random.RandomState(SEED).permutation(posts.height)] = np.arange(posts.height) % FOLDS
    yield from _folds(posts.sort("post_id"), pl.Series(fold))


def _folds(posts: pl.DataFrame, fold: pl.Series) -> Iterator[tuple[pl.Series, pl.Series]]:
    for number in range(FOLDS):
        yield posts["post_id"].filter(fold != number), posts["post_id"].filter(fold == number)


SPLITS = {"time": _time, "user": _by_user, "random": _random}


def _predict(batch: Batch, labels: pl.DataFrame, train_ids: pl.Series, test_ids: pl.Series) -> Predictions:
    """The label and every competitor's prediction of the test posts, in post_id order."""
    posts = batch.posts.join(labels.select("post_id", "popularity"), on="post_id").sort("post_id")
    train, test = (posts.filter(pl.col("post_id").is_in(ids.implode())) for ids in (train_ids, test_ids))
    champion = _champion(batch, labels, train_ids, test_ids)
    raw_train, raw_test = (_raw(rows, batch.users) for rows in (train, test))
    target = train["popularity"].to_numpy()
    return {
        "label": test["popularity"].to_numpy(),
        "champion": champion["prediction"].to_numpy(),
        "catboost, raw columns": _default_catboost(raw_train, target, raw_test),
        "faves per video alone": _faves_per_video(raw_train, target, raw_test),
        "user mean": user_mean(test, train).to_numpy(),
    }


def _champion(batch: Batch, labels: pl.DataFrame, train_ids: pl.Series, test_ids: pl.Series) -> pl.DataFrame:
    """All that is learnt, the users' earlier labels included, is learnt from the training posts."""
    known = labels.filter(pl.col("post_id").is_in(train_ids.implode()))
    states = aggregates.as_of(batch.posts, aggregates.user_days(batch.posts, known))
    matrix, manifest = features.build(batch.posts, batch.users, states, NO_VECTORS, PARAMS.features.groups)
    content = read_yaml(template_root() / "recipes" / "champion.yaml")
    recipe = RECIPES["champion"].from_yaml(content, "champion", SEED, PARAMS.train.threads)
    model, _ = recipe.fit(gather(matrix, batch.posts, NO_VECTORS, known), manifest, lambda count: None)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        saved = models.load(Path(folder))
    return saved.predict(matrix.filter(pl.col("post_id").is_in(test_ids.implode())), batch.posts, NO_VECTORS)


def _raw(posts: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
    counts = users.sort("observed_at").unique("user_id", keep="last").select("user_id", *USER_COUNTS)
    return posts.join(counts, on="user_id", how="left", maintain_order="left").select(
        *(pl.col(name).cast(pl.Float64) for name in (*USER_COUNTS, *POST_NUMBERS)),
        pl.col("language", "country").fill_null("none"),
        hour=pl.col("posted_at").dt.hour().cast(pl.Float64),
        weekday=pl.col("posted_at").dt.weekday().cast(pl.Float64),
        words=pl.col("title").str.count_matches(r"\S+").cast(pl.Float64),
        suggested_words=pl.col("tags").list.len().cast(pl.Float64),
    )


def _default_catboost(train: pl.DataFrame, target: np.ndarray, test: pl.DataFrame) -> np.ndarray:
    import catboost

    model = catboost.CatBoostRegressor(
        cat_features=["language", "country"], random_seed=SEED, verbose=False, allow_writing_files=False
    )
    model.fit(train.to_pandas(), target)
    return np.asarray(model.predict(test.to_pandas()))


def _faves_per_video(train: pl.DataFrame, target: np.ndarray, test: pl.DataFrame) -> np.ndarray:
    """A straight line through the strongest single column."""
    ratio = [
        np.log((rows["total_faves"].to_numpy() + 1) / (rows["photo_count"].to_numpy() + 1)) for rows in (train, test)
    ]
    return np.polyval(np.polyfit(ratio[0], target, 1), ratio[1])


def _with_intervals(protocol: str, folds: list[Predictions]) -> None:
    """Measures with 95 % intervals, and the champion's paired difference to each of the others."""
    label = folds[0].pop("label")
    rows: list[dict[str, Any]] = []
    for name, prediction in folds[0].items():
        interval = bootstrap_interval(label, prediction, rounds=ROUNDS, seed=SEED)
        values = measures(label, prediction)
        rows.append({"model": name} | {key: _text(values[key], *interval[key]) for key in SHOWN})
    champion = pl.Series(folds[0].pop("champion"))
    for name, prediction in folds[0].items():
        paired = paired_difference(pl.Series(label), champion, pl.Series(prediction), rounds=ROUNDS, seed=SEED)
        rows.append({"model": f"champion - {name}"} | {key: _text(*paired[key].values()) for key in SHOWN})
    _show(f"{protocol}: {len(label)} test posts, [95 % interval]", rows)


def _with_spread(protocol: str, folds: list[Predictions]) -> None:
    """Mean over the folds, with the standard deviation between them."""
    rows = []
    for name in folds[0].keys() - {"label"}:
        values = [measures(fold["label"], fold[name]) for fold in folds]
        row = {key: [value[key] for value in values] for key in SHOWN}
        rows.append({"model": name} | {key: f"{np.mean(v):.4f} +- {np.std(v):.4f}" for key, v in row.items()})
    _show(f"{protocol}: mean of {len(folds)} folds +- standard deviation", sorted(rows, key=lambda row: row["mae"]))


def _text(value: float, low: float, high: float) -> str:
    return f"{value:.4f} [{low:.4f}, {high:.4f}]"


def _show(title: str, rows: list[dict[str, Any]]) -> None:
    lines = [f"{row['model']:36s}" + "".join(f"{key} {row[key]:28s}" for key in SHOWN) for row in rows]
    sys.stdout.write("\n".join(["", title, *lines, ""]))


if __name__ == "__main__":
    main()
