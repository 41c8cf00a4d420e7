"""Each control call does what it says, and the org keeps Okta's rules while it does."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from agent.simulator import SimulatedOrg


@contextmanager
def http(org: SimulatedOrg, token: str | None = None) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"SSWS {token or org.token}"}
    with httpx.Client(base_url=f"{org.url}/api/v1", headers=headers, timeout=30, trust_env=False) as client:
        yield client


def sweep(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    """Every row of a listing, by its ``next`` links."""
    rows: list[dict[str, Any]] = []
    url: str | None = path
    while url:
        answer = client.get(url)
        answer.raise_for_status()
        rows += answer.json()
        links = answer.headers.get_list("link")
        assert 'rel="self"' in links[0]
        url = next((link[1:].partition(">")[0] for link in links if 'rel="next"' in link), None)
    return rows


# -- paging, tokens, limits ------------------------------------------------------------------------------------------


def test_a_page_has_two_link_lines_and_the_last_has_self_alone(org: SimulatedOrg) -> None:
    with http(org) as client:
        page = client.get(f"/apps/{org.app_id}/users?limit=4")
        links = page.headers.get_list("link")
        assert [link.rpartition("rel=")[2] for link in links] == ['"self"', '"next"']
        last = client.get(links[1][1:].partition(">")[0])
        assert len(last.json()) == 2
        assert [link.rpartition("rel=")[2] for link in last.headers.get_list("link")] == ['"self"']
        assert 'limit=50>; rel="self"' in client.get(f"/apps/{org.app_id}/users").headers["link"]


def test_somebody_who_leaves_between_two_pages_shifts_nobody(org: SimulatedOrg) -> None:
    with http(org) as client:
        page = client.get(f"/apps/{org.app_id}/users?limit=3")
        following = page.headers.get_list("link")[1][1:].partition(">")[0]
        client.delete(f"/apps/{org.app_id}/users/{page.json()[0]['id']}").raise_for_status()
        rest = client.get(following).json()
    assert len({one["id"] for one in page.json()} | {one["id"] for one in rest}) == 6


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        ("GET /apps/{app}/users?after=nonsense", 400, "E0000029"),
        ("GET /apps/{app}/users?limit=501", 400, "E0000001"),
        ("GET /apps/0oaUNKNOWN", 404, "E0000007"),
        ("GET /apps/{app}/users/00uUNKNOWN", 404, "E0000007"),
        ("GET /users/nobody@example.com", 404, "E0000007"),
        ("GET /nothing/here", 404, "E0000008"),
        ("PATCH /users/{user}", 405, "E0000022"),
        ('GET /users?filter=status ne "ACTIVE"', 400, "E0000031"),
        ('GET /users?filter=profile.title eq "x"', 400, "E0000031"),
        ("GET /users?search=status eq", 400, "E0000031"),
        ("GET /logs?since=2020-01-01T00:00:00Z", 400, "E0000001"),
        ("GET /apps/{app}/features/USER_PROVISIONING", 400, "E0000001"),
        ("GET /apps/{app}/features/UNKNOWN", 404, "E0000007"),
        ("GET /apps/{app}/connections/default", 400, "E0000001"),
        ("DELETE /apps/{app}", 403, "E0000056"),
        ("POST /users/{user}/lifecycle/activate", 403, "E0000016"),
        ("POST /users/{user}/lifecycle/unsuspend", 400, "E0000001"),
        ("POST /users/{user}/lifecycle/reactivate", 403, "E0000038"),
        ("PUT /apps/{app}", 400, "E0000003"),
    ],
)
def test_a_refused_call_has_oktas_status_and_code(org: SimulatedOrg, call: str, status: int, code: str) -> None:
    method, _, path = call.partition(" ")
    with http(org) as client:
        answer = client.request(method, path.format(app=org.app_id, user=org.state()[0]["okta_id"]))
    assert (answer.status_code, answer.json()["errorCode"]) == (status, code)
    assert set(answer.json()) == {"errorCode", "errorSummary", "errorLink", "errorId", "errorCauses"}


@pytest.mark.parametrize("header", ["SSWS wrong", "Bearer wrong", "", "Basic x"])
def test_a_bad_token_is_e0000011(org: SimulatedOrg, header: str) -> None:
    answer = httpx.get(f"{org.url}/api/v1/users/me", headers={"Authorization": header}, trust_env=False)
    assert (answer.status_code, answer.json()["errorCode"]) == (401, "E0000011")


def test_the_enforced_limit_answers_429_until_the_window_ends() -> None:
    with SimulatedOrg.start(users=1, rate_limit=2, rate_window=1.0) as org, http(org) as client:
        path = f"/apps/{org.app_id}/users"
        seen = [client.get(path) for _ in range(3)]
        assert [one.status_code for one in seen] == [200, 200, 429]
        assert [one.headers["x-rate-limit-remaining"] for one in seen] == ["1", "0", "0"]
        assert seen[2].json()["errorCode"] == "E0000047"
        assert client.get(f"/apps/{org.app_id}").status_code == 200, "the app itself is another bucket"
        until = int(seen[2].headers["x-rate-limit-reset"])
        assert until > time.time() - 1
        org.call("PUT", "/simulator/limits", {"apps": None})
        assert client.get(path).status_code == 200


def test_without_a_limit_the_headers_show_a_fresh_window(org: SimulatedOrg) -> None:
    with http(org) as client:
        answers = [client.get(f"/apps/{org.app_id}/users") for _ in range(3)]
    assert {one.headers["x-rate-limit-remaining"] for one in answers} == {"49"}
    assert all(one.headers["x-okta-request-id"] for one in answers)


# -- faults ----------------------------------------------------------------------------------------------------------


def test_a_fault_hits_as_often_as_it_says_and_then_the_next_one(org: SimulatedOrg) -> None:
    org.faults(
        {
            "method": "GET",
            "path": "/api/v1/apps/*/users",
            "times": 2,
            "status": 502,
            "body": "<html>bad</html>",
            "headers": {"content-type": "text/html", "x-rate-limit-reset": None},
        },
        {"path": "*/users*", "times": None, "status": 503},
    )
    with http(org) as client:
        answers = [client.get(f"/apps/{org.app_id}/users") for _ in range(4)]
        assert [one.status_code for one in answers] == [502, 502, 503, 503]
        assert answers[0].text == "<html>bad</html>"
        assert answers[0].headers["content-type"] == "text/html"
        assert "x-rate-limit-reset" not in answers[0].headers
        assert answers[2].json()["errorCode"] == "E0000010"
        assert client.get(f"/apps/{org.app_id}").status_code == 200, "the path doesn't fit"
        assert [one["times"] for one in org.call("GET", "/simulator/faults")] == [0, None]
        org.faults()
        assert client.get(f"/apps/{org.app_id}/users").status_code == 200


def test_a_429_fault_looks_like_a_spent_window(org: SimulatedOrg) -> None:
    org.faults({"path": "*", "status": 429})
    with http(org) as client:
        answer = client.get("/users/me")
    assert (answer.json()["errorCode"], answer.headers["x-rate-limit-remaining"]) == ("E0000047", "0")


@pytest.mark.parametrize("fault", [{"status": 504}, {}])
def test_an_effect_after_does_the_work_and_loses_the_answer(org: SimulatedOrg, fault: dict[str, Any]) -> None:
    okta_id = org.state()[0]["okta_id"]
    org.faults({"method": "POST", "path": "*/lifecycle/suspend", "effect": "after", **fault})
    with http(org) as client:
        try:
            assert client.post(f"/users/{okta_id}/lifecycle/suspend").status_code == fault.get("status")
        except httpx.RemoteProtocolError:
            assert not fault
        assert client.get(f"/users/{okta_id}").json()["status"] == "SUSPENDED"


def test_an_effect_before_does_nothing(org: SimulatedOrg) -> None:
    okta_id = org.state()[0]["okta_id"]
    org.faults({"method": "POST", "path": "*", "status": 500})
    with http(org) as client:
        assert client.post(f"/users/{okta_id}/lifecycle/suspend").status_code == 500
        assert client.get(f"/users/{okta_id}").json()["status"] == "ACTIVE"


def test_a_cut_answer_ends_in_the_middle(org: SimulatedOrg) -> None:
    org.faults({"path": "*/users*", "cut_after": 100})
    with http(org) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(f"/apps/{org.app_id}/users")
        assert len(client.get(f"/apps/{org.app_id}/users").json()) == 6


def test_a_slow_answer_is_slow_and_right(org: SimulatedOrg) -> None:
    org.faults({"path": "*", "delay_s": 30})
    with http(org) as client, pytest.raises(httpx.ReadTimeout):
        client.get("/users/me", timeout=0.2)


def test_an_unknown_fault_field_is_refused(org: SimulatedOrg) -> None:
    with pytest.raises(httpx.HTTPStatusError):
        org.faults({"path": "*", "state": 500})


# -- listings --------------------------------------------------------------------------------------------------------


def test_a_listing_can_lie_while_single_reads_stay_true() -> None:
    with SimulatedOrg.start(users=200, seed=7) as org, http(org) as client:
        path = f"/apps/{org.app_id}/users?limit=50"
        everybody = {one["id"] for one in sweep(client, path)}
        assert len(everybody) == 200
        org.listing(drop=0.3)
        some = {one["id"] for one in sweep(client, path)}
        assert 100 < len(some) < 180
        assert {one["id"] for one in sweep(client, path)} == some, "the same people each time"
        missing = min(everybody - some)
        assert client.get(f"/apps/{org.app_id}/users/{missing}").status_code == 200
        org.listing(drop_ids=[missing])
        assert everybody - {one["id"] for one in sweep(client, path)} == {missing}
        org.listing(empty=True)
        assert sweep(client, path) == []
        org.listing(churn=True)
        churned = [one["id"] for one in sweep(client, path)]
        assert len(churned) == 200
        assert set(churned) < everybody, "some come twice and others not at all"
        org.listing()
        assert {one["id"] for one in sweep(client, path)} == everybody


def test_search_lags_while_reads_by_id_do_not(org: SimulatedOrg) -> None:
    okta_id = org.state()[0]["okta_id"]
    org.call("PUT", "/simulator/search", {"lag": True})
    org.api("POST", f"/users/{okta_id}/lifecycle/suspend")
    body = {"profile": {"login": "n@example.com", "email": "n@example.com", "firstName": "N", "lastName": "N"}}
    made = org.api("POST", "/users?activate=false", body)["id"]
    assert org.api("GET", '/users?search=status eq "SUSPENDED"') == []
    assert org.api("GET", '/users?search=profile.login eq "N@EXAMPLE.com"') == []
    assert org.api("GET", '/users?filter=status eq "SUSPENDED"')[0]["id"] == okta_id
    assert org.api("GET", f"/users/{made}")["status"] == "STAGED"
    org.call("PUT", "/simulator/search", {"lag": False})
    assert org.api("GET", '/users?search=status eq "suspended"')[0]["id"] == okta_id
    assert org.api("GET", '/users?search=profile.login eq "N@EXAMPLE.com"')[0]["id"] == made


def test_the_plain_list_leaves_deprovisioned_people_out(org: SimulatedOrg) -> None:
    okta_id = org.state()[0]["okta_id"]
    before = org.api("GET", f"/users/{okta_id}")["lastUpdated"]
    org.api("POST", f"/users/{okta_id}/lifecycle/deactivate")
    assert okta_id not in [one["id"] for one in org.api("GET", "/users")]
    newer = org.api("GET", f'/users?filter=status eq "DEPROVISIONED" and lastUpdated gt "{before}"')
    assert [one["id"] for one in newer] == [okta_id]
    org.api("DELETE", f"/users/{okta_id}")
    assert org.api("GET", '/users?search=status eq "DEPROVISIONED"') == []


# -- raw fields and the oracle ---------------------------------------------------------------------------------------


def test_any_raw_field_can_be_set_and_nothing_is_pushed(pushing: SimulatedOrg, scim: Any) -> None:
    person = pushing.state()[0]
    okta_id = person["okta_id"]
    shown = pushing.set_app_user(
        okta_id,
        status="SOMETHING_NEW",
        syncState="OUT_OF_SYNC",
        externalId="x",
        colour="red",
        profile={"title": "Raw", "nickName": ""},
        without=["department"],
        credentials={"userName": "raw@example.com"},
    )
    assert shown == pushing.api("GET", f"/apps/{pushing.app_id}/users/{okta_id}")
    assert (shown["status"], shown["syncState"], shown["externalId"], shown["colour"]) == (
        "SOMETHING_NEW",
        "OUT_OF_SYNC",
        "x",
        "red",
    )
    assert shown["profile"]["title"] == "Raw"
    assert "department" not in shown["profile"]
    assert shown["credentials"] == {"userName": "raw@example.com"}
    user = pushing.set_user(
        okta_id, status="ACTIVATING", transitioningToStatus="ACTIVE", profile={"displayName": "Drift"}
    )
    assert (user["status"], user["transitioningToStatus"]) == ("ACTIVATING", "ACTIVE")
    assert pushing.state()[0]["expected"]["displayName"] == "Drift"
    assert pushing.state()[0]["expected"]["userName"] == "raw@example.com"
    assert "nickName" in pushing.state()[0]["expected"]
    app = pushing.set_app(status="INACTIVE", features=["PROFILE_MASTERING"], label="Other")
    assert (app["status"], app["features"], app["label"]) == ("INACTIVE", ["PROFILE_MASTERING"], "Other")
    pushing.wait_idle()
    assert scim.calls == []


def test_a_mapped_attribute_of_an_app_user_is_oktas_to_write(org: SimulatedOrg) -> None:
    okta_id = org.state()[0]["okta_id"]
    path = f"/apps/{org.app_id}/users/{okta_id}"
    with http(org) as client:
        refused = client.post(path, json={"profile": {"title": "Mine"}})
        assert (refused.status_code, refused.json()["errorCode"]) == (403, "E0000075")
        assert "title" in refused.json()["errorSummary"]
        assert client.post(path, json={"profile": {"emailType": "home"}}).json()["profile"]["emailType"] == "home"
        unknown = client.post(path, json={"profile": {"shoeSize": "43"}})
    assert (unknown.status_code, unknown.json()["errorCode"]) == (400, "E0000001")


@pytest.mark.parametrize(
    ("profile", "cause"),
    [
        ({"login": "KARIM"}, "is no e-mail"),
        ({"login": "taken"}, "login: An object with this field already exists in the current organization"),
        ({"shoeSize": "43"}, "Property name 'shoeSize' is not defined in profile"),
        ({"lastName": ""}, "lastName: The field cannot be left blank"),
    ],
)
def test_a_wrong_profile_is_refused_with_its_cause(org: SimulatedOrg, profile: dict[str, str], cause: str) -> None:
    body = {"login": "n@example.com", "email": "n@example.com", "firstName": "N", "lastName": "N", **profile}
    if body["login"] == "taken":
        body["login"] = org.state()[0]["login"].upper()
    with http(org) as client:
        refused = client.post("/users", json={"profile": body})
    assert (refused.status_code, refused.json()["errorCode"]) == (400, "E0000001")
    causes = [one["errorSummary"] for one in refused.json()["errorCauses"]]
    assert cause in causes or (cause == "is no e-mail" and "form of an email address" in causes[0])


def test_the_org_id_can_change_as_after_a_move(org: SimulatedOrg) -> None:
    before = httpx.get(f"{org.url}/.well-known/okta-organization", trust_env=False).json()
    org.call("PUT", "/simulator/org", {"id": "00oOTHER"})
    assert httpx.get(f"{org.url}/.well-known/okta-organization", trust_env=False).json() == {**before, "id": "00oOTHER"}


def test_a_run_can_be_repeated_by_its_seed() -> None:
    def people(seed: int) -> list[Any]:
        with SimulatedOrg.start(users=50, seed=seed) as org:
            org.provisioning(mode="lossy", loss=0.5)
            org.events(count=20, shuffle=True)
            events = [one["target"][0]["id"] for one in org.api("GET", "/logs?limit=1000")]
            return [[one["okta_id"], one["login"], one["expected"]] for one in org.state()] + events

    assert people(7) == people(7)
    assert people(7) != people(8)


# -- import ----------------------------------------------------------------------------------------------------------


def test_an_import_matches_as_the_console_does(org: SimulatedOrg, scim: Any) -> None:
    org.provisioning(scim_url=scim.url, scim_key="key", mode="on")
    people = org.state()
    for person in people[:3]:
        org.api("DELETE", f"/apps/{org.app_id}/users/{person['okta_id']}")
    login, by_mail, by_name = (person["login"] for person in people[:3])
    name = {
        "givenName": people[2]["expected"]["name.givenName"],
        "familyName": people[2]["expected"]["name.familyName"],
    }
    exact = scim.add(login.upper())
    scim.add("other@example.com", emails=[{"primary": True, "value": by_mail}])
    scim.add("third@example.com", name=name)
    scim.add("unknown@example.com", name={"givenName": "No", "familyName": "Body"})
    scim.add("gone@example.com", active=False)
    result = org.import_accounts()
    found = {kind: [one["login"] for one in result[kind]] for kind in ("exact", "partial")}
    assert found == {"exact": [login, by_mail], "partial": [by_name]}
    assert [one["userName"] for one in result["none"]] == ["unknown@example.com"]
    assert [one["userName"] for one in result["ignored"]] == ["gone@example.com"]
    assert result["confirmed"] == []
    assert org.state()[0]["app_user"] is None, "nothing is confirmed unasked"

    confirmed = org.import_accounts(confirm=["exact", "none"])["confirmed"]
    assert len(confirmed) == 3
    org.wait_idle()
    linked = org.state()[0]["app_user"]
    assert (linked["status"], linked["externalId"]) == ("ACTIVE", exact)
    assert "PUT" in scim.methods(), "Okta pushes the profile of whom it has linked"
    assert org.api("GET", "/users/unknown@example.com")["status"] == "STAGED"
    again = org.import_accounts()
    assert len(again["linked"]) == 3


def test_an_import_reads_pages_of_100_until_the_total(org: SimulatedOrg, scim: Any) -> None:
    org.provisioning(scim_url=scim.url, scim_key="key")
    for number in range(250):
        scim.add(f"x{number}@example.com")
    assert org.import_accounts()["scanned"] == 250
    assert [path for _, path, _ in scim.calls] == [
        f"/scim/v2/Users?startIndex={start}&count=100" for start in (1, 101, 201)
    ]


@pytest.mark.parametrize("name", ["totalResults", "startIndex", "itemsPerPage"])
def test_an_import_fails_on_a_number_that_is_a_string(org: SimulatedOrg, scim: Any, name: str) -> None:
    org.provisioning(scim_url=scim.url, scim_key="key")
    scim.on_list = lambda body: {**body, name: str(body[name])}
    result = org.import_accounts()
    assert (result["outcome"], result["error"]) == ("FAILURE", f"{name} is not an integer")


def test_an_org_for_rehearsals_has_groups_that_rules_fill() -> None:
    with SimulatedOrg.start(users=60, groups=True) as org:
        groups = {group["profile"]["name"]: group["id"] for group in org.api("GET", "/groups")}
        people = {person["okta_id"] for person in org.state()}
        assert {"OpsHelm Owners", "Security", "Everyone"} <= set(groups)
        owners = {user["id"] for user in org.api("GET", f"/groups/{groups['OpsHelm Owners']}/users")}
        assert 0 < len(owners) < 20
        departments = [name for name in groups if name not in ("OpsHelm Owners", "Everyone")]
        assert people == {u["id"] for name in departments for u in org.api("GET", f"/groups/{groups[name]}/users")}
