"""What an operator does to the brakes: pause, resume, announce, decide holds, block, move the pins. Each with its journal row.

Every function belongs into one write transaction; all checks come before the first write. Judges no plan (agent.model.guard).
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace
from sqlalchemy import Connection

from agent.model.codes import ActionState, HeldCode, PlanStatus
from agent.model.errors import NotFound, UsageError
from agent.model.holds import ChangeKind, Decision, Hold, HoldEnd, Reason, key_of
from agent.model.users import DirectoryUser
from agent.store import account, attention, holds, journal, overview, plans, windows
from agent.store.journal import Signature
from agent.store.plans import StoredPlan


def pause(conn: Connection, by: Signature) -> overview.UnderWay | None:
    """No applies by the agent itself until ``resume``; the receiver goes on. Answers what was under way, and now ends."""
    if account.lock(conn).paused:
        raise UsageError("Applies are paused already. Resume: opshelm-agent resume")
    account.pause(conn, actor=by.actor, reason=by.reason, now=by.at)
    journal.note(conn, "pause", by)
    return overview.under_way(conn)


def resume(conn: Connection, by: Signature) -> None:
    if not account.lock(conn).paused:
        raise UsageError("Applies are not paused.")
    account.resume(conn)
    journal.note(conn, "resume", by)


def allow(conn: Connection, by: Signature, *, count: int, until: datetime, person: DirectoryUser | None = None) -> int:
    """Announce deactivations (this person's, or anybody's) and have whoever was refused meanwhile looked at at once."""
    account.lock(conn)
    directory_id, okta_id = (None, None) if person is None else (person.id, person.okta_id)
    number = windows.allow(conn, by, count=count, until=until, directory_id=directory_id)
    refused = refused_pushes(conn)
    waiting = (
        [h for h in refused if h.decision is Decision.WAITING]
        if person is None
        else [
            h
            for h in holds.of_user(conn, person)
            if h.kind is ChangeKind.DEACTIVATE and h.decision is not Decision.BLOCKED
        ]
    )
    chosen = waiting[:count]
    holds.decide(conn, [hold.id for hold in chosen], Decision.APPROVED, by, until=until)
    for hold in chosen:
        whom = {"okta_id": hold.okta_id, "directory_id": hold.directory_id}
        attention.add(conn, reason=attention.ALLOWED, not_before=by.at, now=by.at, **whom)
    before = {"holds": [hold.id for hold in chosen]}
    after = {"allowance": number, "count": count, "until": until}
    journal.note(conn, "guard allow", by, directory_id=directory_id, okta_id=okta_id, before=before, after=after)
    return number


def refused_pushes(conn: Connection) -> list[Hold]:
    """People whose pushed deactivation the guard has stopped, oldest first."""
    return [h for h in holds.open_holds(conn) if h.kind is ChangeKind.DEACTIVATE and h.tries]


def reject(conn: Connection, by: Signature, person: DirectoryUser) -> None:
    """The deactivation of this person is not done, and its pushes get 409: somebody must correct Okta."""
    account.lock(conn)
    waiting = [h for h in holds.of_user(conn, person) if h.kind is ChangeKind.DEACTIVATE]
    if not waiting:
        raise NotFound(f"No deactivation of {person.user_name} is waiting. See: opshelm-agent holds list")
    _decide(conn, "guard reject", waiting, Decision.REJECTED, by)


def approve_holds(conn: Connection, by: Signature, chosen: Sequence[Hold], until: datetime) -> list[Hold]:
    """These changes may be made, until then; whoever reads both sides again makes them. A no stays one. Answers which."""
    undecided = (Decision.WAITING, Decision.APPROVED)
    found = [hold for hold in _still_open(conn, chosen) if hold.decision in undecided]
    _decide(conn, "hold approve", found, Decision.APPROVED, by, until=until)
    return found


def reject_holds(conn: Connection, by: Signature, chosen: Sequence[Hold]) -> list[Hold]:
    """These changes are not made, on no path, until Okta wants something else or an operator lifts it. A block stays one.

    Answers those that were open still: a run may have made a change since somebody chose.
    """
    still = _still_open(conn, chosen)
    found = [hold for hold in still if hold.decision is not Decision.BLOCKED]
    if still and not found:
        raise UsageError(f"{still[0].login} is blocked already, which is the stronger no. Nothing was changed.")
    _decide(conn, "hold reject", found, Decision.REJECTED, by)
    return found


def lift_holds(conn: Connection, by: Signature, chosen: Sequence[Hold]) -> list[Hold]:
    """Forget what was decided; what is still wanted and still too much is held anew. Answers those that were open still."""
    found = _still_open(conn, chosen)
    holds.end(conn, [hold.id for hold in found], HoldEnd.LIFTED, by.at)
    for hold in found:
        _note_hold(conn, "hold lift", hold, by)
    return found


def _still_open(conn: Connection, chosen: Sequence[Hold]) -> list[Hold]:
    """As they are now, with the account row locked: what has ended or was decided since somebody chose is seen."""
    account.lock(conn)
    left = {hold.id: hold for hold in holds.open_holds(conn)}
    return [left[hold.id] for hold in chosen if hold.id in left]


def let_name_go(conn: Connection, by: Signature, leaver: DirectoryUser, okta_ids: Sequence[str]) -> None:
    """Who has a leaver's userName in Okta is somebody else, and gets an account of their own."""
    what = {"userName": leaver.user_name, "for": okta_ids}
    journal.note(conn, "name release", by, directory_id=leaver.id, okta_id=leaver.okta_id, before=what)


