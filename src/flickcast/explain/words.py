"""A prediction in sentences that a person of the platform understands."""

import math
from collections.abc import Iterator
from typing import Any

from flickcast.console import printable
from flickcast.explain import Explanation, number, quartiles

Json = dict[str, Any]
MOST = 3  # groups that are named in each direction
LEAST = 0.02  # of the label's unit: what is smaller is left to the rest
TITLE_CHARACTERS = 60

# Feature groups as people say them; what is fitted, by its kind.
GROUPS = {
    "words": "the length and style of its words",
    "time_place": "when and where it was posted",
    "people": "the user's account",
    "user_behaviour": "how often and how the user posts",
    "user_tags": "how the user tags",
    "user_cadence": "the user's hours and weekdays",
    "user_popularity": "how the user's earlier posts did",
    "user_recent_popularity": "how the user's latest posts did",
    "categories": "its category",
    "trends": "how much its topics are posted just now",
    "known_popularity": "how its tags, category and place did",
    "picture_text": "size and shape of the picture, and whether words fit it",
    "picture_statistics": "light, colour and quality of the picture",
}
KINDS = {
    "age": "how long it has been up",
    "words": "what its words say",
    "wording": "how posts worded like it did",
    "target_encoding": "how posts of its category did",
    "nearest": "how the most alike posts did",
    "user_tags": "what the user tags",
    "user_places": "where the user posts",
    "clusters": "what kind of {theme} it is",
    "mixed_model": "how the user's posts do beside what was to be expected",
    "vectors": "the {theme} itself",
}
APART = {"expected": "what such posts get from such accounts"}  # of a reduction
THEMES = {"visual": "picture", "text": "text"}


def sentences(told: Explanation) -> list[str]:
    """The whole story, one thought each; no control characters, whatever a user wrote."""
    lines = (_what(told), _how_much(told), _truth(told), _start(told), *_pushes(told), _rest(told), _past(told))
    return [printable(line).replace("\n", " ") for line in (*lines, _alike(told)) if line]


def group_in_words(group: Json) -> str:
    """A feature group, reduction, vector or text as people say it.

    >>> group_in_words({"group": "like_picture", "theme": "visual", "kind": "nearest"})
    'how the most alike posts did'
    """
    name, theme = str(group["group"]), str(group["theme"])
    if group.get("kind"):
        return (KINDS | APART).get(group["kind"], name).format(theme=THEMES.get(theme, theme))
    return GROUPS.get(name, name.replace("_", " "))


def factor(contribution: float) -> str:
    """What a contribution does to the views: +1 doubles them, -1 halves them.

    >>> factor(1.0), factor(-1.0)
    ('×2.00', '×0.50')
    """
    return f"×{math.pow(2.0, contribution):.2f}"


def value_in_words(column: Json) -> str:
    """What the column says of the post; a logarithm of a count as the count. Empty where there is no one value.

    >>> value_in_words({"value": 2.3978953, "unit": "log(1 + posts)"}), value_in_words({"value": None})
    ('10 posts', 'not known')
    """
    if "value" not in column:
        return ""
    value, unit = column["value"], column.get("unit", "")
    if value is None:
        return "not known"
    if not isinstance(value, float):
        return str(value)
    if unit.startswith("log(1 + "):
        counted = unit.removeprefix("log(1 + ").removesuffix(")")
        return f"{number(math.expm1(min(value, 700.0)))} {counted}".removesuffix(" n")
    if unit.startswith("log ratio"):
        return f"a ratio of {number(math.exp(min(value, 700.0)))}"
    if unit == "popularity":
        return f"popularity {number(value)}"
    return f"{number(value)} {unit}".strip() if unit != "0 or 1" else ("yes" if value else "no")


def _what(told: Explanation) -> str:
    title = told.title.replace("\n", " ")
    cut = f"{title[:TITLE_CHARACTERS]}…" if len(title) > TITLE_CHARACTERS else title
    named = f' "{cut}"' if cut else ""
    return f"Post {told.post_id}{named} by {told.user_id}, posted {told.posted_at:%Y-%m-%d %H:%M} UTC."


def _how_much(told: Explanation) -> str:
    scale = told.scale
    return (
        f"It should reach about {scale.told(told.prediction)} {scale.unit} (popularity {told.prediction:.2f} = "
        f"{scale.definition}); {told.band:.0%} of posts like it end between {scale.told(told.low)} and "
        f"{scale.told(told.high)} ({told.low:.2f} to {told.high:.2f})."
    )


def _truth(told: Explanation) -> str:
    if told.label is None:
        return ""
    known = f"In truth it had {told.scale.told(told.label)} {told.scale.unit} ({told.label:.2f})."
    if told.is_learnt_from:
        return f"{known} The model has learnt from this very post, so it may look better here than it is."
    return f"{known} The model that is asked here has not learnt from this post."


def _start(told: Explanation) -> str:
    return (
        f"Knowing nothing of a post the model starts at {told.scale.told(told.base)} {told.scale.unit} "
        f"({told.base:.2f}); from there each thing it looks at multiplies them."
    )


def _pushes(told: Explanation) -> Iterator[str]:
    for opening, sign in (("Up", 1), ("Down", -1)):
        named = [group for group in told.groups if sign * group["contribution"] >= LEAST][:MOST]
        if named:
            yield f"{opening}: {'; '.join(_push(told, group, sign) for group in named)}."


def _push(told: Explanation, group: Json, sign: int) -> str:
    """A group with its factor, and the column that says most of it."""
    own = [one for one in told.columns if one["group"] == group["group"] and sign * one["contribution"] >= LEAST]
    said = next((value_in_words(one) for one in own), "")
    because = f" (most of all {own[0]['column']}: {said})" if own and said else ""
    return f"{group_in_words(group)} {factor(group['contribution'])}{because}"


def _rest(told: Explanation) -> str:
    named = [
        group
        for sign in (1, -1)
        for group in [one for one in told.groups if sign * one["contribution"] >= LEAST][:MOST]
    ]
    rest = told.prediction - told.base - told.calibration - sum(group["contribution"] for group in named)
    calibration = f"; the calibration on posts of users like this one {factor(told.calibration)}"
    return f"All else together {factor(rest)}{calibration if abs(told.calibration) >= LEAST else ''}."


def _past(told: Explanation) -> str:
    if not told.past:
        return "Of this user no earlier post's popularity was known when it appeared."
    found, scale = quartiles(told.past), told.scale
    below = sum(value < told.prediction for value in told.past) / len(told.past)
    if len(told.past) == 1:
        return f"The one earlier post of this user whose popularity was known had {scale.told(told.past[0])}."
    return (
        f"Of the user's {len(told.past)} earlier posts whose popularity was known, the middle half had "
        f"{scale.told(found['lower'])} to {scale.told(found['upper'])} {scale.unit} (median "
        f"{scale.told(found['median'])}); the prediction is above {below:.0%} of them."
    )


def _alike(told: Explanation) -> str:
    if not told.alike:
        return ""
    posts = (
        f"{one['post_id']} by {one['user_id']} ({told.scale.told(one['popularity'])} {told.scale.unit}, "
        f"cosine {one['cosine']:.2f})"
        for one in told.alike
    )
    return f"The known posts whose {told.alike[0]['by']} is most alike: {'; '.join(posts)}."
