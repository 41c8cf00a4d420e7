"""For tests: a directory with its clock, and short ways to push, reconcile and look."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, func, select

from agent.directory import rows
from agent.directory.backend import AccountChange
from agent.directory.port import Draft, WriteContext, Written
from agent.directory.sql import SqlDirectory
from agent.model.codes import RefusalCode, Source
from agent.model.errors import Refused
from agent.model.users import DirectoryUser, MultiValue, Origin, Profile, Role
from agent.settings import GuardSettings, Settings
from agent.store import account, alarms, attention, seal, windows
from agent.store.engine import Store
from agent.store.tables import journal

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
#: Limits that no test meets by accident.
ROOMY = GuardSettings(
    push_floor=1000, window_floor=1000, push_percent=100, window_percent=100, push_cap=10_000, window_cap=10_000
)


def okta_id(number: int) -> str:
    return f"00u{number:017d}"


class World:
    """One directory with its clock. What is expected to be refused answers the code."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self.directory = SqlDirectory(store, settings)
        self.now = START
        self._numbers = count(1)

    def with_settings(self, **sections: Any) -> "World":
        """The same database under other settings."""
        other = World(self.store, Settings(**{"guard": ROOMY, **sections}))
        other.now, other._numbers = self.now, self._numbers
        return other

    # Writing

    def context(self, source: Source = Source.PUSH, **more: Any) -> WriteContext:
        return WriteContext(actor="tester", source=source, **more)

    def draft(self, name: str, /, *, okta: str | None = None, active: bool = True, **profile: Any) -> Draft:
        values = {"emails": (MultiValue(value=name, type="work", primary=True),), **profile}
        return Draft(user_name=name, profile=Profile(**values), active=active, okta_id=okta)

    def post(self, name: str, /, *, okta: str | None = None, active: bool = True, **profile: Any) -> Written:
        wanted = self.draft(name, okta=okta, active=active, **profile)
        return self.directory.create(wanted, self.context(), self.now).result(10)

    def change(
        self, user: DirectoryUser, *, source: Source = Source.PUSH, version: int | None = None, **changes: Any
    ) -> Written:
        """``changes``: user_name, active, okta_id, active_said; anything else is the profile's. Renames take the e-mail along."""
        context = {name: changes.pop(name) for name in ("exempt", "suspended", "fence") if name in changes}

        def wanted(before: DirectoryUser) -> Draft:
            own = {name: changes[name] for name in ("user_name", "active", "okta_id", "active_said") if name in changes}
            profile = {name: value for name, value in changes.items() if name not in own}
            if "user_name" in own and "emails" not in profile:
                profile["emails"] = (MultiValue(value=own["user_name"], type="work", primary=True),)
            base = Draft(user_name=before.user_name, profile=replace(before.profile, **profile), active=before.active)
            return replace(base, **own)

        made = self.directory.modify(
            user.id, wanted, self.context(source, **context), self.now, expected_version=version
        )
        return made.result(10)

    def delete(self, user: DirectoryUser) -> Written:
        return self.directory.remove(user.id, self.context(), self.now).result(10)

    def refused(self, call: Callable[[], Any]) -> RefusalCode:
        with pytest.raises(Refused) as caught:
            call()
        return caught.value.reason

    # Making

    def local(self, name: str = "", *, role: Role = Role.MEMBER, **fields: Any) -> DirectoryUser:
        """An account as OpsHelm itself has it; fields as of DirectoryUser."""
        number = next(self._numbers)
        name = name or f"local{number}@example.com"
        values: dict[str, Any] = {
            "id": f"local-{number}",
            "user_name": name,
            "profile": Profile(emails=(MultiValue(value=name, type="work", primary=True),)),
            "active": True,
            "created": self.now,
            "updated": self.now,
            "origin": Origin.LOCAL,
            "role": role,
        }
        user = DirectoryUser(**{**values, **fields})
        return self.directory.add(user, self.context(Source.CLI), self.now)

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
        return made.result(10).user

    def later(self, **duration: float) -> None:
        self.now += timedelta(**duration)

    # Looking

    def get(self, user: DirectoryUser) -> DirectoryUser:
        found = self.directory.get(user.id)
        assert found is not None
        return found

    def journal(self, kind: str | None = None) -> list[Any]:
        wanted = select(journal).order_by(journal.c.id)
        with self.store.read() as conn:
            return list(conn.execute(wanted if kind is None else wanted.where(journal.c.kind == kind)))

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

    def refused_pushes(self) -> list[windows.RefusedPush]:
        with self.store.read() as conn:
            return windows.refused(conn)


def after_of(row: Any) -> dict[str, Any]:
    return dict(msgspec.json.decode(row.after))


def assert_whole(store: Store) -> None:
    """What must hold at any moment: counters tell the truth, identities are unique, the journal has every write."""
    with store.read() as conn:
        found = [user for _, page in _pages(conn) for user in page]
        row = account.get(conn)
        # Keys, pins, brakes and what was done in Okta are journalled too.
        changes = (journal.c.kind == "applied", journal.c.after.is_not(None), journal.c.source != "import")
        applied = conn.execute(select(func.count()).where(*changes)).scalar_one()
        problems = seal.verify(conn).problems
    assert row.managed_active == sum(user.managed and user.active for user in found)
    assert row.active_owners == sum(user.role is Role.OWNER and user.active for user in found)
    assert row.visible == sum(not user.hidden for user in found)
    assert len({user.user_name_key for user in found}) == len(found)
    bound = [user.okta_id for user in found if user.okta_id is not None]
    assert len(set(bound)) == len(bound)
    assert applied == sum(user.version for user in found)
    assert problems == []


def _pages(conn: Connection) -> Iterator[tuple[int, list[DirectoryUser]]]:
    seq = 0
    while True:
        seq, found = rows.after(conn, seq, 500)
        if not found:
            return
        yield seq, found
