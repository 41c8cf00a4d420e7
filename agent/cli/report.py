"""``report``: who has access and what was changed, as a signed document for an auditor."""

import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from msgspec import Struct

from agent.cli import options, render
from agent.cli.command import Invocation, group, now
from agent.cli.files import whole
from agent.model.errors import ConfigError, NotFound, UsageError
from agent.reports.document import Document, csv, html
from agent.runs import wording
from agent.runs.wording import FORMAT_VERSION

if TYPE_CHECKING:
    from agent.reports.access import AccessReport
    from agent.reports.changes import ChangesReport

_FORMATS = ("text", "html", "csv", "json", "pdf")
_FORMAT = click.option(
    "--format",
    "kind",
    type=click.Choice(_FORMATS),
    help="Else what --out ends in, or text: the facts, without the long table.",
)
_OUT = click.option(
    "--out",
    metavar="FILE",
    type=options.FILE,
    help="Write FILE, and its signature beside it as FILE.sig; else to standard output, unsigned.",
)


@group("report")
def report() -> None:
    """For auditors: who has access, what was changed; signed."""


@report.command(
    "access",
    examples=[
        "--out access.html",
        "--at 2026-03-31T23:59:59Z --format csv --out access-q1.csv",
        "--since 90d --format json | jq .lost.median_seconds",
    ],
)
@click.option(
    "--at", "at", metavar="TIME", type=options.MOMENT, help="A moment of the past, rebuilt from the journal; else now."
)
@click.option("--since", metavar="TIME", type=options.MOMENT, help="Who lost access since then; else 30 days before.")
@click.option("--offline", is_flag=True, help="Don't ask Okta: no assignments, and no word of when somebody was to go.")
@_FORMAT
@_OUT
def access(
    invocation: Invocation,
    *,
    at: datetime | None,
    since: datetime | None,
    offline: bool,
    kind: str | None,
    out: Path | None,
) -> None:
    """Who has access to OpsHelm, by what, since when and by whose word; who lost it, how long after Okta said so.

    Exceptions are listed first: access that Okta doesn't govern, doesn't want any more, or that nobody explains.
    """
    from agent.reports import access as reports

    moment = now()
    begin = since or (at or moment) - timedelta(days=30)
    with invocation.store() as store:
        evidence = reports.NOT_ASKED
        if not offline:
            with invocation.okta() as okta, okta.run():
                app_id = invocation.settings.okta.app_id or ""
                evidence = reports.ask_okta(okta, app_id, begin, at, now=moment)
        found = reports.access(store, evidence, at=at, since=begin, now=now())
    _deliver(invocation, found, reports.document(found), kind, out)


@report.command(
    "changes", examples=["--since 2026-01-01 --until 2026-03-31 --format csv --out changes-q1.csv", "--since 7d"]
)
@click.option("--since", metavar="TIME", type=options.MOMENT, required=True, help="The period's first moment.")
@click.option("--until", metavar="TIME", type=options.MOMENT, help="Its last one; else now.")
@_FORMAT
@_OUT
def changes(
    invocation: Invocation, *, since: datetime, until: datetime | None, kind: str | None, out: Path | None
) -> None:
    """Every change and decision of a period: accounts, roles, holds, keys, settings."""
    from agent.reports import changes as reports

    moment = now()
    with invocation.store() as store:
        found = reports.changes(store, since=since, until=until or moment, now=moment)
    _deliver(invocation, found, reports.document(found), kind, out)


@report.command("key", examples=["> report-public.pem"])
def key(invocation: Invocation) -> None:
    """The public key that proves this installation's reports; the first call makes the pair."""
    from agent.reports import signature

    file = _key_file(invocation)
    found = signature.load(file)
    if found is None:
        with invocation.store():  # in the wrong folder there is none, and a key of it would be nobody's
            found = signature.make(file)
        invocation.say(f"Made {file}. Keep a copy: reports are signed with it.")
    pem = signature.public_pem(found)
    invocation.answer("report_key", {"public_key": pem}, pem.rstrip())


