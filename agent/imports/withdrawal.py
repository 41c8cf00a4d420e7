"""Take an import's assignments back: a plan made from the journal, bounded and approved like any, Okta asked again right before.

=========================================  =================================================================================
the account, and its assignment            then
=========================================  =================================================================================
active; assigned to that Okta user         an action: the account is made local, then the app is taken away in Okta
not assigned any more                      nothing to take back; told
assigned by a group by now                 told: whoever takes the Okta user out of the group does it
inactive, gone, or another Okta user's     told; left alone, also where that happens between plan and apply
by now
an Okta user that the import made          stays, and is told, with the way by hand
=========================================  =================================================================================

The account comes first: Okta deactivates whom it unassigns, and nobody who had access before the import is to lose it. With that
write goes the hold (``undone``): neither a push, a sweep nor the next import links the account to that Okta user again, until an
operator lifts it. Values that Okta has pushed meanwhile stay.

Before the call the intent is stored, after it the outcome; whoever goes on after a kill looks first.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from agent.directory.port import Directory, PlanStep, Undone
from agent.imports.carrier import Recorder
from agent.model.codes import ActionKind, ActionState, FindingCode, HeldCode
from agent.model.errors import (
    CalledOff,
    NotFound,
    OktaError,
    OktaNotFound,
    OktaThrottled,
    OktaUnreachable,
    Refused,
    Unaddressable,
    UsageError,
    VersionConflict,
)
from agent.model.holds import ChangeKind, wish
from agent.model.okta import Person
from agent.model.plan import Action, Change, Finding, Plan
from agent.model.undo import Past
from agent.model.users import DirectoryUser, Origin, identity_key
from agent.okta_org.org import OktaOrg
from agent.runs import stored_plans
from agent.runs.frame import Brake, CurrentRun, Outcome, RunReport, planned
from agent.runs.stored_plans import PlanKind
from agent.settings import Settings
from agent.store import brakes, history
from agent.store.engine import Store, crash_point
from agent.store.history import RowSelection
from agent.store.journal import Signature
from agent.store.plans import StoredPlan

#: Calls for one person; between them waits of 1 and 2 seconds.
_CALLS = 3


class WithdrawalRequest(Struct, frozen=True, kw_only=True):
    """``reason`` is kept in the journal with each account."""

    run_id: int
    reason: str
    #: userNames; empty: everybody.
    only: Collection[str] = ()


class Withdrawal(Struct, frozen=True, kw_only=True):
    store: Store
    directory: Directory
    okta: OktaOrg
    settings: Settings
    clock: Callable[[], datetime]
    brake: Brake
    pause: Callable[[float], object]

    def plan(self, run: CurrentRun, request: WithdrawalRequest) -> RunReport:
        """Store the plan; it changes nothing."""
        run.progress.step("reading the journal")
        with self.store.read() as conn:
            done = history.done_in_okta(conn, RowSelection(run_id=request.run_id))
        assigned = {directory_id: okta_id for directory_id, okta_id, verb in done if verb == ActionKind.OKTA_ASSIGN}
        made = {directory_id: okta_id for directory_id, okta_id, verb in done if verb == ActionKind.OKTA_CREATE}
        accounts = self._accounts((*assigned, *made), request.only)
        assigned = {directory_id: okta_id for directory_id, okta_id in assigned.items() if directory_id in accounts}
        rule = f"undo of run {request.run_id}: {request.reason}"
        actions: list[Action] = []
        findings = [_stays(accounts[key], key, okta_id) for key, okta_id in made.items() if key in accounts]
        people = self.okta.people(list(assigned.values()))
        for n, ((directory_id, okta_id), person) in enumerate(zip(assigned.items(), people, strict=True)):
            run.progress.step("asking Okta", n, len(assigned))
            account = accounts[directory_id]
            why = why_not(account, person, okta_id)
            if why or account is None:
                findings.append(_finding(FindingCode.CHANGED_SINCE, account, directory_id, okta_id, why))
            else:
                actions.append(_action(len(actions) + 1, account, okta_id, rule))
        now, limit = self.clock(), self.settings.imports.max_per_run
        plan = Plan(
            actions=tuple(actions), population=len(assigned), source_size=0, created=now, findings=tuple(findings)
        )
        if len(actions) > limit:
            detail = f"{len(actions):,} people would lose the app in Okta; imports.max_per_run is {limit:,}."
            plan = replace(plan, held=HeldCode.COUNT_EXCEEDED, held_detail=detail)
        stored = None
        if actions:
            kept = (PlanKind.UNDO_IMPORT, plan, self.settings, now)
            stored = self.store.write(lambda conn: stored_plans.keep_beside(conn, run.id, *kept))
        outcome = Outcome.HELD if plan.held else Outcome.PLANNED if actions else Outcome.NOTHING
        detail = plan.held_detail if actions else "No assignment of that import can be taken back."
        return planned(run, stored, plan, outcome, detail)

    def apply(
        self, run: CurrentRun, stored: StoredPlan, picked: Sequence[Action], by: Signature, count: int | None
    ) -> RunReport:
        """Person by person. ``count``: as it was typed."""
        signed, numbers = replace(by, at=self.clock()), [action.n for action in picked]
        self.store.write(lambda conn: brakes.approve_undo(conn, signed, stored, numbers, count))
        recorder = Recorder(self.store, run, plan_id=stored.id, clock=self.clock)
        left = None
        for n, action in enumerate(picked, 1):
            left = self.brake.pulled(stored.id)
            if left is not None:
                break
            try:
                self._one(run, stored.id, action, by, recorder)
            except CalledOff:
                left = self.brake.called_off(stored.id)
                break
            except OktaError as error:
                left = (Outcome.INCOMPLETE, error.detail)
                break
            run.progress.step("taken back", n, len(picked))
        return stored_plans.end_undo(run, self.store, stored, numbers, left)

    def _one(self, run: CurrentRun, plan_id: int, action: Action, by: Signature, recorder: Recorder) -> None:
        okta_id, directory_id = action.okta_id or "", action.directory_id or ""
        person = self.okta.person(okta_id)
        if action.state is ActionState.SENT and person.app_user is None:
            recorder.withdrawn(action, how="found: done before the undo was interrupted")
            return
        account = self.directory.get(directory_id)
        why = why_not(account, person, okta_id)
        if why or account is None:
            recorder.ended((action,), ActionState.STALE, why)
            return
        step = PlanStep(run_id=run.id, plan_id=plan_id, n=action.n, fence=run.fence)
        undone = Undone(wishes={ChangeKind.LINK: wish({"externalId": okta_id})})
        local = replace(account, okta_id=None, origin=Origin.LOCAL)
        past = Past(directory_id=directory_id, before=local, after=account)
        acts = self.directory.operator(actor=by.actor, reason=action.rule, now=self.clock())
        try:
            acts.restore(past, step, undone)
        except (VersionConflict, NotFound) as moved:
            recorder.ended((action,), ActionState.STALE, moved.detail)
            return
        except Refused as refused:
            recorder.ended((action,), ActionState.FAILED, refused.detail)
            return
        crash_point("undo.unlinked")
        recorder.withdraw(action)
        self._unassign(action, recorder)

    def _unassign(self, action: Action, recorder: Recorder) -> None:
        okta_id = action.okta_id or ""
        for number in range(1, _CALLS + 1):
            try:
                self.okta.unassign(okta_id)
            except OktaThrottled:
                raise
            except (OktaUnreachable, OktaNotFound):
                if self.okta.person(okta_id).app_user is None:
                    recorder.withdrawn(action, how="found after an answer was lost")
                    return
            except OktaError as error:
                recorder.refused(action, okta_id, error.detail, nothing_made=False)
                return
            else:
                crash_point("undo.unassigned")
                recorder.withdrawn(action, how="")
                return
            if number < _CALLS:
                self.pause(float(2 ** (number - 1)))
        recorder.unknown(action, f"Okta did not answer {_CALLS} calls; the app is still assigned. Undo it again later.")

    def _accounts(self, directory_ids: Collection[str], only: Collection[str]) -> dict[str, DirectoryUser | None]:
        """By id; with ``only`` those alone."""
        found = {directory_id: self.directory.get(directory_id) for directory_id in dict.fromkeys(directory_ids)}
        if not only:
            return found
        wanted = {identity_key(login) for login in only}
        chosen: dict[str, DirectoryUser | None] = {
            key: one for key, one in found.items() if one is not None and one.user_name_key in wanted
        }
        missing = wanted - {one.user_name_key for one in chosen.values() if one is not None}
        if missing:
            raise UsageError(f"Nothing of that was done to {', '.join(sorted(missing))}.")
        return chosen


def why_not(account: DirectoryUser | None, person: Person | Unaddressable, okta_id: str) -> str:
    """Why the assignment isn't taken away: a row of the table; "" where it is."""
    if isinstance(person, Unaddressable):
        return person.detail
    if account is None or account.hidden:
        return "the account is not there any more"
    if person.app_user is None:
        return "the app is not assigned any more"
    if person.app_user.scope == "GROUP":
        return "a group assigns the app by now: take the Okta user out of that group"
    if not account.active:
        return "the account is inactive by now"
    if account.okta_id not in (None, okta_id):
        return f"the account is the Okta user {account.okta_id}'s by now"
    return ""


def _action(n: int, account: DirectoryUser, okta_id: str, rule: str) -> Action:
    changes = {"assignment": Change(before="assigned", after=None)}
    if account.okta_id is not None:
        changes["externalId"] = Change(before=okta_id, after=None)
    return Action(
        n=n,
        kind=ActionKind.OKTA_UNASSIGN,
        login=account.user_name,
        directory_id=account.id,
        okta_id=okta_id,
        changes=changes,
        rule=rule,
        version=account.version,
    )


def _stays(account: DirectoryUser | None, directory_id: str, okta_id: str) -> Finding:
    detail = f"the Okta user {okta_id} was made by that import and stays: deactivate it in Okta's Admin Console, Directory > People"
    return _finding(FindingCode.NOT_UNDONE, account, directory_id, okta_id, detail)


def _finding(code: FindingCode, account: DirectoryUser | None, directory_id: str, okta_id: str, detail: str) -> Finding:
    login = account.user_name if account is not None else directory_id
    return Finding(code=code, login=login, detail=detail, directory_id=directory_id, okta_id=okta_id)
