"""What a column is about: visual, text, user, time, place or topic; how importances and ablations speak of columns."""

from typing import Any

THEMES = ("visual", "text", "user", "time", "place", "topic")
SEVERAL = "several"  # of what is made of most of them at once

_OF_GROUPS = {
    "words": "text",
    "people": "user",
    "user_behaviour": "user",
    "user_tags": "user",
    "user_cadence": "user",
    "user_popularity": "user",
    "user_recent_popularity": "user",
    "categories": "topic",
    "trends": "topic",
    "known_popularity": "topic",
    "picture_text": "visual",
    "picture_statistics": "visual",
}
# Groups that tell of several things say by a column's name of which.
_PLACES = ("country", "region", "latitude", "longitude", "geo_accuracy", "is_geotagged", "place_", "log_place_")
_TIMES = ("calendar_",)
_OF_KINDS = {
    "age": "time",
    "words": "text",
    "wording": "text",
    "target_encoding": "topic",
    "user_tags": "user",
    "user_places": "place",
    "mixed_model": "user",
}
_OF_INPUTS = {
    "picture": ("visual",),
    **dict.fromkeys(("text", "title", "words", "tags", "caption"), ("text",)),
    "both": ("visual", "text"),
}


def of_column(column: str, group: str) -> str:
    """The theme of a column of the matrix; that of a group we do not know is `topic`.

    >>> of_column("hour", "time_place"), of_column("latitude", "time_place"), of_column("place_rise", "trends")
    ('time', 'place', 'place')
    """
    if group in ("time_place", "trends", "known_popularity"):
        if column.startswith(_PLACES):
            return "place"
        if group == "time_place" or column.startswith(_TIMES):
            return "time"
    return _OF_GROUPS.get(group, "topic")


def of_input(name: str) -> tuple[str, ...]:
    """The themes of whole vectors and texts, by the name a recipe gives them.

    >>> of_input("picture"), of_input("glove-title"), of_input("vilt-both")
    (('visual',), ('text',), ('visual', 'text'))
    """
    return _OF_INPUTS.get(name.rpartition("-")[2], ("topic",))


def of_reduction(kind: str, part: Any) -> tuple[str, ...]:
    """The themes of a reduction: by its kind or, where it reads vectors, by what these were made from.

    `part`: the fitted reduction or its settings, which name the column that it reads.
    """
    return (_OF_KINDS[kind],) if kind in _OF_KINDS else of_input(str(getattr(part, "column", "")))
