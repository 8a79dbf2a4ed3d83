"""Why one post is predicted as it is: the prediction taken apart, the user's past, and known posts that are alike."""

import bisect
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from flickcast.errors import UserError
from flickcast.explain import Explanation, Scale
from flickcast.explain.chart import svg
from flickcast.stages.evaluating import Judged
from flickcast.stages.matrix import feature_manifest
from flickcast.stages.recipes import recipe_content
from flickcast.tables import publish
from flickcast.workspace import Workspace

if TYPE_CHECKING:
    from flickcast.models import Model
    from flickcast.models.contributions import Contributions

Json = dict[str, Any]
FOLDER = Path("reports") / "explain"
ALIKE = 3
AT_ONCE = 50_000  # vectors that are compared with a post's
NEIGHBOURS = 20  # ids before and after an unknown one, read forwards and backwards, that it may be a slip of
SAFE = re.compile(r"[A-Za-z0-9@_-][A-Za-z0-9@._-]{0,79}")
BAND = 0.8  # a recipe's, where it does not say


def explain(ws: Workspace, post_id: str) -> Explanation:
    """The prediction of a post, by the model in use.

    A post of the newest 20 % of the labelled ones is explained by the holdout model, which has not learnt from it and
    knows no label of its time; any other by the final one. UserError with the nearest id for a post that is not stored.
    """
    from flickcast import models
    from flickcast.models.contributions import contributions

    post = _post(ws, post_id)
    judged = Judged.of(ws)
    is_tested = post_id in judged.test["post_id"]
    model = models.load(ws.root / "models" / ws.params.train.recipe / ("holdout" if is_tested else "final"))
    matrix = judged.matrix(post) if is_tested else _matrix(ws, post_id)
    rows = models.gather(matrix, post, vectors_of(ws, post["post_id"], model.reads))
    labels = pl.concat([judged.train, judged.test]).select("post_id", "popularity")
    known = dict(labels.filter(pl.col("post_id") == post_id).iter_rows())
    told = _told(ws, post.row(0, named=True), model, contributions(model, rows), matrix)
    return replace(
        told,
        label=known.get(post_id),
        is_learnt_from=bool(known) and not is_tested,
        past=_past(ws, post),
        alike=_alike(ws, post_id, labels),
    )


def keep_picture(ws: Workspace, told: Explanation, out: Path | None = None) -> Path:
    """Write the picture to reports/explain/POST_ID.svg, or where asked; where it is."""
    name = told.post_id if SAFE.fullmatch(told.post_id) else hashlib.sha256(told.post_id.encode()).hexdigest()[:16]
    path = out or ws.root / FOLDER / f"{name}.svg"
    if path.suffix != ".svg" or (path.exists() and not path.is_file()) or (out and not out.resolve().parent.is_dir()):
        raise UserError(f"--out {path}: name a file that ends in .svg, in a folder that is there, e.g. {name}.svg.")
    publish(path, svg(told).encode())
    return path


def vectors_of(ws: Workspace, posts: pl.Series, others: Sequence[str]) -> pl.DataFrame:
    """What `Workspace.vectors` gives, of a few posts; only the parts that hold them are read."""
    named = dict(zip(("picture", "text"), ws.params.embed.pair, strict=True)) | {name: name for name in others}
    rows = posts.to_frame("post_id").sort("post_id")
    for column, encoder in named.items():
        if ws.exists(f"embeddings/{encoder}"):
            found = ws.some_vectors(encoder, posts).select("post_id", pl.col("vector").cast(pl.List(pl.Float32)))
            rows = rows.join(found.rename({"vector": column}), on="post_id", how="left", maintain_order="left")
        elif column != encoder:
            rows = rows.with_columns(pl.lit(None, pl.List(pl.Float32)).alias(column))
    return rows


def nearest_id(post_id: str, known: pl.Series) -> str:
    """The most similar of the known ids, looked for among those that begin or end alike.

    >>> nearest_id("p0012", pl.Series(["p0001", "p0011", "x"]))
    'p0011'
    """
    forwards = sorted(known)
    backwards = sorted(one[::-1] for one in forwards)
    near = {*_around(forwards, post_id), *(one[::-1] for one in _around(backwards, post_id[::-1]))}
    return max(sorted(near), key=lambda one: _likeness(post_id, one))


def _likeness(first: str, second: str) -> tuple[float, int]:
    """Of two ids; where they differ as much, those are more alike that do so later."""
    return SequenceMatcher(None, first, second).ratio(), sum(map(str.__eq__, first, second))


def _around(ordered: list[str], wanted: str) -> list[str]:
    place = bisect.bisect(ordered, wanted)
    return ordered[max(0, place - NEIGHBOURS) : place + NEIGHBOURS]


def _post(ws: Workspace, post_id: str) -> pl.DataFrame:
    ids = ws.read("posts", ("post_id",))["post_id"]
    if ids.is_empty():
        raise UserError(f"{ws.root} holds no posts. Import or ingest some first.")
    if post_id not in ids:
        raise UserError(f"There is no post '{post_id}' in {ws.root}; did you mean '{nearest_id(post_id, ids)}'?")
    return ws.scan("posts").filter(pl.col("post_id") == post_id).collect()


def _matrix(ws: Workspace, post_id: str) -> pl.DataFrame:
    rows = ws.scan("features").filter(pl.col("post_id") == post_id).collect()
    if rows.is_empty():
        raise UserError(f"Post {post_id} is not in the matrix yet. Run `flickcast features`, then explain it again.")
    return rows


