"""Whether one user fits a filter: what agent.directory.filter_sql says of the embedded directory, said of a remote's account.

userName and e-mail are compared by their keys, case-exact attributes as they are, other text in lower case. A comparison
with a list holds if one of its values satisfies it; ``ne`` if none is equal. What isn't there satisfies ``ne`` alone.
"""

import operator
from collections.abc import Callable
from typing import Any

from agent.model.users import ENTERPRISE_URN, DirectoryUser, identity_key
from agent.scim import render
from agent.scim.schema import Target
from agent.scim.terms import Both, Compare, Either, Filter, Not, Present, Select, Value

_KEYED = ("userName", "emails.value")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "co": operator.contains,
    "sw": str.startswith,
    "ew": str.endswith,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}


def matches(term: Filter, user: DirectoryUser) -> bool:
    meta = {"resourceType": "User", "created": user.created, "lastModified": user.updated}
    return _matches(term, {**render.plain(user), "id": user.id, "meta": meta})


def _matches(term: Filter, value: dict[str, Any], *, inside: bool = False) -> bool:
    """``inside``: ``value`` is one of a list's."""
    match term:
        case Not(term=inner):
            return not _matches(inner, value, inside=inside)
        case Both(terms=terms):
            return all(_matches(each, value, inside=inside) for each in terms)
        case Either(terms=terms):
            return any(_matches(each, value, inside=inside) for each in terms)
        case Select(target=target, term=inner):
            return any(_matches(inner, item, inside=True) for item in _items(target, value))
        case Present(target=target) if target.attribute.multi and not inside:
            return any(target.sub is None or _part(target, item) is not None for item in _items(target, value))
        case Present(target=target):
            return (_part if inside else _single)(target, value) is not None
        case Compare(target=target) if target.attribute.multi and not inside:
            return _compare_list(term, [_part(target, item) for item in _items(target, value)])
        case Compare(target=target):
            return _compare(term, (_part if inside else _single)(target, value))


def _items(target: Target, value: dict[str, Any]) -> list[dict[str, Any]]:
    return list(value.get(target.attribute.name) or ())


def _part(target: Target, item: dict[str, Any]) -> Any:
    """A list's own name stands for its ``value``."""
    found = item.get(target.leaf.name if target.sub is not None else "value")
    # RFC 7643 §2.4: false where it isn't said.
    return bool(found) if target.leaf.kind == "boolean" else found


def _single(target: Target, value: dict[str, Any]) -> Any:
    outer = (value.get(ENTERPRISE_URN) or {}) if target.extension else value
    found = outer.get(target.attribute.name)
    return (found or {}).get(target.sub.name) if target.sub is not None else found


def _compare_list(term: Compare, values: list[Any]) -> bool:
    if term.value is None:
        missing = not values or None in values
        return missing if term.op == "eq" else not missing
    if term.op == "ne":
        return not any(_compare(Compare(term.target, "eq", term.value), value) for value in values)
    return any(_compare(term, value) for value in values)


def _compare(term: Compare, found: Any) -> bool:
    if term.value is None:
        return (found is None) is (term.op == "eq")
    if found is None:
        return term.op == "ne"
    wanted, found = _folded(term.target, term.value), _folded(term.target, found)
    if term.op == "ne":
        return bool(wanted != found)
    try:
        return bool(_OPERATORS[term.op](found, wanted))
    except TypeError:
        # A number beside a text, such as the grammar doesn't let through.
        return False


def _folded(target: Target, value: Value) -> Any:
    if not isinstance(value, str):
        return value
    if str(target) in _KEYED:
        return identity_key(value)
    return value if target.leaf.case_exact else value.lower()
