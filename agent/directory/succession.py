"""A leaver's userName goes to somebody new: the leaver's account steps aside, and the new one takes its id.

Okta keeps the id that it has linked, and pushes to it. So who is new gets that id, and the leaver's account another one, in
one transaction. It is out of everybody's reach from then on (``Origin.RELEASED``): SCIM doesn't show it, its name carries a
mark, and it is bound to nobody. What was written down of it until then stays its own: ``agent.store.former_ids`` finds it, for
the journal itself is never changed.

Okta may have pushed the new person's values into the leaver's account before anybody could ask Okta whose it is. Those are
taken back: the account steps aside as it was when it was left. Decides nothing (agent.model.cases, an operator).
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from agent.directory import decisions, guarded, refusals, rows, rules
from agent.directory.backend import require_releasable
from agent.directory.port import Draft, Written
from agent.directory.rows import WriteScope
from agent.directory.rules import AccountChange
from agent.model.codes import Source
from agent.model.errors import Refused
from agent.model.holds import ChangeKind, wish
from agent.model.structs import decoder
from agent.model.users import DirectoryUser, Profile
from agent.store import former_ids, holds
from agent.store.engine import Raised
from agent.store.former_ids import AccountStep

#: Within this time the agent has ended what a push should not have begun, if only Okta could be asked.
_IN_DOUBT = timedelta(days=1)
#: So far Okta's clock and ours may differ.
_SLACK = timedelta(minutes=1)
_AGENT = (Source.SWEEP.value, Source.SINGLE.value)
_profile = decoder(Profile)


def release(scope: WriteScope, change: AccountChange) -> DirectoryUser | Raised:
    """The account steps aside; its userName and its id are free."""
    before = change.of(rows.current(scope.conn, change.user_id))
    after = _aside(scope, before, None)
    try:
        return guarded.carry_out(scope, guarded.check(scope, before, after))
    except Refused as refused:
        return refusals.record(scope, refused, before, after)


def succeed(scope: WriteScope, change: AccountChange, draft: Draft, assigned: datetime | None) -> Written | Raised:
    """The same, and an account for somebody new under the id that is free now: both or neither.

    ``assigned``: since when Okta has the new person in the app.
    """
    before = change.of(rows.current(scope.conn, change.user_id))
    after = _aside(scope, before, assigned)
    new = rules.created(replace(draft, id=before.id), scope.context, scope.now)
    # Who lets a new account be made has said that this one's binding ends.
    freely = scope._replace(context=replace(scope.context, exempt=True))
    try:
        leaves = guarded.check(freely, before, after)
        mine = decisions.of_successor(scope, before, new)
        enters = guarded.check_successor(scope, (before, after), new, mine)
    except Refused as refused:
        return refusals.record(scope, refused, before, new)
    guarded.carry_out(freely, leaves)
    user = guarded.carry_out(scope, enters)
    linked = {ChangeKind.LINK: wish({"externalId": new.okta_id})}
    holds.done(scope.conn, [hold for hold in mine if hold.kind is ChangeKind.LINK], linked, scope.now)
    return Written(user=user, changed=True, created=True)


def _aside(scope: WriteScope, before: DirectoryUser, assigned: datetime | None) -> DirectoryUser:
    require_releasable(before)
    left = rules.aside(before, str(uuid4()), scope.now)
    was = as_left(former_ids.newest(scope.conn, before.id), assigned)
    return left if was is None else replace(left, profile=_profile(was))


def as_left(steps: Iterable[AccountStep], assigned: datetime | None) -> str | None:
    """The account before pushes came to it that were somebody else's, as JSON; None where there were none.

    ``steps``: what was done to it, newest first. Somebody else's are pushes since that person was ``assigned``; and pushes to
    an inactive account, with what followed until the agent ended it again.
    """
    found: str | None = None
    earliest = None if assigned is None else assigned - _SLACK
    for step in steps:
        if step.before is None or (earliest is not None and step.at < earliest):
            break
        was_active = msgspec.json.decode(step.before)["active"]
        if step.source == Source.PUSH.value and (assigned is not None or not was_active):
            found = step.before
            earliest = None if assigned is None else earliest
        elif step.source in _AGENT and was_active and assigned is None:
            # What it was ended for, not long before, may have been such a push.
            earliest = step.at - _IN_DOUBT
        elif earliest is None:
            break
    return found
