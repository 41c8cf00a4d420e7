"""Filters in SQL find exactly whom scim2-models finds in memory, on both databases, and their negations all the others."""

import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from scim2_models import ScimFilter, ScimPolicy
from sqlalchemy import select
from sqlalchemy import text as sql_text

from agent.directory import filter_sql
from agent.directory.port import Draft, WriteContext
from agent.directory.sql import SqlDirectory
from agent.model.codes import Source
from agent.model.users import Address, Enterprise, Manager, MultiValue, Name, Photo, Profile, ShownUser, identity_key
from agent.scim import filter as filters
from agent.scim import library, render
from agent.settings import Settings
from agent.store.engine import Store
from agent.store.tables import users
from support.databases import sqlite_in

START = datetime(2026, 1, 1, tzinfo=UTC)


def email(
    value: str, kind: str | None = None, *, primary: bool | None = None, display: str | None = None
) -> MultiValue:
    return MultiValue(value=value, type=kind, primary=primary, display=display)


PEOPLE = [
    Draft(
        user_name="Ann@example.com",
        okta_id="00uANN",
        profile=Profile(
            name=Name(given_name="Ann", family_name="Other"),
            display_name="Ann Other",
            title="Engineer",
            emails=(email("Ann@example.com", "work", primary=True), email("ann@home.example", "home")),
            phone_numbers=(
                MultiValue(value="+1 555", type="work"),
                MultiValue(value="+1 666", type="mobile", primary=True),
            ),
            enterprise=Enterprise(
                department="R&D", cost_center="100", manager=Manager(value="m1", display_name="Boss")
            ),
        ),
    ),
    Draft(
        user_name="bob@example.com",
        okta_id="00ubob",
        active=False,
        profile=Profile(
            name=Name(given_name="Bob"),
            display_name="bob",
            title="engineer II",
            emails=(email("bob@example.com", "Work", primary=True, display="Bob at work"),),
        ),
    ),
    Draft(
        user_name="percent%_x@example.com",
        profile=Profile(
            display_name="100% _real_",
            nick_name="back\\slash",
            emails=(email("percent%_x@example.com"),),
            addresses=(Address(country="DE", locality="Köln", type="work"), Address(country="US")),
        ),
    ),
    Draft(
        user_name="jose@example.com",
        okta_id="00uJOSE",
        profile=Profile(
            name=Name(given_name="JOSÉ", family_name="GARCÍA"),
            display_name="José García",
            locale="es-ES",
            emails=(email("jose@example.com", "work"), email("other@example.org", "other", primary=True)),
            photos=(Photo(value="https://example.com/Photo.PNG", type="photo"),),
        ),
    ),
    Draft(user_name="nobody@example.net", profile=Profile()),
    Draft(
        user_name="zoë@example.com",
        profile=Profile(
            display_name="zoë \U0001f600",
            title='say "hi"',
            user_type="Contractor",
            preferred_language="en-GB",
            emails=(email("zoe@example.com", None, primary=False),),
            enterprise=Enterprise(manager=Manager(ref="../Users/1"), employee_number="007"),
        ),
    ),
]

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
FILTERS = [
    'userName eq "ANN@example.COM"',
    'userName eq "  ann@example.com"',
    'userName ne "ann@example.com"',
    'userName co "EXAMPLE"',
    'userName sw "b"',
    'userName sw "%"',
    'userName co "%"',
    'userName co "%_"',
    'userName co "______"',
    'userName ew ".NET"',
    'userName ew "the whole name and far more than any of them has"',
    'userName sw ""',
    "userName pr",
    'userName gt "c"',
    'userName le "bob@example.com"',
    'externalId eq "00uANN"',
    'externalId eq "00uann"',
    'externalId sw "00uJ"',
    'externalId sw "00uj"',
    'externalId ne "00uANN"',
    "externalId pr",
    "externalId eq null",
    "externalId ne null",
    "active eq true",
    "active eq false",
    "active ne true",
    'active eq "False"',
    "active pr",
    'displayName eq "ann other"',
    'displayName eq "JOSÉ GARCÍA"',
    'displayName co "garcía"',
    'displayName co "\U0001f600"',
    'displayName ew "\U0001f600"',
    'displayName ew "_REAL_"',
    'displayName lt "c"',
    'displayName ge "bob"',
    'displayName ne "bob"',
    'nickName eq "back\\\\slash"',
    'nickName co "\\\\"',
    'title eq "say \\"hi\\""',
    'title sw "ENGINEER"',
    'title ne "Engineer"',
    "title eq null",
    "not (title pr)",
    'name.givenName eq "josé"',
    'name.familyName sw "gar"',
    'name.middleName eq "x"',
    'not (name.familyName eq "Other")',
    "name pr",
    "not (name pr)",
    'locale eq "ES-es"',
    'userType eq "contractor"',
    'preferredLanguage sw "en"',
    'emails eq "ann@EXAMPLE.com"',
    'emails.value ne "ann@example.com"',
    'emails co "example.org"',
    'emails.type eq "WORK"',
    'emails.type ne "work"',
    "emails.type eq null",
    "emails.type ne null",
    "emails pr",
    "emails.type pr",
    "emails.display pr",
    "emails.primary eq true",
    "emails.primary eq false",
    'emails[type eq "work"]',
    'emails[type eq "work" and value co "jose"]',
    'emails[type eq "work" and primary eq true]',
    'emails[not (type eq "work")]',
    'emails[type eq "home" or value sw "other"]',
    "emails[type pr and not (primary eq true)]",
    'emails[value eq "bob@example.com" and display co "AT WORK"]',
    'emails[type eq "work"].value eq "ann@example.com"',
    'not (emails[type eq "work"])',
    'phoneNumbers[type eq "mobile" and primary eq true]',
    'phoneNumbers co "555"',
    'phoneNumbers.value ne "+1 555"',
    "phoneNumbers.primary eq false",
    'not (phoneNumbers.type eq "work")',
    "phoneNumbers pr",
    'addresses[country eq "de" and locality eq "KÖLN"]',
    'addresses.country eq "us"',
    "addresses.type eq null",
    "addresses pr",
    'photos eq "https://example.com/Photo.PNG"',
    'photos eq "https://example.com/photo.png"',
    "ims pr",
    f'{ENTERPRISE}:department eq "r&d"',
    f'{ENTERPRISE}:manager.value eq "m1"',
    f'{ENTERPRISE}:manager.value eq "M1"',
    f'{ENTERPRISE}:manager.displayName eq "boss"',
    f"{ENTERPRISE}:manager pr",
    f'{ENTERPRISE}:costCenter gt "1"',
    f'{ENTERPRISE}:employeeNumber sw "0"',
    f"not ({ENTERPRISE}:department pr)",
    'meta.created gt "2026-01-03T00:00:00Z"',
    'meta.created le "2026-01-03T01:00:00+01:00"',
    'meta.lastModified eq "2026-01-02T00:00:00Z"',
    'meta.lastModified ne "2026-01-02T00:00:00Z"',
    'meta.resourceType eq "User"',
    'meta.resourceType eq "user"',
    'id eq "no-such-id"',
    "id pr",
    'title pr and active eq true or userName eq "nobody@example.net"',
    'title pr and (active eq true or userName eq "nobody@example.net")',
    "not (title pr and active eq true)",
    'not (not (emails co "example.com"))',
    'userName eq "x" or displayName eq "bob" or emails.value eq "zoe@example.com"',
]


