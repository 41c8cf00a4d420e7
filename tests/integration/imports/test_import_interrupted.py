"""An import that is cut off anywhere, or whose answers are lost: one Okta user a person, and the rest of it is done later.

``Cut`` ends an apply where a kill -9 would; real processes are killed in tests/acceptance.
"""

from collections.abc import Callable
from typing import Any

import pytest

from agent.imports.planner import Choice
from agent.imports.survey import Surveyor
from agent.model.codes import ActionState
from agent.model.matching import ImportState
from agent.store import runs
from agent.store.engine import CRASH_POINTS
from agent.store.runs import RunRequest
from support.world import EVERYBODY, World

WRITES = ("/api/v1/users", "/api/v1/apps/*/users")
PLACES = sorted({place for place in CRASH_POINTS if place.startswith("import.")} - {"import.planned", "import.done"})


class Cut(BaseException):
    """Nothing of the agent catches it."""


@pytest.fixture(autouse=True)
def bound(b: World) -> None:
    b.pin()
    b.configure(reconcile={"lease_ttl": 1})


def cut_at(place: str, times: int) -> Callable[[str], None]:
    reached = 0

    def crash_point(name: str) -> None:
        nonlocal reached
        reached += name == place
        if name == place and reached == times:
            raise Cut(place)

    return crash_point


def two_of_each(b: World) -> list[str]:
    for n in range(2):
        b.colleague(f"exact{n}@example.com")
        b.okta_user(f"exact{n}@example.com")
        b.colleague(f"none{n}@example.com")
    return [f"{kind}{n}@example.com" for kind in ("exact", "none") for n in range(2)]


