"""What a run or a window of pushes did is taken back, and stays so until Okta wants something else or an operator says so."""

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from msgspec.structs import replace

from agent.bootstrap import apply_mapping
from agent.directory.port import Draft, WriteContext
from agent.model.codes import ActionState, Source
from agent.model.errors import Refused, UsageError
from agent.model.holds import Decision
from agent.model.users import DirectoryUser, Role
from agent.reconcile.undo import UndoRequest
from agent.runs.frame import RunReport
from agent.runs.stored_plans import PlanDecision
from agent.store import brakes, holds, seal
from agent.store.history import RowSelection
from agent.store.journal import Signature
from support.processes import agent, document
from support.world import RAISED, World, open_world

APPROVE = PlanDecision(approve=True)


@pytest.fixture
def world(tmp_path: Path, database_url: str) -> Iterator[World]:
    with open_world(tmp_path, users=10, url=database_url) as w:
        w.first_run()
        yield w


def by(w: World) -> Signature:
    return Signature(actor="operator ann@host", source="cli", at=w.now())


def planned(w: World, run_id: int | None = None, **more: Any) -> RunReport:
    selection = more.pop("selection", RowSelection(run_id=run_id))
    return w.reconciler.undo(UndoRequest(selection=selection, reason="a wrong run", **more), by(w))


def carried_out(w: World, report: RunReport) -> RunReport:
    assert report.plan is not None, report
    return w.reconciler.apply_plan(report.plan.id, report.plan.checksum, APPROVE, by=by(w), wait=0)


def undo(w: World, run_id: int | None = None, **more: Any) -> RunReport:
    return carried_out(w, planned(w, run_id, **more))


def essence(w: World) -> dict[str, tuple[Any, ...]]:
    return {
        user.id: (
            user.user_name,
            user.profile,
            user.active,
            user.role,
            user.okta_id,
            user.origin,
            user.hidden,
            user.suspended,
        )
        for user in w.accounts().values()
    }


def unassign(w: World, person: dict[str, Any]) -> None:
    w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{person['okta_id']}")


def undone(w: World) -> set[tuple[str, str]]:
    with w.store.read() as conn:
        return {(hold.login, hold.kind.value) for hold in holds.open_holds(conn) if hold.code == "undone"}


def test_a_run_with_a_wrong_mapping_is_taken_back_and_not_done_again(world: World) -> None:
    for person in world.people():
        world.org.set_app_user(person["okta_id"], profile={"costCenter": f"CC {person['login']}", "title": "Right"})
    world.reconcile()
    before = essence(world)
    changed = world.settings.model_copy(update={"mapping": {"costCenter": "title"}})
    apply_mapping(changed, world.store, by(world))
    world.configure(guard=RAISED, mapping={"costCenter": "title"})
    wrong = world.reconcile()
    assert wrong.outcome == "applied"
    assert essence(world) != before
    report = undo(world, wrong.run_id)
    assert report.outcome == "applied", report
    assert essence(world) == before
    again = world.reconcile()
    assert again.outcome == "held"
    assert essence(world) == before
    assert {action.held for action in again.plan.plan.actions} == {"undone"}
    world.org.set_app_user(world.people()[0]["okta_id"], profile={"costCenter": "Another wish"})
    world.reconcile()
    assert world.account(world.people()[0]["login"]).profile.title == "Another wish"
    seal.seal(world.store, world.now())
    with world.store.read() as conn:
        assert seal.verify(conn).problems == []


def test_a_deactivation_is_taken_back_with_the_role_that_it_ended(world: World) -> None:
    owner, other = world.take(), world.take()
    for person in (owner, other):
        world.acts().set_role(world.account(person["login"]).id, Role.OWNER)
    unassign(world, owner)
    run = world.reconcile()
    assert world.account(owner["login"]).role is Role.MEMBER
    assert undo(world, run.run_id).outcome == "applied"
    back = world.account(owner["login"])
    assert (back.active, back.role) == (True, Role.OWNER)
    assert undone(world) == {(owner["login"], "deactivate")}
    for look in ((), (owner["login"],)):
        assert world.reconcile(*look).outcome == "held"
        assert world.account(owner["login"]).active


def test_lifting_lets_the_next_run_do_it_again(world: World) -> None:
    person = world.take()
    unassign(world, person)
    undo(world, world.reconcile().run_id)
    with world.store.read() as conn:
        (hold,) = [one for one in holds.open_holds(conn) if one.code == "undone"]
    assert hold.decision is Decision.REJECTED
    from agent.store import brakes

    world.store.write(lambda conn: brakes.lift_holds(conn, by(world), [hold]))
    assert world.reconcile().outcome == "applied"
    assert not world.account(person["login"]).active


