"""API keys: 256 random bits, shown once, kept as SHA-256. Two live during a roll. Knows no HTTP."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from agent.model.errors import UsageError
from agent.model.times import when
from agent.store import alarms, journal
from agent.store.connect import Fixed, as_structs, read
from agent.store.journal import Signature
from agent.store.tables import api_keys as table

#: Marks the key as ours for secret scanners.
PREFIX = "oha_"
_SHOWN = len(PREFIX) + 6
_LAST = 4
#: Slack for clocks that differ between hosts.
SLACK = timedelta(seconds=60)
#: The last use is written at most this often.
TOUCH_EVERY = timedelta(minutes=1)
#: So long before Okta can't push any more somebody is told.
ENDS_SOON = timedelta(days=14)


class KeyScope(StrEnum):
    SCIM = "scim"
    METRICS = "metrics"


class LastKey(UsageError):
    code = "last_key"


class ApiKey(Struct, frozen=True, kw_only=True):
    """A key without its secret. ``prefix`` and ``last_four`` are what may be shown of it."""

    id: int
    name: str
    prefix: str
    sha256: str
    scope: KeyScope
    created: datetime
    created_by: str
    expires: datetime | None
    revoked: datetime | None
    #: Since when it only lives on beside its successor; ``expires`` is the end of the grace then.
    grace_from: datetime | None
    last_used: datetime | None
    #: None: made before these were kept.
    last_four: str | None

    def valid(self, now: datetime) -> bool:
        return self.revoked is None and (self.expires is None or now < self.expires + SLACK)

    @property
    def actor(self) -> str:
        return f"key:{self.id} {self.name}"

    @property
    def shown(self) -> str:
        """Enough of it to tell it from others."""
        return f"{self.prefix}…{self.last_four or ''}"

    def state(self, now: datetime) -> str:
        if self.revoked is not None:
            return "revoked"
        if not self.valid(now):
            return "expired"
        return "alive" if self.grace_from is None else "in its grace"

    def late_in_grace(self, now: datetime) -> bool:
        """Used in the last quarter of its grace: somebody still has not changed over."""
        if self.grace_from is None or self.expires is None:
            return False
        return now > self.expires - (self.expires - self.grace_from) / 4


_find = Fixed(
    select(*(table.c[name] for name in ApiKey.__struct_fields__)).where(table.c.sha256 == bindparam("sha256"))
)


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def create(
    conn: Connection, by: Signature, *, name: str, scope: KeyScope = KeyScope.SCIM, expires: datetime | None = None
) -> tuple[ApiKey, str]:
    """A new key and its secret, which is not kept. UsageError where the name has a live key already, or this one would have none."""
    if expires is not None and expires <= by.at:
        raise UsageError("A key must live for some time, such as 365d. Nothing was made.")
    if _live(conn, name, by.at):
        raise UsageError(f"There is a live key {name!r} already. Roll it (keys roll {name}), or choose another name.")
    made = _make(conn, by, name=name, scope=scope, expires=expires)
    _journal(conn, "keys create", made[0], by)
    return made


def find(conn: Connection, sha256: str) -> ApiKey | None:
    """The key with this digest, valid or not."""
    row = _find(conn, sha256=sha256).fetchone()
    if row is None:
        return None
    key = read(ApiKey, row, times=("created", "expires", "revoked", "grace_from", "last_used"), scope=KeyScope)
    # The index found it; comparing again in constant time costs nothing and needs no trust in collations.
    return key if hmac.compare_digest(key.sha256.encode(), sha256.encode()) else None


def list_all(conn: Connection) -> list[ApiKey]:
    return as_structs(conn, ApiKey, select(table).order_by(table.c.id))


def last_end(found: Iterable[ApiKey]) -> datetime | None:
    """When the last key that Okta can push with ends or has ended; None where one never does, or nobody wants any."""
    ends = [key.expires for key in found if key.scope is KeyScope.SCIM and key.revoked is None]
    return None if None in ends else max((end for end in ends if end is not None), default=None)


def roll(conn: Connection, by: Signature, *, name: str, grace: timedelta) -> tuple[ApiKey, str]:
    """A successor; the key that lives now goes on for ``grace``."""
    now = by.at
    live = _live(conn, name, now)
    if not live:
        raise UsageError(f"There is no live key {name!r}. See: opshelm-agent keys list")
    old = live[-1]
    end = now + grace
    for key in live:
        # At most two live: an older one that was still in its grace ends now.
        ends = end if key is old else now - SLACK
        shortened = ends if key.expires is None else min(ends, key.expires)
        conn.execute(update(table).where(table.c.id == key.id).values(expires=shortened, grace_from=now))
    made = _make(conn, by, name=name, scope=old.scope, expires=None)
    _journal(conn, "keys roll", made[0], by)
    return made


def revoke(conn: Connection, by: Signature, *, name: str, key_id: int | None = None, last_too: bool = True) -> int:
    """End all live keys of that name (or the one with this id) at once; answers how many.

    LastKey, and nothing is ended, where Okta would have none left; with ``last_too`` that is meant.
    """
    live = [key for key in _live(conn, name, by.at) if key_id is None or key.id == key_id]
    if not live:
        raise UsageError(f"There is no live key {name!r}. See: opshelm-agent keys list")
    left = [key for key in list_all(conn) if key.scope is KeyScope.SCIM and key.valid(by.at) and key not in live]
    if not last_too and not left and any(key.scope is KeyScope.SCIM for key in live):
        raise LastKey(
            f"{name} is the last key that Okta can push with: every push would fail and become a task in Okta. Nothing was "
            f"changed. Another key first: opshelm-agent keys roll {name}. If that is meant: keys revoke {name} --yes"
        )
    for key in live:
        conn.execute(update(table).where(table.c.id == key.id).values(revoked=by.at))
        _journal(conn, "keys revoke", key, by)
    return len(live)


def drop(conn: Connection, key: ApiKey, by: Signature) -> None:
    """Revoke a key that was only made for one request, and don't list it any more; the journal keeps both."""
    _journal(conn, "keys revoke", key, by)
    conn.execute(delete(table).where(table.c.id == key.id))


