"""``failures``: groups by cause, and a look at those who are chosen."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from agent.settings import DatabaseSettings
from agent.store import attention, events, imports
from agent.store.engine import Store
from agent.store.events import PushFailure
from agent.store.tables import journal
from support.commands import Command

ANN, BOB, CLEO = "00u0000000000000ann1", "00u0000000000000bob1", "00u000000000000cleo1"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with closing(Store.open(DatabaseSettings(url=f"sqlite:///{folder}/opshelm-agent.db"))) as opened:
        for okta_id, reason in ((ANN, f"{ANN}: 401"), (BOB, f"{BOB}: 401"), (CLEO, "=cmd() is no name")):
            one = PushFailure(okta_id=okta_id, event_type="application.x", reason=reason, at=datetime.now(UTC))
            opened.write(lambda conn, one=one: events.failed(conn, [one]))
        yield opened


def waiting(store: Store) -> set[str | None]:
    with store.read() as conn:
        return {row.okta_id for row in attention.of(conn, [attention.EVENT])}


def test_groups_are_listed_with_the_largest_first(store: Store, document: Callable[..., Any], command: Command) -> None:
    groups = document("failures", "list")["groups"]
    assert [(group["people"], group["where"]) for group in groups] == [(2, "push"), (1, "push")]
    people = document("failures", "show", groups[0]["id"])["people"]
    assert {one["okta_id"] for one in people} == {ANN, BOB}
    code, out, _ = command("failures", "list", "--csv")
    assert (code, "'=cmd() is no name" in out) == (0, True)


def test_one_a_group_or_all_are_looked_at_again_and_the_journal_says_so(
    store: Store, document: Callable[..., Any]
) -> None:
    assert document("failures", "retry", CLEO)["people"] == 1
    assert waiting(store) == {CLEO}
    group = document("failures", "list")["groups"][0]["id"]
    assert document("failures", "retry", "--group", group, "--reason", "new key")["people"] == 2
    assert waiting(store) == {ANN, BOB, CLEO}
    assert document("failures", "retry", "--all") == {
        "format_version": "1.0",
        "kind": "retry",
        "people": 3,
        "sweep": False,
    }
    with store.read() as conn:
        rows = conn.execute(select(journal.c.verb, journal.c.okta_id, journal.c.reason).order_by(journal.c.id)).all()
    assert [tuple(row) for row in rows] == [
        ("failures retry", CLEO, "=cmd() is no name"),
        ("failures retry", None, "new key"),
        ("failures retry", None, "3 people"),
    ]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ([], 2, "say whom"),
        (["--all", "--group", "x"], 2, "say whom"),
        (["nobody@example.com"], 1, "Nothing failed of nobody@example.com"),
        (["--group", "x"], 1, "There is no group x"),
    ],
)
def test_who_is_not_meant_clearly_is_not_tried_again(
    store: Store, command: Command, args: list[str], code: int, said: str
) -> None:
    got, _, err = command("failures", "retry", *args)
    assert (got, said in err) == (code, True)
    assert waiting(store) == set()


def test_more_than_a_sweep_costs_become_a_sweep(store: Store, document: Callable[..., Any]) -> None:
    for number in range(20):
        one = PushFailure(okta_id=f"00u{number:017d}", event_type="x", reason="no", at=datetime.now(UTC))
        store.write(lambda conn, one=one: events.failed(conn, [one]))
    assert document("failures", "retry", "--all")["sweep"] is True
    with store.read() as conn:
        assert attention.waiting(conn, attention.SWEEP) == 1


def test_an_import_is_not_tried_again_by_a_look(store: Store, command: Command) -> None:
    now, login = datetime.now(UTC), "dora@example.com"
    store.write(lambda conn: imports.intend(conn, directory_id="d1", login=login, plan_id=None, now=now))
    store.write(lambda conn: imports.failed(conn, "d1", "Okta said no"))
    code, _, err = command("failures", "retry", login)
    assert (code, "opshelm-agent import list" in err) == (2, True)
    with store.read() as conn:
        assert attention.waiting(conn) == 0
