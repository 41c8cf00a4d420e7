"""JSON objects, read strictly: what two parsers could read differently is refused. Knows no schema.

Refused: text that is no UTF-8 (UTF-16 too), a byte-order mark, trailing text, the same key twice, NaN and Infinity, lone
surrogates, NUL, nesting over MAX_DEPTH, numbers too long to be true.
"""

import json
import re
from typing import Any, NoReturn

import msgspec

from agent.scim.errors import ScimRefused, invalid_syntax, invalid_value

MAX_DEPTH = 32
#: Matches an unterminated string too: a pattern that could fail here would scan a hostile body once for each quote.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # SCIM's names have no case, so "active" and "Active" are the same key.
    if len({key.lower() for key, _ in pairs}) != len(pairs):
        raise invalid_syntax("The body holds the same key twice in one object.")
    return dict(pairs)


def _no_constant(_: str) -> NoReturn:
    raise invalid_syntax("NaN and Infinity are not JSON.")


def _exactly_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise invalid_syntax("The body holds the same key twice in one object.")
    return dict(pairs)


_quick = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_decoder = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)
_cased_decoder = json.JSONDecoder(object_pairs_hook=_exactly_once, parse_constant=_no_constant)


def decode(body: bytes, *, cased: bool = False) -> dict[str, Any]:
    """The one JSON object that the body is. ``cased``: not SCIM, so keys that differ in case are two."""
    _require_shallow(body)
    plain = None if cased else _plain(body)
    if plain is not None:
        return plain
    try:
        text = body.decode()
        value = (_cased_decoder if cased else _decoder).decode(text)
    except ScimRefused:
        raise
    except (ValueError, RecursionError) as exc:
        raise invalid_syntax("The body is not valid JSON in UTF-8.") from exc
    if not isinstance(value, dict):
        raise invalid_syntax("The body must be one JSON object.")
    # Only an escape can bring in what UTF-8 and the parser refuse.
    if "\\u" in text:
        _require_text(value)
    return value


def _plain(body: bytes) -> dict[str, Any] | None:
    """The same by a parser that is ten times as fast but keeps the last of two equal keys, where that shows.

    Without escapes every quote begins or ends a text, so whoever loses a key, in whatever case, has fewer of them. All that Okta
    sends is so plain; None: ask the other parser, which also says what is wrong.
    """
    if b"\\" in body:
        return None
    try:
        value, caseless = _quick(body), _encode(_quick(body.decode().lower()))
    except (ValueError, OverflowError):
        return None
    return value if isinstance(value, dict) and caseless.count(b'"') == body.count(b'"') else None


def _require_shallow(body: bytes) -> None:
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _STRING.sub(b"", body).translate(None, _NOT_BRACKETS):
        if bracket in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise invalid_syntax(f"The body nests deeper than {MAX_DEPTH} levels.")
        else:
            depth -= 1


def _require_text(value: Any, place: str = "The body") -> None:
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value):
            raise invalid_value(f"{place} holds a NUL or half a surrogate pair, which is no text.")
    elif isinstance(value, dict):
        for key, item in value.items():
            _require_text(key)
            _require_text(item, key if place == "The body" else f"{place}.{key}")
    elif isinstance(value, list):
        for item in value:
            _require_text(item, place)
