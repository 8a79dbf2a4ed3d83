"""What LSA learned of words goes with the posts that had them."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from disk_writes import Died, death, disk_writes
from test_embedding_stage import night

from flickcast.stages import embed
from flickcast.stages.forgetting import forget
from flickcast.workspace import Workspace

STATE = "encoders/fitted/lsa-text/state.json"
MOMENT = datetime(2026, 4, 1, tzinfo=UTC)
THEIRS = {"x1", "x2", "x3"}


@pytest.fixture
def learned(workspace: Workspace) -> Workspace:
    night(workspace, "n1", {f"p{number}": None for number in range(110)}, title="the sea and the sand")
    night(workspace, "n2", dict.fromkeys(sorted(THEIRS)), title="zeppelina at the sea")
    embed(workspace)
    assert "zeppelina" in (workspace.root / STATE).read_text()
    return workspace


def test_a_word_of_the_forgotten_alone_goes_and_the_next_embed_learns_from_the_rest(learned: Workspace) -> None:
    removed = forget(learned, "post", THEIRS, MOMENT).facts["files_removed"]
    assert STATE in removed
    assert not list((learned.root / "encoders/fitted/lsa-text").iterdir())
    assert embed(Workspace(learned.root)).facts["encoders"]["lsa-text"]["embedded"] == 110
    assert "zeppelina" not in (learned.root / STATE).read_text()


def test_whichever_write_stops_it_the_words_do_not_come_back(learned: Workspace, tmp_path: Path) -> None:
    """The arrays went first: what stayed was damaged, and `dvc checkout` would have brought the words back."""
    folder = "encoders/fitted/lsa-text"
    assert len(list((learned.root / folder).iterdir())) == 2
    for step in (1, 2):
        ws = Workspace(Path(shutil.copytree(learned.root, tmp_path / f"stopped-{step}")))
        with disk_writes(ws.root / folder, step=step, trouble=death(), kinds=("unlink",)), pytest.raises(Died):
            forget(ws, "post", THEIRS, MOMENT)
        if step == 2:
            assert embed(Workspace(shutil.copytree(ws.root, tmp_path / "embedded"))).facts["embedded"] == 110
        forget(Workspace(ws.root), "post", THEIRS, MOMENT, even_if_unknown=True)
        assert not list((ws.root / folder).iterdir())


def test_a_state_whose_words_others_have_too_stays(learned: Workspace) -> None:
    before = (learned.root / STATE).read_bytes()
    forget(learned, "post", {"p1", "p2"}, MOMENT)
    assert (learned.root / STATE).read_bytes() == before


def test_a_damaged_state_goes(learned: Workspace) -> None:
    (learned.root / STATE).write_text("{")
    assert STATE in forget(learned, "post", {"p1"}, MOMENT).facts["files_removed"]
