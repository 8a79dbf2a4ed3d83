"""params.yaml as frozen models: every number a stage may depend on; an unknown key is an error."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from flickcast.errors import UserError, nearest

MOST_DAYS = 36_500
MERGE = "tag:yaml.org,2002:merge"
KEY, LONGEST = "[key]", 80  # pydantic's mark of a key that is wrong itself; characters of a wrong value that are shown
FIRST_NIGHT, LAST_NIGHT = date(1980, 1, 1), date(2899, 12, 31)  # times before and after them can be reckoned with, too
Age = Annotated[int, Field(ge=0, le=MOST_DAYS)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]  # of an entry that a recipe names
UserId = Annotated[str, StringConstraints(pattern=r"^\S+$")]  # to a service, no id at all means everybody


class Section(BaseModel):
    """A part of params.yaml or of a recipe; refuses what it does not know, and numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LabelParams(Section):
    """How views become popularity (design §2)."""

    formula: Literal["log2_views", "log2_views_per_day"] = "log2_views"
    maturity_days: int = Field(7, ge=1, le=MOST_DAYS, description="age at which a post's count is its label")
    tolerance_days: int = Field(3, ge=1, le=MOST_DAYS, description="how much older it may be when it is counted")


class SamplingParams(Section):
    """Which posts a night asks for, for keys that cannot take everything."""

    design: Literal["all", "hours", "follow"] = Field(
        "all", description="hours: a fixed random part of each hour; follow: the posts of some users"
    )
    minutes_per_hour: int = Field(6, ge=1, le=60, description="hours: how much of each hour, where `seed` puts it")
    users: tuple[UserId, ...] = Field((), description="follow: their ids, like 12345678@N00")


class IngestParams(Section):
    """Where posts come from and how they are asked for."""

    source: Literal["files", "flickr"] = Field("files", description="files: only `flickcast import`; flickr: the API")
    sampling: SamplingParams = SamplingParams()
    per_page: int = Field(500, ge=1, le=500)
    max_results: int = Field(4000, ge=1, le=4000, description="the service repeats itself beyond this many per query")
    smallest_window_seconds: int = Field(60, ge=1)
    requery_hours: int = Field(
        48, ge=0, le=24 * 365, description="late posts: ask again for this long before the night"
    )
    catch_up_days: int = Field(
        7, ge=0, le=MOST_DAYS, description="how far before its day a night makes up for missed ones"
    )
    observe_at_days: tuple[Age, ...] = Field((1, 7, 30), description="ages at which a post's counts are read again")
    user_refresh_days: int = Field(
        7, ge=1, le=MOST_DAYS, description="a user's numbers older than this are asked for again"
    )
    following: bool = Field(True, description="also ask whom a user follows: one more call per user")
    calls_per_second: float = Field(0.8, ge=0.001)
    calls_per_hour: int = Field(
        3600, ge=1, le=10**9, description="of one key, by all processes of this machine together"
    )
    calls_per_night: int = Field(15_000, ge=1, description="users wait for the next night when it is spent")
    pictures: bool = Field(True, description="whether to download them")
    pictures_per_second: float = Field(0.4, ge=0.001, description="the image host has a lower limit of its own")
    image_size: Literal["z", "c", "l"] = Field("z", description="which url_* to download, never above 1024 px")
    oracle: bool = Field(False, description="simulated service only: also fetch the best possible prediction")


class EmbedParams(Section):
    """Which encoders turn pictures and texts into vectors, and how."""

    encoder: str = Field("ViT-B-32", description="the pair that is always computed: <encoder>-picture, <encoder>-text")
    pretrained: str | None = "laion2b_s34b_b79k"
    others: tuple[str, ...] = Field(("lsa-text",), description="further encoders; `flickcast encoders list` names them")
    captions: Literal["blip2"] | None = Field(None, description="what says in words what each picture shows")
    weights: dict[str, str] = Field(default_factory=dict, description="where theirs are: a path, a repository or a tag")
    number_type: Literal["float32", "bfloat16", "float16"] = Field("float32", description="in which models compute")
    batch_size: int = Field(64, ge=1)
    compile: bool = Field(False, description="let torch compile the models of open_clip and timm")

    @property
    def pair(self) -> tuple[str, str]:
        """The encoders of pictures and of texts whose vectors lie in one space."""
        return f"{self.encoder}-picture", f"{self.encoder}-text"

    @property
    def names(self) -> tuple[str, ...]:
        """The captioner and all encoders that a night runs, each once; some read what the captioner says."""
        first = (self.captions,) if self.captions else ()
        return tuple(dict.fromkeys((*first, *self.pair, *self.others)))


