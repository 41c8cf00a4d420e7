"""A filter as a condition on the embedded directory's tables, for both databases. Runs nothing.

SQL has three truth values and SCIM has two, so every comparison here is guarded against NULL: whatever is asked, ``not``
of it holds for everybody else. Text is searched with functions, not LIKE: nothing in a filter can be a wildcard.

===============  =========================================================================================
attribute        compared as
===============  =========================================================================================
userName, email  identity key (NFKC, casefold, trimmed), the form that uniqueness is checked in
id, externalId   exactly as they are, like all case-exact attributes
other text       in lower case
emails           rows of user_emails; other lists (and emails by ``display``) out of the profile's JSON
``primary``      false where it isn't said (RFC 7643 §2.4), so it is always present
===============  =========================================================================================

A comparison with a list holds if one of its values satisfies it; ``ne`` if none of them is equal.
"""

import operator
from collections.abc import Callable
from typing import Any, Literal

from sqlalchemy import (
    Boolean,
    ColumnElement,
    FromClause,
    String,
    and_,
    cast,
    column,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from agent.model.users import ENTERPRISE_URN, identity_key
from agent.scim.schema import Target
from agent.scim.terms import Both, Compare, Either, Filter, Not, Present, Select
from agent.store.tables import user_emails, users

Dialect = Literal["sqlite", "postgresql"]
Condition = ColumnElement[bool]

_COLUMNS = {
    "id": users.c.id,
    "externalId": users.c.okta_id,
    "userName": users.c.user_name_key,
    "active": users.c.active,
    "displayName": users.c.display_name,
    "name.givenName": users.c.given_name,
    "name.familyName": users.c.family_name,
    "meta.created": users.c.created,
    "meta.lastModified": users.c.updated,
}
#: Nobody shares one of these with anybody.
_KEYS = ("id", "externalId", "userName")
#: Columns and parts that hold identity keys already.
_KEYED = ("userName", "emails.value")
_ORDER = {"gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le}
_EMAIL_COLUMNS = {"value": "value_key", "type": "type", "primary": "is_primary"}

#: One attribute as an expression of the row, or of one value of a list, that a term is asked about.
ReadColumn = Callable[[Target], ColumnElement[Any]]


def where(term: Filter, dialect: Dialect) -> Condition:
    """The condition on ``users`` that holds for exactly those the filter names."""
    return _Builder(dialect).condition(term)


def visible(term: Filter, dialect: Dialect) -> Condition:
    """That an account is not hidden, beside ``where(term)``."""
    shown = users.c.hidden == false()
    # SQLite would take an index on (hidden, seq) for choosier than several keys, and read everybody.
    return func.likely(shown) if dialect == "sqlite" and _names_accounts(term) else shown


def _names_accounts(term: Filter) -> bool:
    """Only accounts with one of a few keys can fulfil it."""
    match term:
        case Either(terms=terms):
            return all(map(_names_accounts, terms))
        case Both(terms=terms):
            return any(map(_names_accounts, terms))
        case Compare(target=target, op="eq"):
            return str(target) in _KEYS
        case _:
            return False


class _Builder:
    def __init__(self, dialect: Dialect) -> None:
        self.sqlite = dialect == "sqlite"

    def condition(self, term: Filter, read: ReadColumn | None = None) -> Condition:
        """``read``: the term is about one value of a list."""
        match term:
            case Not(term=inner):
                return not_(self.condition(inner, read))
            case Both(terms=terms):
                return and_(*(self.condition(each, read) for each in terms))
            case Either(terms=terms):
                return or_(*(self.condition(each, read) for each in terms))
            case Select(target=target, term=inner):
                return self._any(target, inner, lambda value: self.condition(inner, value))
            case Compare(target=target) if target.attribute.multi and read is None:
                return self._compare_list(term)
            case Present(target=target) if target.attribute.multi and read is None:
                return self._any(target, term, lambda value: value(target).is_not(None) if target.sub else true())
            case Compare(target=target):
                return self._compare(term, (read or self._column)(target))
            case Present(target=target):
                return (read or self._column)(target).is_not(None)

    def _compare_list(self, term: Compare) -> Condition:
        target = term.target
        if term.value is None:
            empty = not_(self._any(target, term, lambda _: true()))
            missing = or_(empty, self._any(target, term, lambda read: read(target).is_(None)))
            return missing if term.op == "eq" else not_(missing)
        if term.op == "ne":
            equal = Compare(target, "eq", term.value)
            return not_(self._any(target, term, lambda read: self._compare(equal, read(target))))
        return self._any(target, term, lambda read: self._compare(term, read(target)))

    def _any(self, target: Target, term: Filter, holds: Callable[[ReadColumn], Condition]) -> Condition:
        """At least one value of the list for which it holds."""
        source, read, owned = self._emails() if self._in_table(target, term) else self._json_list(target)
        return exists(select(literal(1)).select_from(source).where(owned, holds(read)).correlate(users))

    def _in_table(self, target: Target, term: Filter) -> bool:
        return target.attribute.name == "emails" and _parts(term) <= _EMAIL_COLUMNS.keys()

    def _emails(self) -> tuple[FromClause, ReadColumn, Condition]:
        emails = user_emails.alias()
        return emails, lambda part: emails.c[_EMAIL_COLUMNS[part.leaf.name]], emails.c.user_seq == users.c.seq

    def _json_list(self, target: Target) -> tuple[FromClause, ReadColumn, Condition]:
        name = target.attribute.name
        if self.sqlite:
            each = func.json_each(users.c.profile, f'$."{name}"').table_valued("value")
        else:
            each = func.jsonb_array_elements(cast(users.c.profile, JSONB)[name]).table_valued(column("value", JSONB))
        return each, lambda part: self._part(each.c.value, part), true()

    def _part(self, value: ColumnElement[Any], part: Target) -> ColumnElement[Any]:
        """One sub-attribute of one value of a list that is kept as JSON."""
        if self.sqlite:
            found = func.json_extract(value, f'$."{part.leaf.name}"')
            return func.coalesce(found, false()) if part.leaf.kind == "boolean" else cast(found, String)
        text = value[part.leaf.name].astext
        return func.coalesce(cast(text, Boolean), false()) if part.leaf.kind == "boolean" else text

    def _column(self, target: Target) -> ColumnElement[Any]:
        """A single-valued attribute of the row."""
        path = str(target)
        if path in _COLUMNS:
            return _COLUMNS[path]
        if path in ("meta", "meta.resourceType"):
            return literal("User", String)
        keys = [ENTERPRISE_URN] if target.extension else []
        keys.append(target.attribute.name)
        if target.sub is not None:
            keys.append(target.sub.name)
        if self.sqlite:
            return cast(func.json_extract(users.c.profile, "$." + ".".join(f'"{key}"' for key in keys)), String)
        return func.jsonb_extract_path_text(cast(users.c.profile, JSONB), *keys, type_=String)

    def _compare(self, term: Compare, expression: ColumnElement[Any]) -> Condition:
        value, op = term.value, term.op
        if value is None:
            return expression.is_(None) if op == "eq" else expression.is_not(None)
        if isinstance(value, str):
            value, expression = self._folded(term.target, value, expression)
        if op == "ne":
            return or_(expression.is_(None), expression != value)
        return and_(expression.is_not(None), self._holds(op, expression, value))

    def _folded(self, target: Target, value: str, expression: ColumnElement[Any]) -> tuple[str, ColumnElement[Any]]:
        """Both sides in the form that the attribute is compared in."""
        if str(target) in _KEYED:
            return identity_key(value), expression
        if target.leaf.case_exact:
            return value, expression
        return value.lower(), func.lower(expression)

    def _holds(self, op: str, expression: ColumnElement[Any], value: Any) -> Condition:
        if op == "eq":
            equal: Condition = expression == value
            return equal
        if op in _ORDER:
            # By code point on both databases, whatever language PostgreSQL was set up for.
            bytewise = isinstance(value, str) and not self.sqlite
            ordered: Condition = _ORDER[op](expression.collate("C") if bytewise else expression, value)
            return ordered
        find, size = (func.instr if self.sqlite else func.strpos), len(value)
        if op == "co" or not size:
            contains: Condition = find(expression, value) > 0
            return contains
        if op == "sw":
            starts: Condition = func.substr(expression, 1, size) == value
            return starts
        tail = func.substr(expression, func.length(expression) - size + 1, size)
        return and_(func.length(expression) >= size, tail == value)


def _parts(term: Filter) -> set[str]:
    """The sub-attributes that a term about a list names."""
    match term:
        case Not(term=inner) | Select(term=inner):
            return _parts(inner)
        case Both(terms=terms) | Either(terms=terms):
            return set().union(*map(_parts, terms))
        case Compare(target=target) | Present(target=target):
            return {target.sub.name} if target.sub else set()
