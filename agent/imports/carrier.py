"""Carries one account into Okta: look, write the wish down, call, write the outcome down. Never a second Okta user.

::

    create   look for the login        found, and it is ours → created; found otherwise → stale
             wish stored, call         answered → created
                                       "already exists", no answer, 5xx → look again, at most three calls
                                       any other refusal → failed, with Okta's words and what they mean
    assign   read the app user         there, with this userName → assigned; with another → failed
             wish stored, call         as above

A login is unique in an Okta org, also while a lost call may still be under way there: a second call for the same login is
refused by Okta itself, and the look that follows finds what the first one has made.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from agent.imports import link_watch
from agent.imports.planner import AccountActions
from agent.imports.survey import find_by_login
from agent.model.codes import ActionKind, ActionState, Source
from agent.model.desired import LIVE, user_status
from agent.model.errors import CalledOff, OktaError, OktaNotFound, OktaRejected, OktaThrottled, OktaUnreachable
from agent.model.matching import Match
from agent.model.okta import AppUser, OktaUser, Person
from agent.model.plan import Action
from agent.model.users import identity_key
from agent.okta_org.org import OktaOrg
from agent.runs.frame import CurrentRun
from agent.settings import ImportSettings
from agent.store import account, imports, journal, lease, plans
from agent.store.engine import Connection, Store, crash_point

T = TypeVar("T")

#: Calls for one step; between them waits of 1 and 2 seconds.
_CALLS = 3
_TAKEN = "already exists"


class Failed(Exception):
    """The import of one account ends here. What became of ``action`` is stored; ``trouble``: Okta, not the person."""

    def __init__(
        self, action: Action, why: str, *, trouble: bool = False, state: ActionState = ActionState.FAILED
    ) -> None:
        super().__init__(why)
        self.action, self.why, self.trouble, self.state = action, why, trouble, state


class Recorder:
    """What an import writes down, each step in one transaction: the action's state, the account's row, the journal.

    Before a call: action ``sent``, row ``intended``, journal ``intent``. After it: ``done`` or ``failed``, the row's next
    state, journal ``applied`` or ``refused``. Every write checks the lease's fencing number first.
    """

    def __init__(self, store: Store, run: CurrentRun, *, plan_id: int, clock: Callable[[], datetime]) -> None:
        self._store, self._run, self._plan_id, self._clock = store, run, plan_id, clock

    def intend(self, action: Action, okta_id: str | None) -> None:
        """Okta is asked next. CalledOff: it must not be."""
        self._before_call(action, okta_id, "", lambda conn, now: self._row(conn, action, okta_id, now))

    def created(self, action: Action, okta_id: str, *, how: str) -> None:
        """The Okta user is there, and it is the agent's. ``how``: created, or found by a look after a lost answer."""
        self._done(action, okta_id, how, lambda conn, _: imports.created(conn, action.directory_id or "", okta_id))

    def assigned(self, action: Action, okta_id: str, *, waits: bool, how: str) -> None:
        """The app user is there; Okta links the account at its own time."""

        def row(conn: Connection, now: datetime) -> None:
            self._row(conn, action, okta_id, now)
            imports.assigned(conn, action.directory_id or "", okta_id, waits=waits, now=now)

        self._done(action, okta_id, how, row)

    def withdraw(self, action: Action) -> None:
        """Okta is asked next to take the app away. CalledOff: it must not be."""
        self._before_call(action, action.okta_id, action.rule, lambda _conn, _now: None)

    def withdrawn(self, action: Action, *, how: str) -> None:
        """Okta has taken the app away: the import is over, and nobody waits for its link."""

        def row(conn: Connection, now: datetime) -> None:
            link_watch.ended(conn, action.directory_id or "", f"taken back by plan {self._plan_id}", now)

        self._done(action, action.okta_id, how or action.rule, row)

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

    def _before_call(
        self, action: Action, okta_id: str | None, reason: str, row: Callable[[Connection, datetime], None]
    ) -> None:
        def work(conn: Connection, now: datetime) -> bool:
            if plans.called_off(conn, self._plan_id, [action.n], now, paused=account.lock(conn).paused):
                return False
            plans.mark(conn, self._plan_id, [action.n], ActionState.SENT, now)
            row(conn, now)
            self._journal(conn, journal.Kind.INTENT, action, okta_id, reason, now)
            return True

        if not self._write(work):
            raise CalledOff

    def _done(
        self, action: Action, okta_id: str | None, reason: str, row: Callable[[Connection, datetime], None]
    ) -> None:
        def work(conn: Connection, now: datetime) -> None:
            plans.mark(conn, self._plan_id, [action.n], ActionState.DONE, now)
            row(conn, now)
            self._journal(conn, journal.Kind.APPLIED, action, okta_id, reason, now)

        self._write(work)

    def _row(self, conn: Connection, action: Action, okta_id: str | None, now: datetime) -> None:
        whose = {"directory_id": action.directory_id or "", "login": action.login}
        imports.intend(conn, **whose, plan_id=self._plan_id, okta_id=okta_id, now=now)

    def _write(self, work: Callable[[Connection, datetime], T]) -> T:
        def fenced(conn: Connection) -> T:
            lease.check(conn, self._run.fence)
            return work(conn, self._clock())

        return self._store.write(fenced)

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


