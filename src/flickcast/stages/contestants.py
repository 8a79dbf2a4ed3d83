"""Who takes part in a comparison: recipes, learners alone, and what they are measured against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flickcast.errors import UserError, nearest
from flickcast.params import read_yaml
from flickcast.workspace import Workspace, template_root

if TYPE_CHECKING:
    from flickcast.models.ensemble import Ensemble

Json = dict[str, Any]


@dataclass(frozen=True)
class Contestant:
    """A row that is fitted: a recipe, a learner alone, or a reference (models/references.py)."""

    name: str
    kind: str
    recipe: Json | None = None  # the content of its YAML; of a reference its settings
    fits: int = 1  # learners that one fit fits

    @property
    def learners(self) -> int:
        """How many it has."""
        return len((self.recipe or {}).get("learners", [])) or 1

    @property
    def most_rows(self) -> dict[str, int]:
        """Of learners that are kept short, of how many training rows on they take no longer."""
        if self.kind != "recipe":
            return {}
        settings = self.steps(0, 1).settings
        return {name: round(most * settings.folds / (settings.folds - 1)) for name, most in settings.at_night.items()}

    @property
    def fixed_seconds(self) -> dict[str, float]:
        """Of learners with a time limit of their own, as AutoGluon, what all fits take; none where it is missing."""
        from flickcast.models.learners.autogluon import installed

        if not installed():
            return {}
        if self.kind == "reference":
            limit = (self.recipe or {}).get("time_limit")
            return {self.name: float(limit)} if limit else {}
        steps = self.steps(0, 1)
        fits = steps.fits / len(steps.learner_settings) if self.kind == "recipe" else 1
        limited = {name: getattr(one, "time_limit", 0.0) for name, one in steps.learner_settings.items()}
        return {name: seconds * fits for name, seconds in limited.items() if seconds}

    @property
    def reads(self) -> list[str]:
        """The encoders, beside the pair, whose vectors it reads."""
        return [] if self.kind == "reference" else list(self.steps(0, 1).reads)

    def steps(self, seed: int, threads: int) -> "Ensemble":
        """Of a recipe, or of a learner, which is taken as a recipe with nothing else in it."""
        from flickcast.models import recipe_of
        from flickcast.models.ensemble import Ensemble

        if self.kind == "recipe":
            return recipe_of(self.name, self.recipe or {}, seed, threads)
        return Ensemble.from_yaml(self.recipe or {}, self.name, seed, threads)

    def without(self, gone: Sequence[str]) -> "Contestant":
        """The same recipe with fewer learners."""
        if not gone or self.recipe is None:
            return self
        from flickcast.models.ensemble_settings import without_learners

        fewer = replace(self, recipe=without_learners(self.recipe, gone))
        return replace(fewer, fits=fewer.steps(0, 1).fits) if self.kind == "recipe" else fewer


def contestants(ws: Workspace, wanted: Sequence[str], extra: Mapping[str, Json], references: bool) -> list[Contestant]:
    """The rows to fit, references first; UserError with the nearest name for one that is neither recipe nor learner."""
    from flickcast.models import RECIPES
    from flickcast.models.learners import LEARNERS
    from flickcast.models.references import ASKED_FOR, REFERENCES

    names = list(dict.fromkeys(wanted)) or sorted(RECIPES, key=lambda name: (name != "champion", name))
    for name in names:
        if name not in RECIPES and name not in LEARNERS:
            raise UserError(f"--recipes: there is no recipe '{name}'; {nearest(name, [*RECIPES, *LEARNERS])}")
    alone: dict[str, Json] = {name: {"learners": {name: {}}} for name in names if name not in RECIPES}
    alone |= {name: content for name, content in extra.items() if name not in ASKED_FOR}
    if references and "ridge" in LEARNERS:
        alone = {"ridge": {"learners": {"ridge": {}}}} | alone
    known = [Contestant(name, "reference") for name in REFERENCES] if references else []
    known += [Contestant(name, "reference", content) for name, content in extra.items() if name in ASKED_FOR]
    known += [Contestant(name, "learner", content) for name, content in alone.items()]
    return known + [_recipe(ws, name) for name in names if name in RECIPES]


def _recipe(ws: Workspace, name: str) -> Contestant:
    """With the numbers of the workspace's YAML, or of the product's where the workspace is older than the recipe."""
    from flickcast.models import recipe_of

    path = Path("recipes") / f"{name}.yaml"
    content = read_yaml(ws.root / path if (ws.root / path).is_file() else template_root() / path)
    return Contestant(name, "recipe", content, recipe_of(name, content, 0, 1).fits)
