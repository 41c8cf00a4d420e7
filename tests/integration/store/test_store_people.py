"""The list of accounts: searched, filtered, paged by userName; one account's timeline; the journal as people read it."""

from datetime import timedelta
from typing import Any

import pytest

from agent.model.codes import ActionKind, ActionState, HeldCode
from agent.model.holds import ChangeKind, Reason
from agent.model.plan import Action, Plan
from agent.model.users import Name, Origin, Role
from agent.settings import Settings
from agent.store import account, events, failed_people, holds, journal_rows, people, plans, runs, timeline
from agent.store.engine import Store
from agent.store.events import PushFailure
from agent.store.failed_people import FailedAt
from agent.store.journal import Kind
from agent.store.journal_rows import JournalQuery
from agent.store.people import Which
from agent.store.runs import RunEnd, RunRequest
from support.place import ROOMY, Place, okta_id


@pytest.fixture
def place(store: Store) -> Place:
    return Place(store, Settings(guard=ROOMY))


def names(place: Place, **wanted: Any) -> list[str]:
    with place.store.read() as conn:
        return [person.user_name for person in people.page(conn, **wanted).people]


def sweep(place: Place, *actions: Action, kind: str = "sweep") -> None:
    """A whole sweep that has ended, with this plan."""

    def work(conn: Any) -> None:
        run = runs.start(conn, RunRequest(kind=kind, trigger="cli", actor="test", dry=False), place.now)
        plan = Plan(actions=actions, population=9, source_size=9, created=place.now)
        plans.save(conn, run_id=run, kind="reconcile", plan=plan, expires=place.now + timedelta(days=1))
        for action in actions:
            plans.mark(conn, run, [action.n], action.state, place.now, error=action.error)
        runs.finish(conn, run, RunEnd(outcome="partial", exit_code=5), place.now)
        account.good_sweep(conn, at=place.now, people=9)

    place.store.write(work)


# The list


def test_a_page_goes_on_behind_the_last_name_of_the_one_before(place: Place) -> None:
    for name in ("cleo", "ann", "Bob", "dora"):
        place.post(f"{name}@example.com")
    seen, after = [], ""
    with place.store.read() as conn:
        while True:
            page = people.page(conn, after=after, limit=3)
            seen.append([person.user_name for person in page.people])
            if page.following is None:
                break
            after = page.following
    assert seen == [["ann@example.com", "Bob@example.com", "cleo@example.com"], ["dora@example.com"]]


def test_a_search_shows_whose_login_fits_before_whom_only_the_name_fits(place: Place) -> None:
    for login, name in (("lee.ann", "Zoe"), ("zoe", "Bob"), ("bob", "Zoe Lee"), ("amy", "Zoe"), ("cleo", "Cleo")):
        place.post(f"{login}@example.com", name=None, display_name=name)
    wanted = ["zoe@example.com", "amy@example.com", "bob@example.com", "lee.ann@example.com"]
    with place.store.read() as conn:
        for size in (1, 2, 3, 4, 5):
            seen, after = [], ""
            while True:
                page = people.page(conn, search="zoe", after=after, limit=size)
                seen += [person.user_name for person in page.people]
                assert len(page.people) <= size
                if page.following is None:
                    break
                after = page.following
            assert seen == wanted, size


@pytest.mark.parametrize("typed", ["ANN.L", "lee", "Ann Lee", "00u00000000000000007", " ann.lee "])
def test_a_search_finds_names_and_ids_in_any_case(place: Place, typed: str) -> None:
    place.post("ann.lee@example.com", okta=okta_id(7))
    place.post("bob@example.com", name=Name(given_name="Bob", family_name="Moss"))
    assert names(place, search=typed) == ["ann.lee@example.com"]


@pytest.mark.parametrize("typed", ["%", "_", "nobody", "' OR 1=1 --"])
def test_what_is_typed_is_never_a_pattern(place: Place, typed: str) -> None:
    place.post("ann@example.com")
    assert names(place, search=typed) == []


