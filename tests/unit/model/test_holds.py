"""Kinds of change and their wishes: an action and the push of the same change must mean the same to the register."""

import shlex
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from agent.model.codes import ActionKind, HeldCode
from agent.model.holds import (
    ENDS_ACCESS,
    ChangeKind,
    Decision,
    Hold,
    kind_of,
    releasable,
    way_out,
    wish_of,
    wishes_between,
)
from agent.model.paths import EMAIL_PATH
from agent.model.plan import Action, Change
from agent.model.users import DirectoryUser, MultiValue, Profile

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def user(name: str, *, active: bool = True, title: str | None = None) -> DirectoryUser:
    profile = Profile(emails=(MultiValue(value=name, type="work", primary=True),), title=title)
    return DirectoryUser(
        id="a1", user_name=name, profile=profile, active=active, okta_id="00u1", created=NOW, updated=NOW
    )


def action(kind: ActionKind, **after: object) -> Action:
    changes = {path: Change(before=None, after=value) for path, value in after.items()}
    return Action(n=1, kind=kind, login="ann@example.com", directory_id="a1", okta_id="00u1", changes=changes)


def test_a_planned_rename_and_the_push_of_it_are_one_wish_whatever_else_they_change() -> None:
    planned = action(ActionKind.UPDATE, userName="Bea@example.com", title="Lead", **{EMAIL_PATH: "bea@example.com"})
    pushed = wishes_between(user("ann@example.com"), user("bea@example.com", title="Chief"))
    assert kind_of(planned) is ChangeKind.IDENTITY
    assert pushed == {ChangeKind.IDENTITY: wish_of(planned)}


def test_a_planned_end_of_access_and_the_push_of_it_are_one_wish() -> None:
    planned = action(ActionKind.DEACTIVATE, active=False)
    assert wishes_between(user("a@example.com"), user("a@example.com", active=False)) == {
        ChangeKind.DEACTIVATE: wish_of(planned)
    }


def test_an_account_that_is_made_begins_access() -> None:
    assert list(wishes_between(None, user("a@example.com"))) == [ChangeKind.ACTIVATE]
    assert kind_of(action(ActionKind.CREATE)) is ChangeKind.ACTIVATE


HOLD = Hold(
    id=1,
    directory_id="a1",
    okta_id="00u1",
    login="ann@example.com",
    kind=ChangeKind.DEACTIVATE,
    code=HeldCode.DEACTIVATIONS_PER_RUN,
    detail="",
    wish=ENDS_ACCESS,
    since=NOW,
    opened_by="run 1",
    last_found=NOW,
)


def test_a_rejection_stops_its_wish_and_what_isn_t_told_but_no_other() -> None:
    rejected = replace(HOLD, decision=Decision.REJECTED)
    assert rejected.stops(ENDS_ACCESS, NOW)
    assert rejected.stops("", NOW)
    assert not rejected.stops('{"userName":"x"}', NOW)


@pytest.mark.parametrize("code", list(HeldCode))
def test_every_hold_has_one_way_out(code: HeldCode) -> None:
    found = way_out(replace(HOLD, code=code))
    assert found
    assert "LOGIN" not in found
    if releasable(code) and code not in (HeldCode.FAILING, HeldCode.FAILED_ACTIONS):
        assert found == "opshelm-agent holds approve ann@example.com"


@pytest.mark.parametrize(
    ("decision", "kind", "command"),
    [
        (Decision.REJECTED, ChangeKind.DEACTIVATE, "holds lift ann@example.com"),
        (Decision.BLOCKED, ChangeKind.ACTIVATE, "users reactivate ann@example.com"),
        (Decision.BLOCKED, ChangeKind.LINK, "users link ann@example.com --okta-id 00u1"),
    ],
)
def test_a_decision_has_the_command_that_takes_it_back(decision: Decision, kind: ChangeKind, command: str) -> None:
    assert way_out(replace(HOLD, decision=decision, kind=kind)) == f"opshelm-agent {command}"


def test_a_login_stands_in_the_command_as_a_shell_takes_it() -> None:
    odd = replace(HOLD, login="o'neil&co@example.com", decision=Decision.REJECTED)
    assert shlex.split(way_out(odd)) == ["opshelm-agent", "holds", "lift", odd.login]
