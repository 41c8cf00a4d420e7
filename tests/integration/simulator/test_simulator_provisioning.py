"""What the org pushes, row by row of the engine's table, and what becomes of a push that fails."""

from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from agent.simulator import SimulatedOrg
from agent.simulator.schema import CORE

PATCH_OFF = {
    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
    "Operations": [{"op": "replace", "value": {"active": False}}],
}
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


def new_person(org: SimulatedOrg, login: str = "new@example.com", **profile: Any) -> str:
    """An ACTIVE person without the app."""
    body = {
        "profile": {"login": login, "email": login, "firstName": "New", "lastName": "Person", **profile},
        "credentials": {"password": {"value": "Correct-Horse-1"}},
    }
    return str(org.api("POST", "/users?activate=true", body)["id"])


def assign(org: SimulatedOrg, okta_id: str, **body: Any) -> dict[str, Any]:
    assigned: dict[str, Any] = org.api("POST", f"/apps/{org.app_id}/users", {"id": okta_id, **body})
    return assigned


def app_user(org: SimulatedOrg, okta_id: str) -> dict[str, Any]:
    found: dict[str, Any] = org.api("GET", f"/apps/{org.app_id}/users/{okta_id}")
    return found


def first(org: SimulatedOrg) -> dict[str, Any]:
    return org.state()[0]


def test_an_assignment_checks_for_the_name_and_then_creates(pushing: SimulatedOrg, scim: Any) -> None:
    okta_id = new_person(pushing, title="Pilot", department="Flight")
    answer = assign(pushing, okta_id)
    assert (answer["status"], answer["syncState"], answer["externalId"]) == ("STAGED", "SYNCING", None)
    pushing.wait_idle()
    assert scim.methods() == ["GET", "POST"]
    assert scim.calls[0][1] == "/scim/v2/Users?filter=userName%20eq%20%22new%40example.com%22&startIndex=1&count=100"
    body = scim.calls[1][2]
    assert body["externalId"] == okta_id
    assert body["groups"] == []
    assert body["active"] is True
    assert body["password"]
    assert body["emails"] == [{"primary": True, "type": "work", "value": "new@example.com"}]
    assert body[ENTERPRISE] == {"department": "Flight"}
    assert ENTERPRISE in body["schemas"]
    after = app_user(pushing, okta_id)
    assert (after["status"], after["syncState"]) == ("PROVISIONED", "SYNCHRONIZED")
    assert after["externalId"] == next(one["id"] for one in scim.users.values() if one["userName"] == "new@example.com")
    headers = scim.headers[1]
    assert headers["User-Agent"] == "Okta SCIM Client 1.0.0"
    assert headers["Authorization"] == "Bearer key"
    assert headers["Content-Type"].startswith("application/scim+json")


def test_an_assignment_links_an_account_of_that_name_whatever_its_case(pushing: SimulatedOrg, scim: Any) -> None:
    there = scim.add("New@Example.com", name={"givenName": "Old"}, nickName="kept")
    okta_id = new_person(pushing)
    assign(pushing, okta_id)
    pushing.wait_idle()
    assert scim.methods() == ["GET", "PUT"]
    assert app_user(pushing, okta_id)["externalId"] == there
    put = scim.calls[1][2]
    assert put["name"] == {"givenName": "New", "familyName": "Person"}
    assert "nickName" not in put
    assert put["id"] == there
    assert "externalId" not in put


def test_linking_an_inactive_account_activates_it(pushing: SimulatedOrg, scim: Any) -> None:
    there = scim.add("new@example.com", active=False)
    assign(pushing, new_person(pushing))
    pushing.wait_idle()
    assert scim.methods() == ["GET", "PUT", "PATCH"]
    assert scim.calls[1][2]["active"] is False
    assert scim.users[there]["active"] is True


def test_the_exists_check_may_answer_404(pushing: SimulatedOrg, scim: Any) -> None:
    scim.answers.append((404, {}, {"status": "404", "detail": "nobody"}))
    assign(pushing, new_person(pushing))
    pushing.wait_idle()
    assert scim.methods() == ["GET", "POST"]


def test_a_changed_attribute_is_read_and_put_into_the_servers_own_body(pushing: SimulatedOrg, scim: Any) -> None:
    person = first(pushing)
    account = person["app_user"]["externalId"]
    scim.users[account].update(active=False, nickName="x", custom={"kept": 1})
    pushing.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Boss", "department": None}})
    pushing.wait_idle()
    assert scim.methods() == ["GET", "PUT"]
    put = scim.calls[1][2]
    assert put["title"] == "Boss"
    assert "department" not in put[ENTERPRISE]
    assert put["custom"] == {"kept": 1}
    assert put["active"] is False, "a profile push doesn't change active"


