"""docs/codes.md names every code there is, in its own table, and none that there isn't."""

import re
from enum import StrEnum
from pathlib import Path

import pytest

from agent.model.codes import ActionKind, ActionState, FindingCode, HeldCode, PlanStatus, RefusalCode
from agent.model.errors import DiskFull
from agent.runs.frame import EXIT_CODES, Outcome

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "codes.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def coded(title: str) -> list[str]:
    return re.findall(r"^\| `(\w+)` \|", section(title), flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("titles", "codes"),
    [
        (["Outcomes of a run"], Outcome),
        (["Why a run is held", "Why actions are held"], HeldCode),
        (["Findings"], FindingCode),
        (["Refusals"], RefusalCode),
    ],
)
def test_every_code_has_its_row(titles: list[str], codes: type[StrEnum]) -> None:
    listed = [code for title in titles for code in coded(title)]
    assert sorted(listed) == sorted(code.value for code in codes)


@pytest.mark.parametrize("codes", [ActionKind, ActionState, PlanStatus])
def test_kinds_and_states_are_named(codes: type[StrEnum]) -> None:
    assert [code for code in codes if f"`{code.value}`" not in section("Actions and plans")] == []


def test_the_outcomes_exit_codes_are_the_programs() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d)", section("Outcomes of a run"), flags=re.MULTILINE))
    assert {name: int(code) for name, code in rows.items()} == {o.value: EXIT_CODES.get(o, 1) for o in Outcome}


def test_every_alarm_that_is_raised_has_its_row() -> None:
    """Found in the source: the literals, and what refusals and imports name."""
    found = {"push_burst", "push_burst_half", "deactivations_24h", DiskFull.code}
    for file in (ROOT / "agent").rglob("*.py"):
        source = file.read_text(encoding="utf-8")
        found |= set(re.findall(r'raise_alarm\(conn, "(\w+)"', source))
        found |= set(
            re.findall(
                r'^(?:ALARM|TOO_MANY_FAILED|_HELD|PUSH_FAILED|UNREAD|_KEY_ENDS|OVERDUE|STEP) = "(\w+)"',
                source,
                flags=re.MULTILINE,
            )
        )
    assert sorted(coded("Alarms")) == sorted(found)
