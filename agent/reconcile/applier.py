"""Carry out what the guard let through: in batches, each in one transaction with its states. Plans and judges nothing.

pending → sent → done, or stale (somebody else was quicker), failed, held (a rule refused). Between two batches a run looks
whether it was paused, told to stop, or fails too often. Creates and reactivations whose row is old are read again first.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial

from msgspec import Struct

from agent.directory.port import Directory, Ended, WriteContext
from agent.model.cases import Want
from agent.model.codes import ActionKind, ActionState, HeldCode, Source
from agent.model.guard import Grant, ends_access, exempt
from agent.model.plan import Action
from agent.okta_org.org import OktaOrg
from agent.reconcile.projector import Projector
from agent.runs.frame import Progress
from agent.settings import Settings
from agent.store import account, plans
from agent.store.crash_points import crash_point
from agent.store.engine import Connection, Store


class Job(Struct, frozen=True, kw_only=True):
    """One apply: which plan, what of it, under which run, lease and grant."""

    run_id: int
    plan_id: int
    actions: tuple[Action, ...]
    source: Source
    actor: str
    fence: int
    grant: Grant
    wants: dict[str, Want] = {}


class Result(Struct, kw_only=True):
    done: int = 0
    stale: int = 0
    failed: int = 0
    held: int = 0
    #: Why the rest was left: paused, stopped, or too much failed.
    left: str = ""
    paused: bool = False
    stopped: bool = False
    too_many_failed: str = ""


class Applier(Struct, frozen=True, kw_only=True):
    store: Store
    directory: Directory
    okta: OktaOrg
    settings: Settings
    projector: Projector
    clock: Callable[[], datetime]
    stop: threading.Event

    def apply(self, job: Job, progress: Progress) -> Result:
        result = Result()
        batches = self.directory.batches()
        finished: dict[int, ActionState] = {}
        todo = [action for action in job.actions if action.held is None]
        for batch in _batches(todo, batches.size):
            if self._must_end(result):
                break
            ready = self._ready(job, batch, finished, result)
            crash_point("apply.planned")
            for ended in (
                batches.write(job.plan_id, ready, lambda a: self._context(job, a), self.clock()) if ready else ()
            ):
                finished[ended.n] = ended.state
                _count(result, ended)
            crash_point("apply.done")
            progress.step("applying", len(finished), len(todo))
            if self._fails_too_often(result):
                self._hold_rest(job, [a for a in todo if a.n not in finished], result)
                break
        return result

    def _must_end(self, result: Result) -> bool:
        if self.stop.is_set():
            result.stopped, result.left = (True, "The process was asked to stop; the rest waits for the next run.")
        else:
            with self.store.read() as conn:
                row = account.get(conn)
            if row.paused:
                result.paused = True
                result.left = (
                    f"Applies were paused by {row.paused_by}: {row.paused_reason}. Resume: opshelm-agent resume"
                )
        return result.stopped or result.paused

    def _ready(
        self, job: Job, batch: Sequence[Action], finished: dict[int, ActionState], result: Result
    ) -> list[Action]:
        """Without those whose first step did not happen, or who look different to a fresh look."""
        moved = self._moved(job, batch)
        ready: list[Action] = []
        ended: list[Ended] = []
        for action in batch:
            missing = [n for n in action.needs if finished.get(n, ActionState.DONE) is not ActionState.DONE]
            if missing:
                ended.append(Ended.after(action.n, missing[0]))
                continue
            if action.okta_id in moved and action.kind in (ActionKind.CREATE, ActionKind.REACTIVATE):
                error = moved[action.okta_id]
            elif ends_access(action) and action.proof is None:
                error = "the absence was not proven"
            else:
                ready.append(action)
                continue
            ended.append(Ended(n=action.n, state=ActionState.STALE, error=error))
        if ended:
            now = self.clock()
            self.store.write(
                lambda conn: plans.mark_each(conn, job.plan_id, [(e.n, e.state, e.error) for e in ended], now)
            )
        for e in ended:
            finished[e.n] = e.state
            _count(result, e)
        return ready

    def _moved(self, job: Job, batch: Sequence[Action]) -> dict[str, str]:
        """Okta user id → what changed since it was read, of those whose row is older than reconcile.fresh."""
        old = self.clock() - self.settings.reconcile.fresh
        granting = {a.okta_id for a in batch if a.kind in (ActionKind.CREATE, ActionKind.REACTIVATE)}
        again = [w for okta_id, w in job.wants.items() if okta_id in granting and w.read_at < old]
        moved: dict[str, str] = {}
        for want, person in zip(again, self.okta.people([w.okta_id for w in again]), strict=True):
            projected = self.projector.read(person, self.clock())
            if projected is None:
                moved[want.okta_id] = "no longer assigned in Okta"
            elif _essence(projected[0]) != _essence(want):
                moved[want.okta_id] = "changed in Okta since it was read"
        return moved

    def _context(self, job: Job, action: Action) -> WriteContext:
        return WriteContext(
            actor=job.actor,
            source=job.source,
            run_id=job.run_id,
            plan_id=job.plan_id,
            action_n=action.n,
            reason=action.proof or action.rule,
            exempt=exempt(action, job.grant),
            fence=job.fence,
            suspended=action.suspended,
        )

    def _fails_too_often(self, result: Result) -> bool:
        guard = self.settings.guard
        tried = result.done + result.failed
        if result.failed < guard.failed_floor or result.failed <= tried * guard.failed_percent / 100:
            return False
        result.too_many_failed = f"{result.failed} of {tried} actions failed; the limit is {guard.failed_percent:g} % and {guard.failed_floor}."
        return True

    def _hold_rest(self, job: Job, rest: Sequence[Action], result: Result) -> None:
        why = result.too_many_failed
        for some in _batches(rest, 1000):
            self.store.write(partial(_hold_all, job.plan_id, some, why))
        result.held += len(rest)
        result.left = why


def _hold_all(plan_id: int, actions: Sequence[Action], why: str, conn: Connection) -> None:
    for action in actions:
        plans.hold(conn, plan_id, action.n, HeldCode.FAILED_ACTIONS, why)


def _batches(actions: Sequence[Action], size: int) -> Iterator[Sequence[Action]]:
    for start in range(0, len(actions), size):
        yield actions[start : start + size]


def _count(result: Result, ended: Ended) -> None:
    name = ended.state.value
    setattr(result, name, getattr(result, name) + 1)


def _essence(want: Want) -> tuple[object, ...]:
    return want.wanted, want.user_name_key, want.email_key, want.mapped, want.unsaid