def cut(b: World, place: str, times: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    plan = b.plan()
    with monkeypatch.context() as patched:
        patched.setattr("agent.imports.carrier.crash_point", cut_at(place, times))
        with pytest.raises(Cut):
            b.apply(plan)
    return plan


def all_in_okta_once(b: World, logins: list[str]) -> None:
    b.org.wait_idle()
    for login in logins:
        person = b.state_of(login)  # exactly one
        assert person["app_user"]["credentials"]["userName"] == login
        assert person["user_status"] == ("STAGED" if login.startswith("none") else "ACTIVE")
        if person["user_status"] == "STAGED":
            b.org.api("POST", f"/users/{person['okta_id']}/lifecycle/activate?sendEmail=false")
    b.org.wait_idle()
    assert b.importer.survey().assigned == ()
    assert {b.row(login).state for login in logins} == {ImportState.LINKED}
    assert {b.state_of(login)["app_user"]["externalId"] for login in logins} == {
        b.account(login).id for login in logins
    }


@pytest.mark.parametrize("place", PLACES)
def test_the_same_plan_goes_on_where_it_was_cut_off(b: World, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    logins = two_of_each(b)
    plan = cut(b, place, 2, monkeypatch)
    b.org.wait_idle()
    assert b.apply(plan).outcome == "applied"
    assert {state for _, state in b.states(plan)} == {"done"}
    all_in_okta_once(b, logins)


@pytest.mark.parametrize("place", PLACES)
def test_a_new_plan_goes_on_just_as_well(b: World, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    logins = two_of_each(b)
    cut(b, place, 1, monkeypatch)
    planned = b.importer.plan(EVERYBODY, actor="test").plan
    if planned is not None:
        assert b.apply(planned).outcome == "applied"
    all_in_okta_once(b, logins)


@pytest.mark.parametrize("kind", ["import", "sweep"])
def test_a_run_that_died_is_ended_by_the_next_one_of_either_kind(b: World, kind: str) -> None:
    two_of_each(b)
    plan = b.plan()
    request = RunRequest(kind=kind, trigger="cli", actor="test", dry=False)
    died = b.store.write(lambda conn: runs.start(conn, request, b.now()))
    b.apply(plan)
    with b.store.read() as conn:
        assert [run.id for run in runs.unfinished(conn)] == []
        ended = runs.get(conn, died)
    assert ended is not None
    assert (ended.outcome, ended.exit_code) == ("error", 1)
    assert "died" in ended.detail


@pytest.mark.parametrize(
    ("cause", "outcome", "said"),
    [(KeyboardInterrupt, "stopped", "Interrupted (Ctrl-C)"), (ZeroDivisionError, "error", "ZeroDivisionError")],
)
def test_ctrl_c_and_an_unexpected_error_end_the_run_and_the_plan_goes_on(
    b: World, cause: type[BaseException], outcome: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logins = two_of_each(b)
    plan = b.plan()

    def crash_point(name: str) -> None:
        if name == "import.created":
            raise cause

    with monkeypatch.context() as patched:
        patched.setattr("agent.imports.carrier.crash_point", crash_point)
        with pytest.raises(cause):
            b.apply(plan)
    with b.store.read() as conn:
        run = runs.recent(conn, 1)[0]
    assert (run.kind, run.dry, run.outcome, run.exit_code) == ("import", False, outcome, 1)
    assert said in run.detail
    assert b.apply(plan).outcome == "applied"  # at once: the lease was given back
    all_in_okta_once(b, logins)


def test_an_import_that_is_asked_to_stop_finishes_the_account_it_is_at(
    b: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    logins = two_of_each(b)
    plan = b.plan()
    with monkeypatch.context() as patched:
        patched.setattr(
            "agent.imports.carrier.crash_point", lambda name: name == "import.intended" and b.importer.stop.set()
        )
        report = b.apply(plan)
    assert (report.outcome, report.exit_code) == ("stopped", 1)
    done = [a.login for a in b.stored(plan).plan.actions if a.state is ActionState.DONE]
    assert done.count("none0@example.com") == 2  # created and assigned
    assert "none1@example.com" not in done
    b.importer.stop.clear()
    assert b.apply(plan).outcome == "applied"
    all_in_okta_once(b, logins)


@pytest.mark.parametrize("path", WRITES)
@pytest.mark.parametrize(
    "fault",
    [
        {"effect": "after"},
        {"effect": "after", "status": 503},
        {"cut_after": 10},
        {"status": 500},
        {"status": 502, "body": "<html>bad gateway</html>"},
        {"status": 429},
    ],
)
def test_a_lost_answer_or_a_5xx_is_followed_by_a_look(b: World, path: str, fault: dict[str, Any]) -> None:
    logins = two_of_each(b)
    b.importer.pause = lambda _seconds: None
    plan = b.plan()
    b.org.faults({"method": "POST", "path": path, "times": 1, **fault})
    assert b.apply(plan).outcome == "applied"
    all_in_okta_once(b, logins)


def test_no_answer_at_all_fails_the_person_and_the_next_import_looks_first(b: World) -> None:
    logins = two_of_each(b)
    b.importer.pause = lambda _seconds: None
    plan = b.plan()
    # Three calls for the first one: not done, not done, and done without an answer.
    b.org.faults({"method": "POST", "path": "/api/v1/users", "status": 500, "times": 3})
    report = b.apply(plan)
    assert (report.outcome, report.counts["failed"]) == ("partial", 2)
    b.org.faults()
    assert b.apply(b.plan()).outcome == "applied"
    all_in_okta_once(b, logins)


def test_an_okta_that_never_answers_ends_the_run_early(b: World) -> None:
    for n in range(5):
        b.colleague(f"none{n}@example.com")
    b.importer.pause = lambda _seconds: None
    plan = b.plan()
    b.org.faults({"method": "POST", "path": "/api/v1/users", "status": 500, "times": None})
    report = b.apply(plan)
    assert (report.outcome, report.exit_code) == ("incomplete", 1)
    assert report.counts["planned"] == 4
    b.org.faults()
    assert b.apply(plan).counts["done"] == 4
    assert b.apply(b.plan()).counts["done"] == 6


@pytest.mark.parametrize(
    ("path", "status", "code", "explained"),
    [
        ("/api/v1/apps/*/users", 403, "E0000075", "it masters it; change the Okta user instead"),
        ("/api/v1/apps/*/users", 403, "E0000046", "take the person out of the group"),
        ("/api/v1/apps/*/users", 400, "E0000001", "Okta finds a value invalid"),
        ("/api/v1/apps/*/users", 403, "E0000038", "The user's status doesn't allow it"),
        ("/api/v1/users", 400, "E0000001", "Okta finds a value invalid"),
        ("/api/v1/users", 403, "E0000006", "scope okta.users.manage"),
    ],
)
def test_what_okta_refuses_is_explained_and_not_tried_again(
    b: World, path: str, status: int, code: str, explained: str
) -> None:
    b.colleague("none@example.com")
    body = {"errorCode": code, "errorSummary": "Okta says no", "errorLink": code, "errorId": "oae", "errorCauses": []}
    fault = {"method": "POST", "path": path, "status": status, "body": body, "times": 2}
    plan = b.plan()
    b.org.faults(fault)
    report = b.apply(plan)
    assert (report.outcome, report.exit_code) == ("partial", 5)
    assert b.org.call("GET", "/simulator/faults")[0]["times"] == 1
    failed = next(a for a in b.stored(plan).plan.actions if a.error)
    assert code in failed.error
    assert explained in failed.error
    assert b.journal()[-1][0] == "refused"


def test_somebody_with_the_login_between_plan_and_call_is_nobodys_double(
    b: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    b.colleague("none@example.com")
    plan = b.plan()

    def race(name: str) -> None:
        if name == "import.intended":
            b.okta_user("none@example.com")

    monkeypatch.setattr("agent.imports.carrier.crash_point", race)
    assert b.apply(plan).outcome == "applied"
    b.org.wait_idle()
    assert b.state_of("none@example.com")["app_user"]["externalId"] == b.account("none@example.com").id


def test_an_okta_user_assigned_under_another_name_in_between_is_not_assigned_again(
    b: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    b.colleague("ann@example.com")
    okta_id = b.okta_user("ann@example.com")
    b.org.provisioning(mode="off")
    plan = b.named("ann@example.com")
    look = Surveyor.chosen

    def late(*args: Any) -> Any:
        found = look(*args)
        body = {"id": okta_id, "scope": "USER", "credentials": {"userName": "old@example.com"}}
        b.org.api("POST", f"/apps/{b.org.app_id}/users", body)
        return found

    monkeypatch.setattr(Surveyor, "chosen", late)
    assert b.apply(plan).outcome == "partial"
    assert "has the app already, as old@example.com" in b.stored(plan).plan.actions[0].error
    assert b.state_of("ann@example.com")["app_user"]["credentials"]["userName"] == "old@example.com"


def test_nobody_is_left_for_a_second_import(b: World) -> None:
    logins = two_of_each(b)
    b.apply(b.plan())
    assert b.importer.plan(Choice(classes=EVERYBODY.classes), actor="test").outcome == "nothing"
    all_in_okta_once(b, logins)
