"""How CPU and memory of a sweep grow with the people, drawn from what ``python -m tests.benchmarks --growth … --json FILE`` found.

    python tests/benchmarks/growth.py FILE.json docs/growth.svg

Both axes are logarithmic, so that a straight line at 45 degrees is a cost a person.
"""

import json
import math
import sys
from pathlib import Path

WIDTH, HEIGHT, MARGIN = 360, 260, 48
PANELS = (("cpu", "CPU seconds of a sweep in step"), ("megabytes", "megabytes at the peak"))


def drawn(growth: dict[str, dict[str, dict[str, float]]]) -> str:
    """``growth``: people → who was measured → figures."""
    parts = [_panel(growth, figure, title, left=number * WIDTH) for number, (figure, title) in enumerate(PANELS)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * len(PANELS)}" height="{HEIGHT}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _panel(growth: dict[str, dict[str, dict[str, float]]], figure: str, title: str, left: int) -> str:
    people = sorted(map(int, growth))
    values = [row[figure] for rows in growth.values() for row in rows.values()]
    x0, x1 = math.log10(people[0]), math.log10(people[-1])
    y0, y1 = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))

    def at(count: float, value: float) -> tuple[float, float]:
        across = (math.log10(count) - x0) / ((x1 - x0) or 1)
        up = (math.log10(value) - y0) / ((y1 - y0) or 1)
        return left + MARGIN + across * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - up * (HEIGHT - 2 * MARGIN)

    made = [f'<text x="{left + MARGIN}" y="24" font-size="13">{title}</text>']
    for count in people:
        x, y = at(count, 10**y0)
        made.append(f'<text x="{x:.0f}" y="{y + 18:.0f}" text-anchor="middle">{count:,}</text>')
    for power in range(y0, y1 + 1):
        x, y = at(people[0], 10**power)
        end, _ = at(people[-1], 10**power)
        made.append(f'<text x="{x - 6:.0f}" y="{y + 4:.0f}" text-anchor="end">{10**power:g}</text>')
        made.append(f'<path d="M{x:.0f} {y:.0f}H{end:.0f}" stroke="#ccc"/>')
    for name, colour in zip(next(iter(growth.values())), ("#1f5fbf", "#999999"), strict=False):
        points = [(count, growth[str(count)][name][figure]) for count in people if name in growth[str(count)]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
        made.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point in points:
            x, y = at(*point)
            made.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
            made.append(
                f'<text x="{x:.0f}" y="{y - 8:.0f}" text-anchor="middle" fill="{colour}">{point[1]:,.1f}</text>'
            )
    return "".join(made)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(drawn(json.loads(Path(sys.argv[1]).read_text())["growth"]))
