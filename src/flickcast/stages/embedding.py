"""The stage `embed`: each encoder's vectors of all that it has not seen yet, shard by shard."""

import json
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from flickcast.console import progress, say
from flickcast.errors import UserError
from flickcast.records import Rejected, StageReport, quarantine_record, quarantine_rows
from flickcast.schemas import TABLES
from flickcast.stages.retention import about_fetching_again, note_finished
from flickcast.tables import ABOUT, Appender, publish, publish_json
from flickcast.workspace import Workspace

if TYPE_CHECKING:
    from flickcast.embeddings.pipeline import Input, Result
    from flickcast.embeddings.protocol import Captioner, Encoder
    from flickcast.embeddings.step import Shard

    Run = Callable[[Path, str, str, Sequence[Shard]], Generator[tuple[Shard, Result]]]

Facts = dict[str, Any]
RATES = "embedding-rates.json"  # of this machine, by encoder: inputs per second of the last run that took a while
MUCH_MORE = 10  # times as many texts as an encoder learned from
LEAST_SECONDS = 1.0  # a shorter run says little about the next
NO_PICTURES = "No pictures here: nothing to embed."


def embed(ws: Workspace, run: "Run | None" = None) -> StageReport:
    """Vectors of every picture and text that an encoder has not seen yet, the pair's first, then the others'.

    Before them the captions, if any are wanted: `<model>-caption` reads them as `<model>-text` reads title and tags.

    `run` has shards embedded elsewhere, as `run_shards` does it here, and gives the results in the shards' order.
    """
    if not (about := ws.root / "encoders" / "fitted" / ABOUT).exists():  # DVC wants the folder in any case
        publish(about, b"What encoders have learned from this workspace's texts.\n")
    facts: Facts = {"pictures": 0, "embedded": 0, "quarantined": 0, "encoders": {}}
    notes = []
    refused: set[str] = set()
    with ws.appending("embed") as appender:
        facts["pictures"] = ws.keys("images").height
        for name in ws.params.embed.names:
            if (reason := _nothing_to_do(ws, name) or _fit(ws, name)) is not None:
                notes.append(reason)
                continue
            found = _embed_with(ws, appender, name, run, refused)
            facts["encoders"][name] = found
            facts["embedded"] += found["embedded"]
            notes += _about_making_anew(name, found["made_anew"]) + _about_learning_again(name, found)
            notes += about_fetching_again(ws, name)
        note_finished(ws, appender)
    facts["quarantined"] = len(refused)
    return StageReport("embed", facts, tuple(dict.fromkeys(notes)))


def plan_of_embedding(ws: Workspace) -> StageReport:
    """How many inputs each encoder has still to embed and, as past runs on this machine tell, for how long."""
    facts: Facts = {}
    notes = []
    for name in ws.params.embed.names:
        if (reason := _nothing_to_do(ws, name)) is not None:
            notes.append(reason)
            continue
        try:
            version: str | None = _load(ws.root, ws, name).version
        except UserError as error:
            notes.append(str(error))
            version = None
        todo = _work(ws, name, version)
        inputs = todo["input_sha256"].n_unique()
        rate = _rates(ws).get(name)
        facts[name] = {"posts": todo.height, "inputs": inputs}
        notes += about_fetching_again(ws, name, version)
        if rate and inputs:
            facts[name]["seconds"] = round(inputs / rate)
    return StageReport("embed", facts, tuple(dict.fromkeys(notes)))


def _nothing_to_do(ws: Workspace, name: str) -> str | None:
    """Why an encoder is left out where there are no pictures: the pair is for posts that have one."""
    from flickcast.embeddings.encoders import family_named, reads
    from flickcast.embeddings.names import part_of

    family_named(name)
    of_captions = part_of(name) == "caption"
    if of_captions and ws.params.embed.captions is None:
        raise UserError(f"params.yaml names {name} in embed.others, but no captioner as embed.captions (blip2).")
    needs_pictures = "picture" in reads(name) or name in ws.params.embed.pair or of_captions
    has_pictures = ws.exists("images") or ws.exists("dropped_images")
    return NO_PICTURES if needs_pictures and not has_pictures else None


