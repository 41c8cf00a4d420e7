"""A directory of either backend with its clock, and short ways to push, write and look."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, func, select

from agent.directory import rows
from agent.directory.port import Acts, Draft, WriteContext, Written
from agent.directory.remote.directory import RemoteDirectory
from agent.directory.remote.unfinished import OWN_GRACE
from agent.directory.rules import AccountChange
from agent.directory.sql import SqlDirectory
from agent.model.codes import ActionKind, RefusalCode, Source
from agent.model.errors import Refused
from agent.model.holds import Hold
from agent.model.plan import Action, Change, Plan
from agent.model.users import DirectoryUser, MultiValue, Name, Origin, Profile, Role
from agent.settings import DirectorySettings, GuardSettings, Settings
from agent.store import account, alarms, attention, brakes, plans, runs, seal, windows
from agent.store.engine import Store
from agent.store.tables import journal, users
from support.remotes import QUICK, Remote

#: directory.owners of every remote place; nobody has these names until a test makes them.
OWNERS = ("owner1@example.com", "owner2@example.com")
#: How long after a test's ``now`` no call of this agent's that a test made can still arrive.
OVER = OWN_GRACE + timedelta(minutes=1)
START = datetime(2026, 11, 24, 12, tzinfo=UTC)
#: Limits that no test meets by accident.
ROOMY = GuardSettings(
    push_floor=1000, window_floor=1000, push_percent=100, window_percent=100, push_cap=10_000, window_cap=10_000
)

#: Rows of the journal that are changes of accounts: keys, pins, brakes and what was done in Okta are journalled too.
CHANGES = (
    journal.c.kind == "applied",
    journal.c.after.is_not(None),
    journal.c.directory_id.is_not(None),
    journal.c.source != "import",
    journal.c.verb != "guard allow",
)


def okta_id(number: int) -> str:
    return f"00u{number:017d}"


def email(name: str) -> Profile:
    return Profile(
        name=Name(given_name="Ann", family_name="Lee"), emails=(MultiValue(value=name, type="work", primary=True),)
    )


def draft(name: str, /, *, okta: str | None = None, active: bool = True, **profile: Any) -> Draft:
    return Draft(user_name=name, profile=replace(email(name), **profile), active=active, okta_id=okta)


def action(
    n: int,
    kind: ActionKind,
    login: str,
    *,
    of: DirectoryUser | None = None,
    okta: str | None = None,
    needs: tuple[int, ...] = (),
    **after: Any,
) -> Action:
    """``of``: the account as the plan saw it; ``after``: what each path is to become."""
    return Action(
        n=n,
        kind=kind,
        login=login,
        directory_id=of and of.id,
        okta_id=of.okta_id if of else okta,
        version=of and of.version,
        changes={path: Change(before=None, after=value) for path, value in after.items()},
        needs=needs,
    )


class Place:
    """One directory, its store and its clock. What is expected to be refused answers the code.

    With a ``remote`` that is OpsHelm, and ``local`` is what people do there behind the agent's back.
    """

    def __init__(self, store: Store, settings: Settings, remote: Remote | None = None) -> None:
        self.store, self.settings, self.remote = store, settings, remote
        self.now = START if remote is None else datetime.now(UTC)
        self.directory = SqlDirectory(store, settings) if remote is None else self.beside()
        self._numbers = count(1)

    def beside(self) -> RemoteDirectory:
        """The remote as another process sees it. Close it."""
        return RemoteDirectory(self.store, self.settings, clock=lambda: self.now, pace=QUICK)

    def restart(self) -> None:
        """The agent as a new process, with a remote."""
        assert isinstance(self.directory, RemoteDirectory)
        self.directory.close()
        self.directory = self.beside()

    def with_settings(self, **sections: Any) -> "Place":
        """The same database under other settings."""
        other = Place(self.store, Settings(**{"guard": ROOMY, **sections}))
        other.now, other._numbers = self.now, self._numbers
        return other

    # Writing

    def context(self, source: Source = Source.PUSH, **more: Any) -> WriteContext:
        return WriteContext(actor="tester", source=source, **more)

    def post(self, name: str, /, *, okta: str | None = None, source: Source = Source.PUSH, **more: Any) -> Written:
        return self.directory.create(draft(name, okta=okta, **more), self.context(source), self.now).result(30)

    def change(self, user: DirectoryUser, **more: Any) -> Written:
        return self.begin_change(user, **more).result(30)

    def begin_change(
        self, user: DirectoryUser, *, source: Source = Source.PUSH, version: int | None = None, **changes: Any
    ) -> "Future[Written]":
        """``changes``: user_name, active, okta_id, active_said; anything else is the profile's. Renames take the e-mail along."""
        context = {name: changes.pop(name) for name in ("exempt", "suspended", "fence") if name in changes}

        def wanted(before: DirectoryUser) -> Draft:
            own = {name: changes[name] for name in ("user_name", "active", "okta_id", "active_said") if name in changes}
            profile = {name: value for name, value in changes.items() if name not in own}
            if "user_name" in own and "emails" not in profile:
                profile["emails"] = (MultiValue(value=own["user_name"], type="work", primary=True),)
            base = Draft(user_name=before.user_name, profile=replace(before.profile, **profile), active=before.active)
            return replace(base, **own)

        return self.directory.modify(
            user.id, wanted, self.context(source, **context), self.now, expected_version=version
        )

    def delete(self, user: DirectoryUser) -> Written:
        return self.directory.remove(user.id, self.context(), self.now).result(60)

    def refused(self, call: Callable[[], Any]) -> RefusalCode:
        with pytest.raises(Refused) as caught:
            call()
        return caught.value.reason

    # Making

    def local(self, name: str = "", *, role: Role = Role.MEMBER, **fields: Any) -> DirectoryUser:
        """An account as OpsHelm itself has it; fields as of DirectoryUser."""
        if self.remote is not None:
            made = self.remote.post(name, name={"givenName": "Ann", "familyName": "Lee"})
            found = self.directory.get(made["id"])
            assert found is not None
            return found
        number = next(self._numbers)
        name = name or f"local{number}@example.com"
        values: dict[str, Any] = {
            "id": f"local-{number}",
            "user_name": name,
            "profile": email(name),
            "active": True,
            "created": self.now,
            "updated": self.now,
            "origin": Origin.LOCAL,
            "role": role,
        }
        user = DirectoryUser(**{**values, **fields})
        return self.directory.add(user, self.context(Source.CLI), self.now)

    def owner(self, name: str) -> DirectoryUser:
        """Managed; ``name`` is one of OWNERS."""
        okta = f"00u{name[:8]}"
        if self.remote is not None:
            return self.post(name, okta=okta).user
        return self.change(self.local(name, role=Role.OWNER), okta_id=okta).user

    def managed(self, count: int = 1, **fields: Any) -> list[DirectoryUser]:
        """Accounts that Okta has made."""
        made = []
        for _ in range(count):
            number = next(self._numbers)
            user = self.post(f"person{number}@example.com", okta=okta_id(number)).user
            made.append(user if not fields else self.act(user, **fields))
        return made

    def act(self, user: DirectoryUser, **fields: Any) -> DirectoryUser:
        """What an operator does: any field of DirectoryUser."""
        change = AccountChange(user.id, lambda b: replace(b, **fields), self.context(Source.CLI))
        made = self.directory.change(change, self.now)
        return made.result(60).user

    def later(self, **duration: float) -> None:
        self.now += timedelta(**duration)

    def acts(self) -> Acts:
        return self.directory.operator(actor="operator", reason="test", now=self.now)

    def plan(self, actions: Sequence[Action]) -> int:
        plan = Plan(actions=tuple(actions), population=len(actions), source_size=len(actions), created=self.now)

        def work(conn: Connection) -> int:
            request = runs.RunRequest(kind="sweep", trigger="cli", actor="tester", dry=False)
            run_id = runs.start(conn, request, self.now)
            return plans.save(conn, run_id=run_id, kind="sweep", plan=plan, expires=self.now + timedelta(days=1)).id

        return self.store.write(work)

    def carry_out(self, plan_id: int, actions: Sequence[Action]) -> dict[int, str]:
        """What became of each, by its number."""
        context = self.context(Source.SWEEP)
        ended = self.directory.batches().write(plan_id, actions, lambda _: context, self.now)
        return {one.n: one.state.value for one in ended}

    def states(self, plan_id: int) -> dict[int, str]:
        with self.store.read() as conn:
            stored = plans.get(conn, plan_id)
        assert stored is not None
        return {one.n: one.state.value for one in stored.plan.actions}

    # Looking

    def get(self, user: DirectoryUser) -> DirectoryUser:
        found = self.directory.get(user.id)
        assert found is not None
        return found

    def journal(self, kind: str | None = None) -> list[Any]:
        wanted = select(journal).order_by(journal.c.id)
        with self.store.read() as conn:
            return list(conn.execute(wanted if kind is None else wanted.where(journal.c.kind == kind)))

    def verbs(self, kind: str) -> list[str]:
        return [row.verb for row in self.journal(kind)]

    def last(self) -> Any:
        return self.journal()[-1]

    def account(self) -> account.Account:
        with self.store.read() as conn:
            return account.get(conn)

    def counts(self) -> windows.Counts:
        with self.store.read() as conn:
            return windows.counts(conn, self.now)

    def attention(self) -> list[tuple[str, str | None]]:
        with self.store.read() as conn:
            return [(a.reason, a.directory_id) for a in attention.due(conn, self.now, 100)]

    def alarms(self) -> set[str]:
        with self.store.read() as conn:
            return {alarm.code for alarm in alarms.open_alarms(conn)}

    def refused_pushes(self) -> list[Hold]:
        with self.store.read() as conn:
            return brakes.refused_pushes(conn)


