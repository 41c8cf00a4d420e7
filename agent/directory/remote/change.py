"""The smallest body that makes an account what it is wanted to be, and what a read must show afterwards. Pure.

The raw resource is the base: what changes is laid over it, so that a PUT gives back whatever else the remote keeps, and a
PATCH names only what differs. Lists (e-mails, …) are replaced whole, each value with the remote's own extra keys.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import structs

from agent.directory.remote.wire import RemoteAccount, names_owner
from agent.model.users import ENTERPRISE_URN, Address, DirectoryUser, MultiValue, Role, identity_key
from agent.scim import render
from agent.scim.schema import CORE_URN

PATCH_URN = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
#: Set by the server; not sent back.
_READ_ONLY = ("meta", "groups", "password")
#: What the agent itself keeps of an e-mail, a phone, an address: it says these or clears them.
_OF_VALUES = frozenset(f.encode_name.lower() for kind in (MultiValue, Address) for f in structs.fields(kind))
_ROLES = "roles"
#: What only says which of several values one is.
_MARKS = frozenset({"type", "primary", "display"})
#: Read-backs of these decide; a remote may drop or reshape what it doesn't keep of the rest.
_ESSENTIAL = ("userName", "active")


def plain(user: DirectoryUser, *, external_id: bool, role: bool = False) -> dict[str, Any]:
    """The user as SCIM has it. Without ``external_id`` the remote's own stays out of it, and its roles without ``role``."""
    value = _with_lists(render.plain(user))
    del value["schemas"]
    if not external_id:
        value.pop("externalId", None)
    if role:
        value[_ROLES] = _owner_role(owner=user.role is Role.OWNER)
    return value


def _owner_role(*, owner: bool) -> list[dict[str, str]]:
    return [{"value": Role.OWNER.value}] if owner else []


def plain_account(account: RemoteAccount) -> dict[str, Any]:
    """The same of an account as the remote has it."""
    value = _with_lists(msgspec.to_builtins(account.profile))
    return {
        **value,
        "userName": account.user_name,
        "active": account.active,
        _ROLES: _owner_role(owner=bool(account.owner)),
    }


def _with_lists(value: Mapping[str, Any]) -> dict[str, Any]:
    """Several values are a list, as they are in what the remote sends."""
    return {key: list(item) if isinstance(item, tuple) else item for key, item in value.items()}


def creation(user: DirectoryUser) -> dict[str, Any]:
    """The body of a POST."""
    schemas = [CORE_URN] if user.profile.enterprise is None else [CORE_URN, ENTERPRISE_URN]
    return {"schemas": schemas, **plain(user, external_id=True)}


