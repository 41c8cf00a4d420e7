"""The smallest body for a change: carried out on the raw account it gives what was wanted, and leaves all else alone."""

import copy
from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from agent.directory.remote import change
from agent.directory.remote.wire import decode
from agent.model.users import Address, DirectoryUser, Enterprise, Manager, MultiValue, Name, Profile

NOW = datetime(2026, 11, 24, tzinfo=UTC)
_text = st.sampled_from(["a", "b", "Zoë"])
_maybe = st.none() | _text
_values = st.lists(
    st.builds(MultiValue, value=_text, type=st.sampled_from([None, "work", "home"]), primary=st.none()),
    max_size=3,
    unique=True,
).map(tuple)
_profiles = st.builds(
    Profile,
    title=_maybe,
    display_name=_maybe,
    name=st.none() | st.builds(Name, given_name=_text, family_name=_maybe),
    emails=_values,
    phone_numbers=_values,
    addresses=st.lists(st.builds(Address, locality=_text, type=st.just("work")), max_size=1).map(tuple),
    enterprise=st.none() | st.builds(Enterprise, department=_text, manager=st.none() | st.builds(Manager, value=_text)),
)


def user(profile: Profile, name: str = "ann@example.com", *, active: bool = True) -> DirectoryUser:
    return DirectoryUser(id="1", user_name=name, profile=profile, active=active, created=NOW, updated=NOW)


def raw_of(found: DirectoryUser, **extra: Any) -> dict[str, Any]:
    """As a remote shows it, with what only the remote knows."""
    raw = {"id": found.id, **change.plain(found, external_id=False), **extra}
    if isinstance(raw.get("name"), dict):
        raw["name"] = {**raw["name"], "phonetic": "kept"}
    return msgspec.json.decode(msgspec.json.encode(raw))


def carried_out(raw: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """The PATCH, as RFC 7644 §3.5.2 reads these few forms of path."""
    result = copy.deepcopy(raw)
    for operation in body["Operations"]:
        path, target = operation["path"], result
        if path.startswith("urn:"):
            head, _, path = path.rpartition(":")
            target = result.setdefault(head, {})
        elif "." in path:
            head, _, path = path.partition(".")
            target = result.setdefault(head, {})
        if operation["op"] == "remove":
            target.pop(path, None)
        else:
            target[path] = operation["value"]
    return result


@given(_profiles, _profiles, st.booleans(), st.booleans())
def test_patch_and_put_both_make_the_account_what_is_wanted(
    old: Profile, new: Profile, active: bool, renamed: bool
) -> None:
    before, after = user(old), user(new, "lee@example.com" if renamed else "ann@example.com", active=active)
    raw = raw_of(before, badge="B-12", roles=[{"value": "owner"}])
    was, wanted = change.plain(before, external_id=False), change.plain(after, external_id=False)
    laid = change.overlay(raw, was, wanted)
    patched = carried_out(raw, change.patch(raw, laid))
    put = {**change.replacement(laid), "id": "1"}
    for result in (patched, put):
        account = decode(msgspec.json.encode(result))
        assert (account.user_name, account.active, account.profile) == (after.user_name, active, new)
        assert (result["badge"], result["roles"]) == ("B-12", [{"value": "owner"}])
        found = change.plain_account(account)
        assert change.unfulfilled(was, wanted, found) == []
    if old.name is not None and new.name is not None:
        assert patched["name"]["phonetic"] == "kept"


@given(_profiles, _profiles)
def test_what_did_not_change_is_not_sent(old: Profile, new: Profile) -> None:
    before, after = user(old), user(new)
    raw = raw_of(before)
    was, wanted = change.plain(before, external_id=False), change.plain(after, external_id=False)
    body = change.patch(raw, change.overlay(raw, was, wanted))
    heads = {
        op["path"].rpartition(":")[2].partition(".")[0] if ":" in op["path"] else op["path"].partition(".")[0]
        for op in body["Operations"]
    }
    differing = {key for key in {*was, *wanted} if was.get(key) != wanted.get(key)}
    enterprise = {"department", "manager"}
    assert {head for head in heads if head not in enterprise} == {
        key for key in differing if not key.startswith("urn:")
    }
    assert bool(heads & enterprise) is any(key.startswith("urn:") for key in differing)


@given(_profiles, _profiles)
def test_a_read_that_shows_the_old_state_is_unfulfilled(old: Profile, new: Profile) -> None:
    before, after = change.plain(user(old), external_id=False), change.plain(user(new), external_id=False)
    missing = change.unfulfilled(before, after, before)
    texts = {key for key in ("title", "displayName") if before.get(key) != after.get(key)}
    assert texts == {name for name in missing if name in ("title", "displayName")}
    assert not (before == after and missing)


def test_a_push_is_judged_by_name_and_switch_alone() -> None:
    before = change.plain(user(Profile()), external_id=False)
    after = change.plain(user(Profile(title="Clerk"), active=False), external_id=False)
    assert sorted(change.unfulfilled(before, after, before)) == ["active", "title"]
    assert change.unfulfilled(before, after, {**before, "active": False}, essential=True) == []
    assert change.unfulfilled(before, after, before, essential=True) == ["active"]


def test_the_remotes_own_spelling_of_names_is_kept() -> None:
    raw = {"id": "1", "username": "ann@example.com", "Title": "Clerk", "active": True}
    was = {"userName": "ann@example.com", "active": True, "title": "Clerk"}
    laid = change.overlay(raw, was, {**was, "title": "Chief"})
    assert change.patch(raw, laid)["Operations"] == [{"op": "replace", "path": "Title", "value": "Chief"}]


def test_a_put_sends_no_read_only_parts_and_names_its_schemas() -> None:
    raw = {"id": "1", "userName": "a", "meta": {"version": "1"}, "groups": [{"value": "g"}]}
    assert change.replacement(raw) == {"id": "1", "userName": "a", "schemas": [change.CORE_URN]}
