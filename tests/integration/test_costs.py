"""What a request, a sweep and a fix cost, by counts: statements that run, rows that stay, bytes that a person takes.

A limit here is what it costs now. It may be lowered with the code that lowers it, and raised only with a reason.
"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.directory.port import Draft, WriteContext
from agent.directory.sql import SqlDirectory
from agent.model.codes import Source
from agent.model.users import MultiValue, Profile
from agent.receiver.app import build
from agent.settings import DatabaseSettings, Settings
from agent.store import account, keys
from agent.store.engine import Connection, Store
from agent.store.journal import Signature
from agent.store.tables import metadata
from support.databases import sqlite_in
from support.place import remote_place
from support.receiver import SCIM_JSON, deactivation, okta_user, running
from support.remotes import Remote
from support.sloppy import KEY, sloppy_server
from support.statements import Statements
from support.world import World, open_world


class Counted:
    """A receiver whose statements and rows are counted. Its key was used a moment ago, so that no request notes that."""

    def __init__(self, store: Store, directory: SqlDirectory, client: httpx.Client, statements: Statements) -> None:
        self.store, self.directory, self.client, self.statements = store, directory, client, statements
        for n in range(3):
            self.send("POST", "/Users", okta_user(f"other{n}@example.com", externalId=f"00uother{n}"))
        self.person = self.send("POST", "/Users", okta_user("first@example.com", externalId="00u1"))

    def send(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = self.client.request(method, path, json=body, headers={"Content-Type": SCIM_JSON})
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def rows(self) -> int:
        with self.store.read() as conn:
            counts = (f"(SELECT count(*) FROM {table.name})" for table in metadata.sorted_tables)
            return int(conn.exec_driver_sql(f"SELECT {' + '.join(counts)}").scalar() or 0)


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Counted]:
    # With four people one is no burst, and nobody is alarmed, which takes statements of its own.
    roomy = {"push_percent": 100, "push_cap": 100_000, "window_percent": 100, "window_cap": 100_000}
    settings = Settings(database={"url": sqlite_in(tmp_path)}, guard=roomy)
    store = Store.open(settings.database)
    statements = Statements(store)
    by = Signature(actor="test", source="test", at=datetime.now(UTC))
    _, key = store.write(lambda conn: keys.create(conn, by, name="okta"))
    directory = SqlDirectory(store, settings)
    with (
        running(build(directory, store, settings)) as url,
        httpx.Client(base_url=f"{url}/scim/v2", headers={"Authorization": f"Bearer {key}"}, timeout=30) as client,
    ):
        yield Counted(store, directory, client, statements)
    store.close()


REQUESTS: dict[str, tuple[Callable[[Counted], tuple[str, str, Any]], int, int]] = {
    "GET one": (lambda c: ("GET", f"/Users/{c.person['id']}", None), 1, 0),
    "filter by userName": (lambda _: ("GET", "/Users?filter=userName%20eq%20%22first@example.com%22", None), 1, 0),
    "page": (lambda _: ("GET", "/Users?count=100", None), 2, 0),
    "POST": (lambda _: ("POST", "/Users", okta_user("new@example.com", externalId="00u2")), 8, 4),
    "PUT": (
        lambda c: ("PUT", f"/Users/{c.person['id']}", okta_user("first@example.com", externalId="00u1", title="Chief")),
        6,
        1,
    ),
    "PUT of what is there": (lambda c: ("PUT", f"/Users/{c.person['id']}", c.person), 4, 0),
    # One of them for guard replay.
    "PATCH": (lambda c: ("PATCH", f"/Users/{c.person['id']}", deactivation()), 11, 3),
}


@pytest.mark.parametrize(("request_of", "statements", "rows"), REQUESTS.values(), ids=REQUESTS)
def test_a_request_runs_so_many_statements_and_leaves_so_many_rows(
    counted: Counted, request_of: Callable[[Counted], tuple[str, str, Any]], statements: int, rows: int
) -> None:
    wanted = request_of(counted)
    before = counted.rows()
    with counted.statements.within() as ran:
        counted.send(*wanted)
    assert len(ran) <= statements, "\n".join(ran)
    assert counted.rows() - before <= rows


def test_pushes_that_share_a_transaction_share_the_account_the_counters_and_the_journal(counted: Counted) -> None:
    """Of 32 creates each costs the look for who has its names, the account and its address; the rest is of all."""
    begun, go_on = threading.Event(), threading.Event()

    def hold_up(_: Connection) -> None:
        begun.set()
        go_on.wait(30)

    busy = counted.store.submit(hold_up)
    begun.wait(30)
    now, context = datetime.now(UTC), WriteContext(actor="key:1 okta", source=Source.PUSH)
    names = [f"many{n}@example.com" for n in range(32)]
    emails = [(MultiValue(value=name, primary=True),) for name in names]
    drafts = [
        Draft(user_name=name, profile=Profile(emails=own), okta_id=f"00u{name}")
        for name, own in zip(names, emails, strict=True)
    ]
    with counted.statements.within() as ran:
        made = [counted.directory.create(draft, context, now) for draft in drafts]
        go_on.set()
        assert all(write.result(30).created for write in made)
    busy.result(30)
    assert len(ran) <= 3 * 32 + 5, "\n".join(ran)
    with counted.store.read() as conn:
        assert account.get(conn).visible == 4 + 32
        assert conn.exec_driver_sql("SELECT count(*) FROM journal WHERE verb = 'create'").scalar() == 4 + 32


@contextmanager
def swept(folder: Path, people: int) -> Iterator[tuple[World, Statements]]:
    folder.mkdir()
    with open_world(folder, people, url=sqlite_in(folder)) as w:
        w.first_run()
        assert w.reconcile().outcome == "in_step"
        opened = Store.open(DatabaseSettings(url=w.store.settings.url))
        statements = Statements(opened)
        w.store.close()
        w.store = opened
        w.configure()
        w.reconcile()
        yield w, statements
        opened.close()


def _sweep(folder: Path, people: int, changed: int) -> int:
    with swept(folder, people) as (w, statements):
        for person in w.people()[:changed]:
            w.change(person["login"], title="Changed")
        with statements.within() as ran:
            report = w.reconcile()
        assert report.counts.get("done", 0) == changed
    return len(ran)


def test_a_sweep_costs_no_statement_for_who_is_in_step(tmp_path: Path) -> None:
    few, many = _sweep(tmp_path / "few", 50, 0), _sweep(tmp_path / "many", 250, 0)
    assert many <= few <= 50


def _listed(folder: Path, people: int) -> tuple[int, int]:
    """Statements of the first listing of a remote OpsHelm, and of one that shows the same."""
    folder.mkdir()
    store = Store.open(DatabaseSettings(url=sqlite_in(folder)))
    statements = Statements(store)
    with sloppy_server() as server, remote_place(store, Remote(server.url, KEY), page_size=200) as place:
        for n in range(people):
            server.add(f"person{n}@example.com", externalId=f"00u{n}")
        with statements.within() as first:
            place.directory.refresh(lambda *_: None)
        with statements.within() as again:
            place.directory.refresh(lambda *_: None)
        with store.read() as conn:
            assert account.get(conn).visible == people
        place.remote.client.close()
    store.close()
    return len(first), len(again)


def test_a_remote_s_listing_costs_few_statements_for_the_new_and_none_for_who_is_as_before(tmp_path: Path) -> None:
    (few, few_again), (many, many_again) = _listed(tmp_path / "few", 100), _listed(tmp_path / "many", 200)
    assert many_again <= few_again <= 20
    assert many - few <= 32


def test_the_few_who_changed_on_each_page_of_a_remote_s_listing_are_written_together(tmp_path: Path) -> None:
    store = Store.open(DatabaseSettings(url=sqlite_in(tmp_path)))
    statements = Statements(store)
    with sloppy_server() as server, remote_place(store, Remote(server.url, KEY), page_size=10) as place:
        for n in range(200):
            server.add(f"person{n}@example.com", externalId=f"00u{n}")
        place.directory.refresh(lambda *_: None)
        for user in list(server.users.values())[::10]:
            user["title"] = "changed"
        with statements.within() as ran:
            place.directory.refresh(lambda *_: None)
        changed = sum(user.profile.title == "changed" for page in place.directory.everyone() for user in page)
        place.remote.client.close()
    store.close()
    assert changed == 20
    # One for each of twenty pages, were they written page by page.
    assert sum("FROM account" in one for one in ran) < 10


def test_a_fix_costs_so_many_statements(tmp_path: Path) -> None:
    few, many = _sweep(tmp_path / "few", 60, 10), _sweep(tmp_path / "many", 60, 50)
    assert (many - few) / 40 <= 2.2


#: Tables that stay small, an index of a few rows of a large one, and what is no table.
_SMALL = re.compile(
    r"SCAN ((account|alarms|allowances|attention|deactivations|lease|plans|push_failures)\b.*"
    r"|(holds|runs) USING INDEX ix_\w+_open|CONSTANT ROW|\d+-ROW .*|\(subquery.*)$"
)


def _read_whole(store: Store, ran: list[str]) -> set[str]:
    """What else these statements read from end to end, as SQLite tells it."""
    asked = [one for one in dict.fromkeys(ran) if one.startswith(("SELECT", "UPDATE", "DELETE"))]
    with store.read() as conn:
        plans = [
            conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {one}").fetchall() for one in asked if "sweep_rows" not in one
        ]
    steps = {step.detail for plan in plans for step in plan}
    return {step for step in steps if step.startswith("SCAN") and not _SMALL.match(step)}


@pytest.mark.parametrize("request_of", [one[0] for one in REQUESTS.values()], ids=REQUESTS)
def test_a_request_reads_no_table_from_end_to_end(
    counted: Counted, request_of: Callable[[Counted], tuple[str, str, Any]]
) -> None:
    wanted = request_of(counted)
    with counted.statements.within() as ran:
        counted.send(*wanted)
    assert not _read_whole(counted.store, ran)


def test_a_sweep_reads_the_accounts_from_end_to_end_and_a_look_at_one_person_nothing(tmp_path: Path) -> None:
    with swept(tmp_path / "some", 30) as (w, statements):
        changed = w.people()[0]["login"]
        w.change(changed, title="Changed")
        with statements.within() as sweep:
            assert w.reconcile().counts["done"] == 1
        w.change(changed, title="Changed again")
        with statements.within() as single:
            assert w.reconcile(changed).counts["done"] == 1
        assert _read_whole(w.store, sweep) == {"SCAN users"}
        assert not _read_whole(w.store, single)


def test_a_person_takes_so_many_bytes(counted: Counted) -> None:
    """In the database, with the index entries and the journal's row of their creation."""

    def size() -> int:
        with counted.store.read() as conn:
            pages, page, free = (
                conn.exec_driver_sql(f"PRAGMA {name}").scalar() or 0
                for name in ("page_count", "page_size", "freelist_count")
            )
        return int((pages - free) * page)

    before = size()
    for n in range(200):
        counted.send("POST", "/Users", okta_user(f"person{n}@example.com", externalId=f"00u{n:017d}"))
    assert (size() - before) / 200 <= 1700
