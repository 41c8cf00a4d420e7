"""The same calls against the simulated org, which other tests hold against what real orgs answered."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from agent.model.errors import OktaDenied, OktaNotFound, OktaRejected, OktaUnreachable, Unaddressable
from agent.model.okta import Person
from agent.okta_org import OktaOrg
from agent.settings import OktaSettings
from agent.simulator import SimulatedOrg

LONG_AGO = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def simulated() -> Iterator[SimulatedOrg]:
    with SimulatedOrg.start(users=12, seed=3) as running:
        yield running


@pytest.fixture
def reach() -> Iterator[Callable[..., OktaOrg]]:
    opened = []

    def reach(simulated: SimulatedOrg, **changed) -> OktaOrg:
        settings = {"org_url": simulated.url, "app_id": simulated.app_id, "api_token": simulated.token, **changed}
        opened.append(OktaOrg.connect(OktaSettings(**settings)))
        return opened[-1]

    yield reach
    for org in opened:
        org.close()


@pytest.fixture
def org(simulated, reach) -> OktaOrg:
    return reach(simulated)


def profile(name: str) -> dict:
    return {"login": name, "email": name, "firstName": "New", "lastName": "Person"}


@pytest.mark.parametrize("name", ["a/b", "a?b", "a#b", "a%b", "a+b", "a b", "a\\b"])
def test_a_login_that_no_address_can_name_is_found_by_a_search(
    simulated: SimulatedOrg, org: OktaOrg, name: str
) -> None:
    login = f"{name}@example.com"
    made = org.create_user({"login": login, "email": "x@example.com", "firstName": "A", "lastName": "B"}, activate=True)
    found = org.user(login.upper())
    assert found is not None
    assert found.id == made.id
    assert org.user(f"other-{login}") is None


def test_one_id_that_no_address_can_name_does_not_end_the_reading_of_the_others(
    simulated: SimulatedOrg, org: OktaOrg
) -> None:
    known = simulated.state()[0]["okta_id"]
    first, odd, last = org.people([known, "00u/1", known])
    assert isinstance(odd, Unaddressable)
    assert isinstance(first, Person)
    assert first == last


def test_everybody_is_listed_whatever_the_size_of_the_pages(simulated, org):
    expected = sorted(one["okta_id"] for one in simulated.state() if one["app_user"])
    for limit in (1, 5, 500):
        found = [one for page in org.app_user_pages(limit) for one in page]
        assert sorted(one.id for one in found) == expected
    assert all(one.user_name and one.status == "PROVISIONED" for one in found)


def test_the_app_the_org_and_the_tokens_owner(simulated, org):
    assert org.org_id().startswith("00o")
    assert (org.app().id, org.app().status) == (simulated.app_id, "ACTIVE")
    assert org.whoami().status == "ACTIVE"
    assert "definitions" in org.app_schema()


def test_one_person_assigned_suspended_and_gone(simulated, org):
    first, second, third = (one["okta_id"] for one in simulated.state()[:3])
    assert org.person(first).okta_user.status == "ACTIVE"
    simulated.api("POST", f"/users/{second}/lifecycle/suspend")
    assert org.person(second).okta_user.status == "SUSPENDED"
    assert [one.id for page in org.users_with_status_pages("SUSPENDED") for one in page] == [second]
    simulated.api("DELETE", f"/apps/{simulated.app_id}/users/{third}")
    gone = org.person(third)
    assert gone.app_user is None
    assert gone.okta_user.status == "ACTIVE"
    simulated.api("POST", f"/users/{first}/lifecycle/deactivate")
    assert [one.id for page in org.users_deprovisioned_since(LONG_AGO) for one in page] == [first]
    assert [found.okta_id for found in org.people([third, first, second])] == [third, first, second]


def test_without_the_app_nobody_is_absent(simulated, reach):
    somebody = simulated.state()[0]["okta_id"]
    with pytest.raises(OktaRejected, match="nobody's absence"):
        reach(simulated, app_id="0oaUNKNOWN").person(somebody)
    with pytest.raises(OktaNotFound):
        next(reach(simulated, app_id="0oaUNKNOWN").app_user_pages())


def test_a_wrong_token_is_denied(simulated, reach):
    with pytest.raises(OktaDenied, match="E0000011"):
        reach(simulated, api_token="wrong").app()


def test_import_creates_assigns_and_activates(org):
    user = org.create_user(profile("new.person@example.com"), activate=False)
    assert user.status == "STAGED"
    assert org.user("new.person@example.com").id == user.id
    assert [found.id for found in org.find_users_by(login="NEW.person@example.com")] == [user.id]
    assert [found.id for found in org.find_users_by(email="new.person@example.com")] == [user.id]
    assert org.assign(user.id, "new.person@example.com").user_name == "new.person@example.com"
    org.activate_user(user.id, send_email=False)
    assert org.user(user.id).status != "STAGED"
    with pytest.raises(OktaRejected, match="has a user with this login"):
        org.create_user(profile("new.person@example.com"), activate=False)
    with pytest.raises(OktaRejected, match="active already"):
        org.activate_user(user.id)


def test_new_people_join_their_groups(simulated, org):
    group = simulated.api("POST", "/groups", {"profile": {"name": "imported", "description": None}})["id"]
    first = org.create_user(profile("a@example.com"), activate=False, groups=[group])
    second = org.create_user(profile("b@example.com"), activate=False)
    org.add_to_group(group, second.id)
    assert {one["id"] for one in simulated.api("GET", f"/groups/{group}/users")} == {first.id, second.id}


def test_a_create_whose_answer_is_lost_was_done_once(simulated, org):
    simulated.faults({"method": "POST", "path": "/api/v1/users", "times": 1, "status": 502, "effect": "after"})
    with pytest.raises(OktaUnreachable) as caught:
        org.create_user(profile("lost@example.com"), activate=False)
    assert caught.value.maybe_done
    assert len(org.find_users_by(login="lost@example.com")) == 1


def test_faults_that_pass_are_ridden_out(simulated, org):
    path = f"/api/v1/apps/{simulated.app_id}/users"
    simulated.faults({"method": "GET", "path": path, "times": 1, "status": 503})
    assert sum(len(page) for page in org.app_user_pages(5)) == 12


def test_the_log_goes_on_from_its_cursor(simulated, org):
    _, cursor = org.log_events(since=LONG_AGO)
    somebody = simulated.state()[0]["okta_id"]
    simulated.api("POST", f"/users/{somebody}/lifecycle/suspend")
    events, cursor = org.log_events(cursor=cursor)
    assert [event.event_type for event in events] == ["user.lifecycle.suspend"]
    assert somebody in [target.id for target in events[0].target]
    assert org.log_events(cursor=cursor)[0] == []


def test_event_hooks_are_made_and_listed(org):
    hook = org.create_event_hook("http://127.0.0.1:9/hooks/okta", "s", ["user.lifecycle.suspend"], "opshelm")
    assert hook.verification_status == "UNVERIFIED"
    [found] = org.event_hooks()
    assert (found.id, found.channel.config.uri) == (hook.id, "http://127.0.0.1:9/hooks/okta")
    assert found.events.items == ["user.lifecycle.suspend"]


def test_it_slows_down_before_the_429_of_an_org_that_enforces_its_limit(reach):
    with SimulatedOrg.start(users=7, seed=3, rate_limit=6, rate_window=1.0) as limited:
        org = reach(limited)
        waited = []
        with org.run(lambda seconds, bucket: waited.append(bucket)):
            assert sum(len(page) for page in org.app_user_pages(1)) == 7
    assert org.budget()["apps"].refused == 0
    assert set(waited) == {"Okta's limit on apps"}
