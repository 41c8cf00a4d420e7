"""``alarms``: what somebody should look at, in full and with the next command, and silencing one."""

from typing import TYPE_CHECKING, Any

import click

from agent.cli import options
from agent.cli.command import Invocation, group, signature
from agent.model.times import when
from agent.runs.wording import clean, fields

if TYPE_CHECKING:
    from agent.store.alarms import Alarm

_FIELDS = (
    "id",
    "code",
    "subject",
    "detail",
    "raised",
    "last_seen",
    "cleared",
    "acked_at",
    "acked_by",
    "ack_reason",
    "next",
)


@group("alarms")
def alarms() -> None:
    """What somebody should look at. An alarm ends by itself when its cause does."""


@alarms.command("list", examples=["", "--output json"])
def list_alarms(invocation: Invocation) -> None:
    """Open alarms, oldest first, silenced ones too."""
    from agent.store import alarms as store_alarms

    found = invocation.read(store_alarms.open_alarms)
    columns = ["alarm", "code", "about", "since", "last seen", "silenced"]
    rows = [[a.id, a.code, a.subject, when(a.raised), when(a.last_seen), a.acked_by or ""] for a in found]
    invocation.answer_table("alarms", {"alarms": [_json(a) for a in found]}, columns, rows, "No alarm is open.")


@alarms.command("show", examples=["7"])
@click.argument("alarm_id", metavar="ID", type=options.ROW_ID)
def show(invocation: Invocation, alarm_id: int) -> None:
    """All of one alarm, and the command to go on with."""
    from agent.store import alarms as store_alarms

    found = invocation.read(lambda conn: store_alarms.get(conn, alarm_id))
    invocation.answer("alarm", {"alarm": _json(found)}, lambda: _text(found))


@alarms.command("ack", examples=['7 --reason "known, ticket 4711"'])
@click.argument("alarm_id", metavar="ID", type=options.ROW_ID)
@options.required_reason
def ack(invocation: Invocation, alarm_id: int, reason: str) -> None:
    """Silence an open alarm. It stays open until its cause ends; raised anew after that it is loud again."""
    from agent.store import alarms as store_alarms

    by = signature(reason)
    with invocation.store() as store:
        store.write(lambda conn: store_alarms.ack(conn, alarm_id, by))
        with store.read() as conn:
            found = store_alarms.get(conn, alarm_id)
    invocation.answer("alarm", {"alarm": _json(found)}, f"Alarm {alarm_id} ({found.code}) is silenced until it ends.")


def _json(alarm: "Alarm") -> dict[str, Any]:
    return fields(alarm, *_FIELDS)


def _text(alarm: "Alarm") -> str:
    lines = [f"Alarm {alarm.id}: {alarm.code}, about {clean(alarm.subject)}", clean(alarm.detail)]
    lines.append(f"since {when(alarm.raised)}, last seen {when(alarm.last_seen)}")
    if alarm.acked_by:
        lines.append(f"silenced by {clean(alarm.acked_by)} at {when(alarm.acked_at)}: {clean(alarm.ack_reason or '')}")
    lines.append(f"ended {when(alarm.cleared)}" if alarm.cleared else f"Next: {alarm.next}")
    return "\n".join(lines)
