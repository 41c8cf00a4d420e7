"""Who is signed in to the dashboard, and sign-ins that have begun. Secrets are kept as SHA-256; a session that ended is deleted.

A person whose account was deactivated, by whatever path, has no session from that moment: reading one asks for the account.
"""

import secrets
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, delete, exists, insert, or_, select

from agent.store import journal
from agent.store.connect import as_struct, as_values
from agent.store.journal import Signature
from agent.store.keys import digest
from agent.store.tables import sessions as table
from agent.store.tables import sign_ins, users

LINK_LASTS = timedelta(minutes=10)


class DashboardRole(StrEnum):
    """Each may what the one before may: look; decide about people; handle keys and everything else."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, needed: "DashboardRole") -> bool:
        order = list(DashboardRole)
        return order.index(self) >= order.index(needed)


class How(StrEnum):
    LINK = "link"
    OKTA = "okta"
    PASSWORD = "password"  # noqa: S105 - a word, no password


class SignIn(Struct, frozen=True, kw_only=True):
    """One that has begun."""

    how: How
    name: str = ""
    nonce: str = ""
    verifier: str = ""
    next: str = "/"
    expires: datetime


class Session(Struct, frozen=True, kw_only=True):
    how: How
    #: As the journal names them.
    name: str
    role: DashboardRole
    okta_id: str | None = None
    #: What Okta said that the role follows from.
    claims: tuple[str, ...] = ()
    created: datetime
    expires: datetime

    @property
    def identity(self) -> str:
        """Who it is, whatever name was given: whoever knows the password is one person."""
        return self.okta_id or (self.how.value if self.how is How.PASSWORD else f"{self.how.value} {self.name}")


def new_secret() -> str:
    return secrets.token_urlsafe(32)


def begin(conn: Connection, secret: str, started: SignIn) -> None:
    conn.execute(insert(sign_ins).values(sha256=digest(secret), **as_values(started)))


def take(conn: Connection, secret: str, how: How, now: datetime) -> SignIn | None:
    """The sign-in of this secret, which then is used up; None where there is none, or its time is over."""
    mine = (sign_ins.c.sha256 == digest(secret), sign_ins.c.how == how.value)
    row = conn.execute(delete(sign_ins).where(*mine).returning(*sign_ins.c)).first()
    if row is None or row.expires <= now:
        return None
    return as_struct(SignIn, row)


def start(conn: Connection, secret: str, session: Session) -> None:
    """Sign somebody in. Sessions of the same Okta user with another role end."""
    if session.okta_id is not None:
        mine = (table.c.okta_id == session.okta_id, table.c.role != session.role.value)
        conn.execute(delete(table).where(*mine))
    claims = msgspec.json.encode(session.claims).decode()
    conn.execute(insert(table).values(sha256=digest(secret), **{**as_values(session), "claims": claims}))
    by = Signature(actor=session.name, source="dashboard", at=session.created)
    journal.note(conn, "dashboard sign-in", by, reason=f"{session.role.value}, by {session.how.value}")


def find(conn: Connection, secret: str, now: datetime) -> Session | None:
    """The session of this secret, unless it or its person's account has ended."""
    rows = conn.execute(
        select(*table.c, users.c.active.label("active"))
        .join_from(table, users, users.c.okta_id == table.c.okta_id, isouter=True)
        .where(table.c.sha256 == digest(secret), table.c.expires > now)
    )
    row = rows.first()
    if row is None or row.active is False:
        return None
    return as_struct(Session, row, claims=msgspec.json.decode(row.claims))


def is_out(conn: Connection, okta_id: str) -> bool:
    """Whether this Okta user's account is deactivated; somebody without one is not."""
    gone = (users.c.okta_id == okta_id, users.c.active.is_(False))
    return conn.execute(select(users.c.id).where(*gone)).first() is not None


def end(conn: Connection, secret: str) -> None:
    conn.execute(delete(table).where(table.c.sha256 == digest(secret)))


def forget(conn: Connection, now: datetime) -> None:
    """Drop what has ended: by its time, or with the account of its person."""
    gone = exists().where(users.c.okta_id == table.c.okta_id, users.c.active.is_(False))
    conn.execute(delete(table).where(or_(table.c.expires <= now, gone)))
    conn.execute(delete(sign_ins).where(sign_ins.c.expires <= now))


def make_link(conn: Connection, secret: str, by: Signature) -> None:
    """A one-time link for whoever may write this database; its session is theirs."""
    begin(conn, secret, SignIn(how=How.LINK, name=by.actor, expires=by.at + LINK_LASTS))
    journal.note(conn, "dashboard link", by, reason="")
