"""One test for each row of the table in agent.reconcile.event_names, and what no event may do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model.okta import LogEvent, LogOutcome, LogTarget
from agent.reconcile.event_names import HOOK_EVENTS, HOOK_EVENTS_WITH_ROLES, log_filter, named
from agent.simulator.syslog import NOT_FOR_HOOKS

APP, PERSON = "0oaOPSHELM", "00u1"
USER = LogTarget(id=PERSON, type="User", alternate_id="ann@example.com")
OURS, OTHER = LogTarget(id=APP, type="AppInstance"), LogTarget(id="0oaOTHER", type="AppInstance")


def event(kind: str, *targets: LogTarget, result: str = "SUCCESS", reason: str | None = None) -> LogEvent:
    return LogEvent(uuid="u1", event_type=kind, target=list(targets), outcome=LogOutcome(result=result, reason=reason))


def who(kind: str, *targets: LogTarget) -> tuple[set[str], set[str], bool]:
    found = named([event(kind, *targets)], APP)
    return found.people, found.if_bound, found.everybody


@pytest.mark.parametrize(
    "kind",
    ["application.user_membership.add", "application.user_membership.deprovision", "application.provision.user.push"],
)
def test_an_event_of_this_app_names_its_person(kind: str) -> None:
    assert who(kind, LogTarget(id="0ua1", type="AppUser"), OURS, USER) == ({PERSON}, set(), False)


@pytest.mark.parametrize(
    "kind",
    [
        "application.user_membership.remove",
        "application.provision.user.deactivate",
        "application.lifecycle.deactivate",
        "group.application_assignment.add",
    ],
)
def test_an_event_of_another_app_names_nobody(kind: str) -> None:
    assert who(kind, OTHER, USER) == (set(), set(), False)


def test_an_event_without_an_app_names_only_who_is_bound() -> None:
    assert who("application.user_membership.remove", USER) == (set(), {PERSON}, False)


@pytest.mark.parametrize("kind", ["application.lifecycle.activate", "group.application_assignment.remove"])
def test_what_concerns_everybody_asks_for_a_sweep(kind: str) -> None:
    assert who(kind, OURS) == (set(), set(), True)


@pytest.mark.parametrize("kind", ["user.lifecycle.activate", "user.lifecycle.unsuspend"])
def test_who_arrives_may_have_no_account_yet(kind: str) -> None:
    assert who(kind, USER) == ({PERSON}, set(), False)


@pytest.mark.parametrize(
    "kind", ["user.lifecycle.suspend", "user.lifecycle.delete.initiated", "user.account.update_profile"]
)
def test_other_lifecycle_events_name_who_is_bound(kind: str) -> None:
    assert who(kind, USER) == (set(), {PERSON}, False)


@pytest.mark.parametrize("kind", ["user.session.start", "user.authentication.sso", "UNREADABLE", "", "application"])
def test_anything_else_names_nobody(kind: str) -> None:
    assert who(kind, OURS, USER) == (set(), set(), False)


@pytest.mark.parametrize("bad", ["../users", "00u1/../x", "", "me", "00u" + "1" * 70, "00ü1", "00u1\n"])
def test_an_id_that_is_none_of_oktas_never_leaves_the_event(bad: str) -> None:
    assert who("application.user_membership.add", OURS, LogTarget(id=bad, type="User")) == (set(), set(), False)


def test_a_failed_push_keeps_oktas_words_and_a_later_one_is_told_apart() -> None:
    found = named(
        [
            event(
                "application.provision.user.push", OURS, USER, result="FAILURE", reason="Automatic provisioning failed"
            ),
            event("application.provision.user.push_profile", OURS, USER),
            event("application.provision.user.verify_exists", OURS, LogTarget(id="00u2", type="User")),
            event("application.provision.user.push", OTHER, USER, result="FAILURE", reason="elsewhere"),
        ],
        APP,
    )
    assert [(f.okta_id, f.reason) for f in found.failures] == [(PERSON, "Automatic provisioning failed")]
    assert set(found.pushed) == {PERSON}


@given(
    st.lists(
        st.builds(
            LogEvent,
            uuid=st.text(min_size=1),
            event_type=st.sampled_from(["application.user_membership.x", "user.lifecycle.y", "group.x", ""])
            | st.text(),
            target=st.none()
            | st.lists(
                st.builds(LogTarget, id=st.text(), type=st.sampled_from(["User", "AppUser", "AppInstance", ""]))
            ),
            outcome=st.none() | st.builds(LogOutcome, result=st.none() | st.text(), reason=st.none() | st.text()),
        ),
        max_size=5,
    )
)
def test_whatever_comes_only_okta_user_ids_are_named(events: list[LogEvent]) -> None:
    found = named(events, APP)
    assert all(name.isascii() and name.isalnum() and name.startswith("00u") for name in found.people | found.if_bound)


def test_hooks_subscribe_to_what_okta_offers_and_to_nothing_that_names_nobody() -> None:
    assert not NOT_FOR_HOOKS.intersection(HOOK_EVENTS)
    for kind in HOOK_EVENTS:
        assert who(kind, OURS, USER) != (set(), set(), False), kind


def test_the_filter_asks_for_this_app_and_leaves_sign_ins_out() -> None:
    text = log_filter(APP)
    assert f'target.id eq "{APP}"' in text
    assert "authentication" not in text


def test_a_membership_names_who_is_bound_where_the_group_gives_roles() -> None:
    joins = event("group.user_membership.add", USER, LogTarget(id="00gOWNERS", type="UserGroup"))
    assert named([joins], APP, {"00gOWNERS"}).if_bound == {PERSON}
    for groups in (set(), {"00gOTHERS"}):
        found = named([joins], APP, groups)
        assert (found.people, found.if_bound, found.everybody) == (set(), set(), False)
    assert "group.user_membership" not in log_filter(APP)
    assert log_filter(APP, ["00g1", "00g2"]).endswith(
        'or (eventType sw "group.user_membership." and (target.id eq "00g1" or target.id eq "00g2"))'
    )
    assert not NOT_FOR_HOOKS.intersection(HOOK_EVENTS_WITH_ROLES)
