"""Rows of imports, on both databases: what an earlier try has found is kept, and who is a candidate for import."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent.directory.port import Draft, WriteContext
from agent.directory.sql import SqlDirectory
from agent.model.cases import Want
from agent.model.codes import Source
from agent.model.desired import DesiredRow, Wanted
from agent.model.matching import ImportState
from agent.settings import Settings
from agent.store import compare, imports
from agent.store.engine import Store
from support.world import BY_CLI, profile

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def write(store: Store, work: Any, *args: Any, **values: Any) -> Any:
    return store.write(lambda conn: work(conn, *args, **values))


def row(store: Store) -> imports.Import:
    with store.read() as conn:
        found = imports.get(conn, "a")
    assert found is not None
    return found


def intend(store: Store, **values: Any) -> None:
    write(
        store, imports.intend, **{"directory_id": "a", "login": "ann@example.com", "plan_id": 1, "now": NOW, **values}
    )


def test_a_second_wish_keeps_what_the_first_has_made(store: Store) -> None:
    intend(store)
    write(store, imports.created, "a", "00u1")
    intend(store, plan_id=2, now=NOW + timedelta(hours=1))
    found = row(store)
    assert (found.state, found.okta_id, found.made, found.plan_id, found.intended) == (
        ImportState.CREATED,
        "00u1",
        True,
        2,
        NOW,
    )


def test_an_import_that_ended_begins_anew(store: Store) -> None:
    intend(store)
    write(store, imports.created, "a", "00u1")
    write(store, imports.ended, "a", "taken back", NOW)
    intend(store, now=NOW + timedelta(days=1))
    found = row(store)
    assert (found.state, found.okta_id, found.made, found.error) == (ImportState.INTENDED, None, False, "")
    assert found.intended == NOW + timedelta(days=1)


def test_open_rows_are_those_without_an_end(store: Store) -> None:
    for directory_id in "abc":
        intend(store, directory_id=directory_id)
    write(store, imports.assigned, "b", "00u2", waits=True, now=NOW)
    write(store, imports.linked, ["c"], NOW)
    with store.read() as conn:
        assert {found.directory_id for found in imports.open_rows(conn)} == {"a", "b"}
        assert [found.waits for found in imports.in_state(conn, ImportState.LINKING)] == [True]


@pytest.mark.parametrize(("minutes", "late"), [(29, []), (30, ["a"])])
def test_who_is_overdue_counts_from_the_assignment_or_the_last_look(
    store: Store, minutes: int, late: list[str]
) -> None:
    intend(store)
    write(store, imports.assigned, "a", "00u1", waits=False, now=NOW)
    for since in (NOW, NOW + timedelta(hours=2)):
        with store.read() as conn:
            found = imports.overdue(conn, since + timedelta(minutes=minutes) - timedelta(minutes=30), 10)
        assert [one.directory_id for one in found] == late
        write(store, imports.asked, "a", waits=False, since=None, now=NOW + timedelta(hours=2))


def want(okta_id: str, user_name: str, external_id: str | None = None) -> Want:
    return Want(
        okta_id=okta_id,
        external_id=external_id,
        user_name=user_name,
        user_name_key=user_name,
        email=user_name,
        email_key=user_name,
        wanted=Wanted.ACTIVE,
        row=DesiredRow.LIVE,
        mapped="{}",
        unsaid=0,
        read_at=NOW,
    )


def test_candidates_are_active_local_accounts_that_no_app_user_means(store: Store) -> None:
    directory = SqlDirectory(store, Settings())
    by_okta = WriteContext(actor="key", source=Source.PUSH)

    def add(login: str, context: WriteContext = BY_CLI, **more: Any) -> str:
        draft = Draft(user_name=login, profile=profile(login, "A", "B"), **more)
        return directory.create(draft, context, NOW).result().user.id

    for login in ("b@example.com", "a@example.com"):
        add(login)
    add("pushed@example.com", by_okta)
    add("bound@example.com", by_okta, okta_id="00uBound")
    add("inactive@example.com", active=False)
    add("assigned@example.com")
    named = add("named@example.com")
    rows = [want("00u1", "assigned@example.com"), want("00u2", "other@example.com", named)]
    with compare.staging(store) as listed:
        listed.add_people(rows)
        with listed.snapshot() as conn:
            total, first = compare.only_local(conn, 2)
    with compare.staging(store) as nobody, nobody.snapshot() as conn:
        everybody = compare.only_local(conn, 99)[0]
    assert (total, [one.user_name for one in first]) == (3, ["a@example.com", "b@example.com"])
    assert everybody == 5
