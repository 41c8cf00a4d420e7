"""The root of the command line: which module holds which command, and how errors end. Imports a command on its use."""

import errno
import itertools
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

import click

from agent import __version__
from agent.cli.command import CommandGroup, encode, encode_line
from agent.model.errors import AgentError
from agent.runs.wording import FORMAT_VERSION, clean

#: In the order in which somebody meets them.
COMMANDS = (
    *("demo", "init", "serve", "status", "check", "config", "keys", "dashboard"),
    *("reconcile", "plans", "runs", "findings", "holds", "failures", "alarms", "notify", "import"),
    *("explain", "users", "owner", "guard", "pause", "resume", "pins", "journal", "events", "report"),
    *("db", "rehearse", "simulate", "completion"),
)
#: Those that are in a module of another name; and the one whose own name Python keeps to itself.
_MODULES = {
    "runs": "plans",
    "findings": "plans",
    "import": "imports",
    "owner": "users",
    "db": "database",
    **dict.fromkeys(("guard", "pause", "resume", "pins"), "brakes"),
}
_NAMES = {"import": "imports"}

#: Of a disk that is full, broken or not ours to write on.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)

EPILOG = """Exit codes: 0 done; 1 error, frozen, incomplete, paused or the lease is held elsewhere; 2 usage or configuration;
3 a dry run found drift and 4 something is held (dry runs: with --detailed-exitcode only); 5 some actions failed."""


class LazyGroup(CommandGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"agent.cli.{_MODULES.get(cmd_name, cmd_name)}")
        found: click.Command = getattr(module, _NAMES.get(cmd_name, cmd_name))
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggestions come from all commands; click knows only those that are loaded, which here are none."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.exceptions.NoSuchCommand(args[0], possibilities=list(COMMANDS), ctx=ctx)
        return super().resolve_command(ctx, args)


@click.command(
    cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="opshelm-agent")
def cli() -> None:
    """Makes Okta's SCIM integration with OpsHelm whole: receives pushes, repairs drift, imports accounts.

    Try it with nothing set up: opshelm-agent demo
    """


def run(args: Sequence[str]) -> int:
    """Run one command; the exit code. Errors that the agent raises on purpose become one line; a traceback is a bug."""
    try:
        code = cli.main(list(args), prog_name="opshelm-agent", standalone_mode=False)
        sys.stdout.flush()
    except AgentError as exc:
        if _interrupted(exc):
            return _fail(args, "interrupted", "interrupted", 130)
        return _fail(args, exc.code, exc.detail, exc.exit_code)
    except click.exceptions.NoArgsIsHelpError as exc:
        exc.show()
        return exc.exit_code
    except click.ClickException as exc:
        if not _wants_json(args):
            exc.show()
            return exc.exit_code
        return _fail(args, "usage", exc.format_message(), exc.exit_code)
    except (click.Abort, KeyboardInterrupt):
        # Ctrl-C in the moment in which a call is handed to the loop's thread: it is never begun, which is as it should be.
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        return _fail(args, "interrupted", "interrupted", 130)
    except OSError as exc:
        if exc.errno not in _NO_ROOM and exc.errno != errno.EPIPE:
            raise
        # Python would try once more at exit to write what is left, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # Where whoever read our output has gone there is nobody to tell.
        return 1 if exc.errno == errno.EPIPE else _fail([], "write", f"can't write: {exc.strerror}", 1)
    return code if isinstance(code, int) else 0


def _interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C came first: what is let go of meanwhile may fail in its own way."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _fail(args: Sequence[str], code: str, detail: str, exit_code: int) -> int:
    if _wants_json(args):
        written = encode_line if "jsonl" in args or "--output=jsonl" in args else encode
        click.echo(written({"format_version": FORMAT_VERSION, "kind": "error", "code": code, "detail": detail}))

    click.echo("\n".join(f"error: {clean(line)}" for line in detail.splitlines() or [code]), err=True)
    return exit_code


def _wants_json(args: Sequence[str]) -> bool:
    """Asked of the raw arguments, because the parser may be what failed."""
    return any(
        arg in ("--output=json", "--output=jsonl") or (arg == "--output" and following in ("json", "jsonl"))
        for arg, following in itertools.pairwise((*args, ""))
    )
