"""Nothing is shown or done without a sign-in, whatever a proxy or another site sends; and a sign-in ends when it should."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from agent.cli.dashboard import new_link
from agent.dashboard.signin import own_path
from agent.directory.port import WriteContext
from agent.directory.sql import SqlDirectory
from agent.model.codes import Source
from agent.settings import Settings
from agent.store import account, sessions
from agent.store.engine import Store
from agent.store.journal import Signature
from agent.store.sessions import DashboardRole, How
from support import place
from support.dashboard import HOST, Browser, app

FORWARDED = [
    {"X-Forwarded-For": "127.0.0.1"},
    {"Forwarded": "for=127.0.0.1"},
    {"X-Real-IP": "127.0.0.1"},
    {"Via": "1.1 x"},
]


def by(name: str = "operator root@host") -> Signature:
    return Signature(actor=name, source="cli", at=datetime.now(UTC))


def link(store: Store) -> str:
    return new_link(store, Settings(), by()).partition(":8766")[2]


def signed_in(browser: Browser) -> bool:
    return browser.get("/help").status_code == 200


def test_every_page_leads_to_the_sign_in_and_back(store: Store) -> None:
    answer = Browser(app(store), store).get("/?a=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2F%3Fa%3D1")


def test_no_route_but_metrics_health_files_and_the_sign_in_answers_a_stranger(store: Store) -> None:
    pages = app(store)
    browser = Browser(pages, store, peer="203.0.113.9")
    for route in pages.routes:
        path = re.sub(r"\{[^}]*\}", "1", route.path)
        if path in ("/healthz", "/readyz", "/static") or path.startswith("/sign-in"):
            continue
        for method in ("GET", "POST"):
            answer = browser.client.request(method, path, headers={"origin": HOST})
            assert answer.status_code in (303, 401, 405), (method, path, answer.status_code)


def test_a_link_signs_in_once_as_whoever_made_it(store: Store) -> None:
    browser, path = Browser(app(store), store), link(store)
    answer = browser.get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "operator root@host" in browser.text("/help")
    assert Browser(app(store), store).get(path).status_code == 403


def test_a_link_ends_by_itself(store: Store) -> None:
    secret = sessions.new_secret()
    old = Signature(actor="operator root@host", source="cli", at=datetime.now(UTC) - timedelta(minutes=11))
    store.write(lambda conn: sessions.make_link(conn, secret, old))
    assert Browser(app(store), store).get(f"/sign-in/link/{secret}").status_code == 403


@pytest.mark.parametrize("headers", FORWARDED)
def test_a_link_is_for_this_machine_whatever_a_proxy_says(store: Store, headers: dict[str, str]) -> None:
    path = link(store)
    assert Browser(app(store), store, headers=headers).get(path).status_code == 403
    assert Browser(app(store), store, peer="203.0.113.9").get(path).status_code == 403
    trusted = Settings(server={"trusted_proxies": ["127.0.0.1"]})
    assert Browser(app(store, trusted), store).get(path).status_code == 403
    assert Browser(app(store), store).get(path).status_code == 303, "it was not used up"


@pytest.mark.parametrize("headers", FORWARDED)
def test_metrics_through_a_proxy_need_a_key(store: Store, headers: dict[str, str]) -> None:
    assert Browser(app(store), store).get("/metrics").status_code == 200
    assert Browser(app(store), store, headers=headers).get("/metrics").status_code == 401


def test_tries_are_few_for_each_address(store: Store) -> None:
    pages, good = app(store), link(store)
    guesser = Browser(pages, store)
    answers = [guesser.get(f"/sign-in/link/{n}").status_code for n in range(11)]
    assert answers == [403] * 10 + [429]
    assert guesser.get(good).status_code == 429
    assert guesser.get("/sign-in/link/x").headers["retry-after"]


def test_a_form_from_another_site_or_session_does_nothing(store: Store) -> None:
    browser = Browser(app(store), store).sign_in()
    token = re.search(r'name="token" value="([0-9a-f]+)"', browser.text("/help"))
    assert token
    good = {"token": token[1], "reason": "move"}
    for origin in ({}, {"origin": "null"}, {"origin": "http://evil.example"}, {"origin": "https://testserver"}):
        assert browser.client.post("/pause", data=good, headers=origin).status_code == 403
    for wrong in ({"reason": "move"}, {**good, "token": "0" * 64}):
        assert browser.client.post("/pause", data=wrong, headers={"origin": HOST}).status_code == 403
    assert not paused(store)
    assert browser.client.post("/pause", data=good, headers={"origin": HOST}).status_code == 303
    assert paused(store)


def paused(store: Store) -> bool:
    with store.read() as conn:
        return account.get(conn).paused


def test_behind_a_proxy_the_public_address_is_the_origin(store: Store) -> None:
    settings = Settings(dashboard={"public_url": "https://agent.example.com"})
    browser = Browser(app(store, settings), store, peer="10.0.0.1").sign_in()
    token = re.search(r'name="token" value="([0-9a-f]+)"', browser.text("/help"))
    assert token
    form = {"token": token[1], "reason": "move"}
    assert browser.client.post("/pause", data=form, headers={"origin": "https://agent.example.com"}).status_code == 303


def test_a_viewer_looks_and_does_nothing(store: Store) -> None:
    browser = Browser(app(store), store).sign_in(DashboardRole.VIEWER)
    assert "Pause" not in browser.text("/")
    assert browser.send("/pause", reason="x").status_code == 403
    assert not paused(store)


def test_a_decision_is_journalled_under_the_signed_in_name(store: Store) -> None:
    Browser(app(store), store).sign_in(DashboardRole.OPERATOR, "ann@example.com").send("/pause", reason="the move")
    with store.read() as conn:
        row = account.get(conn)
    assert (row.paused_by, row.paused_reason) == ("ann@example.com", "the move")


def test_signing_out_ends_the_session_on_the_server(store: Store) -> None:
    browser = Browser(app(store), store).sign_in()
    secret = browser.client.cookies["opshelm_session"]
    browser.send("/sign-out")
    browser.client.cookies.set("opshelm_session", secret)
    assert not signed_in(browser)


def test_a_session_ends_by_its_time(store: Store) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    assert not signed_in(Browser(app(store), store).sign_in(expires=past))


def test_a_role_that_the_settings_no_longer_give_ends_the_session(store: Store) -> None:
    def settings(**groups: list[str]) -> Settings:
        return Settings(dashboard={"client_id": "0oa9", **groups})

    by_okta = {"how": How.OKTA, "okta_id": "00u1", "claims": ("Identity", "Everyone")}
    browser = Browser(app(store, settings(operators=["Identity"])), store).sign_in(DashboardRole.OPERATOR, **by_okta)
    assert signed_in(browser)
    for now in (settings(admins=["Identity"]), settings(viewers=["Identity"]), settings(admins=["Others"])):
        later = Browser(app(store, now), store)
        later.client.cookies = browser.client.cookies
        assert not signed_in(later)


def test_another_role_at_the_next_sign_in_ends_the_sessions_with_the_old_one(store: Store) -> None:
    pages = app(store, Settings(dashboard={"client_id": "0oa9", "admins": ["a"], "viewers": ["v"]}))
    old = Browser(pages, store).sign_in(DashboardRole.ADMIN, how=How.OKTA, okta_id="00u1", claims=("a",))
    other = Browser(pages, store).sign_in(DashboardRole.ADMIN, how=How.OKTA, okta_id="00u2", claims=("a",))
    new = Browser(pages, store).sign_in(DashboardRole.VIEWER, how=How.OKTA, okta_id="00u1", claims=("v",))
    assert [signed_in(browser) for browser in (old, other, new)] == [False, True, True]


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "", "/a\nb"]
)
def test_a_sign_in_goes_on_within_this_site_alone(path: str) -> None:
    assert own_path(path) == "/"


def test_pages_run_no_script_and_no_style_but_their_own(store: Store) -> None:
    browser = Browser(app(store), store)
    for path in ("/sign-in", "/healthz", "/nowhere", "/static/dashboard.js"):
        policy = browser.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    browser.sign_in()
    for path in ("/", "/help", "/sign-in"):
        text = browser.text(path)
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", text), path


def test_a_person_whose_account_was_deactivated_is_out_at_once(store: Store) -> None:
    directory = SqlDirectory(store, Settings())
    context, now = WriteContext(actor="key:1 okta", source=Source.PUSH), datetime.now(UTC)
    draft = place.draft("ann@example.com", okta="00u1")
    user = directory.create(draft, context, now).result().user
    settings = Settings(dashboard={"client_id": "0oa9", "admins": ["a"]})
    browser = Browser(app(store, settings), store).sign_in(how=How.OKTA, okta_id="00u1", claims=("a",))
    assert signed_in(browser)
    directory.operator(actor="operator x", reason="left", now=now).deactivate(user.id)
    assert not signed_in(browser)
