"""The register of holds, on both databases: one open row for each person and kind, its age, its decisions and its end."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import select

from agent.model.codes import HeldCode
from agent.model.holds import ENDS_ACCESS, GIVES_ACCESS, ChangeKind, Decision, Hold, HoldEnd, Reason, wish
from agent.model.users import DirectoryUser, Profile
from agent.settings import DatabaseSettings
from agent.store import account, brakes, holds
from agent.store.engine import Connection, Store
from agent.store.journal import Signature
from agent.store.tables import journal

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
BY = Signature(actor="operator root", source="cli", at=NOW, reason="stolen laptop")
ANN = Reason(
    directory_id="a1",
    okta_id="00u1",
    login="ann@example.com",
    kind=ChangeKind.DEACTIVATE,
    code=HeldCode.DEACTIVATIONS_PER_RUN,
    detail="12 of 40 people",
    wish=ENDS_ACCESS,
)
NEW = Reason(
    directory_id=None,
    okta_id="00u2",
    login="new@example.com",
    kind=ChangeKind.ACTIVATE,
    code=HeldCode.CREATES_PER_RUN,
    detail="90 of 40 people",
    wish=GIVES_ACCESS,
)


def find(store: Store, *reasons: Reason, at: datetime = NOW, by: str = "run 1", pushed: bool = False) -> None:
    store.write(lambda conn: holds.find(conn, reasons, at, by=by, pushed=pushed))


def open_holds(store: Store, **wanted: Any) -> list[Hold]:
    with store.read() as conn:
        return holds.open_holds(conn, **wanted)


def decide(store: Store, decision: Decision, **more: Any) -> None:
    ids = [hold.id for hold in open_holds(store)]
    by = Signature(actor="operator root", source="cli", at=NOW, reason=more.pop("reason", ""))
    store.write(lambda conn: holds.decide(conn, ids, decision, by, **more))


def user(**values: Any) -> DirectoryUser:
    base = DirectoryUser(
        id="a1", user_name="ann@example.com", profile=Profile(), active=False, okta_id="00u1", created=NOW, updated=NOW
    )
    return replace(base, **values)


@pytest.mark.parametrize("opens", ["find", "block"])
def test_a_hold_is_met_by_the_other_works_of_its_transaction(store: Store, opens: str) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def nobody(conn: Connection) -> int:
        begun.set()
        go_on.wait(30)
        return len(holds.of_user(conn, user()))

    def opened(conn: Connection) -> None:
        if opens == "find":
            holds.find(conn, [ANN], NOW, by="run 1")
        else:
            holds.block(conn, ANN, BY)

    first = store.submit(nobody)
    begun.wait(30)
    works = [store.submit(lambda conn: len(holds.of_user(conn, user()))), store.submit(opened)]
    works.append(store.submit(lambda conn: len(holds.of_user(conn, user()))))
    go_on.set()
    assert [first.result(30), works[0].result(30), works[2].result(30)] == [0, 0, 1]


def test_found_again_a_hold_keeps_its_age_and_takes_the_new_words(store: Store) -> None:
    find(store, ANN)
    find(store, replace(ANN, detail="13 of 40 people", code=HeldCode.SOURCE_DROP), at=NOW + HOUR, by="run 2")
    (hold,) = open_holds(store)
    assert (hold.since, hold.opened_by, hold.last_found) == (NOW, "run 1", NOW + HOUR)
    assert (hold.code, hold.detail, hold.decision) == (HeldCode.SOURCE_DROP, "13 of 40 people", Decision.WAITING)


def test_a_person_has_one_open_hold_for_each_kind(store: Store) -> None:
    identity = replace(
        ANN, kind=ChangeKind.IDENTITY, code=HeldCode.NAME_TAKEN, wish=wish({"userName": "x@example.com"})
    )
    find(store, ANN, ANN, identity, NEW)
    found = [(hold.person, hold.kind) for hold in open_holds(store)]
    assert sorted(found) == [("00u2", ChangeKind.ACTIVATE), ("a1", ChangeKind.DEACTIVATE), ("a1", ChangeKind.IDENTITY)]


def test_a_push_and_a_run_that_find_the_same_person_at_once_open_one_hold(
    store: Store, database: DatabaseSettings
) -> None:
    opened, seen = threading.Event(), threading.Event()

    def first(conn: Any) -> None:
        holds.find(conn, [ANN], NOW, by="push", pushed=True)
        opened.set()
        assert seen.wait(60)

    other = Store.open(database)
    with ThreadPoolExecutor(2) as threads, closing(other):
        pushed = threads.submit(store.write, first)
        assert opened.wait(60)
        found = threads.submit(other.write, lambda conn: holds.find(conn, [ANN], NOW, by="run 1"))
        if other.dialect == "postgresql":
            while not waits_for_a_lock(other):
                assert not found.done()
        seen.set()
        pushed.result()
        found.result()
    assert [(hold.person, hold.opened_by) for hold in open_holds(store)] == [("a1", "push")]


def waits_for_a_lock(store: Store) -> bool:
    with store.read() as conn:
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
        return bool(conn.exec_driver_sql(waiting).scalar_one())


def test_a_pushed_attempt_counts_as_a_try(store: Store) -> None:
    for _ in range(3):
        find(store, ANN, by="push", pushed=True)
    assert [hold.tries for hold in open_holds(store)] == [3]


@pytest.mark.parametrize("decision", [Decision.REJECTED, Decision.APPROVED])
def test_a_decision_keeps_its_words_while_the_wish_is_the_same(store: Store, decision: Decision) -> None:
    find(store, ANN)
    decide(store, decision, reason="wrong group")
    find(store, replace(ANN, detail="other words"), at=NOW + HOUR)
    (hold,) = open_holds(store)
    assert (hold.decision, hold.detail, hold.reason, hold.decided_by) == (
        decision,
        "12 of 40 people",
        "wrong group",
        "operator root",
    )


def test_a_rejection_of_one_name_says_nothing_of_another(store: Store) -> None:
    identity = replace(ANN, kind=ChangeKind.IDENTITY, wish=wish({"userName": "x@example.com"}))
    find(store, identity)
    decide(store, Decision.REJECTED)
    find(store, replace(identity, wish=wish({"userName": "y@example.com"})), at=NOW + HOUR)
    (hold,) = open_holds(store)
    assert (hold.decision, hold.since) == (Decision.WAITING, NOW + HOUR)
    with store.read() as conn:
        ended = [h.ended for h in holds.history(conn, ["a1"])]
    assert ended == [None, HoldEnd.MOOT]


def test_an_account_finds_the_hold_of_its_okta_user_and_of_its_name(store: Store) -> None:
    find(store, NEW, replace(NEW, okta_id=None, login="Other@Example.com"))
    made = user(id="b1", okta_id="00u2", user_name="new@example.com")
    other = user(id="b2", okta_id="00u9", user_name="other@example.com")
    with store.read() as conn:
        assert [hold.okta_id for hold in holds.of_user(conn, made)] == ["00u2"]
        assert [hold.okta_id for hold in holds.of_user(conn, other)] == [None]
        assert holds.of_user(conn, user(id="b3", okta_id=None, user_name="third@example.com")) == []


def test_what_was_done_ends_its_hold_and_the_opposite_one_is_moot(store: Store) -> None:
    find(store, ANN, replace(ANN, kind=ChangeKind.UPDATE, wish="{}"))
    store.write(
        lambda conn: holds.done(conn, holds.of_user(conn, user(active=True)), {ChangeKind.ACTIVATE: GIVES_ACCESS}, NOW)
    )
    assert [hold.kind for hold in open_holds(store)] == [ChangeKind.UPDATE]
    with store.read() as conn:
        assert [h.ended for h in holds.history(conn, ["a1"]) if h.kind is ChangeKind.DEACTIVATE] == [HoldEnd.MOOT]


def test_a_block_outlives_pushes_sweeps_and_opposite_changes(store: Store) -> None:
    block = replace(ANN, kind=ChangeKind.ACTIVATE, code=HeldCode.BLOCKED, wish="")
    store.write(lambda conn: holds.block(conn, block, BY))
    store.write(lambda conn: holds.done(conn, holds.of_user(conn, user()), {ChangeKind.DEACTIVATE: ENDS_ACCESS}, NOW))
    store.write(lambda conn: holds.unwanted(conn, set(), None, NOW))
    (hold,) = open_holds(store, decision=Decision.BLOCKED)
    assert hold.stops(GIVES_ACCESS, NOW + 1000 * HOUR)


def test_a_block_ends_with_its_time_and_an_unused_approval_waits_again(store: Store) -> None:
    find(store, NEW)
    decide(store, Decision.APPROVED, until=NOW + HOUR)
    block = replace(ANN, kind=ChangeKind.ACTIVATE, code=HeldCode.BLOCKED, wish="")
    store.write(lambda conn: holds.block(conn, block, BY, until=NOW + HOUR))
    (new, blocked) = sorted(open_holds(store), key=lambda hold: hold.id)
    assert new.lets(GIVES_ACCESS, NOW)
    assert not new.lets(GIVES_ACCESS, NOW + HOUR)
    assert blocked.stops(GIVES_ACCESS, NOW)
    assert not blocked.stops(GIVES_ACCESS, NOW + HOUR)
    store.write(lambda conn: holds.lapse(conn, NOW + HOUR))
    assert [(hold.decision, hold.since) for hold in open_holds(store)] == [(Decision.WAITING, NOW)]


def test_after_a_sweep_only_what_is_wanted_or_unknown_stays(store: Store) -> None:
    find(store, ANN, NEW)
    kept = {(ANN.subject, ChangeKind.DEACTIVATE)}
    assert store.write(lambda conn: holds.unwanted(conn, kept, None, NOW)) == 1
    assert [hold.person for hold in open_holds(store)] == ["a1"]


def test_a_direct_read_ends_only_holds_of_whom_it_read(store: Store) -> None:
    find(store, ANN, NEW)
    store.write(lambda conn: holds.unwanted(conn, set(), ["00u2"], NOW))
    assert [hold.person for hold in open_holds(store)] == ["a1"]


def test_a_push_leaves_a_mark_that_a_later_look_at_okta_knows_of(store: Store) -> None:
    for name in ("a1", "b1", "a1"):
        store.write(lambda conn, name=name: holds.mark_push(conn, name))
    with store.read() as conn:
        assert [holds.pushed_since(conn, "a1", mark) for mark in (2, 3)] == [True, False]
        assert [holds.pushed_since(conn, "b1", mark) for mark in (1, 2)] == [True, False]
        assert not holds.pushed_since(conn, "c1", 0)
        assert holds.newest_push_mark(conn) == 3


@pytest.mark.parametrize("decided", ["approve", "reject", "lift"])
def test_what_ends_while_somebody_decides_is_not_decided(postgres_url: str, decided: str) -> None:
    """On PostgreSQL both are under way at once; SQLite has one writer."""
    locked, deciding = threading.Event(), threading.Event()

    def ends(conn: Connection) -> None:
        account.lock(conn)
        holds.end(conn, [hold.id for hold in chosen], HoldEnd.DONE, NOW)
        locked.set()
        assert deciding.wait(30)

    def decides(conn: Connection) -> list[Hold]:
        deciding.set()
        if decided == "approve":
            return brakes.approve_holds(conn, BY, chosen, NOW + HOUR)
        return brakes.reject_holds(conn, BY, chosen) if decided == "reject" else brakes.lift_holds(conn, BY, chosen)

    settings = DatabaseSettings(url=postgres_url)
    with closing(Store.open(settings)) as one, closing(Store.open(settings)) as other, ThreadPoolExecutor(2) as pool:
        find(one, ANN)
        chosen = open_holds(one)
        ending = pool.submit(one.write, ends)
        assert locked.wait(30)
        decision = pool.submit(other.write, decides)
        ending.result(30)
        assert decision.result(30) == []
        with one.read() as conn:
            assert conn.execute(select(journal.c.verb)).all() == []
            assert holds.one(conn, chosen[0].id).ended is HoldEnd.DONE
