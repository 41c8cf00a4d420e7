"""An operator's deactivation, and an account that was made local: nobody undoes them by any path, until an operator does."""

from datetime import timedelta

import pytest

from agent.imports.planner import Choice
from agent.model.codes import HeldCode
from agent.model.errors import HeldBack
from agent.model.holds import ChangeKind, Decision
from agent.model.matching import MatchClass
from agent.model.times import when
from agent.runs.stored_plans import PlanDecision
from support.holding import CommandsOf, HoldWorld, Make

ACCESS, LINK = ChangeKind.ACTIVATE, ChangeKind.LINK


def blocked(w: HoldWorld, number: int = 0):
    person = w.people()[number]
    w.acts().deactivate(w.account(person["login"]).id)
    return person


@pytest.mark.parametrize("style", ["oin", "custom"])
def test_a_deactivation_is_undone_by_no_path_until_it_is_taken_back(make: Make, style: str) -> None:
    w = make(10, style=style)
    ann = blocked(w)
    (hold,) = w.open_holds(ann, kind=ACCESS)
    assert (hold.decision, hold.code) == (Decision.BLOCKED, HeldCode.BLOCKED)

    report = w.reconcile()
    assert w.actions_for(report, ann["okta_id"]) == [("reactivate", "blocked")]
    assert report.plan is not None
    with pytest.raises(HeldBack):
        w.reconciler.apply_plan(report.plan.id, report.plan.checksum, PlanDecision(approve=True))
    w.event(ann)
    w.reconcile(ann["login"])
    for how in ("PATCH", "PUT", "POST"):
        answer = w.push(ann, how=how, active=True)
        assert (answer.status_code, "users reactivate" in answer.json()["detail"]) == (409, True), how
    w.unassign(ann)
    w.assign(ann)
    assert w.active(ann) == [False], "nor by Okta's own way to assign somebody anew"
    assert [h.decision for h in w.open_holds(ann, kind=ACCESS)] == [Decision.BLOCKED]

    w.acts().reactivate(w.account(ann["login"]).id)
    assert w.active(ann) == [True]
    assert w.open_holds(ann, kind=ACCESS) == []
    assert [verb for verb, _ in w.decisions()][-2:] == ["block", "hold lift"]


def test_the_command_says_how_long_it_lasts(make: Make, commands_of: CommandsOf) -> None:
    w = make(10)
    ann, run = w.people()[0]["login"], commands_of(w)
    assert run("users", "deactivate", ann, "--reason", "r", "--until", "0s")[0] == 2
    assert w.account(ann).active
    _, out, _ = run("users", "deactivate", ann, "--reason", "r", "--until", "8h")
    (hold,) = w.open_holds(kind=ACCESS)
    assert out.startswith(f"Deactivated and blocked until: {when(hold.until)}, or opshelm-agent users reactivate")
    _, out, _ = run("users", "deactivate", ann, "--reason", "for good")
    assert out.startswith("Deactivated and blocked until: opshelm-agent users reactivate")


def test_a_local_account_that_okta_takes_over_is_not_reactivated_either(make: Make) -> None:
    w = make(10)
    ann = {"login": "ann@example.com"}
    w.colleague(ann["login"])
    w.acts().deactivate(w.account(ann["login"]).id)
    ann["okta_id"] = w.okta_user(ann["login"])
    w.assign(ann)
    w.ahead += w.settings.reconcile.settle * 2
    assert w.actions_for(w.reconcile(), ann["okta_id"]) == [("link", None), ("reactivate", "blocked")]
    w.event(ann)
    assert (w.account(ann["login"]).okta_id, w.active(ann)) == (ann["okta_id"], [False])
    assert w.push(ann, active=True).status_code == 409
    w.acts().reactivate(w.account(ann["login"]).id)
    assert w.active(ann) == [True]


def test_a_block_ends_by_itself_when_its_time_is_over(make: Make) -> None:
    w = make(10)
    ann, bob = w.people()[:2]
    for person in (ann, bob):
        w.acts().deactivate(w.account(person["login"]).id, until=w.now() + timedelta(hours=8))
    w.lost()
    w.ahead += timedelta(hours=7)
    w.reconcile()
    w.event(bob)
    assert w.active(ann, bob) == [False, False]
    w.ahead += timedelta(hours=2)
    w.event(bob)
    assert w.active(ann, bob) == [False, True]
    w.reconcile()
    assert w.active(ann, bob) == [True, True]
    assert w.open_holds(kind=ACCESS) == []


def test_the_leaver_of_a_handover_stays_out(make: Make) -> None:
    w = make(10)
    boss, heir = w.people()[:2]
    w.sql("update users set role = 'owner' where id = :id", id=w.account(boss["login"]).id)
    w.sql("update account set active_owners = 1")
    w.acts().handover(w.account(heir["login"]).id, w.account(boss["login"]).id)
    w.reconcile()
    w.event(boss)
    assert w.push(boss, how="PUT", active=True).status_code == 409
    assert w.active(boss, heir) == [False, True]


def test_what_was_unlinked_stays_local(make: Make) -> None:
    w = make(10)
    ann = w.people()[0]
    account = w.account(ann["login"])
    w.acts().unlink(account.id)
    report = w.reconcile()
    assert w.actions_for(report, ann["okta_id"]) == [("link", "blocked")]
    w.event(ann)
    assert w.push(ann, how="PUT", externalId=ann["okta_id"], title="Captain").status_code == 409
    w.retitle(ann)
    local = w.account(ann["login"])
    assert (local.managed, local.okta_id, local.profile.title) == (False, None, account.profile.title)
    w.acts().link(account.id, ann["okta_id"])
    assert w.account(ann["login"]).managed
    assert w.open_holds(kind=LINK) == []


def test_what_was_unlinked_is_in_no_import(make: Make) -> None:
    w = make(10)
    ann = w.people()[0]
    w.acts().unlink(w.account(ann["login"]).id)
    w.lost()
    w.unassign(ann)
    everybody = w.importer.plan(Choice(classes=frozenset({MatchClass.EXACT, MatchClass.NONE})), actor="test").plan
    assert everybody is None or all(a.login != ann["login"] for a in everybody.plan.actions)
    plan = w.named(ann["login"])
    assert [a.held for a in plan.plan.actions] == [HeldCode.BLOCKED]
    assert "users link" in plan.plan.actions[0].held_detail


def test_a_block_is_neither_approved_nor_rejected(make: Make, commands_of: CommandsOf) -> None:
    w = make(10)
    ann = blocked(w)
    run = commands_of(w)
    for verb in (["approve"], ["reject", "--reason", "no"]):
        code, out, err = run("holds", verb[0], ann["login"], *verb[1:])
        assert (code, "blocked" in out + err) == (2, True), (verb, out, err)
    assert [h.decision for h in w.open_holds(ann, kind=ACCESS)] == [Decision.BLOCKED]


def test_a_blocked_persons_hold_follows_their_name(make: Make, commands_of: CommandsOf) -> None:
    w = make(10)
    ann = blocked(w)
    emails = [{"value": "other@example.com", "type": "work", "primary": True}]
    assert w.push(ann, how="PUT", userName="other@example.com", emails=emails).status_code == 200
    run = commands_of(w)
    code, out, err = run("holds", "show", "other@example.com")
    assert code == 0, (out, err)
    code, out, err = run.line(out.partition("To end it: ")[2].splitlines()[0] + " --reason found")
    assert code == 0, (out, err)
    assert w.account("other@example.com").active
