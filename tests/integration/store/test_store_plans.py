"""Runs, plans, actions and findings come back as they went in, and actions tell what became of them."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import Connection, delete, select

from agent.model.codes import ActionKind, ActionState, FindingCode, HeldCode, PlanStatus
from agent.model.errors import StoreError
from agent.model.plan import Action, Change, Finding, Plan
from agent.store import plans, runs
from agent.store.engine import Store
from agent.store.runs import RunEnd, RunRequest
from agent.store.tables import actions, findings

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def action(n: int, **fields) -> Action:
    values = {
        "n": n,
        "kind": ActionKind.UPDATE,
        "login": f"p{n}@example.com",
        "directory_id": f"user-{n}",
        "okta_id": f"00u{n}",
        "changes": {"title": Change(before="a", after=None)},
        "version": n,
    }
    return Action(**{**values, **fields})


def plan(*actions: Action, **fields) -> Plan:
    found = (Finding(code=FindingCode.PENDING, login="x@example.com", detail="wait"),)
    return Plan(**{"actions": actions, "population": 9, "source_size": 8, "created": NOW, "findings": found, **fields})


def run(store: Store, **fields) -> int:
    values = {"kind": "sweep", "trigger": "cli", "actor": "operator", "dry": False}
    return store.write(lambda conn: runs.start(conn, RunRequest(**{**values, **fields}), NOW))


def save(store: Store, planned: Plan, **fields) -> int:
    run_id = run(store)
    values = {"run_id": run_id, "kind": "reconcile", "plan": planned, "expires": NOW + timedelta(days=1)}
    return store.write(lambda conn: plans.save(conn, **{**values, **fields}).id)


def get(store: Store, plan_id: int) -> plans.StoredPlan:
    with store.read() as conn:
        found = plans.get(conn, plan_id)
    assert found is not None
    return found


def test_a_plan_comes_back_as_it_went_in(store: Store) -> None:
    cycle = (("user-3", 3, "p4@example.com"), ("user-4", 4, "p3@example.com"))
    planned = plan(
        action(1),
        action(2, kind=ActionKind.CREATE, directory_id=None, version=None),
        action(3, kind=ActionKind.RENAME_CYCLE, cycle=cycle),
        action(4, held=HeldCode.NAME_TAKEN, held_detail="taken", state=ActionState.HELD),
        scope=("x@example.com",),
        held=HeldCode.FIRST_RUN,
        held_detail="first",
    )
    stored = get(store, save(store, planned, status=PlanStatus.HELD))
    assert stored.plan == planned
    assert (stored.checksum, stored.status) == (planned.checksum, PlanStatus.HELD)


def test_an_action_s_row_has_what_is_said_of_it_and_no_defaults(store: Store) -> None:
    plan_id = save(store, plan(action(1, kind=ActionKind.DEACTIVATE, proof="gone")))
    with store.read() as conn:
        body = conn.execute(select(actions.c.body).where(actions.c.plan_id == plan_id)).scalar_one()
    said = {"n", "kind", "login", "directory_id", "okta_id", "changes", "version", "proof"}
    assert set(msgspec.json.decode(body)) == said


def test_states_do_not_change_the_checksum(store: Store) -> None:
    plan_id = save(store, plan(action(1), action(2)))
    store.write(lambda conn: plans.mark(conn, plan_id, [1], ActionState.DONE, NOW))
    stored = get(store, plan_id)
    assert stored.plan.checksum == stored.checksum


def test_the_checksum_of_a_plan_is_what_earlier_builds_made_of_it() -> None:
    """Else none that waits at an upgrade could be approved any more."""
    made = {"userName": Change(before=None, after="p2@example.com"), "active": Change(before=None, after=True)}
    create = action(2, kind=ActionKind.CREATE, directory_id=None, version=None, changes=made, held=HeldCode.NAME_TAKEN)
    planned = plan(action(1), create, scope=("x@example.com",), held=HeldCode.FIRST_RUN)
    assert planned.checksum == "bbe3a774824a1988b89ec7fc28fbc9ddbcb6b7e091ea41cca4dc2fc06ce90f46"


def test_a_plan_that_is_read_beside_another_keeps_what_both_want_of_somebody_once(store: Store) -> None:
    other = {"title": Change(before="a", after="b")}
    stored = save(store, plan(action(1), action(2), action(3)))
    mine = plan(action(11, okta_id="00u1"), action(12, okta_id="00u2", changes=other))
    with store.read() as conn:
        beside = plans.get(conn, stored, beside=mine)
    assert beside == get(store, stored)
    assert beside is not None
    assert beside.plan.actions[0].changes is mine.actions[0].changes
    assert beside.plan.actions[1].changes is not other


def test_what_tells_an_action_from_others_is_short_and_says_kind_person_and_change() -> None:
    one = action(1)
    assert one.identity == action(2, okta_id="00u1", state=ActionState.DONE, version=7).identity
    others = [
        action(1, kind=ActionKind.REACTIVATE),
        action(1, okta_id="00u2"),
        action(1, changes={"title": Change(before="a", after="")}),
        action(1, changes={"title": Change(before=None, after="a")}),
    ]
    assert len({one.identity, *(other.identity for other in others)}) == 5
    everything = {f"path{n}": Change(before=None, after="x" * 100) for n in range(20)}
    assert len(action(1, changes=everything).identity) == 16


def test_what_is_sent_and_not_ended_is_read_back(store: Store) -> None:
    plan_id = save(store, plan(action(1), action(2), action(3)))
    store.write(lambda conn: plans.mark(conn, plan_id, [1, 2, 3], ActionState.SENT, NOW))
    outcomes = [(1, ActionState.DONE, ""), (3, ActionState.FAILED, "no")]
    store.write(lambda conn: plans.mark_each(conn, plan_id, outcomes, LATER))
    with store.read() as conn:
        (sent,) = plans.sent_actions(conn)
    assert (sent.plan_id, sent.action.n, sent.sent_at) == (plan_id, 2, NOW)
    states = [(a.state, a.error) for a in get(store, plan_id).plan.actions]
    assert states == [(ActionState.DONE, ""), (ActionState.SENT, ""), (ActionState.FAILED, "no")]


def test_a_plan_that_is_known_is_told_what_became_of_it_as_if_it_were_read_anew(store: Store) -> None:
    plan_id = save(store, plan(*(action(n) for n in range(1, 8)), action(8, held=HeldCode.LAST_OWNER)))
    known = get(store, plan_id)

    def ends(conn: Connection) -> None:
        plans.decide(conn, plan_id, actor="ann", decision="approve", now=NOW, approve=[2, 3])
        plans.mark(conn, plan_id, [1, 2, 3, 5, 8], ActionState.DONE, NOW)
        plans.mark(conn, plan_id, [4], ActionState.STALE, NOW, error="moved")
        plans.mark(conn, plan_id, [5], ActionState.DONE, NOW, error="twice")
        plans.hold(conn, plan_id, 6, HeldCode.NAME_REUSE, "another person's")

    store.write(ends)
    with store.read() as conn:
        assert plans.again(conn, known) == get(store, plan_id)


def test_an_action_whose_row_is_gone_is_not_taken_for_done(store: Store) -> None:
    plan_id = save(store, plan(action(1), action(2)))
    known = get(store, plan_id)
    store.write(lambda conn: conn.execute(delete(actions).where(actions.c.plan_id == plan_id, actions.c.n == 2)))
    with store.read() as conn, pytest.raises(StoreError, match=f"plan {plan_id} are gone"):
        plans.again(conn, known)


def test_an_action_refused_while_applying_waits_for_a_person(store: Store) -> None:
    plan_id = save(store, plan(action(1)))
    store.write(lambda conn: plans.hold(conn, plan_id, 1, HeldCode.LAST_OWNER, "the last owner"))
    (held,) = get(store, plan_id).plan.actions
    assert (held.state, held.held, held.error) == (ActionState.HELD, HeldCode.LAST_OWNER, "the last owner")


def test_decisions_are_kept(store: Store) -> None:
    plan_id = save(store, plan(action(1), action(2)), status=PlanStatus.HELD)
    store.write(lambda conn: plans.decide(conn, plan_id, actor="ann", decision="approve", now=NOW, approve=[2]))
    stored = get(store, plan_id)
    assert (stored.decided_by, stored.decision, stored.decided_at, stored.approved) == ("ann", "approve", NOW, {2})


@pytest.mark.slow
def test_a_first_run_of_more_people_than_one_statement_takes_is_approved(store: Store) -> None:
    plan_id = save(store, plan(action(1), action(2)))
    store.write(
        lambda conn: plans.decide(
            conn, plan_id, actor="ann", decision="approve", now=NOW, approve=[*range(100_000, 400_000), 2]
        )
    )
    assert get(store, plan_id).approved == {2}


def test_held_plans_are_listed_oldest_first_and_all_newest_first(store: Store) -> None:
    one = save(store, plan(action(1)), status=PlanStatus.HELD)
    two = save(store, plan(action(1)))
    three = save(store, plan(action(1)), status=PlanStatus.HELD)
    with store.read() as conn:
        assert plans.open_held(conn, "reconcile", ()) == [one, three]
        assert [stored.id for stored in plans.recent(conn, 2)] == [three, two]
    store.write(lambda conn: plans.set_status(conn, one, PlanStatus.EXPIRED))
    with store.read() as conn:
        assert plans.open_held(conn, "reconcile", ()) == [three]


def test_a_run_has_a_start_and_an_end(store: Store) -> None:
    run_id = run(store, scope=("a@example.com",), kind="single")
    with store.read() as conn:
        assert [found.id for found in runs.unfinished(conn)] == [run_id]
    store.write(
        lambda conn: runs.finish(conn, run_id, RunEnd(outcome="applied", exit_code=0, counts={"create": 2}), LATER)
    )
    with store.read() as conn:
        found = runs.get(conn, run_id)
        assert found is not None
        assert (found.scope, found.counts, found.ended, found.dry) == (("a@example.com",), {"create": 2}, LATER, False)
        assert runs.unfinished(conn) == []
        assert [recent.id for recent in runs.recent(conn, 5)] == [run_id]


def test_the_latest_findings_are_those_of_the_last_sweep_that_ended(store: Store) -> None:
    for number, kind in ((1, "sweep"), (2, "single")):
        run_id = run(store, kind=kind)
        found = [Finding(code=FindingCode.PENDING, login=f"{number}@example.com", detail="d")]
        store.write(lambda conn, r=run_id, f=found: runs.add_findings(conn, r, f))
        store.write(lambda conn, r=run_id: runs.finish(conn, r, RunEnd(outcome="ok", exit_code=0), NOW))
    run(store)
    with store.read() as conn:
        latest = runs.latest_findings(conn)
    assert latest is not None
    assert [f.login for f in latest.findings] == ["1@example.com"]


@pytest.mark.slow
def test_two_thousand_sweeps_keep_each_finding_once_with_its_first_and_last_run(sqlite_store: Store) -> None:
    store = sqlite_store
    found = [
        Finding(code=FindingCode.PENDING, login=f"{n}@example.com", detail="d", okta_id=f"00u{n}") for n in range(3)
    ]

    def sweep(conn: Connection, number: int) -> int:
        begun = NOW + timedelta(hours=number)
        run_id = runs.start(conn, RunRequest(kind="sweep", trigger="schedule", actor="daemon", dry=False), begun)
        # One of them is over after the first half.
        runs.add_findings(conn, run_id, found if number < 1000 else found[:2])
        runs.finish(conn, run_id, RunEnd(outcome="in_step", exit_code=0), begun)
        return run_id

    ids = [store.write(lambda conn, n=number: sweep(conn, n)) for number in range(2000)]
    with store.read() as conn:
        kept = conn.execute(select(findings.c.run_id, findings.c.login).order_by(findings.c.login)).all()
        latest = runs.latest_findings(conn)
    assert kept == [(ids[-1], "0@example.com"), (ids[-1], "1@example.com"), (ids[999], "2@example.com")]
    assert latest is not None
    assert (latest.run_id, latest.findings, latest.first_seen) == (ids[-1], tuple(found[:2]), (NOW, NOW))


def test_a_finding_of_a_newer_sweep_stays_with_it(store: Store) -> None:
    """A slow dry run ends after it."""
    found = [Finding(code=FindingCode.PENDING, login="a@example.com", detail="d")]
    slow, newer = run(store), run(store)
    for run_id in (newer, slow):
        store.write(lambda conn, r=run_id: runs.add_findings(conn, r, found))
        store.write(lambda conn, r=run_id: runs.finish(conn, r, RunEnd(outcome="ok", exit_code=0), NOW))
    with store.read() as conn:
        latest = runs.latest_findings(conn)
    assert (latest.run_id, len(latest.findings)) == (newer, 1) if latest else False


def test_old_runs_and_plans_go_but_not_what_waits(store: Store) -> None:
    held, done = save(store, plan(action(1)), status=PlanStatus.HELD), save(store, plan(action(1)))
    store.write(lambda conn: plans.set_status(conn, done, PlanStatus.APPLIED))
    with store.read() as conn:
        started = [found.id for found in runs.unfinished(conn)]
    for run_id in started:
        store.write(lambda conn, r=run_id: runs.finish(conn, r, RunEnd(outcome="ok", exit_code=0), NOW))
    store.write(lambda conn: plans.forget(conn, LATER))
    store.write(lambda conn: runs.forget(conn, LATER))
    with store.read() as conn:
        assert [stored.id for stored in plans.recent(conn, 9)] == [held]
        assert len(runs.recent(conn, 9)) == 1
