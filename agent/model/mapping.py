"""Which attribute of Okta's app profile goes where in a directory profile. Pure; names (userName, e-mail) are compared apart.

Both sides are projected on the same paths as canonical JSON of the values that are set, so that a string comparison
finds the few pairs that may differ. A profile key that is absent is not compared; null or "" means cleared: the string
can't tell these two, so ``Wanted.cleared`` keeps what was said to be empty, one bit for each path.
"""

import hashlib
from collections.abc import Mapping as MappingOf
from itertools import groupby
from typing import Any

import msgspec

from agent.model.okta import AppUser
from agent.model.paths import EMAIL_PATH, UnknownPath, parse
from agent.model.users import ENTERPRISE_URN, Profile

_CORE = [
    "displayName",
    "nickName",
    "profileUrl",
    "title",
    "userType",
    "preferredLanguage",
    "locale",
    "timezone",
]
_NAME = ["givenName", "familyName", "middleName", "honorificPrefix", "honorificSuffix"]
_ENTERPRISE = ["employeeNumber", "costCenter", "organization", "division", "department"]
_ADDRESS = ["streetAddress", "locality", "region", "postalCode", "country"]

#: Okta's SCIM app profile. Its own schema sends phone and address to the one marked primary.
DEFAULT: dict[str, str] = {
    **{name: f"name.{name}" for name in _NAME},
    **{name: name for name in _CORE},
    "primaryPhone": "phoneNumbers[primary eq true].value",
    **{name: f"addresses[primary eq true].{name}" for name in _ADDRESS},
    **{name: f"{ENTERPRISE_URN}:{name}" for name in _ENTERPRISE},
    "managerValue": f"{ENTERPRISE_URN}:manager.value",
    "managerDisplayName": f"{ENTERPRISE_URN}:manager.displayName",
}

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, str]).decode


class Mapping:
    """The default with ``overrides`` (attribute → path, "" stops comparing it); raises ValueError for what is no path."""

    def __init__(self, overrides: MappingOf[str, str] | None = None) -> None:
        merged = {**DEFAULT, **(overrides or {})}
        by_path = {path: attribute for attribute, path in merged.items() if path}
        if EMAIL_PATH in by_path:
            raise UnknownPath(f"{EMAIL_PATH!r} follows the user name; it can't be mapped")
        #: In the order of the canonical form.
        self.paths: tuple[str, ...] = tuple(sorted(by_path))
        # Neighbours in the same part of the profile together: most parts of most people are empty.
        self._parts = [
            (head, [(path, parse(path).get) for path in group])
            for head, group in groupby(self.paths, lambda path: parse(path).head)
        ]
        self._sources = [(by_path[path], path, 1 << bit) for bit, path in enumerate(self.paths)]
        #: Changes when users.mapped must be rebuilt.
        self.hash = hashlib.sha256(_encode(list(self.paths))).hexdigest()

    def project(self, user_name: str, profile: Profile) -> str:  # noqa: ARG002 - names are compared by their keys
        """What the directory has, as canonical JSON."""
        values = {}
        for head, getters in self._parts:
            if not getattr(profile, head):
                continue
            for path, get in getters:
                value = get(profile)
                if value:
                    values[path] = value
        return _encode(values).decode()

    def wanted(self, app_user: AppUser) -> dict[str, str | None]:
        """What Okta wants, path by path; None: cleared; a path that is not in it is not compared."""
        profile = app_user.profile or {}
        found: dict[str, str | None] = {}
        for attribute, path, _ in self._sources:
            if attribute in profile:
                value = profile[attribute]
                if not isinstance(value, list | dict):
                    found[path] = _text(value)
        return found

    def project_wanted(self, app_user: AppUser) -> tuple[str, int]:
        """``wanted`` in two parts: canonical JSON of the values, and a bit for each path that is cleared."""
        profile = app_user.profile
        if not profile:
            return "{}", 0
        values: dict[str, str] = {}
        cleared = 0
        get = profile.get
        for attribute, path, bit in self._sources:
            value = get(attribute, self)
            if value is None or value == "":
                cleared |= bit
            elif value.__class__ is str:
                values[path] = value
            elif value is not self and not isinstance(value, list | dict):
                values[path] = _text(value) or ""
        return _encode(values).decode(), cleared

    def differences(
        self, current: str, wanted: str, cleared: int
    ) -> dict[str, tuple[str | None, str | None]]:
        """Path → (before, after), of two projections."""
        have, want = _decode(current), _decode(wanted)
        found: dict[str, tuple[str | None, str | None]] = {
            path: (have.get(path), value) for path, value in want.items() if have.get(path) != value
        }
        for path in have:
            if path not in want and cleared and cleared & (1 << self.paths.index(path)):
                found[path] = (have[path], None)
        return dict(sorted(found.items()))


def decode(projection: str) -> dict[str, str]:
    return _decode(projection)


def apply(profile: Profile, values: MappingOf[str, Any]) -> Profile:
    """The profile with these paths set (None clears); everything else is left as it is."""
    for path, value in values.items():
        profile = parse(path).set(profile, value)
    return profile


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