@report.command("verify", examples=["access.html", "access.csv --key public.pem"])
@click.argument("file", metavar="FILE", type=options.EXISTING_FILE)
@click.option("--key", "public", metavar="FILE", type=options.EXISTING_FILE)
def verify(invocation: Invocation, file: Path, public: Path | None) -> int:
    """Is FILE what this installation signed? Takes FILE.sig; --key is somebody else's public key."""
    from agent.reports import signature

    signed = signature.beside(file)
    if not signed.exists():
        raise NotFound(f"There is no {signed}: the report was not signed, or was moved without it.")
    if public is not None:
        trusted = signature.load_public(public)
    else:
        own = signature.load(_key_file(invocation))
        if own is None:
            raise ConfigError(["reports.signing_key: there is none; name the public key with --key"])
        trusted = own.public_key()
    good = signature.holds(trusted, file.read_bytes(), signed.read_bytes())
    said = "is as it was signed" if good else "is NOT what was signed with this key"
    invocation.answer("report_verify", {"ok": good}, f"{file} {said}.")
    return 0 if good else 1


def _deliver(
    invocation: Invocation,
    report: "AccessReport | ChangesReport",
    document: Document,
    kind: str | None,
    out: Path | None,
) -> None:
    from agent.reports import signature

    kind = kind or (_of_name(out) if out else "json" if invocation.json else "text")
    if out is None and kind == "pdf" and sys.stdout.isatty():
        raise UsageError("A PDF is not for a terminal: give --out FILE.")
    content = _WRITERS[kind](report, document)
    if out is None:
        sys.stdout.buffer.writelines(content)
        sys.stdout.buffer.flush()
        return
    own = signature.load(_key_file(invocation))
    with whole(out) as written:
        written.writelines(content)
    if own:
        with whole(signature.beside(out)) as written:
            written.write(signature.of(out, own))
    unsigned = "not signed: opshelm-agent report key makes the key"
    said = f"Wrote {out}, {'signed' if own else unsigned}."
    if invocation.json:
        invocation.answer("report_file", {"file": str(out), "format": kind, "signed": own is not None}, said)
    else:
        invocation.say(said)


def _key_file(invocation: Invocation) -> Path:
    """A relative path belongs to the settings file's folder, as the database's does."""
    file = invocation.loaded.file
    return (file.parent if file else Path.cwd()).absolute() / invocation.settings.reports.signing_key


def _of_name(out: Path) -> str:
    ending = out.suffix.removeprefix(".")
    if ending not in _FORMATS:
        raise UsageError(f"{out} doesn't end in .html, .csv, .json or .pdf: say --format.")
    return ending


def _text(_: Struct, document: Document) -> Iterator[bytes]:
    """Facts and all tables but the long one."""
    width = max(len(name) for name, _ in document.facts)
    parts = ["\n".join(f"{name:<{width}}  {wording.clean(value)}" for name, value in document.facts)]
    parts += [
        f"{table.title}\n{render.table(table.columns, table.rows, table.empty)}" for table in document.tables[:-1]
    ]
    long = document.tables[-1]
    parts.append(f"{long.title}: {len(long.rows):,} rows; --format csv, or --out FILE.html, has them.")
    yield ("\n\n".join(parts) + "\n").encode()


def _json(report: Struct, _: Document) -> Iterator[bytes]:
    """The long list, which is the last field, in pieces."""
    kind = f"report_{type(report).__name__.removesuffix('Report').lower()}"
    *heads, (name, values) = msgspec.structs.asdict(report).items()
    yield msgspec.json.encode({"format_version": FORMAT_VERSION, "kind": kind, **dict(heads)})[:-1]
    yield f',"{name}":['.encode()
    for n, value in enumerate(values):
        yield b"," * (n > 0) + msgspec.json.encode(value)
    yield b"]}\n"


def _pdf(_: Struct, document: Document) -> Iterator[bytes]:
    try:
        from agent.reports.pdf import pdf
    except ImportError as exc:
        raise UsageError("A PDF needs the extra: pip install 'opshelm-okta-agent[pdf]'. HTML prints as well.") from exc
    yield pdf(document)


_WRITERS: dict[str, Callable[[Struct, Document], Iterator[bytes]]] = {
    "text": _text,
    "html": lambda _, document: map(str.encode, html(document)),
    "csv": lambda _, document: map(str.encode, csv(document)),
    "json": _json,
    "pdf": _pdf,
}
