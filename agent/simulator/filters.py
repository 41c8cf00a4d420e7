"""Okta's filter and search expressions: ``a eq "x" and (b gt "…" or not (c sw "y"))``, compiled to a predicate.

Who calls says which attributes exist and how they are read; an unknown one, or bad syntax, is E0000031.
"""

import re
from collections.abc import Callable, Iterable
from datetime import UTC
from typing import Any

from agent.simulator import ids
from agent.simulator.errors import ApiError

Predicate = Callable[[Any], bool]
#: Attribute name → how to read its value, or its values, from an object; None: no such attribute.
Resolve = Callable[[str], Callable[[Any], Any] | None]

_TOKEN = re.compile(r'\s*(\(|\)|"(?:[^"\\]|\\.)*"|[^\s()"]+)')
_TIMES = frozenset({"lastupdated", "created", "activated", "statuschanged", "published"})
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda have, want: bool(have == want),
    "ne": lambda have, want: bool(have != want),
    "sw": lambda have, want: str(have).startswith(str(want)),
    "ew": lambda have, want: str(have).endswith(str(want)),
    "co": lambda have, want: str(want) in str(have),
    "gt": lambda have, want: bool(have > want),
    "ge": lambda have, want: bool(have >= want),
    "lt": lambda have, want: bool(have < want),
    "le": lambda have, want: bool(have <= want),
}


class Filter:
    """One parse. ``fold`` compares without regard to case; ``operators`` are those that the call allows."""

    def __init__(self, text: str, resolve: Resolve, *, fold: bool, operators: frozenset[str] | None = None) -> None:
        self._tokens = _tokens(text)
        self._resolve = resolve
        self._fold = fold
        self._operators = operators or frozenset(_COMPARE) | {"pr"}
        self._at = 0

    def compile(self) -> Predicate:
        try:
            found = self._either()
        except IndexError:
            raise ApiError("E0000031") from None
        if self._at != len(self._tokens):
            raise ApiError("E0000031")
        return found

    def _word(self) -> str | None:
        return self._tokens[self._at].lower() if self._at < len(self._tokens) else None

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1]

    def _either(self) -> Predicate:
        return self._joined("or", any, self._both)

    def _both(self) -> Predicate:
        return self._joined("and", all, self._term)

    def _joined(
        self, word: str, how_many: Callable[[Iterable[bool]], bool], part: Callable[[], Predicate]
    ) -> Predicate:
        terms = [part()]
        while self._word() == word:
            self._at += 1
            terms.append(part())
        return terms[0] if len(terms) == 1 else lambda one: how_many(term(one) for term in terms)

    def _term(self) -> Predicate:
        if self._word() == "not":
            self._at += 1
            inner = self._term()
            return lambda one: not inner(one)
        if self._word() == "(":
            self._at += 1
            inner = self._either()
            if self._next() != ")":
                raise ApiError("E0000031")
            return inner
        return self._comparison()

    def _comparison(self) -> Predicate:
        name = self._next()
        read = self._resolve(name)
        operator = self._next().lower()
        if read is None or operator not in self._operators:
            raise ApiError("E0000031")
        if operator == "pr":
            return lambda one: read(one) not in (None, "", [])
        want = self._literal(name, self._next())
        compare, fold = _COMPARE[operator], self._fold

        def matches(one: Any) -> bool:
            have = read(one)
            values = have if isinstance(have, list) else [have]
            return any(compare(_folded(value, fold), want) for value in values if value is not None)

        return matches

    def _literal(self, name: str, token: str) -> Any:
        if not token.startswith('"'):
            plain: dict[str, Any] = {"true": True, "false": False, "null": None}
            if token.lower() in plain:
                return plain[token.lower()]
            raise ApiError("E0000031")
        text = re.sub(r"\\(.)", r"\1", token[1:-1])
        if name.lower() in _TIMES:
            try:
                return ids.okta_time(ids.parse_time(text).astimezone(UTC))
            except ValueError:
                raise ApiError("E0000031") from None
        return _folded(text, self._fold)


def _folded(value: Any, fold: bool) -> Any:
    if not fold or not isinstance(value, str):
        return value
    is_time = len(value) == 24 and value.endswith("Z") and value[10] == "T"
    return value if is_time else value.casefold()


def _tokens(text: str) -> list[str]:
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ApiError("E0000031")
        tokens.append(match.group(1))
        at = match.end()
    if not tokens:
        raise ApiError("E0000031")
    return tokens
