"""One function per stage: read tables, call the step, write tables, return a report. No step is known elsewhere."""

from collections.abc import Callable

from flickcast.records import StageReport
from flickcast.stages.asking import ingest
from flickcast.stages.describing import aggregate, labels
from flickcast.stages.embedding import embed
from flickcast.stages.evaluating import evaluate
from flickcast.stages.intake import import_batch, read_source, store
from flickcast.stages.learning import drift, predict, predictions, train
from flickcast.stages.matrix import features
from flickcast.workspace import Workspace

__all__ = [
    "STAGES",
    "aggregate",
    "drift",
    "embed",
    "evaluate",
    "features",
    "import_batch",
    "ingest",
    "labels",
    "predict",
    "predictions",
    "read_source",
    "store",
    "train",
]

STAGES: dict[str, Callable[[Workspace], StageReport]] = {
    stage.__name__: stage for stage in (ingest, embed, labels, aggregate, features, train, evaluate, predict, drift)
}