def after_of(row: Any) -> dict[str, Any]:
    return dict(msgspec.json.decode(row.after))


def assert_whole(store: Store) -> None:
    """What must hold at any moment: counters tell the truth, identities are unique, the journal has every write."""
    told = select(users.c.id, users.c.given_name, users.c.family_name, users.c.display_name, users.c.email_key)
    with store.read() as conn:
        found = [user for _, page in _pages(conn) for user in page]
        beside = {row.id: tuple(row[1:]) for row in conn.execute(told)}
        row = account.get(conn)
        applied = conn.execute(select(func.count()).where(*CHANGES)).scalar_one()
        problems = seal.verify(conn).problems
    assert row.managed_active == sum(user.managed and user.active for user in found)
    assert row.active_owners == sum(user.role is Role.OWNER and user.active for user in found)
    assert row.visible == sum(not user.hidden for user in found)
    assert len({user.user_name_key for user in found}) == len(found)
    bound = [user.okta_id for user in found if user.okta_id is not None]
    assert len(set(bound)) == len(bound)
    assert applied == sum(user.version for user in found)
    assert problems == []
    for user in found:
        # What is searched and shown without the profile is what the profile says.
        name = user.profile.name or Name()
        assert beside[user.id] == (name.given_name, name.family_name, user.profile.display_name, user.email_key)


def _pages(conn: Connection) -> Iterator[tuple[int, list[DirectoryUser]]]:
    seq = 0
    while True:
        seq, found = rows.after(conn, seq, 500)
        if not found:
            return
        yield seq, found


def remote_settings(remote: Remote, guard: GuardSettings = ROOMY, **directory: Any) -> Settings:
    values = {
        "backend": "scim",
        "base_url": remote.url,
        "api_key": remote.key,
        "owners": OWNERS,
        "max_per_second": 100_000.0,
        "page_size": 7,
    }
    return Settings(directory=DirectorySettings(**(values | directory)), guard=guard)


@contextmanager
def remote_place(store: Store, remote: Remote, guard: GuardSettings = ROOMY, **directory: Any) -> Iterator[Place]:
    place = Place(store, remote_settings(remote, guard, **directory), remote)
    try:
        yield place
    finally:
        place.directory.close()
