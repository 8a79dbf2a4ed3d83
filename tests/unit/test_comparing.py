"""Comparisons on a small imported corpus: what is fitted, what is kept, what is said of what goes wrong."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import polars as pl
import pytest
from comparable import comparable, corpus
from toys import command_lines, wait_for

from flickcast.errors import UserError
from flickcast.evaluation import user_mean
from flickcast.metrics import measures
from flickcast.params import read_yaml
from flickcast.stages import comparing
from flickcast.stages.comparing import compare_recipes, plan_of_comparison, write_comparison
from flickcast.stages.contestants import Contestant, contestants
from flickcast.stages.fold_rows import fold_rows
from flickcast.stages.forgetting import forget
from flickcast.stages.judging import Task, run_of
from flickcast.workspace import Workspace, template_root

ROUNDS = 30
Rows = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Made once: what tests keep in it is only runs."""
    folder = tmp_path_factory.mktemp("comparing")
    return comparable(folder / "workspace", corpus(folder / "corpus"))


@pytest.fixture
def own(made: Workspace, tmp_path: Path) -> Workspace:
    """A copy that a test may change."""
    copytree(made.root, tmp_path / "own", ignore=lambda folder, names: [name for name in names if name == ".flickcast"])
    return Workspace(tmp_path / "own")


def rows_of(ws: Workspace, wanted: list[str], split: str = "time", **options: Any) -> Rows:
    result = compare_recipes(ws, wanted, split, references=False, rounds=ROUNDS, **options)
    return {row["row"]: row for row in result.rows}


def nothing_runs(*arguments: Any) -> str:
    raise AssertionError("a process was started")


def test_a_row_per_recipe_beside_baselines_references_and_the_oracle(made: Workspace, tmp_path: Path) -> None:
    result = compare_recipes(made, ["champion"], rounds=ROUNDS, shown=lambda *what: write_comparison(tmp_path, *what))
    rows = {row["row"]: row for row in result.rows}
    baselines = {"global_mean", "global_median", "user_mean"}
    learners = ("ridge", "catboost default", "lightgbm default")
    references = {f"{name}, {columns} columns" for name in learners for columns in ("raw", "simple")} | {"ridge"}
    assert set(rows) == {*baselines, "oracle", *references, "champion"}
    assert [row["note"] for row in rows.values()] == [""] * len(rows)
    assert min(rows, key=lambda name: rows[name]["mae"]) == "oracle"
    champion = rows["champion"]
    assert champion["mae_low"] < champion["mae"] < champion["mae_high"]
    assert champion["fit_seconds"] > 0
    assert 50 < champion["peak_mib"] < 4000
    assert {one["learner"] for one in result.members} == {"lightgbm", "small", "catboost"}
    assert {one["second"] for one in result.tests} == set(rows) - {"champion"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("folds-time.csv", "predictions-time.csv", "time.csv", "time.md", "time.svg"),
    ]
    predictions, folds = (pl.read_csv(tmp_path / f"{name}-time.csv") for name in ("predictions", "folds"))
    assert folds["fold"].drop_nulls().len() == predictions.height == result.facts["posts"]
    recomputed = measures(predictions["popularity"], predictions["champion"])
    assert champion["mae"] == pytest.approx(recomputed["mae"])


def test_baselines_learn_from_the_training_posts_of_each_fold(made: Workspace) -> None:
    row = rows_of(made, ["ridge"], "random")["user_mean"]
    posts = made.read("posts").join(made.read("labels", ("post_id", "popularity")), on="post_id")
    folds = comparing.Contest(made, "random").folds
    posts = posts.join(folds, on="post_id").sort("post_id")
    found = []
    for number in range(5):
        test, train = posts.filter(pl.col("fold") == number), posts.filter(pl.col("fold") != number)
        found.append(measures(test["popularity"], user_mean(test, train))["mae"])
    assert (row["runs"], row["mae"]) == (5, pytest.approx(np.mean(found)))


