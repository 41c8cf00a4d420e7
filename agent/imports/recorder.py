"""What an import writes down, each step in one transaction: the action's state, the account's row, the journal. No calls to Okta.

Before a call: action ``sent``, row ``intended``, journal ``intent``. After it: ``done`` or ``failed``, the row's next state,
journal ``applied`` or ``refused``. Every write checks the lease's fencing number first.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import msgspec

from agent.model.codes import ActionKind, ActionState, Source
from agent.model.plan import Action
from agent.runs.frame import CurrentRun
from agent.store import imports, journal, lease, plans
from agent.store.engine import Connection, Store


class Recorder:
    def __init__(self, store: Store, run: CurrentRun, *, plan_id: int, clock: Callable[[], datetime]) -> None:
        self._store, self._run, self._plan_id, self._clock = store, run, plan_id, clock

    def intend(self, action: Action, okta_id: str | None) -> None:
        """Okta is asked next."""

        def work(conn: Connection, now: datetime) -> None:
            plans.mark(conn, self._plan_id, [action.n], ActionState.SENT, now)
            self._row(conn, action, okta_id, now)
            self._journal(conn, journal.Kind.INTENT, action, okta_id, "", now)

        self._write(work)

    def created(self, action: Action, okta_id: str, *, how: str) -> None:
        """The Okta user is there, and it is the agent's. ``how``: created, or found by a look after a lost answer."""

        def work(conn: Connection, now: datetime) -> None:
            plans.mark(conn, self._plan_id, [action.n], ActionState.DONE, now)
            imports.created(conn, action.directory_id or "", okta_id)
            self._journal(conn, journal.Kind.APPLIED, action, okta_id, how, now)

        self._write(work)

    def assigned(self, action: Action, okta_id: str, *, waits: bool, how: str) -> None:
        """The app user is there; Okta links the account at its own time."""

        def work(conn: Connection, now: datetime) -> None:
            plans.mark(conn, self._plan_id, [action.n], ActionState.DONE, now)
            self._row(conn, action, okta_id, now)
            imports.assigned(conn, action.directory_id or "", okta_id, waits=waits, now=now)
            self._journal(conn, journal.Kind.APPLIED, action, okta_id, how, now)

        self._write(work)

    def refused(self, action: Action, okta_id: str | None, why: str, *, nothing_made: bool) -> None:
        """Okta said no: not tried again. ``nothing_made``: no Okta user came of it, so nothing is left to look for."""

        def work(conn: Connection, now: datetime) -> None:
            plans.mark(conn, self._plan_id, [action.n], ActionState.FAILED, now, error=why)
            if nothing_made:
                imports.ended(conn, action.directory_id or "", why, now)
            else:
                imports.failed(conn, action.directory_id or "", why)
            self._journal(conn, journal.Kind.REFUSED, action, okta_id, why, now)

        self._write(work)

    def unknown(self, action: Action, why: str) -> None:
        """No usable answer, however often asked: the row stays open, and the next import looks first."""

        def work(conn: Connection, now: datetime) -> None:
            plans.mark(conn, self._plan_id, [action.n], ActionState.FAILED, now, error=why)
            imports.failed(conn, action.directory_id or "", why)

        self._write(work)

    def ended(self, actions: Iterable[Action], state: ActionState, why: str) -> None:
        """Actions that end without a call: stale, or failed because what they need failed."""
        numbers = [action.n for action in actions]
        self._write(lambda conn, now: plans.mark(conn, self._plan_id, numbers, state, now, error=why))

    def _row(self, conn: Connection, action: Action, okta_id: str | None, now: datetime) -> None:
        account = {"directory_id": action.directory_id or "", "login": action.login}
        imports.intend(conn, **account, plan_id=self._plan_id, okta_id=okta_id, now=now)

    def _write(self, work: Callable[[Connection, datetime], None]) -> None:
        def fenced(conn: Connection) -> None:
            lease.check(conn, self._run.fence)
            work(conn, self._clock())

        self._store.write(fenced)

    def _journal(
        self, conn: Connection, kind: journal.Kind, action: Action, okta_id: str | None, reason: str, now: datetime
    ) -> None:
        after = {path: change.after for path, change in action.changes.items()}
        entry = journal.Entry(
            kind=kind,
            verb=action.kind.value,
            actor=self._run.request.actor,
            source=Source.IMPORT.value,
            directory_id=action.directory_id,
            okta_id=okta_id,
            run_id=self._run.id,
            plan_id=self._plan_id,
            action_n=action.n,
            reason=reason,
            after=msgspec.json.encode(after).decode(),
        )
        journal.append(conn, entry, now)


def profile_of(create: Action) -> dict[str, Any]:
    """The Okta profile that a stored okta_create says."""
    assert create.kind is ActionKind.OKTA_CREATE
    return {
        path.removeprefix("profile."): change.after
        for path, change in create.changes.items()
        if path.startswith("profile.")
    }
