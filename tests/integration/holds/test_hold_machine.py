"""The register of holds under random sequences of what Okta, its pushes, operators and the clock do.

After each step: nobody was changed against an open decision, and every decision has its journal row. After a complete sweep
too: nobody who is gone is active unless a hold names them, and every hold is still wanted.
"""

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from agent.model.errors import AgentError
from agent.model.holds import ChangeKind, Decision
from agent.store import brakes, holds
from support.holding import HoldWorld, hold_world

PEOPLE = 9
#: Low enough that much is held, also of few people. The listing is trusted, however much of it is gone.
TIGHT = {
    "deactivations_percent": 0,
    "deactivations_floor": 1,
    "window_percent": 0,
    "window_floor": 4,
    "push_percent": 0,
    "push_floor": 2,
    "creates_percent": 0,
    "creates_floor": 1,
    "source_drop_floor": 1000,
}
#: The last two stay as they are, so that somebody is always listed.
somebody = st.integers(0, PEOPLE - 3)
how = st.sampled_from(["PATCH", "PUT"])
comes = st.sampled_from(["lost", "late", "now"])
END, BEGIN = ChangeKind.DEACTIVATE, ChangeKind.ACTIVATE


class HoldMachine(RuleBasedStateMachine):
    new_url: Callable[[], str]

    @initialize()
    def open(self) -> None:
        self.stack = ExitStack()
        self.w: HoldWorld = self.stack.enter_context(hold_world(self.new_url(), PEOPLE, guard=TIGHT))
        self.w.lost()
        self.people = self.w.people()
        self.assigned = [True] * PEOPLE
        self.late: list[tuple[int, str, bool]] = []
        self.decided = len(self.w.decisions())
        self.swept = self.operator = False
        self.before: list[tuple[bool, dict[ChangeKind, Any]]] = self._state()

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.close()

    def _state(self) -> list[tuple[bool, dict[ChangeKind, Any]]]:
        found = []
        for person in self.people:
            user = self.w.account(person["login"])
            with self.w.store.read() as conn:
                found.append((user.active, {hold.kind: hold for hold in holds.of_user(conn, user)}))
        return found

    # Okta, whose pushes come at once, later or never

    @rule(n=somebody, comes=comes, how=how)
    def unassign(self, n: int, comes: str, how: str) -> None:
        if self.assigned[n]:
            self.assigned[n] = False
            self.w.unassign(self.people[n])
            self._pushed(n, how, active=False, comes=comes)

    @rule(n=somebody, comes=comes, how=how)
    def assign(self, n: int, comes: str, how: str) -> None:
        if not self.assigned[n]:
            self.assigned[n] = True
            self.w.assign(self.people[n])
            self._pushed(n, how, active=True, comes=comes)

    def _pushed(self, n: int, how: str, *, active: bool, comes: str) -> None:
        if comes == "now":
            self.w.push(self.people[n], how=how, active=active)
        elif comes == "late":
            self.late.append((n, how, active))

    @rule(title=st.sampled_from(["Mate", "Captain"]), n=somebody)
    def retitle(self, n: int, title: str) -> None:
        self.w.retitle(self.people[n], title)

    @rule()
    def a_late_push_comes(self) -> None:
        if self.late:
            n, how, active = self.late.pop(0)
            self.w.push(self.people[n], how=how, active=active)

    # The agent

    @rule()
    def sweep(self) -> None:
        report = self.w.reconcile()
        assert report.plan is None or report.plan.plan.held is None, report.detail
        self.swept = True

    @rule(n=somebody)
    def event(self, n: int) -> None:
        self.w.event(self.people[n])

    @rule(n=somebody)
    def single(self, n: int) -> None:
        self.w.reconcile(self.people[n]["login"])

    @rule(hours=st.sampled_from([1, 5, 25]))
    def time_goes_by(self, hours: int) -> None:
        self.w.ahead += timedelta(hours=hours)

    # Operators

    def _mine(self, n: int, *decisions: Decision) -> list[Any]:
        return [hold for hold in self.before[n][1].values() if hold.decision in decisions]

    @rule(n=somebody)
    def reject(self, n: int) -> None:
        chosen = self._mine(n, Decision.WAITING, Decision.APPROVED)
        self.w.store.write(lambda conn: brakes.reject_holds(conn, self.w.by("no"), chosen))
        self.decided += len(chosen)

    @rule(n=somebody)
    def lift(self, n: int) -> None:
        chosen = self._mine(n, Decision.REJECTED)
        self.w.store.write(lambda conn: brakes.lift_holds(conn, self.w.by(), chosen))
        self.decided += len(chosen)

    @rule(n=somebody)
    def approve(self, n: int) -> None:
        chosen = self._mine(n, Decision.WAITING)
        rows = len(self.w.decisions())
        if chosen:
            self.w.reconciler.approve_holds(chosen, self.w.by("yes"), wait=0)
        self.decided += len(self.w.decisions()) - rows

    @rule()
    def reject_the_plan(self) -> None:
        report = self.w.reconcile(apply=False)
        if report.plan is not None:
            try:
                self.w.store.write(lambda conn: brakes.reject_plan(conn, self.w.by("no"), report.plan.id))
            except AgentError:
                return
            self.decided += 1

    @rule(n=somebody, until=st.sampled_from([None, 8]))
    def deactivate(self, n: int, until: int | None) -> None:
        end = None if until is None else self.w.now() + timedelta(hours=until)
        self.w.acts().deactivate(self.w.account(self.people[n]["login"]).id, until=end)
        self.decided += 1
        self.operator = True

    @rule(n=somebody)
    def reactivate(self, n: int) -> None:
        blocks = self._mine(n, Decision.BLOCKED)
        self.w.acts().reactivate(self.w.account(self.people[n]["login"]).id)
        self.decided += len(blocks)
        self.operator = True

    # What must be so

    @invariant()
    def decisions_hold(self) -> None:
        if not hasattr(self, "w"):
            return
        now, after = self.w.now(), self._state()
        for person, (was, held), (active, left) in zip(self.people, self.before, after, strict=True):
            if was != active and not self.operator:
                no = held.get(BEGIN if active else END)
                assert no is None or not no.stops(no.wish, now), (person["login"], no)
            for kind, hold in held.items():
                if hold.decision is Decision.BLOCKED and hold.stops("", now) and not self.operator:
                    assert left[kind].id == hold.id, "a block ends by an operator or by its time alone"
        if self.swept:
            for assigned, (active, held) in zip(self.assigned, after, strict=True):
                assert assigned or not active or END in held, "gone, active, and nothing says why"
                wanted = {END} if active and not assigned else {BEGIN} if assigned and not active else set()
                waiting = {kind for kind, hold in held.items() if hold.decision is not Decision.BLOCKED}
                assert waiting <= wanted, (waiting, wanted)
        assert len(self.w.decisions()) == self.decided
        self.before, self.swept, self.operator = after, False, False


def check(new_url: Callable[[], str], examples: int, steps: int) -> None:
    machine = type("Machine", (HoldMachine,), {"new_url": staticmethod(new_url)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


def in_folder(folder: Path) -> Callable[[], str]:
    numbers = itertools.count()
    return lambda: f"sqlite:///{folder}/{next(numbers)}.db"


def test_whatever_happens_what_was_decided_holds(tmp_path: Path) -> None:
    check(in_folder(tmp_path), examples=2, steps=20)


@pytest.mark.slow
def test_the_same_at_length(tmp_path: Path) -> None:
    check(in_folder(tmp_path), examples=30, steps=50)


@pytest.mark.slow
def test_the_same_on_postgresql(new_postgres: Callable[[], str]) -> None:
    check(new_postgres, examples=5, steps=40)
