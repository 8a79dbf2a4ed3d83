"""Which encoders there are, for people who choose one: what each reads, and whether its weights are here."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from flickcast.embeddings import fitted, open_clip, pretrained
from flickcast.embeddings.encoders import choice_of, families, reads, state_of
from flickcast.embeddings.names import of_parts
from flickcast.embeddings.protocol import Family, Kind
from flickcast.params import EmbedParams

Row = dict[str, Any]


def list_encoders(params: EmbedParams | None = None, root: Path = Path()) -> Iterator[Row]:
    """Every encoder: what it reads, how long its vectors are if known, its weights, and whether these are here.

    `params` of the workspace in `root`: they name the encoders that are used, and where weights of one's own lie.
    `also`: the names under which an encoder of texts reads a part of them alone.
    """
    params = params or EmbedParams()
    packaged, *others = [_rows_of_open_clip(row, params) for row in pretrained.list_models()]
    yield from packaged
    for name, family in families().items():
        about = {"encoder": name, "reads": list(reads(name)), "dimension": family.facts.get("dimension")}
        yield _row(about, params) | {
            "weights": family.repository or _origin(family),
            "here": _is_here(name, family, params, root),
            "meaning": family.meaning,
            "of_open_clip": False,
            "to_bring": "bring" in family.facts,
        }
    for pair in others:
        yield from pair


def _rows_of_open_clip(found: Row, params: EmbedParams) -> list[Row]:
    rows = []
    for kind in get_args(Kind):
        about = {"encoder": f"{found['model']}-{kind}", "reads": [kind], "dimension": found["dimension"]}
        row = _row(about, params)
        row["used"] &= found["pretrained"] in ("packaged", choice_of(about["encoder"], params).weights)
        of_open_clip = {"meaning": open_clip.family(kind).meaning, "of_open_clip": True, "to_bring": False}
        rows.append(row | {"weights": found["pretrained"], "here": found["here"]} | of_open_clip)
    return rows


def _row(about: Row, params: EmbedParams) -> Row:
    also = of_parts(about["encoder"])
    return about | {"also": also, "used": not set(params.names).isdisjoint([about["encoder"], *also])}


def _origin(family: Family) -> str:
    if "bring" in family.facts:
        return "a file of yours"
    return "learned from the corpus" if "fit" in family.facts else "none needed"


def _is_here(name: str, family: Family, params: EmbedParams, root: Path) -> bool:
    from huggingface_hub import try_to_load_from_cache

    own = choice_of(name, params, root).weights
    if own is not None and (root / own).exists():
        return True
    if (state := state_of(name)) is not None and fitted.is_fitted(state, root):
        return True
    if (repository := family.repository and (own or family.repository)) is None:
        return "bring" not in family.facts
    return isinstance(try_to_load_from_cache(repository, "config.json"), str)
