"""What posts say: ids, tags, titles and places for a day's numbers."""

import numpy as np
import polars as pl
from numpy.random import Generator

from flickcast.simulate import calibration as facts
from flickcast.simulate.law import Integers
from flickcast.simulate.text import CATEGORIES, COMMON_WORDS, CONCEPTS, PLACES, SUBCATEGORIES, TITLES
from flickcast.simulate.users import Users

CONCEPT_WORDS = [word for _, word in CONCEPTS]
VOCABULARY = pl.Series([*CONCEPT_WORDS, *COMMON_WORDS, "uploaded:by=instagram"])
STRIDES = np.array([n for n in range(1, len(COMMON_WORDS)) if np.gcd(n, len(COMMON_WORDS)) == 1])
# Licences: all rights reserved mostly, then Creative Commons 2.0, the public domain's four, and Creative Commons 4.0.
LICENCE_SHARES = (0.76, 0.05, 0.04, 0.03, 0.04, 0.03, 0.01, *[0.0025] * 4, *[0.005] * 6)
LICENCES = tuple(str(licence) for licence in range(len(LICENCE_SHARES)))


def with_words(rng: Generator, numbers: pl.DataFrame, users: Users) -> pl.DataFrame:
    """A day's posts with everything that a reader sees."""
    count, profiles = numbers.height, users.profiles[numbers["user"].to_numpy()]
    category = np.array([category for category, _ in SUBCATEGORIES])[numbers["subcategory"].to_numpy()]
    return numbers.with_columns(
        numbers["post"].cast(pl.String).alias("post_id"),
        profiles["user_id"],
        pl.Series("category", category),
        tags(numbers, users).alias("tags"),
        pl.Series("title", _titles(rng, numbers, profiles["place"].to_numpy())),
        pl.Series("description", _descriptions(rng, numbers)),
        pl.Series("media_type", np.where(rng.random(count) < facts.VIDEO, "video", "photo")),
        pl.Series("licence", rng.choice(LICENCES, count, p=LICENCE_SHARES)),
        pl.Series("secret", [f"{secret:010x}" for secret in rng.integers(0, 1 << 40, count).tolist()]),
        *_places(rng, numbers, profiles["place"].to_numpy()),
    )


def category_names(posts: pl.DataFrame) -> pl.DataFrame:
    """Columns category, subcategory and concept as words."""
    return pl.DataFrame(
        {
            "category": pl.Series(CATEGORIES)[posts["category"].to_numpy()],
            "subcategory": pl.Series([name for _, name in SUBCATEGORIES])[posts["subcategory"].to_numpy()],
            "concept": pl.Series(CONCEPT_WORDS)[posts["concept"].to_numpy()],
        }
    )


def tags(numbers: pl.DataFrame, users: Users) -> pl.Series:
    """Tags as lists: the concept first, then everyday words from the user's own corner of the vocabulary.

    Walking through the words in steps without a common divisor never meets a word twice.
    """
    counts = numbers["tag_count"].to_numpy()
    starts = np.cumsum(counts) - counts
    place = np.arange(counts.sum()) - np.repeat(starts, counts)
    corner = users.words[numbers["user"].to_numpy()]
    first = corner // 1000 + 3 * (numbers["batch"].to_numpy() % 11)
    stride = STRIDES[corner % len(STRIDES)]
    common = (np.repeat(first, counts) + np.repeat(stride, counts) * place) % len(COMMON_WORDS)
    words = len(CONCEPTS) + common
    words[starts] = numbers["concept"].to_numpy()
    instagram = users.profiles["uses_instagram"].to_numpy()[numbers["user"].to_numpy()] & (counts >= 4)
    words[(starts + counts - 1)[instagram]] = len(VOCABULARY) - 1
    long = pl.DataFrame({"row": np.repeat(np.arange(len(counts)), counts), "tag": VOCABULARY[words]})
    return long.group_by("row", maintain_order=True).agg("tag")["tag"]


def _titles(rng: Generator, numbers: pl.DataFrame, place: Integers) -> list[str]:
    """One title per post; some are empty, as many are."""
    count = numbers.height
    pattern = rng.integers(0, len(TITLES), count).tolist()
    common = rng.integers(0, len(COMMON_WORDS), count).tolist()
    number = rng.integers(1, 4000, count).tolist()
    empty = (rng.random(count) < facts.EMPTY_TITLE).tolist()
    concepts = numbers["concept"].to_list()
    return [
        "" if none else _title(TITLES[one], CONCEPT_WORDS[concept], COMMON_WORDS[two], PLACES[where][0], three)
        for none, one, concept, two, where, three in zip(
            empty, pattern, concepts, common, place.tolist(), number, strict=True
        )
    ]


def _title(pattern: str, concept: str, common: str, place: str, number: int) -> str:
    return pattern.format(
        concept=concept,
        Concept=concept.capitalize(),
        common=common,
        Common=common.capitalize(),
        place=place,
        number=number,
    )


def _descriptions(rng: Generator, numbers: pl.DataFrame) -> list[str]:
    said = (rng.random(numbers.height) < facts.WITH_DESCRIPTION).tolist()
    words = rng.integers(0, len(COMMON_WORDS), numbers.height).tolist()
    return [
        f"A {COMMON_WORDS[word]} <b>{CONCEPT_WORDS[concept]}</b>." if one else ""
        for one, word, concept in zip(said, words, numbers["concept"].to_list(), strict=True)
    ]


def _places(rng: Generator, numbers: pl.DataFrame, place: Integers) -> list[pl.Series]:
    """Latitude, longitude and accuracy; null without a place."""
    count, tagged = numbers.height, numbers["geotagged"]
    scatter = rng.normal(0.0, 0.05, (2, count))
    accuracy = rng.choice(facts.GEO_ACCURACIES, count, p=facts.GEO_ACCURACY_SHARES)
    columns = {
        "latitude": (np.array([one[1] for one in PLACES])[place] + scatter[0]).round(6),
        "longitude": (np.array([one[2] for one in PLACES])[place] + scatter[1]).round(6),
        "geo_accuracy": accuracy,
    }
    return [
        pl.select(pl.when(tagged).then(pl.Series(values)).alias(name)).to_series() for name, values in columns.items()
    ]
