"""A comparison as a picture: SRC and MAE of every row with their intervals, as SVG."""

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flickcast.comparison import Comparison
from flickcast.comparison.text import by_error, is_single

Json = Mapping[str, Any]
NAMES, PANEL, GAP, LINE, TOP, BOTTOM = 230, 330, 40, 26, 64, 34  # pixels
TICKS = 5
COLOURS = {
    "recipe": "#1f5fa8",
    "learner": "#5b8fc7",
    "reference": "#8a8a8a",
    "baseline": "#b8b8b8",
    "oracle": "#2e8b57",
}
PANELS = (("src", "SRC, higher is better"), ("mae", "MAE, lower is better"))


def chart(comparison: Comparison) -> str:
    """An SVG; rows without figures are left out. Equal comparisons give equal bytes."""
    rows = [row for row in by_error(comparison.rows) if row["mae"] is not None]
    width, height = NAMES + 2 * (PANEL + GAP), TOP + LINE * max(len(rows), 1) + BOTTOM
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(12, 22, f"Recipes on the split {comparison.split}", size=15),
        *(_text(NAMES - 10, _middle(place), row["row"], anchor="end") for place, row in enumerate(rows)),
    ]
    for place, (measure, title) in enumerate(PANELS):
        body += _panel(rows, measure, title, NAMES + place * (PANEL + GAP))
    return "\n".join([*body, "</svg>"]) + "\n"


def _panel(rows: Sequence[Json], measure: str, title: str, left: int) -> Iterator[str]:
    """A scale and, for each row, its value as a dot on its interval."""
    ends = [_ends(row, measure) for row in rows]
    low, high = min((one for one, _ in ends), default=0.0), max((one for _, one in ends), default=1.0)
    room = (high - low) * 0.05 or 0.05
    low, high = low - room, high + room
    bottom = TOP + LINE * max(len(rows), 1)

    def across(value: float) -> float:
        return left + (value - low) / (high - low) * PANEL

    yield _text(left, 46, title)
    for number in range(TICKS):
        value = low + (high - low) * number / (TICKS - 1)
        yield f'<line x1="{across(value):.1f}" y1="{TOP}" x2="{across(value):.1f}" y2="{bottom}" stroke="#e4e4e4"/>'
        yield _text(across(value), bottom + 18, f"{value:.2f}", anchor="middle", size=11)
    for place, (row, (start, end)) in enumerate(zip(rows, ends, strict=True)):
        middle, colour = _middle(place) - 4, COLOURS[row["kind"]]
        yield (
            f'<line x1="{across(start):.1f}" y1="{middle}" x2="{across(end):.1f}" y2="{middle}" '
            f'stroke="{colour}" stroke-width="2"/>'
        )
        yield f'<circle cx="{across(row[measure]):.1f}" cy="{middle}" r="4.5" fill="{colour}"/>'


def _ends(row: Json, measure: str) -> tuple[float, float]:
    """The interval of a single run, otherwise a standard deviation to either side."""
    if is_single(row):
        return row[f"{measure}_low"], row[f"{measure}_high"]
    return row[measure] - row[f"{measure}_spread"], row[measure] + row[f"{measure}_spread"]


def _middle(place: int) -> int:
    return TOP + LINE * place + LINE // 2 + 4


def _text(x: float, y: float, words: str, anchor: str = "start", size: int = 12) -> str:
    """User text is never markup."""
    return (
        f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="#222222">'
        f"{html.escape(words)}</text>"
    )