def test_okta_s_wish_for_somebody_to_stay_ends_the_hold(world: World) -> None:
    person = world.take()
    unassign(world, person)
    undo(world, world.reconcile().run_id)
    world.org.api("POST", f"/apps/{world.org.app_id}/users", {"id": person["okta_id"], "scope": "USER"})
    world.org.set_app_user(person["okta_id"], externalId=world.account(person["login"]).id)
    world.reconcile()
    assert undone(world) == set()
    unassign(world, person)
    assert world.reconcile().outcome == "applied"
    assert not world.account(person["login"]).active


def test_who_was_changed_since_is_told_and_left_alone(world: World) -> None:
    one, two = world.take(), world.take()
    for person in (one, two):
        unassign(world, person)
    run = world.reconcile()
    world.change(one["login"], nickName="Changed")
    report = planned(world, run.run_id)
    (moved,) = [finding for finding in report.findings if finding.code == "changed_since"]
    assert moved.login == one["login"]
    assert "update by somebody" in moved.detail
    world.change(two["login"], nickName="Meanwhile")
    done = carried_out(world, report)
    assert [action.state for action in done.plan.plan.actions] == [ActionState.STALE]
    assert not world.account(two["login"]).active
    assert undone(world) == set()


def test_accounts_that_a_run_made_are_hidden_again(world: World) -> None:
    okta_id = world.okta_user("new@example.com", "New", "Comer")
    world.org.api("POST", f"/apps/{world.org.app_id}/users", {"id": okta_id, "scope": "USER"})
    run = world.reconcile()
    assert world.account("new@example.com").active
    undo(world, run.run_id)
    gone = world.account("new@example.com")
    assert (gone.active, gone.hidden) == (False, True)
    world.reconcile()
    assert not world.account("new@example.com").active


def test_a_link_is_taken_back(world: World) -> None:
    world.local("local@example.com")
    okta_id = world.okta_user("local@example.com", "Lo", "Cal")
    world.org.api("POST", f"/apps/{world.org.app_id}/users", {"id": okta_id, "scope": "USER"})
    before = essence(world)
    run = world.reconcile()
    assert world.account("local@example.com").okta_id == okta_id
    undo(world, run.run_id)
    assert essence(world) == before
    world.reconcile()
    assert world.account("local@example.com").okta_id is None


def test_an_undo_is_taken_back_too(world: World) -> None:
    person = world.take()
    unassign(world, person)
    run = world.reconcile()
    after = essence(world)
    first = undo(world, run.run_id)
    second = undo(world, first.run_id)
    assert second.outcome == "applied"
    assert essence(world) == after
    assert undone(world) == set()
    assert world.reconcile().outcome == "in_step"
    undo(world, second.run_id)
    held = world.reconcile()
    assert world.account(person["login"]).active, "what an operator took back a third time isn't done by a sweep either"
    assert held.plan is not None
    assert {action.held for action in held.plan.plan.actions} == {"undone"}


def test_names_that_went_round_and_in_a_row_go_back(world: World) -> None:
    people = [world.take() for _ in range(5)]
    logins = [person["login"] for person in people]
    before = essence(world)
    ring, row = (logins[1], logins[2], logins[0]), (logins[4], "free@example.com")
    for person, name in zip(people, (*ring, *row), strict=True):
        world.org.set_app_user(person["okta_id"], credentials={"userName": name}, profile={"email": name})
    run = world.reconcile()
    assert essence(world) != before
    assert undo(world, run.run_id).outcome == "applied"
    assert essence(world) == before
    assert undone(world) == {(login, "identity") for login in logins}, "each by the name that they have now"
    world.reconcile()
    assert essence(world) == before, "and no sweep does it again"


def test_only_some_people_and_some_kinds(world: World) -> None:
    gone, also, changed = world.take(), world.take(), world.take()
    for person in (gone, also):
        unassign(world, person)
    world.org.set_app_user(changed["okta_id"], profile={"title": "New"})
    run = world.reconcile()
    assert len(planned(world, run.run_id).plan.plan.actions) == 3
    by_kind = planned(world, run.run_id, kinds=("update",)).plan.plan.actions
    assert [action.login for action in by_kind] == [changed["login"]]
    undo(world, run.run_id, only=(gone["login"],))
    assert world.account(gone["login"]).active
    assert not world.account(also["login"]).active
    with pytest.raises(UsageError, match="Nothing of that was done to nobody"):
        planned(world, run.run_id, only=("nobody@example.com",))


