"""Times are written in one way wherever people read one, and what is shown can be given back to a command."""

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import agent
from agent.cli.options import MOMENT
from agent.model.times import when

NOON = datetime(2026, 3, 1, 12, 3, 11, 400, tzinfo=UTC)
#: What machines read: Okta's filters, and /readyz.
_FOR_MACHINES = {"model/times.py", "okta_org/calls.py", "dashboard/app.py"}


def test_a_time_is_in_utc_to_the_second() -> None:
    assert when(NOON) == "2026-03-01 12:03:11Z"
    assert when(NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))) == "2026-03-01 12:03:11Z"
    assert when(None) == ""


def test_what_is_shown_is_what_since_takes() -> None:
    assert MOMENT.convert(when(NOON), None, None) == NOON.replace(microsecond=0)


def test_nobody_else_writes_times() -> None:
    room = Path(agent.__file__).parent
    own = {
        str(file.relative_to(room))
        for file in room.rglob("*.py")
        if re.search(r"%H|strftime", file.read_text()) and "simulator" not in file.parts
    }
    assert own == _FOR_MACHINES
