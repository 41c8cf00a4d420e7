"""The compare statement: exactly the pairs that may need something, held against a plain comparison of every pair."""

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from agent.directory import rows
from agent.model.cases import Account, Candidate, Want
from agent.model.desired import Row, Wanted
from agent.model.mapping import Mapping
from agent.model.users import DirectoryUser, MultiValue, Origin, Profile, identity_key
from agent.store import compare, staging
from agent.store.engine import Store
from agent.store.tables import user_emails, users

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MAPPING = Mapping()


def okta_id(number: int) -> str:
    return f"00u{number:017d}"


def want(number: int, name: str = "", **fields: object) -> Want:
    name = name or f"p{number}@example.com"
    values = {
        "okta_id": okta_id(number), "external_id": None, "user_name": name, "user_name_key": identity_key(name),
        "email": name, "email_key": identity_key(name), "wanted": Wanted.ACTIVE, "row": Row.LIVE,
        "mapped": '{"title":"a"}', "cleared": 0, "read_at": NOW,
    }  # fmt: skip
    return Want(**{**values, **fields})


def person(number: int, name: str = "", **fields: object) -> DirectoryUser:
    name = name or f"p{number}@example.com"
    values = {
        "id": f"user-{number}", "user_name": name, "active": True, "created": NOW, "updated": NOW,
        "profile": Profile(title="a", emails=(MultiValue(value=name, primary=True),)), "okta_id": okta_id(number),
        "origin": Origin.OKTA,
    }  # fmt: skip
    return DirectoryUser(**{**values, **fields})


def account_of(user: DirectoryUser) -> Account:
    return Account(
        id=user.id, user_name=user.user_name, user_name_key=user.user_name_key, email_key=user.email_key,
        okta_id=user.okta_id, origin=user.origin, protected=user.protected, active=user.active,
        suspended=user.suspended, role=user.role, mapped=MAPPING.project(user.user_name, user.profile),
        version=user.version,
    )  # fmt: skip


def fill(store: Store, wants: list[Want], people: list[DirectoryUser], sweep: int = 1) -> None:
    def work(conn) -> None:
        staging.add_sweep_rows(conn, sweep, wants)
        staging.add_directory_rows(conn, sweep, [account_of(user) for user in people])
        for user in people:
            rows.insert_user(conn, user, MAPPING)

    store.write(work)


def differing(store: Store, sweep: int = 1, *, remote: bool = False) -> dict[str, Candidate]:
    with store.read() as conn:
        found = list(compare.differing(conn, sweep, remote=remote))
    assert len(found) == len({c.want.okta_id for c in found}), "nobody is answered twice"
    return {c.want.okta_id: c for c in found}


def absent(store: Store, sweep: int = 1, *, remote: bool = False) -> set[str]:
    with store.read() as conn:
        return {account.id for account in compare.absent(conn, sweep, remote=remote)}


