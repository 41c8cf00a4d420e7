"""What people are told of one event: a headline, all of it, and the next command. Pure; sends nothing."""

import socket
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from agent.model.errors import DiskFull
from agent.model.structs import decoder
from agent.store.alarms import Alarm
from agent.store.runs import Run

_HEADLINE = "OpsHelm Okta agent: alarm {code}, about {subject}"


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


decode = decoder(Message)


def alarm_opened(alarm: Alarm) -> Message:
    command = f"opshelm-agent alarms show {alarm.id}, then {alarm.next}"
    return _opened(_fields(alarm), alarm.detail, command, alarm.raised)


def alarm_closed(alarm: Alarm) -> Message:
    return _closed(_fields(alarm), alarm.cleared or alarm.last_seen)


def disk_full(detail: str, now: datetime) -> Message:
    """No alarm that the database keeps: it can't."""
    return _opened(_disk(), detail, "df -h, then opshelm-agent status", now)


def disk_has_room(now: datetime) -> Message:
    return _closed(_disk(), now)


def _opened(fields: dict[str, str | int], detail: str, command: str, at: datetime) -> Message:
    headline = _HEADLINE.format_map(fields)
    return Message(event="alarm_opened", headline=headline, detail=detail, next=command, at=at, fields=fields)


def _closed(fields: dict[str, str | int], at: datetime) -> Message:
    headline = f"{_HEADLINE.format_map(fields)}, is over"
    return Message(event="alarm_closed", headline=headline, detail="", next="", at=at, fields=fields)


def _fields(alarm: Alarm) -> dict[str, str | int]:
    return {"alarm": alarm.id, "code": alarm.code, "subject": alarm.subject}


def _disk() -> dict[str, str | int]:
    return {"code": DiskFull.code, "subject": socket.gethostname()}


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
