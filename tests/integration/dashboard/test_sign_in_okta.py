"""Signing in with Okta, and with the password for emergencies: who gets in, as what, and who doesn't."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from agent.dashboard.oidc import DONE_PATH
from agent.settings import Settings
from agent.simulator import SimulatedOrg
from agent.store import seal
from agent.store.engine import Store
from support.dashboard import HOST, Browser, app, plain

CLIENT, SECRET, PASSWORD = "0oaDashboard", "client-s3cret", "correct horse battery"
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


@pytest.fixture(scope="module")
def shared_org() -> Iterator[SimulatedOrg]:
    with SimulatedOrg.start(users=6) as org:
        body = {"client_id": CLIENT, "client_secret": SECRET, "redirect_uris": [HOST + DONE_PATH]}
        org.call("PUT", "/simulator/oidc", body)
        yield org


@pytest.fixture
def org(shared_org: SimulatedOrg) -> SimulatedOrg:
    return shared_org


def settings(org: SimulatedOrg, **more: Any) -> Settings:
    dashboard = {"issuer": org.url, "client_id": CLIENT, "client_secret": SecretStr(SECRET), "admins": ("Identity",)}
    return Settings(dashboard={**dashboard, **more})


def member(org: SimulatedOrg, group: str, person: int = 0) -> dict[str, Any]:
    """A person of that group, who sits before the browser from now on."""
    found = org.state()[person]
    known = org.api("GET", f"/groups?q={group}")
    made = known[0] if known else org.api("POST", "/groups", {"profile": {"name": group}})
    org.api("PUT", f"/groups/{made['id']}/users/{found['okta_id']}")
    org.call("PUT", "/simulator/oidc", {"person": found["okta_id"]})
    return found


def to_okta(browser: Browser, path: str = "/") -> str:
    """Where Okta sends the browser back to."""
    begun = browser.get(f"/sign-in/okta?next={path}")
    assert begun.status_code == 303, plain(begun.text)
    back = httpx.get(begun.headers["location"])
    assert back.status_code == 302, back.text
    return back.headers["location"].removeprefix(HOST)


def test_a_member_of_a_group_signs_in_with_its_role_and_goes_on(store: Store, org: SimulatedOrg) -> None:
    person = member(org, "Identity")
    browser = Browser(app(store, settings(org)), store)
    done = browser.get(to_okta(browser, "/holds"))
    assert (done.status_code, done.headers["location"]) == (303, "/holds"), plain(done.text)
    assert f"{person['login']} (admin)" in plain(browser.text("/help"))
    entries = [one for one in seal.export(store.read) if one["verb"] == "dashboard sign-in"]
    assert [(one["actor"], one["reason"]) for one in entries] == [(person["login"], "admin, by okta")]


def test_over_plain_http_from_elsewhere_nobody_signs_in_with_okta(store: Store, org: SimulatedOrg) -> None:
    member(org, "Identity")
    for more in ({}, {"public_url": "https://agent.example.com"}):
        pages = app(store, settings(org, **more))
        far = Browser(pages, store, peer="203.0.113.9")
        assert far.get("/sign-in/okta").status_code == 403
        assert far.get(f"{DONE_PATH}?code=c&state=s").status_code == 403
        assert "location" not in far.get("/sign-in/okta").headers
    # Behind a proxy with TLS it is begun.
    begun = Browser(pages, store, peer="203.0.113.9", headers={"host": "agent.example.com"}).get("/sign-in/okta")
    assert begun.status_code == 303
    assert "secure" in begun.headers["set-cookie"].lower()


def test_the_request_to_okta_has_pkce_a_state_and_a_nonce(store: Store, org: SimulatedOrg) -> None:
    begun = Browser(app(store, settings(org)), store).get("/sign-in/okta")
    query = parse_qs(urlsplit(begun.headers["location"]).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["redirect_uri"] == [HOST + DONE_PATH]
    assert all(len(query[name][0]) >= 43 for name in ("state", "nonce", "code_challenge"))
    assert SECRET not in begun.headers["location"]


def test_whoever_has_no_role_is_not_let_in(store: Store, org: SimulatedOrg) -> None:
    member(org, "Cooks", 1)
    browser = Browser(app(store, settings(org)), store)
    assert browser.get(to_okta(browser)).status_code == 403
    assert browser.get("/help").status_code == 303


def test_a_way_back_is_good_once_and_in_the_browser_that_began_alone(store: Store, org: SimulatedOrg) -> None:
    member(org, "Identity", 2)
    pages = app(store, settings(org))
    victim, thief = Browser(pages, store), Browser(pages, store)
    back = to_okta(thief)
    assert victim.get(back).status_code == 403, "a sign-in that another browser has begun"
    assert thief.get(back).status_code == 303
    assert thief.get(back).status_code == 403, "a second time"
    assert Browser(pages, store).get(f"{DONE_PATH}?code=x&state=").status_code == 403


def test_what_okta_refuses_is_refused(store: Store, org: SimulatedOrg) -> None:
    person = member(org, "Identity", 3)
    org.api("POST", f"/users/{person['okta_id']}/lifecycle/suspend")
    browser = Browser(app(store, settings(org)), store)
    assert browser.get(to_okta(browser)).status_code == 403
    org.api("POST", f"/users/{person['okta_id']}/lifecycle/unsuspend")


def test_a_wrong_client_secret_signs_nobody_in_and_names_no_secret(
    store: Store, org: SimulatedOrg, capsys: pytest.CaptureFixture[str]
) -> None:
    member(org, "Identity", 4)
    browser = Browser(app(store, settings(org, client_secret=SecretStr("wr0ng"))), store)
    back = to_okta(browser)
    assert browser.get(back).status_code == 403
    said = capsys.readouterr()
    code = parse_qs(urlsplit(back).query)["code"][0]
    assert not {"wr0ng", code} & set((said.out + said.err).replace('"', " ").split())


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": "another"},
        {"aud": "0oaOther"},
        {"iss": "https://evil.example"},
        {"exp": 1},
        {"key": True},
        {"alg": "none"},
    ],
)
def test_a_token_that_is_not_for_this_sign_in_is_not_believed(
    store: Store, org: SimulatedOrg, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    member(org, "Identity", 5)
    browser = Browser(app(store, settings(org)), store)
    back = to_okta(browser)
    sign = jwt.encode

    def other(claims: dict[str, Any], key: Any, algorithm: str, headers: dict[str, Any]) -> str:
        changed = {**claims, **{name: value for name, value in change.items() if name in claims}}
        if change.get("key"):
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if change.get("alg"):
            return sign(changed, None, algorithm="none", headers=headers)
        return sign(changed, key, algorithm=algorithm, headers=headers)

    monkeypatch.setattr(jwt, "encode", other)
    assert browser.get(back).status_code == 403


def test_okta_out_of_reach_is_said_and_costs_no_try(store: Store) -> None:
    dead = Settings(dashboard={"issuer": "http://127.0.0.1:9", "client_id": CLIENT, "admins": ("x",)})
    browser = Browser(app(store, dead), store)
    assert [browser.get("/sign-in/okta").status_code for _ in range(11)] == [503] * 11


def password(browser: Browser, name: str = "ann", typed: str = PASSWORD, **headers: str) -> Any:
    form = {"name": name, "password": typed}
    return browser.client.post("/sign-in/password?next=/runs", data=form, headers={"origin": HOST, **headers})


def with_password(**more: Any) -> Settings:
    return Settings(dashboard={"password_hash": SecretStr(HASH), **more})


def test_the_password_signs_in_under_the_name_that_was_said(store: Store) -> None:
    browser = Browser(app(store, with_password()), store)
    assert "The password for emergencies" in plain(browser.text("/sign-in"))
    assert password(browser, typed="wrong").status_code == 403
    assert password(browser, name="<b>").status_code == 400
    assert password(browser).headers["location"] == "/runs"
    assert "ann (password) (admin)" in plain(browser.text("/help"))
    later = Browser(app(store), store)
    later.client.cookies = browser.client.cookies
    assert later.get("/help").status_code == 303, "the settings have no password any more"


def test_a_password_is_guessed_ten_times_at_most(store: Store) -> None:
    browser = Browser(app(store, with_password()), store)
    assert [password(browser, typed=str(n)).status_code for n in range(10)] == [403] * 10
    assert password(browser).status_code == 429, "the right one too"


def test_a_password_goes_neither_over_a_network_in_the_clear_nor_from_another_site(store: Store) -> None:
    assert password(Browser(app(store, with_password()), store, peer="203.0.113.9")).status_code == 403
    assert password(Browser(app(store, with_password()), store), origin="http://evil.example").status_code == 403
    behind = with_password(public_url="https://agent.example.com")
    browser = Browser(app(store, behind), store, peer="10.0.0.1")
    form = {"name": "ann", "password": PASSWORD}
    names = {"host": "agent.example.com", "origin": "https://agent.example.com"}
    answer = browser.client.post("/sign-in/password", data=form, headers=names)
    assert answer.status_code == 303
    assert "secure" in answer.headers["set-cookie"].lower()
