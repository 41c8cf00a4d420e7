"""A user's body in: from a decoded JSON object to what it says about the account. Types are enforced, names have no case.

Unknown attributes are ignored, and with them ``password``, ``roles``, ``groups``, ``entitlements``, ``id`` and ``meta``:
what is not in agent.scim.schema has nowhere to go. Null, "" and [] mean: no value.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from agent.model.attributes import Attribute
from agent.model.users import Profile
from agent.scim.errors import invalid_value
from agent.scim.schema import CORE_URN, SUBS, WRITABLE

_BOOLEANS = {"true": True, "false": False}
#: Longer ones are no id of any identity provider, and the column ends there.
MAX_EXTERNAL_ID = 255


class Body(Struct, frozen=True, kw_only=True):
    """What a body says. ``active`` None: nothing; ``user_name`` "": nothing."""

    user_name: str
    okta_id: str | None
    active: bool | None
    profile: Profile


def check_schemas(value: Mapping[str, Any]) -> None:
    """A user's body must name its schema (RFC 7643 §3)."""
    schemas = next((v for k, v in value.items() if k.lower() == "schemas"), None)
    if not isinstance(schemas, list) or not any(isinstance(s, str) and s.lower() == CORE_URN.lower() for s in schemas):
        raise invalid_value(f"schemas must be a list that holds {CORE_URN}.")


def read(value: Mapping[str, Any]) -> Body:
    """``value`` holds no name twice, in whatever case (agent.scim.strict)."""
    clean = _object(value, WRITABLE, "")
    user_name = clean.pop("userName", "")
    okta_id = clean.pop("externalId", None)
    if okta_id is not None and (len(okta_id) > MAX_EXTERNAL_ID or not okta_id.isprintable()):
        raise invalid_value(f"externalId must have at most {MAX_EXTERNAL_ID} characters, all of them visible.")
    active = clean.pop("active", None)
    return Body(user_name=user_name, okta_id=okta_id, active=active, profile=msgspec.convert(clean, Profile))


def _object(value: Mapping[str, Any], names: Mapping[str, Attribute], path: str) -> dict[str, Any]:
    clean: dict[str, Any] = {}
    for key, item in value.items():
        attribute = names.get(key) or names.get(key.lower())
        if attribute is None:
            continue
        kept = _value(item, attribute, path)
        if kept is not None:
            clean[attribute.name] = kept
    return clean


def _value(item: Any, attribute: Attribute, path: str) -> Any:
    """The value as it is kept; None for none."""
    where = path + attribute.name
    if attribute.multi:
        return None if item is None else _values(item, attribute, where)
    if attribute.kind == "complex":
        return _complex(item, attribute, where)
    if attribute.kind == "boolean":
        return _boolean(item, attribute, where)
    if item is None or item == "":
        return None
    if not isinstance(item, str):
        raise invalid_value(f"{where} must be a string.")
    return item


def _boolean(item: Any, attribute: Attribute, where: str) -> bool | None:
    if isinstance(item, bool):
        return item
    if isinstance(item, str) and item.lower() in _BOOLEANS:
        return _BOOLEANS[item.lower()]
    # A required switch (active) with null could be read either way, so neither is guessed.
    if item is None and not attribute.required:
        return None
    raise invalid_value(f"{where} must be true or false.")


def _complex(item: Any, attribute: Attribute, where: str) -> dict[str, Any] | None:
    if item is None:
        return None
    if attribute.name == "manager" and isinstance(item, str):
        # Entra sends the manager's id alone.
        item = {"value": item}
    if not isinstance(item, dict):
        raise invalid_value(f"{where} must be an object.")
    return _object(item, SUBS[attribute.name], where + ".") or None


def _values(items: Any, attribute: Attribute, where: str) -> list[dict[str, Any]] | None:
    if not isinstance(items, list):
        raise invalid_value(f"{where} must be a list of objects.")
    names = SUBS[attribute.name]
    values: list[dict[str, Any]] = []
    primaries = 0
    for item in items:
        if not isinstance(item, dict):
            raise invalid_value(f"{where} must be a list of objects.")
        value = _object(item, names, where + ".")
        if not _says_something(value, names):
            continue
        values.append(value)
        primaries += value.get("primary") is True
    if primaries > 1:
        raise invalid_value(f"{where} has {primaries} primary values; only one may be.")
    return values or None


def _says_something(value: Mapping[str, Any], names: Mapping[str, Attribute]) -> bool:
    """An e-mail without an address is no e-mail; an address needs any part beside its type."""
    return "value" in value if "value" in names else bool(value.keys() - {"type", "primary"})
