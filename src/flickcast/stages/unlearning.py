"""States of encoders that learned words from texts of which some are forgotten since."""

from pathlib import Path

from flickcast.embeddings.fitted import STATE
from flickcast.errors import UserError
from flickcast.stages.embedding import texts_of
from flickcast.workspace import Workspace


def unlearn(ws: Workspace) -> list[str]:
    """Delete every state with a word that too few of the posts still have; which files. The next embed learns anew.

    The words go first. Whatever stops this, arrays that no words belong to are none that anybody reads.
    """
    gone: list[Path] = []
    for folder in sorted(path for path in (ws.root / "encoders" / "fitted").glob("*") if path.is_dir()):
        if _knows_too_much(ws, folder.name):
            files = [path for path in folder.iterdir() if path.is_file()]
            gone += sorted(files, key=lambda path: (path.name != STATE, path.name))
    for path in gone:
        path.unlink()
    return [str(path.relative_to(ws.root)) for path in gone]


def _knows_too_much(ws: Workspace, name: str) -> bool:
    """GloVe's words are those of its file, and LSA's are those of the posts."""
    from flickcast.embeddings import fitted, lsa

    try:
        facts = fitted.load_state(name, ws.root).facts
        return facts["kind"] == "lsa" and not lsa.are_common(facts["words"], texts_of(ws, name))
    except UserError:
        return True  # damaged or half deleted, so that nobody can tell
