"""Each decision on each path, in one table: by event, single run, push, sweep, a plan that a person approves, and an import."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.model.codes import HeldCode
from agent.model.errors import UsageError
from agent.model.holds import ChangeKind, Decision
from agent.runs.stored_plans import PlanDecision
from agent.store import brakes
from support.databases import sqlite_in
from support.holding import HoldWorld, hold_world
from support.remotes import ours

Person = dict[str, Any]
#: Eight leavers are too many for a run; none of their pushes is too much.
GUARD = {
    "deactivations_percent": 0,
    "deactivations_floor": 1,
    "push_floor": 10,
    "window_floor": 20,
    "source_drop_floor": 100,
}


@pytest.fixture(params=["sqlite", "postgresql", "remote"])
def w(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HoldWorld]:
    with ExitStack() as stack:
        remote = stack.enter_context(ours(tmp_path / "remote")) if request.param == "remote" else None
        url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else sqlite_in(tmp_path)
        yield stack.enter_context(hold_world(url, 16, remote=remote, guard=GUARD))


class Table:
    """Who is in which state; ``changed``: whose account was made what the decision is about, since the last look."""

    def __init__(self, w: HoldWorld) -> None:
        self.w = w
        people = iter(w.people())
        leavers = [next(people) for _ in range(8)]
        self.waiting, self.rejected, self.approved = leavers[:3], leavers[3], leavers[4:]
        self.blocked, self.unlinked = next(people), next(people)
        w.lost()
        # Okta has looked for these accounts before it pushed to them, so that each is looked at once.
        w.reconciler.look(apply=True)
        w.unassign(*leavers)
        assert w.reconcile().outcome == "held"
        w.reject(self.rejected)
        chosen, by, until = w.open_holds(*self.approved), w.by("they left"), w.now() + timedelta(hours=24)
        w.store.write(lambda conn: brakes.approve_holds(conn, by, chosen, until))
        w.acts().deactivate(w.account(self.blocked["login"]).id)
        w.acts().unlink(w.account(self.unlinked["login"]).id)
        self.nos = (self.rejected, self.blocked, self.unlinked)
        self.before = self._made()

    def _made(self) -> set[str]:
        leavers = (*self.waiting, self.rejected, *self.approved)
        done = {person["login"] for person in leavers if not self.w.account(person["login"]).active}
        if self.w.account(self.blocked["login"]).active:
            done.add("blocked")
        if self.w.account(self.unlinked["login"]).okta_id is not None:
            done.add("unlinked")
        return done

    def changed(self) -> set[str]:
        before, self.before = self.before, self._made()
        return self.before - before

    def decisions(self) -> list[Decision]:
        kinds = (ChangeKind.DEACTIVATE, ChangeKind.ACTIVATE, ChangeKind.LINK)
        open_ones = zip(self.nos, kinds, strict=True)
        return [hold.decision for person, kind in open_ones for hold in self._holds(person, kind)]

    def _holds(self, person: Person, kind: ChangeKind) -> list[Any]:
        return [hold for hold in self.w.open_holds(kind=kind) if hold.login == person["login"]]


def test_what_was_decided_holds_on_every_path(w: HoldWorld) -> None:
    table = Table(w)
    first, second, third = table.waiting
    by_event, by_single, by_push, by_sweep = table.approved

    w.event(first, by_event, *table.nos)
    assert table.changed() == {by_event["login"]}

    for person in (first, by_single, *table.nos):
        w.reconcile(person["login"])
    assert table.changed() == {by_single["login"]}

    statuses = [w.push(person, active=False).status_code for person in (third, by_push, table.rejected)]
    statuses += [w.push(table.blocked, how=how, active=True).status_code for how in ("PATCH", "PUT")]
    assert statuses == [200, 200, 409, 409, 409]
    posted = w.push(table.unlinked, how="POST")
    assert posted.status_code == 409, posted.text
    assert table.changed() == {third["login"], by_push["login"]}

    w.reconcile()
    assert table.changed() == {by_sweep["login"]}, "two wait: still more than a run may"

    plan = w.reconcile(apply=False).plan
    assert plan is not None
    report = w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True), wait=0)
    assert table.changed() == {first["login"], second["login"]}
    assert report.exit_code == 4, "of the plan, the three wait"

    with pytest.raises(UsageError, match="has it already"):
        w.named(table.unlinked["login"])
    w.unassign(table.unlinked)
    imported = w.named(table.unlinked["login"])
    assert [action.held for action in imported.plan.actions] == [HeldCode.BLOCKED]
    w.apply(imported)
    assert table.changed() == set()
    assert table.decisions() == [Decision.REJECTED, Decision.BLOCKED, Decision.BLOCKED]


def test_what_is_taken_back_is_done_by_the_next_look(w: HoldWorld) -> None:
    table = Table(w)
    chosen, by = w.open_holds(table.rejected), w.by()
    w.store.write(lambda conn: brakes.lift_holds(conn, by, chosen))
    w.acts().reactivate(w.account(table.blocked["login"]).id)
    w.acts().link(w.account(table.unlinked["login"]).id, table.unlinked["okta_id"])
    assert table.changed() == {"blocked", "unlinked"}
    w.assign(*table.waiting, *table.approved)
    w.reconcile()
    assert table.changed() == {table.rejected["login"]}
    assert w.open_holds() == []
    assert w.reconcile().outcome == "in_step"
