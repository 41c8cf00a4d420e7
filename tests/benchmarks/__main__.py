"""Every figure of docs/performance.md in one program: this tree beside another revision of it, and beside other SCIM servers.

    python -m tests.benchmarks [--base REV] [--only ROW …] [--quick] [--rounds N] [--peers] [--json FILE]

All that is measured runs as processes, by their commands and ports alone, so that any revision can be the base: it gets a
worktree and a virtual environment of its own in a temporary folder. Who is measured takes turns in each round; a row shows
medians and how this tree's compare with the base's or a peer's. The load on ports comes from wrk.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.aims import judged
from benchmarks.builds import Build, here, installed
from benchmarks.daemons import DAEMONS
from benchmarks.ports import REQUESTS, Answering, serving
from benchmarks.remote import REMOTE
from benchmarks.rows import SWEEPS, Row, Sizes, stop_orgs

#: Each measures one build by itself; a request of ports.py is measured with all servers up.
WORKS = {**SWEEPS, **DAEMONS, **REMOTE}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--base", metavar="REV", help="another revision to measure beside this tree")
    parser.add_argument("--only", metavar="ROW", choices=[*WORKS, *REQUESTS], nargs="+", help="these rows alone")
    parser.add_argument("--quick", action="store_true", help="few people, one round: three minutes")
    parser.add_argument("--peers", action="store_true", help="beside scim2-server, SCIMMY and django-scim2 too")
    parser.add_argument("--rounds", type=int, help="instead of 5 (1 with --quick)")
    parser.add_argument("--people", type=int, help="instead of 100,000 (2,000 with --quick)")
    parser.add_argument(
        "--growth", metavar="N", type=int, nargs="+", help="instead of all rows: a sweep of so many people each"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="where the figures go as JSON")
    asked = parser.parse_args()
    sizes = Sizes.quick() if asked.quick else Sizes.full()
    if asked.people:
        sizes = sizes._replace(people=asked.people)
    if asked.rounds:
        sizes = sizes._replace(rounds=asked.rounds)
    only = asked.only or ([] if asked.growth else [*WORKS, *REQUESTS])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        builds = [here()]
        if asked.base is not None:  # alike: what else this environment has would count for this tree alone
            builds = [stack.enter_context(installed(revision, folder)) for revision in (None, asked.base)]
        stack.callback(stop_orgs)
        print(
            f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        )
        print(
            f"{sizes.people:,} people in sweeps, {sizes.accounts:,} accounts at ports, {sizes.rounds} rounds",
            flush=True,
        )
        found: dict[str, dict[str, Row]] = {}
        for name in (name for name in WORKS if name in only):
            found[name] = _shown(
                name, _in_turn(sizes.rounds, {b.name: _bound(WORKS[name], b, sizes, folder) for b in builds})
            )
        growth = {
            str(people): _shown(
                f"{people:,} people",
                _in_turn(
                    sizes.rounds,
                    {b.name: _bound(SWEEPS["sweep in step"], b, sizes._replace(people=people), folder) for b in builds},
                ),
            )
            for people in asked.growth or ()
        }
        durable: dict[str, bool] = {}
        if wanted := [name for name in REQUESTS if name in only]:
            found |= _requests(builds, sizes, wanted, folder, durable, peers=asked.peers)
        aims = judged(found, asked.base)
        for aim in aims:
            by = f" by {aim['by']}" if aim["by"] else ""
            print(
                f"{'met ' if aim['met'] else 'MISS'} {aim['of']}, {aim['row']}, {aim['figure']}{by}: {aim['reached']:,.2f} (aim {aim['aim']})"
            )
        if asked.json:
            facts = {
                "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "system": f"{platform.system()} {platform.release()}",
                "python": platform.python_version(),
                "cores": os.cpu_count(),
                "load": os.getloadavg()[0],
                "base": asked.base,
                "durable": durable,
            }
            told = {**facts, "sizes": sizes._asdict(), "rows": found, "growth": growth, "aims": aims}
            asked.json.write_text(json.dumps(told, indent=2) + "\n")


def _bound(measure: Callable[[Build, Sizes, Path], Row], build: Build, sizes: Sizes, folder: Path) -> Callable[[], Row]:
    return lambda: measure(build, sizes, folder)


def _requests(
    builds: list[Build], sizes: Sizes, names: list[str], folder: Path, durable: dict[str, bool], *, peers: bool
) -> dict[str, dict[str, Row]]:
    found = {}
    with ExitStack() as stack:
        targets: list[Answering] = stack.enter_context(serving(builds, sizes, folder, peers=peers))
        durable |= {target.name: target.durable for target in targets}
        print("durable: " + ", ".join(f"{name} {'yes' if kept else 'no'}" for name, kept in durable.items()))
        for name in names:
            works = {t.name: _load(t, name, sizes.seconds) for t in targets if name in t.offers}
            found[name] = _shown(name, _in_turn(sizes.rounds, works))
    return found


def _load(target: Answering, name: str, seconds: int) -> Callable[[], Row]:
    return lambda: target.load(name, seconds)


def _in_turn(rounds: int, works: dict[str, Callable[[], Row]]) -> dict[str, Row]:
    """Medians of so many rounds, in each of which everybody has a turn. Who fails is told, and left out of the row."""
    seen: dict[str, list[Row]] = {name: [] for name in works}
    for _ in range(rounds):
        for name in [*seen]:
            try:
                seen[name].append(works[name]())
            except (RuntimeError, OSError, subprocess.SubprocessError, httpx.HTTPError) as exc:
                print(f"failed: {exc}", file=sys.stderr, flush=True)
                del seen[name]
    return {name: {key: statistics.median(row[key] for row in rows) for key in rows[0]} for name, rows in seen.items()}


def _shown(name: str, found: dict[str, Row]) -> dict[str, Row]:
    mine = next(iter(found.values()), {})
    for who, row in found.items():
        cells = [f"{key} {value:,.2f}" for key, value in row.items()]
        if row is not mine:
            cells = [f"{cell} ({_ratio(mine[key], row[key])})" for cell, key in zip(cells, row, strict=True)]
        print(f"{name:<26} {who:<14} {'   '.join(cells)}", flush=True)
    return found


def _ratio(mine: float, other: float) -> str:
    """The figure of this tree over the other one's."""
    return f"× {mine / other:.2f}" if other else "–"


if __name__ == "__main__":
    main()
