"""The compare statement: exactly the pairs that may need something, held against a plain comparison of every pair."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, inspect

from agent.directory import rows
from agent.model.cases import CurrentAccount, Pair, Want
from agent.model.desired import DesiredRow, Wanted
from agent.model.mapping import Mapping
from agent.model.users import DirectoryUser, MultiValue, Origin, Profile, identity_key
from agent.store import compare
from agent.store.engine import Store
from agent.store.tables import user_emails, users

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MAPPING = Mapping()
TITLE_A, TITLE_B = (MAPPING.project(Profile(title=title)) for title in "ab")


def okta_id(number: int) -> str:
    return f"00u{number:017d}"


def want(number: int, name: str = "", **fields: object) -> Want:
    name = name or f"p{number}@example.com"
    values = {
        "okta_id": okta_id(number),
        "external_id": None,
        "user_name": name,
        "user_name_key": identity_key(name),
        "email": name,
        "email_key": identity_key(name),
        "wanted": Wanted.ACTIVE,
        "row": DesiredRow.LIVE,
        "mapped": TITLE_A,
        "unsaid": 0,
        "read_at": NOW,
    }
    return Want(**{**values, **fields})


def person(number: int, name: str = "", **fields: object) -> DirectoryUser:
    name = name or f"p{number}@example.com"
    values = {
        "id": f"user-{number}",
        "user_name": name,
        "active": True,
        "created": NOW,
        "updated": NOW,
        "profile": Profile(title="a", emails=(MultiValue(value=name, primary=True),)),
        "okta_id": okta_id(number),
        "origin": Origin.OKTA,
    }
    return DirectoryUser(**{**values, **fields})


def account_of(user: DirectoryUser) -> CurrentAccount:
    return CurrentAccount.of(user, MAPPING)


def add_page(listed: compare.Staging, wants: list[Want]) -> None:
    """As a sweep does: of those who are in step, only that they are."""

    def in_step(one: Want) -> bool:
        content = (one.okta_id, one.user_name_key, one.email_key, one.mapped)
        return one.wanted is Wanted.ACTIVE and listed.is_held(content, one.external_id)

    listed.add_in_step([one.okta_id for one in wants if in_step(one)], NOW)
    listed.add_people([one for one in wants if not in_step(one)])


class Both:
    """Okta's listing, and accounts of the directory."""

    def __init__(self, store: Store, wants: list[Want], people: list[DirectoryUser]) -> None:
        self.store, self.wants = store, wants

        def work(conn) -> None:
            for user in people:
                rows.insert_user(conn, user, MAPPING)

        store.write(work)

    @contextmanager
    def _listed(self) -> Iterator[Connection]:
        with compare.staging(self.store) as listed:
            add_page(listed, self.wants)
            assert listed.close_people() == len(self.wants)
            with listed.snapshot() as conn:
                yield conn

    def differing(self) -> dict[str, Pair]:
        with self._listed() as conn:
            found = list(compare.differing(conn))
        assert len(found) == len({c.want.okta_id for c in found}), "nobody is answered twice"
        return {c.want.okta_id: c for c in found}

    def absent(self) -> set[str]:
        with self._listed() as conn:
            return {account.id for account in compare.absent(conn)}


def test_a_pair_in_step_is_not_answered(store: Store) -> None:
    both = Both(store, [want(1), want(2, external_id="user-2")], [person(1), person(2)])
    assert both.differing() == {}
    assert both.absent() == set()


def test_the_candidates_come_with_all_that_is_known(store: Store) -> None:
    bound, named, holder = person(1, "old@example.com"), person(2, okta_id=None), person(3, "new@example.com")
    wanted = want(1, "new@example.com", external_id="user-2", unsaid=5, sync_error=True)
    both = Both(store, [wanted], [bound, named, holder])
    (found,) = both.differing().values()
    assert found == Pair(
        want=wanted, bound=account_of(bound), named=account_of(named), holder=account_of(holder), twin=False
    )


@pytest.mark.parametrize(
    ("wanted", "user"),
    [
        (want(1), None),
        (want(1, mapped=TITLE_B), person(1)),
        (want(1, "new@example.com"), person(1)),
        (want(1, email_key="x@example.com"), person(1)),
        (want(1), person(1, active=False)),
        (want(1), person(1, origin=Origin.LOCAL)),
        (want(1), person(1, okta_id=None)),
        (want(1), person(1, okta_id=okta_id(9))),
        (want(1, external_id="user-1"), person(1, "other@example.com", okta_id=None)),
        (want(1, external_id="user-2"), person(1)),
        (want(1, wanted=Wanted.KEEP, mapped=TITLE_B), person(1)),
        (want(1, wanted=Wanted.INACTIVE), person(1)),
        (want(1, wanted=Wanted.INACTIVE), person(1, okta_id=None)),
        (want(1, wanted=Wanted.INACTIVE), person(1, active=False, suspended=True)),
    ],
)
def test_a_pair_that_may_need_something_is_answered(store: Store, wanted: Want, user: DirectoryUser | None) -> None:
    both = Both(store, [wanted], [] if user is None else [user])
    assert list(both.differing()) == [wanted.okta_id]


