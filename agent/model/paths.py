"""SCIM paths into a profile: read one value, set one value. No filters beyond one, no lists of values, no wire format.

====================================================  ==============================================================
path                                                  the value
====================================================  ==============================================================
``title``                                             of the profile itself
``name.givenName``                                    of the name
``urn:…:enterprise:2.0:User:department``              of the enterprise extension; ``…:manager.value`` too
``phoneNumbers[type eq "work"].value``                of the first one of that type
``phoneNumbers[primary eq true].value``               of the one marked primary, else of the first that isn't marked
                                                      otherwise, and is no fax or pager number
``emails[primary eq true].value``                     of the one marked primary, else of the first
====================================================  ==============================================================
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct, structs

from agent.model.attributes import Attribute
from agent.model.users import PROFILE, Profile

EMAIL_PATH = "emails[primary eq true].value"
#: Types of numbers that nobody means by "the phone number".
_APART = ("fax", "pager")

Getter = Callable[[Profile], str | None]
Setter = Callable[[Profile, str | None], Profile]

_PATH = re.compile(
    r"(?:(?P<urn>urn:[A-Za-z0-9:._-]+:User):)?(?P<attr>\w+)"
    r"(?:\[(?:(?P<primary>primary) eq true|type eq \"(?P<type>[^\"]+)\")\])?(?:\.(?P<sub>\w+))?"
)


class Path(Struct, frozen=True, kw_only=True):
    text: str
    #: The attributes from the profile to what the value is in; nothing there, no value.
    within: tuple[str, ...]
    #: Its attribute in there.
    leaf: str
    get: Getter
    set: Setter
    #: Where there are several: which one, in words that are equal for the same one, and how it is found among them.
    which: str | None = None
    pick: Callable[[tuple[Any, ...]], Any] | None = None


class UnknownPath(ValueError):
    """The text is no path to a single value that a profile keeps."""


@cache
def parse(text: str) -> Path:
    found = _PATH.fullmatch(text)
    if found is None:
        raise UnknownPath(f"{text!r} is no SCIM path such as name.givenName")
    steps: list[Attribute] = []
    within = PROFILE
    for name in filter(None, (found["urn"], found["attr"], found["sub"])):
        steps.append(_named(text, within, name))
        within = steps[-1].subs
    if steps[0].multi:
        return _many(text, steps[0], found["type"], steps[1] if found["sub"] else _named(text, within, "value"))
    if found["primary"] or found["type"]:
        raise UnknownPath(f"{text!r} selects from what is no list")
    return _chain(text, steps)


def _named(text: str, attributes: tuple[Attribute, ...], name: str) -> Attribute:
    for attribute in attributes:
        if attribute.name == name:
            return attribute
    raise UnknownPath(f"{text!r}: there is no {name!r}")


def _chain(text: str, steps: list[Attribute]) -> Path:
    """Nested structs, made on the way down and dropped again when nothing is left in them."""
    if steps[-1].kind in ("complex", "boolean"):
        raise UnknownPath(f"{text!r} is no single value")
    names = [step.field for step in steps]
    first, *rest = names

    def get(profile: Profile) -> str | None:
        value: Any = getattr(profile, first)
        for name in rest:
            if value is None:
                return None
            value = getattr(value, name)
        return value or None

    def put(profile: Profile, value: str | None) -> Profile:
        changed: Profile = _put(profile, steps, value)
        return changed

    return Path(text=text, within=tuple(names[:-1]), leaf=names[-1], get=get, set=put)


def _put(outer: Any, steps: list[Attribute], value: str | None) -> Any:
    step, *deeper = steps
    if step.struct is None:
        return structs.replace(outer, **{step.field: value})
    inner = _put(getattr(outer, step.field) or step.struct(), deeper, value)
    return structs.replace(outer, **{step.field: inner if msgspec.to_builtins(inner) else None})


def _many(text: str, attribute: Attribute, of_type: str | None, sub: Attribute) -> Path:
    kind, many, single = attribute.struct, attribute.field, sub.field
    assert kind is not None
    if sub.name in ("type", "primary"):
        raise UnknownPath(f"{text!r} says which value it is, it is none")
    wanted_type = of_type.casefold() if of_type else None

    def may_be_primary(value: Any) -> bool:
        """Where none is marked. Of e-mails the first is, whatever it says."""
        return many == "emails" or (value.primary is None and (value.type or "").casefold() not in _APART)

    def pick(values: tuple[Any, ...]) -> Any:
        for value in values:
            if value.primary if wanted_type is None else (value.type or "").casefold() == wanted_type:
                return value
        return next(filter(may_be_primary, values), None) if wanted_type is None else None

    def get(profile: Profile) -> str | None:
        found = pick(getattr(profile, many))
        return None if found is None else getattr(found, single) or None

    def put(profile: Profile, value: str | None) -> Profile:
        values = list(getattr(profile, many))
        found = pick(tuple(values))
        if found is None:
            if value is None:
                return profile
            values.append(
                kind(
                    **{single: value},
                    type=of_type or "work",
                    primary=True if wanted_type is None or not values else None,
                )
            )
        else:
            at = next(i for i, known in enumerate(values) if known is found)
            values[at] = structs.replace(found, **{single: value})
            if not set(msgspec.to_builtins(values[at])) - {"type", "primary", "display"}:
                del values[at]
                if wanted_type is None and pick(tuple(values)) is not None:
                    # What is left must not be taken for the primary one that was cleared.
                    values = [structs.replace(v, primary=False) if may_be_primary(v) else v for v in values]
        return structs.replace(profile, **{many: tuple(values)})

    which = "primary" if wanted_type is None else f"type {wanted_type}"
    return Path(text=text, within=(many,), leaf=single, get=get, set=put, which=which, pick=pick)
