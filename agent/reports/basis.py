"""What every report stands on: which installation, which Okta app, and where the journal was."""

from datetime import UTC, datetime

from msgspec import Struct

from agent.model.codes import Source
from agent.model.errors import UsageError
from agent.store import account, history, seal
from agent.store.engine import Connection
from agent.store.history import Cause


class Basis(Struct, frozen=True, kw_only=True):
    made: str
    instance: str
    org_id: str
    app_id: str
    #: Number and hash of the newest block, as ``journal verify --head`` takes it; "" before the first one.
    journal_head: str
    #: Rows that no block holds yet.
    unsealed: int


def read(conn: Connection, now: datetime, since: datetime) -> Basis:
    """Raises UsageError where the journal has let go of rows of the period."""
    known = history.known_since(conn)
    if known is not None and since < known:
        raise UsageError(f"What was before {iso(known)} is in exported blocks of the journal (retention.journal).")
    row = account.get(conn)
    return Basis(
        made=iso(now),
        instance=row.instance,
        org_id=row.org_id or "",
        app_id=row.app_id or "",
        journal_head=f"{row.journal_block} {row.journal_hash}" if row.journal_block else "",
        unsealed=seal.unsealed(conn),
    )


def facts(basis: Basis) -> list[tuple[str, str]]:
    head = basis.journal_head
    sealed = f"block {head}" if head else "no block sealed yet"
    command = f'opshelm-agent journal verify --head "{head}"' if head else "opshelm-agent journal verify"
    return [
        ("Okta org, app", f"{basis.org_id or 'not pinned yet'}, {basis.app_id or 'not pinned yet'}"),
        ("Installation", basis.instance),
        ("Made", basis.made),
        ("Journal", f"{sealed}; {basis.unsealed:,} newer rows are not sealed yet"),
        ("To check it", f"opshelm-agent report verify FILE, and {command}"),
    ]


def through(cause: Cause) -> str:
    """``push``, ``run 12: reason``, ``cli: reason``."""
    if cause.source == Source.PUSH:
        return "push"
    said = f"run {cause.run_id}" if cause.run_id is not None else cause.source
    return f"{said}: {cause.reason}" if cause.reason else said


def iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
