"""docs/performance.md says what the scripts compute, and names the aims that the program judges."""

from pathlib import Path

from benchmarks import aims, okta_limits
from benchmarks.growth import drawn

PAGE = (Path(__file__).parents[2] / "docs" / "performance.md").read_text("utf-8")


def test_the_tables_of_okta_s_limits_are_those_that_are_computed() -> None:
    assert okta_limits.table() in PAGE
    assert okta_limits.storms() in PAGE


def test_the_first_minute_s_calls_wait_for_nobody() -> None:
    plan = okta_limits.Plan("", 100)
    assert [okta_limits.minutes(calls, plan) for calls in (1, 40, 41, 80, 81)] == [0, 0, 1, 1, 2]


def test_an_aim_is_judged_by_the_base_by_a_peer_or_by_itself() -> None:
    found = {
        "POST": {"here": {"/s": 300.0, "p99 ms": 30.0}, "409b0a8": {"/s": 100.0}, "SCIMMY": {"/s": 100.0}},
        "sweep in step": {"here": {"cpu": 1.0}},
    }
    told = {(line["figure"], line["by"]): line["met"] for line in aims.judged(found, "409b0a8")}
    assert told == {("/s", "409b0a8"): True, ("p99 ms", ""): False, ("/s", "SCIMMY"): False}


def test_a_server_that_has_no_such_figure_is_left_out_of_the_row() -> None:
    rows = {"POST": {"here": {"/s": 300.0, "cpu ms": 0.3}, "bytes alone": {"/s": 900.0}}}
    found = aims.tables({"base": "", "rows": rows, "aims": []})
    assert "| POST | /s | 300 | – | – | bytes alone 900 |" in found
    assert "| POST | cpu ms | 0.3 | – | – |  |" in found


def test_a_growth_is_drawn_with_every_figure() -> None:
    growth = {str(n): {"here": {"cpu": n / 1e4, "megabytes": 100.0 + n / 1e4}} for n in (1_000, 10_000, 100_000)}
    picture = drawn(growth)
    assert picture.count("<circle") == 6
    assert ">110.0<" in picture
