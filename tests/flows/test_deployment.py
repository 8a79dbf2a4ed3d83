"""prefect.yaml against a real server and a real worker: with a wrong SQLAlchemy no run is ever scheduled, silently."""

import shutil
import time
from pathlib import Path

import pytest

from flickcast import leash
from tests.toys import toy

CHECKOUT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy workspace whose nightly deployment the server knows."""
    root = toy(tmp_path_factory.mktemp("deployed") / "ws")
    shutil.copyfile(CHECKOUT / "prefect.yaml", root / "prefect.yaml")
    for pool in ("cpu", "gpu"):
        server.cli("work-pool", "create", pool, "--type", "process", cwd=root)
    server.cli("deploy", "--all", cwd=root, FLICKCAST_WORKSPACE=str(root), FLICKCAST_CLONE=str(root))
    return root


def until(ask, is_enough):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_enough(found := ask()) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert is_enough(found), found
    return found


def runs_by_hand(server):
    return [run for run in server.ask("flow_runs/filter") if not run["auto_scheduled"]]


def test_nights_are_scheduled(server, root):
    runs = until(lambda: server.ask("flow_runs/filter"), lambda found: any(run["auto_scheduled"] for run in found))
    assert all(run["expected_start_time"][11:16] == "02:30" for run in runs if run["auto_scheduled"])
    (deployment,) = server.ask("deployments/filter", deployments={"name": {"any_": ["nightly"]}})
    assert deployment["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert deployment["global_concurrency_limit"]["limit"] == 1
    assert deployment["parameters"] == {"night": {"workspace": str(root)}}


def test_a_run_by_hand_completes_on_a_worker_and_leaves_its_summary(server, root):
    worker = server.start_worker("cpu")
    try:
        parameter = f'night={{"workspace": "{root}", "date": "2026-01-03"}}'
        server.cli("deployment", "run", "nightly/nightly", "--param", parameter, cwd=root)
        (run,) = until(lambda: runs_by_hand(server), lambda found: found and found[0]["state_type"] in ENDED)
        assert run["state_type"] == "COMPLETED", (server.home / "worker.log").read_text()
        (artifact,) = server.ask("artifacts/filter", artifacts={"key": {"any_": ["night-summary"]}})
        assert artifact["data"].startswith("# Night of 2026-01-03")
        assert artifact["flow_run_id"] == run["id"]
        names = {task["name"].split("-")[0] for task in server.ask("task_runs/filter")}
        assert names == {"ingest", "middle", "last", "publish"}
    finally:
        leash.end(worker)
