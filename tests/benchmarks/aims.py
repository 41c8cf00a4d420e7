"""What the figures ought to reach, and whether they do. Measures nothing.

    python tests/benchmarks/aims.py FILE.json …

prints what ``python -m tests.benchmarks --json FILE.json`` found as the tables of docs/performance.md; later files win.
"""

import json
import sys
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

Row = dict[str, float]


class Aim(NamedTuple):
    row: str
    figure: str
    #: Of this tree's figure by the one of another, or where ``to`` is empty of the figure itself.
    most: float | None = None
    least: float | None = None
    to: str = ""


#: Of the revision that ``--base`` names; the aims were set with 409b0a8 as it.
BASE = "base"
AIMS = (
    Aim("sweep in step", "cpu", most=0.45, to=BASE),
    Aim("unchanged sweep", "cpu", most=0.3, to=BASE),
    Aim("1 % drift applied", "cpu", most=0.5, to=BASE),
    Aim("1 % drift applied", "megabytes", most=0.75, to=BASE),
    Aim("1 % drift applied", "megabytes", most=125),
    Aim("ten times as many", "megabytes", most=180),
    Aim("first run, planned", "megabytes", most=200),
    Aim("fixes", "fixes/s", least=2.7, to=BASE),
    Aim("fixes", "fixes/s", least=10_000),
    Aim("200 people, a command", "cpu", most=0.6, to=BASE),
    Aim("200 people, a command", "seconds", most=0.6, to=BASE),
    Aim("remote, 1 % repaired", "cpu", most=0.45, to=BASE),
    Aim("remote, in step", "cpu", most=0.4, to=BASE),
    Aim("remote, first run planned", "megabytes", most=250),
    *(Aim(row, "/s", least=2.0, to=BASE) for row in ("POST", "PUT", "PATCH")),
    *(Aim(row, "p99 ms", most=20) for row in ("POST", "PUT", "PATCH")),
    Aim("GET one", "/s", least=1.7, to=BASE),
    Aim("filter userName", "/s", least=1.5, to=BASE),
    Aim("page of 100", "/s", least=1.7, to=BASE),
    *(
        Aim(row, "/s", least=6, to=peer)
        for row in ("GET one", "filter userName")
        for peer in ("scim2-server", "SCIMMY")
    ),
    *(Aim(row, "/s", least=6, to="django-scim2") for row in ("GET one", "filter userName")),
    *(
        Aim(row, "/s", least=5, to=peer)
        for row in ("POST", "PUT")
        for peer in ("scim2-server", "SCIMMY", "django-scim2")
    ),
    Aim("pushes beside a sweep", "times", most=2),
    Aim("pushes beside its own sweep", "times", most=2),
    Aim("hook storm", "refused", most=0),
    Aim("hook storm", "empty, seconds", most=10),
    Aim("idle daemon", "megabytes", most=110),
    Aim("idle daemon", "cpu %", most=0.5),
)


def judged(found: dict[str, dict[str, Row]], base: str | None) -> list[dict[str, str | float | bool]]:
    """A line for each aim whose row was measured, of this tree's daemons of several processes too."""
    lines: list[dict[str, str | float | bool]] = []
    ours = [
        who for who in {who: 1 for row in found.values() for who in row} if who == "here" or who.endswith(" workers")
    ]
    for mine, aim in product(ours, AIMS):
        other = base if aim.to == BASE else aim.to
        own = found.get(aim.row, {}).get(mine, {}).get(aim.figure)
        theirs = found.get(aim.row, {}).get(other or "", {}).get(aim.figure) if aim.to else 1.0
        if own is None or not theirs:
            continue
        reached, limit = own / theirs, aim.most if aim.most is not None else aim.least
        assert limit is not None
        lines.append(
            {
                "of": mine,
                "row": aim.row,
                "figure": aim.figure,
                "by": (other or "") if aim.to else "",
                "aim": f"{'≤' if aim.most is not None else '≥'} {limit:g}",
                "reached": reached,
                "met": reached <= limit if aim.most is not None else reached >= limit,
            }
        )
    return lines


def tables(told: dict[str, Any]) -> str:
    """All figures, and what became of the aims, in Markdown."""
    base = told["base"]
    lines = [f"| work | figure | this build | {base or 'base'} | times | others |", "|---|---|---|---|---|---|"]
    for row, who in told["rows"].items():
        for figure, own in who.get("here", {}).items():
            old = who.get(base, {}).get(figure)
            others = ", ".join(
                f"{name} {_figure(found[figure])}"
                for name, found in who.items()
                if name not in ("here", base) and figure in found
            )
            times = f"{own / old:.2f}" if old else "–"
            before = _figure(old) if old is not None else "–"
            lines.append(f"| {row} | {figure} | {_figure(own)} | {before} | {times} | {others} |")
    lines += ["", "| aim | of | asked | reached | |", "|---|---|---|---|---|"]
    for aim in told["aims"]:
        of = f"{aim['figure']}, times {aim['by']}" if aim["by"] else aim["figure"]
        lines.append(
            f"| {aim['row']} | {aim['of']}: {of} | {aim['aim']} | {aim['reached']:,.2f} | {'met' if aim['met'] else 'missed'} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    found: dict[str, Any] = {}
    for name in sys.argv[1:]:
        one = json.loads(Path(name).read_text())
        found = {**found, **one, "rows": {**found.get("rows", {}), **one["rows"]}}
    print(tables({**found, "aims": judged(found["rows"], found["base"])}))


def _figure(value: float) -> str:
    """Four digits; of larger ones all."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
