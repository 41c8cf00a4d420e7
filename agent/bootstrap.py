"""Composition root: the one place that knows all concrete classes. Opens and closes; decides nothing.

Imports are inside the functions: a command loads only what it uses, and Okta's SDK takes a while.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from agent.model.errors import ConfigError, StoreUnavailable
from agent.settings import Settings

if TYPE_CHECKING:
    from agent.directory.port import Directory
    from agent.imports import Importer
    from agent.okta_org.limits import RateBudget
    from agent.okta_org.org import OktaOrg
    from agent.receiver.lookups import Lookups
    from agent.reconcile.reconciler import Reconciler
    from agent.reconcile.system_log import SystemLogReader
    from agent.store.engine import Store
    from agent.store.journal import Signature


def clock() -> datetime:
    from agent.store.steps import CLOCK

    return CLOCK.now()


def load_receiver() -> None:
    """Whatever a process loads that receives with the embedded directory. Opens nothing."""
    from agent.directory import sql  # noqa: F401
    from agent.receiver import app  # noqa: F401
    from agent.scim import library

    library.warm_up()


def open_store(settings: Settings, *, make: bool = False) -> "Store":
    """Connect and migrate. A new database only with ``make``: in the wrong folder nobody is to be told that all is done."""
    from agent.store.engine import Store
    from agent.store.steps import CLOCK

    store = Store.open(settings.database, make=make)
    with suppress(StoreUnavailable):  # a daemon tries again; who only reads can do without
        CLOCK.settle(store)
    return store


def open_directory(settings: Settings, store: "Store", stop: threading.Event | None = None) -> "Directory":
    """The OpsHelm side: the embedded directory, or a remote one over SCIM. Nothing is called yet. ``stop`` ends its waits."""
    if settings.directory.backend == "scim":
        from agent.directory.remote.directory import RemoteDirectory

        return RemoteDirectory(store, settings, clock=clock, stop=stop)
    from agent.directory.sql import SqlDirectory

    return SqlDirectory(store, settings)


def apply_mapping(settings: Settings, store: "Store", by: "Signature") -> tuple[int | None, int]:
    """Make the settings' mapping the database's: its version (None: it was that already), and how many accounts were rebuilt."""
    from agent.directory import rows
    from agent.model.mapping import Mapping

    mapping = Mapping(settings.mapping)
    return rows.change_mapping(store, mapping, by), rows.rebuild(store, mapping)


def open_okta(settings: Settings, *, secrets: Callable[[], Settings] | None = None) -> "OktaOrg":
    """``secrets`` is asked for the settings anew when Okta no longer takes the credentials."""
    from agent.okta_org.org import OktaOrg

    if not settings.okta.configured:
        raise ConfigError(["okta.org_url: missing; this needs Okta. Set okta.org_url, okta.app_id and okta.api_token"])
    return OktaOrg.connect(settings.okta, credentials=None if secrets is None else lambda: secrets().okta)


class Agent:
    """All parts of one process. ``okta`` and ``reconciler`` are None without [okta]."""

    def __init__(
        self, settings: Settings, store: "Store", okta: "OktaOrg | None", secrets: Callable[[], Settings] | None = None
    ) -> None:
        self.settings = settings
        self._secrets = secrets
        self.store = store
        self._stop = threading.Event()
        self.directory = open_directory(settings, store, self._stop)
        self.okta = okta
        self.reconciler = self._make_reconciler()

    def ask_to_stop(self) -> None:
        """The process is to end: what was begun is finished, no wait goes on. From any thread or signal handler."""
        self._stop.set()
        if self.okta is not None:
            self.okta.end_waits()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def _make_reconciler(self) -> "Reconciler | None":
        if self.okta is None:
            return None
        from agent.reconcile.reconciler import Reconciler

        return Reconciler(self.store, self.directory, self.okta, self.settings, clock, self._stop)

    def need_reconciler(self) -> "Reconciler":
        assert self.reconciler is not None  # open_agent has insisted on Okta
        return self.reconciler

    def budget(self) -> "Mapping[str, RateBudget] | None":
        """What Okta's headers said is left of its limits; None without [okta]."""
        return None if self.okta is None else self.okta.budget()

    def importer(self) -> "Importer":
        """OpsHelm accounts into Okta."""
        from agent.imports import Importer

        assert self.okta is not None  # open_agent has insisted on Okta
        return Importer(self.store, self.directory, self.okta, self.settings, clock, self._stop)

    def receiver(self, queued: Callable[[], None] = lambda: None, looked_for: "Lookups | None" = None) -> Any:
        """The ASGI app that Okta pushes to. ``queued`` is called when an event hook has named somebody."""
        from agent.receiver.app import build
        from agent.receiver.hooks import Hooks

        hooks = Hooks(self.store, lambda: self.settings, queued)
        return build(
            self.directory,
            self.store,
            self.settings,
            hooks=hooks,
            max_waiting=lambda: self.settings.receiver.max_waiting,
            looked_for=looked_for,
        )

    def system_log(self, on_wait: Callable[[float, str], None]) -> "SystemLogReader | None":
        """What polls Okta's events; None without [okta]. ``on_wait`` is told of its waits."""
        if self.okta is None:
            return None
        from agent.reconcile.system_log import SystemLogReader

        return SystemLogReader(self.store, self.okta, self.settings, clock, self._stop.is_set, on_wait)

    def renew(self, settings: Settings, taken: Callable[[], None] = lambda: None) -> None:
        """Take changed settings on, all of them or none: what may fail comes first. Requests under way keep the old ones.

        ``taken`` is called when writes go by them, which other processes of the daemon then must do too.
        Call it while no run is under way. Who still reads Okta by the old connection gets an error at once.
        """
        from agent.store import brakes
        from agent.store.journal import Signature

        by, changed = Signature(actor="daemon", source="reload", at=clock()), settings.changed_since(self.settings)
        old, new = self.okta, self.okta
        if settings.okta != self.settings.okta:
            new = open_okta(settings, secrets=self._secrets) if settings.okta.configured else None
        try:
            self.directory.renew(settings, by, taken)
            self.store.write(lambda conn: brakes.note_settings(conn, by, changed))
        except BaseException:
            if new is not None and new is not old:
                new.close()
            raise
        self.settings, self.okta = settings, new
        self.reconciler = self._make_reconciler()
        if old is not None and old is not new:
            old.close()
        if self.stopping:
            self.ask_to_stop()  # whoever asked meanwhile has told the old connection

    def follow(self, settings: Settings) -> None:
        """Go by what the daemon's own process has taken on. Writes nothing; not for a remote OpsHelm."""
        from agent.directory.sql import SqlDirectory

        assert isinstance(self.directory, SqlDirectory)  # server.workers is 1 elsewhere
        self.directory.take_on(settings)
        self.settings = settings

    def close(self) -> None:
        self.ask_to_stop()  # on the way out with an error, Ctrl-C too, nobody waits for what waits
        if self.okta is not None:
            self.okta.close()
        self.directory.close()