class Carrier:
    def __init__(
        self, okta: OktaOrg, recorder: Recorder, settings: ImportSettings, *, pause: Callable[[float], object]
    ) -> None:
        self._okta, self.recorder, self._settings, self._pause = okta, recorder, settings, pause

    def carry(self, group: AccountActions, match: Match) -> None:
        """All that is still to be done for one account; Failed where that is not possible."""
        okta_id, fresh = (match.okta.id if match.okta else None), False
        create = group.create
        if create is not None and create.state is not ActionState.DONE:
            if okta_id is None:
                okta_id, fresh = self._create(create)
            else:
                self.recorder.created(create, okta_id, how="found: an import that didn't end had made it")
        assert okta_id is not None
        if group.assign.state is not ActionState.DONE:
            # Groups may have assigned a new user at once; nobody else can have.
            known = None if fresh and not self._settings.groups else self._read(group.assign, okta_id)
            self._assign(group.assign, okta_id, known, made=create is not None or match.made, decided=match.decided)

    # create

    def _create(self, action: Action) -> tuple[str, bool]:
        """The new Okta user's id, and whether Okta has answered so at once."""
        if self._look(action) is not None:
            why = f"Okta has a user {action.login} by now. Plan again: opshelm-agent import plan --user {action.login}"
            raise self._stale(action, why)
        self.recorder.intend(action, None)
        crash_point("import.intended")
        activate = action.changes["status"].after == "active"
        groups = action.changes["groups"].after if "groups" in action.changes else ()
        profile = profile_of(action)
        for number in range(1, _CALLS + 1):
            answer = self._call(action, None, lambda: self._okta.create_user(profile, activate=activate, groups=groups))
            if answer is not None:
                crash_point("import.create_answered")
                self.recorder.created(action, answer.id, how="")
                crash_point("import.created")
                return answer.id, True
            found = self._look(action)
            if found is not None:
                self.recorder.created(action, found.id, how="found after an answer was lost")
                return found.id, False
            self._wait(number)
        raise self._no_answer(action)

    def _look(self, action: Action) -> OktaUser | None:
        found = self._ask(action, lambda: find_by_login(self._okta, str(action.changes["profile.login"].after)))
        return found[0] if found else None

    # assign

    def _read(self, action: Action, okta_id: str) -> Person:
        return self._ask(action, lambda: self._okta.person(okta_id))

    def _assign(self, action: Action, okta_id: str, person: Person | None, *, made: bool, decided: bool) -> None:
        if person is not None:
            if person.app_user is not None:
                return self._there(action, person, person.app_user, how="Okta had assigned it already")
            self._usable(action, person, made=made or decided)
        self.recorder.intend(action, okta_id)
        crash_point("import.assign_intended")
        for number in range(1, _CALLS + 1):
            answer = self._call(action, okta_id, lambda: self._okta.assign(okta_id, action.login))
            if answer is not None:
                crash_point("import.assign_answered")
                # A new user's status is known: it is what was asked for.
                waits = made and not self._settings.activate if person is None else _waits(person)
                self.recorder.assigned(action, okta_id, waits=waits, how="")
                crash_point("import.assigned")
                return None
            person = self._read(action, okta_id)
            if person.app_user is not None:
                return self._there(action, person, person.app_user, how="found after an answer was lost")
            self._wait(number)
        raise self._no_answer(action)

    def _there(self, action: Action, person: Person, app_user: AppUser, *, how: str) -> None:
        if identity_key(app_user.user_name) == identity_key(action.login):
            self.recorder.assigned(action, person.okta_id, waits=_waits(person), how=how)
            return
        why = (
            f"The Okta user {person.okta_id} has the app already, as {app_user.user_name or 'nobody'}; Okta would not look for "
            f"{action.login}. Change the app username of that assignment in Okta, then import again."
        )
        self.recorder.refused(action, person.okta_id, why, nothing_made=False)
        raise Failed(action, why)

    def _usable(self, action: Action, person: Person, *, made: bool) -> None:
        status = user_status(person.okta_user)
        if status in LIVE or (made and status in ("STAGED", "SUSPENDED")):
            return
        why = f"The Okta user {person.okta_id} is {status or 'gone'} by now."
        raise self._stale(action, why)

    # calls

    def _call(self, action: Action, okta_id: str | None, call: Callable[[], T]) -> T | None:
        """One write; None where a look has to say what became of it."""
        try:
            return call()
        except OktaUnreachable:
            return None
        except OktaThrottled:
            raise
        except OktaError as error:
            if isinstance(error, OktaRejected) and _TAKEN in error.detail:
                return None
            trouble = not isinstance(error, OktaRejected | OktaNotFound)
            self.recorder.refused(action, okta_id, error.detail, nothing_made=okta_id is None)
            raise Failed(action, error.detail, trouble=trouble) from error

    def _ask(self, action: Action, ask: Callable[[], T]) -> T:
        """One read. It has been tried as often as the settings say already."""
        try:
            return ask()
        except OktaThrottled:
            raise
        except OktaError as error:
            why = f"{error.detail} What became of this account is not known; the next import looks first."
            self.recorder.unknown(action, why)
            raise Failed(action, why, trouble=True) from error

    def _stale(self, action: Action, why: str) -> Failed:
        self.recorder.ended((action,), ActionState.STALE, why)
        return Failed(action, why, state=ActionState.STALE)

    def _wait(self, number: int) -> None:
        if number < _CALLS:
            self._pause(float(2 ** (number - 1)))

    def _no_answer(self, action: Action) -> Failed:
        why = (
            f"Okta did not answer {_CALLS} calls, and has nothing to show for them. Import it again later: "
            f"opshelm-agent import plan --user {action.login}"
        )
        self.recorder.unknown(action, why)
        return Failed(action, why, trouble=True)


def _waits(person: Person) -> bool:
    """Okta provisions at activation."""
    return user_status(person.okta_user) in ("STAGED", "SUSPENDED")


def profile_of(create: Action) -> dict[str, Any]:
    """The Okta profile that a stored okta_create says."""
    assert create.kind is ActionKind.OKTA_CREATE
    return {
        path.removeprefix("profile."): change.after
        for path, change in create.changes.items()
        if path.startswith("profile.")
    }
