"""How long Okta's own limits let a sweep, a storm and an import take, whatever the agent and its machine are. Measures nothing.

    python tests/benchmarks/okta_limits.py

Limits are calls a minute on the bucket of /api/v1/apps, half of which one token or OAuth app gets by default, and of which the
agent takes its share (okta.budget_share). A minute's calls are made at its start, so that few calls wait for nobody.
"""

import sys
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from agent.reconcile.look_queue import sweep_calls
from agent.settings import OktaSettings

PEOPLE = (1_000, 10_000, 100_000, 1_000_000)
#: People in a page of the app's users; the most that Okta gives.
PAGE = 500
#: Of an org's limit, by Okta's default for each token.
TOKEN_SHARE = 0.5


class Plan(NamedTuple):
    name: str
    #: Calls a minute, of the whole org, below /api/v1/apps.
    apps: int


PLANS = (Plan("Integrator Free", 20), Plan("Enterprise, Workforce", 100), Plan("the same raised fivefold", 500))


def storm_calls(events: int, people: int) -> int:
    """A look takes a call for each person; where a sweep takes fewer calls, there is one sweep instead."""
    return min(events, sweep_calls(people, PAGE))


def minutes(calls: int, plan: Plan) -> int:
    """Of waiting: each started minute allows so many, and the first allows them at once."""
    return (calls - 1) // max(1, int(plan.apps * TOKEN_SHARE * OktaSettings().budget_share))


def spoken(waited: int) -> str:
    if waited < 60:
        return f"{waited} min" if waited else "under 1 min"
    return f"{waited / 60:.1f} h" if waited < 48 * 60 else f"{waited / 1440:.0f} days"


def table() -> str:
    head = ["people", "calls of a sweep", *(f"a sweep: {plan.name} ({plan.apps}/min)" for plan in PLANS)]
    head += [f"assigning all, one call each: {PLANS[1].name}"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for people in PEOPLE:
        calls = sweep_calls(people, PAGE)
        cells = [f"{people:,}", f"{calls:,}", *(spoken(minutes(calls, plan)) for plan in PLANS)]
        cells += [spoken(minutes(people, PLANS[1]))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def storms() -> str:
    head = ["people named by events", *(f"of {people:,}" for people in PEOPLE[1:])]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for events in (30, 1_000, 10_000):
        cells = [f"{events:,}"]
        for people in PEOPLE[1:]:
            calls = storm_calls(events, people)
            cells.append(f"{calls:,} calls, {spoken(minutes(calls, PLANS[1]))}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(), "", storms(), sep="\n")
