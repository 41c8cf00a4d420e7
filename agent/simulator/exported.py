"""An org as an export describes it (``rehearse export``): its app's features, its people, who is assigned and in which state.

Reads the export's lines about Okta and passes over those about the directory. Times are relative in the file; here they are
counted from the moment of loading.
"""

import gzip
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import msgspec

from agent.simulator import ids, schema
from agent.simulator.entities import OrgAppUser, User

_TIMES = {
    "created": "created",
    "lastUpdated": "last_updated",
    "statusChanged": "status_changed",
    "lastSync": "last_sync",
}


def opened(file: Path) -> IO[bytes]:
    """Gzip where its name says so."""
    return gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb")  # type: ignore[return-value]


def header(file: Path) -> dict[str, Any]:
    """The first line; ValueError where it is none."""
    with opened(file) as lines:
        found = msgspec.json.decode(lines.readline())
    if not isinstance(found, dict) or not isinstance(found.get("app"), dict):
        raise ValueError("its first line names no app")  # noqa: TRY004 - of the file, not of a caller
    return found


def app_fields(app: dict[str, Any]) -> dict[str, Any]:
    """What the app of the file has, as fields of Okta's own JSON."""
    fields = {name: app[name] for name in ("id", "status", "features", "signOnMode") if app.get(name) is not None}
    if app.get("template"):
        fields["credentials"] = {"userNameTemplate": {"template": app["template"], "type": "BUILT_IN"}}
    return fields


def people(lines: Iterable[bytes]) -> Iterator[tuple[User, OrgAppUser | None]]:
    now = datetime.now(UTC)
    for line in lines:
        found = msgspec.json.decode(line).get("person")
        if found is not None:
            user = _user(found, now)
            yield user, None if found["app_user"] is None else _app_user(user, found["app_user"], now)


def _user(found: dict[str, Any], now: datetime) -> User:
    said = found["app_user"] or {}
    profile = found["profile"]
    if profile is None:
        # Whoever is just assigned and live was not asked about: the app's own profile says what is known.
        of_app = said.get("profile") or {}
        name = said.get("userName") or found["id"]
        profile = {"login": name, "email": of_app.get("email") or name}
        profile |= {"firstName": of_app.get("givenName"), "lastName": of_app.get("familyName")}
    user = User(
        id=found["id"],
        status=found["status"],
        profile={name: value for name, value in profile.items() if value is not None},
        has_password=True,
        **_times(found, now),
    )
    user.activated = user.status_changed
    if found.get("transitioningToStatus"):
        user.raw = {"transitioningToStatus": found["transitioningToStatus"]}
    return user


def _app_user(user: User, found: dict[str, Any], now: datetime) -> OrgAppUser:
    profile = found["profile"]
    times = _times(found, now)
    return OrgAppUser(
        user=user,
        scope=found["scope"] or "USER",
        status=found["status"],
        sync_state=found["syncState"],
        user_name=found["userName"],
        own_name=True,
        external_id=found["externalId"],
        own=profile,
        without=frozenset(schema.BY_NAME) - frozenset(profile or ()),
        raw={"profile": None} if profile is None else None,
        **times,
    )


def _times(found: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {
        field: ids.okta_time(now + timedelta(microseconds=found[name]))
        for name, field in _TIMES.items()
        if found.get(name) is not None
    }