@pytest.fixture(params=[False, True], ids=["users", "directory_rows"])
def remote(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_a_pair_in_step_is_not_answered(store: Store, remote: bool) -> None:
    fill(store, [want(1), want(2, external_id="user-2")], [person(1), person(2)])
    assert differing(store, remote=remote) == {}
    assert absent(store, remote=remote) == set()


def test_the_candidates_come_with_all_that_is_known(store: Store, remote: bool) -> None:
    bound, named, holder = person(1, "old@example.com"), person(2, okta_id=None), person(3, "new@example.com")
    wanted = want(1, "new@example.com", external_id="user-2", cleared=5, sync_error=True)
    fill(store, [wanted], [bound, named, holder])
    (found,) = differing(store, remote=remote).values()
    assert found == Candidate(
        want=wanted, bound=account_of(bound), named=account_of(named), holder=account_of(holder), twin=False
    )


@pytest.mark.parametrize(
    ("wanted", "user"),
    [
        (want(1), None),
        (want(1, mapped='{"title":"b"}'), person(1)),
        (want(1, "new@example.com"), person(1)),
        (want(1, email_key="x@example.com"), person(1)),
        (want(1), person(1, active=False)),
        (want(1), person(1, origin=Origin.LOCAL)),
        (want(1), person(1, okta_id=None)),
        (want(1), person(1, okta_id=okta_id(9))),
        (want(1, external_id="user-1"), person(1, "other@example.com", okta_id=None)),
        (want(1, wanted=Wanted.KEEP, mapped="{}"), person(1)),
        (want(1, wanted=Wanted.INACTIVE), person(1)),
        (want(1, wanted=Wanted.INACTIVE), person(1, okta_id=None)),
        (want(1, wanted=Wanted.INACTIVE), person(1, active=False, suspended=True)),
    ],
)
def test_a_pair_that_may_need_something_is_answered(
    store: Store, wanted: Want, user: DirectoryUser | None
) -> None:
    fill(store, [wanted], [] if user is None else [user])
    assert list(differing(store)) == [wanted.okta_id] == list(differing(store, remote=True))


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
    fill(store, [wanted], [] if user is None else [user])
    assert differing(store) == {} == differing(store, remote=True)


def test_twins_are_answered_both_even_the_one_in_step(store: Store, remote: bool) -> None:
    fill(store, [want(1), want(2, "P1@example.com"), want(3)], [person(1), person(3)])
    found = differing(store, remote=remote)
    assert {key: c.twin for key, c in found.items()} == {okta_id(1): True, okta_id(2): True}


def test_a_twin_that_is_not_wanted_is_none(store: Store) -> None:
    fill(store, [want(1), want(2, "p1@example.com", wanted=Wanted.INACTIVE)], [person(1)])
    assert not any(c.twin for c in differing(store).values())


def test_other_sweeps_are_not_seen(store: Store, remote: bool) -> None:
    fill(store, [want(1)], [person(1)])
    store.write(lambda conn: staging.add_sweep_rows(conn, 2, [want(2)]))
    store.write(lambda conn: staging.add_directory_rows(conn, 2, [account_of(person(1))]))
    assert list(differing(store, 2, remote=remote)) == [okta_id(2)]
    assert absent(store, 2, remote=remote) == {"user-1"}
    assert absent(store, 1, remote=remote) == set()


def test_who_is_listed_twice_counts_once_as_seen_last(store: Store) -> None:
    store.write(
        lambda conn: staging.add_sweep_rows(conn, 1, [want(1), want(1, "other@example.com"), want(2)])
    )
    store.write(lambda conn: staging.add_sweep_rows(conn, 1, [want(1, "last@example.com")]))
    with store.read() as conn:
        assert staging.people(conn, 1) == 2
        assert staging.counted(conn, 1) == {"active": 2}
    assert differing(store)[okta_id(1)].want.user_name == "last@example.com"


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
def test_who_may_have_left(store: Store, remote: bool, user: DirectoryUser, *, expected: bool) -> None:
    fill(store, [want(9)], [user])
    assert absent(store, remote=remote) == ({user.id} if expected else set())


@pytest.mark.parametrize(
    ("wanted", "user"),
    [
        (want(1), person(1)),
        (want(2, external_id="user-1"), person(1)),
        (want(2, "p1@example.com"), person(1, origin=Origin.LINKED, okta_id=None)),
    ],
)
def test_who_is_meant_by_somebody_is_not_absent(
    store: Store, remote: bool, wanted: Want, user: DirectoryUser
) -> None:
    fill(store, [wanted], [user])
    assert absent(store, remote=remote) == set()


def test_a_bound_account_whose_name_somebody_else_has_is_absent(store: Store, remote: bool) -> None:
    fill(store, [want(2, "p1@example.com")], [person(1)])
    assert absent(store, remote=remote) == {"user-1"}


def test_clear_goes_in_steps_and_takes_older_sweeps_along(store: Store) -> None:
    for sweep in (1, 2, 3):
        store.write(
            lambda conn, sweep=sweep: staging.add_sweep_rows(conn, sweep, [want(n) for n in range(5)])
        )
    steps = 0
    while store.write(lambda conn: staging.clear(conn, 2, at_most=3)):
        steps += 1
    assert steps == 4
    with store.read() as conn:
        assert [staging.people(conn, sweep) for sweep in (1, 2, 3)] == [0, 0, 5]


NAMES = [f"p{n}@example.com" for n in range(4)]
WANTS = st.lists(
    st.builds(
        want,
        st.integers(0, 5),
        st.sampled_from(NAMES),
        external_id=st.sampled_from([None, *(f"user-{n}" for n in range(5))]),
        wanted=st.sampled_from([w for w in Wanted if w is not Wanted.ABSENT]),
        mapped=st.sampled_from(['{"title":"a"}', '{"title":"b"}']),
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


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wants=WANTS, people=PEOPLE)
def test_the_statement_agrees_with_a_plain_comparison(
    store: Store, wants: list[Want], people: list[DirectoryUser]
) -> None:
    def clean(conn) -> None:
        staging.clear(conn, 1)
        conn.execute(delete(user_emails))
        conn.execute(delete(users))

    store.write(clean)
    fill(store, wants, people)
    accounts = [account_of(user) for user in people]
    expected = {c.want.okta_id: c for c in (_pair(w, wants, accounts) for w in wants) if _open(c)}
    for remote in (False, True):
        assert differing(store, remote=remote) == expected
        assert absent(store, remote=remote) == {a.id for a in accounts if _absent(a, wants)}


def _pair(w: Want, wants: list[Want], accounts: list[Account]) -> Candidate:
    somebody = [x for x in wants if x.names_somebody]
    return Candidate(
        want=w,
        bound=next((a for a in accounts if a.okta_id == w.okta_id), None),
        named=next((a for a in accounts if a.id == w.external_id), None),
        holder=next((a for a in accounts if a.user_name_key == w.user_name_key), None),
        twin=w.names_somebody and sum(x.user_name_key == w.user_name_key for x in somebody) > 1,
    )


def _open(c: Candidate) -> bool:
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


def _absent(a: Account, wants: list[Want]) -> bool:
    candidate = (a.managed or a.okta_id is not None) and (a.active or a.suspended)
    meant = any(
        w.okta_id == a.okta_id
        or w.external_id == a.id
        or (a.okta_id is None and w.user_name_key == a.user_name_key)
        for w in wants
    )
    return candidate and not meant
