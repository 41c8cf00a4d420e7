"""Writes to the embedded directory inside a transaction that is open already. Each is guarded; what a rule refuses is kept.

``Raised`` is the answer where a rule refused: the attempt's row is written, and is to be committed with the rest.
"""

from collections.abc import Sequence

from sqlalchemy import update

from agent.directory import decisions, guarded, refusals, rows, rules
from agent.directory.port import Draft, Written
from agent.directory.rows import WriteScope
from agent.directory.rules import AccountChange
from agent.model.errors import Refused
from agent.model.users import DirectoryUser, identity_key
from agent.store.engine import Raised
from agent.store.tables import users


def create(scope: WriteScope, draft: Draft) -> Written | Raised:
    """A POST: makes the account, or reactivates or revives one as guarded.revivable says."""
    context, now = scope.context, scope.now
    before, after = None, None
    try:
        rules.user_name(draft.user_name, scope.policy, active=draft.active)
        key = identity_key(draft.user_name)
        email_key = identity_key(draft.profile.primary_email or "") or None
        holders = rows.holders(scope.conn, key, draft.okta_id, email_key)
        same_id = next((u for u in holders if draft.okta_id is not None and u.okta_id == draft.okta_id), None)
        before = guarded.revivable(draft, same_id, next((u for u in holders if u.user_name_key == key), None))
        if before is None:
            guarded.id_free(scope, draft)
            after = rules.created(draft, context, now)
        else:
            after = rules.revived(before, draft, context, now)
        user = guarded.write(scope, before, after, revives=before is not None, holders=holders)
    except Refused as refused:
        return refusals.record(scope, refused, before, after or rules.created(draft, context, now))
    return Written(user=user, changed=True, created=True)


def add(scope: WriteScope, user: DirectoryUser) -> DirectoryUser | Raised:
    try:
        return guarded.write(scope, None, user)
    except Refused as refused:
        return refusals.record(scope, refused, None, user)


def change(scope: WriteScope, change: AccountChange) -> Written | Raised:
    before, after = change.of(rows.current(scope.conn, change.user_id)), None
    try:
        after = change.wanted(before)
        user = guarded.write(scope, before, after)
    except Refused as refused:
        return refusals.record(scope, refused, before, after)
    return Written(user=user, changed=user.version != before.version)


def change_together(scope: WriteScope, changes: Sequence[AccountChange]) -> list[Written] | Raised:
    """All of them or none. Renames may wait for each other: all are checked, the names are parked, all are written."""
    found = [change.of(rows.current(scope.conn, change.user_id)) for change in changes]
    pairs = [(before, change.wanted(before)) for change, before in zip(changes, found, strict=True)]
    ready: dict[str, guarded.Ready] = {}
    for before, after in pairs:
        try:
            if before != after:
                ready[before.id] = guarded.check(scope, before, after, beside=pairs)
        except Refused as refused:
            return refusals.record(scope, refused, before, after)
    for before, after in pairs:
        if not before.same_name(after):
            # Names are unique row by row; nobody else sees the parked ones.
            parked = update(users).where(users.c.id == before.id).values(user_name_key=f"#moving {before.id}")
            scope.conn.execute(parked)
    written = []
    for change, (before, _) in zip(changes, pairs, strict=True):
        mine = scope._replace(context=change.context)
        if before.id in ready:
            written.append(Written(user=guarded.carry_out(mine, ready[before.id]), changed=True))
        else:
            decisions.unchanged(mine, before)
            written.append(Written(user=before, changed=False))
    return written
