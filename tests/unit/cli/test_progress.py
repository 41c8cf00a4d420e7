"""Progress on stderr: one moving line on a terminal, else a line every 10 s; nothing remains of it."""

import io
import sys

import pytest

from agent.cli import progress
from agent.cli.progress import JsonProgress, TerminalProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds, to be set by the test."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_on_a_terminal_one_line_moves_and_is_gone_in_the_end(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    with TerminalProgress() as shown:
        clock[0] += 2
        shown.step("people read", 1200, 8400)
        shown.wait(14, "Okta's limit on apps")
    lines = out.getvalue().split("\r")
    assert lines[0] == "people read 1,200/8,400 · 600/s"
    assert "waiting 14 s for Okta's limit on apps" in lines
    assert lines[-1] == ""
    assert "\n" not in out.getvalue()


def test_without_a_terminal_a_line_comes_every_ten_seconds(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    with TerminalProgress() as shown:
        for _ in range(25):
            clock[0] += 1
            shown.step("people read", int(clock[0]), None)
    assert out.getvalue() == "people read 110 · 11/s\npeople read 120 · 6/s\n"


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with TerminalProgress() as shown:
        shown.step("people read", 5, 5)
    assert capsys.readouterr().err == ""


def test_work_that_says_nothing_is_shown_as_going_on(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    with TerminalProgress() as shown:
        shown.step("comparing")
        shown.still()
        clock[0] += 25
        shown.still()
    assert out.getvalue() == "comparing · for 25 s\n"


def test_a_wait_is_told_until_it_is_over_whatever_is_answered_meanwhile(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    with TerminalProgress() as shown:
        shown.wait(58, "Okta's limit on app-user")
        clock[0] += 1
        shown.step("asking Okta about missing people", 39, 120)
        for _ in range(3):
            clock[0] += 25
            shown.still()
    assert out.getvalue().splitlines() == [
        "waiting for Okta's limit on app-user: 32 s more",
        "waiting for Okta's limit on app-user: 7 s more",
        "asking Okta about missing people 39/120 · 39/s · for 75 s",
    ]


def test_json_lines_tell_each_new_thing_at_once_and_the_same_once_a_second(clock: list[float]) -> None:
    lines: list[dict[str, object]] = []
    with JsonProgress(lines.append) as shown:
        for done in range(25):
            clock[0] += 0.125
            shown.step("people read", done, 25)
        shown.wait(14, "Okta's limit on apps")
        shown.step("comparing")
    assert [line.get("done") for line in lines] == [0, 8, 16, 24, None, 0]
    assert lines[4] == {"kind": "waiting", "seconds": 14, "for": "Okta's limit on apps"}