def comparison_key(binding: Any, value: str) -> str:
    """How the directory compares: identity keys where uniqueness is at stake, else what scim2-models does."""
    if binding.urn.endswith((":userName", ":emails.value")):
        return identity_key(value)
    value = unicodedata.normalize("NFC", value)
    return value if binding.case_exact else value.lower()


POLICY = ScimPolicy(comparison_key=comparison_key)


def in_memory(user: ShownUser) -> Any:
    value = msgspec.json.decode(render.user(user, "https://scim.example.com/scim/v2"))
    for name in ("emails", "phoneNumbers", "photos", "addresses"):
        for item in value.get(name, ()):
            # RFC 7643 §2.4: assumed to be false where it isn't said.
            item.setdefault("primary", False)
    return library.UserModel.model_validate(value, scim_policy=library.POLICY)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlDirectory]:
    if request.param == "sqlite":
        url = sqlite_in(Path(tmp_path_factory.mktemp("db")))
    else:
        url = request.getfixturevalue("new_postgres")()
    settings = Settings(database={"url": url}, receiver={"username_is_email": False, "ascii_usernames": False})
    store = Store.open(settings.database)
    made = SqlDirectory(store, settings)
    context = WriteContext(actor="test", source=Source.PUSH)
    for day, draft in enumerate(PEOPLE):
        made.create(draft, context, START + timedelta(days=day)).result()
    yield made
    store.close()


@pytest.mark.parametrize("text", FILTERS)
def test_sql_finds_whom_scim2_models_finds(directory: SqlDirectory, text: str) -> None:
    everybody = list(directory.search(None, 1, 100).users)
    bound = ScimFilter[library.UserModel](text)
    with POLICY:
        wanted = [user.user_name for user in everybody if bound.match(in_memory(user))]
        others = [user.user_name for user in everybody if not bound.match(in_memory(user))]
    page = directory.search(filters.parse(text), 1, 100)
    assert [user.user_name for user in page.users] == wanted
    assert page.total == len(wanted)
    negated = directory.search(filters.parse(f"not ({text})"), 1, 100)
    assert [user.user_name for user in negated.users] == others


def test_the_filters_tell_people_apart(directory: SqlDirectory) -> None:
    """Guards the test above: most filters must name somebody and not everybody."""
    sizes = [directory.search(filters.parse(text), 1, 0).total for text in FILTERS]
    assert sum(0 < size < len(PEOPLE) for size in sizes) > len(FILTERS) * 3 // 4


def test_a_filtered_page_is_cut_in_the_stable_order(directory: SqlDirectory) -> None:
    where = filters.parse("userName pr")
    names = [directory.search(where, start, 2).users for start in (1, 3, 5, 7)]
    assert [user.user_name for page in names for user in page] == [draft.user_name for draft in PEOPLE]
    assert directory.search(where, 7, 2).total == len(PEOPLE)


@pytest.mark.parametrize(
    "text",
    [
        " or ".join(f'id eq "u{n}"' for n in range(32)),
        " or ".join(f'userName eq "u{n}@example.com"' for n in range(32)),
        '(externalId eq "00u1" or id eq "u2") and active eq true',
    ],
    ids=["ids", "names", "either of two, and more"],
)
def test_accounts_that_are_named_are_looked_up_and_nobody_else_is_read(sqlite_store: Store, text: str) -> None:
    term = filters.parse(text)
    wanted = select(users.c.id).where(filter_sql.visible(term, "sqlite"), filter_sql.where(term, "sqlite"))
    statement = wanted.order_by(users.c.seq).limit(50)
    compiled = statement.compile(sqlite_store.engine, compile_kwargs={"literal_binds": True})
    with sqlite_store.read() as conn:
        plan = conn.execute(sql_text(f"EXPLAIN QUERY PLAN {compiled}".replace(":", "\\:"))).all()
    looks = [row[3] for row in plan if row[3].startswith(("SEARCH", "SCAN"))]
    assert looks
    assert not [look for look in looks if "hidden" in look or look.startswith("SCAN")], looks