def touch(conn: Connection, key: ApiKey, now: datetime) -> None:
    """It was used. Call it only where ``key.last_used`` is older than TOUCH_EVERY."""
    conn.execute(update(table).where(table.c.id == key.id).values(last_used=now))
    if key.late_in_grace(now):
        detail = (
            f"The old key {key.prefix}… of {key.name!r} is still in use and ends at {when(key.expires)}. "
            "Put the new key into Okta's API integration before then."
        )
        alarms.raise_alarm(conn, "old_key_in_use", f"key {key.id}", detail, now)


def _live(conn: Connection, name: str, now: datetime) -> list[ApiKey]:
    return [key for key in list_all(conn) if key.name == name and key.valid(now)]


def _make(
    conn: Connection, by: Signature, *, name: str, scope: KeyScope, expires: datetime | None
) -> tuple[ApiKey, str]:
    secret = PREFIX + secrets.token_urlsafe(32)
    values: dict[str, Any] = {
        "name": name,
        "prefix": secret[:_SHOWN],
        "sha256": digest(secret),
        "scope": scope.value,
        "created": by.at,
        "created_by": by.actor,
        "expires": expires,
        "last_four": secret[-_LAST:],
    }
    made = conn.execute(insert(table).values(**values).returning(table.c.id)).scalar_one()
    key = ApiKey(**{**values, "scope": scope, "id": int(made)}, revoked=None, grace_from=None, last_used=None)
    return key, secret


def _journal(conn: Connection, verb: str, key: ApiKey, by: Signature) -> None:
    journal.note(conn, verb, by, reason=f"{key.actor} ({key.prefix}…, {key.scope})")
