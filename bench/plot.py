"""Curves as SVG, without a library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 60, 150, 40, 40  # margins
COLOURS = ("#9aa5b1", "#7b8794", "#52606d", "#1f2933", "#0b6bcb", "#c2410c")
MAIN = "#d9480f"  # of the curve that the picture is about


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve: a value for each label of the axis."""

    name: str
    values: Sequence[float]
    main: bool = False  # drawn thick


def draw_curves(title: str, labels: Sequence[str], curves: Sequence[Curve]) -> str:
    """Return an SVG with a linear axis of values that begins at 0, and evenly spaced labels."""
    top = _round_up(max(value for curve in curves for value in curve.values))
    step = (WIDTH - LEFT - RIGHT) / max(len(labels) - 1, 1)

    def place(index: int, value: float) -> tuple[float, float]:
        return LEFT + index * step, HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="#3e4c59">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14" font-weight="600">{escape(title)}</text>',
    ]
    for part in range(5):
        value = top * part / 4
        _, y = place(0, value)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#e4e7eb"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,.0f}</text>')
    for index, label in enumerate(labels):
        x, _ = place(index, 0)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{escape(label)}</text>')
    ends = _spread([place(len(labels) - 1, curve.values[-1])[1] for curve in curves])
    for number, (curve, end) in enumerate(zip(curves, ends, strict=True)):
        colour, width = (MAIN, 3) if curve.main else (COLOURS[number % len(COLOURS)], 1.5)
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(i, v) for i, v in enumerate(curve.values)))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        weight = "600" if curve.main else "400"
        parts.append(
            f'<text x="{WIDTH - RIGHT + 10}" y="{end + 4:.1f}" fill="{colour}" font-weight="{weight}">'
            f"{escape(curve.name)}</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _round_up(value: float) -> float:
    """Return a number that is at least `value`, and easy to read."""
    unit = 1.0
    while unit * 10 < value:
        unit *= 10
    return next(unit * factor for factor in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10, 12) if unit * factor >= value)


def _spread(heights: list[float]) -> list[float]:
    """Move the labels at the ends of the curves apart."""
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    placed = list(heights)
    for one, other in pairwise(order):
        placed[other] = max(placed[other], placed[one] + 15)
    return placed
