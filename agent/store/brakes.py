"""What an operator does to the brakes: pause, resume, announce, reject, move the pins. Each with its journal row.

Every function belongs into one write transaction; all checks come before the first write. Judges no plan (agent.model.guard).
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection

from agent.model.codes import ActionState, PlanStatus
from agent.model.errors import NotFound, UsageError
from agent.model.users import DirectoryUser
from agent.store import account, alarms, attention, journal, plans, windows
from agent.store.journal import Signature


def _note(conn: Connection, verb: str, by: Signature, **more: Any) -> None:
    entry = journal.Entry(kind=journal.Kind.APPLIED, verb=verb, actor=by.actor, source=by.source, reason=by.reason)
    journal.append(conn, msgspec.structs.replace(entry, **more), by.at)


def pause(conn: Connection, by: Signature) -> None:
    """No applies by the agent itself until ``resume``; the receiver goes on."""
    if account.lock(conn).paused:
        raise UsageError("Applies are paused already. Resume: opshelm-agent resume")
    account.pause(conn, actor=by.actor, reason=by.reason, now=by.at)
    _note(conn, "pause", by)


def resume(conn: Connection, by: Signature) -> None:
    if not account.lock(conn).paused:
        raise UsageError("Applies are not paused.")
    account.resume(conn)
    _note(conn, "resume", by)


def allow(conn: Connection, by: Signature, *, count: int, until: datetime, person: DirectoryUser | None = None) -> int:
    """Announce deactivations (this person's, or anybody's) and have whoever was refused meanwhile looked at at once."""
    directory_id, okta_id = (None, None) if person is None else (person.id, person.okta_id)
    number = windows.allow(conn, by, count=count, until=until, directory_id=directory_id)
    if directory_id is not None and windows.rejected_at(conn, directory_id):
        windows.settle(conn, directory_id)  # an earlier no is taken back: Okta's retry is a push like any other
    waiting = [
        push for push in windows.refused(conn) if directory_id in (None, push.directory_id) and not push.rejected_at
    ]
    for push in waiting[:count]:
        whom = {"okta_id": push.okta_id, "directory_id": push.directory_id}
        attention.add(conn, reason=attention.ALLOWED, not_before=by.at, now=by.at, **whom)
    after = _json({"allowance": number, "count": count, "until": until})
    _note(conn, "guard allow", by, directory_id=directory_id, okta_id=okta_id, after=after)
    return number


def reject(conn: Connection, by: Signature, directory_id: str) -> None:
    """The retries of this person's pushed deactivation get 409: somebody must correct Okta."""
    if not windows.reject(conn, directory_id, actor=by.actor, now=by.at):
        raise NotFound("No refused push of this account is waiting. See: opshelm-agent guard show")
    _note(conn, "guard reject", by, directory_id=directory_id)


def reject_plan(conn: Connection, by: Signature, plan_id: int) -> None:
    """A person says no to a plan that waits: it can't be applied any more."""
    stored = plans.get(conn, plan_id)
    if stored is None:
        raise NotFound(f"There is no plan {plan_id}. See: opshelm-agent plans list")
    if stored.status not in (PlanStatus.READY, PlanStatus.HELD):
        raise UsageError(f"Plan {plan_id} is {stored.status.value}; it waits for nobody.")
    waiting = [a.n for a in stored.plan.actions if a.state in (ActionState.PENDING, ActionState.HELD)]
    plans.decide(conn, plan_id, actor=by.actor, decision=f"reject: {by.reason}", now=by.at)
    plans.set_status(conn, plan_id, PlanStatus.REJECTED)
    plans.mark(conn, plan_id, waiting, ActionState.REJECTED, by.at)
    alarms.clear(conn, "held", f"plan {plan_id}", by.at)
    _note(conn, "plan reject", by, plan_id=plan_id, run_id=stored.run_id)


def accept_pins(conn: Connection, by: Signature, *, org_id: str, app_id: str, app_label: str) -> account.Account:
    """From now on the account belongs to this org and app; answers the row as it was before."""
    before = account.lock(conn)
    account.pin(conn, org_id=org_id, app_id=app_id, app_label=app_label, actor=by.actor, now=by.at)
    old, new = {"org_id": before.org_id, "app_id": before.app_id}, {"org_id": org_id, "app_id": app_id}
    _note(conn, "pins accept", by, before=_json(old), after=_json(new))
    return before


def accept_restore(conn: Connection, by: Signature) -> str:
    """Trust this restored copy again; answers why it was not trusted."""
    why = account.lock(conn).distrust
    if not why:
        raise UsageError("This database is no restored copy; there is nothing to accept.")
    account.set_distrust(conn, None)
    _note(conn, "db accept-restore", by)
    return why


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def allowance_end(now: datetime, lasts: timedelta) -> datetime:
    if lasts > timedelta(days=7):
        raise UsageError("--for must not be more than 7d: an announcement that nobody remembers is no brake")
    return now + lasts
