"""What all commands share: --config and --output before or after the name, examples in the help, one answer on stdout."""

import os
import pwd
import re
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from agent.cli import render
from agent.runs.wording import FORMAT_VERSION

if TYPE_CHECKING:
    from agent.bootstrap import Agent
    from agent.cli.progress import JsonProgress, TerminalProgress
    from agent.directory.port import Directory
    from agent.okta_org.org import OktaOrg
    from agent.settings import Loaded, Settings
    from agent.store.engine import Connection, Store
    from agent.store.journal import Signature

T = TypeVar("T")

PROGRAM = "opshelm-agent"

_USER_NAME = re.compile(r"[A-Za-z0-9._@\\-]{1,64}")


class Invocation:
    """One call of the command line: where its settings are and how it answers. Talk goes to stderr, the answer to stdout."""

    def __init__(self) -> None:
        self.config: str | None = None
        self.output = "text"
        self._loaded: Loaded | None = None

    @property
    def json(self) -> bool:
        return self.output in ("json", "jsonl")

    def progress(self) -> "JsonProgress | TerminalProgress":
        """Of long work; with jsonl a part of the answer."""
        from agent.cli.progress import JsonProgress, TerminalProgress

        return JsonProgress(self._write_line) if self.output == "jsonl" else TerminalProgress()

    def _write_line(self, document: dict[str, Any]) -> None:
        click.echo(encode_line({"format_version": FORMAT_VERSION, **document}))
        sys.stdout.flush()

    @property
    def loaded(self) -> "Loaded":
        if self._loaded is None:
            from agent.settings import load

            self._loaded = load(self.config)
            self.quiet_logs()
        return self._loaded

    def quiet_logs(self) -> None:
        """What the parts log while a command runs: warnings, on stderr, so that stdout holds the answer alone."""
        from agent import logs
        from agent.settings import LogSettings

        logs.configure(LogSettings(level="warning", format="text"))

    @property
    def settings(self) -> "Settings":
        return self.loaded.settings

    def store(self, *, make: bool = False) -> "AbstractContextManager[Store]":
        from agent.bootstrap import open_store

        return closing(open_store(self.settings, make=make))

    @contextmanager
    def directory(self, *, make: bool = False) -> "Iterator[Directory]":
        """With its store, ``directory.store``."""
        from agent.bootstrap import open_directory

        with self.store(make=make) as store, closing(open_directory(self.settings, store)) as directory:
            yield directory

    def okta(self) -> "AbstractContextManager[OktaOrg]":
        from agent.bootstrap import open_okta

        return open_okta(self.settings)

    def agent(self, *, need_okta: bool = True) -> "AbstractContextManager[Agent]":
        from agent.bootstrap import open_agent

        return open_agent(self.settings, need_okta=need_okta)

    def read(self, question: "Callable[[Connection], T]") -> T:
        with self.store() as store, store.read() as conn:
            return question(conn)

    def write(self, work: "Callable[[Connection], T]") -> T:
        with self.store() as store:
            return store.write(work)

    def answer(
        self, kind: str, body: dict[str, Any] | Callable[[], dict[str, Any]], text: str | Callable[[], str]
    ) -> None:
        """The command's result: one JSON document, or what a person reads; a large one is made only where it is asked for."""
        if self.json:
            document = {"kind": kind, **(body if isinstance(body, dict) else body())}
            if self.output == "jsonl":
                self._write_line(document)
            else:
                click.echo(encode({"format_version": FORMAT_VERSION, **document}))
        else:
            said = text if isinstance(text, str) else text()
            click.echo(render.painted(said) if interactive() and "NO_COLOR" not in os.environ else said)

    def answer_table(
        self, kind: str, body: dict[str, Any], columns: Sequence[str], rows: Sequence[Sequence[object]], empty: str
    ) -> None:
        """A list of things; ``empty`` is said where there are none."""
        self.answer(kind, body, lambda: render.table(columns, rows, empty, width=width()))

    def say(self, text: str) -> None:
        """Talk on the way; never part of the answer."""
        click.echo(text, err=True)


def encode(document: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def encode_line(document: Any) -> str:
    return msgspec.json.encode(document).decode()


def now() -> datetime:
    return datetime.now(UTC)


def operator() -> str:
    """Who the journal names for what is done here: ``operator root@host (SUDO_USER ann)``.

    The system knows the user; the environment is anybody's to set, so that SUDO_USER is told as what it is.
    """
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's uid without a name
        user = f"uid{os.getuid()}"
    sudo = os.environ.get("SUDO_USER", "")
    beside = f" (SUDO_USER {sudo})" if _USER_NAME.fullmatch(sudo) else ""
    return f"operator {user}@{socket.gethostname()}{beside}"


def signature(reason: str = "", at: datetime | None = None) -> "Signature":
    """The operator's name under what is decided here."""
    from agent.store.journal import Signature

    return Signature(actor=operator(), source="cli", at=at or now(), reason=reason.strip())


#: More at once than these, and a person on a terminal is asked.
MANY = 10


def sure(question: str, *, yes: bool) -> None:
    """Ask on a terminal; Abort where the answer is no. A program is not asked: it has said what it wants."""
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)


def interactive() -> bool:
    return sys.stdout.isatty()


def width() -> int | None:
    """Of the terminal that reads the answer; None where none does."""
    return shutil.get_terminal_size((80, 24)).columns if interactive() else None


_pass_invocation = click.make_pass_decorator(Invocation, ensure=True)


def _remember(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    invocation = ctx.ensure_object(Invocation)
    if value is not None and param.name:
        setattr(invocation, param.name, value)


def shared_options() -> list[click.Parameter]:
    """Before or after the command's name: the last one holds."""
    shared: dict[str, Any] = {"callback": _remember, "expose_value": False, "is_eager": True}
    config = "Settings file; else OPSHELM_CONFIG, ./agent.toml, config/agent.toml, /etc/opshelm-agent/agent.toml."
    output = (
        "text for people (default), json for programs: one document on stdout; jsonl: in one line, progress before it."
    )
    return [
        click.Option(["--config"], metavar="FILE", help=config, **shared),
        click.Option(["--output"], type=click.Choice(["text", "json", "jsonl"]), help=output, **shared),
    ]


class Command(click.Command):
    """A command with the shared options and with examples below its help. Its function takes the Invocation first.

    An example is what follows the command's name ("": nothing), or a line of a shell that names the program itself.
    """

    def __init__(
        self, name: str | None, callback: Callable[..., Any], *, examples: Sequence[str] = ("",), **kwargs: Any
    ) -> None:
        super().__init__(name, callback=_pass_invocation(callback), **kwargs)
        self.examples = tuple(examples)
        self.params += shared_options()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for example in self.examples:
                line = example if PROGRAM in example else f"{ctx.command_path} {example}".rstrip()
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
        super().format_epilog(ctx, formatter)


class CommandGroup(click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += shared_options()


command: Callable[..., Callable[[Callable[..., Any]], Command]] = lambda *args, **kwargs: click.command(  # noqa: E731
    *args, cls=Command, **kwargs
)
group: Callable[..., Callable[[Callable[..., Any]], CommandGroup]] = lambda *args, **kwargs: click.group(  # noqa: E731
    *args, cls=CommandGroup, **kwargs
)


@contextmanager
def asked_to_stop(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM ends an apply after the batch (an import: the account) that it is at, as it does in the daemon, so that the lease is given back.

    Whatever it waits for, it waits no longer. A second one ends the process at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(*_: object) -> None:
        signal.signal(signal.SIGTERM, before)
        stop()

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