def test_finished_rows_are_kept_and_not_computed_again(own: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    first = rows_of(own, ["champion"], "user")
    monkeypatch.setattr(comparing, "run_task", nothing_runs)
    assert rows_of(own, ["champion"], "user") == first
    with pytest.raises(AssertionError, match="a process was started"):
        rows_of(own, ["champion"], "user", seeds=2)
    recipe = own.root / "recipes" / "champion.yaml"
    recipe.write_text(recipe.read_text().replace("max_iterations: 30", "max_iterations: 31"))
    with pytest.raises(AssertionError, match="a process was started"):
        rows_of(own, ["champion"], "user")


def test_kept_runs_that_are_damaged_are_computed_again(own: Workspace) -> None:
    """Each fold's in another way."""
    first = rows_of(own, ["lightgbm"], "user")["lightgbm"]
    contest = comparing.Contest(own, "user")
    (row,) = contestants(own, ["lightgbm"], {}, references=False)
    kept = [contest.folder(row) / f"0-{fold}.parquet" for fold in range(5)]
    kept[0].with_suffix(".json").write_text('{"weights')
    kept[1].unlink()
    kept[2].write_bytes(kept[2].read_bytes()[:-20])
    pl.read_parquet(kept[3]).head(3).write_parquet(kept[3])
    pl.read_parquet(kept[4]).with_columns(prediction=pl.lit(float("nan"))).write_parquet(kept[4])
    assert [fold for _, fold in contest.todo(row, 1)] == [0, 1, 2, 3, 4]
    again = rows_of(own, ["lightgbm"], "user")["lightgbm"]
    assert {name: again[name] for name in ("src", "mae", "note")} == {
        name: first[name] for name in ("src", "mae", "note")
    }
    for text in (
        "{}",
        (told := kept[0].with_suffix(".json").read_text()).replace('"fit_seconds": ', '"fit_seconds": NaN'),
    ):
        kept[0].with_suffix(".json").write_text(text)
        assert contest.todo(row, 1) == [(0, 0)]
    kept[0].with_suffix(".json").write_text(told)
    assert contest.todo(row, 1) == []


@pytest.fixture
def autogluon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is there once AutoGluon's environment was made; not there yet."""
    home = tmp_path / "autogluon"
    monkeypatch.setenv("FLICKCAST_AUTOGLUON_PYTHON", str(home / "bin" / "python"))
    return home / "lib" / "python3.11" / "site-packages" / "autogluon_tabular-9.9.dist-info"


def test_rows_are_made_anew_once_autogluon_is_there(own: Workspace, autogluon: Path) -> None:
    (row,) = contestants(own, ["lightgbm"], {}, references=False)
    before = comparing.Contest(own, "user").folder(row)
    assert comparing.Contest(own, "user").folder(row) == before
    autogluon.mkdir(parents=True)
    assert comparing.Contest(own, "user").folder(row) != before


def test_no_comparison_comes_between_the_stages_of_a_night(own: Workspace, flickcast: Callable[..., Any]) -> None:
    with own.night_lock():
        refused = flickcast("compare", "-w", own.root, "--recipes", "lightgbm")
    assert (refused.code, "a night is running there" in refused.err) == (75, True)


def test_another_seed_computes_only_its_own_runs_and_gives_a_spread(own: Workspace) -> None:
    one = rows_of(own, ["lightgbm"])["lightgbm"]
    stamps = {path: path.stat().st_mtime_ns for path in own.state_folder.rglob("0-0.json")}
    two = rows_of(own, ["lightgbm"], seeds=2)["lightgbm"]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert (one["runs"], one["mae_spread"], two["runs"]) == (1, 0.0, 2)
    assert two["mae_spread"] > 0


def test_the_same_comparison_in_another_folder_says_the_same(own: Workspace, made: Workspace) -> None:
    costs = {"fit_seconds", "predict_seconds", "total_seconds", "peak_mib", "front"}
    first, second = (
        {k: v for k, v in rows_of(ws, ["champion"])["champion"].items() if k not in costs} for ws in (own, made)
    )
    assert first == second


def test_a_recipe_that_fails_is_one_sentence_in_its_row(own: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLICKCAST_AUTOGLUON_PYTHON", "/bin/false")
    (own.root / "recipes" / "champion.yaml").write_text("learners: {lightgbm: {}}\nfolds: 2\nrare_below: 2\n")
    broken = {"broken": {"learners": {"autogluon": {}}}}
    rows = rows_of(own, ["champion"], extra=broken)
    assert rows["broken"]["mae"] is None
    assert "\n" not in rows["broken"]["note"]
    assert "Traceback" not in rows["broken"]["note"]
    assert rows["broken"]["note"]
    assert rows["champion"]["mae"] is not None


def test_a_process_that_is_killed_is_one_sentence_in_its_row(own: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system does where memory is short."""
    from flickcast.stages import row_process

    program = "import os, signal, tempfile; tempfile.mkdtemp(); os.kill(os.getpid(), signal.SIGKILL)"
    folder = own.root / "dies"
    folder.mkdir()
    (folder / "dying.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    start = row_process.leash.start
    monkeypatch.setattr(row_process.leash, "start", lambda module, *rest, **named: start("dying", *rest, **named))
    note = rows_of(own, ["lightgbm"])["lightgbm"]["note"]
    assert note == "Its process was ended by signal 9; out of memory, if that was 9."
    assert list(own.state_folder.rglob("comparison/*/task.json"))
    assert not list(own.state_folder.rglob("temporary")), "what a killed process had there is gone"


def test_a_budget_leaves_learners_out_in_the_declared_order_and_says_so(own: Workspace) -> None:
    estimates = {
        "champion": comparing.Estimate(
            0.0,
            0.0,
            100.0,
            {"catboost": 60.0, "small": 30.0, "lightgbm": 10.0},
            ("catboost", "small"),
            (0.6, 0.59, 0.58),
        )
    }
    schedule = comparing.Schedule(comparing.Contest(own, "time"), 1, 65.0, estimates)
    (row,) = comparing.contestants(own, ["champion"], {}, references=False)[-1:]
    entry = schedule.judged(row, [], lambda count: None)
    assert entry.notes == [
        "Left out for time: catboost; in a trial fit of 0 posts SRC went from 0.600 to 0.590 without it."
    ]
    assert set(entry.runs[0].weights) == {"lightgbm", "small"}


def test_a_spent_budget_keeps_what_there_is_and_says_so(own: Workspace) -> None:
    rows = rows_of(own, ["lightgbm", "champion"], "user", budget_seconds=0.01)
    assert {rows[name]["note"] for name in ("lightgbm", "champion")} == {"Not run: the budget is spent."}
    assert rows["user_mean"]["mae"] > 0


def test_a_row_that_passes_its_limit_is_stopped(own: Workspace) -> None:
    schedule = comparing.Schedule(comparing.Contest(own, "time"), 1, 6.5)
    row = comparing.contestants(own, ["champion"], {}, references=False)[-1]
    began = comparing.time.monotonic()
    entry = schedule.judged(row, [], lambda count: None)
    assert comparing.time.monotonic() - began < 3
    assert (list(entry.notes), list(entry.runs)) == (["Stopped: the budget is spent."], [])


def slow_rows(monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[comparing.Task]:
    """What rows were asked to do: none does it, each takes so long, the first tells of a fit of each learner."""
    tasks: list[comparing.Task] = []

    def slow(task: comparing.Task, limit: float, tell: Callable[[dict[str, Any]], None]) -> str:
        tasks.append(task)
        comparing.time.sleep(seconds)
        for _ in task.recipe["learners"] if task.recipe and len(tasks) == 1 else ():
            tell({"fitted": 1})
        return ""

    monkeypatch.setattr(comparing, "run_task", slow)
    return tasks


def test_a_row_that_is_slower_than_its_trial_starts_again_with_fewer_learners(
    own: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial said half a second. A tenth of the fits took 0.3 s, so all would take 3 s, and 2 s are left."""
    tasks = slow_rows(monkeypatch, 0.3)
    learners = {"catboost": 0.04, "small": 0.03, "lightgbm": 0.03}
    trial = comparing.Estimate(0.0, 0.0, 0.1, learners, ("catboost", "small"), (0.6, 0.5, 0.4))
    contest = comparing.Contest(own, "user")
    (row,) = comparing.contestants(own, ["champion"], {}, references=False)
    assert contest.todo(row, 1)
    schedule = comparing.Schedule(contest, 1, 2.0 + comparing.RESERVE_SECONDS, {"champion": trial})
    entry = schedule.judged(row, [], lambda count: None)
    assert [len(task.recipe["learners"]) for task in tasks if task.recipe] == [3, 1]
    assert "Left out for time: catboost, small;" in " ".join(entry.notes)
    assert tasks[0].folder != tasks[1].folder


def test_a_row_that_is_slower_each_time_gives_more_each_time(own: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows before it were far quicker than estimated, which says nothing of this one."""
    tasks = slow_rows(monkeypatch, 0.6)
    learners = {"catboost": 0.4, "small": 0.03, "lightgbm": 0.03}
    trial = comparing.Estimate(0.0, 0.0, 0.5, learners, ("catboost", "small"), (0.6, 0.5, 0.4))
    (row,) = comparing.contestants(own, ["champion"], {}, references=False)
    estimates = {"champion": trial}
    schedule = comparing.Schedule(comparing.Contest(own, "time"), 1, 1.0 + comparing.RESERVE_SECONDS, estimates)
    schedule.paces.append((10.0, 500.0))
    schedule.judged(row, [], lambda count: None)
    assert [len(task.recipe["learners"]) for task in tasks if task.recipe][:2] == [3, 2]


def test_a_recipe_with_fewer_learners_has_fewer_fits(own: Workspace, autogluon: Path) -> None:
    whole = next(row for row in contestants(own, ["fame"], {}, False) if row.name == "fame")
    fewer = whole.without(["autogluon"])
    assert (whole.learners, fewer.learners) == (4, 3)
    assert fewer.fits * 4 == whole.fits * 3
    assert whole.fixed_seconds == {}, "it is not installed, so it takes no time"
    autogluon.mkdir(parents=True)
    assert whole.fixed_seconds == {"autogluon": 120 * 5}
    assert fewer.fixed_seconds == {}
    champion = read_yaml(template_root() / "recipes" / "champion.yaml")
    short = champion | {"folds": 4, "at_night": {"lightgbm": 60_000, "tabm": 10_000}}
    assert Contestant("champion", "recipe", short).most_rows == {"lightgbm": 80_000, "tabm": 13_333}


def test_one_user_is_a_sentence_in_the_row_of_a_learner(own: Workspace) -> None:
    users = own.read("posts", ("post_id", "user_id"))
    busiest = users.filter(pl.col("user_id") == users["user_id"].mode().sort()[0])
    posts = own.read("labels", ("post_id",)).join(busiest, on="post_id", how="semi")["post_id"].sort()
    folds = pl.DataFrame({"post_id": posts, "fold": [0, *[None] * (len(posts) - 1)]})
    recipe = {"learners": {"lightgbm": {}}}
    task = Task(root=own.root, row="lightgbm", kind="learner", recipe=recipe, split="time", todo=[], folder=own.root)
    with pytest.raises(UserError, match="at least 2 users"):
        run_of(own, task, fold_rows(own, folds, 0), 0, 0, lambda count: None)


def test_a_plan_says_what_each_row_takes_and_runs_none(own: Workspace) -> None:
    plan = plan_of_comparison(own, ["lightgbm", "champion"], "user", budget_seconds=3600, references=False)
    assert plan["seconds"].keys() == {"lightgbm", "champion"}
    assert plan["seconds_in_all"] == pytest.approx(sum(plan["seconds"].values()), abs=0.5)
    assert not list(own.state_folder.rglob("?-?.json"))


def test_the_official_split_predicts_the_test_files_and_is_measured_by_given_answers(
    tmp_path: Path, flickcast: Callable[..., Any]
) -> None:
    ws = comparable(tmp_path / "workspace", corpus(tmp_path / "corpus", test_days=4))
    unlabelled = ws.read("posts").height - ws.read("labels").height
    told: list[Any] = []
    result = compare_recipes(
        ws, ["lightgbm"], "smpd", references=False, rounds=ROUNDS, shown=lambda *what: told.append(what)
    )
    assert result.rows[-1]["mae"] is None
    assert told[-1][2].height == unlabelled > 20
    assert told[-1][2]["lightgbm"].is_finite().all()
    from flickcast.stages import read_source

    done = flickcast("compare", "-w", ws.root, "--split", "smpd", "--answers", tmp_path / "corpus", "--plan")
    assert (done.code, done.out) == (2, "")
    assert "holds no label of a post that is stored without one" in done.err
    answers = read_source("smpd-image", corpus(tmp_path / "answers")).imported_labels
    rows = rows_of(ws, ["lightgbm"], "smpd", answers=answers)
    truth = told[-1][2].join(answers, on="post_id", suffix="_true")
    assert truth.height == unlabelled
    assert rows["lightgbm"]["mae"] == pytest.approx(measures(truth["popularity_true"], truth["lightgbm"])["mae"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--split", "tim"], "--split: there is no split 'tim'; did you mean 'time'?"),
        (["--recipes", "champoin"], "--recipes: there is no recipe 'champoin'; did you mean 'champion'?"),
        (["--budget", "40"], "'40' is no duration; write it as 40m, 1h30m or 90s."),
        (["--answers", "x"], "--answers goes with --split smpd only"),
        (["--recipes", ","], "--recipes names none"),
        (["--recipes", ""], "--recipes names none"),
        (["--split", "smpd", "--plan", "--answers", "nowhere"], "nowhere"),
        (["--split", "smpd"], "without are stored; it learns from the former and predicts the latter"),
    ],
)
def test_a_wrong_word_is_one_sentence(
    made: Workspace, flickcast: Callable[..., Any], arguments: list[str], said: str
) -> None:
    done = flickcast("compare", "-w", made.root, *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert done.err.count("\n") == 1


def test_too_few_labels_are_one_sentence(workspace: Workspace, flickcast: Callable[..., Any]) -> None:
    done = flickcast("compare", "-w", workspace.root)
    assert done.code == 2
    assert "0 labelled posts are too few" in done.err


def test_the_command_prints_json_alone_and_writes_its_files(made: Workspace, flickcast: Callable[..., Any]) -> None:
    done = flickcast("compare", "-w", made.root, "--recipes", "lightgbm", "--no-references", "--json")
    assert done.code == 0
    assert "lightgbm" in {row["row"] for row in json.loads(done.out)["rows"]}
    assert "lightgbm: SRC" in done.err
    assert (made.root / "comparison" / "time.svg").read_text().startswith("<svg")


def test_ctrl_c_ends_with_130_and_finished_rows_are_kept(own: Workspace) -> None:
    recipes = "--recipes", "lightgbm,champion", "--no-references", "--split", "user"
    command = [sys.executable, "-m", "flickcast", "compare", "-w", str(own.root), *recipes]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    assert any(line.startswith("lightgbm: SRC") for line in child.stderr)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert (child.returncode, "Traceback" in said) == (130, False)
    assert wait_for(lambda: not any("judging" in line and str(own.root) in line for line in command_lines()), 10)
    contest = comparing.Contest(own, "user")
    first, second = comparing.contestants(own, ["lightgbm", "champion"], {}, references=False)
    assert (contest.todo(first, 1), contest.todo(second, 1) != []) == ([], True)
    assert "lightgbm" in (own.root / "comparison" / "user.md").read_text()


def test_what_is_forgotten_leaves_the_comparison_too(own: Workspace) -> None:
    contest = comparing.Contest(own, "user")
    entries = contest.baselines()
    so_far = comparing.Comparison("user", [entry.figures(contest.labels) for entry in entries])
    write_comparison(own.root / "comparison", so_far, contest.folds, contest.predictions(entries))
    post_id = contest.tested["post_id"][0]
    naming = [path.name for path in (own.root / "comparison").iterdir() if post_id in path.read_text()]
    assert {"folds-user.csv", "predictions-user.csv"} <= set(naming)
    forget(own, "post", [post_id], datetime(2026, 4, 1, tzinfo=UTC))
    assert [path.name for path in (own.root / "comparison").iterdir() if post_id in path.read_text()] == []


def test_a_trial_that_passes_its_share_is_taken_at_its_word_so_far(
    own: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 4 s a fifth is for trials; the row's is stopped after it, and the row is taken to need that much per trial."""
    limits: list[float] = []

    def never_ending(task: comparing.Task, limit: float, tell: Callable[[dict[str, Any]], None]) -> str:
        limits.append(limit)
        comparing.time.sleep(limit)
        return "Stopped: the budget is spent."

    monkeypatch.setattr(comparing, "run_task", never_ending)
    schedule = comparing.Schedule(comparing.Contest(own, "user"), 1, 4.0)
    schedule.estimate(comparing.contestants(own, ["champion"], {}, references=False))
    found = schedule.estimates["champion"]
    assert limits == [pytest.approx(0.8, abs=0.2)]
    assert found.fit >= 0.8
    assert set(found.learners) == {"catboost", "lightgbm", "small"}
    assert sum(found.learners.values()) == pytest.approx(found.fit)
    assert found.drop_first == ("catboost", "small")


def test_short_rows_that_were_quick_promise_little_to_long_ones(own: Workspace) -> None:
    schedule = comparing.Schedule(comparing.Contest(own, "user"), 1, 1000.0)
    assert schedule.pace == pytest.approx(1)
    schedule.paces.append((10.0, 80.0))
    assert schedule.pace == pytest.approx((10 + 100) / (80 + 100))
    schedule.paces.append((400.0, 100.0))
    assert schedule.pace == pytest.approx(410 / 180), "what was slow is believed"


def test_a_trial_does_without_learners_whose_time_is_known(own: Workspace, autogluon: Path) -> None:
    autogluon.mkdir(parents=True)
    whole = next(row for row in contestants(own, ["fame"], {}, False) if row.name == "fame")
    schedule = comparing.Schedule(comparing.Contest(own, "time"), 1)
    schedule.estimate([whole])
    found = schedule.estimates["fame"]
    assert (found.untried, found.learners["autogluon"]) == (("autogluon",), 600)
    assert found.seconds(1, 1) > 600
    assert found.drop_first[0] == "autogluon"


@pytest.mark.parametrize("wanted", ["autogluon", "fame"])
def test_learners_whose_time_is_known_need_no_trial(
    own: Workspace, autogluon: Path, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    autogluon.mkdir(parents=True)
    monkeypatch.setattr(comparing, "run_task", nothing_runs)
    (own.root / "recipes" / "fame.yaml").write_text("learners: {autogluon: {time_limit: 1e1}}\nfolds: 2")
    schedule = comparing.Schedule(comparing.Contest(own, "user"), 1)
    schedule.estimate(contestants(own, [wanted], {}, references=False))
    assert schedule.estimates[wanted].seconds(5, 1) == 5 * {"autogluon": 600, "fame": 20}[wanted]


def test_time_that_a_trial_did_not_need_goes_to_those_after_it(own: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []

    def at_once(task: comparing.Task, limit: float, tell: Callable[[dict[str, Any]], None]) -> str:
        limits.append(limit)
        return "It failed."

    monkeypatch.setattr(comparing, "run_task", at_once)
    comparing.Schedule(comparing.Contest(own, "user"), 1, 100.0).estimate(
        comparing.contestants(own, ["lightgbm", "champion"], {}, references=False)
    )
    assert limits == [pytest.approx(10, abs=1), pytest.approx(20, abs=1)]


def test_a_trial_that_is_stopped_between_fits_tells_which_learner_is_slow(own: Workspace) -> None:
    """A real process: of ten fits of three learners it is stopped after the first few."""
    (row,) = comparing.contestants(own, ["champion"], {}, references=False)
    schedule = comparing.Schedule(comparing.Contest(own, "user"), 1)
    trial = comparing._Trial()

    def stop_amid(message: dict[str, Any]) -> None:
        trial.hear(message)
        if len(trial.moments) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        schedule._run(row, [], None, stop_amid, 250)
    found = trial.stopped([], {}, comparing.time.monotonic() - trial.began)
    assert (trial.told, set(found["learners"])) == (None, {"catboost", "lightgbm", "small"})
    assert 0 < found["rows"] <= found["of"]
    assert found["seconds"] == pytest.approx(sum(found["learners"].values()))
