"""What a filter is once it is read: a small tree of our own. Reads no text (agent.scim.filter), knows no SQL.

Every attribute in a tree is one that users have: an unknown one is refused, never dropped.
"""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from agent.scim.schema import Target

Op = Literal["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"]
Value = str | bool | int | float | datetime | None


class Compare(Struct, frozen=True):
    target: Target
    op: Op
    value: Value


class Present(Struct, frozen=True):
    target: Target


class Not(Struct, frozen=True):
    term: "Filter"


class Both(Struct, frozen=True):
    """All of the terms."""

    terms: tuple["Filter", ...]


class Either(Struct, frozen=True):
    """Any of the terms."""

    terms: tuple["Filter", ...]


class Select(Struct, frozen=True):
    """``emails[…]``: one value for which the term holds. Inside, a Target's attribute is the multi-valued one."""

    target: Target
    term: "Filter"


Filter = Compare | Present | Not | Both | Either | Select
