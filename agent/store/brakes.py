"""What an operator does to the brakes: pause, resume, announce, reject, move the pins. Each with its journal row.

Every function belongs into one write transaction; all checks come before the first write. Judges no plan (agent.model.guard).
"""

from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection

from agent.model.codes import ActionState, PlanStatus
from agent.model.errors import NotFound, UsageError
from agent.store import account, alarms, attention, journal, plans, windows


def _note(
    conn: Connection, verb: str, *, actor: str, source: str, now: datetime, reason: str = "", **more: object
) -> None:
    entry = journal.Entry(kind=journal.Kind.APPLIED, verb=verb, actor=actor, source=source, reason=reason)
    journal.append(conn, msgspec.structs.replace(entry, **more) if more else entry, now)


def pause(conn: Connection, *, actor: str, source: str, reason: str, now: datetime) -> None:
    """No applies by the agent itself until ``resume``; the receiver goes on."""
    if account.lock(conn).paused:
        raise UsageError("Applies are paused already. Resume: opshelm-agent resume")
    account.pause(conn, actor=actor, reason=reason, now=now)
    _note(conn, "pause", actor=actor, source=source, reason=reason, now=now)


def resume(conn: Connection, *, actor: str, source: str, now: datetime) -> None:
    if not account.lock(conn).paused:
        raise UsageError("Applies are not paused.")
    account.resume(conn)
    _note(conn, "resume", actor=actor, source=source, now=now)


def allow(
    conn: Connection,
    *,
    count: int,
    until: datetime,
    actor: str,
    source: str,
    reason: str,
    now: datetime,
    directory_id: str | None = None,
    okta_id: str | None = None,
) -> int:
    """Announce deactivations, and let the reconciler look at once at whoever was refused meanwhile."""
    number = windows.allow(
        conn, count=count, until=until, actor=actor, reason=reason, now=now, directory_id=directory_id
    )
    if directory_id is not None and windows.rejected_at(conn, directory_id):
        windows.settle(conn, directory_id)  # an earlier no is taken back: Okta's retry is a push like any other
    waiting = [
        push for push in windows.refused(conn) if directory_id in (None, push.directory_id) and not push.rejected_at
    ]
    for push in waiting[:count]:
        attention.add(
            conn,
            reason=attention.ALLOWED,
            okta_id=push.okta_id,
            directory_id=push.directory_id,
            not_before=now,
            now=now,
        )
    after = msgspec.json.encode({"allowance": number, "count": count, "until": until}).decode()
    _note(
        conn,
        "guard allow",
        actor=actor,
        source=source,
        reason=reason,
        now=now,
        directory_id=directory_id,
        okta_id=okta_id,
        after=after,
    )
    return number


def reject(conn: Connection, *, directory_id: str, actor: str, source: str, reason: str, now: datetime) -> None:
    """The retries of this person's pushed deactivation get 409: somebody must correct Okta."""
    if not windows.reject(conn, directory_id, actor=actor, now=now):
        raise NotFound("No refused push of this account is waiting. See: opshelm-agent guard show")
    _note(conn, "guard reject", actor=actor, source=source, reason=reason, directory_id=directory_id, now=now)


def reject_plan(conn: Connection, plan_id: int, *, actor: str, source: str, reason: str, now: datetime) -> None:
    """A person says no to a plan that waits: it can't be applied any more."""
    stored = plans.get(conn, plan_id)
    if stored is None:
        raise NotFound(f"There is no plan {plan_id}. See: opshelm-agent plans list")
    if stored.status not in (PlanStatus.READY, PlanStatus.HELD):
        raise UsageError(f"Plan {plan_id} is {stored.status.value}; it waits for nobody.")
    waiting = [a.n for a in stored.plan.actions if a.state in (ActionState.PENDING, ActionState.HELD)]
    plans.decide(conn, plan_id, actor=actor, decision=f"reject: {reason}", now=now)
    plans.set_status(conn, plan_id, PlanStatus.REJECTED)
    plans.mark(conn, plan_id, waiting, ActionState.REJECTED, now)
    alarms.clear(conn, "held", f"plan {plan_id}", now)
    _note(
        conn, "plan reject", actor=actor, source=source, reason=reason, plan_id=plan_id, run_id=stored.run_id, now=now
    )


def accept_pins(
    conn: Connection, *, org_id: str, app_id: str, app_label: str, actor: str, source: str, reason: str, now: datetime
) -> account.Account:
    """From now on the account belongs to this org and app; answers the row as it was before."""
    before = account.lock(conn)
    account.pin(conn, org_id=org_id, app_id=app_id, app_label=app_label, actor=actor, now=now)
    _note(
        conn,
        "pins accept",
        actor=actor,
        source=source,
        reason=reason,
        now=now,
        before=msgspec.json.encode({"org_id": before.org_id, "app_id": before.app_id}).decode(),
        after=msgspec.json.encode({"org_id": org_id, "app_id": app_id}).decode(),
    )
    return before


def accept_restore(conn: Connection, *, actor: str, source: str, reason: str, now: datetime) -> str:
    """Trust this restored copy again; answers why it was not trusted."""
    why = account.lock(conn).distrust
    if not why:
        raise UsageError("This database is no restored copy; there is nothing to accept.")
    account.set_distrust(conn, None)
    _note(conn, "db accept-restore", actor=actor, source=source, reason=reason, now=now)
    return why


def allowance_end(now: datetime, lasts: timedelta) -> datetime:
    if lasts > timedelta(days=7):
        raise UsageError("--for must not be more than 7d: an announcement that nobody remembers is no brake")
    return now + lasts
