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

from agent.model.users import ENTERPRISE_URN, Address, Enterprise, Manager, MultiValue, Name, Profile

EMAIL_PATH = "emails[primary eq true].value"
#: Types of numbers that nobody means by "the phone number".
_APART = ("fax", "pager")

Getter = Callable[[Profile], str | None]
Setter = Callable[[Profile, str | None], Profile]

_MANY: dict[str, type[Struct]] = {
    "emails": MultiValue,
    "phoneNumbers": MultiValue,
    "ims": MultiValue,
    "photos": MultiValue,
    "addresses": Address,
}
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
    urn, attr, sub = found["urn"], found["attr"], found["sub"]
    if attr in _MANY and not urn:
        return _many(text, attr, found["type"], sub or "value")
    if urn == ENTERPRISE_URN:
        chain: list[tuple[type[Struct], str]] = [(Profile, ENTERPRISE_URN), (Enterprise, attr)]
        return _chain(text, chain + ([(Manager, sub)] if sub else []))
    if urn is None and found["primary"] is None and found["type"] is None:
        return _chain(text, [(Profile, attr), (Name, sub)] if sub else [(Profile, attr)])
    raise UnknownPath(f"{text!r} is not kept of a user")


def _python_name(text: str, kind: type[Struct], wire: str) -> str:
    for known in structs.fields(kind):
        if known.encode_name == wire:
            return known.name
    raise UnknownPath(f"{text!r}: there is no {wire!r}")


def _chain(text: str, steps: list[tuple[type[Struct], str]]) -> Path:
    """Nested structs, made on the way down and dropped again when nothing is left in them."""
    names = [_python_name(text, kind, wire) for kind, wire in steps]
    for (kind, _), name, following in zip(steps, names, [k for k, _ in steps[1:]] + [str], strict=True):
        if not _holds(kind, name, following):
            raise UnknownPath(f"{text!r} is no single value")
    first, *rest = names

    def get(profile: Profile) -> str | None:
        value: Any = getattr(profile, first)
        for name in rest:
            if value is None:
                return None
            value = getattr(value, name)
        return value or None

    def put(profile: Profile, value: str | None) -> Profile:
        changed: Profile = _put(profile, names, [kind for kind, _ in steps], value)
        return changed

    return Path(text=text, within=tuple(names[:-1]), leaf=names[-1], get=get, set=put)


def _holds(kind: type[Struct], name: str, wanted: type) -> bool:
    annotation = next(known.type for known in structs.fields(kind) if known.name == name)
    return bool(annotation == (wanted | None))


def _put(outer: Any, names: list[str], kinds: list[type[Struct]], value: str | None) -> Any:
    if len(names) == 1:
        return structs.replace(outer, **{names[0]: value})
    inner = getattr(outer, names[0]) or kinds[1]()
    inner = _put(inner, names[1:], kinds[1:], value)
    return structs.replace(outer, **{names[0]: inner if msgspec.to_builtins(inner) else None})


def _many(text: str, attr: str, of_type: str | None, sub: str) -> Path:
    kind = _MANY[attr]
    many, single = _python_name(text, Profile, attr), _python_name(text, kind, sub)
    if sub in ("type", "primary"):
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
            if not _content(values[at]):
                del values[at]
                if wanted_type is None and pick(tuple(values)) is not None:
                    # What is left must not be taken for the primary one that was cleared.
                    values = [structs.replace(v, primary=False) if may_be_primary(v) else v for v in values]
        return structs.replace(profile, **{many: tuple(values)})

    which = "primary" if wanted_type is None else f"type {wanted_type}"
    return Path(text=text, within=(many,), leaf=single, get=get, set=put, which=which, pick=pick)


def _content(value: Any) -> set[str]:
    return set(msgspec.to_builtins(value)) - {"type", "primary", "display"}
