"""The rows of one fold: all that its model may learn from, what they know of labels from training labels alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from flickcast.errors import UserError
from flickcast.stages.inputs import Inputs, Stored
from flickcast.stages.matrix import feature_manifest
from flickcast.workspace import Workspace


@dataclass(frozen=True)
class FoldRows:
    """One fold as a model meets it; the labels of the posts it is tested on are nowhere in it.

    `matrix` has the rows of all posts that take part, `posts` is the table, `labels` are those of the training posts,
    `tested` the ids of the posts to predict, in order; by the transductive clock all further posts take part as well.
    """

    matrix: pl.DataFrame
    manifest: dict[str, dict[str, Any]]
    posts: pl.DataFrame
    users: pl.DataFrame
    vectors: pl.DataFrame
    labels: pl.DataFrame
    tested: pl.Series

    @cached_property
    def training(self) -> pl.DataFrame:
        """The labelled rows, as `models.gather` makes them."""
        from flickcast.models import gather

        return gather(self.matrix, self.posts, self.vectors, self.labels)

    @cached_property
    def others(self) -> pl.DataFrame:
        """All rows but the training rows, without labels."""
        from flickcast.models import gather

        return gather(self.matrix, self.posts, self.vectors).join(self.labels, on="post_id", how="anti")

    @property
    def pool(self) -> pl.DataFrame:
        """The tested posts without labels, for pseudo-labels: a night knows the posts that it predicts."""
        return self.others.filter(pl.col("post_id").is_in(self.tested.implode()))

    @property
    def context(self) -> pl.DataFrame | None:
        """All other posts, by the transductive clock alone."""
        from flickcast.models import is_transductive

        return self.others if is_transductive(self.manifest) else None

    @cached_property
    def tested_matrix(self) -> pl.DataFrame:
        """The matrix of the posts to predict."""
        return self.matrix.filter(pl.col("post_id").is_in(self.tested.implode()))


def fold_rows(ws: Workspace, folds: pl.DataFrame, number: int, reads: Sequence[str] = ()) -> FoldRows:
    """The rows of a fold; `folds` as `splits.dealt` gives them, `reads`: encoders beside the pair.

    The labels of its tested posts are dropped before anything is computed: in the whole matrix, training rows too,
    what is known of labels is counted again from the labels of the training posts.
    """
    from flickcast.features import with_other_labels

    tested = folds.filter(pl.col("fold") == number)["post_id"].sort()
    training = folds.filter(pl.col("fold").ne_missing(number))["post_id"]
    labels = ws.read("labels").filter(pl.col("post_id").is_in(training.implode()))
    params, posts = ws.params.features, ws.read("posts").sort("post_id")
    if params.clock != "transductive":
        posts = posts.filter(pl.col("post_id").is_in(pl.concat([tested, training]).implode()))
    matrix = with_other_labels(ws.read("features"), Inputs(Stored(ws, labels), posts, params.clock), params.groups)
    if missing := posts.height - matrix.height:
        raise UserError(f"{ws.root}: {missing} posts are not in the matrix yet. Run `dvc repro`, then compare again.")
    return FoldRows(matrix, feature_manifest(ws), posts, ws.read("users"), ws.vectors(reads), labels, tested)
