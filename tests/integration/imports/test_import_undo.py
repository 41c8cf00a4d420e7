"""What an import assigned in Okta is taken back: the account keeps its access, Okta's app is gone, and it stays so."""

import signal
from pathlib import Path
from typing import Any

import pytest

from agent.imports.withdrawal import WithdrawalRequest
from agent.model.codes import ActionState
from agent.model.errors import UsageError
from agent.model.matching import ImportState
from agent.model.users import Origin
from agent.runs.frame import RunReport
from agent.runs.stored_plans import APPLY, PlanDecision
from agent.store import brakes, holds, seal
from agent.store.journal import Signature
from support.processes import agent, document
from support.world import World

UNASSIGN = ("DELETE", "/api/v1/apps/*/users/*")


@pytest.fixture(autouse=True)
def bound(b: World) -> None:
    b.pin()


def by(b: World) -> Signature:
    return Signature(actor="operator ann@host", source="cli", at=b.now(), reason="a wrong import")


def imported(b: World, *logins: str) -> int:
    """They had an account and an Okta user; the run that assigned them."""
    for login in logins:
        b.colleague(login, "Pat", login.partition("@")[0].capitalize())
        b.okta_user(login, "Pat", login.partition("@")[0].capitalize())
    report = b.apply(b.plan())
    b.org.wait_idle()
    return report.run_id


def planned(b: World, run_id: int, **more: Any) -> RunReport:
    return b.importer.undo(WithdrawalRequest(run_id=run_id, reason="a wrong import", **more), by(b))


def carried_out(b: World, report: RunReport, decision: PlanDecision = APPLY) -> RunReport:
    assert report.plan is not None, report
    done = b.importer.apply_undo(report.plan.id, report.plan.checksum, decision, by=by(b), wait=0)
    b.org.wait_idle()
    return done


def assigned(b: World, login: str) -> bool:
    return b.state_of(login)["app_user"] is not None


def is_local(b: World, login: str) -> bool:
    account = b.account(login)
    return account.active and account.okta_id is None and account.origin is Origin.LOCAL


def test_the_app_is_gone_and_the_account_keeps_its_access_until_somebody_lifts_the_hold(b: World) -> None:
    run_id = imported(b, "ann@example.com", "bob@example.com")
    assert b.account("ann@example.com").managed
    report = planned(b, run_id)
    assert (report.outcome, report.counts["okta_unassign"]) == ("planned", 2)
    assert assigned(b, "ann@example.com")
    assert carried_out(b, report).outcome == "applied"
    b.reconcile()
    for login in ("ann@example.com", "bob@example.com"):
        assert is_local(b, login)
        assert not assigned(b, login)
    assert b.row("ann@example.com").state is ImportState.ENDED
    assert {m.held for m in b.importer.survey().matches} == {"undone"}
    with b.store.read() as conn:
        found = [hold for hold in holds.open_holds(conn) if hold.login == "ann@example.com"]
    assert [(hold.code, hold.kind) for hold in found] == [("undone", "link")]
    b.store.write(lambda conn: brakes.lift_holds(conn, by(b), found))
    again = b.apply(b.named("ann@example.com"))
    b.org.wait_idle()
    assert again.outcome == "applied"
    assert b.account("ann@example.com").managed
    seal.seal(b.store, b.now())
    with b.store.read() as conn:
        assert seal.verify(conn).problems == []


def test_an_okta_user_that_was_made_stays_and_is_told(b: World) -> None:
    b.colleague("new@example.com", "New", "One")
    run_id = b.apply(b.plan()).run_id
    b.org.wait_idle()
    report = planned(b, run_id)
    (told,) = report.findings
    assert (told.code, told.login) == ("not_undone", "new@example.com")
    assert "deactivate it in Okta" in told.detail
    assert carried_out(b, report).outcome == "applied"
    assert not assigned(b, "new@example.com")
    assert is_local(b, "new@example.com")