class ImagesParams(Section):
    """How long the service's pictures are kept; imported ones are the user's own and stay."""

    keep_days: int | None = Field(
        0, ge=0, le=MOST_DAYS, description="after a picture came and every encoder has seen it; null: for ever"
    )
    again_per_night: int = Field(2000, ge=0, description="deleted pictures that a night fetches for a new encoder")


class ComputeParams(Section):
    """Where vectors are computed; never changes them, so that another choice computes nothing anew."""

    engine: Literal["local", "dask", "ray"] = Field("local", description="dask and ray: extras of the same names")
    workers: int | None = Field(None, ge=1, description="processes; default: one per GPU, else one per four cores")
    address: str | None = Field(None, description="of a dask or ray cluster; default: one on this machine")
    pool: str | None = Field(
        None, description="a night has another machine's worker embed: the deployment embed/<pool>"
    )
    pool_seconds: float = Field(6 * 3600.0, gt=0, description="how long a night waits for it")


class FeatureParams(Section):
    """Which groups of columns the matrix holds."""

    groups: tuple[str, ...] = (
        "words",
        "time_place",
        "people",
        "user_behaviour",
        "user_tags",
        "user_cadence",
        "user_popularity",
        "user_recent_popularity",
        "categories",
        "trends",
        "known_popularity",
        "picture_text",
        "picture_statistics",
    )
    clock: Literal["point_in_time", "transductive"] = "point_in_time"


class TrainParams(Section):
    """Which recipe is trained, and on how many threads."""

    recipe: str = "champion"
    threads: int = Field(2, ge=1)
    min_labelled: int = Field(50, ge=10, description="fewer labelled posts than this make no model")
    full: bool = Field(False, description="every learner learns from all posts, whatever the recipe's at_night says")


class EvaluateParams(Section):
    """How the trained recipe is judged."""

    split: Literal["time"] = "time"
    bootstrap_rounds: int = Field(200, ge=10)


class DriftParams(Section):
    """When the night counts as drifted away from the training data."""

    max_rows: int = Field(5000, ge=100)
    max_columns: int = Field(40, ge=1)
    drifted_share: float = Field(0.3, gt=0, le=1)
    leave_out: tuple[str, ...] = Field(
        (
            "season_sine",
            "season_cosine",
            "snapshot_days",
            "days_since_first_post",
            "log_earlier_posts",
            "log_known_labels",
            "weekday",
            "is_weekend",
            "local_weekday",
            "is_local_weekend",
            "account_days",
            "posted_at_deviation",
            "log_first_year_posts",
            "log_earlier_tags",
            "log_distinct_tags",
            "log_known_labels_in_category",
            "local_season_sine",
            "local_season_cosine",
            "newest_tag_days",
            "log_tag_posts_max",
            "log_tag_posts_mean",
            "log_tag_posts_min",
            "log_concept_posts",
            "log_place_posts",
            "log_tag_labels",
            "log_concept_labels",
            "log_place_labels",
        ),
        description="columns that turn or grow with the calendar by themselves",
    )
    min_rows: int = Field(30, ge=1, description="fewer new posts than this say nothing about drift")


class Params(Section):
    """The whole of params.yaml; a stage receives its own part, never the whole."""

    seed: int = Field(0, ge=0, lt=2**31)
    label: LabelParams = LabelParams()
    ingest: IngestParams = IngestParams()
    embed: EmbedParams = EmbedParams()
    images: ImagesParams = ImagesParams()
    compute: ComputeParams = ComputeParams()
    features: FeatureParams = FeatureParams()
    train: TrainParams = TrainParams()
    evaluate: EvaluateParams = EvaluateParams()
    drift: DriftParams = DriftParams()