def _told(ws: Workspace, post: Json, model: "Model", taken: "Contributions", matrix: pl.DataFrame) -> Explanation:
    from flickcast.models.reductions import apart_of

    kinds: dict[str, str] = {}
    for preparation in (member.preparation for member in model.members):
        for name, part in preparation.reductions.items():
            kinds |= {name: str(part.facts()["kind"]), **dict(apart_of(name, part).values())}
        kinds |= dict.fromkeys(preparation.widths, "vectors") | dict.fromkeys(preparation.texts, "words")
    themes = {column.group: column.theme for column in taken.columns}
    return Explanation(
        post["post_id"],
        post["user_id"],
        post["title"] or "",
        post["posted_at"],
        model.name,
        prediction=float(taken.prediction[0]),
        low=float(taken.low[0]),
        high=float(taken.high[0]),
        base=float(taken.base[0]),
        band=float(recipe_content(ws).get("band", BAND)),
        fusion=float(taken.fusion[0]),
        calibration=float(taken.calibration[0]),
        themes=_ordered({"theme": name, "contribution": values[0]} for name, values in taken.by("theme").items()),
        groups=_ordered(
            {"group": name, "theme": themes[name], "kind": kinds.get(name), "contribution": values[0]}
            for name, values in taken.by("group").items()
        ),
        columns=_ordered(_columns(taken, matrix, feature_manifest(ws))),
        members=_members(taken),
        scale=Scale(ws.params.label.formula),
    )


def _columns(taken: "Contributions", matrix: pl.DataFrame, manifest: Mapping[str, Json]) -> Iterator[Json]:
    """Each with what the matrix says of the post there; what is fitted has no value that tells a person anything."""
    row = matrix.row(0, named=True)
    for one, values in taken.columns.items():
        entry = manifest.get(one.column, {})
        facts: Json = {key: entry[key] for key in ("meaning", "unit", "source") if key in entry}
        value: Json = {"value": row[one.column]} if one.column in row and entry else {}
        yield {**one._asdict(), "contribution": values[0], **value, **facts}


def _ordered(parts: Iterable[Json]) -> list[Json]:
    """The largest first; numbers as Python has them."""
    found = [{**part, "contribution": float(part["contribution"])} for part in parts]
    return sorted(found, key=lambda part: (-abs(part["contribution"]), str(part.get("column", part.get("group")))))


def _members(taken: "Contributions") -> list[Json]:
    """Of each member its learners' weights and predictions; the mean of the members is base and columns together."""
    return [
        {name: {"weight": float(weights[name]), "prediction": float(values[0])} for name, values in said.items()}
        for said, weights in zip(taken.said, taken.weights, strict=True)
    ]


def _past(ws: Workspace, post: pl.DataFrame) -> list[float]:
    """The popularity of the user's earlier posts, as far as it was known when the post appeared."""
    user_id, posted_at = post["user_id"].item(), post["posted_at"].item()
    theirs = ws.scan("posts", ("post_id", "user_id", "posted_at")).filter(
        (pl.col("user_id") == user_id) & (pl.col("posted_at") < posted_at)
    )
    labels = ws.scan("labels", ("post_id", "popularity", "matured_at")).filter(pl.col("matured_at") <= posted_at)
    return theirs.join(labels, on="post_id").sort("posted_at", "post_id").collect()["popularity"].to_list()


def _alike(ws: Workspace, post_id: str, labels: pl.DataFrame) -> list[Json]:
    """Known posts with the most similar picture or, where the post has none, text; none without vectors."""
    for by, encoder in zip(("picture", "text"), ws.params.embed.pair, strict=True):
        own = ws.some_vectors(encoder, pl.Series([post_id])) if ws.exists(f"embeddings/{encoder}") else None
        if own is not None and own.height:
            found = _most_similar(*ws.matrix(encoder), own["vector"].to_numpy()[0], labels.drop_nulls(), post_id)
            posts = ws.scan("posts", ("post_id", "user_id", "posted_at")).filter(
                pl.col("post_id").is_in(found["post_id"].implode())
            )
            joined = found.join(posts.collect(), on="post_id").sort("cosine", "post_id", descending=[True, False])
            return [
                {"by": by, **row, "posted_at": row["posted_at"].isoformat()} for row in joined.iter_rows(named=True)
            ]
    return []


def _most_similar(ids: pl.Series, vectors: Any, own: Any, labels: pl.DataFrame, post_id: str) -> pl.DataFrame:
    """post_id, cosine, popularity of the labelled posts whose vectors (posts, width) are most like `own` (width,)."""
    unit = own.astype(np.float32) / max(float(np.linalg.norm(own.astype(np.float32))), 1e-12)
    cosines = np.empty(len(ids), np.float32)
    for start in range(0, len(ids), AT_ONCE):
        part = vectors[start : start + AT_ONCE].astype(np.float32)
        cosines[start : start + AT_ONCE] = part @ unit / np.maximum(np.linalg.norm(part, axis=1), 1e-12)
    frame = pl.DataFrame({"post_id": ids, "cosine": cosines.astype(np.float64)})
    known = frame.filter(pl.col("post_id") != post_id).join(labels, on="post_id")
    return known.sort("cosine", "post_id", descending=[True, False]).head(ALIKE)
