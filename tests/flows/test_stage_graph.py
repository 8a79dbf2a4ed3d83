"""dvc.yaml with the real stages: from an import to a report, nothing twice, and only what a change concerns."""

import re
import shutil
import subprocess
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import table_rows as rows

from flickcast import history, leash, stages
from flickcast.records import Batch
from flickcast.simulate.corpus import write_corpus
from flickcast.simulate.world import World, WorldParams
from flickcast.workspace import Workspace, create_workspace, set_params

START = date(2026, 1, 1)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with git and DVC after an import and one `dvc repro`."""
    folder = tmp_path_factory.mktemp("graph")
    world = World(WorldParams(seed=4, users=40, posts_per_day=15, start=START))
    last, now = START + timedelta(days=19), datetime(2026, 3, 1, tzinfo=UTC)
    write_corpus(world, folder / "corpus", START, last, now, pictures=False, test_from=last - timedelta(days=3))
    root = folder / "workspace"
    create_workspace(root)
    history.initialise(root)
    stages.import_batch(Workspace(root), stages.read_source("smpd-image", folder / "corpus"))
    assert ran(root) == ["ingest", "embed", "labels", "aggregate", "features", "train", "evaluate", "predict", "drift"]
    history.publish(root, "Imported")
    return root


def ran(root: Path, *arguments: str) -> list[str]:
    """The stages that `dvc repro` ran."""
    outcome = leash.dvc(root, "repro", *arguments)
    assert outcome.code == 0, outcome.text
    return re.findall(r"Running stage '(\w+)'", outcome.text)


def test_a_second_repro_does_nothing(imported: Path) -> None:
    assert ran(imported) == []


def test_a_changed_parameter_runs_only_what_depends_on_it(imported: Path) -> None:
    set_params(imported / "params.yaml", {"evaluate.bootstrap_rounds": "100"})
    assert ran(imported) == ["evaluate"]
    set_params(imported / "params.yaml", {"label.formula": "log2_views_per_day"})
    assert ran(imported)[0] == "labels"
    set_params(imported / "params.yaml", {"evaluate.bootstrap_rounds": "200", "label.formula": "log2_views"})


def test_metrics_and_plots_are_dvcs(imported: Path, tmp_path: Path) -> None:
    assert "evaluation.json" in leash.dvc(imported, "metrics", "show").text
    assert leash.dvc(imported, "plots", "show", "-o", str(tmp_path)).code == 0
    assert (tmp_path / "index.html").stat().st_size > 1000


def test_a_clone_without_its_data_refuses_to_start_history_anew(imported: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(imported), str(clone)], check=True)
    shutil.copytree(imported / ".dvc" / "remote", clone / ".dvc" / "remote")
    refused = leash.dvc(clone, "repro")
    assert refused.code != 0
    assert "dvc pull" in refused.text
    assert leash.dvc(clone, "pull").code == 0
    assert ran(clone) == []
    assert Workspace(clone).read("posts").equals(Workspace(imported).read("posts"))
    before = parts(clone)
    late = rows.posts({"post_id": "new", "posted_at": datetime(2026, 2, 20, tzinfo=UTC), "source": "smpd-image"})
    batch = Batch(source="smpd-image", posts=late, users=rows.users(), found=1)
    stages.store(Workspace(clone), batch, "more", datetime(2026, 3, 1, tzinfo=UTC))
    assert "features" in ran(clone, "features")
    after = parts(clone)
    assert {path: after.get(path) for path in before} == before, "what the pull brought is not computed again"
    added = {path.rsplit("/", 1)[0] for path in set(after) - set(before)}
    assert {"data/aggregates/users", "data/features"} <= added
    assert "new" in set(Workspace(clone).read("features")["post_id"])


def parts(root: Path) -> dict[str, tuple[int, int]]:
    """Which file each part of a derived table is, so that one written anew shows."""
    found = (
        path for name in ("labels", "aggregates", "features") for path in (root / "data" / name).rglob("*.parquet")
    )
    return {str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}