def test_an_attribute_without_a_namespace_is_not_sent(pushing: SimulatedOrg, scim: Any) -> None:
    pushing.set_schema(title={"externalNamespace": None})
    pushing.api("POST", f"/users/{first(pushing)['okta_id']}", {"profile": {"title": "Boss", "displayName": "B"}})
    pushing.wait_idle()
    put = scim.calls[1][2]
    assert put["displayName"] == "B"
    assert put.get("title") != "Boss"
    schema = pushing.api("GET", f"/meta/schemas/apps/{pushing.app_id}/default")
    assert schema["definitions"]["custom"]["properties"]["title"]["externalNamespace"] is None
    pushing.set_schema(title={"externalNamespace": CORE})


def test_a_change_that_changes_nothing_pushes_nothing(pushing: SimulatedOrg, scim: Any) -> None:
    person = first(pushing)
    title = person["expected"]["title"]
    pushing.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": title, "secondEmail": "b@example.com"}})
    pushing.wait_idle()
    assert scim.calls == []


def test_suspend_and_unsuspend_push_nothing(pushing: SimulatedOrg, scim: Any) -> None:
    okta_id = first(pushing)["okta_id"]
    pushing.api("POST", f"/users/{okta_id}/lifecycle/suspend")
    assert app_user(pushing, okta_id)["status"] == "PROVISIONED"
    pushing.api("POST", f"/users/{okta_id}/lifecycle/unsuspend")
    pushing.wait_idle()
    assert scim.calls == []


@pytest.mark.parametrize("how", ["unassign", "deactivate"])
def test_leaving_patches_active_without_a_path(pushing: SimulatedOrg, scim: Any, how: str) -> None:
    person = first(pushing)
    okta_id, account = person["okta_id"], person["app_user"]["externalId"]
    if how == "unassign":
        pushing.api("DELETE", f"/apps/{pushing.app_id}/users/{okta_id}")
    else:
        pushing.api("POST", f"/users/{okta_id}/lifecycle/deactivate")
    pushing.wait_idle()
    assert scim.calls == [("PATCH", f"/scim/v2/Users/{account}", PATCH_OFF)]
    assert first(pushing)["app_user"] is None


def test_a_wizard_app_puts_everything(scim: Any) -> None:
    with SimulatedOrg.start(users=1, seed=7, scim_url=scim.url, scim_key="Raw key", app_style="wizard") as org:
        org.wait_idle()
        scim.calls.clear()
        okta_id = first(org)["okta_id"]
        org.api("POST", f"/users/{okta_id}/lifecycle/deactivate")
        org.wait_idle()
        assert scim.methods() == ["GET", "PUT"]
        assert scim.calls[1][2]["active"] is False
        org.api("POST", f"/users/{okta_id}/lifecycle/activate")
        assign(org, okta_id)
        org.wait_idle()
        assert "PATCH" not in scim.methods()
        assert scim.calls[-1][2]["active"] is True
    assert scim.headers[-1]["Authorization"] == "Raw key"


def test_a_reassignment_puts_the_profile_and_then_activates(pushing: SimulatedOrg, scim: Any) -> None:
    person = first(pushing)
    okta_id, account = person["okta_id"], person["app_user"]["externalId"]
    pushing.api("POST", f"/users/{okta_id}/lifecycle/deactivate")
    pushing.api("POST", f"/users/{okta_id}/lifecycle/activate")
    assign(pushing, okta_id)
    pushing.wait_idle()
    assert scim.methods() == ["PATCH", "GET", "PUT", "PATCH"]
    assert scim.calls[-1][2]["Operations"][0]["value"] == {"active": True}
    assert app_user(pushing, okta_id)["externalId"] == account
    assert "DELETE" not in scim.methods()


def test_the_pushes_of_one_person_keep_their_order(pushing: SimulatedOrg, scim: Any) -> None:
    okta_id = first(pushing)["okta_id"]
    for number in range(8):
        pushing.api("POST", f"/users/{okta_id}", {"profile": {"title": f"Title {number}"}})
    pushing.api("DELETE", f"/apps/{pushing.app_id}/users/{okta_id}")
    pushing.wait_idle()
    titles = [body["title"] for method, _, body in scim.calls if method == "PUT"]
    assert titles == sorted(titles)
    assert scim.methods()[-1] == "PATCH"


def test_a_person_removed_while_the_create_waits_ends_inactive(pushing: SimulatedOrg, scim: Any) -> None:
    okta_id = new_person(pushing)
    assign(pushing, okta_id)
    pushing.api("DELETE", f"/apps/{pushing.app_id}/users/{okta_id}")
    pushing.wait_idle()
    assert [one for one in scim.users.values() if one["userName"] == "new@example.com" and one["active"]] == []