def read_params(path: Path) -> Params:
    """params.yaml, checked. Raises UserError with the key, the value and the nearest valid name."""
    content = read_yaml(path)
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error, Params)}") from None


def read_night(path: Path) -> date | None:
    """The logical date in night.yaml, or None where no night has been run."""
    if not path.exists():
        return None
    content = read_yaml(path)
    if set(content) != {"date"}:
        raise UserError(f"{path}: expected exactly one key, 'date', found {sorted(map(str, content))}.")
    value = content["date"]
    if value is None:
        return None
    return night_of(str(value), f"{path}: date is")


def night_of(text: str, where: str = "--date is") -> date:
    """A night's date. UserError that begins with `where` it came from."""
    try:
        night = date.fromisoformat(text)
    except ValueError:
        raise UserError(f"{where} '{text}'; write it as YYYY-MM-DD.") from None
    if not FIRST_NIGHT <= night <= LAST_NIGHT:
        raise UserError(f"{where} '{text}'; choose one from {FIRST_NIGHT} to {LAST_NIGHT}.")
    return night


class _OnceEach(yaml.SafeLoader):
    """PyYAML's safe loader, which takes the last of two equal keys in silence; this one refuses them."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node, seen = super().compose_mapping_node(anchor), set[tuple[str, str]]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                if (key.tag, key.value) in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' is there twice", key.start_mark)
                seen.add((key.tag, key.value))
        return node


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping; UserError names the file and line otherwise."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _OnceEach)  # noqa: S506
    except FileNotFoundError:
        raise UserError(f"{path} is missing. Make a workspace with `flickcast init {path.parent}`.") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        why = getattr(error, "problem", None) if isinstance(error, yaml.constructor.ConstructorError) else None
        told = f" ({why})" if why else ""
        raise UserError(f"{path}{where} is not valid YAML{told}. Correct it and run the command again.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold keys and values, found a {type(content).__name__}.")
    return content


def first_problem(error: ValidationError, root: type[BaseModel], place: str = "") -> str:
    """What is wrong in a sentence: the key (under `place`), its value, the nearest valid name; unknown keys first."""
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    *above, last = path = first["loc"]
    said, _ = _walked(root, path)
    where = ".".join(str(part) for part in (*([place] if place else []), *said) if part != KEY)
    if first["type"] == "extra_forbidden":
        keys = sorted({name for model in _walked(root, above)[1] for name in model.model_fields})
        return f"unknown key '{where}'; {nearest(str(last), keys)}"
    if first["type"] == "missing":
        return f"'{where}' is missing."
    if last == KEY:
        return f"'{where}' is no name: it begins with a letter, and has letters, digits, _ and -, 64 at most."
    return f"'{where}' is {_short(first['input'])}: {first['msg'][0].lower()}{first['msg'][1:]}."


def _short(value: Any) -> str:
    said = repr(value)
    return said if len(said) <= LONGEST else f"{said[:LONGEST]}…"


def _walked(root: type[BaseModel], path: Sequence[int | str]) -> tuple[list[int | str], list[type[BaseModel]]]:
    """A path as the user wrote it, without the tags of unions, and the sections that may be there.

    What follows a mapping is the name of an entry, whatever it is called, and what follows that may be a tag.
    """
    models, said, is_name, is_tag = [root], list[int | str](), False, False
    for part in path:
        fields = [model.model_fields[str(part)] for model in models if part in model.model_fields and not is_name]
        tagged = [model for model in models if is_tag and "kind" in model.model_fields and part in _tags(model)]
        if tagged:
            models = tagged
        elif fields:
            models = [model for field in fields for model in _models_in(field.annotation)]
        if not tagged:
            said.append(part)
        is_name, is_tag = any(get_origin(field.annotation) is dict for field in fields), is_name
    return said, models


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    return get_args(model.model_fields["kind"].annotation)