def test_each_filter_shows_its_own(place: Place) -> None:
    managed, gone, drifted, held, failed = place.managed(5)
    place.local("local@example.com")
    place.local("owner@example.com", role=Role.OWNER)
    place.change(gone, active=False)
    blocked = place.local("blocked@example.com", okta_id=okta_id(90), origin=Origin.LINKED)
    place.acts().deactivate(blocked.id)
    wait(place, held.id, held.okta_id, held.user_name)
    fail(place, failed.okta_id or "", "429 from 10.0.0.1")
    sweep(place, Action(n=1, kind=ActionKind.UPDATE, login=drifted.user_name, directory_id=drifted.id))
    assert names(place, which=Which.OWNERS) == ["owner@example.com"]
    assert names(place, which=Which.LOCAL) == ["local@example.com", "owner@example.com"]
    assert names(place, which=Which.INACTIVE) == ["blocked@example.com", gone.user_name]
    assert names(place, which=Which.DRIFTED) == [drifted.user_name]
    assert names(place, which=Which.HELD) == [held.user_name]
    assert names(place, which=Which.BLOCKED) == ["blocked@example.com"]
    assert names(place, which=Which.FAILED) == [failed.user_name]
    assert managed.user_name in names(place, which=Which.MANAGED)
    assert len(names(place)) == 8
    assert names(place, which=Which.MANAGED, also=[Which.INACTIVE]) == ["blocked@example.com", gone.user_name]
    assert names(place, also=[Which.LOCAL, Which.INACTIVE]) == []
    assert names(place, which=Which.LOCAL, search=managed.id) == []
    assert names(place, which=Which.LOCAL, search="own") == ["owner@example.com"]


def wait(place: Place, directory_id: str | None, okta: str | None, login: str) -> None:
    reason = Reason(
        directory_id=directory_id,
        okta_id=okta,
        login=login,
        kind=ChangeKind.DEACTIVATE,
        code=HeldCode.DEACTIVATIONS_PER_RUN,
        detail="12 of 40",
        wish="",
    )
    place.store.write(lambda conn: holds.find(conn, [reason], place.now, by="run 1"))


def fail(place: Place, okta: str, reason: str) -> None:
    one = PushFailure(okta_id=okta, event_type="application.provision.user.push", reason=reason, at=place.now)
    place.store.write(lambda conn: events.failed(conn, [one]))


# What failed


def test_what_differs_only_in_names_ids_and_numbers_is_one_group(place: Place) -> None:
    for number, user in enumerate(place.managed(3)):
        fail(
            place, user.okta_id or "", f"Automatic push of {user.user_name} ({user.okta_id}) failed: 409, try {number}"
        )
    with place.store.read() as conn:
        (group,) = failed_people.groups(conn)
        found = failed_people.people(conn, group.id, limit=10)
    assert (group.people, group.where) == (3, FailedAt.PUSH)
    assert "@" not in group.cause
    assert {one.login for one in found} == {f"person{n}@example.com" for n in (1, 2, 3)}


def test_an_action_that_failed_counts_until_something_later_is_done(place: Place) -> None:
    ann, bob = place.managed(2)
    actions = [
        Action(
            n=n,
            kind=ActionKind.UPDATE,
            login=user.user_name,
            directory_id=user.id,
            state=ActionState.FAILED,
            error="no",
        )
        for n, user in enumerate((ann, bob), 1)
    ]
    sweep(place, *actions)
    with place.store.read() as conn:
        assert {one.login for one in failed_people.people(conn, limit=9)} == {ann.user_name, bob.user_name}
    done = Action(n=1, kind=ActionKind.UPDATE, login=ann.user_name, directory_id=ann.id, state=ActionState.DONE)
    sweep(place, done, kind="single")
    with place.store.read() as conn:
        assert [one.login for one in failed_people.people(conn, limit=9)] == [bob.user_name]
        assert [group.people for group in failed_people.groups(conn)] == [1]
    sweep(place)
    with place.store.read() as conn:
        assert failed_people.groups(conn) == []


# One account's timeline


