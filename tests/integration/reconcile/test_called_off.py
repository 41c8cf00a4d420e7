"""A plan that is rejected, or a pause, while an apply is under way: what hasn't been done isn't done, and how much that is."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.model.codes import ActionState, PlanStatus
from agent.runs.stored_plans import PlanDecision
from agent.store import brakes, holds, overview, plans
from agent.store.engine import Connection
from agent.store.journal import Signature
from support.remotes import Remote, ours
from support.world import OWNER, RAISED, World, open_world

Make = Callable[..., World]
BY = Signature(actor="operator ann", source="cli", at=datetime.now(UTC), reason="wrong group")
LIMITED = {**RAISED, "deactivations_floor": 1, "deactivations_cap": 1}


@pytest.fixture(params=["sql", "remote"])
def w(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """12 of 20 people have lost the app in Okta, and wait in a held plan."""
    remote: Remote | None = request.getfixturevalue("remote") if request.param == "remote" else None
    sections = {"guard": LIMITED, "reconcile": {"batch": 2}}
    if remote is not None:
        remote.post(OWNER)
        sections["directory"] = {"concurrency": 1}
    with open_world(tmp_path, users=20, remote=remote, **sections) as made:
        made.first_run()
        for person in made.people()[:12]:
            made.org.api("DELETE", f"/apps/{made.org.app_id}/users/{person['okta_id']}")
        yield made


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    with ours(tmp_path / "remote") as opened:
        yield opened


def during(monkeypatch: pytest.MonkeyPatch, point: str, what: Callable[[], object], module: str) -> None:
    """``what`` happens once, when an apply comes to this point."""
    todo = [what]

    def reached(name: str) -> None:
        if name == point and todo:
            todo.pop()()

    monkeypatch.setattr(f"{module}.crash_point", reached)


def still_active(w: World) -> int:
    return sum(user.active for user in w.accounts().values())


@pytest.mark.parametrize("point", ["apply.done", "apply.sent"])
@pytest.mark.parametrize("how", ["reject", "pause"])
def test_what_an_approval_has_not_done_yet_is_not_done(
    w: World, monkeypatch: pytest.MonkeyPatch, how: str, point: str
) -> None:
    """Between two batches, and right before a write."""
    backend = "agent.directory.remote.batches" if w.remote else "agent.directory.actions"
    module = "agent.reconcile.applier" if point == "apply.done" else backend
    plan = w.reconcile().plan
    assert plan is not None
    told: list[object] = []
    before = still_active(w)

    def call_off() -> None:
        verdict = (lambda c: brakes.reject_plan(c, BY, plan.id)) if how == "reject" else (lambda c: brakes.pause(c, BY))
        told.append(w.store.write(verdict))

    during(monkeypatch, point, call_off, module)
    report = w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True))
    assert told
    done = before - still_active(w)
    assert (report.outcome, report.exit_code) == ("rejected" if how == "reject" else "paused", 1)
    assert report.counts.get("done", 0) == done < 12
    assert report.plan is not None
    if how == "reject":
        assert report.plan.status is PlanStatus.REJECTED
        assert {a.state for a in report.plan.plan.actions} <= {ActionState.REJECTED, ActionState.DONE}
    monkeypatch.undo()
    w.reconcile()
    assert before - still_active(w) == done


def test_whoever_rejects_or_pauses_is_told_how_much_was_done(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = w.reconcile().plan
    assert plan is not None
    before, told = still_active(w), []

    def look(conn: Connection) -> None:
        told.append((overview.under_way(conn), brakes.reject_plan(conn, BY, plan.id)))

    during(monkeypatch, "apply.done", lambda: w.store.write(look), "agent.reconcile.applier")
    w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True))
    done = before - still_active(w)
    [(run, states)] = told
    assert (run.done, states[ActionState.DONE], states[ActionState.REJECTED]) == (done, done, 12 - done)
    with w.store.read() as conn:
        assert overview.under_way(conn) is None


def test_a_plan_rejected_while_its_approval_reads_okta_is_not_done(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = w.reconcile().plan
    assert plan is not None
    before, propose = still_active(w), w.reconciler.planner.__class__.proposal

    def rejected(*args, **more):
        w.store.write(lambda conn: brakes.reject_plan(conn, BY, plan.id))
        return propose(*args, **more)

    monkeypatch.setattr(w.reconciler.planner.__class__, "proposal", rejected)
    report = w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True))
    assert (report.outcome, still_active(w)) == ("rejected", before)


def test_holds_that_a_run_has_done_since_are_not_rejected(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = w.reconcile().plan
    assert plan is not None
    with w.store.read() as conn:
        chosen = holds.open_holds(conn)
    before, rejected = still_active(w), []

    def reject() -> None:
        rejected.extend(w.store.write(lambda conn: brakes.reject_holds(conn, BY, chosen)))

    during(monkeypatch, "apply.done", reject, "agent.reconcile.applier")
    w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True))
    done = before - still_active(w)
    assert (len(rejected), done < 12) == (12 - done, True)
    with w.store.read() as conn:
        stored = plans.get(conn, plan.id)
    assert stored is not None
    assert sum(a.state is ActionState.DONE for a in stored.plan.actions) == done
