"""E-mails, phones and the like: what the remote keeps beside a value stays with it, and a folded or reordered list is done."""

import copy
from typing import Any

import msgspec
import pytest

from agent.directory.remote import change
from agent.directory.remote.wire import decode
from agent.model.mapping import apply
from agent.model.users import DirectoryUser, MultiValue, Profile

HOME = {"value": "home@example.net", "type": "home", "xFlag": 7}
SPARE = {"value": "spare@example.net", "type": "work", "room": "4"}


def raw(*emails: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "userName": "ann@example.com",
        "active": True,
        "emails": list(emails),
        "meta": {"created": "2026-01-01T00:00:00Z"},
    } | more


def joined(account: dict[str, Any]) -> DirectoryUser:
    found = decode(msgspec.json.encode(account))
    return DirectoryUser(
        id="1",
        user_name=found.user_name,
        profile=found.profile,
        active=found.active,
        created=found.created,
        updated=found.updated,
    )


def changed(account: dict[str, Any], profile: Profile) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    before = joined(account)
    was = change.plain(before, external_id=False)
    wanted = change.plain(msgspec.structs.replace(before, profile=profile), external_id=False)
    return was, wanted, change.overlay(account, was, wanted)


@pytest.mark.parametrize("spare_first", [True, False])
def test_a_renamed_primary_address_leaves_the_others_as_they_are(spare_first: bool) -> None:
    old = {"value": "Ann@example.com", "type": "work", "primary": True, "since": 2019}
    account = raw(*([SPARE, HOME, old] if spare_first else [old, HOME, SPARE]))
    profile = apply(joined(account).profile, {"emails[primary eq true].value": "lee@example.com"})
    _, _, laid = changed(account, profile)
    assert sorted(laid["emails"], key=lambda e: e["value"]) == [HOME, old | {"value": "lee@example.com"}, SPARE]


def test_values_in_another_order_keep_what_is_theirs() -> None:
    account = raw({"value": "ann@example.com", "type": "work", "primary": True, "since": 2019}, SPARE)
    first, second = joined(account).profile.emails
    new = MultiValue(value="third@example.com", type="work")
    _, _, laid = changed(account, Profile(emails=(new, second, first)))
    assert [(e["value"], e.get("since"), e.get("room")) for e in laid["emails"]] == [
        ("third@example.com", None, None),
        ("spare@example.net", None, "4"),
        ("ann@example.com", 2019, None),
    ]


def test_a_remote_that_folds_and_reorders_addresses_has_done_what_was_wanted() -> None:
    account = raw({"value": "ann@example.com", "type": "work", "primary": True}, HOME)
    profile = apply(joined(account).profile, {"emails[primary eq true].value": "New.Name@Example.com"})
    was, wanted, laid = changed(account, profile)
    shown = copy.deepcopy(laid)
    shown["emails"] = [{**e, "value": e["value"].lower()} for e in reversed(shown["emails"])]
    now = change.plain_account(decode(msgspec.json.encode(shown)))
    assert change.unfulfilled(was, wanted, now) == []
    del shown["emails"][0]
    now = change.plain_account(decode(msgspec.json.encode(shown)))
    assert change.unfulfilled(was, wanted, now) == ["emails"]
