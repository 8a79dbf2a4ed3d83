"""R11 (a): every column about posts and the world against the same thing said in plain Python, over random histories.

Histories have ties, posts that we came to know of late, labels late or dated before the post, tags repeated, missing or
never seen, posts without class or place, and posts at the very midnight at which a day's facts begin to count.
"""

import math
import random
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
import regex
from feature_inputs import inputs
from table_rows import day, embeddings, labels, posts

from flickcast.features import GROUPS, build

Row = dict[str, Any]
POSTS = 220
TEXTS = (
    None,
    "",
    " ",
    "Blue Sea 2!",
    "the sea, THE sea #sea @me",
    "Été à la mer 🌊🌊 http://a.b/c",
    "日本 2015",
    "it's a b",
)
TAGS = (None, [], ["sea"], ["sea", "sea", "Blue"], ["geo:lat=1", "été", "🌊"])
CLASSES = {"Food": {"tea": "green", "cake": "cream"}, "Urban": {"street": "night", "tea": "black"}}
PICTURES = {
    "statistics-picture": [640.0, 480.0, 0.3125, 1.25, 2.0, 120.5, 55.25, 33.0, 0.0078125],  # as float16 has them
    "nima-picture": [5.25, 1.5],
    "iipa-picture": [2.75],
}
FINE = ("concept", "place")  # whose numbers of posts and labels are columns
LIGHT = ("picture_brightness", "picture_contrast", "picture_colourfulness", "picture_sharpness")


def sample(seed: int) -> tuple[list[Row], list[Row]]:
    """Posts and labels of a random world."""
    chance = random.Random(seed)
    made = []
    for number in range(POSTS):
        posted = day(chance.choice([chance.randrange(60), chance.uniform(0, 60), chance.choice([5, 5.25, 33.5])]))
        category = chance.choice([None, *CLASSES])
        subcategory = chance.choice([None, *CLASSES[category]]) if category else None
        place = chance.choice([None, None, (48.2, 16.4), (48.9, 16.0), (-33.9, 151.2), (0.0, -0.5), (-90.0, 180.0)])
        made.append(
            {
                "post_id": f"p{number:03}",
                "user_id": f"u{chance.randrange(9)}",
                "posted_at": posted,
                "taken_at": chance.choice([None, posted, posted - timedelta(days=chance.uniform(-3, 900))]),
                "first_seen_at": posted + timedelta(days=chance.choice([0, 0, 0, -2, 0.3, 4, 20])),
                "title": chance.choice(TEXTS),
                "description": chance.choice(TEXTS),
                "tags": chance.choice([*TAGS, chance.choices("abcdefghij", k=4), [f"new{number}", "a"]]),
                "category": category,
                "subcategory": subcategory,
                "concept": chance.choice([None, CLASSES[category][subcategory]]) if category and subcategory else None,
                "latitude": place and place[0],
                "longitude": place and place[1],
            }
        )
    known = [
        {
            "post_id": row["post_id"],
            "popularity": chance.choice([6.0, round(chance.uniform(-8, 76)) / 4]),
            "matured_at": row["posted_at"] + timedelta(days=chance.choice([7, 7, 7.5, 20, 0, -2])),
        }
        for row in made
        if chance.random() < 0.8
    ]
    return made, known


def mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def each(function: Callable[[Any], float | None], things: Iterable[Any]) -> list[float]:
    """The values there are."""
    return [value for thing in things if (value := function(thing)) is not None]


