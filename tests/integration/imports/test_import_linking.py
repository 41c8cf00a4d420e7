"""When is an imported account linked, and when is it late: each row of the table of agent.imports.link_watch."""

from datetime import datetime, timedelta

import pytest

from agent.imports import link_watch
from agent.imports.link_watch import ALARM
from agent.model.matching import ImportState
from agent.store import alarms
from support.world import World

LATE = timedelta(minutes=31)


@pytest.fixture(autouse=True)
def bound(b: World) -> None:
    b.pin()


def open_alarms(b: World) -> list[tuple[str, str]]:
    with b.store.read() as conn:
        return [(alarm.subject, alarm.detail) for alarm in alarms.open_alarms(conn) if alarm.code == ALARM]


def imported(b: World, login: str = "ann@example.com", *, new: bool = False) -> str:
    """Assigned, and Okta's push is lost: the Okta user's id."""
    b.org.provisioning(mode="off")
    b.colleague(login)
    if not new:
        b.okta_user(login)
    b.apply(b.plan())
    return str(b.state_of(login)["okta_id"])


def unpushed(b: World, okta_id: str) -> None:
    """As Okta shows an assignment whose push it has still to make."""
    b.org.set_app_user(okta_id, status="STAGED", syncState="ERROR", externalId=None)


def test_a_push_confirms_it(b: World) -> None:
    b.colleague("ann@example.com")
    b.okta_user("ann@example.com")
    b.apply(b.plan())
    b.org.wait_idle()
    assert b.importer.watch() == 0
    assert b.row("ann@example.com").state is ImportState.LINKED


def test_a_sweep_that_has_bound_it_confirms_it(b: World) -> None:
    okta_id = imported(b)
    b.acts().link(b.account("ann@example.com").id, okta_id)
    b.importer.watch()
    assert b.row("ann@example.com").state is ImportState.LINKED


def test_another_okta_user_who_got_the_account_confirms_nothing(b: World) -> None:
    imported(b)
    b.acts().link(b.account("ann@example.com").id, "00uSomebodyElse")
    b.importer.watch()
    assert b.row("ann@example.com").state is ImportState.LINKING


def test_okta_saying_so_confirms_it(b: World) -> None:
    okta_id = imported(b)
    b.org.set_app_user(okta_id, externalId=b.account("ann@example.com").id)
    b.importer.survey()
    assert b.row("ann@example.com").state is ImportState.LINKED


def test_it_is_an_alarm_only_after_its_time_and_over_when_it_is_linked(b: World) -> None:
    okta_id = imported(b)
    unpushed(b, okta_id)
    b.ahead = timedelta(minutes=29)
    assert b.importer.watch() == 0
    b.ahead = LATE
    assert b.importer.watch() == 1
    ((subject, detail),) = open_alarms(b)
    assert subject == f"account {b.account('ann@example.com').id}"
    assert "ann@example.com was assigned in Okta 31 min ago" in detail
    assert "ERROR" in detail
    b.org.set_app_user(okta_id, externalId=b.account("ann@example.com").id)
    b.ahead = 2 * LATE
    assert b.importer.watch() == 0
    assert open_alarms(b) == []


def test_one_that_awaits_activation_never_alarms_and_its_time_counts_from_then(b: World) -> None:
    okta_id = imported(b, new=True)
    unpushed(b, okta_id)
    for n in range(1, 4):
        b.ahead = n * LATE
        assert b.importer.watch() == 0
    assert b.row("ann@example.com").waits
    changed = (b.now() - timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    b.org.set_user(okta_id, status="ACTIVE", statusChanged=changed)
    b.ahead = 4 * LATE
    assert b.importer.watch() == 1, "activated over half an hour ago"


def test_one_activated_a_moment_ago_still_has_its_time(b: World) -> None:
    okta_id = imported(b, new=True)
    unpushed(b, okta_id)
    b.ahead = LATE
    b.importer.watch()
    b.ahead = 2 * LATE + timedelta(minutes=1)
    changed = (b.now() - timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    b.org.set_user(okta_id, status="ACTIVE", statusChanged=changed)
    assert b.importer.watch() == 0
    since = b.row("ann@example.com").linking_since
    assert since == datetime.fromisoformat(changed)


def test_okta_linking_somebody_else_is_an_alarm(b: World) -> None:
    okta_id = imported(b)
    b.org.set_app_user(okta_id, externalId="somebody-else")
    b.ahead = LATE
    assert b.importer.watch() == 1
    assert "somebody-else" in open_alarms(b)[0][1]


def test_an_assignment_that_was_taken_back_ends_it(b: World) -> None:
    okta_id = imported(b)
    b.org.api("DELETE", f"/apps/{b.org.app_id}/users/{okta_id}")
    b.ahead = LATE
    assert b.importer.watch() == 0
    row = b.row("ann@example.com")
    assert (row.state, row.error) == (
        ImportState.ENDED,
        f"The Okta user {okta_id} is not assigned to the app any more.",
    )


def test_okta_is_asked_once_in_a_while_about_each(b: World) -> None:
    unpushed(b, imported(b))
    b.count(("GET", "/api/v1/apps/*/users/*"))
    b.ahead = LATE
    for _ in range(3):
        b.importer.watch()
    assert b.calls("GET", "/api/v1/apps/*/users/*") == 1


def test_a_round_reads_some_accounts_and_the_next_rounds_the_others(b: World) -> None:
    for n in range(5):
        b.colleague(f"p{n}@example.com")
        b.okta_user(f"p{n}@example.com")
    b.org.provisioning(mode="off")
    b.apply(b.plan())
    for n in range(5):
        b.acts().link(b.account(f"p{n}@example.com").id, b.state_of(f"p{n}@example.com")["okta_id"])
    for minutes in range(5):
        link_watch.confirm(b.store, b.directory, b.now() + timedelta(minutes=minutes), at_most=2)
    assert {b.row(f"p{n}@example.com").state for n in range(5)} == {ImportState.LINKED}
