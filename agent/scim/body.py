"""A user's body in: from a decoded JSON object to what it says about the account. Types are enforced, names have no case.

Unknown attributes are ignored, and with them ``password``, ``roles``, ``groups``, ``entitlements``, ``id`` and ``meta``:
what is not in agent.scim.schema has nowhere to go. Null, "" and [] mean: no value. Of numbers and truth values text is kept
where text belongs, as a sweep does it; a list or an object there is left out, and only it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from agent.model.attributes import Attribute
from agent.model.mapping import as_text
from agent.model.structs import ready
from agent.model.users import MAX_VALUES, Profile, external_id_problem
from agent.scim.errors import invalid_value
from agent.scim.schema import CORE_URN, SUBS, WRITABLE, Names

#: Who is meant is never guessed from what is no text.
_NAMES = (("userName",), ("externalId",))
_BOOLEANS = {"true": True, "false": False}

#: An attribute's name, inside the names of what it is part of.
Place = tuple[str, ...]


class Body(Struct, frozen=True, kw_only=True):
    """What a body says. ``active`` None: nothing; ``user_name`` "": nothing."""

    user_name: str
    okta_id: str | None
    active: bool | None
    profile: Profile
    #: Where the body has a list or an object in the place of a text. A sweep leaves these as they are, and so does a push.
    no_text: tuple[Place, ...] = ()

    def over(self, before: Profile) -> Profile:
        """The profile for an account that has ``before``."""
        if not self.no_text:
            return self.profile
        after, was = msgspec.to_builtins(self.profile), msgspec.to_builtins(before)
        for place in self.no_text:
            _leave(after, was, place)
        return msgspec.convert(after, ready[Profile])


def _leave(after: dict[str, Any], was: Mapping[str, Any], place: Place) -> None:
    name, *deeper = place
    if name in was and deeper:
        _leave(after.setdefault(name, {}), was[name], tuple(deeper))
    elif name in was:
        after[name] = was[name]


def check_schemas(value: Mapping[str, Any]) -> None:
    """A body that names schemas must name the user's (RFC 7643 §3). Clients in use leave them out: its attributes say enough."""
    schemas = value.get("schemas") or next((v for k, v in value.items() if k.lower() == "schemas"), None)
    if schemas is None or (isinstance(schemas, list) and CORE_URN in schemas):
        return
    if not isinstance(schemas, list) or not any(isinstance(s, str) and s.lower() == CORE_URN.lower() for s in schemas):
        raise invalid_value(f"schemas must be a list that holds {CORE_URN}.")


def read(value: Mapping[str, Any]) -> Body:
    """``value`` holds no name twice, in whatever case (agent.scim.strict)."""
    no_text: list[Place] = []
    clean = _object(value, WRITABLE, (), no_text)
    user_name = clean.pop("userName", "")
    okta_id = clean.pop("externalId", None)
    wrong = None if okta_id is None else external_id_problem(okta_id)
    if wrong is not None:
        raise invalid_value(wrong)
    active = clean.pop("active", None)
    profile = msgspec.convert(clean, ready[Profile])
    return Body(user_name=user_name, okta_id=okta_id, active=active, profile=profile, no_text=tuple(no_text))


def _object(value: Mapping[str, Any], names: Names, place: Place, no_text: list[Place]) -> dict[str, Any]:
    clean: dict[str, Any] = {}
    texts = names.texts
    for key, item in value.items():
        if key in texts and item.__class__ is str and item:
            # Nearly all there is; the same as below, without the way there.
            clean[key] = item
            continue
        attribute = names.get(key) or names.get(key.lower())
        if attribute is None:
            continue
        kept = _value(item, attribute, (*place, attribute.name), no_text)
        if kept is not None:
            clean[attribute.name] = kept
    return clean


def _value(item: Any, attribute: Attribute, place: Place, no_text: list[Place]) -> Any:
    """The value as it is kept; None for none."""
    if item == "" and (attribute.multi or attribute.kind != "complex"):
        return None
    # A required switch (active) with null could be read either way, so neither is guessed.
    if item is None and not (attribute.required and attribute.kind == "boolean"):
        return None
    if attribute.multi:
        return _values(item, attribute, place, no_text)
    if attribute.kind == "complex":
        return _complex(item, attribute, place, no_text)
    if attribute.kind == "boolean":
        return _boolean(item, place)
    if isinstance(item, str):
        return item
    if place in _NAMES:
        raise invalid_value(f"{_words(place)} must be a string.")
    text = as_text(item)
    if text is UNSET:
        no_text.append(place)
        return None
    return text


def _words(place: Place) -> str:
    return ".".join(place)


def _boolean(item: Any, place: Place) -> bool:
    if isinstance(item, bool):
        return item
    if isinstance(item, str) and item.lower() in _BOOLEANS:
        return _BOOLEANS[item.lower()]
    raise invalid_value(f"{_words(place)} must be true or false.")


def _complex(item: Any, attribute: Attribute, place: Place, no_text: list[Place]) -> dict[str, Any] | None:
    if attribute.name == "manager" and isinstance(item, str):
        # Entra sends the manager's id alone.
        item = {"value": item}
    if not isinstance(item, dict):
        raise invalid_value(f"{_words(place)} must be an object.")
    return _object(item, SUBS[attribute.name], place, no_text) or None


def _values(items: Any, attribute: Attribute, place: Place, no_text: list[Place]) -> list[dict[str, Any]] | None:
    if not isinstance(items, list):
        raise invalid_value(f"{_words(place)} must be a list of objects.")
    if len(items) > MAX_VALUES:
        raise invalid_value(f"{_words(place)} has {len(items)} values; the limit is {MAX_VALUES}.")
    names = SUBS[attribute.name]
    values: list[dict[str, Any]] = []
    primaries = 0
    inside: list[Place] = []
    for item in items:
        if not isinstance(item, dict):
            raise invalid_value(f"{_words(place)} must be a list of objects.")
        value = _object(item, names, place, inside)
        if not _says_something(value, names):
            continue
        values.append(value)
        primaries += value.get("primary") is True
    if primaries > 1:
        raise invalid_value(f"{_words(place)} has {primaries} primary values; only one may be.")
    if inside:
        # Which of the values it would have been can't be told for sure, so all of them stay.
        no_text.append(place)
        return None
    return values or None


def _says_something(value: Mapping[str, Any], names: Names) -> bool:
    """An e-mail without an address is no e-mail; an address needs any part beside its type."""
    return "value" in value if "value" in names else bool(value.keys() - {"type", "primary"})