def test_a_staged_person_is_provisioned_at_activation(pushing: SimulatedOrg, scim: Any) -> None:
    body = {"profile": {"login": "s@example.com", "email": "s@example.com", "firstName": "S", "lastName": "T"}}
    okta_id = pushing.api("POST", "/users?activate=false", body)["id"]
    assign(pushing, okta_id)
    pushing.wait_idle()
    assert scim.calls == []
    assert app_user(pushing, okta_id)["status"] == "STAGED"
    pushing.api("POST", f"/users/{okta_id}/lifecycle/activate?sendEmail=false")
    pushing.wait_idle()
    assert scim.methods() == ["GET", "POST"]
    assert app_user(pushing, okta_id)["status"] == "PROVISIONED"


def test_a_group_gives_and_takes_the_app(pushing: SimulatedOrg, scim: Any) -> None:
    okta_id = new_person(pushing)
    group = pushing.api("POST", "/groups", {"profile": {"name": "Pilots"}})["id"]
    pushing.api("PUT", f"/apps/{pushing.app_id}/groups/{group}", {})
    pushing.api("PUT", f"/groups/{group}/users/{okta_id}")
    pushing.wait_idle()
    assert app_user(pushing, okta_id)["scope"] == "GROUP"
    refused = httpx.delete(
        f"{pushing.url}/api/v1/apps/{pushing.app_id}/users/{okta_id}",
        headers={"Authorization": f"SSWS {pushing.token}"},
    )
    assert (refused.status_code, refused.json()["errorCode"]) == (403, "E0000046")
    pushing.api("POST", f"/users/{okta_id}/lifecycle/deactivate")
    pushing.api("POST", f"/users/{okta_id}/lifecycle/activate")
    pushing.wait_idle()
    assert app_user(pushing, okta_id)["scope"] == "GROUP", "group assignments come back with the person"
    pushing.api("DELETE", f"/groups/{group}/users/{okta_id}")
    pushing.wait_idle()
    assert scim.methods() == ["GET", "POST", "PATCH", "GET", "PUT", "PATCH", "PATCH"]
    assert scim.calls[-1][2] == PATCH_OFF


def test_an_inactive_app_pushes_nothing_and_keeps_its_assignments(pushing: SimulatedOrg, scim: Any) -> None:
    okta_id = first(pushing)["okta_id"]
    pushing.api("POST", f"/apps/{pushing.app_id}/lifecycle/deactivate")
    pushing.api("POST", f"/users/{okta_id}/lifecycle/deactivate")
    pushing.wait_idle()
    assert scim.calls == []
    assert app_user(pushing, okta_id)["status"] == "PROVISIONED"


def test_too_many_requests_is_tried_again_until_it_works(pushing: SimulatedOrg, scim: Any) -> None:
    throttled = (429, {"Retry-After": "1"}, {"status": "429", "detail": "later"})
    scim.answers += [throttled] * 3
    okta_id = new_person(pushing)
    assign(pushing, okta_id)
    pushing.wait_idle()
    assert scim.methods() == ["GET"] * 4 + ["POST"]
    assert app_user(pushing, okta_id)["syncState"] == "SYNCHRONIZED"
    assert [one["attempt"] for one in pushing.pushes()][-5:] == [1, 2, 3, 4, 4]


def test_ten_tries_end_in_a_task_and_a_retry_heals_it(scim: Any) -> None:
    with SimulatedOrg.start(users=0, scim_url=scim.url, scim_key="key", time_scale=0) as org:
        # No number of seconds: Okta then waits five minutes, which the time scale makes nothing.
        scim.answers += [(429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, None)] * 10
        okta_id = new_person(org)
        assign(org, okta_id)
        org.wait_idle()
        assert scim.methods() == ["GET"] * 10
        task = org.tasks()[0]
        assert (task["kind"], task["attempts"], task["okta_id"]) == ("assign", 10, okta_id)
        failed = app_user(org, okta_id)
        assert (failed["status"], failed["syncState"], failed["externalId"]) == ("STAGED", "ERROR", None)
        assert org.retry_tasks() == 1
        org.wait_idle()
        assert org.tasks() == []
        assert app_user(org, okta_id)["status"] == "PROVISIONED"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((201, {}, None), "Create new user returned empty user"),
        ((409, {}, {"status": "409", "detail": "that name is taken"}), "that name is taken"),
        ((503, {}, None), "Service Unavailable"),
    ],
)
def test_a_failed_create_is_a_task_with_the_servers_words(
    pushing: SimulatedOrg, scim: Any, answer: Any, words: str
) -> None:
    scim.answers += [(200, {}, {"totalResults": 0, "Resources": []}), answer]
    okta_id = new_person(pushing)
    assign(pushing, okta_id)
    pushing.wait_idle()
    assert scim.methods() == ["GET", "POST"], "only a 429 is tried again by itself"
    assert words in pushing.tasks()[0]["error"]
    failed = app_user(pushing, okta_id)
    assert (failed["status"], failed["syncState"], failed["externalId"]) == ("STAGED", "ERROR", None)
    events = pushing.api("GET", "/logs?filter=" + 'outcome.result eq "FAILURE"')
    assert [one["eventType"] for one in events] == ["application.provision.user.push"]
    assert words in events[0]["outcome"]["reason"]


