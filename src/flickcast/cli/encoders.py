"""Commands about encoders: `encoders list`, `pull`, `fit`."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from flickcast.cli.options import HERE, JsonOption, WorkspaceOption, show
from flickcast.console import say
from flickcast.params import EmbedParams, read_params
from flickcast.workspace import Workspace

WIDTH = 132
encoders_app = typer.Typer(no_args_is_help=True, help="Pretrained models that turn pictures and texts into vectors.")


@encoders_app.command("list")
def encoders_list(
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also the models of open_clip without weights here.")
    ] = False,
) -> None:
    """Which encoders exist, what they read, how long their vectors are, and which have their weights here."""
    from flickcast.embeddings.catalogue import list_encoders

    found = list(list_encoders(_params(workspace), workspace))
    if as_json:
        show({"encoders": found}, as_json=True)
        return
    shown = [one for one in found if everything or one["here"] or one["used"] or not one["of_open_clip"]]
    typer.echo(_tables(shown))
    if more := len(found) - len(shown):
        say(f"and {more} more of open_clip: `flickcast encoders list --all`")


@encoders_app.command("pull")
def encoders_pull(
    name: Annotated[str, typer.Argument(help="An encoder, e.g. ViT-B-32-picture, or a model of open_clip.")],
    pretrained: Annotated[
        str | None, typer.Option(help="Which of open_clip's weights, or another repository of the hub.")
    ] = None,
) -> None:
    """Fetch an encoder's weights."""
    from flickcast.embeddings.encoders import pull

    say(f"{name}: {pull(name, pretrained)}")


@encoders_app.command("fit")
def encoders_fit(
    name: Annotated[str, typer.Argument(help="An encoder that learns from the corpus, e.g. lsa-text.")],
    workspace: WorkspaceOption = HERE,
) -> None:
    """Let an encoder learn from the texts known now; `flickcast embed` then makes all its vectors anew."""
    from flickcast.stages.embedding import fit

    ws = Workspace(workspace)
    with ws.lock(f"flickcast encoders fit {name}"):
        say(f"{name} has learned from {fit(ws, name)} texts.")


def _params(folder: Path) -> EmbedParams:
    path = folder / "params.yaml"
    return read_params(path).embed if path.exists() else EmbedParams()


def _tables(rows: Sequence[dict[str, Any]]) -> str:
    """The encoders by what is to be done before they can be used."""
    here = [row for row in rows if row["here"]]
    to_bring = [row for row in rows if not row["here"] and row["to_bring"]]
    to_fetch = [row for row in rows if not row["here"] and not row["to_bring"]]
    with io.StringIO() as text:
        console = Console(file=text, width=WIDTH, highlight=False, markup=False)
        for title, some in (
            ("Ready (* named in params.yaml)", here),
            ("After `flickcast encoders pull NAME --pretrained WEIGHTS` (these in brackets)", to_fetch),
            ("With a file of yours, named in params.yaml as embed.weights.NAME", to_bring),
        ):
            if some:
                console.print(_table(title, some), "")
        return "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())


def _table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for head in ("", "encoder", "reads", "length", "what it is"):
        table.add_column(head, justify="right" if head == "length" else "left", no_wrap=head == "encoder")
    for row in rows:
        weights = f" ({row['weights']})" if row["of_open_clip"] or "/" in row["weights"] else ""
        also = f"\nalso {', '.join(row['also'])}" if row["also"] else ""
        table.add_row(
            "*" if row["used"] else "",
            row["encoder"],
            " + ".join(row["reads"]),
            str(row["dimension"] or ""),
            f"{row['meaning']}{weights}{also}",
        )
    return table
