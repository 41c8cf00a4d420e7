"""An account of the remote with what the store keeps of it: the same for a sweep as for whoever reads one account."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from agent.directory.remote import merge, wire
from agent.model.mapping import Mapping
from agent.model.users import Origin
from agent.store.links import Link

MAPPING = Mapping()
NAMES = st.sampled_from(["ann@example.com", "Ann@Example.com", "stra\u00dfe@example.com", "x"])
TEXTS = st.none() | st.sampled_from(["", "a", "Ann", "\u00fc"])

ACCOUNTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"id": st.sampled_from(["1", "2"]), "userName": NAMES},
    optional={
        "active": st.booleans(),
        "externalId": st.none() | st.sampled_from(["", "00uA", "00uB"]),
        "title": TEXTS,
        "name": st.fixed_dictionaries({}, optional={"givenName": TEXTS, "familyName": TEXTS}),
        "emails": st.lists(st.fixed_dictionaries({"value": NAMES}, optional={"primary": st.booleans()}), max_size=2),
        "roles": st.none() | st.just([]) | st.sampled_from([[{"value": "owner"}], [{"value": "member"}]]),
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": st.just({"department": "D"}),
    },
)
LINKS = st.none() | st.builds(
    Link,
    directory_id=st.just("1"),
    okta_id=st.none() | st.sampled_from(["00uA", "00uC"]),
    detached=st.booleans(),
    origin=st.sampled_from([origin.value for origin in Origin]),
    protected=st.booleans(),
    suspended=st.booleans(),
    hidden=st.booleans(),
    deactivated=st.none() | st.just(datetime(2026, 1, 1, tzinfo=UTC)),
)
OWNERS = st.sampled_from([frozenset[str](), frozenset({"ann@example.com"})])


@given(ACCOUNTS, LINKS, OWNERS)
def test_what_a_sweep_compares_is_what_a_read_of_the_account_shows(
    raw: dict[str, Any], link: Link | None, owners: frozenset[str]
) -> None:
    account = wire.decode(msgspec.json.encode(raw))
    assert merge.row(account, link, owners, MAPPING) == merge.row_of(merge.join(account, link, owners), MAPPING)


@given(ACCOUNTS, LINKS, OWNERS)
def test_a_version_stays_exactly_as_long_as_the_account(
    raw: dict[str, Any], link: Link | None, owners: frozenset[str]
) -> None:
    user = merge.join(wire.decode(msgspec.json.encode(raw)), link, owners)
    assert merge.version(user) == user.version
    other = msgspec.structs.replace(user, active=not user.active)
    assert merge.version(other) != user.version
