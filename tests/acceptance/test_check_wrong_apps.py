"""``check`` against apps that are set up wrong: each fault is named, and no other."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.simulator import SimulatedOrg
from agent.simulator.schema import CORE
from support.commands import Command, command, folder

__all__ = ["command", "folder"]

#: What a fresh set-up without a daemon lacks in any case.
USUAL = {"keys", "last sweep", "owners", "pins", "receiver", "round trip", "token owner"}
GOOD = ["PUSH_NEW_USERS", "PUSH_PROFILE_UPDATES", "PUSH_USER_DEACTIVATION", "REACTIVATE_USERS", "IMPORT_NEW_USERS"]


@pytest.fixture(scope="module")
def org() -> Iterator[SimulatedOrg]:
    with SimulatedOrg.start(users=4) as started:
        started.provisioning(mode="off")
        yield started


def without(*features: str) -> dict[str, Any]:
    return {"features": [feature for feature in GOOD if feature not in features]}


def other_email(org: SimulatedOrg) -> None:
    org.set_app_user(org.state()[0]["okta_id"], profile={"email": "=cmd@example.org"})


def reset_emails(org: SimulatedOrg) -> None:
    first = org.state()[0]
    org.set_app_user(first["okta_id"], profile={"email": first["login"]})


def moved_attribute(org: SimulatedOrg) -> None:
    schema = org.api("GET", f"/meta/schemas/apps/{org.app_id}/default")
    schema["definitions"]["custom"]["properties"]["department"] |= {"externalName": "dept", "externalNamespace": CORE}
    org.faults({"method": "GET", "path": "/api/v1/meta/schemas/*", "times": None, "status": 200, "body": schema})


def unsent_attribute(org: SimulatedOrg) -> None:
    org.set_schema(title={"externalNamespace": None})


def owner_assigned(org: SimulatedOrg) -> None:
    someone = org.api("GET", f"/users/{org.state()[0]['okta_id']}")
    org.faults({"method": "GET", "path": "/api/v1/users/me", "times": None, "status": 200, "body": someone})


WRONG: dict[str, tuple[Callable[[SimulatedOrg], Any], set[tuple[str, str]]]] = {
    "nothing": (lambda org: None, set()),
    "inactive": (lambda org: org.set_app(status="INACTIVE"), {("app", "fail")}),
    "login as username": (
        lambda org: org.set_app(credentials={"userNameTemplate": {"template": "${source.login}", "type": "BUILT_IN"}}),
        {("username format", "fail")},
    ),
    "no create": (lambda org: org.set_app(**without("PUSH_NEW_USERS")), {("create users", "fail")}),
    "no update": (lambda org: org.set_app(**without("PUSH_PROFILE_UPDATES")), {("update users", "fail")}),
    "no deactivate": (lambda org: org.set_app(**without("PUSH_USER_DEACTIVATION")), {("deactivate users", "fail")}),
    "rename on create only": (
        lambda org: org.set_app(features=[*GOOD, "EXCLUDE_USERNAME_UPDATE_ON_PROFILE_PUSH"]),
        {("username updates", "warn")},
    ),
    "group push": (lambda org: org.set_app(features=[*GOOD, "GROUP_PUSH"]), {("group push", "fail")}),
    "group import": (lambda org: org.set_app(features=[*GOOD, "IMPORT_GROUPS"]), {("group import", "fail")}),
    "profile source": (lambda org: org.set_app(features=[*GOOD, "PROFILE_MASTERING"]), {("profile source", "fail")}),
    "an e-mail": (other_email, {("e-mails", "warn")}),
    "mapping": (moved_attribute, {("mapping", "warn")}),
    "an attribute that Okta doesn't send": (unsent_attribute, {("mapping", "warn")}),
    "token of a user of the app": (owner_assigned, {("token owner", "fail")}),
    "everything": (
        lambda org: org.set_app(status="INACTIVE", features=["GROUP_PUSH", "PROFILE_MASTERING"]),
        {
            (name, "fail")
            for name in ("app", "create users", "update users", "deactivate users", "group push", "profile source")
        },
    ),
}


@pytest.fixture
def states(
    org: SimulatedOrg, command: Command, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], tuple[int, Any]]]:
    monkeypatch.setenv("OPSHELM_SERVER__PORT", "1")  # nothing listens there
    for name, value in (("ORG_URL", org.url), ("APP_ID", org.app_id), ("API_TOKEN", org.token)):
        monkeypatch.setenv(f"OPSHELM_OKTA__{name}", value)

    def look() -> tuple[int, Any]:
        code, out, err = command("--output", "json", "check")
        assert out, err
        return code, json.loads(out)

    yield look
    reset_emails(org)


@pytest.mark.parametrize("name", WRONG)
def test_each_fault_is_named_and_no_other(org: SimulatedOrg, states: Any, name: str) -> None:
    change, expected = WRONG[name]
    app = org.api("GET", f"/apps/{org.app_id}")
    try:
        change(org)
        code, answer = states()
    finally:
        org.set_app(**{key: app[key] for key in ("status", "features", "credentials")})
        org.faults()
        org.set_schema(title={"externalNamespace": CORE})
    found = {(one["name"], one["state"]) for one in answer["checks"] if one["state"] != "ok"}
    named = {line for line in found if line[0] not in USUAL or line[1] == "fail"}
    assert named == expected
    assert code == int(any(state == "fail" for _, state in expected))
    assert all(one["fix"] for one in answer["checks"] if one["state"] != "ok")


def test_who_has_another_email_comes_as_csv(org: SimulatedOrg, command: Command, states: Any, folder: Path) -> None:
    other_email(org)
    login = org.state()[0]["login"]
    assert states()[1]["emails"] == [
        {"login": login, "email": "=cmd@example.org", "okta_id": org.state()[0]["okta_id"]}
    ]
    code, out, _ = command("check", "--csv")
    assert (code, out.splitlines()[0]) == (0, "login,email,okta_id")
    assert out.splitlines()[1].startswith(f"{login},'=cmd@example.org,00u")
