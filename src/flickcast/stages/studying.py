"""What parts of a recipe are worth: without one of them, and each input alone. Stores no model."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from flickcast.console import progress
from flickcast.records import StageReport
from flickcast.stages.evaluating import Judged
from flickcast.stages.matrix import feature_manifest
from flickcast.stages.recipes import recipe_content
from flickcast.tables import publish_json
from flickcast.workspace import Workspace

Json = dict[str, Any]


def ablate(ws: Workspace, names: Sequence[str]) -> StageReport:
    """The recipe refitted without each of these parts, on the rows the holdout model learnt from, and compared with it.

    Differences are those of the refit minus the holdout model, on the same test posts, with 95 % intervals of paired
    resamples; `paper`: what the recipe's paper reports. No model is stored; the table is in reports/ablation.json.
    """
    from flickcast import models
    from flickcast.evaluation import paired_difference
    from flickcast.metrics import measures
    from flickcast.models.ablation import without

    params = ws.params.train
    model = models.load(ws.root / "models" / params.recipe / "holdout")
    content, manifest = recipe_content(ws), feature_manifest(ws)
    steps = models.steps_of(content, params, ws.params.seed)
    reads = sorted({*model.reads, *steps.reads})
    pair = zip(("picture", "text"), ws.params.embed.pair, strict=True)
    found = [name for name, encoder in (*pair, *zip(reads, reads, strict=True)) if ws.exists(f"embeddings/{encoder}")]
    wanted = {name: without(name, content, manifest, found) for name in dict.fromkeys(names)}
    recipes = {name: models.steps_of(one.content, params, ws.params.seed) for name, one in wanted.items()}
    judged, vectors = Judged.of(ws), ws.vectors(reads)
    whole = model.predict(judged.tested, judged.test, vectors)
    label = judged.test.sort("post_id")["popularity"]
    rows: Json = {"whole": measures(label, whole["prediction"])}
    fitting = _Fitting(judged, vectors, manifest)
    with progress("ablation", sum(recipe.fits for recipe in recipes.values())) as advance:
        for name, reduced in wanted.items():
            said = fitting.predictions(recipes[name], reduced, advance)
            rounds, seed = ws.params.evaluate.bootstrap_rounds, ws.params.seed
            difference = paired_difference(label, said, whole["prediction"], rounds=rounds, seed=seed)
            rows[f"without {name}"] = {
                **measures(label, said),
                "differences": difference,
                **_of_paper(params.recipe, name),
            }
    facts = {"recipe": params.recipe, "model": model.name, "test_posts": len(label), "rows": rows}
    publish_json(ws.root / "reports" / "ablation.json", facts)
    return StageReport("evaluate", facts)


@dataclass(frozen=True)
class _Fitting:
    """Fits of reduced recipes on the holdout model's training rows."""

    judged: Judged
    vectors: pl.DataFrame
    manifest: Json

    def predictions(self, recipe: Any, reduced: Any, advance: Any) -> pl.Series:
        """Of the test posts, by post_id."""
        from flickcast.models import is_transductive, recent_pool

        context = reduced.rows(self._others) if is_transductive(self.manifest) else None
        training, tested = reduced.rows(self._training), reduced.rows(self._tested)
        pool = recent_pool(tested.drop("popularity", strict=False), training, recipe)
        model, _ = recipe.fit(training, reduced.manifest, advance, context, pool)
        return pl.Series("prediction", model.calibration.finish(tested, model.members_say(tested))["prediction"])

    @cached_property
    def _everything(self) -> pl.DataFrame:
        from flickcast.models import gather

        ws = self.judged.ws
        return gather(ws.read("features"), ws.read("posts"), self.vectors)

    @cached_property
    def _training(self) -> pl.DataFrame:
        from flickcast.models import gather

        ws, ids = self.judged.ws, self.judged.train["post_id"].implode()
        labels = ws.read("labels").filter(pl.col("post_id").is_in(ids))
        return gather(ws.read("features"), ws.read("posts"), self.vectors, labels)

    @cached_property
    def _others(self) -> pl.DataFrame:
        return self._everything.join(self.judged.train, on="post_id", how="anti")

    @cached_property
    def _tested(self) -> pl.DataFrame:
        from flickcast.models import gather

        return gather(self.judged.tested, self.judged.test, self.vectors)


def _of_paper(recipe: str, name: str) -> Json:
    from flickcast.models.published import ABLATIONS, WHOLE

    figures = ABLATIONS.get(recipe, {})
    if name not in figures:
        return {}
    return {"paper": {key: getattr(figures[name], key) - getattr(figures[WHOLE], key) for key in ("src", "mae")}}


def univariate(ws: Workspace) -> StageReport:
    """What each theme and each column tells of popularity alone, on the training rows (Ding 2019, Table 2)."""
    from flickcast.models import gather
    from flickcast.models.univariate import FOLDS, columns_alone, sample_of, study, themes_alone

    judged, manifest, seed = Judged.of(ws), feature_manifest(ws), ws.params.seed
    columns = columns_alone(judged.sampled(), manifest, seed)
    ids = sample_of(judged.train.select("post_id"), seed)["post_id"].implode()
    labels = ws.read("labels").filter(pl.col("post_id").is_in(ids))
    rows = gather(ws.read("features"), ws.read("posts"), ws.vectors(), labels)
    vectors = [name for name in ("picture", "text") if rows[name].is_not_null().any()]
    with progress("univariate", FOLDS * len(study(manifest, vectors))) as advance:
        themes = themes_alone(rows, manifest, vectors, seed, ws.params.train.threads, advance)
    facts = {"rows": rows.height, "themes": themes.to_dicts(), "columns": columns.to_dicts()}
    publish_json(ws.root / "reports" / "univariate.json", facts)
    return StageReport("evaluate", facts)
