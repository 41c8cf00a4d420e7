"""``users`` and ``owner``: what an operator does with accounts, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.settings import DatabaseSettings
from agent.store import journal, seal
from agent.store.engine import Store

Command = Callable[..., tuple[int, str, str]]
Document = Callable[..., Any]


def rows(folder: Path) -> list[dict[str, Any]]:
    store = Store.open(DatabaseSettings(url=f"sqlite:///{folder}/opshelm-agent.db"))
    try:
        return list(seal.export(store.read))
    finally:
        store.close()


def show(document: Document, login: str) -> dict[str, Any]:
    return document("users", "show", login)["user"]


@pytest.fixture
def owners(document: Document) -> None:
    for login in ("ann@example.com", "zoe@example.com"):
        document("users", "add", login, "--owner")


def test_an_added_account_is_local_and_active(document: Document) -> None:
    user = document("users", "add", "bob@example.com", "--reason", "contractor")["user"]
    assert (user["userName"], user["active"], user["role"], user["origin"]) == (
        "bob@example.com",
        True,
        "member",
        "local",
    )
    assert not user["managed"]


def test_an_act_is_in_the_journal_with_who_and_why(document: Document, folder: Path) -> None:
    document("users", "add", "bob@example.com", "--reason", "contractor")
    (row,) = rows(folder)
    assert (row["kind"], row["verb"], row["source"], row["reason"]) == ("applied", "create", "cli", "contractor")
    assert row["actor"].startswith("operator ")


@pytest.mark.usefixtures("owners")
def test_a_name_that_is_taken_is_refused_and_journalled(command: Command, folder: Path) -> None:
    code, out, err = command("users", "add", "ANN@example.com")
    assert (code, out) == (1, "")
    assert "is taken" in err
    assert rows(folder)[-1]["kind"] == journal.Kind.REFUSED


@pytest.mark.usefixtures("owners")
def test_the_last_owner_stays_whatever_the_command(command: Command, document: Document) -> None:
    assert command("users", "role", "zoe@example.com", "member")[0] == 0
    for arguments in (["role", "ann@example.com", "member"], ["deactivate", "ann@example.com", "--reason", "left"]):
        code, _, err = command("users", *arguments)
        assert code == 1
        assert "last active owner" in err
        assert "users role OTHER owner" in err
        assert "owner handover --to OTHER --deactivate ann@example.com" in err
        assert "retry the task" not in err  # that is for the admins of Okta
    assert show(document, "ann@example.com")["role"] == "owner"


def test_handover_lets_the_last_owner_leave(command: Command, document: Document, folder: Path) -> None:
    document("users", "add", "ann@example.com", "--owner")
    document("users", "add", "bob@example.com")
    done = document(
        "owner", "handover", "--to", "bob@example.com", "--deactivate", "ann@example.com", "--reason", "left"
    )
    assert (done["owner"]["role"], done["deactivated"]["active"], done["deactivated"]["role"]) == (
        "owner",
        False,
        "member",
    )
    assert [row["verb"] for row in rows(folder)[-3:]] == ["role", "block", "deactivate"]


@pytest.mark.parametrize(
    ("to", "leaver", "why"),
    [
        ("gone@example.com", "ann@example.com", "is inactive and can't be an owner"),
        ("ann@example.com", "gone@example.com", "is inactive already"),
        ("ann@example.com", "ann@example.com", "are the same account"),
        ("nobody@example.com", "ann@example.com", "No OpsHelm account has the userName nobody@example.com"),
    ],
)
def test_a_handover_that_makes_no_sense_changes_nothing(
    command: Command, document: Document, folder: Path, to: str, leaver: str, why: str
) -> None:
    document("users", "add", "ann@example.com", "--owner")
    document("users", "add", "gone@example.com")
    document("users", "deactivate", "gone@example.com", "--reason", "left")
    before = len(rows(folder))
    code, _, err = command("owner", "handover", "--to", to, "--deactivate", leaver, "--reason", "left")
    assert code in (1, 2)
    assert why in err
    assert len(rows(folder)) == before


@pytest.mark.usefixtures("owners")
def test_deactivating_an_owner_ends_ownership(document: Document) -> None:
    user = document("users", "deactivate", "ann@example.com", "--reason", "left")["user"]
    assert (user["active"], user["role"]) == (False, "member")


@pytest.mark.usefixtures("owners")
def test_link_and_unlink_change_only_who_manages(document: Document) -> None:
    before = show(document, "ann@example.com")
    linked = document("users", "link", "ann@example.com", "--okta-id", "00u1abcd2EFGH3ijk4x7")["user"]
    assert (linked["managed"], linked["externalId"], linked["origin"]) == (True, "00u1abcd2EFGH3ijk4x7", "linked")
    assert {key: linked[key] for key in ("userName", "active", "role", "emails")} == {
        key: before[key] for key in ("userName", "active", "role", "emails")
    }
    unlinked = document("users", "unlink", "ann@example.com", "--reason", "wrong person")["user"]
    assert (unlinked["managed"], unlinked["externalId"], unlinked["origin"]) == (False, None, "local")


@pytest.mark.usefixtures("owners")
def test_one_okta_user_is_one_account(command: Command, document: Document) -> None:
    document("users", "link", "ann@example.com", "--okta-id", "00u1")
    code, _, err = command("users", "link", "zoe@example.com", "--okta-id", "00u1")
    assert code == 1
    assert "belongs to another" in err


@pytest.mark.parametrize("okta_id", ["", "00u 1", "00u1/../x", "00u" + "x" * 62, "0oa1example", "ann@example.com"])
@pytest.mark.usefixtures("owners")
def test_an_okta_id_must_look_like_one(command: Command, okta_id: str) -> None:
    assert command("users", "link", "ann@example.com", "--okta-id", okta_id)[0] == 2


def test_a_released_name_is_free_for_somebody_new(command: Command, document: Document) -> None:
    document("users", "add", "ann@example.com")
    assert command("users", "release-name", "ann@example.com", "--reason", "new Ann")[0] == 2  # still active
    document("users", "deactivate", "ann@example.com", "--reason", "left")
    old = document("users", "release-name", "ann@example.com", "--reason", "new Ann")["user"]
    assert old["userName"].startswith("ann@example.com#released-")
    assert not old["active"]
    new = document("users", "add", "ann@example.com")["user"]
    assert new["id"] != old["id"]


@pytest.mark.usefixtures("owners")
def test_protection_is_kept_and_lifted(document: Document) -> None:
    assert document("users", "protect", "ann@example.com")["user"]["protected"]
    assert not document("users", "unprotect", "ann@example.com", "--reason", "retired")["user"]["protected"]


@pytest.mark.usefixtures("owners")
def test_an_id_is_never_looked_up_as_a_name_nor_a_name_as_an_id(command: Command, document: Document) -> None:
    key = show(document, "ann@example.com")["id"]
    assert document("users", "show", "--id", key)["user"]["userName"] == "ann@example.com"
    assert command("users", "show", key)[0] == 1
    assert command("users", "show", "--id", "ann@example.com")[0] == 1


@pytest.mark.usefixtures("owners")
def test_lists_are_narrowed(document: Document) -> None:
    document("users", "add", "bob@example.com")
    document("users", "link", "zoe@example.com", "--okta-id", "00u1")
    document("users", "deactivate", "bob@example.com", "--reason", "left")

    def logins(*options: str) -> list[str]:
        return [user["userName"] for user in document("users", "list", *options)["users"]]

    assert logins() == ["ann@example.com", "bob@example.com", "zoe@example.com"]
    assert logins("--local") == ["ann@example.com", "bob@example.com"]
    assert logins("--owners") == ["ann@example.com", "zoe@example.com"]
    assert logins("--inactive") == ["bob@example.com"]


@pytest.mark.usefixtures("owners")
def test_what_needs_a_reason_doesn_t_take_an_empty_one(command: Command) -> None:
    assert command("users", "deactivate", "ann@example.com")[0] == 2
    code, _, err = command("users", "deactivate", "ann@example.com", "--reason", "  ")
    assert code == 2
    assert "--reason must say why" in err


@pytest.mark.usefixtures("owners")
def test_text_for_people_names_the_account_and_its_state(command: Command) -> None:
    code, out, _ = command("users", "show", "ann@example.com")
    assert code == 0
    assert "role         owner" in out
    code, out, _ = command("users", "list")
    assert "ann@example.com  Ann Ann  active  owner  local" in out


def test_names_are_said_or_taken_from_the_login_with_a_note(command: Command, document: Document) -> None:
    code, _, err = command("users", "add", "ann.lee@example.com")
    assert (code, "Named Ann Lee" in err) == (0, True)
    assert show(document, "ann.lee@example.com")["name"] == {"givenName": "Ann", "familyName": "Lee"}
    said = ("--given-name", "Robert", "--family-name", "de Vries")
    code, _, err = command("users", "add", "bob@example.com", *said)
    assert (code, "Named" in err) == (0, False)
    assert show(document, "bob@example.com")["name"] == {"givenName": "Robert", "familyName": "de Vries"}


def test_values_of_a_local_account_are_set_and_cleared(command: Command, document: Document, folder: Path) -> None:
    document("users", "add", "bob@example.com")
    document("users", "set", "bob@example.com", "title=Lead = boss", "name.familyName=Lee", "--reason", "promoted")
    assert show(document, "bob@example.com")["title"] == "Lead = boss"
    document("users", "set", "bob@example.com", "title=")
    assert "title" not in show(document, "bob@example.com")
    assert [(row["verb"], row["reason"]) for row in rows(folder)][1] == ("update", "promoted")
    for wrong in ("title", "nonsense=1", "userName=x", "active=false", "title=a\nb"):
        assert command("users", "set", "bob@example.com", wrong)[0] == 2, wrong


def test_a_local_account_is_renamed_with_its_address_and_never_onto_another(
    command: Command, document: Document
) -> None:
    for login in ("bob@example.com", "zoe@example.com"):
        document("users", "add", login)
    document("users", "rename", "bob@example.com", "rob@example.com")
    assert show(document, "rob@example.com")["emails"][0]["value"] == "rob@example.com"
    code, _, err = command("users", "rename", "rob@example.com", "zoe@example.com")
    assert (code != 0, "taken" in err) == (True, True)


@pytest.mark.parametrize("what", [("set", "title=Lead"), ("rename", "rob@example.com")])
def test_a_managed_account_is_changed_in_okta_alone(
    command: Command, document: Document, what: tuple[str, str]
) -> None:
    document("users", "add", "bob@example.com")
    document("users", "link", "bob@example.com", "--okta-id", "00u1abcd2EFGH3ijk4x7")
    code, _, err = command("users", what[0], "bob@example.com", what[1])
    assert (code, "managed by Okta" in err) == (2, True)