def test_many_who_lose_access_by_an_undo_wait_for_approval(tmp_path: Path, sqlite_url: str) -> None:
    with open_world(tmp_path, users=4, url=sqlite_url) as w:
        w.first_run()
        run = w.reconcile
        people = [w.take() for _ in range(3)]
        for person in people:
            w.change(person["login"], active=False)
        done = run()
        assert done.outcome == "applied"
        w.configure(guard={"deactivations_floor": 1})
        report = planned(w, done.run_id)
        assert report.outcome == "held"
        assert {action.held for action in report.plan.plan.actions} == {"deactivations_per_run"}
        with pytest.raises(UsageError, match="3 people would get or lose access"):
            w.reconciler.apply_plan(
                report.plan.id, report.plan.checksum, PlanDecision(approve=True, count=2), by=by(w), wait=0
            )
        assert carried_out(w, report).outcome == "applied"
        assert not any(w.account(person["login"]).active for person in people)


def test_a_last_owner_stays(world: World) -> None:
    person = world.take()
    world.change(person["login"], active=False)
    run = world.reconcile()
    world.acts().set_role(world.account(person["login"]).id, Role.OWNER)
    report = planned(world, run.run_id)
    assert report.plan is None
    assert [finding.code.value for finding in report.findings] == ["changed_since"]


def test_a_paused_agent_takes_nothing_back(world: World) -> None:
    person = world.take()
    unassign(world, person)
    report = planned(world, world.reconcile().run_id)
    world.store.write(lambda conn: brakes.pause(conn, by(world)))
    done = carried_out(world, report)
    assert done.outcome == "paused"
    assert not world.account(person["login"]).active
    world.store.write(lambda conn: brakes.resume(conn, by(world)))
    assert carried_out(world, report).outcome == "applied"
    assert world.account(person["login"]).active