@pytest.mark.parametrize(
    ("wanted", "user"),
    [
        (want(1, wanted=Wanted.LEAVE), person(1, active=False)),
        (want(1, wanted=Wanted.PENDING), None),
        (want(1, wanted=Wanted.INACTIVE), person(1, active=False)),
        (want(1, wanted=Wanted.INACTIVE), None),
    ],
)
def test_what_needs_nothing_is_not_answered(store: Store, wanted: Want, user: DirectoryUser | None) -> None:
    both = Both(store, [wanted], [] if user is None else [user])
    assert both.differing() == {}


def test_twins_are_answered_both_even_the_one_in_step(store: Store) -> None:
    both = Both(store, [want(1), want(2, "P1@example.com"), want(3)], [person(1), person(3)])
    found = both.differing()
    assert {key: c.twin for key, c in found.items()} == {okta_id(1): True, okta_id(2): True}


def test_a_twin_that_is_not_wanted_is_none(store: Store) -> None:
    both = Both(store, [want(1), want(2, "p1@example.com", wanted=Wanted.INACTIVE)], [person(1)])
    assert not any(c.twin for c in both.differing().values())


def test_a_listing_is_its_sweeps_alone_and_ends_with_it(store: Store) -> None:
    both = Both(store, [want(1)], [person(1)])
    with compare.staging(store) as other:
        other.add_people([want(2)])
        assert both.differing() == {}
        with other.snapshot() as conn:
            assert [c.want.okta_id for c in compare.differing(conn)] == [okta_id(2)]
            assert [account.id for account in compare.absent(conn)] == ["user-1"]
    for _ in range(3):
        with store.engine.connect() as conn:
            assert not inspect(conn).has_table("sweep_rows")


def test_a_listing_is_gone_after_an_error_too(store: Store) -> None:
    def fails() -> None:
        with compare.staging(store) as listed:
            listed.add_people([want(1)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    with compare.staging(store) as listed:
        assert listed.close_people() == 0


def test_who_is_listed_twice_counts_once_as_seen_last(store: Store) -> None:
    with compare.staging(store) as listed:
        listed.add_people([want(1), want(1, "other@example.com"), want(2)])
        listed.add_people([want(1, "last@example.com")])
        assert listed.close_people() == 2
        with listed.snapshot() as conn:
            found = {c.want.okta_id: c for c in compare.differing(conn)}
    assert found[okta_id(1)].want.user_name == "last@example.com"


@pytest.mark.parametrize(("pages", "answered"), [((TITLE_A, TITLE_B), 1), ((TITLE_B, TITLE_A), 0)])
def test_who_was_in_step_on_one_page_alone_counts_as_seen_last(
    store: Store, pages: tuple[str, str], answered: int
) -> None:
    store.write(lambda conn: rows.insert_user(conn, person(1), MAPPING))
    with compare.staging(store) as listed:
        for mapped in pages:
            add_page(listed, [want(1, mapped=mapped)])
        assert listed.close_people() == 1
        with listed.snapshot() as conn:
            assert len(list(compare.differing(conn))) == answered
            assert list(compare.absent(conn)) == []


def test_listings_lie_beside_the_database_without_a_name(sqlite_store: Store) -> None:
    folder = Path(sqlite_store.engine.url.database).absolute().parent
    with compare.staging(sqlite_store) as listed:
        listed.add_people([want(n) for n in range(40_000)])
        opened = [os.path.realpath(path) for path in Path("/proc/self/fd").iterdir()]
        [file] = [file for file in opened if "etilqs_" in file]
        assert file.startswith(f"{folder}/")
        assert file.endswith(" (deleted)")
        assert not [path for path in folder.iterdir() if "etilqs_" in path.name]


def test_a_sweep_writes_while_others_write(store: Store) -> None:
    """Listings wait for no writer, and no writer waits for them."""
    with compare.staging(store) as listed:
        listed.add_people([want(1)])

        def work(conn: Connection) -> None:
            listed.add_people([want(2)])
            rows.insert_user(conn, person(1), MAPPING)

        store.write(work)
        assert listed.close_people() == 2
        with listed.snapshot() as conn:
            assert [c.want.okta_id for c in compare.differing(conn)] == [okta_id(2)]
            store.write(lambda conn: rows.insert_user(conn, person(2), MAPPING))
            assert [c.want.okta_id for c in compare.differing(conn)] == [okta_id(2)]


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (person(1), True),
        (person(1, origin=Origin.LINKED), True),
        (person(1, origin=Origin.LINKED, okta_id=None), True),
        (person(1, origin=Origin.LOCAL), True),
        (person(1, active=False, suspended=True), True),
        (person(1, active=False), False),
        (person(1, okta_id=None), False),
        (person(1, origin=Origin.LOCAL, okta_id=None), False),
    ],
)
def test_who_may_have_left(store: Store, user: DirectoryUser, *, expected: bool) -> None:
    both = Both(store, [want(9)], [user])
    assert both.absent() == ({user.id} if expected else set())


