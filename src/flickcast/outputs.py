"""Outputs that stages have come to write since a workspace was made: its dvc.yaml learns of them.

What dvc.yaml does not list is neither pushed nor ignored by git, though a manifest in git names it.
"""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from flickcast.console import say
from flickcast.tables import publish
from flickcast.workspace import template_root

Stages = Mapping[str, Any]
KINDS = ("outs", "metrics", "plots")


def list_new_outputs(root: Path) -> None:
    """Add to a workspace's dvc.yaml, comments kept, what the template's stages write and its own do not list.

    Only to stages that run the template's command. What is no stage graph is left as it is: DVC says what is wrong.
    """
    path = root / "dvc.yaml"
    lacking = _lacking(_stages(path), _stages(template_root() / "dvc.yaml"))
    if not lacking:
        return
    from ruamel.yaml import YAML

    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 10_000  # no line is folded
    editor.default_flow_style = None  # what is added looks like the rest
    editor.indent(mapping=2, sequence=4, offset=2)
    content = editor.load(path.read_text(encoding="utf-8"))
    for stage, output in lacking:
        own = content["stages"][stage]
        own["outs"] = own.get("outs") or []  # `outs:` alone lists none
        own["outs"].append(output)
    with io.StringIO() as text:
        editor.dump(content, text)
        publish(path, text.getvalue().encode())
    say(f"{path}: stages write more than it listed. Added: {', '.join(_place(output) for _, output in lacking)}.")


def _lacking(own: Stages, template: Stages) -> list[tuple[str, Any]]:
    """Stage and output, for each that touches none of those listed."""
    listed = [PurePosixPath(place) for stage in own.values() for place in map(_place, _outputs(stage, *KINDS))]
    return [
        (name, output)
        for name, stage in template.items()
        if isinstance(own.get(name), dict) and own[name].get("cmd") == stage["cmd"]
        for output in _outputs(stage, "outs")
        if not any(_overlap(PurePosixPath(_place(output)), one) for one in listed)
    ]


def _overlap(one: PurePosixPath, other: PurePosixPath) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _stages(path: Path) -> Stages:
    try:
        stages = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError):
        return {}
    return stages if isinstance(stages, dict) else {}


def _outputs(stage: Any, *kinds: str) -> Iterator[Any]:
    """What a stage writes: paths, or a path with what DVC is to know of it."""
    for kind in kinds if isinstance(stage, dict) else ():
        listed = stage.get(kind)
        yield from listed if isinstance(listed, list) else ()


def _place(output: Any) -> str:
    return str(next(iter(output), "")) if isinstance(output, dict) else str(output)
