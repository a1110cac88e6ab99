"""`python -m benchmarks.growth_plot FILE`: the curves as docs/images/growth.svg, and as text.

The text alternative is part of the file (`<title>`, `<desc>`), and printed as a table for the docs.
"""

from __future__ import annotations

import json
import math
import sys
from html import escape
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "docs" / "images" / "growth.svg"
WIDTH, PANEL, MARGIN, LEFT = 720, 150, 46, 60
# Legible on white and on dark pages.
COLOURS = ("#2563eb", "#d97706", "#059669")


def main() -> None:
    report = json.loads(Path(sys.argv[1]).read_text())
    TARGET.write_text(svg(report["curves"]))
    print(table(report["curves"]))


def svg(curves: list[dict[str, Any]]) -> str:
    """One panel a curve, below each other."""
    height = len(curves) * (PANEL + MARGIN) + 10
    panels = [panel(curve, index * (PANEL + MARGIN)) for index, curve in enumerate(curves)]
    words = " ".join(f"{curve['title']}: {sentence(curve)}." for curve in curves)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-labelledby="growth-title growth-text" font-family="sans-serif" font-size="12">\n'
        '<title id="growth-title">Costs at growing sizes</title>\n'
        f'<desc id="growth-text">{escape(words)}</desc>\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n'
        + "\n".join(panels)
        + "\n</svg>\n"
    )


def panel(curve: dict[str, Any], top: int) -> str:
    points = curve["points"]
    names = list(points[0][1])
    title = f"{curve['title']} ({curve['unit']})"
    most = max(cost for _, costs in points for cost in costs.values()) or 1
    sizes = [size for size, _ in points]
    lowest, highest = math.log10(max(min(sizes), 1)), math.log10(max(sizes))
    right, bottom = WIDTH - 150, top + MARGIN + PANEL - 34

    def across(size: int) -> float:
        return LEFT + (math.log10(max(size, 1)) - lowest) / (highest - lowest) * (right - LEFT)

    def up(cost: float) -> float:
        return bottom - cost / most * (PANEL - 44)

    found = [
        f'<text x="8" y="{top + 22}" font-weight="bold">{escape(title)}</text>',
        f'<line x1="{LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}" stroke="#666"/>',
        f'<text x="{LEFT - 6}" y="{up(most) + 4:.0f}" text-anchor="end">{most:g}</text>',
        f'<text x="{LEFT - 6}" y="{bottom + 4}" text-anchor="end">0</text>',
    ]
    for size in sizes:
        label = (
            f'<text x="{across(size):.0f}" y="{bottom + 16}" text-anchor="middle">{size:,}</text>'
        )
        found.append(label)
    last = -math.inf
    for name, colour in sorted(
        zip(names, COLOURS, strict=False), key=lambda pair: up(points[-1][1][pair[0]])
    ):
        line = " ".join(f"{across(size):.0f},{up(costs[name]):.0f}" for size, costs in points)
        found.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        found += [
            f'<circle cx="{across(size):.0f}" cy="{up(costs[name]):.0f}" r="3" fill="{colour}"/>'
            for size, costs in points
        ]
        last = max(last + 14, up(points[-1][1][name]) + 4)
        words = f"{name} {points[-1][1][name]:g}"
        found.append(
            f'<text x="{right + 10}" y="{last:.0f}" fill="{colour}">{escape(words)}</text>'
        )
    return "\n".join(found)


def sentence(curve: dict[str, Any]) -> str:
    """The curve in words."""
    return "; ".join(
        f"at {size:,} " + ", ".join(f"{name} {cost:g}" for name, cost in costs.items())
        for size, costs in curve["points"]
    )


def table(curves: list[dict[str, Any]]) -> str:
    """The curves as a table of the documentation."""
    rows = [f"| {curve['title']} ({curve['unit']}) | {sentence(curve)} |" for curve in curves]
    return "\n".join(["| what grows | cost |", "|---|---|", *rows])


if __name__ == "__main__":
    main()
