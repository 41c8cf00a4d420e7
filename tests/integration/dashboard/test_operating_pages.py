"""The pages Keys, Journal, Failures, Settings and Check, over real requests: what they show, and what is done there."""

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from agent.model.check import Check, ok
from agent.model.errors import NoDatabase
from agent.settings import Settings
from agent.store import attention, events, keys, sessions
from agent.store.engine import Store
from agent.store.events import PushFailure
from agent.store.journal import Signature
from agent.store.sessions import DashboardRole, How, Session
from agent.store.tables import journal
from support.dashboard import Browser, Ticking, app, plain
from support.place import ROOMY, Place, okta_id
from support.receiver import running
from support.statements import Statements

NAME = "ann@example.com"


@pytest.fixture
def store(sqlite_store: Store) -> Store:
    """What the pages ask of either database is tested where it is asked: tests/integration/store."""
    return sqlite_store


def browser(store: Store, role: DashboardRole = DashboardRole.ADMIN, daemon: Any = None, **parts: Any) -> Browser:
    return Browser(app(store, daemon=daemon, **parts), store).sign_in(role, name=NAME)


def newest(store: Store) -> Any:
    with store.read() as conn:
        return conn.execute(select(journal).order_by(journal.c.id.desc())).first()


# Keys


def works(store: Store, secret: str) -> bool:
    with store.read() as conn:
        key = keys.find(conn, keys.digest(secret))
    return key is not None and key.valid(datetime.now(UTC))