def _fit(ws: Workspace, name: str) -> str | None:
    """Let an encoder learn from the corpus, once, as soon as there is enough of it; why it could not, otherwise."""
    from flickcast.embeddings import fitted
    from flickcast.embeddings.encoders import state_of

    if (state := state_of(name)) is None or fitted.is_fitted(state, ws.root):
        return None
    try:
        fit(ws, name)
    except fitted.TooFewTextsError as error:
        return f"{name} is left out: {error}"
    return None


def fit(ws: Workspace, name: str) -> int:
    """Let an encoder learn from all texts known now, how many; its vectors are made anew by the next `embed`.

    UserError if it is none that learns, or if the texts are too few.
    """
    from flickcast.embeddings import fitted
    from flickcast.embeddings.encoders import choice_of, family_named, state_of

    if (state := state_of(name)) is None:
        raise UserError(f"Encoder {name} learns nothing from the corpus: there is nothing to fit.")
    texts = texts_of(ws, name)
    choice = choice_of(name, ws.params.embed, ws.root)
    family_named(name).facts["fit"](texts, fitted.folder_of(state, ws.root), choice)
    return len(texts)


def texts_of(ws: Workspace, name: str) -> list[str]:
    """All that an encoder of texts would read now."""
    from flickcast.embeddings.encoders import text_of
    from flickcast.embeddings.step import TEXTS

    if (kind := text_of(name)) == "caption":
        return ws.read("captions", ("caption",))["caption"].drop_nulls().to_list()
    posts = ws.read("posts", ("title", "tags"))
    return [TEXTS[kind](title, tags) for title, tags in posts.iter_rows()]


@dataclass(frozen=True)
class _Plan:
    """An encoder's work: what it lacks in shards, and the vectors of the table that these need, too."""

    shards: "list[Shard]"
    known: dict[str, Any]
    count: int  # of rows in the table
    dropped: int  # of rows of another version


def _embed_with(ws: Workspace, appender: Appender, name: str, run: "Run | None", refused: set[str]) -> Facts:
    from flickcast.embeddings import step
    from flickcast.embeddings.encoders import place_of

    encoder = _proven(ws.root, ws, name)
    table = place_of(name).table
    for cost in about_fetching_again(ws, name, encoder.version):
        say(cost)
    plan = _plan(ws, appender, encoder)
    for cost in _about_making_anew(name, plan.dropped):
        say(cost)
    facts: Facts = {"embedded": 0, "known": plan.count, "quarantined": 0, "made_anew": plan.dropped}
    posts = sum(shard.posts.height for shard in plan.shards)
    shared = step.shared(plan.shards, plan.known)
    started = time.monotonic()
    found = run(ws.root, name, encoder.version, plan.shards) if run else results(ws, encoder, plan.shards)
    with progress(f"embed {name}", posts) as advance, closing(found):
        for shard, result in found:
            rows = _rows(encoder, shard, shared.complete(shard, result))
            appender.append(table, shard.name(encoder.version), rows)
            rejected = _rejected(ws, shard, result, "picture" in encoder.reads)
            _quarantine(ws, appender, f"{shard.name(encoder.version)}-{name}", rejected)
            appender.checkpoint()
            refused |= {record.reason.partition(":")[0] for record in rejected}
            facts["embedded"] += rows.height - len(rejected)
            facts["quarantined"] += len(rejected)
            advance(shard.posts.height)
    facts["seconds"] = round(time.monotonic() - started, 3)
    inputs = sum(shard.inputs.height for shard in plan.shards)
    facts["per_second"] = round(inputs / facts["seconds"], 1) if inputs and facts["seconds"] else None
    _keep_rate(ws, name, inputs, facts["seconds"])
    if (learned_from := getattr(encoder, "learned_from", None)) is not None:
        facts["learned_from"] = learned_from
    return facts


def _about_making_anew(name: str, dropped: int) -> list[str]:
    """That vectors of another version count no longer; other weights that nobody chose never come so far."""
    if not dropped:
        return []
    return [
        f"{name} is another version than that of its {dropped} stored rows: its weights, its settings or a library "
        "changed. They are made anew."
    ]


def _about_learning_again(name: str, found: Facts) -> list[str]:
    """That an encoder knows little of what has come since it learned; it never learns again unasked."""
    texts, learned_from = found["known"] + found["embedded"], found.get("learned_from", 0)
    if not learned_from or texts < MUCH_MORE * learned_from:
        return []
    return [
        f"{name} learned from {learned_from} texts, and there are {texts} now: `flickcast encoders fit {name}` lets it "
        "learn from all, after which its vectors are computed anew."
    ]


