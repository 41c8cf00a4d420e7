"""What people are told of one event: a headline, all of it, and the next command. Pure; sends nothing."""

import socket
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from agent.model.errors import DiskFull
from agent.store.alarms import Alarm, next_command
from agent.store.runs import Run


class Message(Struct, frozen=True, kw_only=True):
    """Kept in the queue as JSON."""

    #: alarm_opened, alarm_closed, run_failed, test.
    event: str
    headline: str
    detail: str
    #: The command to go on with; "" where nothing is to be done.
    next: str
    at: datetime
    #: What programs may want: the alarm's id and code, the run's outcome.
    fields: dict[str, str | int] = {}

    @property
    def text(self) -> str:
        lines = [self.headline, self.detail, f"Next: {self.next}" if self.next else ""]
        return "\n".join(line for line in lines if line)

    def slack(self) -> dict[str, Any]:
        """``text`` is all that a chat needs; the rest is for programs."""
        payload = {"headline": self.headline, "detail": self.detail, "next": self.next, "at": self.at, **self.fields}
        return {"text": self.text, "metadata": {"event_type": self.event, "event_payload": payload}}


def encode(message: Message) -> str:
    return msgspec.json.encode(message).decode()


def decode(text: str) -> Message:
    return msgspec.json.decode(text, type=Message)


def alarm_opened(alarm: Alarm) -> Message:
    return Message(
        event="alarm_opened",
        headline=f"OpsHelm Okta agent: alarm {alarm.code}, about {alarm.subject}",
        detail=alarm.detail,
        next=f"opshelm-agent alarms show {alarm.id}, then {next_command(alarm.code)}",
        at=alarm.raised,
        fields={"alarm": alarm.id, "code": alarm.code, "subject": alarm.subject},
    )


def alarm_closed(alarm: Alarm) -> Message:
    return Message(
        event="alarm_closed",
        headline=f"OpsHelm Okta agent: alarm {alarm.code}, about {alarm.subject}, is over",
        detail="",
        next="",
        at=alarm.cleared or alarm.last_seen,
        fields={"alarm": alarm.id, "code": alarm.code, "subject": alarm.subject},
    )


def disk_full(detail: str, now: datetime) -> Message:
    """No alarm that the database keeps: it can't."""
    return Message(event="alarm_opened", detail=detail, next="df -h, then opshelm-agent status", at=now, **_disk(""))


def disk_has_room(now: datetime) -> Message:
    return Message(event="alarm_closed", detail="", next="", at=now, **_disk(", is over"))


def _disk(end: str) -> dict[str, Any]:
    host = socket.gethostname()
    headline = f"OpsHelm Okta agent: alarm {DiskFull.code}, about {host}{end}"
    return {"headline": headline, "fields": {"code": DiskFull.code, "subject": host}}


def run_failed(run: Run) -> Message:
    return Message(
        event="run_failed",
        headline=f"OpsHelm Okta agent: run {run.id} ({run.kind}) ended as {run.outcome}",
        detail=run.detail,
        next=f"opshelm-agent runs show {run.id}",
        at=run.ended or run.started,
        fields={"run": run.id, "outcome": run.outcome or "", "exit_code": run.exit_code or 0},
    )


def trial(now: datetime) -> Message:
    return Message(
        event="test",
        headline=f"OpsHelm Okta agent: a test from {socket.gethostname()}",
        detail="Alarms would arrive like this.",
        next="opshelm-agent status",
        at=now,
    )