def made(answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    found = re.search(r'<code id="secret">(oha_[^<]+)</code>', answer.text)
    assert found
    return found[1]


def test_a_key_is_made_and_shown_once(store: Store) -> None:
    pages = browser(store)
    secret = made(pages.send("/keys/create", "/keys", name="okta", lasts="365d"))
    assert works(store, secret)
    shown = pages.text("/keys")
    assert secret not in shown
    assert f"{secret[:10]}…{secret[-4:]}" in shown
    assert NAME in plain(shown)
    row = newest(store)
    assert (row.verb, row.actor, row.source) == ("keys create", NAME, "dashboard")
    assert secret not in str(row)
    again = pages.send("/keys/create", "/keys", name="okta")
    assert (again.status_code, "live key" in again.text) == (409, True)


def test_a_key_is_rolled_with_a_grace_period(store: Store) -> None:
    pages = browser(store)
    old = made(pages.send("/keys/create", "/keys", name="okta"))
    new = made(pages.send("/keys/roll", "/keys", name="okta", grace="7d"))
    assert (works(store, old), works(store, new)) == (True, True)
    shown = plain(pages.text("/keys"))
    assert "in its grace" in shown
    assert "in 6 d" in shown or "in 7 d" in shown


def test_the_last_key_is_revoked_only_when_its_name_is_typed(store: Store) -> None:
    pages = browser(store)
    secret = made(pages.send("/keys/create", "/keys", name="okta"))
    refused = pages.send("/keys/revoke", "/keys", name="okta")
    assert (refused.status_code, "the last key that Okta can push with" in plain(refused.text)) == (409, True)
    assert works(store, secret)
    assert pages.send("/keys/revoke", "/keys", name="okta", typed="okta").status_code == 303
    assert not works(store, secret)


@pytest.mark.parametrize("act", ["create", "roll", "revoke"])
def test_keys_are_an_admins(store: Store, act: str) -> None:
    pages = browser(store, DashboardRole.OPERATOR)
    assert f"/keys/{act}" not in pages.text("/keys")
    assert pages.send(f"/keys/{act}", "/help", name="okta", grace="1h", typed="okta").status_code == 403
    with store.read() as conn:
        assert keys.list_all(conn) == []


# Journal


@pytest.fixture
def place(store: Store) -> Place:
    return Place(store, Settings(guard=ROOMY))


def heads(text: str) -> list[str]:
    """What was done, row by row."""
    return [plain(row) for row in re.findall(r'<th scope="row">(.*?)</th>', text)]


def test_the_journal_is_shown_by_person_actor_verb_kind_and_time(place: Place) -> None:
    (user,) = place.managed(1)
    place.acts().protect(user.id, protected=True)
    place.refused(lambda: place.change(user, active=False))
    pages = browser(place.store, DashboardRole.VIEWER, directory=place.directory)
    assert heads(pages.text(f"/journal?person={user.user_name}")) == ["deactivate ⊘ refused", "protect", "create"]
    assert heads(pages.text(f"/journal?person={user.id}&verb=protect")) == ["protect"]
    assert heads(pages.text("/journal?actor=operator")) == ["protect"]
    assert heads(pages.text("/journal?kind=refused")) == ["deactivate ⊘ refused"]
    assert heads(pages.text("/journal?since=2026-11-25T00:00&verb=create")) == []
    assert pages.get("/journal.csv?since=yesterday").status_code == 409, "not all of it, as if nothing was asked"
    assert heads(pages.text("/journal?until=2026-11-25T00:00&verb=create")) == ["create"]
    assert pages.get("/journal?person=nobody").status_code == 404
    rows = pages.get("/journal.json?verb=protect").json()["journal"]
    assert [(row["verb"], row["login"]) for row in rows] == [("protect", user.user_name)]


def test_the_journal_is_followed_only_where_that_is_asked_for(place: Place) -> None:
    pages = browser(place.store, directory=place.directory)
    assert "hx-trigger" not in pages.text("/journal?actor=x")
    followed = pages.text("/journal?actor=x&follow=1")
    assert 'hx-get="/journal?person=&amp;actor=x' in followed
    assert 'hx-trigger="every 2s, seen"' in followed


# Failures


@pytest.fixture
def failed(store: Store) -> Store:
    for number, reason in ((1, "409 of person 1"), (2, "409 of person 2"), (3, "=cmd()<script>")):
        one = PushFailure(okta_id=okta_id(number), event_type="x", reason=reason, at=datetime.now(UTC))
        store.write(lambda conn, one=one: events.failed(conn, [one]))
    return store


def waiting(store: Store) -> set[str | None]:
    with store.read() as conn:
        return {row.okta_id for row in attention.of(conn, [attention.EVENT])}


def group(pages: Browser, cause: str) -> str:
    found = re.search(rf'/failures\?group=(\w+)#people">{re.escape(cause)}<', pages.text("/failures"))
    assert found
    return found[1]


def test_failures_are_tried_again_one_by_one_by_group_or_all(failed: Store) -> None:
    pages = browser(failed, DashboardRole.OPERATOR)
    both = group(pages, "… of person …")
    assert "2" in plain(pages.text(f"/failures?group={both}"))
    here = f"/failures?group={both}"
    assert pages.send("/failures/retry", here, group=both, who="chosen").status_code == 409
    pages.send("/failures/retry", here, group=both, who="chosen", person=okta_id(2))
    assert waiting(failed) == {okta_id(2)}
    pages.send("/failures/retry", here, group=both)
    assert waiting(failed) == {okta_id(1), okta_id(2)}
    answer = pages.send("/failures/retry", "/failures")
    assert waiting(failed) == {okta_id(1), okta_id(2), okta_id(3)}
    assert "3 people are looked at again" in plain(pages.text(answer.headers["location"]))
    row = newest(failed)
    assert (row.verb, row.actor, row.source) == ("failures retry", NAME, "dashboard")


def test_what_okta_says_does_nothing_on_a_page_or_in_a_spreadsheet(failed: Store) -> None:
    pages = browser(failed)
    assert "<script>" not in pages.text("/failures").partition("<main")[2]
    assert "'=cmd()" in pages.get("/failures.csv").text


def test_a_viewer_asks_for_nothing(failed: Store) -> None:
    pages = browser(failed, DashboardRole.VIEWER)
    assert "/failures/retry" not in pages.text("/failures")
    assert pages.send("/failures/retry", "/help").status_code == 403
    assert waiting(failed) == set()


def test_where_nothing_failed_a_page_says_so(sqlite_store: Store) -> None:
    assert "Nothing has failed that isn't repaired." in plain(browser(sqlite_store).text("/failures"))


# Settings and check


def test_settings_are_masked_and_say_where_they_come_from(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (("ORG_URL", "https://x.okta.com"), ("APP_ID", "0oa1"), ("API_TOKEN", "00secret-token")):
        monkeypatch.setenv(f"OPSHELM_OKTA__{name}", value)
    monkeypatch.setenv("OPSHELM_DATABASE__URL", "postgresql://agent:pass-word@db/agent")
    pages = browser(sqlite_store, DashboardRole.VIEWER)
    for path in ("/settings", "/settings.csv", "/settings.json"):
        text = pages.get(path).text
        assert "00secret-token" not in text
        assert "pass-word" not in text
    shown = plain(pages.text("/settings?origin=set"))
    assert "okta.api_token ******** environment" in shown
    assert "guard.push_cap" not in shown
    assert "guard.push_cap" in pages.text("/settings?search=PUSH_")


class Checking(Ticking):
    """Its second line comes when somebody lets it."""

    def __init__(self, *, breaks: Exception | None = None) -> None:
        super().__init__()
        self.go, self._breaks = threading.Event(), breaks

    def check(self, by: Signature) -> Iterator[Check]:
        yield ok("settings", f"asked by {by.actor}")
        assert self.go.wait(30)
        if self._breaks is not None:
            raise self._breaks
        yield ok("database", "<b>there</b>")


def test_each_line_of_a_check_is_there_before_the_next_one(sqlite_store: Store) -> None:
    daemon = Checking()
    secret, now = sessions.new_secret(), datetime.now(UTC)
    session = Session(
        how=How.LINK, name=NAME, role=DashboardRole.OPERATOR, created=now, expires=now + timedelta(hours=1)
    )
    sqlite_store.write(lambda conn: sessions.start(conn, secret, session))
    cookies = {"opshelm_session": secret}
    with (
        running(app(sqlite_store, daemon=daemon)) as url,
        httpx.Client(base_url=url, cookies=cookies, timeout=30) as client,
    ):
        token = re.search(r'name="token" value="([0-9a-f]+)"', client.get("/check").text)
        assert token
        with client.stream("POST", "/check", data={"token": token[1]}, headers={"origin": url}) as answer:
            text = ""
            for piece in answer.iter_text():
                text += piece
                if f"asked by {NAME}" in text and not daemon.go.is_set():
                    assert "database" not in text.partition("<tbody>")[2]
                    daemon.go.set()
    assert "&lt;b&gt;there&lt;/b&gt;" in text
    assert "That was all." in text


@pytest.mark.parametrize("error", [NoDatabase("It is gone."), ZeroDivisionError()])
def test_a_check_that_breaks_says_so_in_its_page(sqlite_store: Store, error: Exception) -> None:
    daemon = Checking(breaks=error)
    daemon.go.set()
    shown = plain(browser(sqlite_store, daemon=daemon).send("/check", "/check").text)
    assert ("It is gone." in shown) or ("the log has it" in shown)
    assert "✗ fail" in shown


def test_a_viewer_runs_no_check(sqlite_store: Store) -> None:
    pages = browser(sqlite_store, DashboardRole.VIEWER)
    assert "Check now" not in pages.text("/check")
    assert pages.send("/check", "/help").status_code == 403


@pytest.mark.parametrize("path", ["/failures", "/failures?group=x", "/journal", "/keys", "/imports"])
def test_a_page_asks_as_often_however_much_there_is(sqlite_store: Store, path: str) -> None:
    statements = Statements(sqlite_store)
    place = Place(sqlite_store, Settings(guard=ROOMY))
    pages = browser(sqlite_store, directory=place.directory)
    with statements.within() as few:
        pages.text(path)
    for number, user in enumerate(place.managed(30)):
        one = PushFailure(okta_id=user.okta_id or "", event_type="x", reason=f"no {'x' * number}", at=place.now)
        sqlite_store.write(lambda conn, one=one: events.failed(conn, [one]))
    with statements.within() as many:
        pages.text(path)
    assert 0 < len(many) <= len(few) <= 14
