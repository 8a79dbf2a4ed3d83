"""R11 (a): every column about users against the same thing said in plain Python, over random histories.

Each user is a history of its own: bursts within a second, ties, posts that we came to know of late or long after, posts
of one moment, labels late or dated before the post, tags repeated, missing or empty, clocks that are unknown.
"""

import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from feature_inputs import inputs
from table_rows import day, labels, posts, users

from flickcast.features import GROUPS, build

USERS = 100
COLUMNS = ("people", "user_behaviour", "user_tags", "user_cadence", "user_popularity", "user_recent_popularity")
COUNTS = ("photo_count", "followers", "following", "total_views", "total_faves", "total_tags", "total_geotagged")
COUNTS += ("total_in_group", "faves_given")
Row = dict[str, Any]


def sample(seed: int) -> tuple[list[Row], list[Row], list[Row]]:
    """Posts, snapshots and labels of random users."""
    chance = random.Random(seed)
    made: list[Row] = []
    snapshots: list[Row] = []
    for user in range(USERS):
        pace = chance.choice([0.0001, 0.02, 1, 20, 90])  # days from post to post, about
        moments = [chance.randrange(6) * pace + chance.choice([0, 0, 0, 365, 800]) for _ in range(6)]
        moments += [chance.random() * pace * 12 for _ in range(chance.choice([0, 1, 4, 20]))]
        for moment in moments[chance.randrange(6) :]:
            posted = day(round(moment * 86_400) / 86_400)
            late = chance.choice([0, 0, 0, -3, 0.5, 1, pace, 200])
            made.append(
                {
                    "user_id": f"u{user}",
                    "posted_at": posted,
                    "first_seen_at": chance.choice([posted + timedelta(days=late), day(40), posted, posted]),
                    "title": chance.choice([None, "", "a title", "x" * chance.randrange(30)]),
                    "description": chance.choice([None, "word " * chance.randrange(9)]),
                    "tags": chance.choice(
                        [None, [], ["sea"], chance.choices("abcdefghijklmnop", k=5), ["sea", "a", "a"]]
                    ),
                    "latitude": chance.choice([None, 10.0]),
                    "category": chance.choice([None, "Food", "Urban"]),
                }
            )
        snapshots += [
            {
                "user_id": f"u{user}",
                "observed_at": day(moment),
                "timezone_offset": chance.choice([None, 0.0, -3.5, 5.75, 14.0]),
                "first_post_at": chance.choice([None, day(-50), day(500)]),
                "first_taken_at": chance.choice([None, day(-5000)]),
                **{name: chance.choice([None, 0, 7, 2**40]) for name in COUNTS},
            }
            for moment in chance.sample([-10, 0, 3, 40, 400], chance.randrange(4))
        ]
    chance.shuffle(made)
    made = [{"post_id": f"p{number:05}", **row} for number, row in enumerate(made)]
    known = [
        {
            "post_id": row["post_id"],
            "popularity": chance.choice([6.0, round(chance.uniform(-2, 19), 2), 5 + chance.random() / 50]),
            "matured_at": row["posted_at"] + timedelta(days=chance.choice([7, 7, 7.5, 30, 0, -2])),
        }
        for row in made
        if chance.random() < 0.8
    ]
    return made, snapshots, known


# What is taken for granted: how lists of numbers are summed up.


def mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def deviation(values: Sequence[float]) -> float | None:
    centre = mean(values)
    return None if centre is None else math.sqrt(math.fsum((value - centre) ** 2 for value in values) / len(values))


def skewness(values: Sequence[float]) -> float | None:
    if len(values) < 3 or len(set(values)) == 1:
        return None
    centre, spread = mean(values), deviation(values)
    assert centre is not None
    assert spread is not None
    return math.fsum((value - centre) ** 3 for value in values) / len(values) / spread**3


def entropy(things: Iterable[Any]) -> float | None:
    counts = Counter(things)
    total = sum(counts.values())
    return -sum(count / total * math.log(count / total) for count in counts.values()) if total else None