def test_a_failed_update_leaves_the_link_and_shows_an_error(pushing: SimulatedOrg, scim: Any) -> None:
    person = first(pushing)
    scim.answers.append((500, {}, None))
    pushing.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Boss"}})
    pushing.wait_idle()
    after = app_user(pushing, person["okta_id"])
    assert (after["status"], after["syncState"]) == ("PROVISIONED", "ERROR")
    assert after["externalId"] == person["app_user"]["externalId"]


def test_a_server_that_is_not_there_is_a_task_and_an_integration_event(pushing: SimulatedOrg) -> None:
    pushing.provisioning(scim_url="http://127.0.0.1:9/scim/v2")
    assign(pushing, new_person(pushing))
    pushing.wait_idle()
    assert "reaching the remote server" in pushing.tasks()[0]["error"]
    types = [one["eventType"] for one in pushing.api("GET", "/logs?limit=1000")]
    assert "application.integration.general_failure" in types


def test_dropped_pushes_look_successful_to_okta(pushing: SimulatedOrg, scim: Any) -> None:
    pushing.provisioning(mode="off")
    person = first(pushing)
    okta_id = new_person(pushing)
    assert assign(pushing, okta_id)["status"] == "PROVISIONED"
    pushing.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Boss"}})
    pushing.wait_idle()
    assert scim.calls == []
    lost = app_user(pushing, okta_id)
    assert (lost["status"], lost["syncState"], lost["externalId"]) == ("PROVISIONED", "SYNCHRONIZED", None)
    kept = app_user(pushing, person["okta_id"])
    assert (kept["syncState"], kept["externalId"]) == ("SYNCHRONIZED", person["app_user"]["externalId"])
    assert kept["profile"]["title"] == "Boss"
    assert [one["dropped"] for one in pushing.pushes()][-2:] == [True, True]


def test_after_a_lost_create_the_leaver_is_not_deactivated(pushing: SimulatedOrg, scim: Any) -> None:
    pushing.provisioning(mode="off")
    okta_id = new_person(pushing)
    assign(pushing, okta_id)
    pushing.provisioning(mode="on")
    pushing.api("DELETE", f"/apps/{pushing.app_id}/users/{okta_id}")
    pushing.wait_idle()
    assert scim.calls == []


def test_lossy_drops_about_the_share_that_was_asked_for(scim: Any) -> None:
    with SimulatedOrg.start(users=0, seed=3, scim_url=scim.url, scim_key="key") as org:
        org.provisioning(mode="lossy", loss=0.5)
        for number in range(20):
            assign(org, new_person(org, f"p{number}@example.com"))
        org.wait_idle()
        assert 4 <= len(scim.users) <= 16


def test_a_switched_off_feature_pushes_nothing(pushing: SimulatedOrg, scim: Any) -> None:
    pushing.set_app(features=[])
    person = first(pushing)
    assert assign(pushing, new_person(pushing))["status"] == "ACTIVE"
    pushing.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Boss"}})
    pushing.api("DELETE", f"/apps/{pushing.app_id}/users/{person['okta_id']}")
    pushing.wait_idle()
    assert scim.calls == []


def test_the_url_may_come_later_and_those_waiting_are_pushed(org: SimulatedOrg, scim: Any) -> None:
    answer = org.provisioning(scim_url=scim.url, scim_key="key", push_waiting=True)
    assert answer["queued"] == 6
    org.wait_idle()
    assert len(scim.users) == 6
    assert all(one["app_user"]["externalId"] for one in org.state())


def test_an_own_external_id_replaces_the_servers_when_asked_for(pushing: SimulatedOrg, scim: Any) -> None:
    pushing.provisioning(external_id="own")
    scim.add("new@example.com", externalId="00uSOMEBODYELSE00000")
    okta_id = new_person(pushing)
    assign(pushing, okta_id)
    pushing.wait_idle()
    assert scim.calls[1][2]["externalId"] == okta_id


def test_the_user_name_is_asked_for_url_encoded(pushing: SimulatedOrg, scim: Any) -> None:
    assign(pushing, new_person(pushing, "o'neil+x@example.com"))
    pushing.wait_idle()
    assert "+x" not in scim.calls[0][1]
    assert 'userName eq "o\'neil+x@example.com"' in unquote(scim.calls[0][1])