def _rows(encoder: "Encoder | Captioner", shard: "Shard", result: "Result") -> pl.DataFrame:
    from flickcast.embeddings import step
    from flickcast.embeddings.protocol import Captioner

    if isinstance(encoder, Captioner):
        return step.caption_rows(shard, result, encoder.version)
    return step.rows(shard, result, encoder.version, encoder.dimension)


def results(
    ws: Workspace, encoder: "Encoder | Captioner", shards: "Iterable[Shard]"
) -> "Generator[tuple[Shard, Result]]":
    """What the encoder makes of shards, in order; their pictures are read from the workspace's tables."""
    from flickcast.embeddings.pipeline import embed_shards

    read = ((shard, _inputs(ws, shard, "picture" in encoder.reads)) for shard in shards)
    return embed_shards(encoder, read, ws.params.embed.batch_size)


def run_shards(root: Path, name: str, version: str, shards: "Iterable[Shard]") -> "Generator[tuple[Shard, Result]]":
    """The same on a worker, which builds the encoder by itself and proves it first.

    CheckError if it is not the encoder that the work was planned for.
    """
    ws = Workspace(root)
    return results(ws, _workers_encoder(root, name, version, ws.params.embed.model_dump_json()), shards)


@lru_cache(maxsize=1)
def _workers_encoder(root: Path, name: str, version: str, _params: str) -> "Encoder | Captioner":
    """A worker gets many shards of one encoder: it is built and proven for the first."""
    from flickcast.embeddings.canary import refuse_other_version

    encoder = _proven(root, Workspace(root), name, may_write=False)
    refuse_other_version(encoder, version)
    return encoder


def _load(root: Path, ws: Workspace, name: str) -> "Encoder | Captioner":
    from flickcast.embeddings.captions import CAPTIONERS
    from flickcast.embeddings.encoders import load_captioner, load_encoder

    return (load_captioner if name in CAPTIONERS else load_encoder)(name, ws.params.embed, root)


def _proven(root: Path, ws: Workspace, name: str, *, may_write: bool = True) -> "Encoder | Captioner":
    """An encoder, or a captioner, whose canaries come out as they did before."""
    from flickcast.embeddings import canary
    from flickcast.embeddings.encoders import choice_of

    encoder = _load(root, ws, name)
    canary.prove(encoder, choice_of(name, ws.params.embed, root), may_write=may_write)
    return encoder


def _plan(ws: Workspace, appender: Appender, encoder: "Encoder | Captioner") -> _Plan:
    """What is missing; versions do not mix: the vectors of another one count no longer.

    Keys decide here what is dropped and what is added, so they are those of sound parts; where nothing is, they may be
    read unhashed.
    """
    from flickcast.embeddings import step
    from flickcast.embeddings.encoders import place_of

    place = place_of(encoder.name)
    table = place.table
    versions = ws.scan(table, (place.version,)).unique().collect()[place.version]
    dropped = 0
    if set(versions) - {encoder.version}:
        ws.verify(table)
        dropped = ws.height(table)
        for name in (table, *_readers_of(ws, table)):
            appender.drop(name)
        appender.checkpoint()
    work = _work(ws, encoder.name, encoder.version)
    if work.height:
        ws.verify(table)
        ws.verify("images", work["part"] if "picture" in encoder.reads else ())
    known = _stored(ws, encoder.name, work)
    return _Plan(step.shards(work, pl.Series(list(known), dtype=pl.String)), known, ws.height(table), dropped)


def _readers_of(ws: Workspace, table: str) -> list[str]:
    """The tables of vectors that were made of this one's words."""
    from flickcast.embeddings.names import part_of

    made = [name for name in ws.manifest("embed").parts if name.startswith("embeddings/")]
    return [name for name in made if table == "captions" and part_of(name) == "caption"]


def _stored(ws: Workspace, name: str, work: pl.DataFrame) -> dict[str, Any]:
    """What the table has of inputs which the work needs, too; only the parts that hold them are read."""
    from flickcast.embeddings.encoders import place_of

    table, value = place_of(name).table, place_of(name).value
    stored = ws.places(table, ("input_sha256",)).join(work, on="input_sha256", how="semi")
    found: dict[str, Any] = {}
    for (part,), keys in stored.unique("input_sha256", keep="first", maintain_order=True).group_by("part"):
        rows = ws.read_part(table, ws.folder(table) / f"{part}.parquet", ("input_sha256", value))
        alike = rows.join(keys, on="input_sha256", how="semi").drop_nulls()
        found.update(zip(alike["input_sha256"], alike[value].to_numpy(), strict=True) if alike.height else ())
    return found


