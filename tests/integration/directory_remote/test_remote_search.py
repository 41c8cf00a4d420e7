"""Searches through the gateway: nobody who doesn't fit is ever an answer, whatever the remote makes of the filter."""

import pytest

from agent.directory.port import Page
from agent.directory.remote import filter_match
from agent.model.errors import DirectoryUnavailable
from agent.model.users import Address, Enterprise, Manager, MultiValue
from agent.scim.errors import ScimRefused
from agent.scim.filter import parse
from agent.settings import Settings
from agent.store.engine import Store
from support.place import ROOMY, Place, okta_id
from support.sloppy import Call, Reply, Sloppy, error

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
FILTERS = [
    'title eq "clerk"',
    'title ne "CLERK"',
    "title pr",
    "not (title pr)",
    'title co "ler"',
    'title sw "cl"',
    'title ew "RK"',
    'title gt "b"',
    'title le "clerk"',
    "title eq null",
    "title ne null",
    'title co ""',
    "active eq false",
    "active ne true",
    'userName co "ANN"',
    'userName sw "bob" or userName sw "Cid"',
    'externalId co "00u"',
    "externalId pr",
    'externalId ne "x"',
    'name.givenName eq "ann"',
    'name.familyName eq "Nobody"',
    "nickName pr and title pr",
    'emails.value eq "ANN@example.com"',
    "emails pr",
    'emails.type eq "home"',
    'emails.type ne "home"',
    'emails[type eq "home" and value co "NET"]',
    'emails[primary eq true and type eq "home"]',
    "emails.primary eq false",
    'emails[not (type eq "work")]',
    "phoneNumbers pr",
    "phoneNumbers.value eq null",
    'phoneNumbers.value ne "+1"',
    'phoneNumbers[type eq "fax"]',
    "phoneNumbers.value pr",
    'addresses.locality eq "paris"',
    'addresses[type eq "work" and country pr]',
    f'{ENTERPRISE}:department eq "it"',
    f'{ENTERPRISE}:manager.value eq "7"',
    f'not ({ENTERPRISE}:department sw "I")',
    'meta.created gt "2020-01-01T00:00:00Z"',
    'meta.lastModified lt "2020-01-01T00:00:00Z"',
    'meta.resourceType eq "User"',
    "id pr",
    'id co "no such"',
]


@pytest.fixture
def people(sqlite_store: Store) -> Place:
    place = Place(sqlite_store, Settings(guard=ROOMY))
    ann = place.post("Ann@example.com", okta=okta_id(1), title="Clerk", nick_name="Annie").user
    home = MultiValue(value="ann@home.example.net", type="home")
    place.change(ann, emails=(*ann.profile.emails, home), phone_numbers=(MultiValue(value="+1", type="fax"),))
    bob = place.post("bob@example.com", title="Änne", addresses=(Address(locality="Paris", type="work"),)).user
    place.change(bob, active=False)
    place.post(
        "cid@example.com",
        okta=okta_id(3),
        enterprise=Enterprise(department="IT", manager=Manager(value="7")),
        addresses=(Address(locality="PARIS", country="FR", type="work"),),
        phone_numbers=(MultiValue(type="work"),),
    )
    return place


def test_the_agent_reads_a_filter_as_the_embedded_directory_does(people: Place) -> None:
    everybody = people.directory.search(None, 1, 100).users
    assert len(everybody) == 3
    some = set()
    for text in FILTERS:
        where = parse(text)
        expected = [user.id for user in people.directory.search(where, 1, 100).users]
        assert [user.id for user in everybody if filter_match.matches(where, user)] == expected, text
        some.add(len(expected))
    assert some == {0, 1, 2, 3}


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
def test_a_remote_that_ignores_a_filter_answers_nobody_who_does_not_fit(
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


def test_what_a_remote_found_itself_is_its_own_page(sloppy_place: Place, sloppy: Sloppy) -> None:
    for number in range(12):
        sloppy.add(f"p{number}@example.com", title="Clerk" if number % 2 else "Cook")
    page = search(sloppy_place, 'title eq "clerk"', 1, 4)
    assert (page.total, len(page.users)) == (6, 4)
    assert [call.query["filter"] for call in sloppy.calls] == ['title eq "clerk"']


@pytest.mark.parametrize("status", [400, 403, 404, 501])
def test_a_filter_that_the_remote_refuses_is_refused(sloppy_place: Place, sloppy: Sloppy, status: int) -> None:
    sloppy.scripted = lambda _, call: error(status) if "filter" in call.query else None
    with pytest.raises(ScimRefused) as caught:
        search(sloppy_place, 'title eq "x"')
    assert caught.value.scim_type == "invalidFilter"


def test_a_remote_that_is_no_list_of_accounts_is_unavailable(sloppy_place: Place, sloppy: Sloppy) -> None:
    def hello(_: Sloppy, call: Call) -> Reply:
        return Reply(200, {"hello": "world"})

    sloppy.scripted = hello
    with pytest.raises(DirectoryUnavailable, match=r"not with a SCIM list .* directory\.base_url"):
        search(sloppy_place, 'title eq "x"')
