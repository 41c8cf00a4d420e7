"""Searches through the gateway: an identity is asked of the remote, all else is answered from the mirror, never from an old one."""

import msgspec
import pytest

from agent.directory.port import Page
from agent.model.errors import DirectoryUnavailable, Refused
from agent.scim.filter import parse
from support.place import Place, okta_id
from support.sloppy import Call, Reply, Sloppy, error


def search(place: Place, text: str, start: int = 1, count: int = 100) -> Page:
    return place.directory.search(parse(text), start, count)


def names(page: Page) -> list[str]:
    return [user.user_name for user in page.users]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('title eq "zzz"', []),
        ("active eq false", ["bob@example.com"]),
        ('name.familyName eq "Nobody"', []),
        ('emails.value eq "cid@example.com"', ["cid@example.com"]),
        ('title eq "clerk"', ["ann@example.com"]),
    ],
)
@pytest.mark.parametrize("count", [100, 1, 0])
def test_a_remote_that_ignores_filters_hinders_no_search(
    sloppy_place: Place, sloppy: Sloppy, text: str, expected: list[str], count: int
) -> None:
    sloppy.add("ann@example.com", title="Clerk")
    sloppy.add("bob@example.com", active=False)
    sloppy.add("cid@example.com")
    sloppy.filters = False
    page = search(sloppy_place, text, count=count)
    assert (page.total, names(page)) == (len(expected), expected[:count])


def test_a_search_of_everybody_is_cut_into_pages(sloppy_place: Place, sloppy: Sloppy) -> None:
    for number in range(12):
        sloppy.add(f"p{number}@example.com", active=bool(number % 2))
    sloppy.filters = False
    found = [search(sloppy_place, "active eq true", start, 4) for start in (1, 5, 9)]
    assert [page.total for page in found] == [6, 6, 6]
    assert [name for page in found for name in names(page)] == [f"p{n}@example.com" for n in range(1, 12, 2)]


def test_many_searches_cost_one_listing(sloppy_place: Place, sloppy: Sloppy) -> None:
    for number in range(12):
        sloppy.add(f"p{number}@example.com", title="Clerk" if number % 2 else "Cook")
    for text in ('title eq "clerk"', "active eq true", "title pr"):
        search(sloppy_place, text, 1, 4)
    sloppy_place.directory.search(None, 1, 10)
    assert sum(call.path == "/Users" and call.query["startIndex"] == "1" for call in sloppy.calls) == 1
    assert not any("filter" in call.query for call in sloppy.calls)


