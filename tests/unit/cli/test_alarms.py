"""``alarms``: listed, shown in full with the next command, silenced until raised anew."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from agent.cli.root import cli
from agent.settings import DatabaseSettings
from agent.store import alarms, seal
from agent.store.alarms import NEXT, next_command
from agent.store.engine import Store
from support.commands import Command

Document = Callable[..., Any]
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DETAIL = "Ann's push: 9 of 80 people would be deactivated within 60 minutes; the limit is 8."


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    opened = Store.open(DatabaseSettings(url=f"sqlite:///{folder}/opshelm-agent.db"))
    opened.write(lambda conn: alarms.raise_alarm(conn, "push_burst", "guard", DETAIL, NOW))
    yield opened
    opened.close()


@pytest.mark.usefixtures("store")
def test_open_alarms_are_listed_and_shown_in_full_with_the_next_command(command: Command, document: Document) -> None:
    assert [a["code"] for a in document("alarms", "list")["alarms"]] == ["push_burst"]
    assert "push_burst" in command("alarms", "list")[1]
    shown = command("alarms", "show", "1")[1]
    assert DETAIL in shown
    assert "Next: opshelm-agent guard show" in shown
    assert command("alarms", "show", "99")[0] == 1


def test_a_silenced_alarm_stays_open_with_who_and_why_until_it_is_raised_anew(
    command: Command, document: Document, store: Store
) -> None:
    assert command("alarms", "ack", "1")[0] == 2, "it needs a reason"
    acked = document("alarms", "ack", "1", "--reason", "known")["alarm"]
    assert (acked["ack_reason"], acked["cleared"]) == ("known", None)
    later = NOW + timedelta(hours=2)
    store.write(lambda conn: alarms.raise_alarm(conn, "push_burst", "guard", DETAIL, later))
    assert document("alarms", "list")["alarms"][0]["acked_by"].startswith("operator ")
    store.write(lambda conn: alarms.clear(conn, "push_burst", "guard", later))
    assert document("alarms", "list")["alarms"] == []
    assert command("alarms", "ack", "1", "--reason", "late")[0] == 2
    store.write(lambda conn: alarms.raise_alarm(conn, "push_burst", "guard", DETAIL, later))
    assert document("alarms", "list")["alarms"][0]["acked_by"] is None
    assert [(row["verb"], row["reason"]) for row in seal.export(store.read)] == [("alarm ack", "known")]


def test_every_next_command_is_one() -> None:
    for code in [*NEXT, "any other"]:
        group, _, inner = next_command(code).removeprefix("opshelm-agent ").partition(" ")
        found = cli.get_command(click.Context(cli), group)
        inner = inner.partition(" ")[0]
        assert found is not None, code
        assert not inner or (isinstance(found, click.Group) and inner in found.commands), code
