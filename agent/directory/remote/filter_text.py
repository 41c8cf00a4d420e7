"""A filter tree as RFC 7644 text, for a remote that is to filter itself. Knows no schema."""

import json
from datetime import UTC, datetime

from agent.scim.schema import Target
from agent.scim.terms import Both, Compare, Either, Filter, Not, Present, Select, Value


def write(term: Filter, *, inside: bool = False) -> str:
    """``inside`` a value path, attributes are named by their sub-attribute alone."""
    match term:
        case Compare(target=target, op=op, value=value):
            return f"{_name(target, inside)} {op} {_literal(value)}"
        case Present(target=target):
            return f"{_name(target, inside)} pr"
        case Not(term=inner):
            return f"not ({write(inner, inside=inside)})"
        case Both(terms=terms):
            return "(" + " and ".join(write(t, inside=inside) for t in terms) + ")"
        case Either(terms=terms):
            return "(" + " or ".join(write(t, inside=inside) for t in terms) + ")"
        case Select(target=target, term=inner):
            return f"{_name(target, inside)}[{write(inner, inside=True)}]"


def _name(target: Target, inside: bool) -> str:
    return target.sub.name if inside and target.sub is not None else str(target)


def _literal(value: Value) -> str:
    if isinstance(value, datetime):
        value = value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps(value, ensure_ascii=False)
