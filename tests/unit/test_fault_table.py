"""docs/faults.md tells the truth: every row F-01 to F-74 is there, and every test that it names exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = [line.split("|") for line in (ROOT / "docs" / "faults.md").read_text().splitlines() if line.startswith("| F-")]


def test_every_row_is_there_once_and_in_order() -> None:
    assert [row[1].strip() for row in ROWS] == [f"F-{number:02}" for number in range(1, 75)]


def test_every_row_names_tests_and_all_of_them_exist() -> None:
    exist = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    named = {row[1].strip(): set(re.findall(r"`(test_\w+)`", row[-2])) for row in ROWS}
    assert [row for row, tests in named.items() if not tests] == []
    assert {test for tests in named.values() for test in tests} - exist == set()


def test_every_test_that_is_named_after_a_row_is_in_the_table() -> None:
    table = (ROOT / "docs" / "faults.md").read_text()
    numbers = {
        number
        for file in (ROOT / "tests").rglob("test_*.py")
        for number in re.findall(r"^def test_f(\d\d)_", file.read_text(), re.MULTILINE)
    }
    assert all(f"| F-{number} |" in table for number in numbers)
