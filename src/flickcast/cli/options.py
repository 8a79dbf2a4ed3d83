"""Options that many commands share, and how a command shows what it did."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from flickcast.console import printable, say

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="The workspace's folder.", show_default="here")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for programs.")]
HERE = Path()


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Work on a folder: an error of the system that names no file, as a full disk does not, names the folder."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(folder)
        raise


def show(result: dict[str, Any], as_json: bool, title: str = "") -> None:
    """The result of a command on stdout: JSON, or `name: value` lines under a title."""
    if as_json:
        typer.echo(json.dumps(result, indent=1, default=str))
        return
    if title:
        typer.echo(title)
    for name, value in result.items():
        typer.echo(f"  {name.replace('_', ' ')}: {_text(value)}")


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, dict):
        return ", ".join(f"{printable(str(name))} {_text(item)}" for name, item in value.items())
    return printable(str(value))


def notes(lines: tuple[str, ...]) -> None:
    """What the user should know besides the numbers, on stderr."""
    for line in lines:
        say(f"note: {line}")
