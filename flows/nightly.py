"""A night as Prefect runs it: the stages of dvc.yaml in their order, one task each, then publish and a summary."""

import datetime as dt
import time
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task
from pydantic import BaseModel, ConfigDict, Field

from flickcast import graph, history
from flickcast.console import track
from flickcast.errors import TryAgainError
from flickcast.leftovers import clear_leftovers
from flickcast.workspace import Workspace
from flows.pool import embed_on_pool
from flows.summary import as_markdown, keep_stage, night_summary

StageTask = Task[[Path, dt.date, str, bool], None]


class NightParams(BaseModel):
    """Which nights to run, and how; the form of the Prefect UI."""

    model_config = ConfigDict(extra="forbid")

    workspace: Path = Field(description="Folder of the workspace, on the worker's machine.")
    date: dt.date | None = Field(
        None,
        description="The one night to run; of finished ones only the newest can be repeated. "
        "Empty: all since the last published, up to yesterday (UTC).",
    )
    force: bool = Field(False, description="Run stages even where nothing they depend on has changed.")
    retries: int = Field(2, ge=0, le=10, description="How often a stage is tried again when a service is down.")
    retry_seconds: int = Field(60, ge=0, le=3600, description="Pause before a stage is tried again.")


@flow(name="nightly", persist_result=False, result_serializer="json")
def nightly(night: NightParams) -> list[dict[str, Any]]:
    """Run a night, or all that were missed, oldest first; the summary of each is an artifact of the run."""
    ws = Workspace(night.workspace)
    root = ws.root
    with ws.night_lock():
        clear_leftovers(root)
        history.initialise(root)
        return [_run(root, date, night) for date in history.nights_to_run(root, night.date)]


def _run(root: Path, date: dt.date, night: NightParams) -> dict[str, Any]:
    Workspace(root).set_night(date)
    stages = graph.stage_names(root)
    elsewhere = Workspace(root).params.compute.pool
    for stage in track(stages, f"night of {date}", len(stages)):
        work = pool_task if stage == "embed" and elsewhere else stage_task
        _as_task(work, stage, night)(root, date, stage, night.force)
    published = publish(root, date)
    summary = night_summary(root, date, published)
    create_markdown_artifact(as_markdown(summary), key="night-summary", description=f"Night of {date}")
    for report in summary["reports"]:
        create_link_artifact(Path(report).as_uri(), link_text=Path(report).name, key="night-report")
    return summary


def _as_task(work: StageTask, stage: str, night: NightParams) -> StageTask:
    return work.with_options(name=stage, retries=night.retries, retry_delay_seconds=night.retry_seconds)


def _is_worth_retrying(task: "Task[..., Any]", run: TaskRun, state: State) -> bool:
    return isinstance(state.result(raise_on_failure=False), TryAgainError)


@task(cache_policy=NO_CACHE, persist_result=False, result_serializer="json", retry_condition_fn=_is_worth_retrying)
def stage_task(root: Path, date: dt.date, stage: str, force: bool) -> None:
    """One stage through DVC; what it prints becomes the run's log."""
    started = time.monotonic()
    has_run = graph.run_stage(root, stage, force=force, show=get_run_logger().info)
    keep_stage(root, date, stage, has_run=has_run, seconds=time.monotonic() - started)


@task(cache_policy=NO_CACHE, persist_result=False, result_serializer="json", retry_condition_fn=_is_worth_retrying)
def pool_task(root: Path, date: dt.date, stage: str, force: bool) -> None:
    """The same by a work pool's worker on another machine."""
    started = time.monotonic()
    has_run = embed_on_pool(root, date)
    keep_stage(root, date, stage, has_run=has_run, seconds=time.monotonic() - started)


@task(cache_policy=NO_CACHE, persist_result=False, result_serializer="json")
def publish(root: Path, date: dt.date) -> dict[str, Any]:
    """Push the night's data to DVC's remote and commit what describes it."""
    return history.publish(root, f"Night of {date}", date)
