"""What one account may hold at most, so that one odd value costs its own person alone. Pure; the settings give the numbers.

Pushes, sweeps, imports and operators meet these at the guarded write. What an account holds already is never asked about:
whoever is too large can still be deactivated.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from agent.model.users import Profile, identity_key

#: Longer ones are no id of any identity provider, and the column ends there.
MAX_EXTERNAL_ID = 255
#: Nobody may allow more than these in one list: a body of a megabyte holds ten times as many.
MAX_VALUES = 1000
#: Names that are addresses of something else in Okta's API, whatever they are escaped to.
_NO_IDS = frozenset({"", ".", "..", "me"})
#: PostgreSQL keeps no key of more than 2,704 bytes in an index; NFKC makes up to 33 bytes of one character.
MAX_KEY = 1024
#: The attributes of a profile that hold several values.
LISTS = ("emails", "phone_numbers", "ims", "photos", "addresses")
_encode = msgspec.json.Encoder().encode


class Bounds(Struct, frozen=True, kw_only=True):
    """receiver.max_values and receiver.max_text."""

    values: int
    text: int


def external_id_problem(okta_id: str) -> str | None:
    if len(okta_id) > MAX_EXTERNAL_ID or not okta_id.isprintable():
        return f"externalId must have at most {MAX_EXTERNAL_ID} characters, all of them visible."
    return "externalId is no id of a person." if okta_id in _NO_IDS else None


def profile_problem(profile: Profile, bounds: Bounds) -> str | None:
    """The first attribute that is too large, and by how much; None where all of them fit."""
    for name in LISTS:
        count = len(getattr(profile, name))
        if count > bounds.values:
            words = msgspec.structs.fields(Profile)[Profile.__struct_fields__.index(name)].encode_name
            return f"{words} has {count} values; the limit is {bounds.values} (receiver.max_values)."
    size = len(_encode(profile))
    # Nothing in it can be longer than all of it.
    if size > bounds.text:
        for place, text in _texts(msgspec.to_builtins(profile), ()):
            if len(text) > bounds.text:
                return f"{place} has {len(text)} characters; the limit is {bounds.text} (receiver.max_text)."
    if size > MAX_KEY // 33:
        for email in profile.emails:
            key = len(identity_key(email.value or "").encode())
            if key > MAX_KEY:
                return f"emails.value has {key} bytes, as it is compared; the limit is {MAX_KEY}."
    return None


def _texts(value: Any, place: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield ".".join(place), value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*place, key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item, place)
