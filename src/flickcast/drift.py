"""How far the night's posts have moved away from the training data: a verdict, plain words, Evidently's pictures."""

import html
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flickcast.console import printable
from flickcast.params import DriftParams

Kind = Literal["number", "category"]
Verdict = Literal["stable", "drifted", "too few rows"]

# One method per column, named: Evidently's default changes with the number of rows.
METHODS: dict[Kind, str] = {"number": "wasserstein", "category": "jensenshannon"}
SMALLEST_THRESHOLD = 0.1  # Evidently's own threshold for both; in standard deviations for numbers
MISSING_THRESHOLD = 0.2  # difference in the share of missing values
CHANCE_ROUNDS = 100
CHANCE_LEVEL = 0.99  # a column drifts when its distance beats this share of same-sized samples of the reference
TOP_LABELS = 20  # more categories than this are read as one, OTHER
OTHER = "(other)"
NAMED_SHIFTS = 5  # so many columns are described in words


@dataclass(frozen=True)
class ColumnDrift:
    """One column's distance between reference and night, against what chance explains."""

    column: str
    method: str
    score: float
    threshold: float
    drifted: bool
    shift: str


@dataclass(frozen=True)
class DriftResult:
    """The night's verdict; `columns` with those that moved most first."""

    verdict: Verdict
    summary: str
    share: float = 0.0
    drifted_columns: tuple[str, ...] = ()
    columns: tuple[ColumnDrift, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    html: str = field(default="", repr=False)

    def as_json(self) -> dict[str, Any]:
        """All but the HTML; the same input gives the same bytes."""
        content = asdict(self)
        del content["html"]
        return content


def drift_report(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    kinds: Mapping[str, Kind],
    params: DriftParams,
    seed: int,
    key: str = "post_id",
) -> DriftResult:
    """Compare the night's rows with the training data, column by column in the order of `kinds`.

    Reads at most `max_rows` rows of each (the same ones however they are ordered) and `max_columns` columns.
    """
    rows = {"reference": reference.height, "current": current.height}
    if min(rows.values()) < params.min_rows:
        words = f"Too few rows to tell: {current.height} of the night against {reference.height} of the training data"
        words += f", {params.min_rows} of each are needed."
        return DriftResult("too few rows", words, rows=rows, html=f"<!doctype html><p>{html.escape(words)}</p>\n")
    old, new = (_typed(sample(frame, params.max_rows, seed, key), kinds) for frame in (reference, current))
    moved = [found for name in kinds if (found := _missing(name, old, new))]
    wanted, left_out = _usable(old, new, kinds, params.max_columns)
    old, new = _shown(old, old, wanted), _shown(new, old, wanted)
    thresholds = {name: _threshold(old[name], new[name], kind, seed) for name, kind in wanted.items()}
    page, scores = _evidently(old, new, _most_moved_first(old, new, wanted, thresholds), thresholds)
    columns = [
        _judge(name, kind, old[name], new[name], scores[name], thresholds[name]) for name, kind in wanted.items()
    ]
    result = _verdict([*columns, *moved], left_out, params, rows)
    return replace(result, html=re.sub(r"(<body[^>]*>)", lambda body: body[0] + _headline(result), page, count=1))


def sample(frame: pl.DataFrame, max_rows: int, seed: int, key: str) -> pl.DataFrame:
    """At most `max_rows` rows chosen by the hash of their key, sorted by key: row order plays no part."""
    order = pl.col(key).hash(seed)
    return frame.sort(order, key).head(max_rows).sort(key)


def distances(kind: Kind, values: NDArray[Any], usual: NDArray[np.float64], shares: NDArray[np.float64]) -> Any:
    """How far each row of `shares` (rounds, values) is from `usual` (values,), as Evidently scores METHODS[kind]."""
    if kind == "category":
        from scipy.spatial.distance import jensenshannon

        return np.nan_to_num(jensenshannon(usual[None, :], shares, axis=1))
    mean = (values * usual).sum()
    scale = max(float(np.sqrt(((values - mean) ** 2 * usual).sum())), 0.001)  # Evidently's floor
    return np.abs(np.cumsum(shares - usual, axis=1))[:, :-1] @ np.diff(values) / scale


def _usable(
    reference: pl.DataFrame, current: pl.DataFrame, kinds: Mapping[str, Kind], max_columns: int
) -> tuple[dict[str, Kind], dict[str, str]]:
    """The columns worth comparing, and why the others are not."""
    wanted: dict[str, Kind] = {}
    left_out: dict[str, str] = {}
    for name, kind in kinds.items():
        values = pl.concat([reference[name].drop_nulls(), current[name].drop_nulls()])
        if not reference[name].count() or not current[name].count():
            left_out[name] = "no values on one side" if values.len() else "no values"
        elif values.n_unique() == 1:
            left_out[name] = "the same value everywhere"
        elif len(wanted) == max_columns:
            left_out[name] = f"more than {max_columns} columns"
        else:
            wanted[name] = kind
    return wanted, left_out


def _typed(frame: pl.DataFrame, kinds: Mapping[str, Kind]) -> pl.DataFrame:
    """Numbers as floats, with null for what is not a number; everything else as text."""
    return frame.select(
        pl.col(name).cast(pl.Float64).fill_nan(None) if kind == "number" else pl.col(name).cast(pl.String)
        for name, kind in kinds.items()
    )


def _shown(frame: pl.DataFrame, reference: pl.DataFrame, kinds: Mapping[str, Kind]) -> pl.DataFrame:
    """The wanted columns with labels made harmless, rare ones as one."""
    return frame.select(
        frame[name] if kind == "number" else _labels(frame[name], reference[name]) for name, kind in kinds.items()
    )


def _labels(values: pl.Series, reference: pl.Series) -> pl.Series:
    counts = reference.drop_nulls().alias("label").value_counts().sort(["count", "label"], descending=[True, False])
    common = counts["label"].head(TOP_LABELS)
    kept = pl.when(values.is_in(common.implode()) | values.is_null()).then(values).otherwise(pl.lit(OTHER))
    return pl.select(kept).to_series().map_elements(harmless, return_dtype=pl.String).alias(values.name)


def harmless(text: str) -> str:
    """User text that cannot leave the script or the tag it is written into; Evidently writes labels as they are.

    >>> harmless("</script>")
    '&lt;/script&gt;'
    """
    return html.escape(printable(text), quote=True).replace("\u2028", " ").replace("\u2029", " ")


def _judge(name: str, kind: Kind, old: pl.Series, new: pl.Series, score: float, threshold: float) -> ColumnDrift:
    old, new = old.drop_nulls(), new.drop_nulls()
    shift = _moved_number(old, new) if kind == "number" else _moved_label(old, new)
    return ColumnDrift(name, METHODS[kind], round(score, 6), round(threshold, 6), score > threshold, shift)


def _threshold(old: pl.Series, new: pl.Series, kind: Kind, seed: int) -> float:
    """The larger of the fixed threshold and the distance which same-sized samples of the reference itself stay under.

    A night has few posts: 60 rows of one unchanged distribution are 0.17 standard deviations away on average.
    """
    old, size = old.drop_nulls(), new.drop_nulls().len()
    values, codes = np.unique(old.to_numpy(), return_inverse=True)
    draws = np.random.default_rng(seed).integers(0, old.len(), (CHANCE_ROUNDS, size))
    counts = np.stack([np.bincount(codes[draw], minlength=len(values)) for draw in draws])
    scores = distances(kind, values, np.bincount(codes) / old.len(), counts / size)
    return max(SMALLEST_THRESHOLD, float(np.quantile(scores, CHANCE_LEVEL)))


def _most_moved_first(
    old: pl.DataFrame, new: pl.DataFrame, kinds: Mapping[str, Kind], thresholds: Mapping[str, float]
) -> dict[str, Kind]:
    """The columns in the order in which a reader wants to see them."""

    def moved(name: str) -> float:
        before, after = old[name].drop_nulls().to_numpy(), new[name].drop_nulls().to_numpy()
        values = np.unique(np.concatenate([before, after]))
        shares = [
            np.bincount(np.searchsorted(values, side), minlength=len(values)) / len(side) for side in (before, after)
        ]
        return -float(distances(kinds[name], values, shares[0], shares[1][None, :])[0]) / thresholds[name]

    return {name: kinds[name] for name in sorted(kinds, key=lambda name: (moved(name), name))}


def _missing(name: str, reference: pl.DataFrame, current: pl.DataFrame) -> ColumnDrift | None:
    """A column whose share of missing values has changed much: a source that stopped telling something."""
    old, new = (frame[name].null_count() / frame.height for frame in (reference, current))
    score = abs(new - old)
    if score <= MISSING_THRESHOLD:
        return None
    return ColumnDrift(name, "missing", round(score, 6), MISSING_THRESHOLD, True, f"missing in {old:.0%} -> {new:.0%}")


def _moved_number(old: pl.Series, new: pl.Series) -> str:
    medians = [f"{np.median(values.to_numpy()):.4g}" for values in (old, new)]
    if medians[0] != medians[1]:
        return f"median {medians[0]} -> {medians[1]}"
    means = [f"{np.mean(values.to_numpy()):.4g}" for values in (old, new)]
    return f"mean {means[0]} -> {means[1]}"


def _moved_label(old: pl.Series, new: pl.Series) -> str:
    shares = _shares(old, new).sort((pl.col("new") - pl.col("old")).abs(), descending=True, maintain_order=True)
    label, before, after = shares.row(0)
    return f"'{html.unescape(label)}' {before:.0%} -> {after:.0%}"


def _shares(old: pl.Series, new: pl.Series) -> pl.DataFrame:
    """The share of each label on either side, in the labels' order."""
    before, after = (
        values.alias("label").value_counts(name=name, normalize=True) for name, values in (("old", old), ("new", new))
    )
    return before.join(after, on="label", how="full", coalesce=True).fill_null(0.0).sort("label")


def _verdict(
    columns: list[ColumnDrift], left_out: dict[str, str], params: DriftParams, rows: dict[str, int]
) -> DriftResult:
    columns = sorted(columns, key=lambda column: (-column.score / column.threshold, column.column, column.method))
    names = {column.column for column in columns}
    drifted = tuple(dict.fromkeys(column.column for column in columns if column.drifted))
    share = len(drifted) / len(names) if names else 0.0
    verdict: Verdict = "drifted" if drifted and share >= params.drifted_share else "stable"
    words = (
        f"{len(drifted)} of {len(names)} columns have moved ({share:.0%}; drifted from {params.drifted_share:.0%} on)."
    )
    shifts = [f"{column.column}: {column.shift}" for column in columns if column.drifted][:NAMED_SHIFTS]
    words += f" Most: {'; '.join(shifts)}." if shifts else ""
    return DriftResult(verdict, words, round(share, 6), drifted, tuple(columns), left_out, rows)


def _headline(result: DriftResult) -> str:
    """What a reader wants first: the verdict, and the columns that have moved with what they moved to."""
    moved = [column for column in result.columns if column.drifted]
    lines = "".join(
        f"<tr><td>{harmless(column.column)}</td><td>{harmless(column.shift)}</td>"
        f"<td>{column.score:.3f}</td><td>{column.threshold:.3f}</td></tr>"
        for column in moved
    )
    head = "<tr><th>column</th><th>what moved</th><th>distance</th><th>chance explains</th></tr>"
    counts = f"{result.rows['current']:,} posts against {result.rows['reference']:,} of the training data."
    return (
        '<section style="font-family: sans-serif; max-width: 60em; margin: 2em auto; line-height: 1.5">'
        f"<style>.moved td, .moved th {{padding: 0.2em 1.5em 0.2em 0; text-align: left}}</style>"
        f"<h1>Drift: {result.verdict}</h1><p>{counts} {harmless(result.summary)}</p>"
        f'<table class="moved">{head}{lines}</table></section>'
    )


def _evidently(
    old: pl.DataFrame, new: pl.DataFrame, kinds: Mapping[str, Kind], thresholds: Mapping[str, float]
) -> tuple[str, dict[str, float]]:
    """Evidently's page, columns in the order of `kinds`, and its score per column."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    if not kinds:
        return "<!doctype html><body><p>No column can be compared.</p></body>\n", {}
    shown = {name: harmless(name) for name in kinds}
    definition = DataDefinition(
        numerical_columns=[shown[name] for name, kind in kinds.items() if kind == "number"],
        categorical_columns=[shown[name] for name, kind in kinds.items() if kind == "category"],
    )
    data = [Dataset.from_pandas(frame.rename(shown).to_pandas(), definition) for frame in (new, old)]
    metrics = [
        ValueDrift(column=shown[name], method=METHODS[kind], threshold=thresholds[name]) for name, kind in kinds.items()
    ]
    run = Report(metrics).run(*data)
    values = {metric["config"]["column"]: float(metric["value"]) for metric in run.dict()["metrics"]}
    return _steady(run.get_html_str(as_iframe=False)), {name: values[shown[name]] for name in kinds}


def _steady(page: str) -> str:
    """The page with its random ids numbered, so that the same data gives the same bytes."""
    numbers: dict[str, str] = {}
    pattern = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=metric_)[0-9a-f]{32}"
    return re.sub(pattern, lambda found: numbers.setdefault(found[0], f"id{len(numbers)}"), page)