def test_an_identity_is_asked_of_the_remote(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = sloppy_place.post("ann@example.com", okta=okta_id(1)).user
    search(sloppy_place, "active eq true")
    sloppy.users[user.id] |= {"userName": "lee@example.com", "title": "Clerk"}
    assert names(search(sloppy_place, 'userName eq "ann@example.com"')) == []
    for text in ('userName eq "lee@example.com"', f'externalId eq "{okta_id(1)}"', f'id eq "{user.id}"'):
        (found,) = search(sloppy_place, text).users
        assert (found.user_name, msgspec.json.decode(found.profile)["title"]) == ("lee@example.com", "Clerk"), text
    assert names(search(sloppy_place, 'title eq "clerk"')) == ["lee@example.com"]


def test_an_old_mirror_answers_nothing_while_the_remote_is_down(
    sloppy_place: Place, sloppy: Sloppy, monkeypatch: pytest.MonkeyPatch
) -> None:
    sloppy.add("ann@example.com", title="Clerk")
    assert names(search(sloppy_place, 'title eq "clerk"')) == ["ann@example.com"]
    monkeypatch.setattr("agent.directory.remote.directory.FRESH", 0.0)
    sloppy_place.directory.transport.most_patience = 0.0
    sloppy.scripted = lambda *_: Reply(cut=0)
    for text in ('title eq "clerk"', 'userName eq "ann@example.com"'):
        with pytest.raises(DirectoryUnavailable):
            search(sloppy_place, text)
    with pytest.raises(DirectoryUnavailable):
        sloppy_place.directory.search(None, 1, 10)


def test_a_remote_that_is_no_list_of_accounts_is_unavailable(sloppy_place: Place, sloppy: Sloppy) -> None:
    def hello(_: Sloppy, call: Call) -> Reply:
        return Reply(200, {"hello": "world"})

    sloppy.scripted = hello
    with pytest.raises(DirectoryUnavailable, match="no SCIM list"):
        search(sloppy_place, 'title eq "x"')
    with pytest.raises(DirectoryUnavailable, match=r"not with a SCIM list .* directory\.base_url"):
        sloppy_place.directory.facts(0.0)


@pytest.mark.parametrize("attribute", ["userName", "externalId"])
def test_a_remote_that_fails_at_a_search_is_listed_instead(sloppy_place: Place, sloppy: Sloppy, attribute: str) -> None:
    """Each such search is a 500: nobody can be asked for it later either, and all others are answered."""
    sloppy.add("ann@example.com", externalId=okta_id(1))
    failing = error(500, "no such column")
    sloppy.scripted = lambda _, call: failing if attribute in call.query.get("filter", "") else None
    for _ in range(2):
        for text in ('userName eq "ann@example.com"', f'externalId eq "{okta_id(1)}"'):
            assert names(search(sloppy_place, text)) == ["ann@example.com"]
    assert sloppy_place.post("bob@example.com", okta=okta_id(2)).created
    before = len(sloppy.calls)
    assert sloppy_place.post("cid@example.com", okta=okta_id(3)).created
    searched = [call.query["filter"] for call in sloppy.calls[before:] if "filter" in call.query]
    assert not [text for text in searched if attribute in text]


NOBODY = Reply(
    200, {"schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"], "totalResults": 0, "Resources": []}
)


def test_one_that_finds_nobody_by_external_id_is_listed_instead(sloppy_place: Place, sloppy: Sloppy) -> None:
    """Some answer so to a filter that they don't know. Who is there under an old name gets no second account."""
    sloppy.add("ann.old@example.com", externalId=okta_id(1), active=False)
    sloppy.scripted = lambda _, call: NOBODY if "externalId" in call.query.get("filter", "") else None
    assert names(search(sloppy_place, f'externalId eq "{okta_id(1)}"')) == ["ann.old@example.com"]
    with pytest.raises(Refused, match=r"ann\.old@example\.com is a local OpsHelm account"):
        sloppy_place.post("ann@example.com", okta=okta_id(1))
    assert sloppy_place.post("bob@example.com", okta=okta_id(2)).created
    assert [user["userName"] for user in sloppy.users.values()] == ["ann.old@example.com", "bob@example.com"]
    assert sum(call.query.get("startIndex") == "1" and "filter" not in call.query for call in sloppy.calls) <= 4


def test_a_search_that_found_somebody_is_believed(sloppy_place: Place, sloppy: Sloppy) -> None:
    sloppy.add("ann@example.com", externalId=okta_id(1))
    for number in (1, 2, 3):
        search(sloppy_place, f'externalId eq "{okta_id(number)}"')
    assert all("filter" in call.query for call in sloppy.calls if call.path == "/Users")


def test_one_that_keeps_no_external_ids_is_looked_through_once(sloppy_place: Place, sloppy: Sloppy) -> None:
    sloppy.add("ann@example.com")
    for number in (1, 2, 3):
        search(sloppy_place, f'externalId eq "{okta_id(number)}"')
    assert sum("filter" not in call.query for call in sloppy.calls if call.path == "/Users") == 1


def test_a_search_that_failed_is_tried_again(
    sloppy_place: Place, sloppy: Sloppy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One 500 may have been the remote's bad moment."""
    sloppy.add("ann@example.com")
    sloppy.scripted = lambda _, call: error(400) if "filter" in call.query else None
    assert names(search(sloppy_place, 'userName eq "ann@example.com"')) == ["ann@example.com"]
    sloppy.scripted = None
    for rest, searched in ((300.0, False), (0.0, True)):
        monkeypatch.setattr("agent.directory.remote.lookup.FRESH", rest)
        sloppy.calls.clear()
        search(sloppy_place, 'userName eq "ann@example.com"')
        assert any("filter" in call.query for call in sloppy.calls) is searched
