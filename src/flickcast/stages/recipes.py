"""Where a workspace keeps the recipe it trains, and its models."""

from pathlib import Path
from typing import Any

from flickcast.errors import UserError, nearest
from flickcast.params import read_yaml
from flickcast.workspace import Workspace


def model_folder(ws: Workspace, which: str) -> Path | None:
    """Where a model (holdout or final) lies; None in a night that could not train one yet."""
    folder = ws.root / "models" / ws.params.train.recipe / which
    return folder if ws.night is None or folder.is_dir() else None


def recipe_content(ws: Workspace) -> dict[str, Any]:
    """The YAML of train.recipe; UserError with the nearest name where there is none."""
    path = ws.root / "recipes" / f"{ws.params.train.recipe}.yaml"
    if not path.exists():
        known = [other.stem for other in path.parent.glob("*.yaml")]
        raise UserError(f"params.yaml: train.recipe is '{ws.params.train.recipe}'; {nearest(path.stem, known)}")
    return read_yaml(path)