def test_who_has_moved_since_is_told_and_left_alone_between_plan_and_apply_too(b: World) -> None:
    logins = [f"{name}@example.com" for name in ("gone", "grouped", "inactive", "later")]
    run_id = imported(b, *logins)
    gone, grouped, _, later = (b.state_of(login)["okta_id"] for login in logins)
    b.org.api("DELETE", f"/apps/{b.org.app_id}/users/{gone}")
    b.org.set_app_user(grouped, scope="GROUP")
    b.org.wait_idle()
    b.change("inactive@example.com", active=False)
    report = planned(b, run_id)
    assert {finding.login: finding.code.value for finding in report.findings} == dict.fromkeys(
        logins[:3], "changed_since"
    )
    b.org.set_app_user(later, scope="GROUP")
    done = carried_out(b, report)
    assert [action.state for action in done.plan.plan.actions] == [ActionState.STALE]
    assert b.account("later@example.com").managed
    assert assigned(b, "later@example.com")
    assert b.account("inactive@example.com").managed


def test_only_some_and_no_more_than_the_limit_without_approval(b: World) -> None:
    run_id = imported(b, "ann@example.com", "bob@example.com", "cy@example.com")
    with pytest.raises(UsageError, match="Nothing of that was done to dora"):
        planned(b, run_id, only=("dora@example.com",))
    assert carried_out(b, planned(b, run_id, only=("cy@example.com",))).counts == {"okta_unassign": 1, "done": 1}
    b.configure(imports={"max_per_run": 1})
    report = planned(b, run_id)
    assert (report.outcome, report.plan.plan.held) == ("held", "count_exceeded")
    with pytest.raises(UsageError, match="2 people would lose the app"):
        carried_out(b, report, PlanDecision(approve=True, count=1))
    assert carried_out(b, report, PlanDecision(approve=True, count=2)).outcome == "applied"
    assert not assigned(b, "ann@example.com")


def test_a_lost_answer_is_looked_for_and_a_refusal_is_told(b: World) -> None:
    run_id = imported(b, "ann@example.com", "bob@example.com")
    b.importer.pause = lambda _seconds: None
    b.org.faults({"method": "DELETE", "path": UNASSIGN[1], "times": 1, "status": 403})
    done = carried_out(b, planned(b, run_id))
    assert done.outcome == "partial"
    assert sorted(action.state.value for action in done.plan.plan.actions) == ["done", "failed"]
    assert carried_out(b, planned(b, run_id)).outcome == "applied"
    assert not assigned(b, "ann@example.com")
    assert not assigned(b, "bob@example.com")


@pytest.mark.parametrize("point", ["undo.unlinked:1", "undo.unassigned:1"])
def test_a_kill_is_followed_by_the_same_approval(b: World, tmp_path: Path, point: str) -> None:
    run_id = imported(b, "ann@example.com", "bob@example.com")
    env = {
        "OPSHELM_OKTA__ORG_URL": b.org.url,
        "OPSHELM_OKTA__APP_ID": b.org.app_id,
        "OPSHELM_OKTA__API_TOKEN": b.org.token,
        "OPSHELM_DATABASE__URL": b.store.settings.url,
        "OPSHELM_RECONCILE__LEASE_TTL": "1s",
    }
    done = agent("runs", "undo", str(run_id), "--reason", "wrong", "--output", "json", cwd=tmp_path, env=env)
    plan = document(done)["plan"]
    apply = ("plans", "apply", str(plan["id"]), "--checksum", plan["checksum"])
    assert agent(*apply, cwd=tmp_path, env=env | {"OPSHELM_CRASH_AT": point}).returncode == -signal.SIGKILL
    b.org.wait_idle()
    assert b.account("ann@example.com").active
    ended = agent(*apply, cwd=tmp_path, env=env)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    b.org.wait_idle()
    for login in ("ann@example.com", "bob@example.com"):
        assert is_local(b, login)
        assert not assigned(b, login)
