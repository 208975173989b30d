"""Small SVG charts for docs/benchmarks.md: they bring their own background and follow the reader's light or dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH = 760
_STYLE = """<style>
svg{--paper:#fbfaf7;--ink:#1a2236;--quiet:#6b7280;--line:#dcd8cf;--ours:#b4402a;--theirs:#9aa3b2}
@media (prefers-color-scheme:dark){
svg{--paper:#14181f;--ink:#e8e6e1;--quiet:#9aa3b2;--line:#2c333f;--ours:#e8765c;--theirs:#566072}
}
text{font:14px system-ui,sans-serif;fill:var(--ink)} .quiet{fill:var(--quiet)} .title{font-weight:600;font-size:15px}
</style>"""
# in this order, for parts of a bar and for lines; told apart by lightness too
_SHADES = (
    *("#b4402a", "#d98b5f", "#5b7f95", "#8aa899", "#9c8aa8"),
    *("#c2b280", "#6b7280", "#3f7d5c", "#a8577e", "#4a6fb5"),
)


def bars(title: str, values: Mapping[str, float], ours: str, unit: str, goal: float | None = None) -> str:
    """Horizontal bars; those whose name begins with `ours` stand out. goal: a line across."""
    most = max([*values.values(), goal or 0]) or 1
    left, height = max(120, 24 + 8 * max(map(len, values))), 28
    scale = (WIDTH - left - 110) / most
    parts = [_text(12, 24, title, "title")]
    for number, (name, value) in enumerate(values.items()):
        y = 44 + number * height
        colour = "var(--ours)" if name.startswith(ours) else "var(--theirs)"
        parts.append(_text(left - 10, y + 15, name, anchor="end"))
        parts.append(
            f'<rect x="{left:.1f}" y="{y}" width="{max(1.0, value * scale):.1f}" height="20" fill="{colour}"/>'
        )
        parts.append(_text(left + value * scale + 8, y + 15, f"{value:,.0f}", "quiet"))
    bottom = 44 + len(values) * height
    if goal:
        x = left + goal * scale
        parts.append(
            f'<line x1="{x:.1f}" y1="38" x2="{x:.1f}" y2="{bottom}" stroke="var(--ink)" stroke-dasharray="4 4"/>'
        )
        parts.append(_text(x, bottom + 16, f"goal {goal:,.0f}", "quiet", "middle"))
    parts.append(_text(WIDTH - 12, bottom + 16, unit, "quiet", "end"))
    return _svg(bottom + 28, title, parts)


def stacked(title: str, rows: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """One bar a row, made of named parts; a row may lack some."""
    most = max(sum(parts.values()) for parts in rows.values()) or 1
    left, height = 120, 34
    scale = (WIDTH - left - 80) / most
    made = [_text(12, 24, title, "title")]
    names = list(dict.fromkeys(name for parts in rows.values() for name in parts))
    for number, (name, parts) in enumerate(rows.items()):
        y, x = 44 + number * height, float(left)
        made.append(_text(left - 10, y + 17, name, anchor="end"))
        for shade, value in zip(_SHADES, (parts.get(name, 0.0) for name in names), strict=False):
            made.append(f'<rect x="{x:.1f}" y="{y}" width="{value * scale:.1f}" height="24" fill="{shade}"/>')
            x += value * scale
        made.append(_text(x + 8, y + 17, f"{sum(parts.values()):,.0f}", "quiet"))
    bottom = 52 + len(rows) * height
    made += _legend(names, bottom)
    made.append(_text(WIDTH - 12, 24, unit, "quiet", "end"))
    return _svg(bottom + 22 * math.ceil(len(names) / 4) + 8, title, made)


def lines(
    title: str,
    columns: Sequence[str],
    series: Mapping[str, Sequence[float]],
    unit: str,
    axis: tuple[float, float],
    goal: float,
) -> str:
    """Values over columns that are equally far apart (so: powers of ten on a log scale). axis: where the y axis ends,
    and how far apart its lines are; what is above it lies on its edge with its figure. goal: a dashed line."""
    top, apart = axis
    left, right, upper, lower = 70, WIDTH - 64, 44, 244
    step = (right - left) / max(1, len(columns) - 1)
    made = [_text(12, 24, title, "title"), _text(WIDTH - 12, 24, unit, "quiet", "end")]
    for number in range(round(top / apart) + 1):
        y = lower - (lower - upper) * number * apart / top
        made.append(f'<line x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="var(--line)"/>')
        made.append(_text(left - 8, y + 5, _short(apart * number), "quiet", "end"))
    y = lower - (lower - upper) * goal / top
    made.append(
        f'<line x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="var(--ink)" stroke-dasharray="4 4"/>'
    )
    made.append(_text(right + 10, y + 5, "goal", "quiet"))
    for number, column in enumerate(columns):
        made.append(_text(left + number * step, lower + 20, column, "quiet", "middle"))
    for shade, values in zip(_SHADES, series.values(), strict=False):
        points = [
            (left + number * step, lower - (lower - upper) * min(value / top, 1.0))
            for number, value in enumerate(values)
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        made.append(f'<polyline points="{path}" fill="none" stroke="{shade}" stroke-width="2.5"/>')
        made += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{shade}"/>' for x, y in points]
        above = [(x, value) for (x, _), value in zip(points, values, strict=True) if value > top]
        made += [_text(x - 8, upper + 16, f"{value:,.0f}", "quiet", "end") for x, value in above]
    across = 2 if max(map(len, series)) > 22 else 4
    names = list(series) if len(series) > 1 else []
    made += _legend(names, lower + 36, across)
    return _svg(lower + 36 + 22 * math.ceil(len(names) / across), title, made)


def _legend(names: Sequence[str], y: float, across: int = 4) -> list[str]:
    made = []
    for number, (name, shade) in enumerate(zip(names, _SHADES, strict=False)):
        x, line = 20 + (number % across) * (728 // across), y + 22 * (number // across)
        made.append(f'<rect x="{x}" y="{line}" width="12" height="12" fill="{shade}"/>')
        made.append(_text(x + 18, line + 11, name, "quiet"))
    return made


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" role="img" aria-label="{escape(title)}">{_STYLE}'
        f'<rect width="100%" height="100%" rx="6" fill="var(--paper)"/>{"".join(parts)}</svg>\n'
    )