@pytest.mark.parametrize("how", ["rejected", "paused"])
def test_what_an_undo_has_not_taken_back_when_it_is_called_off_stays(
    world: World, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [world.take() for _ in range(3)]
    for person in people:
        unassign(world, person)
    report = planned(world, world.reconcile().run_id)
    plan = report.plan
    assert plan is not None
    told: list[object] = []

    def call_off(point: str) -> None:
        if point == "undo.restored" and not told:
            by_ann = by(world)
            told.append(
                world.store.write(
                    lambda conn: (
                        brakes.reject_plan(conn, by_ann, plan.id) if how == "rejected" else brakes.pause(conn, by_ann)
                    )
                )
            )

    monkeypatch.setattr("agent.reconcile.undo.crash_point", call_off)
    done = carried_out(world, report)
    assert (done.outcome, done.counts.get("done")) == (how, 1)
    assert sum(world.account(person["login"]).active for person in people) == 1
    if how == "paused":
        world.store.write(lambda conn: brakes.resume(conn, by(world)))
        assert carried_out(world, report).outcome == "applied"
        assert all(world.account(person["login"]).active for person in people)


def test_nothing_was_done_so_nothing_is_taken_back(world: World) -> None:
    report = planned(world, world.reconcile().run_id)
    assert (report.outcome, report.plan) == ("nothing", None)
    assert report.exit_code == 0


def test_a_push_of_the_same_is_refused_and_one_of_something_else_is_not(world: World) -> None:
    person = world.take()
    world.org.set_app_user(person["okta_id"], profile={"title": "Wrong"})
    undo(world, world.reconcile().run_id)
    who = world.account(person["login"])
    pushed = WriteContext(actor="key:1", source=Source.PUSH)

    def titled(title: str, **more: str) -> Callable[[DirectoryUser], Draft]:
        return lambda now: Draft(
            user_name=now.user_name, profile=replace(now.profile, title=title, **more), active=now.active
        )

    with pytest.raises(Refused, match="took back a change"):
        world.directory.modify(who.id, titled("Wrong"), pushed, world.now()).result()
    world.directory.modify(who.id, titled(who.profile.title or "", nick_name="Nick"), pushed, world.now()).result()
    with pytest.raises(Refused, match="took back a change"):
        world.directory.modify(who.id, titled("Wrong"), pushed, world.now()).result()
    world.directory.modify(who.id, titled("Right"), pushed, world.now()).result()
    assert world.account(person["login"]).profile.title == "Right"


def test_what_pushes_of_a_period_did_is_taken_back(world: World) -> None:
    one, two = world.take(), world.take()
    before = essence(world)
    pushed = WriteContext(actor="key:1", source=Source.PUSH, exempt=True)
    since = world.now()
    for person in (one, two):
        who = world.account(person["login"])
        world.directory.modify(
            who.id, lambda now: Draft(user_name=now.user_name, profile=now.profile, active=False), pushed, world.now()
        ).result()
    selection = RowSelection(since=since)
    assert undo(world, selection=selection, only=(one["login"],)).outcome == "applied"
    assert world.account(one["login"]).active
    assert not world.account(two["login"]).active
    assert undo(world, selection=selection).outcome == "applied"
    assert essence(world) == before


@pytest.mark.slow
def test_an_undo_that_is_killed_twice_under_pushes_goes_on(world: World, tmp_path: Path) -> None:
    people = [world.take() for _ in range(6)]
    before = essence(world)
    for person in people:
        world.org.set_app_user(person["okta_id"], profile={"title": "Wrong"})
    run = world.reconcile()
    env = {
        "OPSHELM_OKTA__ORG_URL": world.org.url,
        "OPSHELM_OKTA__APP_ID": world.org.app_id,
        "OPSHELM_OKTA__API_TOKEN": world.org.token,
        "OPSHELM_DATABASE__URL": world.store.settings.url,
        "OPSHELM_RECONCILE__LEASE_TTL": "1s",
    }

    def typed(*args: str, **more: str) -> CompletedProcess[str]:
        return agent(*args, cwd=tmp_path, env=env | more)

    plan = document(typed("runs", "undo", str(run.run_id), "--reason", "wrong", "--output", "json"))["plan"]
    approve = ("plans", "approve", str(plan["id"]), "--checksum", plan["checksum"])
    assert typed(*approve, OPSHELM_CRASH_AT="undo.restored:2").returncode == -signal.SIGKILL
    changed = world.account(people[-1]["login"])
    pushed = WriteContext(actor="key:1", source=Source.PUSH)
    other = replace(changed.profile, nick_name="Pushed")
    world.directory.modify(
        changed.id, lambda now: Draft(user_name=now.user_name, profile=other, active=True), pushed, world.now()
    ).result()
    assert typed(*approve, OPSHELM_CRASH_AT="undo.marked").returncode == -signal.SIGKILL
    done = typed(*approve, "--output", "json")
    assert done.returncode == 0, done.stderr
    now = essence(world)
    assert now.pop(changed.id) != before.pop(changed.id)
    assert now == before
    assert world.reconcile().outcome in ("held", "applied")
    after = essence(world)
    del after[changed.id]
    assert after == before
    seal.seal(world.store, world.now())
    with world.store.read() as conn:
        assert seal.verify(conn).problems == []


@pytest.mark.slow
def test_a_wrong_mapping_over_five_thousand_people_is_undone_under_pushes_and_two_kills(
    tmp_path: Path, database_url: str
) -> None:
    with open_world(tmp_path, users=5_000, url=database_url) as w:
        w.first_run()
        before = essence(w)
        wrong = {"costCenter": "title"}
        apply_mapping(w.settings.model_copy(update={"mapping": wrong}), w.store, by(w))
        w.configure(guard=RAISED, mapping=wrong)
        run = w.reconcile()
        spoilt = essence(w)
        touched = [key for key, now in spoilt.items() if now != before[key]]
        assert len(touched) > 4_000, run
        env = {
            "OPSHELM_OKTA__ORG_URL": w.org.url,
            "OPSHELM_OKTA__APP_ID": w.org.app_id,
            "OPSHELM_OKTA__API_TOKEN": w.org.token,
            "OPSHELM_DATABASE__URL": w.store.settings.url,
            "OPSHELM_MAPPING": '{"costCenter": "title"}',
            "OPSHELM_RECONCILE__LEASE_TTL": "1s",
        }
        plan = planned(w, run.run_id).plan
        approve = ("plans", "approve", str(plan.id), "--checksum", plan.checksum, "--yes", "--output", "json")
        pushed: set[str] = set()
        for at in ("undo.restored:700", "undo.marked:12", ""):
            busy = threading.Event()
            pusher = threading.Thread(target=_push, args=(w, touched[len(pushed) * 40 :: 251], pushed, busy))
            pusher.start()
            done = agent(*approve, cwd=tmp_path, env=env | ({"OPSHELM_CRASH_AT": at} if at else {}), timeout=500)
            busy.set()
            pusher.join()
            assert done.returncode == (-signal.SIGKILL if at else 0), done.stderr
        named = {action["directory_id"] for action in document(done)["plan"]["actions"] if action["state"] == "stale"}
        assert named <= pushed
        now = essence(w)
        assert {key for key, value in now.items() if value != before[key]} <= pushed
        w.reconcile()
        after = essence(w)
        assert {key for key, value in after.items() if value != now[key]} <= pushed
        seal.seal(w.store, w.now())
        with w.store.read() as conn:
            assert seal.verify(conn).problems == []


def _push(w: World, whom: list[str], pushed: set[str], enough: threading.Event) -> None:
    """Okta pushes a nickname of theirs."""
    context = WriteContext(actor="key:1", source=Source.PUSH)
    for user_id in whom:
        if enough.wait(0.05):
            return
        pushed.add(user_id)
        w.directory.modify(
            user_id,
            lambda now: Draft(
                user_name=now.user_name, profile=replace(now.profile, nick_name="Pushed"), active=now.active
            ),
            context,
            w.now(),
        ).result()