def midnight(moment: datetime) -> datetime:
    """The one that follows."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def cell(row: Row, degrees: float) -> str | None:
    if row["latitude"] is None:
        return None
    return f"{math.floor(row['latitude'] / degrees)}:{math.floor(row['longitude'] / degrees)}"


TOPICS: dict[str, Callable[[Row], Any]] = {
    "category": lambda row: row["category"],
    "subcategory": lambda row: row["subcategory"] and (row["category"], row["subcategory"]),
    "concept": lambda row: row["concept"],
    "place": lambda row: cell(row, 1),
    "calendar": lambda row: (row["posted_at"].weekday(), row["posted_at"].hour),
}


class Naive:
    """The columns of one post at a time, from all rows, by going through them."""

    def __init__(self, made: list[Row], known: list[Row], clock: str) -> None:
        self.transductive = clock == "transductive"
        of_post = {row["post_id"]: row for row in known}
        self.posts = []
        for row in made:
            seen = max(row["posted_at"], row["first_seen_at"])
            label = of_post.get(row["post_id"])
            labelled = label and midnight(max(seen, label["matured_at"]))
            self.posts.append(
                {
                    **row,
                    "at": midnight(row["posted_at"] if self.transductive else seen),
                    "label": label and label["popularity"],
                    "labelled": labelled,
                }
            )

    def trends(self, target: Row) -> Row:
        known = [row for row in self.posts if self.transductive or row["at"] < target["posted_at"]]
        lately = {n: [row for row in self.posts if _within(row["at"], target["posted_at"], n)] for n in (7, 30)}

        def share(belongs: Callable[[Row], bool], days: int) -> float | None:
            return ratio(sum(map(belongs, lately[days])), len(lately[days]))

        def rise(belongs: Callable[[Row], bool]) -> float | None:
            if not lately[30]:
                return None
            expected = sum(map(belongs, lately[30])) / len(lately[30]) * len(lately[7])
            return math.log((sum(map(belongs, lately[7])) + 1) / (expected + 1))

        found: Row = {}
        for topic, entity in TOPICS.items():
            own = entity(target)

            def belongs(row: Row, own: Any = own, entity: Callable[[Row], Any] = entity) -> bool:
                return bool(entity(row) == own)

            found |= {
                f"{topic}_week_share": share(belongs, 7),
                f"{topic}_month_share": share(belongs, 30),
                f"{topic}_rise": rise(belongs),
                f"{topic}_share": ratio(sum(map(belongs, known)), len(known)),
            }
            if topic in FINE:
                found[f"log_{topic}_posts"] = math.log1p(sum(map(belongs, known)))
            if own is None:
                found |= {name: None for name in found if topic in name.split("_")}
        tags = sorted(set(target["tags"] or []))
        used = [_uses(tag) for tag in tags]
        ever = [[row for row in known if belongs(row)] for belongs in used]
        firsts = [min(row["posted_at"] for row in rows) for rows in ever if rows]
        logs = [math.log1p(len(rows)) for rows in ever]
        values = {
            "tag_week_share": each(lambda belongs: share(belongs, 7), used),
            "tag_month_share": each(lambda belongs: share(belongs, 30), used),
            "tag_rise": each(rise, used),
            "log_tag_posts": logs,
        }
        for name, numbers in values.items():
            found |= {f"{name}_max": max(numbers, default=None), f"{name}_mean": mean(numbers)}
        return found | {
            "log_tag_posts_min": min(logs, default=None),
            "newest_tag_days": (target["posted_at"] - max(firsts)) / timedelta(days=1) if firsts else None,
            "unseen_tag_share": ratio(sum(not rows for rows in ever), len(ever)),
        }

    def known_popularity(self, target: Row) -> Row:
        known = [row for row in self.posts if row["labelled"] and row["labelled"] < target["posted_at"]]
        everyone = [row["label"] for row in known]
        found: Row = {"world_popularity_mean": mean(everyone), **_spread("world", everyone)}
        smoothed: dict[str, float | None] = {}
        for topic, entity in TOPICS.items():
            own = entity(target)
            theirs = [row["label"] for row in known if entity(row) == own]
            above = {"subcategory": ("category",), "concept": ("subcategory", "category")}.get(topic, ())
            prior = next((smoothed[name] for name in above if smoothed[name] is not None), mean(everyone))
            smoothed[topic] = None if own is None else _shrunken(theirs, prior)
            found |= {f"{topic}_popularity_mean": smoothed[topic], **_spread(topic, theirs if own else [])}
            if topic in FINE:
                found[f"log_{topic}_labels"] = None if own is None else math.log1p(len(theirs))
        tags = sorted(set(target["tags"] or []))
        theirs_by_tag = [[row["label"] for row in known if _uses(tag)(row)] for tag in tags]
        shrunken = each(lambda values: _shrunken(values, mean(everyone)), theirs_by_tag)
        together = [value for values in theirs_by_tag for value in values]
        return found | {
            "tag_popularity_mean": mean(shrunken),
            "tag_popularity_maximum": max(shrunken, default=None),
            "tag_popularity_minimum": min(shrunken, default=None),
            "tag_popularity_weighted": mean(together),
            "log_tag_labels": math.log1p(len(together)) if tags else None,
            "labelled_tag_share": ratio(sum(map(bool, theirs_by_tag)), len(tags)),
        }

    def words(self, target: Row) -> Row:
        tags = target["tags"]
        lowered = {tag.lower() for tag in tags or []}
        title = target["title"]
        in_title = None if title is None or tags is None else ratio(len(lowered & set(_words(title))), len(lowered))
        found: Row = {
            "language": None,
            "tag_count": None if tags is None else len(tags),
            "tag_chars": mean([len(tag) for tag in tags or []]),
            "machine_tags": None if tags is None else sum(":" in tag for tag in tags),
            "tags_in_title_share": in_title,
        }
        joined = None if tags is None else " ".join(tags)
        for name, text in (("title", title), ("tags", joined), ("description", target["description"])):
            found |= {f"{name}_{key}": value for key, value in _patterns(text).items()}
        return found

    def time_place(self, target: Row) -> Row:
        posted, taken, latitude = target["posted_at"], target["taken_at"], target["latitude"]
        hour = posted.hour + posted.minute / 60
        season = posted.timetuple().tm_yday
        southern = None if latitude is None else season + (365.25 / 2 if latitude < 0 else 0)
        before = None if taken is None else (posted - taken) / timedelta(days=1)
        return {
            "country": None,
            "region": cell(target, 10),
            "latitude": latitude,
            "longitude": target["longitude"],
            "geo_accuracy": None,
            "hour": hour,
            "weekday": posted.isoweekday(),
            "is_weekend": posted.isoweekday() in {6, 7},
            **_circle("hour", hour / 24),
            **_circle("season", season / 365.25),
            **_circle("local_season", None if southern is None else southern / 365.25),
            "is_geotagged": latitude is not None,
            "taken_days_before": before,
            "log_taken_days_before": None if before is None else math.copysign(math.log1p(abs(before)), before),
        }

    def picture_statistics(self, target: Row) -> Row:
        if target["post_id"] > "p100":
            return dict.fromkeys(GROUPS["picture_statistics"].about)
        width, height, megapixels, aspect, mode, *light = PICTURES["statistics-picture"]
        return {
            **{"picture_width": width, "picture_height": height, "picture_megapixels": megapixels},
            **{"picture_aspect": aspect, "picture_mode": str(int(mode))},
            **dict(zip(LIGHT, light, strict=True)),
        } | {"aesthetic_mean": 5.25, "aesthetic_deviation": 1.5, "intrinsic_popularity": 2.75}


def _within(at: datetime, moment: datetime, days: int) -> bool:
    return moment - timedelta(days=days) <= at < moment


def _uses(tag: str) -> Callable[[Row], bool]:
    return lambda row: tag in (row["tags"] or [])


def _shrunken(values: Sequence[float], prior: float | None) -> float | None:
    return None if prior is None else (math.fsum(values) + 20 * prior) / (len(values) + 20)


def _spread(topic: str, values: Sequence[float]) -> Row:
    centre = mean(values)
    spread = None if centre is None else math.sqrt(math.fsum((value - centre) ** 2 for value in values) / len(values))
    return {
        f"{topic}_popularity_deviation": spread,
        f"{topic}_popularity_median": _quantile(values, 0.5),
        f"{topic}_popularity_upper": _quantile(values, 0.9),
    }


def _quantile(values: Sequence[float], share: float) -> float | None:
    """As if the values of a bucket lay evenly in it; the first goes down to the least, the last up to the greatest."""
    buckets = [min(max(math.floor(value), 0), 15) for value in values]
    wanted = share * len(buckets)
    for bucket in sorted(set(buckets)):
        below, inside = sum(one < bucket for one in buckets), buckets.count(bucket)
        if below + inside >= wanted:
            low = min(values) if bucket == 0 and min(values) < 0 else bucket
            high = max(values) if bucket == 15 and max(values) > 16 else bucket + 1
            found = low + (wanted - below) / inside * (high - low)
            return min(max(found, min(values)), max(values))
    return None


def _words(text: str) -> list[str]:
    kept = "".join(one if one == "'" or unicodedata.category(one)[0] in "LMN" else " " for one in text.lower())
    return kept.split()


def _patterns(text: str | None) -> Row:
    if text is None:
        return dict.fromkeys(name.removeprefix("title_") for name in GROUPS["words"].about if name.startswith("title_"))
    words = _words(text)
    little = {"the", "at", "me", "a", "i"}  # those that the texts and tags here have
    kinds = [unicodedata.category(one) for one in text]
    return {
        "chars": len(text),
        "words": len(words),
        "word_chars": mean([len(word) for word in words]),
        "type_token_ratio": ratio(len(set(words)), len(words)),
        "function_words_share": ratio(sum(word in little for word in words), len(words)),
        "capitals_share": ratio(kinds.count("Lu"), len(text)),
        "digits_share": ratio(kinds.count("Nd"), len(text)),
        "non_ascii_share": ratio(sum(not one.isascii() for one in text), len(text)),
        "marks": text.count("!") + text.count("?"),
        "hashtags": sum(one == "#" and after.isalnum() for one, after in pairwise(text)),
        "mentions": sum(one == "@" and after.isalnum() for one, after in pairwise(text)),
        "emoji": len(regex.findall(r"\p{Emoji_Presentation}", text)),
        "links": text.count("http://") + text.count("https://") + text.count("www."),
    }


def _circle(name: str, turn: float | None) -> Row:
    angle = None if turn is None else 2 * math.pi * turn
    both = {"sine": math.sin, "cosine": math.cos}
    return {f"{name}_{key}": None if angle is None else function(angle) for key, function in both.items()}


def same(ours: Any, theirs: Any) -> bool:
    if ours is None or theirs is None or isinstance(ours, str):
        return bool(ours == theirs)
    return math.isclose(ours, theirs, rel_tol=2e-6, abs_tol=2e-5)  # float32, and sums on a grid of 2**-20


@pytest.mark.parametrize("clock", ["point_in_time", "transductive"])
@pytest.mark.parametrize("group", ["trends", "known_popularity", "words", "time_place", "picture_statistics"])
@pytest.mark.parametrize("seed", range(3))
def test_every_column_is_what_plain_python_says(seed: int, group: str, clock: str) -> None:
    made, known = sample(seed)
    measured = [row["post_id"] for row in made if row["post_id"] <= "p100"]
    pictures = {name: embeddings(**dict.fromkeys(measured, vector)) for name, vector in PICTURES.items()}
    read = inputs(posts(*made), labels=labels(*known), clock=clock, pictures=pictures)
    ours = {row["post_id"]: row for row in build(read, [group]).iter_rows(named=True)}
    naive = Naive(made, known, clock)
    for target in naive.posts:
        theirs = getattr(naive, group)(target)
        assert theirs.keys() == GROUPS[group].about.keys()
        found = ours[target["post_id"]]
        wrong = {name: (found[name], value) for name, value in theirs.items() if not same(found[name], value)}
        assert not wrong, target


def test_encoders_that_are_not_there_leave_their_columns_empty() -> None:
    rows = posts({"post_id": "a", "posted_at": day(0)}, {"post_id": "b", "posted_at": day(0)})
    read = inputs(rows, pictures={"nima-picture": embeddings(b=[4.0, 0.5])})
    matrix = build(read, ["picture_statistics"])
    assert matrix["aesthetic_mean"].to_list() == [None, 4.0]
    filled = {name for name in matrix.columns if matrix[name].null_count() < 2}
    assert filled == {"post_id", "aesthetic_mean", "aesthetic_deviation"}
    assert isinstance(read["picture_statistics"], pl.DataFrame)
