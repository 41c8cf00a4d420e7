"""The demo's stage and its voice: a temporary folder, a simulated org and the agent's daemon, all in this process. Tells no story."""

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from agent.bootstrap import Agent, open_agent
from agent.cli.render import painted
from agent.daemon import Service, address
from agent.daemon.reload import Reload
from agent.daemon.web import listen
from agent.daemon.workers import Workers
from agent.model.errors import AgentError
from agent.reconcile.reconciler import Reconciler
from agent.settings import load
from agent.simulator import SimulatedOrg
from agent.store import keys
from agent.store.journal import Signature

#: After the story the clock runs, so that a visitor's own changes are repaired while they watch.
_SWEEP_EVERY = "20s"


class Narrator:
    """What the demo says: on stdout for people, on stderr where stdout is for a program."""

    def __init__(self, *, err: bool) -> None:
        self._err = err
        self._colour = (sys.stderr if err else sys.stdout).isatty() and "NO_COLOR" not in os.environ

    def __call__(self, text: str = "") -> None:
        for line in (painted(text) if self._colour else text).split("\n"):
            click.echo(f"  {line}" if line else "", err=self._err)

    def title(self, text: str) -> None:
        click.echo("", err=self._err)
        click.secho(text, bold=True, err=self._err)

    def command(self, text: str) -> None:
        click.secho(f"  $ opshelm-agent {text}", fg="cyan", err=self._err)


class Stage:
    """Everything that runs: the simulated org, the agent and its daemon."""

    def __init__(self, org: SimulatedOrg, agent: Agent, service: Service, config: Path) -> None:
        self.org = org
        self.agent = agent
        self.service = service
        self.config = str(config)
        self.admin = service.admin_address
        self.scim = f"{service.address}/scim/v2"

    @property
    def reconciler(self) -> Reconciler:
        return self.agent.need_reconciler()

    def stay(self, say: Narrator) -> None:
        """Until Ctrl-C or SIGTERM; the daemon's clock runs from now on."""
        over = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: over.set())
        self.service.clock.start()
        say("")
        say(f"The agent now sweeps every {_SWEEP_EVERY}. Ctrl-C ends the demo and removes its folder.")
        over.wait()


@contextmanager
def open_stage(*, people: int, seed: int, port: int, admin_port: int, say: Narrator) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="opshelm-demo-") as folder, _own_environment():
        public, admin = listen("127.0.0.1", port, "--port"), listen("127.0.0.1", admin_port, "--admin-port")
        say(f"A folder for it all: {folder}")
        with SimulatedOrg.start(users=people, seed=seed, time_scale=0.01, groups=True) as org:
            say(f"A simulated Okta org with {people} people in it: {org.url}")
            config = Path(folder) / "agent.toml"
            config.write_text(_settings(org, folder, address(public), address(admin)), encoding="utf-8")
            loaded = load(config)
            with (
                open_agent(loaded.settings, make=True) as agent,
                _running(
                    Service(agent, public, admin, Reload(loaded, str(config)), Workers(loaded.settings, public, admin))
                ) as service,
            ):
                say(f"The agent's SCIM receiver: {service.address}/scim/v2")
                yield Stage(org, agent, service, config)


@contextmanager
def _running(service: Service) -> Iterator[Service]:
    thread = threading.Thread(target=lambda: service.run(clock=False, signals=False), name="daemon")
    thread.start()
    service.started.wait()
    try:
        yield service
    finally:
        service.stop()
        thread.join()


@contextmanager
def _own_environment() -> Iterator[None]:
    """A visitor's real settings have no part in the demo."""
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("OPSHELM_")}
    try:
        yield
    finally:
        os.environ.update(before)


def _settings(org: SimulatedOrg, folder: str, receiver: str, admin: str) -> str:
    port, admin_port = (url.rpartition(":")[2] for url in (receiver, admin))
    return f"""# Made by opshelm-agent demo.
[okta]
org_url = "{org.url}"
app_id = "{org.app_id}"
api_token = "{org.token}"

[database]
url = "sqlite:///{folder}/agent.db"

[server]
host = "127.0.0.1"
port = {port}
admin_port = {admin_port}

[schedule]
reconcile = "{_SWEEP_EVERY}"
"""


def new_key(agent: Agent) -> str:
    by = Signature(actor="operator demo", source="cli", at=datetime.now(UTC))
    made: tuple[object, str] = agent.store.write(lambda conn: keys.create(conn, by, name="okta"))
    return made[1]


def expect(condition: object, what: str) -> None:
    """The demo is a promise: if it goes otherwise, it says so and fails."""
    if not condition:
        raise AgentError(f"The demo did not go as it should: {what}. Please report this.")