@pytest.mark.parametrize(
    ("wanted", "user"),
    [
        (want(1), person(1)),
        (want(2, external_id="user-1"), person(1, origin=Origin.LINKED, okta_id=None)),
        (want(2, "p1@example.com"), person(1, origin=Origin.LINKED, okta_id=None)),
    ],
)
def test_who_is_meant_by_somebody_is_not_absent(store: Store, wanted: Want, user: DirectoryUser) -> None:
    both = Both(store, [wanted], [user])
    assert both.absent() == set()


def test_a_bound_account_whose_name_somebody_else_has_is_absent(store: Store) -> None:
    both = Both(store, [want(2, "p1@example.com")], [person(1)])
    assert both.absent() == {"user-1"}


def test_a_bound_account_to_which_okta_has_linked_somebody_else_is_absent(store: Store) -> None:
    both = Both(store, [want(2, external_id="user-1")], [person(1)])
    assert both.absent() == {"user-1"}


NAMES = [f"p{n}@example.com" for n in range(4)]
WANTS = st.lists(
    st.builds(
        want,
        st.integers(0, 5),
        st.sampled_from(NAMES),
        external_id=st.sampled_from([None, *(f"user-{n}" for n in range(5))]),
        wanted=st.sampled_from([w for w in Wanted if w is not Wanted.ABSENT]),
        mapped=st.sampled_from([TITLE_A, TITLE_B]),
    ),
    unique_by=lambda w: w.okta_id,
    max_size=5,
)
PEOPLE = st.lists(
    st.builds(
        person,
        st.integers(0, 4),
        st.sampled_from(NAMES),
        okta_id=st.sampled_from([None, *(okta_id(n) for n in range(6))]),
        origin=st.sampled_from(list(Origin)),
        active=st.booleans(),
    ),
    unique_by=(lambda p: p.id, lambda p: p.user_name_key, lambda p: p.okta_id or p.id),
    max_size=5,
)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(wants=WANTS, people=PEOPLE)
def test_the_statement_agrees_with_a_plain_comparison(
    store: Store, wants: list[Want], people: list[DirectoryUser]
) -> None:
    def clean(conn) -> None:
        conn.execute(delete(user_emails))
        conn.execute(delete(users))

    store.write(clean)
    both = Both(store, wants, people)
    accounts = [account_of(user) for user in people]
    expected = {c.want.okta_id: c for c in (_pair(w, wants, accounts) for w in wants) if _open(c)}
    assert both.differing() == expected
    assert both.absent() == {a.id for a in accounts if _absent(a, wants)}


def _pair(w: Want, wants: list[Want], accounts: list[CurrentAccount]) -> Pair:
    somebody = [x for x in wants if x.names_somebody]
    return Pair(
        want=w,
        bound=next((a for a in accounts if a.okta_id == w.okta_id), None),
        named=next((a for a in accounts if a.id == w.external_id), None),
        holder=next((a for a in accounts if a.user_name_key == w.user_name_key), None),
        twin=w.names_somebody and sum(x.user_name_key == w.user_name_key for x in somebody) > 1,
    )


def _open(c: Pair) -> bool:
    w, bound = c.want, c.bound
    if w.wanted is Wanted.INACTIVE:
        return any(a is not None and (a.active or a.suspended) for a in (bound, c.named, c.holder))
    if not w.names_somebody:
        return False
    in_step = (
        bound is not None
        and bound.active
        and bound.origin is not Origin.LOCAL
        and (bound.user_name_key, bound.email_key, bound.mapped) == (w.user_name_key, w.email_key, w.mapped)
        and w.external_id in (None, bound.id)
    )
    return c.twin or not in_step


def _absent(a: CurrentAccount, wants: list[Want]) -> bool:
    candidate = (a.managed or a.okta_id is not None) and (a.active or a.suspended)
    named = (w.external_id == a.id or w.user_name_key == a.user_name_key for w in wants)
    meant = any(w.okta_id == a.okta_id for w in wants) or (a.okta_id is None and any(named))
    return candidate and not meant
