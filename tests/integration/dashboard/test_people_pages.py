"""The pages of people, over real requests: whom they show, what an operator does there, and what nobody else may."""

import csv
import io
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from agent.model.users import Name, Role
from agent.settings import DatabaseSettings, Settings
from agent.store.engine import Store
from agent.store.sessions import DashboardRole
from agent.store.tables import journal
from support.dashboard import HOST, Browser, app, plain
from support.place import ROOMY, Place, okta_id, remote_place
from support.remotes import ours
from support.statements import Statements

HOSTILE = '<script>alert(1)</script>"@example.com'


@pytest.fixture
def store(sqlite_store: Store) -> Store:
    """What the pages ask of either database is tested where it is asked: tests/integration/store."""
    return sqlite_store


@pytest.fixture
def place(store: Store) -> Place:
    made = Place(store, Settings(guard=ROOMY))
    made.now = datetime.now(UTC)
    return made


def browser(place: Place, role: DashboardRole = DashboardRole.OPERATOR) -> Browser:
    pages = app(place.store, place.settings, directory=place.directory)
    return Browser(pages, place.store).sign_in(role, name="ann@example.com")


def last_row(place: Place) -> Any:
    with place.store.read() as conn:
        return conn.execute(select(journal).order_by(journal.c.id.desc())).first()


def test_a_search_and_a_filter_show_who_fits(place: Place) -> None:
    place.managed(2)
    place.local("owner@example.com", role=Role.OWNER)
    pages = browser(place)
    everybody = plain(pages.text("/people"))
    assert all(name in everybody for name in ("person1@example.com", "person2@example.com", "owner@example.com"))
    assert "person1@example.com" not in pages.text("/people?which=owners")
    assert "owner@example.com" not in pages.text("/people?search=PERSON1")
    assert "Nobody fits “nobody”" in pages.text("/people?search=nobody")


def test_what_postgresql_does_not_take_finds_nobody(postgres_url: str) -> None:
    with closing(Store.open(DatabaseSettings(url=postgres_url))) as store:
        pages = Browser(app(store), store).sign_in()
        paths = (
            "/people?search=ann%00",
            "/journal?person=%00&actor=%00",
            "/person?id=%00",
            f"/runs/{10**30}",
            "/runs?trigger=%00",
        )
        assert {pages.get(path).status_code for path in paths} == {200, 404}
        assert pages.send("/keys/create", "/keys", name="okta\0", scope="scim").status_code == 200


def test_a_long_list_goes_on_on_the_next_page_and_is_whole_as_csv(place: Place) -> None:
    place.managed(55)
    pages = browser(place)
    first = pages.text("/people")
    assert first.count('<th scope="row">') == 50
    following = first.partition('rel="next"')[0].rpartition('href="')[2].rpartition('"')[0].replace("&amp;", "&")
    assert pages.text(following).count('<th scope="row">') == 5
    rows = list(csv.DictReader(io.StringIO(pages.get("/people.csv").text)))
    assert len(rows) == len({row["login"] for row in rows}) == 55
    assert len(pages.get("/people.json").json()["people"]) == 55


def test_names_that_are_markup_or_formulas_do_nothing(place: Place) -> None:
    place = place.with_settings(receiver={"username_is_email": False})
    place.post(HOSTILE, name=Name(given_name="=cmd()", family_name="<b>"), display_name="=cmd()|' /C calc'!A0")
    pages = browser(place)
    user = place.directory.find(user_name_key=HOSTILE.casefold())
    assert user is not None
    for path in ("/people", f"/person?id={user.id}", "/journal"):
        text = pages.text(path)
        assert "<script>alert" not in text, path
        assert "&lt;script&gt;alert(1)" in text, path
    row = next(csv.DictReader(io.StringIO(pages.get("/people.csv").text)))
    assert row["name"].startswith("'=cmd()")


def test_a_person_is_blocked_and_unblocked_under_the_signed_in_name(place: Place) -> None:
    (user,) = place.managed(1)
    pages, here = browser(place), f"/person?id={user.id}"
    assert pages.send("/person/block", here, id=user.id).status_code == 409
    assert pages.send("/person/block", here, id=user.id, reason="laptop stolen", until="0s").status_code == 409
    answer = pages.send("/person/block", here, id=user.id, reason="laptop stolen", until="8h")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{here}&done=block")
    blocked = place.directory.get(user.id)
    assert blocked is not None
    assert not blocked.active
    row = last_row(place)
    assert (row.actor, row.source, row.reason) == ("ann@example.com", "dashboard", "laptop stolen")
    shown = plain(pages.text(f"{here}&done=block"))
    assert "Deactivated and blocked" in shown
    assert "Unblock and give access back" in shown
    assert user.user_name in pages.text("/people?which=blocked")
    pages.send("/person/unblock", here, id=user.id, reason="found")
    again = place.directory.get(user.id)
    assert again is not None
    assert again.active
    assert "Unblock" not in pages.text(here)
    assert "laptop stolen" in pages.text(here)


