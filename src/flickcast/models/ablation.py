"""A recipe without one of its parts: a theme, a feature group, an input, a learner, or a step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from pydantic import TypeAdapter

from flickcast.errors import UserError, nearest
from flickcast.models.ensemble_settings import without_learners
from flickcast.models.reductions import ReductionSettings
from flickcast.models.themes import THEMES, of_column, of_input, of_reduction

Json = dict[str, Any]
Manifest = Mapping[str, Mapping[str, Any]]
TOGETHER = "+"  # between parts that are taken away at once
FOLDS = "folds"
# The recipe's key of a step; null switches it off.
STEPS = {"pseudo-labels": "pseudo", "filter": "outlier_factor"}
# What `gather` adds to the matrix, by theme: post and user ids and moments are no inputs.
GATHERED = {"text": ("title", "words", "tags"), "place": ("latitude", "longitude")}
_Reduction: TypeAdapter[Any] = TypeAdapter(ReductionSettings)


@dataclass(frozen=True)
class Reduced:
    """What is left of a recipe's YAML and of its columns, and the columns of the rows that count as missing."""

    content: Json
    manifest: Manifest
    missing: frozenset[str] = frozenset()

    def rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows that `gather` made, with nulls in what was taken away."""
        gone = [name for name in rows.columns if name in self.missing]
        return rows.with_columns(pl.lit(None, rows.schema[name]).alias(name) for name in gone)


def without(names: str, content: Mapping[str, Any], manifest: Manifest, vectors: list[str]) -> Reduced:
    """The recipe without a part, or without several written with a plus sign: `visual`, `text+time`.

    A part is a theme (visual, text, user, time, place, topic), a feature group, an entry of the recipe's reductions,
    a vector or an encoder, a learner, or a step (pseudo-labels, filter, folds). `vectors`: those that rows have.
    UserError with the nearest name for one that this recipe does not have.
    """
    reduced = Reduced(dict(content), manifest)
    wanted = [name.strip() for name in names.split(TOGETHER)]
    if not all(wanted) or len(set(wanted)) < len(wanted):
        raise UserError(f"--without '{names}': name a part, or several with a plus sign, each once.")
    for name in wanted:
        known = parts(reduced, vectors)
        if name not in known and name in parts(Reduced(dict(content), manifest), vectors):
            raise UserError(f"--without {names}: '{name}' cannot go as well: it is the last of them, or went before.")
        if name not in known:
            raise UserError(f"--without {name}: the recipe has no such part here; {nearest(name, known)}")
        reduced = known[name](reduced)
    return reduced


def parts(of: Reduced, vectors: list[str]) -> dict[str, Callable[[Reduced], Reduced]]:
    """What can be taken away, by name."""
    instead = of.content.get("instead") or {}
    read = {*of.content.get("vectors", ()), *(part.get("column") for part in _reductions(of).values())}
    read |= {instead[name] for name in read if name in instead and name not in vectors}
    inputs = {name for name in vectors if name in read}
    groups = {str(entry["group"]) for entry in of.manifest.values()}
    found: dict[str, Callable[[Reduced], Reduced]] = {
        **{group: _group(group) for group in groups},
        **{name: _input(name) for name in inputs},
        **{theme: _theme(theme, vectors) for theme in THEMES if _is_there(of, theme, inputs)},  # `text` is the theme
    }
    found |= {name: _both(found.get(name), _reduction(name)) for name in _reductions(of)}
    learners = of.content.get("learners", {})
    found |= {name: _learner(name) for name in learners if len(learners) > 1}
    found |= {step: _step(key) for step, key in STEPS.items() if of.content.get(key)}
    if of.content.get("folds_by") != "newest":
        found[FOLDS] = lambda reduced: replace(reduced, content={**reduced.content, "folds_by": "newest"})
    return found


def only(themes: str, content: Mapping[str, Any], manifest: Manifest, vectors: list[str]) -> Reduced:
    """The opposite: the recipe with these themes (written with a plus sign) as its only inputs."""
    kept = themes.split(TOGETHER)
    reduced = Reduced(dict(content), manifest)
    for theme in THEMES:
        if theme not in kept:
            reduced = _theme(theme, vectors, set(kept))(reduced)
    return reduced


def _is_there(of: Reduced, theme: str, inputs: set[str]) -> bool:
    columns = (of_column(name, entry["group"]) for name, entry in of.manifest.items())
    reductions = (_themes(part) for part in _reductions(of).values())
    whole = (of_input(name) for name in (*inputs, *of.content.get("texts", ())))
    return theme in columns or any(theme in themes for themes in (*reductions, *whole))


def _theme(theme: str, vectors: list[str], kept: set[str] = frozenset()) -> Callable[[Reduced], Reduced]:  # type: ignore[assignment]
    """Without whatever tells of a theme; what tells of one that is kept as well stays."""

    def gone(themes: tuple[str, ...]) -> bool:
        return theme in themes and kept.isdisjoint(themes)

    def take(of: Reduced) -> Reduced:
        columns = {name for name, entry in of.manifest.items() if gone((of_column(name, entry["group"]),))}
        inputs = {name for name in vectors if gone(of_input(name))}
        content = of.content | {
            "reductions": {name: part for name, part in _reductions(of).items() if not gone(_themes(part))},
            "vectors": [name for name in of.content.get("vectors", ()) if not gone(of_input(name))],
            "texts": [name for name in of.content.get("texts", ()) if not gone(of_input(name))],
        }
        return _missing(replace(of, content=content), {*columns, *inputs, *GATHERED.get(theme, ())})

    return take


def _group(group: str) -> Callable[[Reduced], Reduced]:
    return lambda of: _missing(of, {name for name, entry in of.manifest.items() if entry["group"] == group})


def _input(name: str) -> Callable[[Reduced], Reduced]:
    def take(of: Reduced) -> Reduced:
        whole = [one for one in of.content.get("vectors", ()) if one != name]
        instead = {
            key: other for key, other in (of.content.get("instead") or {}).items() if key != name
        }  # nothing stands in
        return _missing(replace(of, content=of.content | {"vectors": whole, "instead": instead}), {name})

    return take


def _reduction(name: str) -> Callable[[Reduced], Reduced]:
    def take(of: Reduced) -> Reduced:
        others = {key: part for key, part in _reductions(of).items() if key != name}
        return replace(of, content=of.content | {"reductions": others})

    return take


def _learner(name: str) -> Callable[[Reduced], Reduced]:
    return lambda of: replace(of, content=without_learners(of.content, [name]))


def _step(key: str) -> Callable[[Reduced], Reduced]:
    return lambda of: replace(of, content={**of.content, key: None})


def _both(
    first: Callable[[Reduced], Reduced] | None, second: Callable[[Reduced], Reduced]
) -> Callable[[Reduced], Reduced]:
    return second if first is None else lambda of: second(first(of))


def _missing(of: Reduced, columns: set[str]) -> Reduced:
    manifest = {name: entry for name, entry in of.manifest.items() if name not in columns}
    return replace(of, manifest=manifest, missing=of.missing | columns)


def _reductions(of: Reduced) -> dict[str, Json]:
    return dict(of.content.get("reductions") or {})


def _themes(part: Mapping[str, Any]) -> tuple[str, ...]:
    settings = _Reduction.validate_python(part)
    return of_reduction(settings.kind, settings)