def block(
    conn: Connection, by: Signature, person: DirectoryUser, kind: ChangeKind, *, until: datetime | None = None
) -> None:
    """No path makes this kind of change of the account, pushes included."""
    holds.block(conn, Reason.of(person, kind, HeldCode.BLOCKED, "an operator's word"), by, until=until)
    what = {"kind": kind, "until": until}
    journal.note(conn, "block", by, directory_id=person.id, okta_id=person.okta_id, before=what)


def unblock(conn: Connection, by: Signature, person: DirectoryUser, kind: ChangeKind) -> None:
    """Nothing is said where there is no block."""
    mine = [h for h in holds.of_user(conn, person) if h.kind is kind and h.decision is Decision.BLOCKED]
    lift_holds(conn, by, mine)


def undo(
    conn: Connection, by: Signature, person: DirectoryUser, wishes: Mapping[ChangeKind, str], *, plan_id: int | None
) -> None:
    """What was just taken back isn't done again, on no path, until Okta wants something else or an operator lifts it.

    Without ``wishes`` an undo was taken back: what it held is let go.
    """
    mine = [h for h in holds.of_user(conn, person) if h.code is HeldCode.UNDONE and h.kind not in wishes]
    if mine:
        lift_holds(conn, by, mine)
    for kind, wish in wishes.items():
        reason = Reason.of(person, kind, HeldCode.UNDONE, by.reason, wish)
        holds.block(conn, replace(reason, plan_id=plan_id), by, decision=Decision.REJECTED)
        what = {"kind": kind, "code": HeldCode.UNDONE}
        journal.note(
            conn, journal.UNDO, by, directory_id=person.id, okta_id=person.okta_id, plan_id=plan_id, before=what
        )


def _decide(
    conn: Connection,
    verb: str,
    chosen: Sequence[Hold],
    decision: Decision,
    by: Signature,
    *,
    until: datetime | None = None,
) -> None:
    holds.decide(conn, [hold.id for hold in chosen], decision, by, until=until)
    for hold in chosen:
        _note_hold(conn, verb, hold, by)


def _note_hold(conn: Connection, verb: str, hold: Hold, by: Signature) -> None:
    what = {"hold": hold.id, "kind": hold.kind, "code": hold.code, "decision": hold.decision}
    journal.note(
        conn, verb, by, directory_id=hold.directory_id, okta_id=hold.okta_id, plan_id=hold.plan_id, before=what
    )


def approve_plan(
    conn: Connection, by: Signature, stored: StoredPlan, numbers: Collection[int], until: datetime, count: int | None
) -> None:
    """A person lets these actions of a stored plan go: what is held of these people is approved with them.

    ``count``: the number that was typed.
    """
    account.lock(conn)
    chosen = set(numbers)
    keys = {key_of(action) for action in stored.plan.actions if action.n in chosen}
    mine = [h for h in holds.open_holds(conn, decision=Decision.WAITING) if (h.subject, h.kind) in keys]
    holds.decide(conn, [hold.id for hold in mine], Decision.APPROVED, by, until=until)
    what = {"actions": sorted(numbers), "count": count, "holds": [hold.id for hold in mine], "until": until}
    journal.note(conn, "plan approve", by, plan_id=stored.id, run_id=stored.run_id, before=what)


