"""What a remote shows, as rows of users: one name and one externalId each, everything else as it was seen, nothing for ever."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.directory.sql import SqlDirectory
from agent.model.codes import FindingCode
from agent.model.errors import UsageError
from agent.model.users import Origin
from agent.settings import Settings
from agent.store import account
from agent.store.engine import Store
from support.place import Place, okta_id, remote_place
from support.remotes import Remote
from support.sloppy import KEY, Sloppy, sloppy_server

LONG = timedelta(minutes=30)


@pytest.fixture
def sloppy_place(store: Store, sloppy: Sloppy) -> Iterator[Place]:
    """On either database."""
    with remote_place(store, Remote(sloppy.url, KEY)) as found:
        yield found
        found.remote.client.close()


def listed(place: Place) -> dict[str, Any]:
    return {user.id: user for page in place.directory.everyone() for user in page}


def counters(place: Place) -> tuple[int, int]:
    """Managed and active; shown."""
    with place.store.read() as conn:
        row = account.get(conn)
    return row.managed_active, row.visible


def rows(place: Place, statement: str) -> list[tuple[Any, ...]]:
    with place.store.read() as conn:
        return [tuple(row) for row in conn.exec_driver_sql(statement)]


def test_an_external_id_that_several_accounts_have_binds_only_the_one_that_a_link_confirms(
    sloppy_place: Place, sloppy: Sloppy
) -> None:
    confirmed = sloppy_place.post("ann@example.com", okta=okta_id(1)).user
    claims = sloppy.add("ann2@example.com", externalId=okta_id(1))
    rivals = [sloppy.add(f"rival{n}@example.com", externalId=okta_id(9)) for n in range(2)]
    people = listed(sloppy_place)
    assert {user.okta_id for user_id, user in people.items() if user_id != confirmed.id} == {None}
    assert people[confirmed.id].okta_id == okta_id(1)
    found = sloppy_place.directory.findings
    assert {(f.code, f.directory_id) for f in found} == {
        (FindingCode.DUPLICATE_LISTED, user_id) for user_id in (claims, *rivals)
    }
    # Read alone, it is no more than in a list.
    seen = sloppy_place.directory.get(rivals[0])
    assert seen is not None
    assert seen.okta_id is None
    sloppy.users[rivals[1]]["externalId"] = None
    assert listed(sloppy_place)[rivals[0]].okta_id == okta_id(9)


def test_two_accounts_whose_names_differ_in_case_are_known_by_id_until_one_is_gone(
    sloppy_place: Place, sloppy: Sloppy
) -> None:
    first, second = sloppy.add("Ann@example.com"), sloppy.add("ann@example.com")
    assert set(listed(sloppy_place)) == {first, second}
    reported = {(found.code, found.directory_id) for found in sloppy_place.directory.findings}
    assert reported == {(FindingCode.DUPLICATE_LISTED, first), (FindingCode.DUPLICATE_LISTED, second)}
    del sloppy.users[second]
    assert set(listed(sloppy_place)) == {first}
    assert sloppy_place.directory.findings == ()
    found = sloppy_place.directory.find(user_name_key="ann@example.com")
    assert found is not None
    assert found.id == first


def test_one_without_a_name_can_be_linked_and_hidden(sloppy_place: Place, sloppy: Sloppy) -> None:
    first = sloppy.add("Ann@example.com")
    sloppy.add("ann@example.com")
    listed(sloppy_place)
    assert sloppy_place.acts().link(first, okta_id(1)).okta_id == okta_id(1)
    user = listed(sloppy_place)[first]
    sloppy_place.delete(user)
    assert (listed(sloppy_place)[first].hidden, len(listed(sloppy_place))) == (True, 2)


def test_names_that_changed_hands_between_two_listings_are_everybody_s_own(sloppy_place: Place, sloppy: Sloppy) -> None:
    ids = [sloppy.add(f"p{n}@example.com") for n in range(3)]
    listed(sloppy_place)
    for n, user_id in enumerate(ids):
        sloppy.users[user_id]["userName"] = f"p{(n + 1) % 3}@example.com"
    assert {user_id: user.user_name for user_id, user in listed(sloppy_place).items()} == {
        user_id: f"p{(n + 1) % 3}@example.com" for n, user_id in enumerate(ids)
    }
    assert sloppy_place.directory.findings == ()
    assert rows(sloppy_place, "select count(*) from users where user_name_key <> user_name") == [(0,)]


def test_what_the_agent_keeps_of_an_account_waits_for_its_return(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = sloppy_place.post("ann@example.com", okta=okta_id(1)).user
    sloppy_place.acts().protect(user.id, protected=True)
    sloppy.users[user.id]["externalId"] = "HR-1"
    kept = sloppy.users.pop(user.id)
    sloppy.add("boss@example.com")
    assert user.id not in listed(sloppy_place)
    assert counters(sloppy_place) == (0, 1)
    sloppy.users[user.id] = kept
    back = listed(sloppy_place)[user.id]
    assert (back.okta_id, back.origin, back.protected) == (okta_id(1), Origin.OKTA, True)
    assert back.version != user.version
    assert counters(sloppy_place) == (1, 2)


def test_who_was_linked_and_comes_back_has_the_external_id_that_another_account_took_meanwhile(
    sloppy_place: Place, sloppy: Sloppy
) -> None:
    user = sloppy_place.post("ann@example.com", okta=okta_id(1)).user
    there = sloppy.users.pop(user.id)
    sloppy_place.now += LONG
    claims = sloppy.add("ann2@example.com", externalId=okta_id(1))
    assert listed(sloppy_place)[claims].okta_id == okta_id(1)
    sloppy.users[user.id] = there
    assert {user_id: one.okta_id for user_id, one in listed(sloppy_place).items()} == {
        user.id: okta_id(1),
        claims: None,
    }
    assert [one.directory_id for one in sloppy_place.directory.findings] == [claims]


def test_an_account_that_cannot_be_read_any_more_is_no_row_until_it_can(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = sloppy_place.post("ann@example.com", okta=okta_id(1)).user
    emails = sloppy.users[user.id]["emails"]
    sloppy.users[user.id]["emails"] = "nonsense"
    assert listed(sloppy_place) == {}
    sloppy.users[user.id]["emails"] = emails
    assert listed(sloppy_place)[user.id].okta_id == okta_id(1)


def test_a_list_that_shows_the_same_again_writes_nothing(sloppy_place: Place, sloppy: Sloppy) -> None:
    ids = [sloppy.add(f"p{n}@example.com", externalId=okta_id(n)) for n in range(3)]
    before = listed(sloppy_place)
    digests = rows(sloppy_place, "select user_seq, digest from mirror order by user_seq")
    assert None not in [digest for _, digest in digests]
    sloppy.users[ids[1]]["title"] = "Clerk"
    after = listed(sloppy_place)
    assert [user_id for user_id in ids if after[user_id] != before[user_id]] == [ids[1]]
    assert after[ids[1]].version == before[ids[1]].version + 1
    changed = dict(rows(sloppy_place, "select user_seq, digest from mirror")).items() - dict(digests).items()
    assert len(changed) == 1


def test_the_agent_s_own_write_is_looked_at_though_the_list_shows_what_it_showed_before(
    sloppy_place: Place, sloppy: Sloppy
) -> None:
    """Somebody undoes it there, and the list is byte for byte what it was: the row is not."""
    user = sloppy_place.post("ann@example.com", okta=okta_id(1)).user
    sloppy_place.now += LONG
    listed(sloppy_place)
    was = dict(sloppy.users[user.id])
    sloppy_place.change(user, title="Clerk")
    sloppy.users[user.id] = was
    sloppy_place.now += LONG
    assert listed(sloppy_place)[user.id].profile.title is None


def test_counters_are_those_of_the_rows_after_any_listing(sloppy_place: Place, sloppy: Sloppy) -> None:
    people = [sloppy_place.post(f"p{n}@example.com", okta=okta_id(n)).user for n in range(4)]
    sloppy.add("local@example.com")
    sloppy_place.change(people[0], active=False)
    sloppy_place.delete(people[1])
    assert counters(sloppy_place) == (2, 3)
    listed(sloppy_place)
    assert counters(sloppy_place) == (2, 4)


@pytest.mark.parametrize("name", ["ann@example.com", "Ann.Lee@Example.com"])
def test_a_search_that_shows_what_the_agent_has_changed_since_is_not_believed(
    sloppy_place: Place, sloppy: Sloppy, name: str
) -> None:
    import copy

    user = sloppy_place.post(name, okta=okta_id(1)).user
    sloppy.stale = copy.deepcopy(sloppy.users)
    sloppy_place.change(user, user_name="lee@example.com")
    assert sloppy_place.directory.find(user_name_key=name.lower()) is None
    found = sloppy_place.directory.find(user_name_key="lee@example.com")
    assert found is not None
    assert found.id == user.id


def test_a_database_is_of_one_kind(sqlite_store: Store, sloppy: Sloppy, tmp_path: Path) -> None:
    embedded = Place(sqlite_store, Settings())
    embedded.local("ann@example.com")
    with pytest.raises(UsageError, match=r"database\.url"), remote_place(sqlite_store, Remote(sloppy.url, KEY)):
        pass


def test_the_mirror_of_a_remote_is_no_embedded_directory(sloppy_place: Place, sloppy: Sloppy) -> None:
    sloppy.add("ann@example.com")
    listed(sloppy_place)
    with pytest.raises(UsageError, match="remote"):
        SqlDirectory(sloppy_place.store, Settings())


def test_what_one_remote_shows_twice_in_a_page_counts_once(sqlite_store: Store) -> None:
    """A digest that is known hides no duplicate."""
    with sloppy_server() as server, remote_place(sqlite_store, Remote(server.url, KEY)) as place:
        first = server.add("ann@example.com")
        server.add("bob@example.com")
        listed(place)
        server.shape_list = lambda body: body | {"Resources": [*body["Resources"], server.users[first]]}
        assert len(listed(place)) == 2
        assert [f.directory_id for f in place.directory.findings] == [first]
        place.remote.client.close()


def test_what_says_nothing_of_its_times_moves_none(sloppy_place: Place, sloppy: Sloppy) -> None:
    """A list without ``meta``, a read with it: neither undoes what the other one has said, nor is it a change."""
    made = "2026-01-02T03:04:05Z"
    user_id = sloppy.add("ann@example.com")
    listed(sloppy_place)
    sloppy.users[user_id]["meta"] |= {"created": made, "lastModified": made}
    seen = sloppy_place.directory.get(user_id)
    assert seen is not None
    assert seen.created.year == seen.updated.year == 2026
    sloppy.shape_list = lambda body: (
        body | {"Resources": [{k: v for k, v in user.items() if k != "meta"} for user in body["Resources"]]}
    )
    again = listed(sloppy_place)[user_id]
    assert (again.created, again.updated, again.version) == (seen.created, seen.updated, seen.version)
