"""Names, addresses and ids replaced, so that nobody is known by them and all that a plan is made from stays as it was.

======================  ================================================================================================
stays                   goes
======================  ================================================================================================
what is equal, however  which letters and digits it is made of; nothing is computed from them: each is drawn, and what
it is written           stood there is known as long as this object lives
length, upper and       who it is
lower case, ASCII or
not, signs and blanks
which addresses share   the domain; the last label is ``example``, so that it is nobody's
a domain
======================  ================================================================================================

Values of a column are replaced whole: "Ann" and "Ann Lee" have nothing in common afterwards.
"""

import re
import unicodedata
from collections.abc import Callable
from random import Random
from string import ascii_letters, ascii_lowercase, digits
from typing import Any

from agent.model.users import identity_key

#: Words of the product's own, which say nothing of a person.
_KEPT = frozenset(
    {
        *("true", "false", "work", "home", "other", "mobile", "fax", "pager"),
        *("owner", "member", "okta", "linked", "local", "released"),
    }
)
#: Lower-case letters outside ASCII, each the same in the form that names are compared in; and some without case.
_ACCENTED = "àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþ"
_CASELESS = "人大小中上下山川田木水火土日月石竹米花草"
_OKTA_ID = re.compile(r"00[a-z][0-9A-Za-z]{17}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: Draws of one length before it gets longer.
_TRIES = 50


class Pseudonyms:
    def __init__(self, draw: Random) -> None:
        self._draw = draw
        self._given: dict[tuple[str, str], str] = {}
        self._taken: set[tuple[str, str]] = set()

    def id(self, value: str) -> str:
        """Upper and lower case are two ids."""
        return self._of("id", value, self._id)

    def text(self, value: str) -> str:
        """A name, an address or any other value."""
        core = value.strip()
        if core.lower() in _KEPT or not any(map(str.isalnum, core)):
            return value
        key = identity_key(core)
        if _OKTA_ID.fullmatch(core) or _UUID.fullmatch(core):
            other = self.id(core)
        else:
            other = _cased(self._address(key) if "@" in key else self._of("word", key, self._word), core)
        return value.replace(core, other, 1)

    def json(self, value: Any, key: str = "") -> Any:
        """Every text and number in it; its keys and its truth values stay."""
        if isinstance(value, dict):
            return {name: self.json(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [self.json(one, key) for one in value]
        if isinstance(value, str):
            return self.id(value) if key == "externalId" and value else self.text(value)
        if isinstance(value, bool) or value is None:
            return value
        return int(self.text(str(abs(int(value)))))

    def _address(self, key: str) -> str:
        local, _, domain = key.rpartition("@")
        name = self._of(f"at {domain}", local, self._word) if local else ""
        return f"{name}@{self._of('domain', domain, self._domain) if domain else ''}"

    def _of(self, kind: str, value: str, make: Callable[[str], str]) -> str:
        found = self._given.get((kind, value))
        if found is not None:
            return found
        longer = value
        for tried in range(10_000):
            other = make(longer)
            # Never what it was, and never what another one is.
            if other != value and (kind, other) not in self._taken:
                break
            if tried % _TRIES == _TRIES - 1:
                longer += "x"
        self._given[kind, value] = other
        self._taken.add((kind, other))
        return other

    def _id(self, value: str) -> str:
        kept = 3 if _OKTA_ID.fullmatch(value) else 0
        letters = "0123456789abcdef" if _UUID.fullmatch(value) else ascii_letters + digits
        return value[:kept] + "".join(self._draw.choice(letters) if c.isalnum() else c for c in value[kept:])

    def _domain(self, value: str) -> str:
        labels = [self._word(label) for label in value.split(".")]
        return ".".join((*labels[:-1], "example")) if len(labels) > 1 else labels[0]

    def _word(self, value: str) -> str:
        made = "".join(map(self._sign, value))
        # A number stays as long as it was.
        return f"{self._draw.choice('123456789')}{made[1:]}" if made[:1] == "0" and value[:1] != "0" else made

    def _sign(self, sign: str) -> str:
        if sign.isascii():
            letters = ascii_lowercase if sign.isalpha() else digits if sign.isdigit() else sign
        elif sign.isalpha():
            letters = _CASELESS if unicodedata.category(sign) == "Lo" else _ACCENTED
        else:
            letters = digits if sign.isalnum() else sign
        return self._draw.choice(letters)


def _cased(other: str, like: str) -> str:
    """As ``like`` is written, where that is told letter by letter."""
    if like.islower() or len(like) > len(other):
        return other
    shown = "".join(o.upper() if c.isupper() else o for c, o in zip(like, other, strict=False)) + other[len(like) :]
    return shown if identity_key(shown) == other else other
