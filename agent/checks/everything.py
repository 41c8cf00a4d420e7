"""All checks in the order in which an operator mends things, line by line. Opens what it looks at, and closes it again.

It opens a store, a directory and Okta of its own, also in the daemon: a check sees what a new process would see.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from typing import Protocol

from agent.checks import access, daemon, database, remote, roles, round_trip
from agent.checks.okta import OktaChecks
from agent.checks.people import Exceptional
from agent.directory.port import Directory
from agent.model.check import Check, CheckState, fail, ok, warn
from agent.model.errors import AgentError, DiskFull, NoDatabase, NoSessions, OktaError
from agent.okta_org.org import OktaOrg
from agent.reconcile.roles import RoleReader
from agent.settings import Loaded, Settings
from agent.store import account
from agent.store.account import Account
from agent.store.engine import Store
from agent.store.journal import Signature


class Opens(Protocol):
    """How parts are opened (agent.bootstrap fulfils it)."""

    def open_store(self, settings: Settings) -> Store: ...
    def open_directory(self, settings: Settings, store: Store) -> Directory: ...
    def open_okta(self, settings: Settings) -> AbstractContextManager[OktaOrg]: ...


class Everything:
    """``lines`` once; ``exceptions`` are then the people whose e-mail is not their username."""

    def __init__(self, loaded: Loaded, by: Signature, opens: Opens) -> None:
        self._settings, self._file = loaded.settings, loaded.file
        self._by, self._opens = by, opens
        self.exceptions: list[Exceptional] = []

    def lines(self) -> Iterator[Check]:
        """NoDatabase where there is none, NoSessions where it can't be used: then nothing else can be said."""
        settings = self._settings
        yield ok("settings", f"from {self._file}" if self._file else "no file; environment and defaults")
        yield from daemon.in_force(settings)
        try:
            with closing(self._opens.open_store(settings)) as store:
                yield from database.checks(store, settings, self._by.at)
                yield from self._remote(store)
                with store.read() as conn:
                    row = account.get(conn)
                receiver = list(daemon.checks(settings.server))
                up = any(line.state is CheckState.OK for line in receiver)
                yield from receiver
                yield from round_trip.checks(store, settings.server, self._by, receiver_up=up)
        except (NoDatabase, NoSessions):
            raise
        except DiskFull as exc:
            yield fail("database", exc.detail, "df -h; what the agent keeps there for long: docs/operations.md")
            return
        except AgentError as exc:
            yield fail("database", exc.detail, "check database.url, the folder's rights and that the server runs")
            return
        yield from self._okta(row)

    def _remote(self, store: Store) -> Iterator[Check]:
        if self._settings.directory.backend != "scim":
            return

        with closing(self._opens.open_directory(self._settings, store)) as directory:
            yield from remote.checks(directory, self._by.at)

    def _roles(self, okta: OktaOrg) -> Iterator[Check]:
        settings = self._settings
        if not settings.roles.owner:
            return

        with closing(self._opens.open_store(settings)) as store:
            if settings.directory.backend == "scim":
                with closing(self._opens.open_directory(settings, store)) as directory:
                    if directory.no_roles:
                        yield fail("roles", directory.no_roles, "leave roles.owner empty, and give roles in OpsHelm")
                        return
            reader = RoleReader(store=store, okta=okta, settings=settings.roles, clock=lambda: self._by.at)
            try:
                yield from roles.checks(reader, okta)
            except OktaError as exc:
                yield access.unless("roles", exc)

    def _okta(self, row: Account) -> Iterator[Check]:
        if not self._settings.okta.configured:
            yield warn(
                "okta", "not set: the agent is a receiver alone", "set okta.org_url, okta.app_id and okta.api_token"
            )
            return

        try:
            with self._opens.open_okta(self._settings) as okta:
                looked = OktaChecks(okta, self._settings, row, self._by.at)
                yield from looked.lines()
                self.exceptions = looked.exceptions
                yield from self._roles(okta)
        except AgentError as exc:
            yield fail("okta", exc.detail, "check [okta]")