def approve_undo(
    conn: Connection, by: Signature, stored: StoredPlan, numbers: Collection[int], count: int | None
) -> None:
    """A person lets these actions of an undo go. It says nothing of what runs hold of the same people."""
    plans.decide(conn, stored.id, actor=by.actor, decision="approve", now=by.at, approve=numbers)
    what = {"actions": sorted(numbers), "count": count}
    journal.note(conn, "plan approve", by, plan_id=stored.id, run_id=stored.run_id, before=what)


def reject_plan(conn: Connection, by: Signature, plan_id: int) -> Counter[ActionState]:
    """A person says no to a plan that waits: it can't be applied, and what it held is not done by another way either.

    An apply of it that is under way does no more. Answers how many of its actions are in which state now.
    """
    account.lock(conn)
    stored = plans.get(conn, plan_id)
    if stored is None:
        raise NotFound(f"There is no plan {plan_id}. See: opshelm-agent plans list")
    if stored.status not in (PlanStatus.READY, PlanStatus.HELD):
        raise UsageError(f"Plan {plan_id} is {stored.status.value}; it waits for nobody.")
    states = Counter(action.state for action in stored.plan.actions)
    undone = [a for a in stored.plan.actions if a.state in (ActionState.PENDING, ActionState.HELD, ActionState.SENT)]
    waiting = [a for a in undone if a.state is not ActionState.SENT]
    plans.decide(conn, plan_id, actor=by.actor, decision=f"reject: {by.reason}", now=by.at)
    plans.set_status(conn, plan_id, PlanStatus.REJECTED)
    plans.mark(conn, plan_id, [action.n for action in waiting], ActionState.REJECTED, by.at)
    # An approval that is under way has let go what it has not come to yet.
    keys = {key_of(action) for action in undone}
    undecided = (Decision.WAITING, Decision.APPROVED)
    held = [h for h in holds.open_holds(conn) if h.decision in undecided and (h.subject, h.kind) in keys]
    holds.decide(conn, [hold.id for hold in held], Decision.REJECTED, by)
    journal.note(conn, "plan reject", by, plan_id=plan_id, run_id=stored.run_id, before={"holds": [h.id for h in held]})
    states[ActionState.REJECTED] += states.pop(ActionState.PENDING, 0) + states.pop(ActionState.HELD, 0)
    return states


def pin(conn: Connection, by: Signature, *, org_id: str, app_id: str, app_label: str) -> None:
    """The first apply binds the account to this org and app."""
    account.pin(conn, org_id=org_id, app_id=app_id, app_label=app_label, actor=by.actor, now=by.at)
    journal.note(conn, "pin", by, before={"org_id": org_id, "app_id": app_id})


def note_settings(conn: Connection, by: Signature, names: Sequence[str]) -> None:
    """Settings changed while the agent runs; their values are nobody's but the file's."""
    journal.note(conn, "settings", by, before={"changed": names})


def accept_pins(conn: Connection, by: Signature, *, org_id: str, app_id: str, app_label: str) -> account.Account:
    """From now on the account belongs to this org and app; answers the row as it was before."""
    before = account.lock(conn)
    account.pin(conn, org_id=org_id, app_id=app_id, app_label=app_label, actor=by.actor, now=by.at)
    old, new = {"org_id": before.org_id, "app_id": before.app_id}, {"org_id": org_id, "app_id": app_id}
    journal.note(conn, "pins accept", by, before=old, after=new)
    return before


def accept_restore(conn: Connection, by: Signature) -> str:
    """Trust this restored copy again; answers why it was not trusted."""
    why = account.lock(conn).distrust
    if not why:
        raise UsageError("This database is no restored copy; there is nothing to accept.")
    account.change(conn, distrust=None)
    journal.note(conn, "db accept-restore", by)
    return why


def allowance_end(now: datetime, lasts: timedelta) -> datetime:
    if lasts <= timedelta(0):
        raise UsageError(
            "The announcement would end before it begins: say how long it lasts, such as 2h. Nothing was changed."
        )
    if lasts > timedelta(days=7):
        raise UsageError("--for must not be more than 7d: an announcement that nobody remembers is no brake")
    return now + lasts
