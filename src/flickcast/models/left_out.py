"""What a recipe names and a workspace does not have: found after training, told to whoever reads its figures."""

from collections.abc import Mapping, Sequence
from typing import Any

from flickcast.models.design import Preparation, PreparationSettings

LeftOut = dict[str, Any]
SENTENCES = {
    "groups": "feature groups without a column in the matrix",
    "columns": "columns that are not in the matrix",
    "read": "columns that a learner reads and nothing makes",
    "classes": "categories that no training post has",
    "vectors": "vectors that no training post has",
    "reductions": "reductions without input",
}


def left_out(
    settings: PreparationSettings, preparations: Sequence[Preparation], learners: Mapping[str, str]
) -> LeftOut:
    """What none of the preparations could read, by kind; `learners`: those that took no part, and why.

    `instead`: encoder to the one that was read in its place. A kind of which nothing is left out is not named.
    """
    columns = {name: group for one in preparations for name, group in one.groups().items()}
    read = {column for one in getattr(settings, "learners", {}).values() for column in one.get("columns") or []}
    instead = {name: other for one in preparations for name, other in one.instead.items()}
    named: dict[str, Sequence[str]] = {
        "groups": [name for name in settings.groups or [] if name not in columns.values()],
        "columns": [name for name in settings.columns or [] if name not in columns],
        "read": [name for name in read if name not in columns],
        "classes": [name for name in settings.classes if name not in columns],
        "vectors": [name for name in settings.vectors if name not in columns],
        "reductions": [name for name in settings.reductions if not any(name in one.reductions for one in preparations)],
    }
    lists = {kind: sorted(names) for kind, names in named.items() if names}
    return lists | {kind: dict(found) for kind, found in (("instead", instead), ("learners", learners)) if found}


def notes(recipe: str, found: LeftOut) -> tuple[str, ...]:
    """A sentence per kind of thing left out, in a user's words; none where all is there.

    >>> notes("fame", {"vectors": ["blip-tags"], "learners": {"autogluon": "it is not installed"}})
    ('fame leaves out vectors that no training post has: blip-tags.', 'fame leaves out autogluon: it is not installed.')
    """
    lists = [
        f"{recipe} leaves out {words}: {', '.join(found[kind])}." for kind, words in SENTENCES.items() if kind in found
    ]
    stand_ins = [f"{other} for {name}" for name, other in found.get("instead", {}).items()]
    lists += (
        [f"{recipe} reads other encoders in the place of those it names: {', '.join(stand_ins)}."] if stand_ins else []
    )
    return (*lists, *(f"{recipe} leaves out {name}: {why}." for name, why in found.get("learners", {}).items()))
