"""What remains of an attempt that a rule refused: its journal row, and who is to look at it. Writes nothing else."""

from agent.directory import decisions, guarded
from agent.directory.burst import OverLimit
from agent.directory.rows import WriteScope
from agent.model.codes import RefusalCode, Source
from agent.model.errors import Refused
from agent.model.okta import is_okta_id
from agent.model.users import DirectoryUser
from agent.store import alarms, attention, holds, journal
from agent.store.engine import Raised


def record(scope: WriteScope, refused: Refused, before: DirectoryUser | None, after: DirectoryUser | None) -> Raised:
    """Journal the attempt (``after`` is what it wanted), see to what follows from it, and answer it as a work does."""
    conn, _, context, now, _ = scope
    verb = "update" if after is None else guarded.verb(before, after)
    reason = f"{refused.reason.value}: {refused.detail}"
    journal.append(conn, guarded.entry(journal.Kind.REFUSED, verb, before, after, context, reason), now)
    if before is not None:
        _follow_up(scope, refused, before, after)
    elif refused.reason is RefusalCode.UNIQUENESS and context.source is Source.PUSH:
        _ask_whose_it_is(scope, after)
    return Raised(refused)


def _follow_up(scope: WriteScope, refused: Refused, before: DirectoryUser, after: DirectoryUser | None) -> None:
    conn, _, context, now, _ = scope
    if refused.reason is RefusalCode.LAST_OWNER:
        alarms.raise_alarm(conn, "last_owner", before.id, refused.detail, now)
    if context.source is not Source.PUSH:
        return
    # A refused push is newer than a run's view too.
    holds.mark_push(conn, before.id)
    if refused.reason is RefusalCode.NAME_REUSE:
        _ask_whose_it_is(scope, after)
    elif isinstance(refused, OverLimit):
        decisions.over_limit(scope, before, refused.held, refused.detail)
        guarded.judged_push(scope, before, refused.counts, refused.held)
        alarms.raise_alarm(conn, refused.reason.value, "guard", refused.detail, now)
    elif refused.reason is RefusalCode.LOCAL_ACCOUNT and after is not None and not (after.active or after.hidden):
        why = attention.LOCAL_DEACTIVATE
        attention.add(conn, reason=why, okta_id=after.okta_id, directory_id=before.id, not_before=now, now=now)


def _ask_whose_it_is(scope: WriteScope, wanted: DirectoryUser | None) -> None:
    """Somebody wants what is another one's: both are looked at, since the other one may have left."""
    if wanted is not None and is_okta_id(wanted.okta_id):
        why, now = attention.NAME_REUSE, scope.now
        attention.add(scope.conn, reason=why, okta_id=wanted.okta_id, not_before=now, now=now)
