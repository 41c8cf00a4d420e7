"""Between reading Okta and writing, Okta pushes: what an older view wants is stale, in both directions."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from agent.model.codes import ActionState
from agent.model.holds import ChangeKind
from agent.model.plan import Plan
from agent.reconcile.planner import Planner, Proposal
from agent.runs.frame import Silent
from support.holding import HoldWorld, Make


class Between:
    """Does something when a run has stored its plan and before it applies it, once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, act) -> None:
        self.act = act
        monkeypatch.setattr("agent.reconcile.applier.crash_point", self)

    def __call__(self, name: str) -> None:
        if name == "apply.planned" and self.act is not None:
            act, self.act = self.act, None
            act()


class Asking(Silent):
    """Does something when a run has compared both sides and asks about who is missing, once."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._acts = [act]

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:
        if what.startswith("asking Okta about missing") and self._acts:
            self._acts.pop()()


def test_what_an_operator_does_while_a_run_asks_is_not_held_by_its_older_view(make: Make) -> None:
    """The listing is held as a whole: what it has held no later one takes back, until somebody decides about it."""
    w = make(20)
    ann, bob, *others = w.people()
    w.acts().deactivate(w.account(ann["login"]).id)
    w.lost()
    w.unassign(bob, *others[:9])

    def decided() -> None:
        w.acts().reactivate(w.account(ann["login"]).id)
        w.acts().deactivate(w.account(bob["login"]).id)

    assert w.reconcile(apply=False, progress=Asking(decided)).held
    assert w.active(ann, bob) == [True, False]
    assert w.open_holds(ann, kind=ChangeKind.ACTIVATE) == []
    assert w.open_holds(bob) == []
    assert len(w.open_holds()) == 9


@pytest.mark.parametrize("how", ["PATCH", "PUT"])
@pytest.mark.parametrize("single", [False, True])
def test_a_push_that_changes_nothing_makes_an_older_deactivation_stale(
    make: Make, monkeypatch: pytest.MonkeyPatch, how: str, *, single: bool
) -> None:
    w = make(10)
    ann = w.people()[0]
    w.lost()
    w.unassign(ann)

    def assigned_again() -> None:
        w.assign(ann)
        assert w.push(ann, how=how, active=True).status_code == 200

    Between(monkeypatch, assigned_again)
    report = w.reconcile(*([ann["login"]] if single else []))
    assert w.active(ann) == [True]
    assert report.plan is not None
    assert [a.state for a in report.plan.plan.actions if a.okta_id == ann["okta_id"]] == [ActionState.STALE]
    assert w.reconcile().outcome == "in_step"


@pytest.mark.parametrize("how", ["PATCH", "PUT"])
def test_a_push_that_changes_nothing_makes_an_older_reactivation_stale(
    make: Make, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    w = make(10)
    ann = w.people()[0]
    w.change(ann["login"], active=False)
    w.lost()

    def gone() -> None:
        w.unassign(ann)
        assert w.push(ann, how=how, active=False).status_code == 200

    Between(monkeypatch, gone)
    w.reconcile()
    assert w.active(ann) == [False]
    assert w.reconcile().outcome == "in_step"


@pytest.mark.parametrize("gone", [True, False])
def test_an_answer_that_has_grown_old_is_asked_again_and_a_push_after_that_still_counts(
    make: Make, monkeypatch: pytest.MonkeyPatch, *, gone: bool
) -> None:
    w = make(10)
    ann = w.people()[0]
    w.lost()
    if gone:
        w.unassign(ann)
    else:
        w.change(ann["login"], active=False)
    fresh = w.settings.reconcile.fresh

    def later(name: str) -> None:
        if name == "plan.stored":
            w.ahead += fresh + timedelta(minutes=1)

    monkeypatch.setattr("agent.reconcile.reconciler.crash_point", later)

    def the_opposite() -> None:
        w.assign(ann) if gone else w.unassign(ann)
        assert w.push(ann, active=gone).status_code == 200

    Between(monkeypatch, the_opposite)
    w.reconcile()
    assert w.active(ann) == [gone]


@pytest.mark.parametrize("set_by", [timedelta(), timedelta(hours=-5)], ids=str)
def test_an_old_answer_is_asked_again_also_where_the_clock_was_set_back_meanwhile(
    make: Make, monkeypatch: pytest.MonkeyPatch, set_by: timedelta
) -> None:
    """Nobody says anything here: only Okta knows that the person is back."""
    w = make(10)
    ann = w.people()[0]
    w.lost()
    w.unassign(ann)

    def later(name: str) -> None:
        if name == "plan.stored":
            w.ahead += w.settings.reconcile.fresh + timedelta(minutes=1) + set_by
            w.assign(ann)

    monkeypatch.setattr("agent.reconcile.reconciler.crash_point", later)
    w.reconcile()
    assert w.active(ann) == [True]


def test_a_refused_push_is_newer_than_a_run_too(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    w: HoldWorld = make(10, guard={"push_floor": 0, "push_percent": 0, "push_cap": 0})
    ann = w.people()[0]
    w.lost()
    w.unassign(ann)
    Between(monkeypatch, lambda: w.push(ann, active=False))
    w.reconcile()
    assert w.active(ann) == [True], "the burst's hold is newer than the sweep's plan"
    assert [hold.tries for hold in w.open_holds(ann)] == [1]


def test_a_run_opens_no_hold_of_what_a_push_has_done_since_it_compared(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the limit of one run, all wait; one of them is deactivated by Okta's own push before the plan is stored."""
    w = make(40, guard={"push_floor": 100})
    leavers = w.people()[:20]
    w.lost()
    w.unassign(*leavers)
    judged, pushed = Planner.judged, []

    def later(planner: Planner, proposal: Proposal) -> Plan:
        if not pushed:
            pushed.append(w.push(leavers[0], active=False).status_code)
        return judged(planner, proposal)

    monkeypatch.setattr(Planner, "judged", later)
    report = w.reconcile()
    assert (report.outcome, pushed, w.active(leavers[0])) == ("held", [200], [False])
    assert w.open_holds(leavers[0]) == []
    assert len(w.open_holds(*leavers)) == 19


def test_a_run_ends_no_hold_of_a_push_that_came_since_it_compared(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    w = make(10, guard={"push_floor": 0, "push_percent": 0, "push_cap": 0})
    ann = w.people()[0]
    w.lost()
    judged, pushed = Planner.judged, []

    def later(planner: Planner, proposal: Proposal) -> Plan:
        if not pushed:
            w.unassign(ann)
            pushed.append(w.push(ann, active=False).status_code)
        return judged(planner, proposal)

    monkeypatch.setattr(Planner, "judged", later)
    w.reconcile()
    assert (pushed, w.active(ann)) == ([429], [True])
    assert [hold.tries for hold in w.open_holds(ann)] == [1]
