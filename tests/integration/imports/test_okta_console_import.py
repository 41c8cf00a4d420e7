"""Okta's own import, the console's button: pages of 100 in a stable order while accounts are being added, and its matching."""

import threading
from typing import Any

import pytest

from agent.directory.port import Draft
from support.world import BY_CLI, World, profile


def fill(b: World, count: int, name: str = "p") -> list[str]:
    drafts = [
        Draft(user_name=f"{name}{n}@example.com", profile=profile(f"{name}{n}@example.com", "P", f"N{name}{n}"))
        for n in range(count)
    ]
    return [made.result().user.id for made in [b.directory.create(draft, BY_CLI, b.now()) for draft in drafts]]


def listed(result: dict[str, Any]) -> list[str]:
    return [entry["id"] for kind in ("linked", "ignored", "exact", "partial", "none") for entry in result[kind]]


def imported_while_accounts_are_added(b: World, count: int) -> None:
    before = fill(b, count)
    started, stop, added = threading.Event(), threading.Event(), []

    def add() -> None:
        for n in range(1_000_000):
            if stop.is_set():
                return
            added.append(fill(b, 1, f"late{n}x")[0])
            started.set()

    adding = threading.Thread(target=add)
    adding.start()
    try:
        assert started.wait(30)
        result = b.org.import_accounts()
    finally:
        stop.set()
        adding.join()
    assert (result["outcome"], result["error"]) == ("SUCCESS", None)
    found = listed(result)
    assert result["scanned"] == len(found) == len(set(found))
    # In the order of their making, nobody left out, and of the late ones the first so many.
    assert found[: len(before)] == before
    assert found[len(before) :] == added[: len(found) - len(before)]
    assert added


def test_okta_imports_1_500_accounts_while_others_are_added(b: World) -> None:
    imported_while_accounts_are_added(b, 1_500)


@pytest.mark.slow
def test_okta_imports_100_000_accounts_while_others_are_added(b: World) -> None:
    imported_while_accounts_are_added(b, 100_000)


def test_the_consoles_matching_agrees_with_ours(b: World) -> None:
    """The same classes for the same people, but for what only the agent looks at: leavers, and who must be named."""
    b.colleague("exact@example.com")
    b.okta_user("Exact@example.com")
    b.colleague("mail@example.com")
    b.okta_user("m@corp.example.com", email="Mail@example.com")
    b.colleague("lee@example.com", "Ann", "Lee")
    b.okta_user("a.lee@corp.example.com", "ANN", "lee")
    b.colleague("none@example.com", "No", "Body")
    b.colleague("gone@example.com", active=False)
    result = b.org.import_accounts()
    console = {e["userName"]: kind for kind in ("exact", "partial", "none") for e in result[kind]}
    assert console == {m.account.user_name: m.kind.value for m in b.importer.survey().matches}
    assert [e["userName"] for e in result["ignored"]] == ["gone@example.com"]


@pytest.mark.parametrize(
    ("rules", "kind"),
    [
        (
            {"match": "USERNAME"},
            {"login@example.com": "exact", "mail@example.com": "none", "lee@example.com": "partial"},
        ),
        ({"match": "EMAIL"}, {"login@example.com": "none", "mail@example.com": "exact", "lee@example.com": "partial"}),
        ({"partial": False}, {"login@example.com": "exact", "mail@example.com": "exact", "lee@example.com": "none"}),
    ],
)
def test_the_console_matches_by_what_the_app_is_set_to(b: World, rules: dict[str, Any], kind: dict[str, str]) -> None:
    b.colleague("login@example.com", "Lo", "Gin")
    b.okta_user("login@example.com", "A", "B", email="other@corp.example.com")
    b.colleague("mail@example.com", "Ma", "Il")
    b.okta_user("m@corp.example.com", "C", "D", email="mail@example.com")
    b.colleague("lee@example.com", "Ann", "Lee")
    b.okta_user("a.lee@corp.example.com", "Ann", "Lee")
    result = b.org.import_accounts(**rules)
    assert {e["userName"]: k for k in ("exact", "partial", "none") for e in result[k]} == kind


def test_a_confirmed_import_links_and_a_second_one_finds_it_linked(b: World) -> None:
    b.colleague("exact@example.com")
    b.okta_user("exact@example.com")
    b.colleague("none@example.com", "No", "Body")
    result = b.org.import_accounts(confirm=["exact", "none"], activate=True)
    assert len(result["confirmed"]) == 2
    b.org.wait_idle()
    assert all(b.account(login).managed for login in ("exact@example.com", "none@example.com"))
    again = b.org.import_accounts()
    assert [e["userName"] for e in again["linked"]] == ["exact@example.com", "none@example.com"]
    b.pin()
    assert b.importer.survey().matches == ()