def test_an_account_is_linked_and_unlinked(place: Place) -> None:
    user = place.local("local@example.com")
    pages, here = browser(place), f"/person?id={user.id}"
    pages.send("/person/link", here, id=user.id, okta_id=okta_id(5))
    linked = place.directory.get(user.id)
    assert linked is not None
    assert (linked.okta_id, linked.managed) == (okta_id(5), True)
    pages.send("/person/unlink", here, id=user.id, reason="the wrong one")
    unlinked = place.directory.get(user.id)
    assert unlinked is not None
    assert (unlinked.okta_id, unlinked.managed) == (None, False)


def test_a_role_is_an_admins_to_give(place: Place) -> None:
    user = place.local("local@example.com")
    here = f"/person?id={user.id}"
    operator = browser(place)
    assert "Make an owner" not in operator.text(here)
    assert operator.send("/person/role", here, id=user.id, role="owner").status_code == 403
    admin = browser(place, DashboardRole.ADMIN)
    assert "Make an owner" in admin.text(here)
    assert admin.send("/person/role", here, id=user.id, role="owner").status_code == 303
    changed = place.directory.get(user.id)
    assert changed is not None
    assert changed.role is Role.OWNER


@pytest.mark.parametrize("act", ["block", "unblock", "link", "unlink", "role"])
def test_a_viewer_a_foreign_form_and_one_without_token_change_nothing(place: Place, act: str) -> None:
    (user,) = place.managed(1)
    fields = {"id": user.id, "reason": "r", "okta_id": okta_id(9), "role": "owner"}
    here = f"/person?id={user.id}"
    viewer = browser(place, DashboardRole.VIEWER)
    assert f"/person/{act}" not in viewer.text(here)
    assert viewer.send(f"/person/{act}", "/help", **fields).status_code == 403
    admin = browser(place, DashboardRole.ADMIN)
    assert admin.client.post(f"/person/{act}", data=fields, headers={"origin": HOST}).status_code == 403
    assert (
        admin.client.post(f"/person/{act}", data=fields, headers={"origin": "https://evil.example"}).status_code == 403
    )
    assert place.directory.get(user.id) == user


def test_who_is_not_there_is_not_found(place: Place) -> None:
    pages = browser(place)
    assert pages.get("/person?id=nobody").status_code == 404
    assert pages.get("/person").status_code == 404
    assert pages.send("/person/block", id="nobody", reason="r").status_code == 404


def test_without_okta_a_person_is_shown_all_the_same(place: Place) -> None:
    (user,) = place.managed(1)
    pages = browser(place)
    assert "a receiver alone" in pages.text(f"/person?id={user.id}")
    assert "there is no Okta to ask" in pages.text(f"/person/steps?id={user.id}")


@pytest.mark.parametrize("path", ["/people", "/people?search=person", "/people?which=held", "/person?id={id}"])
def test_a_page_asks_as_often_however_many_people_there_are(sqlite_store: Store, path: str) -> None:
    statements = Statements(sqlite_store)
    place = Place(sqlite_store, Settings(guard=ROOMY))
    (user,) = place.managed(1)
    pages, path = browser(place), path.format(id=user.id)
    with statements.within() as few:
        pages.text(path)
    place.managed(60)
    with statements.within() as many:
        pages.text(path)
    assert 0 < len(many) <= len(few) <= 12


def test_accounts_of_a_remote_are_listed_and_blocked_too(sqlite_store: Store, tmp_path: Path) -> None:
    with ours(tmp_path / "remote") as remote, remote_place(sqlite_store, remote, ROOMY) as place:
        made = place.local("far@example.com")
        list(place.directory.everyone())
        pages = browser(place, DashboardRole.ADMIN)
        assert "far@example.com" in plain(pages.text("/people?search=far"))
        here = f"/person?id={made.id}"
        assert "far@example.com" in pages.text(here)
        assert pages.send("/person/link", here, id=made.id, okta_id=okta_id(3)).status_code == 303
        assert pages.send("/person/block", here, id=made.id, reason="stolen").status_code == 303
        blocked = place.directory.get(made.id)
        assert blocked is not None
        assert not blocked.active
        assert "far@example.com" in plain(pages.text("/people?which=blocked"))
        refused = pages.send("/person/role", here, id=made.id, role="owner")
        assert (refused.status_code, "reached over SCIM" in plain(refused.text)) == (409, True)