def overlay(raw: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """``raw`` with everything that differs between ``before`` and ``after`` (both as ``plain`` gives them)."""
    result = _laid_over(raw, before, after)
    schemas = _schemas(result)
    if ENTERPRISE_URN in after and ENTERPRISE_URN.lower() not in [str(urn).lower() for urn in schemas]:
        result["schemas"] = [*schemas, ENTERPRISE_URN]
    return result


def replacement(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a PUT."""
    body = {key: value for key, value in wanted.items() if key.lower() not in _READ_ONLY}
    if not _schemas(body):
        body["schemas"] = [CORE_URN]
    return body


def patch(raw: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a PATCH from ``raw`` to ``wanted``."""
    kept = [
        {k: v for k, v in value.items() if k.lower() not in ("schemas", "id", *_READ_ONLY)} for value in (raw, wanted)
    ]
    old, new = map(flat, kept)
    operations = [_operation(name, old.get(name), new.get(name)) for name in _differing(old, new)]
    return {"schemas": [PATCH_URN], "Operations": operations}


def replaces_lists(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether an e-mail, a phone, … changes: its whole list is written, so all of it has to be known."""
    return any(isinstance(before.get(name) or after.get(name), list) for name in _differing(before, after))


def unfulfilled(
    before: Mapping[str, Any] | None, after: Mapping[str, Any], found: Mapping[str, Any], *, essential: bool = False
) -> list[str]:
    """Names of what was to change and, as ``found`` shows, did not. ``essential``: userName and active alone."""
    old, new, now = flat(before or {}), flat(after), flat(found)
    names = [name for name in _differing(old, new) if name in _ESSENTIAL or not essential]
    return [name for name in names if not _same(name, new.get(name), now.get(name))]


def missing(before: Mapping[str, Any] | None, after: Mapping[str, Any], found: RemoteAccount) -> list[str]:
    """All that ``found`` doesn't show of a change."""
    return unfulfilled(before, kept(after), plain_account(found))


def kept(after: Mapping[str, Any]) -> dict[str, Any]:
    """Whether the remote keeps an externalId is its own affair; the link is in the store."""
    return {key: value for key, value in after.items() if key != "externalId"}


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Names of what one of them has otherwise than the other."""
    return [name for name in dict.fromkeys((*before, *after)) if before.get(name) != after.get(name)]


def flat(value: Mapping[str, Any]) -> dict[str, Any]:
    """By name: an attribute, or a part of one that has parts, as name.givenName or, of the extension, after a colon."""
    found: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            joint = ":" if name.lower().startswith("urn:") else "."
            found |= {f"{name}{joint}{sub}": part for sub, part in item.items()}
        else:
            found[name] = item
    return found


def nested(named: Mapping[str, Any]) -> dict[str, Any]:
    """What ``flat`` took apart; None: not there."""
    value: dict[str, Any] = {}
    for name, item in named.items():
        outer, _, sub = name.rpartition(":") if name.startswith("urn:") else name.partition(".")
        if item is not None and sub:
            value.setdefault(outer, {})[sub] = item
        elif item is not None:
            value[name] = item
    return value


def _same(name: str, wanted: Any, found: Any) -> bool:
    if name == "userName":
        return identity_key(str(wanted or "")) == identity_key(str(found or ""))
    if isinstance(wanted, list) or isinstance(found, list):
        # Order and extra keys are the remote's business, and so are marks that it doesn't keep.
        return all(any(_shows(item, other) for other in found or ()) for item in wanted or ()) and len(
            wanted or ()
        ) == len(found or ())
    if isinstance(wanted, dict):
        return _holds(wanted, found)
    return (wanted or None) == (found or None) if not isinstance(wanted, bool) else wanted is found


def _shows(wanted: Any, found: Any) -> bool:
    """Of several values: ``found`` is this one, and marks it no otherwise."""
    if not (isinstance(wanted, dict) and isinstance(found, dict)):
        return _holds(wanted, found)
    return _holds({k: v for k, v in wanted.items() if k not in _MARKS or found.get(k) is not None}, found)


def _holds(wanted: Any, found: Any) -> bool:
    """``found`` has all that ``wanted`` says; text without regard to case, for remotes fold e-mail addresses."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_holds(v, found.get(k)) for k, v in wanted.items() if v is not False)
    if isinstance(wanted, str) and isinstance(found, str):
        return identity_key(wanted) == identity_key(found)
    return bool(wanted == found)


def _key(raw: Mapping[str, Any], name: str) -> str:
    """The key that the remote itself uses."""
    return name if name in raw else next((key for key in raw if key.lower() == name.lower()), name)


def _laid_over(base: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for name in _differing(before, after):
        key = _key(result, name)
        merged = _merge(name, result.get(key), before.get(name), after.get(name))
        if merged is None:
            result.pop(key, None)
        else:
            result[key] = merged
    return result


def _merge(name: str, base: Any, old: Any, new: Any) -> Any:
    if name == _ROLES:
        # The account's other roles stay.
        others = [role for role in base if not names_owner(role)] if isinstance(base, list) else []
        return [*others, *(new or ())] or None
    if isinstance(new, list):
        return _merge_list(base if isinstance(base, list) else [], new)
    if isinstance(new, dict) or isinstance(old, dict):
        return _laid_over(base if isinstance(base, dict) else {}, old or {}, new or {}) or None
    return new


def _merge_list(base: list[Any], new: list[Any]) -> list[Any] | None:
    """Each new value on top of the one that it replaces: the same value, else the first of its type that is left."""
    left = [item for item in base if isinstance(item, dict)]
    replaced: list[dict[str, Any]] = [{}] * len(new)
    for same in (_same_value, _same_type):
        for at, item in enumerate(new):
            found = None if replaced[at] else next((b for b in left if same(b, item)), None)
            if found is not None:
                left = [b for b in left if b is not found]
                replaced[at] = found
    merged = []
    for item, old in zip(new, replaced, strict=True):
        merged.append({**{k: v for k, v in old.items() if k.lower() not in _OF_VALUES}, **item})
    return merged or None


def _same_value(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return old.get("value") is not None and _holds(new.get("value"), old["value"])


def _same_type(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return (old.get("type") or "") == (new.get("type") or "")


def _operation(path: str, old: Any, new: Any) -> dict[str, Any]:
    if new is None:
        return {"op": "remove", "path": path}
    return {"op": "add" if old is None else "replace", "path": path, "value": new}


def _schemas(value: Mapping[str, Any]) -> list[Any]:
    found = value.get(_key(value, "schemas"))
    return list(found) if isinstance(found, list) else []