def ratio(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def log1p(value: float | None) -> float | None:
    return None if value is None else math.log(1 + value)


def log_ratio(top: float | None, bottom: float | None) -> float | None:
    return less(log1p(top), log1p(bottom))


def days(span: timedelta) -> float:
    return span / timedelta(days=1)


def bucket(value: float) -> int:
    return min(max(math.floor(value), 0), 15)


def span(number: int, values: Sequence[float]) -> tuple[float, float]:
    """The first bucket goes down to the smallest value, the last up to the largest; each counts as evenly filled."""
    return (min(0, *values) if number == 0 else number), (max(16, *values) if number == 15 else number + 1)


class Naive:
    """The columns of one post at a time, from all rows, by going through them."""

    def __init__(self, made: list[Row], snapshots: list[Row], known: list[Row], clock: str) -> None:
        self.transductive = clock == "transductive"
        of_post = {row["post_id"]: row for row in known}
        self.posts = []
        for row in made:
            seen = max(row["posted_at"], row["first_seen_at"])
            label = of_post.get(row["post_id"])
            self.posts.append(
                {
                    **row,
                    "known_at": row["posted_at"] if self.transductive else seen,
                    "label": label and label["popularity"],
                    "label_known_at": label and max(label["matured_at"], seen),
                }
            )
        self.snapshots = snapshots
        dated = sorted(snapshots, key=lambda row: row["observed_at"], reverse=not self.transductive)
        self.clocks = {row["user_id"]: row for row in dated if row["timezone_offset"] is not None}  # the last one wins
        if self.transductive:
            last = {row["user_id"]: row for row in sorted(snapshots, key=lambda row: row["observed_at"])}
            self.snapshots = [
                {**row, "observed_at": min([row["observed_at"], *self.times(user)])} for user, row in last.items()
            ]
        self.everyone: dict[datetime, float | None] = {}

    def times(self, user: str) -> list[datetime]:
        return [row["posted_at"] for row in self.posts if row["user_id"] == user]

    def columns(self, post: Row) -> Row:
        mine = [row for row in self.posts if row["user_id"] == post["user_id"]]
        before = self.before(mine, post["posted_at"])
        labelled = [row for row in mine if row["label"] is not None and row["label_known_at"] < post["posted_at"]]
        return {
            **self.people(post),
            **self.behaviour(post, mine, before),
            **self.lengths(post, mine if self.transductive else before),
            **self.tags(post, mine, before),
            **self.cadence(post, before),
            **self.popularity(post, labelled),
            **self.recent(post, labelled),
        }

    def before(self, rows: list[Row], moment: datetime) -> list[Row]:
        """What was known before a moment, in the order in which it became known, then of posting."""
        found = [row for row in rows if row["known_at"] < moment]
        return sorted(found, key=lambda row: (row["known_at"], row["posted_at"]))

    def snapshot(self, post: Row) -> Row:
        found = [
            row
            for row in self.snapshots
            if row["user_id"] == post["user_id"] and row["observed_at"] <= post["posted_at"]
        ]
        return max(found, key=lambda row: row["observed_at"], default={})

    def time_zone_share(self, post: Row, offset: float | None) -> float | None:
        known = [row for row in self.clocks.values() if self.transductive or row["observed_at"] < post["posted_at"]]
        alike = sum(row["timezone_offset"] == offset for row in known)
        return None if offset is None else ratio(alike, len(known))

    def people(self, post: Row) -> Row:
        row = self.snapshot(post)
        age = days(post["posted_at"] - row["first_post_at"]) if row.get("first_post_at") else None
        age = None if age is None or age < 0 else age
        pairs = {
            "faves_per_photo": ("total_faves", "photo_count"),
            "views_per_photo": ("total_views", "photo_count"),
            "followers_per_photo": ("followers", "photo_count"),
            "tags_per_photo": ("total_tags", "photo_count"),
            "groups_per_photo": ("total_in_group", "photo_count"),
            "geotagged_per_photo": ("total_geotagged", "photo_count"),
            "faves_given_per_photo": ("faves_given", "photo_count"),
            "faves_per_follower": ("total_faves", "followers"),
            "views_per_follower": ("total_views", "followers"),
            "faves_per_view": ("total_faves", "total_views"),
            "faves_given_per_fave": ("faves_given", "total_faves"),
            "followers_per_following": ("followers", "following"),
        }
        daily = {"photos": "photo_count", "views": "total_views", "faves": "total_faves", "followers": "followers"}
        return {
            **dict.fromkeys(("timezone_id", "is_pro", "can_buy_pro")),
            "timezone_offset": row.get("timezone_offset"),
            "time_zone_share": self.time_zone_share(post, row.get("timezone_offset")),
            **{f"log_{name}": log1p(row.get(name)) for name in COUNTS},
            **{f"log_{name}": log_ratio(row.get(top), row.get(bottom)) for name, (top, bottom) in pairs.items()},
            **{f"log_{key}_per_day": log1p(ratio(row.get(name), age and max(age, 1))) for key, name in daily.items()},
            "account_days": age,
            "first_post_year": row["first_post_at"].year if row.get("first_post_at") else None,
            "first_taken_year": row["first_taken_at"].year if row.get("first_taken_at") else None,
            "snapshot_days": days(post["posted_at"] - row["observed_at"]) if row else None,
        }

    def behaviour(self, post: Row, mine: list[Row], before: list[Row]) -> Row:
        now = post["posted_at"]
        settled = len(mine) if self.transductive else len(before)
        window = {n: sum(now - timedelta(days=n) <= row["known_at"] < now for row in mine) for n in (1, 7, 30, 60, 365)}
        times = [row["posted_at"] for row in before]
        count = len(times) or None
        age = days(now - min(times)) if times else None
        gap = (now - max(times)).total_seconds() if times else None
        gaps = [
            (time - max(times[:place])).total_seconds()
            for place, time in enumerate(times)
            if place and time >= max(times[:place])
        ]
        logs = [math.log1p(value) for value in gaps]
        first_year = sum(time < times[0] + timedelta(days=365) for time in times) if times else None
        usual = count and age is not None and count / (max(age, 30) / 30)
        active = {
            "day": len({time.date() for time in times}),
            "week": len({time.isocalendar()[:2] for time in times}),
            "month": len({(time.year, time.month) for time in times}),
        }
        batch = 0
        for place, time in enumerate(times):
            if place and time < max(times[:place]):
                continue
            goes_on = place and (time - max(times[:place])).total_seconds() < 3600
            batch = batch + 1 if goes_on else 1
        return {
            "log_earlier_posts": math.log1p(settled),
            "log_earlier_posts_per_day": log1p(age is not None and ratio(count, age + 1)) if count else None,
            "log_earlier_posts_per_week": log1p(ratio(count, max(age / 7, 1))) if age is not None else None,
            "log_earlier_posts_per_month": log1p(ratio(count, max(age / 30.4375, 1))) if age is not None else None,
            **{f"log_posts_per_active_{unit}": log1p(ratio(count, number)) for unit, number in active.items()},
            **{f"log_posts_{n}_days": math.log1p(window[n]) for n in (1, 7, 30, 365)},
            "activity_change": log_ratio(window[30], window[60] - window[30]),
            "activity_above_usual": log_ratio(window[30], usual),
            "log_first_year_posts": log1p(first_year),
            "last_year_over_first": log_ratio(window[365], first_year),
            "days_since_last_post": ratio(gap, 86_400),
            "log_seconds_since_last_post": log1p(gap),
            "days_since_first_post": age,
            "log_interval_minimum": log1p(min(gaps, default=None)),
            "interval_mean": ratio(mean(gaps), 86_400),
            "interval_deviation": ratio(deviation(gaps), 86_400),
            "interval_skewness": skewness(gaps),
            "log_interval_mean": mean(logs),
            "log_interval_deviation": deviation(logs),
            "log_interval_skewness": skewness(logs),
            "log_interval_last": logs[-1] if logs else None,
            "log_interval_above_usual": less(log1p(gap), mean(logs)),
            "log_batch_posts": math.log1p(batch) if gap is not None and gap < 3600 else 0.0,
            "posted_at_deviation": deviation([days(time - times[0]) for time in times]),
            "posted_at_skewness": skewness([days(time - times[0]) for time in times]),
        }

    def lengths(self, post: Row, known: list[Row]) -> Row:
        tags = [float(len(row["tags"])) for row in known if row["tags"] is not None]
        titles = [float(len(row["title"])) for row in known if row["title"] is not None]
        texts = [float(len(row["description"])) for row in known if row["description"] is not None]
        return {
            "earlier_tags_mean": mean(tags),
            "earlier_tags_deviation": deviation(tags),
            "earlier_tags_skewness": skewness(tags),
            "tags_above_usual": less(None if post["tags"] is None else len(post["tags"]), mean(tags)),
            "earlier_title_chars_mean": mean(titles),
            "earlier_title_chars_deviation": deviation(titles),
            "earlier_title_chars_skewness": skewness(titles),
            "title_chars_above_usual": less(None if post["title"] is None else len(post["title"]), mean(titles)),
            "earlier_description_chars_mean": mean(texts),
            "earlier_geotagged_share": ratio(sum(row["latitude"] is not None for row in known), len(known)),
        }

    def sequence(self, post: Row, mine: list[Row]) -> tuple[float | None, float | None, float | None]:
        """Share of new tags, share of repeated ones, and Jaccard's index with the post before."""
        before = self.before(mine, post["posted_at"])
        own = set(post["tags"] or ())
        met = {tag for row in before for tag in row["tags"] or ()}
        new = ratio(len(own - met), len(own))
        if not before or post["tags"] is None:
            return new, None, None
        last = max(before, key=lambda row: (row["posted_at"], *self.text(row)))
        if last["tags"] is None:
            return new, None, None
        theirs = set(last["tags"])
        return new, ratio(len(own & theirs), len(own)), ratio(len(own & theirs), len(own | theirs))

    def text(self, row: Row) -> tuple[bool, str]:
        """What decides between posts of one moment: their tags, unknown ones first."""
        return row["tags"] is not None, "\n".join(sorted(set(row["tags"] or ())))

    def tags(self, post: Row, mine: list[Row], before: list[Row]) -> Row:
        sequences = [self.sequence(row, mine) for row in before]
        uses = [(tag, row) for row in before for tag in set(row["tags"] or ())]
        taken_up: dict[str, datetime] = {}
        for tag, row in uses:
            taken_up[tag] = min(taken_up.get(tag, row["known_at"]), row["known_at"])
        older = post["posted_at"] - timedelta(days=90)
        recent = [(tag, row["known_at"]) for tag, row in uses if row["known_at"] >= older]
        young = [tag for tag, moment in recent if moment - taken_up[tag] <= timedelta(days=90)]
        spread = entropy(tag for tag, _ in uses)
        chars = [float(sum(map(len, set(row["tags"])))) for row in before if row["tags"] is not None]
        new, repeated, jaccard = self.sequence(post, mine)
        return {
            "new_tags_share": new,
            "repeated_tags_share": repeated,
            "repeated_tags_jaccard": jaccard,
            "earlier_new_tags_mean": mean([value for value, _, _ in sequences if value is not None]),
            "earlier_repeated_tags_mean": mean([value for _, _, value in sequences if value is not None]),
            "log_earlier_tags": math.log1p(len(uses)) if before else None,
            "log_distinct_tags": math.log1p(len(taken_up)) if before else None,
            "distinct_tags_share": ratio(len(taken_up), len(uses)),
            "earlier_tags_entropy": spread,
            "earlier_tags_evenness": ratio(spread, math.log(len(taken_up))) if len(taken_up) > 1 else None,
            "interest_drift": ratio(len(young), len(recent)) if self.before(mine, older) else None,
            "earlier_tag_chars_mean": mean(chars),
            "earlier_tag_chars_deviation": deviation(chars),
            "earlier_tag_chars_skewness": skewness(chars),
            "tag_chars_above_usual": less(
                None if post["tags"] is None else sum(map(len, set(post["tags"]))), mean(chars)
            ),
        }

    def cadence(self, post: Row, before: list[Row]) -> Row:
        offset = timedelta(hours=self.snapshot(post).get("timezone_offset") or 0)
        own = post["posted_at"] + offset
        local = [row["posted_at"] + offset for row in before]
        return {
            "local_hour": own.hour + own.minute / 60,
            "local_weekday": own.isoweekday(),
            "is_local_weekend": own.isoweekday() in (6, 7),
            "local_hour_share": ratio(sum(time.hour == own.hour for time in local), len(local)),
            "local_weekday_share": ratio(sum(time.weekday() == own.weekday() for time in local), len(local)),
            "local_weekend_share": ratio(sum(time.weekday() > 4 for time in local), len(local)),
            "local_hours_entropy": entropy(time.hour for time in local),
            "local_weekdays_entropy": entropy(time.weekday() for time in local),
        }

    def everyones_mean(self, post: Row) -> float | None:
        """Of the labels that were known before the midnight before the post."""
        midnight = post["posted_at"].replace(hour=0, minute=0, second=0, microsecond=0)
        if post["posted_at"] == midnight:  # what became known on the day before counts from this very moment
            midnight -= timedelta(days=1)
        if midnight not in self.everyone:
            known = [
                row["label"] for row in self.posts if row["label"] is not None and row["label_known_at"] < midnight
            ]
            self.everyone[midnight] = mean(known)
        return self.everyone[midnight]

    def popularity(self, post: Row, labelled: list[Row]) -> Row:
        values = [row["label"] for row in labelled]
        everyone = self.everyones_mean(post)
        least, most = min(values, default=None), max(values, default=None)
        shrunken = None if everyone is None else (sum(values) + everyone) / (len(values) + 1)
        above = None
        if values and everyone is not None:
            spans = [span(bucket(value), values) for value in values]
            above = sum(min(max((high - everyone) / (high - low), 0), 1) for low, high in spans) / len(values)
        return {
            "log_known_labels": math.log1p(len(values)),
            "user_popularity_mean": mean(values),
            "user_popularity_deviation": deviation(values),
            "user_popularity_skewness": skewness(values),
            "user_popularity_minimum": least,
            "user_popularity_maximum": most,
            "user_popularity_range": less(most, least),
            **{f"user_popularity_quantile_{n}": self.quantile(values, n / 100) for n in (10, 50, 90)},
            "user_popularity_shrunken": shrunken,
            "user_popularity_above_everyone": less(mean(values), everyone),
            "user_popularity_share_above": above,
        }

    def quantile(self, values: list[float], share: float) -> float | None:
        left = share * len(values)
        for number, count in sorted(Counter(map(bucket, values)).items()):
            if left <= count:
                low, high = span(number, values)
                return min(max(low + left / count * (high - low), min(values)), max(values))
            left -= count
        return None

    def recent(self, post: Row, labelled: list[Row]) -> Row:
        newest = sorted(labelled, key=lambda row: (row["posted_at"], row["label"]), reverse=True)
        values = [row["label"] for row in newest]
        everything = mean(values)
        alike = [row["label"] for row in labelled if post["category"] and row["category"] == post["category"]]
        ten = values[:10]
        weights = [0.5 ** (place / 3) for place in range(len(ten))]
        weighted = math.fsum(value * weight for value, weight in zip(ten, weights, strict=True))
        windows = {
            n: [row["label"] for row in labelled if row["label_known_at"] >= post["posted_at"] - timedelta(days=n)]
            for n in (7, 30, 90)
        }
        return {
            "user_popularity_last": values[0] if values else None,
            **{f"user_popularity_last_{n}": mean(values[:n]) for n in (3, 5, 10)},
            "user_popularity_weighted": ratio(weighted, sum(weights)),
            "user_popularity_trend": self.slope(ten[::-1]),
            "user_popularity_last_over_mean": less(mean(values[:3]), everything),
            "days_since_last_label": days(post["posted_at"] - newest[0]["posted_at"]) if newest else None,
            **{f"user_popularity_{n}_days": mean(found) for n, found in windows.items()},
            "log_known_labels_in_category": math.log1p(len(alike)),
            "user_popularity_in_category": mean(alike),
            "user_popularity_in_category_above": less(mean(alike), everything),
        }

    def slope(self, values: Sequence[float]) -> float | None:
        if len(values) < 3:
            return None
        middle, centre = (len(values) - 1) / 2, mean(values)
        assert centre is not None
        rise = math.fsum((place - middle) * (value - centre) for place, value in enumerate(values))
        return rise / sum((place - middle) ** 2 for place in range(len(values)))


@pytest.mark.parametrize("clock", ["point_in_time", "transductive"])
@pytest.mark.parametrize("seed", range(3))
def test_every_column_about_users_is_what_plain_python_says(seed: int, clock: str) -> None:
    made, snapshots, known = sample(seed)
    matrix = build(inputs(posts(*made), users(*snapshots), labels(*known), clock=clock), COLUMNS)
    declared = [name for group in COLUMNS for name in GROUPS[group].about]
    naive = Naive(made, snapshots, known, clock)
    by_id = {row["post_id"]: row for row in naive.posts}
    wrong: list[str] = []
    for ours in matrix.iter_rows(named=True):
        theirs = naive.columns(by_id[ours["post_id"]])
        assert sorted(theirs) == sorted(declared)
        wrong += [
            f"{ours['post_id']} {name}: {ours[name]}, expected {theirs[name]}"
            for name in declared
            if not same(ours[name], theirs[name])
        ]
    assert wrong == []


def same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is None and other is None
    return math.isclose(one, other, rel_tol=2e-6, abs_tol=2e-5)  # ours is a float32, labels are summed on a grid


def test_the_histories_are_as_odd_as_is_said() -> None:
    """Else the comparison above would say little."""
    made, _, known = sample(0)
    matrix = build(inputs(posts(*made), labels=labels(*known)), COLUMNS[1:])
    filled = {name: matrix[name].drop_nulls().len() for name in matrix.columns if name != "post_id"}
    assert [name for name, count in filled.items() if count < 20] == []
    moments = Counter((row["user_id"], row["posted_at"]) for row in made)
    seen = Counter((row["user_id"], max(row["posted_at"], row["first_seen_at"])) for row in made)
    assert sum(count > 1 for count in moments.values()) > 20
    assert sum(count > 1 for count in seen.values()) > 40
    assert matrix.height > 3 * USERS
