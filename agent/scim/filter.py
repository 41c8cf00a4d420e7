"""Filters, from text to agent.scim.terms. Reads the form that Okta sends itself; scim2-models reads all others."""

import re

from agent.scim.errors import invalid_filter
from agent.scim.schema import resolve
from agent.scim.terms import Both, Compare, Either, Filter, Not, Select

MAX_LENGTH = 2048
MAX_DEPTH = 20

#: Okta's check for existence. A value with an escape goes to the full grammar.
_SIMPLE = re.compile(r'\s*(userName|externalId|id)\s+eq\s+"([^"\\\x00-\x1f]*)"\s*', re.IGNORECASE | re.ASCII)
_UNIQUE = {name.lower(): target for name in ("userName", "externalId", "id") if (target := resolve(name))}
_QUOTED = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)


def parse(text: str) -> Filter:
    if len(text.encode(errors="replace")) > MAX_LENGTH:
        raise invalid_filter(f"The filter is longer than {MAX_LENGTH} bytes.")
    return simple(text) or _general(text)


def simple(text: str) -> Filter | None:
    """Okta's own form; None for any other, which takes a while to be read."""
    match = _SIMPLE.fullmatch(text)
    return None if match is None else Compare(_UNIQUE[match[1].lower()], "eq", match[2])


def _general(text: str) -> Filter:
    if not text.strip():
        raise invalid_filter("The filter is empty.")
    if "\x00" in text:
        raise invalid_filter("The filter holds a NUL.")
    _require_shallow(text)
    from agent.scim import library

    found = library.parse_filter(text)
    if _has_surrogate(found):
        raise invalid_filter("The filter holds half a surrogate pair, which is no text.")
    return found


def _require_shallow(text: str) -> None:
    depth = 0
    for char in _QUOTED.sub("", text):
        if char in "([":
            depth += 1
            if depth > MAX_DEPTH:
                raise invalid_filter(f"The filter nests deeper than {MAX_DEPTH} levels.")
        elif char in ")]":
            depth -= 1


def _has_surrogate(term: Filter) -> bool:
    match term:
        case Compare(value=str() as value):
            return any("\ud800" <= c <= "\udfff" or c == "\x00" for c in value)
        case Not(term=inner) | Select(term=inner):
            return _has_surrogate(inner)
        case Both(terms=terms) | Either(terms=terms):
            return any(map(_has_surrogate, terms))
    return False
