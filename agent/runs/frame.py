"""The frame of one run: its row, its lease, and how every way to end becomes a report. Knows nothing of plans.

What a caller did wrong (UsageError, NotFound) is raised; a store that is down is raised too, since no row can be written.
"""

import os
import socket
from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct

from agent.model.errors import (
    AgentError,
    DirectoryUnavailable,
    Frozen,
    HeldBack,
    LeaseHeld,
    NotFound,
    OktaError,
    StoreError,
    UsageError,
)
from agent.model.plan import Finding
from agent.okta_org.org import OktaOrg
from agent.runs.progress import Progress
from agent.runs.report import Outcome, RunReport, exit_code
from agent.store import findings as found
from agent.store import lease, runs
from agent.store.engine import Connection, Store
from agent.store.lease import Lease
from agent.store.plans import StoredPlan


class Order(Struct, frozen=True, kw_only=True):
    """What was asked for."""

    kind: str
    trigger: str
    actor: str
    dry: bool
    scope: tuple[str, ...] = ()
    #: Seconds to wait for another agent's run.
    wait: float = 60


class Ending(Struct, frozen=True, kw_only=True):
    """What a run found out; the frame adds its number and exit code."""

    outcome: Outcome
    detail: str = ""
    counts: dict[str, int] = {}
    plan: StoredPlan | None = None
    waiting: StoredPlan | None = None
    findings: tuple[Finding, ...] = ()
    drift: bool = False
    held: bool = False


#: Gets the run's id and its fencing number (0 in a dry run).
Work = Callable[[int, int], Ending]


class Frame(Struct, frozen=True, kw_only=True):
    store: Store
    okta: OktaOrg
    clock: Callable[[], datetime]
    lease_ttl: timedelta

    def run(self, order: Order, progress: Progress, work: Work) -> RunReport:
        held = self._lease(order, progress)
        run_id = self._start(order)
        if held is None and not order.dry:
            who = lease.current_holder(self.store, lease.RECONCILE) or "another agent"
            detail = (
                f"{who} is at work and holds the lease. Nothing was changed; try again later, or with a longer --wait."
            )
            return self._finish(run_id, order, Ending(outcome=Outcome.LEASE_HELD, detail=detail))
        try:
            ending = self._work(run_id, held, progress, work)
        except (UsageError, NotFound) as error:
            # A mistake of whoever asked is no run that failed.
            self._forget_quietly(run_id, order, error)
            raise
        except BaseException as error:
            detail = error.detail if isinstance(error, AgentError) else f"{type(error).__name__}: see the log"
            self._finish_quietly(run_id, order, Ending(outcome=Outcome.ERROR, detail=detail))
            raise
        finally:
            if held is not None:
                _let_go(held)
        return self._finish(run_id, order, ending)

    def _work(self, run_id: int, held: Lease | None, progress: Progress, work: Work) -> Ending:
        before = self.okta.on_wait
        self.okta.on_wait = progress.wait
        try:
            with self.okta.run():
                return work(run_id, held.fence if held else 0)
        except (UsageError, NotFound):
            raise
        except Frozen as error:
            return Ending(outcome=Outcome.FROZEN, detail=error.detail)
        except HeldBack as error:
            return Ending(outcome=Outcome.HELD, detail=error.detail, held=True)
        except (OktaError, DirectoryUnavailable) as error:
            return Ending(outcome=Outcome.INCOMPLETE, detail=f"{error.detail} Nothing was changed after that.")
        except StoreError as error:
            if error.soft:
                raise
            return Ending(outcome=Outcome.ERROR, detail=error.detail)
        finally:
            self.okta.on_wait = before

    def _lease(self, order: Order, progress: Progress) -> Lease | None:
        if order.dry:
            return None
        holder = f"{socket.gethostname()}:{os.getpid()}"
        return lease.acquire(
            self.store,
            lease.RECONCILE,
            holder,
            self.lease_ttl,
            wait=order.wait,
            waiting=lambda who: progress.step(f"waiting for {who}"),
        )

    def _start(self, order: Order) -> int:
        now = self.clock()
        return self.store.write(
            lambda conn: runs.start(
                conn,
                kind=order.kind,
                trigger=order.trigger,
                actor=order.actor,
                dry=order.dry,
                scope=order.scope,
                now=now,
            )
        )

    def _finish(self, run_id: int, order: Order, ending: Ending) -> RunReport:
        code = exit_code(ending.outcome, dry=order.dry)
        now = self.clock()

        def work(conn: Connection) -> None:
            found.save(conn, run_id, ending.findings)
            runs.finish(
                conn,
                run_id,
                outcome=ending.outcome.value,
                exit_code=code,
                counts=ending.counts,
                now=now,
                detail=ending.detail,
            )

        self.store.write(work)
        return RunReport(
            run_id=run_id,
            outcome=ending.outcome,
            exit_code=code,
            counts=ending.counts,
            detail=ending.detail,
            plan=ending.plan,
            waiting=ending.waiting,
            findings=ending.findings,
            drift=ending.drift,
            held=ending.held,
            dry=order.dry,
        )

    def _forget_quietly(self, run_id: int, order: Order, error: AgentError) -> None:
        try:
            self.store.write(lambda conn: runs.remove(conn, run_id))
        except StoreError:  # it has a plan by now, or the database is down
            self._finish_quietly(run_id, order, Ending(outcome=Outcome.ERROR, detail=error.detail))

    def _finish_quietly(self, run_id: int, order: Order, ending: Ending) -> None:
        """On the way out with an error of its own: the next run ends this one's row if it can't be done now."""
        try:
            self._finish(run_id, order, ending)
        except StoreError:
            return


def _let_go(held: Lease) -> None:
    try:
        held.release()
    except (StoreError, LeaseHeld):
        return  # it runs out by itself
