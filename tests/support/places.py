"""Where the contract of a directory is tried: the embedded one, and remote ones behind the same port."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from msgspec.structs import replace
from sqlalchemy import text

from agent.directory.port import Acts, Draft, WriteContext, Written
from agent.directory.remote.directory import RemoteDirectory
from agent.directory.remote.unfinished import OWN_GRACE
from agent.directory.sql import SqlDirectory
from agent.model.codes import ActionKind, Source
from agent.model.plan import Action, Change, Plan
from agent.model.users import DirectoryUser, MultiValue, Name, Origin, Profile, Role
from agent.settings import DirectorySettings, GuardSettings, Settings
from agent.store import plans, runs
from agent.store.engine import Connection, Store
from support.directory_world import ROOMY
from support.remotes import QUICK, Remote

#: directory.owners of every place; nobody has these names until a test makes them.
OWNERS = ("owner1@example.com", "owner2@example.com")
#: How long after a test's ``now`` no call of this agent's that a test made can still arrive.
OVER = OWN_GRACE + timedelta(minutes=1)


def email(name: str) -> Profile:
    return Profile(
        name=Name(given_name="Ann", family_name="Lee"), emails=(MultiValue(value=name, type="work", primary=True),)
    )


def draft(name: str, *, okta: str | None = None, active: bool = True, **profile: Any) -> Draft:
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
    """A directory, its store, and what people do on the OpsHelm side behind the agent's back."""

    directory: SqlDirectory | RemoteDirectory
    store: Store

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def context(self, source: Source = Source.PUSH, **more: Any) -> WriteContext:
        return WriteContext(actor="tester", source=source, **more)

    def post(self, name: str, *, okta: str | None = None, source: Source = Source.PUSH, **more: Any) -> Written:
        return self.directory.create(draft(name, okta=okta, **more), self.context(source), self.now).result(30)

    def begin_change(
        self,
        user: DirectoryUser,
        *,
        source: Source = Source.PUSH,
        version: int | None = None,
        fence: int | None = None,
        **changes: Any,
    ) -> "Future[Written]":
        def wanted(before: DirectoryUser) -> Draft:
            own = {name: value for name, value in changes.items() if name in ("user_name", "active", "okta_id")}
            profile = {name: value for name, value in changes.items() if name not in own}
            if "user_name" in own:
                profile["emails"] = (MultiValue(value=own["user_name"], type="work", primary=True),)
            base = Draft(user_name=before.user_name, profile=replace(before.profile, **profile), active=before.active)
            return replace(base, **own)

        return self.directory.modify(
            user.id, wanted, self.context(source, fence=fence), self.now, expected_version=version
        )

    def change(self, user: DirectoryUser, **more: Any) -> Written:
        return self.begin_change(user, **more).result(30)

    def get(self, user: DirectoryUser) -> DirectoryUser:
        found = self.directory.get(user.id)
        assert found is not None
        return found

    def plan(self, actions: Sequence[Action]) -> int:
        plan = Plan(actions=tuple(actions), population=len(actions), source_size=len(actions), created=self.now)

        def work(conn: Connection) -> int:
            request = runs.RunRequest(kind="sweep", trigger="cli", actor="tester", dry=False)
            run_id = runs.start(conn, request, self.now)
            return plans.save(conn, run_id=run_id, kind="sweep", plan=plan, expires=self.now + timedelta(days=1))

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

    def local(self, name: str) -> DirectoryUser:
        raise NotImplementedError

    def owner(self, name: str) -> DirectoryUser:
        """``name`` is one of OWNERS."""
        raise NotImplementedError

    def acts(self) -> Acts:
        raise NotImplementedError

    def journal(self, kind: str) -> list[str]:
        with self.store.read() as conn:
            return [
                row[0]
                for row in conn.execute(text("select verb from journal where kind = :k order by id"), {"k": kind})
            ]


class Held(httpx.BaseTransport):
    """Calls to a remote that stop right before the socket: ``wait`` for one, then ``release`` all."""

    def __init__(self, directory: RemoteDirectory, held: Callable[[str, str, Mapping[str, str]], bool]) -> None:
        """``held``: by the method, the path and the parameters."""
        self._came, self._go = threading.Event(), threading.Event()
        self._held = held
        self._route, directory.transport.route = directory.transport.route, self

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if not self._go.is_set() and self._held(request.method, request.url.path, dict(request.url.params)):
            self._came.set()
            assert self._go.wait(30), "never released"
        return self._route.handle_request(request)

    def close(self) -> None:
        self._route.close()

    def wait(self) -> None:
        assert self._came.wait(30), "no such call"

    def release(self) -> None:
        self._go.set()


class SqlPlace(Place):
    def __init__(self, store: Store, guard: GuardSettings) -> None:
        super().__init__()
        self.store = store
        self.directory: SqlDirectory = SqlDirectory(store, Settings(guard=guard))

    def local(self, name: str, role: Role = Role.MEMBER) -> DirectoryUser:
        user = DirectoryUser(
            id=f"id-{name}",
            user_name=name,
            profile=email(name),
            active=True,
            created=self.now,
            updated=self.now,
            origin=Origin.LOCAL,
            role=role,
        )
        return self.directory.add(user, self.context(Source.CLI), self.now)

    def owner(self, name: str) -> DirectoryUser:
        user = self.local(name, Role.OWNER)
        return self.change(user, okta_id=f"00u{name[:8]}").user

    def acts(self) -> Acts:
        return self.directory.operator(actor="operator", reason="test", now=self.now)


class RemotePlace(Place):
    def __init__(self, store: Store, remote: Remote, guard: GuardSettings, **directory: Any) -> None:
        super().__init__()
        self.store = store
        self.remote = remote
        self.settings = remote_settings(remote, guard, **directory)
        self.directory: RemoteDirectory = RemoteDirectory(store, self.settings, clock=lambda: self.now, pace=QUICK)

    def local(self, name: str) -> DirectoryUser:
        made = self.remote.post(name, name={"givenName": "Ann", "familyName": "Lee"})
        found = self.directory.get(made["id"])
        assert found is not None
        return found

    def owner(self, name: str) -> DirectoryUser:
        return self.post(name, okta=f"00u{name[:8]}").user

    def acts(self) -> Acts:
        return self.directory.operator(actor="operator", reason="test", now=self.now)


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
def remote_place(store: Store, remote: Remote, guard: GuardSettings = ROOMY, **directory: Any) -> Iterator[RemotePlace]:
    place = RemotePlace(store, remote, guard, **directory)
    try:
        yield place
    finally:
        place.directory.close()
