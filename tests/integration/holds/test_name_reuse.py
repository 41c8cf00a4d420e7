"""A leaver's address goes to a new hire: who works in whose account, and what one command makes of it.

OLD has left, NEW has OLD's userName. Okta finds OLD's account by that name, links NEW to it and pushes: with NEW's own
externalId (``own``), or echoing the account's (``echo``).
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent.model.holds import ChangeKind, Decision
from agent.model.users import DirectoryUser, Origin, Role
from agent.reconcile.system_log import SystemLogReader
from agent.store import former_ids, history, seal
from support.databases import sqlite_in
from support.holding import CommandsOf, HoldWorld, Make, hold_world
from support.receiver import okta_user
from support.world import RAISED

LINK = ChangeKind.LINK
PATHS = ("push", "event", "polling", "sweep", "single")
forms = pytest.mark.parametrize("form", ["echo", "own"])
Person = dict[str, Any]


@pytest.fixture(scope="module", params=["oin", "wizard"])
def w(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[HoldWorld]:
    """One for each app style; every test has people of its own."""
    with hold_world(sqlite_in(tmp_path_factory.mktemp("reuse")), 30, style=request.param, guard=RAISED) as made:
        yield made


def listener(w: HoldWorld) -> SystemLogReader:
    w.ahead += timedelta(minutes=1)  # no other agent's turn
    return SystemLogReader(w.store, w.okta, w.settings, w.now)


def leaves(w: HoldWorld, *, lost: bool = False) -> tuple[Person, DirectoryUser]:
    """OLD, and the account as it was left. ``lost``: no push has ended it, and no event has told of it."""
    old = w.take()
    if lost:
        w.lost()
    w.unassign(old)
    w.org.api("POST", f"/users/{old['okta_id']}", {"profile": {"login": f"gone.{old['login']}"}})
    w.org.wait_idle()
    w.heard()
    listener(w).poll()
    if lost:
        w.sql("delete from attention")
    while w.reconciler.look(apply=True):
        pass
    return old, w.account(old["login"])


def hired(w: HoldWorld, old: Person, form: str) -> Person:
    """NEW, whom Okta has assigned and pushed."""
    w.org.provisioning(external_id=form)
    new = {"login": old["login"], "okta_id": w.okta_user(old["login"], "Newt", "Hire")}
    w.assign(new)
    return new


def looked_at(w: HoldWorld, path: str, new: Person) -> None:
    """What the agent does by itself after Okta's pushes, each way it may come to hear of it."""
    if path == "event":
        w.event(new)
    elif path == "polling":
        assert listener(w).poll().anything
    elif path == "sweep":
        w.reconcile()
    elif path == "single":
        w.reconcile(new["okta_id"])
    for _ in range(3):
        w.reconciler.look(apply=True)


def settle(w: HoldWorld) -> None:
    """Okta's own push has had its time."""
    w.ahead += w.settings.reconcile.settle * 2


def assert_out_of(w: HoldWorld, old: Person, account: DirectoryUser) -> None:
    """Nobody works in the leaver's account."""
    now = w.directory.get(account.id)
    assert now is not None
    assert not (now.active and now.okta_id == old["okta_id"])


