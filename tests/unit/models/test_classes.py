import json
from datetime import UTC, datetime

import polars as pl
import pytest

from flickcast.models.classes import class_groups
from flickcast.models.design import Design, Preparation, PreparationSettings
from flickcast.models.reductions import Training

MANIFEST = {
    name: {"group": group, "kind": "number"}
    for name, group in {
        "is_pro": "people",
        "timezone_offset": "people",
        "can_buy_pro": "people",
        "hour": "time_place",
        "weekday": "time_place",
        "season_sine": "time_place",
        "log_earlier_posts": "user_behaviour",
    }.items()
}
CLASSES = ["user_id", "is_public", "posted_hour", "posted_weekday", "posted_month", "is_pro", "timezone_offset"]
ROWS = pl.DataFrame(
    {
        "user_id": ["ann", "ann", "bob"],
        "posted_at": [datetime(2015, month, 2, hour, 59, tzinfo=UTC) for month, hour in ((3, 7), (3, 23), (11, 7))],
        "is_public": [True, None, True],
        "is_pro": [1.0, 0.0, None],
        "can_buy_pro": [None, None, None],
        "timezone_offset": [5.5, 5.5, 5.0],
    },
    schema_overrides={"is_pro": pl.Float32, "can_buy_pro": pl.Float32},
)


def fitted(manifest: dict[str, dict[str, str]] = MANIFEST, rows: pl.DataFrame = ROWS) -> tuple[Preparation, Design]:
    settings = PreparationSettings(columns=[], classes=[*CLASSES, "can_buy_pro"], rare_below=1)
    return Preparation.fit(Training(rows, seed=0), manifest, settings)


def test_each_value_is_a_class() -> None:
    _, design = fitted()
    codes = dict(zip(design.category_names, design.codes.T.tolist(), strict=True))
    alike = {name: (code[0] == code[1], code[0] == code[2]) for name, code in codes.items()}
    assert alike == {
        "user_id": (True, False),
        "is_public": (False, True),
        "posted_hour": (False, True),
        "posted_weekday": (True, True),
        "posted_month": (True, False),
        "is_pro": (False, False),
        "timezone_offset": (True, False),
    }
    assert codes["is_public"][1] == codes["is_pro"][2] == -1


def test_column_without_values_is_left_out() -> None:
    assert "can_buy_pro" not in fitted()[1].category_names


def test_restored_preparation_knows_the_same_users_and_no_file_names_them() -> None:
    manifest = {**MANIFEST, "zone": {"group": "people", "kind": "category"}}
    data = ROWS.with_columns(zone=pl.Series(["x", "y", "z"]))
    preparation, design = Preparation.fit(
        Training(data, seed=0), manifest, PreparationSettings(columns=["zone"], classes=CLASSES, rare_below=1)
    )
    facts = preparation.facts()
    assert "ann" not in str(facts)
    new = pl.concat([data.reverse(), data[:1].with_columns(user_id=pl.lit("new"))])
    stored = json.loads(json.dumps(facts, sort_keys=True))
    codes = Preparation.restore(stored, {}).design(new).codes[:, design.category_names.index("user_id")].tolist()
    assert codes[:3] == design.codes[::-1, design.category_names.index("user_id")].tolist()
    assert codes[3] == 0


@pytest.mark.parametrize(
    ("gone", "also"),
    [
        ({"hour"}, {"posted_hour"}),
        ({"is_pro", "timezone_offset", "can_buy_pro"}, {"is_pro", "timezone_offset", "is_public"}),
        ({"log_earlier_posts"}, {"user_id"}),
    ],
)
def test_what_takes_away_a_group_takes_away_its_classes(gone: set[str], also: set[str]) -> None:
    left = {name: entry for name, entry in MANIFEST.items() if name not in gone}
    assert set(CLASSES) - set(class_groups(ROWS, CLASSES, left)) == also


def test_rows_without_the_columns_have_no_classes() -> None:
    assert class_groups(ROWS.select("is_pro"), CLASSES, MANIFEST) == {"is_pro": "people"}
    preparation, _ = fitted()
    assert (preparation.design(ROWS.select("is_pro")).codes[:, :6] == -1).sum() == 3 * 5 + 1