@contextmanager
def open_agent(
    settings: Settings, *, need_okta: bool = True, make: bool = False, secrets: Callable[[], Settings] | None = None
) -> Iterator[Agent]:
    """Open everything, and close it in the other order. The database first: what is wrong there is said at once."""
    with ExitStack() as stack:
        store = open_store(settings, make=make)
        stack.callback(store.close)
        okta = open_okta(settings, secrets=secrets) if need_okta or settings.okta.configured else None
        if okta is not None:
            # Closing twice is closing once: what fails from here on must not leave it open.
            stack.callback(okta.close)
        agent = Agent(settings, store, okta, secrets)
        stack.callback(agent.close)
        yield agent


@contextmanager
def open_rehearsal(settings: Settings, changed: Settings) -> Iterator[Agent]:
    """An agent with other settings on a copy of the database, which is thrown away. Okta and a remote OpsHelm are the real ones:
    only look.
    """
    from agent.store.journal import Signature
    from agent.store.rehearsal import copied

    with ExitStack() as stack:
        store = open_store(settings)
        stack.callback(store.close)
        copy = stack.enter_context(copied(store))
        apply_mapping(changed, copy, Signature(actor="rehearsal", source="cli", at=clock()))
        okta = stack.enter_context(open_okta(changed))
        agent = Agent(changed, copy, okta)
        stack.callback(agent.close)
        yield agent
