"""A prediction as a picture: an SVG that stands alone, with no script and nothing from elsewhere."""

import math
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from flickcast.console import printable
from flickcast.explain import Explanation, quartiles
from flickcast.explain.words import factor, group_in_words, value_in_words

Json = dict[str, Any]
WIDTH, LEFT, RIGHT, TOP, ROW = 980, 420, 70, 104, 24
MIDDLE = (LEFT + WIDTH - RIGHT) / 2
UP, DOWN, GREY, INK = "#1b7f79", "#c8553d", "#6b7280", "#111827"
GROUPS, COLUMNS = 10, 12
LABEL_CHARACTERS = 64
NO_XML = {"\ufffe", "\uffff"}  # printable, but XML 1.0 has no place for them (section 2.2)


def svg(told: Explanation) -> str:
    """The scale with band, truth and the user's past; then bars of the groups, then of the strongest columns."""
    rows, height = _rows(told)
    title = f"Post {told.post_id}: about {told.scale.told(told.prediction)} {told.scale.unit}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'font-family="sans-serif" font-size="13" role="img" aria-label={quoteattr(_plain(title))}>',
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
            _text(24, 34, title, size=20, weight="bold"),
            _text(24, 56, _subtitle(told), fill=GREY),
            *_scale(told),
            *rows,
            _text(24, height - 16, _sum(told), fill=GREY, size=12),
            "</svg>",
        ]
    )


def _subtitle(told: Explanation) -> str:
    return f"{told.user_id}, {told.posted_at:%Y-%m-%d %H:%M} UTC   {told.title}"


def _sum(told: Explanation) -> str:
    others = told.prediction - told.base - told.calibration
    return (
        f"{told.base:.2f} to start with {others:+.2f} of all groups {told.calibration:+.2f} calibration = "
        f"{told.prediction:.2f} = {told.scale.definition}. Each bar multiplies the {told.scale.unit}. {told.model}"
    )


def _rows(told: Explanation) -> tuple[list[str], int]:
    """Both panels, and how high the picture is with them."""
    shown = [*told.groups[:GROUPS], *_others(told.groups[GROUPS:], "group", "further groups")]
    if told.calibration:
        shown.append({"group": "calibration", "theme": "", "contribution": told.calibration})
    groups = [(_named(group), group) for group in shown]
    columns = [(_column_label(one), one) for one in told.columns[:COLUMNS]]
    widest = max((abs(one["contribution"]) for _, one in (*groups, *columns)), default=0.0) or 1.0
    y = TOP + 96
    out = []
    for title, bars in (("What it looks at", groups), ("The strongest columns among them", columns)):
        out.append(_text(24, y, title, weight="bold"))
        out.append(_line(MIDDLE, y + 8, MIDDLE, y + 16 + ROW * len(bars)))
        for label, one in bars:
            y += ROW
            out += _bar(y, label, one["contribution"], widest)
        y += 48
    return out, y + 4


def _others(rest: list[Json], key: str, name: str) -> list[Json]:
    total = sum(one["contribution"] for one in rest)
    return [{key: name, "theme": "", "contribution": total}] if rest else []


def _named(group: Json) -> str:
    return f"{group_in_words(group)} ({group['group']})" if group["theme"] else group["group"]


def _column_label(column: Json) -> str:
    value = value_in_words(column)
    return f"{column['column']} = {value}" if value else str(column["column"])


def _bar(y: float, label: str, contribution: float, widest: float) -> Iterator[str]:
    reach = (WIDTH - RIGHT - LEFT) / 2 - 95
    length = abs(contribution) / widest * reach
    x = MIDDLE if contribution >= 0 else MIDDLE - length
    yield _text(LEFT - 12, y + 5, label, anchor="end")
    fill = UP if contribution >= 0 else DOWN
    yield f'<rect x="{x:.1f}" y="{y - 8}" width="{max(length, 1):.1f}" height="16" rx="2" fill="{fill}"/>'
    said = f"{contribution:+.2f}  {factor(contribution)}"
    if contribution >= 0:
        yield _text(MIDDLE + length + 6, y + 5, said, size=12)
    else:
        yield _text(MIDDLE - length - 6, y + 5, said, size=12, anchor="end")


def _scale(told: Explanation) -> Iterator[str]:
    """A line from few to many views: the band and the prediction above it, the user's past below."""
    known = [told.low, told.high, told.base, *told.past, *([] if told.label is None else [told.label])]
    lowest, highest = math.floor(min(known)), math.ceil(max(known))
    start, end = 150, WIDTH - RIGHT

    def place(popularity: float) -> float:
        return start + (popularity - lowest) / max(highest - lowest, 1) * (end - start)

    y = TOP
    yield _text(24, y + 5, "prediction")
    yield _box(place(told.low), y - 8, place(told.high), 16, UP, 0.25)
    yield _mark(place(told.prediction), y, UP)
    if told.label is not None:
        yield _mark(place(told.label), y, INK)
        yield _text(place(told.label), y - 14, "truth", size=11, anchor="middle")
    yield _text(24, y + 29, "the user's past" if told.past else "no past known", fill=INK if told.past else GREY)
    if told.past:
        found = quartiles(told.past)
        yield _line(place(found["minimum"]), y + 24, place(found["maximum"]), y + 24)
        yield _box(place(found["lower"]), y + 17, place(found["upper"]), 14, GREY, 0.5)
        yield _mark(place(found["median"]), y + 24, GREY)
    yield _line(start, y + 42, end, y + 42)
    step = max(1, math.ceil((highest - lowest) / 10))
    for popularity in range(lowest, highest + 1, step):
        yield _text(place(popularity), y + 58, told.scale.told(popularity), size=11, fill=GREY, anchor="middle")
    yield _text(24, y + 58, told.scale.unit, size=11, fill=GREY)


def _mark(x: float, y: float, fill: str) -> str:
    return f'<rect x="{x - 2:.1f}" y="{y - 10}" width="4" height="20" fill="{fill}"/>'


def _box(x: float, y: float, until: float, height: float, fill: str, opacity: float) -> str:
    width = max(until - x, 1)
    return (
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}" rx="2" fill="{fill}" '
        f'fill-opacity="{opacity}"/>'
    )


def _line(x: float, y: float, until: float, below: float) -> str:
    return f'<line x1="{x:.1f}" y1="{y}" x2="{until:.1f}" y2="{below}" stroke="{GREY}"/>'


def _text(
    x: float, y: float, content: str, *, size: int = 13, fill: str = INK, weight: str = "normal", anchor: str = "start"
) -> str:
    """User text goes through here and nowhere else."""
    most = LABEL_CHARACTERS if anchor == "end" else 150
    plain = _plain(content)
    cut = f"{plain[:most]}…" if len(plain) > most else plain
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" font-weight="{weight}" '
        f'text-anchor="{anchor}">{escape(cut)}</text>'
    )


def _plain(text: str) -> str:
    return "".join(one for one in printable(text) if one not in NO_XML).replace("\n", " ").replace("\t", " ")