def another_person(run: Any, login: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The documented command; answers the leaver's account, and the new one."""
    found = run.document("users", "release-name", login, "--reason", "a new hire")
    return found["user"], found["newAccount"]


def left_as_it_was(w: HoldWorld, released: dict[str, Any], account: DirectoryUser) -> DirectoryUser:
    """OLD's account is what it was when they left, and out of everybody's reach."""
    left = w.directory.get(released["id"])
    assert left is not None
    assert left.id != account.id
    assert (left.profile, left.active, left.role) == (account.profile, False, Role.MEMBER)
    assert (left.okta_id, left.origin, left.hidden) == (None, Origin.RELEASED, True)
    return left


def assert_own_account(w: HoldWorld, new: Person, account: DirectoryUser) -> None:
    """NEW has the id that Okta pushes to."""
    mine = w.account(new["login"])
    assert (mine.id, mine.okta_id, mine.active, mine.role) == (account.id, new["okta_id"], True, Role.MEMBER)
    assert mine.profile.name is not None
    assert mine.profile.name.given_name == "Newt"


def assert_pushes_arrive(w: HoldWorld, new: Person, left: DirectoryUser) -> None:
    """Okta's next pushes, of what failed before too, go to NEW; and nothing reaches what is left of OLD."""
    w.org.retry_tasks()
    w.org.wait_idle()
    assert w.org.tasks() == []
    w.retitle(new, "Pushed")
    mine = w.account(new["login"])
    assert (mine.profile.title, mine.okta_id, mine.active) == ("Pushed", new["okta_id"], True)
    assert w.client.get(f"/Users/{left.id}").status_code == 404
    body = okta_user(left.user_name)
    assert w.client.put(f"/Users/{left.id}", json=body).status_code == 404
    assert w.client.post("/Users", json=body | {"active": False}).status_code == 409
    assert w.client.get("/Users", params={"filter": f'userName eq "{left.user_name}"'}).json()["totalResults"] == 0
    assert w.directory.get(left.id) == left


@forms
@pytest.mark.parametrize("path", PATHS)
def test_somebody_new_gets_an_account_of_their_own(w: HoldWorld, commands_of: CommandsOf, form: str, path: str) -> None:
    old, account = leaves(w)
    new = hired(w, old, form)
    looked_at(w, path, new)
    assert_out_of(w, old, account)
    released, made = another_person(commands_of(w), old["login"])
    left = left_as_it_was(w, released, account)
    assert made is not None
    assert_own_account(w, new, account)
    assert_pushes_arrive(w, new, left)
    assert w.open_holds(new, kind=LINK) == []
    assert w.reconcile().outcome == "in_step"
    assert w.directory.get(left.id) == left


@forms
@pytest.mark.parametrize("path", PATHS)
def test_a_leaver_whose_push_was_lost_goes_whoever_has_the_name(
    w: HoldWorld, commands_of: CommandsOf, form: str, path: str
) -> None:
    old, account = leaves(w, lost=True)
    assert account.active
    new = hired(w, old, form)
    looked_at(w, path, new)
    assert_out_of(w, old, account)
    released, _ = another_person(commands_of(w), old["login"])
    left = left_as_it_was(w, released, account)
    assert_own_account(w, new, account)
    assert_pushes_arrive(w, new, left)


@forms
def test_the_command_ends_a_leavers_access_too(w: HoldWorld, commands_of: CommandsOf, form: str) -> None:
    old, account = leaves(w, lost=True)
    new = hired(w, old, form)
    released, _ = another_person(commands_of(w), old["login"])
    left_as_it_was(w, released, account)
    assert_own_account(w, new, account)


@forms
def test_who_came_back_keeps_the_account(w: HoldWorld, commands_of: CommandsOf, form: str) -> None:
    old, account = leaves(w)
    back = hired(w, old, form)
    looked_at(w, "sweep", back)
    settle(w)
    assert w.reconcile(back["okta_id"]).outcome == "held"
    assert len(w.open_holds(back, kind=LINK)) == 1
    run = commands_of(w)
    code, out, _ = run("holds", "show", back["login"])
    assert code == 0
    words = out.partition("To end it: ")[2]
    assert f"users release-name {back['login']}" in words
    nobody = back["okta_id"][:-3] + "xyz"
    code, out, err = run("users", "link", back["login"], "--okta-id", nobody, "--reason", "back again")
    assert (code, f"Okta has no user {nobody}" in err) == (2, True), (
        "linked to it, the next run would take a leaver for one"
    )
    assert w.account(back["login"]).okta_id == account.okta_id
    code, out, err = run("users", "link", back["login"], "--okta-id", back["okta_id"], "--reason", "back again")
    assert code == 0, (out, err)
    assert f"In Okta that is {back['login']} (ACTIVE)." in out
    assert w.reconciler.look(apply=True) is not None, "Okta wants them in: nobody waits for a sweep"
    mine = w.account(back["login"])
    assert (mine.id, mine.okta_id, mine.active) == (account.id, back["okta_id"], True)
    assert w.open_holds(back, kind=LINK) == []
    w.org.retry_tasks()
    w.org.wait_idle()
    w.retitle(back, "Back")
    assert w.account(back["login"]).profile.title == "Back"
    assert w.reconcile().outcome == "in_step"


def test_linking_to_somebody_whom_okta_gives_no_access_says_what_follows(w: HoldWorld, commands_of: CommandsOf) -> None:
    person, leaver = w.take(), w.take()
    w.unassign(leaver)
    account, run = w.account(person["login"]), commands_of(w)
    for one in (person, leaver):
        assert run("users", "unlink", one["login"], "--reason", "a test")[0] == 0
    code, _, err = run("users", "link", account.user_name, "--okta-id", leaver["login"])
    assert (code, "--okta-id must be an Okta user's id" in err) == (2, True)
    code, out, err = run("users", "link", account.user_name, "--okta-id", leaver["okta_id"])
    assert code == 0, (out, err)
    assert "Okta gives them no access: the next run ends this account's, unless something holds it." in out


def test_a_name_whose_person_is_still_there_is_not_let_go(w: HoldWorld, commands_of: CommandsOf) -> None:
    person = w.take()
    w.acts().deactivate(w.account(person["login"]).id)
    before = w.account(person["login"])
    code, out, err = commands_of(w)("users", "release-name", person["login"])
    assert (code, "has not left" in out + err) == (2, True)
    assert w.account(person["login"]) == before
    w.acts().reactivate(before.id)


# What is written down


def rows_about(w: HoldWorld, user_id: str) -> list[tuple[str, str | None]]:
    return [
        (row["verb"], (row["after"] or {}).get("userName")) for row in seal.export(w.store.read, directory_id=user_id)
    ]


def test_what_was_done_to_a_leavers_account_stays_its_own(make: Make, commands_of: CommandsOf) -> None:
    w = make(6)
    old, account = leaves(w)
    login = old["login"]
    w.acts().deactivate(account.id)
    before, moment = rows_about(w, account.id), datetime.now(UTC)
    new = hired(w, old, "echo")
    looked_at(w, "event", new)
    run = commands_of(w)
    released, _ = another_person(run, login)
    left = left_as_it_was(w, released, account)
    rows = rows_about(w, left.id)
    assert rows[: len(before)] == before
    assert rows[-1] == ("release", left.user_name)
    assert rows_about(w, account.id)[0][0] == "create"
    assert {name for _, name in rows_about(w, account.id)} == {login}
    with w.store.read() as conn:
        assert former_ids.stepped_aside(conn, account.id) == left.id
        then = {one.directory_id: one.head.external_id for one in history.accounts_at(conn, moment)}
        now = {one.directory_id: one.head.external_id for one in history.accounts_at(conn, w.now())}
        assert seal.verify(conn).problems == []
    assert (then[account.id], left.id in then) == (old["okta_id"], False)
    assert (now[account.id], now[left.id]) == (new["okta_id"], None)
    assert [h.decision for h in w.open_holds(kind=ChangeKind.ACTIVATE)] == [Decision.BLOCKED]
    (block,) = w.open_holds(kind=ChangeKind.ACTIVATE)
    assert (block.directory_id, block.login) == (left.id, left.user_name)
    assert run("journal", "verify")[0] == 0
    assert ("name release", account.id) in verbs(w)


def verbs(w: HoldWorld) -> list[tuple[str, str | None]]:
    with w.store.read() as conn:
        return [tuple(row) for row in conn.exec_driver_sql("SELECT verb, directory_id FROM journal ORDER BY id")]


def test_the_next_leaver_under_that_id_steps_aside_too(make_sqlite: Make, commands_of: CommandsOf) -> None:
    w = make_sqlite(6)
    run = commands_of(w)
    old, account = leaves(w)
    new = hired(w, old, "echo")
    first, _ = another_person(run, old["login"])
    w.unassign(new)
    w.org.api("POST", f"/users/{new['okta_id']}", {"profile": {"login": f"gone.too.{old['login']}"}})
    between = w.account(old["login"])
    third = hired(w, new, "own")
    second, _ = another_person(run, old["login"])
    left_as_it_was(w, first, account)
    left_as_it_was(w, second, between)
    assert_own_account(w, third, account)
    assert first["id"] != second["id"]
    assert rows_about(w, second["id"])[0][0] == "create"
    assert rows_about(w, second["id"])[-1] == ("release", second["userName"])


# By itself


@pytest.mark.parametrize("path", PATHS)
@forms
def test_by_the_settings_nobody_is_asked(make_sqlite: Make, form: str, path: str) -> None:
    w = make_sqlite(6, policy={"name_reuse": "new_account"})
    old, account = leaves(w)
    new = hired(w, old, form)
    looked_at(w, path, new)
    settle(w)
    looked_at(w, path if path != "polling" else "push", new)
    assert_own_account(w, new, account)
    (left,) = [user for name, user in w.accounts().items() if "#released-" in name]
    left_as_it_was(w, {"id": left.id}, account)
    assert_pushes_arrive(w, new, left)
    assert w.reconcile().outcome == "in_step"


def test_by_the_settings_a_persons_no_holds(make_sqlite: Make) -> None:
    w = make_sqlite(6)
    old, account = leaves(w)
    new = hired(w, old, "echo")
    w.reconcile()
    w.reject(new, kind=LINK)
    w.configure(policy={"name_reuse": "new_account"})
    report = w.reconcile()
    assert w.actions_for(report, new["okta_id"]) == [("create", "rejected")]
    assert w.account(old["login"]).id == account.id
    assert w.account(old["login"]).okta_id == old["okta_id"]