def _work(ws: Workspace, name: str, version: str | None) -> pl.DataFrame:
    """What an encoder lacks: post_id, part, text, input_sha256. Without a version: what none of its versions has."""
    from flickcast.embeddings import step
    from flickcast.embeddings.encoders import place_of, reads, text_of

    kinds, place = reads(name), place_of(name)
    done = ws.read(place.table, ("post_id", place.version)).rename({place.version: "encoder_version"})
    if version is None:
        done = done.with_columns(encoder_version=pl.lit(""))
    text = text_of(name)
    if text == "caption":
        said = ws.read("captions", ("post_id", "caption")).drop_nulls()
        return step.with_captions(step.missing(ws.places("posts", ("post_id",)), done, version or ""), said)
    of_picture = ws.places("images", ("post_id", "sha256")) if "picture" in kinds else ws.places("posts", ("post_id",))
    work = step.missing(of_picture, done, version or "")
    if "text" in kinds:
        ids = work.lazy().select("post_id")
        words = ws.scan("posts", ("post_id", "title", "tags")).join(ids, on="post_id", how="semi").collect()
        work = work.join(words, on="post_id")
    return step.with_inputs(work, kinds, text)


def _inputs(ws: Workspace, shard: "Shard", with_picture: bool) -> "Iterator[Input]":
    """A shard's inputs with the bytes of their pictures; texts from short to long."""
    from flickcast.embeddings.pipeline import Input

    if not with_picture:
        for key, text in (
            shard.inputs.sort(pl.col("text").str.len_chars(), maintain_order=True)
            .select("input_sha256", "text")
            .iter_rows()
        ):
            yield Input(key, None, text)
        return
    pictures = _pictures(ws, shard.part, shard.inputs) if shard.inputs.height else shard.inputs
    for key, text, content in pictures.select("input_sha256", "text", "bytes").iter_rows() if pictures.height else ():
        yield Input(key, content, text)


def _pictures(ws: Workspace, part: str, posts: pl.DataFrame) -> pl.DataFrame:
    """The rows with the `bytes` of their pictures, in order."""
    path = ws.folder("images") / f"{part}.parquet"
    return posts.join(ws.read_part("images", path, ("post_id", "bytes")), on="post_id", maintain_order="left")


def _rejected(ws: Workspace, shard: "Shard", result: "Result", with_picture: bool) -> list[Rejected]:
    """Records for the quarantine: the pictures, or the texts, that have no vector."""
    from flickcast.embeddings import step

    broken = pl.DataFrame(
        list(step.rejected(shard, result)), schema=dict.fromkeys(("post_id", "key", "reason"), pl.String), orient="row"
    )
    if not broken.height:
        return []
    columns = ("post_id", "sha256", "bytes")
    part = ws.folder("images") / f"{shard.part}.parquet"
    kept = ws.read_part("images", part, columns) if with_picture else TABLES["images"].empty().select(columns)
    return [
        Rejected(quarantine_record(post_id, sha256 or key, content or b""), f"post {post_id}: {reason}")
        for post_id, key, reason, sha256, content in broken.join(kept, on="post_id", how="left").iter_rows()
    ]


def _quarantine(ws: Workspace, appender: Appender, part: str, rejected: list[Rejected]) -> None:
    """Keep them; another encoder may have refused the same picture before."""
    rows = quarantine_rows("embed", "images", rejected, ws.latest_seen())
    appender.append("quarantine/embed", part, ws.unknown("quarantine/embed", rows))


def _rates(ws: Workspace) -> dict[str, float]:
    path = ws.state_folder / RATES
    try:
        found = json.loads(path.read_bytes()) if path.exists() else {}
    except ValueError:
        return {}
    return {str(name): float(rate) for name, rate in found.items()}


def _keep_rate(ws: Workspace, name: str, inputs: int, seconds: float) -> None:
    if seconds >= LEAST_SECONDS and inputs:
        publish_json(ws.state_folder / RATES, _rates(ws) | {name: round(inputs / seconds, 2)})
