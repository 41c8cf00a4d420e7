"""Renames that wait for each other (A↔B), in one transaction: all are checked, the names are parked, all are written.

Only for the embedded directory. Which accounts form a ring is the plan's to know (agent.model.order).
"""

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace
from sqlalchemy import Connection, update

from agent.directory import guarded, rows, transition
from agent.directory.policy import Policy
from agent.directory.port import Draft, WriteContext, Written
from agent.model.errors import NotFound, VersionConflict
from agent.model.mapping import apply
from agent.model.paths import EMAIL_PATH
from agent.model.users import DirectoryUser
from agent.store import account
from agent.store.tables import users

#: Account id, the version that the plan saw, the wanted userName.
Member = tuple[str, int | None, str]


def rename_in(
    conn: Connection, members: Sequence[Member], context: WriteContext, now: datetime, policy: Policy
) -> list[Written]:
    """Everybody gets the new userName, and the e-mail that equals it; Refused, NotFound or VersionConflict: nobody does."""
    row = account.lock(conn)
    ids = [member[0] for member in members]
    pairs = [_pair(conn, member, context, now, policy) for member in members]
    ready = [
        guarded.check(conn, row, before=before, after=after, context=context, now=now, policy=policy, beside=ids)
        for before, after in pairs
    ]
    for before, _ in pairs:
        # Names are unique row by row; nobody else sees the parked ones.
        parked = update(users).where(users.c.id == before.id).values(user_name_key=f"#moving {before.id}")
        conn.execute(parked)
    return [Written(user=guarded.carry_out(conn, one, now, policy), changed=True) for one in ready]


def _pair(
    conn: Connection, member: Member, context: WriteContext, now: datetime, policy: Policy
) -> tuple[DirectoryUser, DirectoryUser]:
    user_id, version, user_name = member
    before = rows.one(rows.by_id(conn, id=user_id))
    if before is None:
        raise NotFound("There is no such user.")
    if version is not None and before.version != version:
        raise VersionConflict(f"The account has changed since version {version}; it is at {before.version}.")
    profile = before.profile
    if policy.receiver.username_is_email:
        profile = apply(profile, {EMAIL_PATH: user_name})
    wanted = Draft(user_name=user_name, profile=profile, active=before.active, active_said=False)
    return before, replace(transition.modified(before, wanted, context, now))