def test_a_timeline_has_pushes_runs_operators_holds_and_failed_pushes_in_order(place: Place) -> None:
    (user,) = place.managed(1)
    place.later(hours=1)
    fail(place, user.okta_id or "", "no answer")
    place.later(hours=1)
    wait(place, user.id, user.okta_id, user.user_name)
    place.later(hours=1)
    place.acts().deactivate(user.id)
    with place.store.read() as conn:
        found = timeline.of(conn, user)
    told = [one.what for one in found.entries]
    assert told[-1] == "create"
    assert told.index("Okta's push failed") > told.index("deactivate held: deactivations_per_run") > 0
    assert "deactivate" in told[:3]
    assert found.older is None


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_timeline_is_read_page_by_page_without_gap_or_repetition(place: Place, limit: int) -> None:
    (user,) = place.managed(1)
    for number in range(6):
        place.later(hours=1)
        place.change(user, title=f"title {number}")
        if number == 2:
            wait(place, user.id, user.okta_id, user.user_name)
    with place.store.read() as conn:
        whole = [(one.at, one.what) for one in timeline.of(conn, user).entries]
        paged, older = [], None
        while True:
            page = timeline.of(conn, user, older, limit=limit)
            paged += [(one.at, one.what) for one in page.entries]
            if page.older is None:
                break
            older = page.older
    assert len(whole) == 9  # the hold began, and ended with the next push
    assert paged == whole


# The journal


def rows(place: Place, **query: Any) -> list[str]:
    with place.store.read() as conn:
        return [row.verb for row in journal_rows.search(conn, JournalQuery(**query)).rows]


def test_the_journal_is_searched_by_each_of_its_sides(place: Place) -> None:
    (user,) = place.managed(1)
    place.later(hours=1)
    at = place.now
    place.acts().protect(user.id, protected=True)
    place.refused(lambda: place.change(user, active=False))
    place.local("other@example.com")
    assert rows(place, directory_id=user.id)[-1] == "create"
    assert len(rows(place, directory_id=user.id)) == 3
    assert rows(place, actor="operator") == ["protect"]
    assert rows(place, kind=Kind.REFUSED) == ["deactivate"]
    assert rows(place, verb="create", until=at) == ["create"]
    assert len(rows(place, since=at)) == 3
    with place.store.read() as conn:
        newest = journal_rows.search(conn, JournalQuery()).rows[0]
    assert newest.login == "other@example.com"


def test_a_journal_page_says_where_older_rows_begin(place: Place) -> None:
    (user,) = place.managed(1)
    for number in range(5):
        place.change(user, title=f"title {number}")
    seen, before = [], None
    with place.store.read() as conn:
        while True:
            page = journal_rows.search(conn, JournalQuery(), before=before, limit=4)
            seen += [row.id for row in page.rows]
            if page.older is None:
                break
            before = page.older
    assert len(seen) == 6
    assert seen == sorted(seen, reverse=True)


def test_a_row_tells_what_has_changed(place: Place) -> None:
    (user,) = place.managed(1)
    place.change(user, title="Lead")
    with place.store.read() as conn:
        row = journal_rows.search(conn, JournalQuery()).rows[0]
    assert row.changes == {"title": (None, "Lead")}


def test_a_filter_that_fits_nothing_looks_through_a_bounded_part(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_rows, "LOOKED_THROUGH", 3)
    place.managed(8)
    with place.store.read() as conn:
        page = journal_rows.search(conn, JournalQuery(actor="nobody"))
        assert (page.rows, page.older is not None) == ([], True)
        count = 0
        while page.older is not None:
            page, count = journal_rows.search(conn, JournalQuery(actor="nobody"), before=page.older), count + 1
    assert count == 2


def test_a_line_has_the_name_as_shown(place: Place) -> None:
    place.post("ann@example.com", name=None, display_name="Ann of the Lee")
    with place.store.read() as conn:
        (line,) = people.page(conn).people
    assert (line.name, line.state, line.managed) == ("Ann of the Lee", "active", False)
