"""What Okta's pushes do, through HTTP, on both databases."""

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from agent.directory.port import WriteContext
from agent.directory.rules import AccountChange
from agent.model.codes import Source
from agent.model.users import Role
from support.receiver import CORE, ENTERPRISE, ERROR, PATCH_OP, Served, deactivation, okta_user


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"schemas": [PATCH_OP], "Operations": list(operations)}


def test_a_create_answers_the_whole_user_with_its_address_and_tag(receiver: Served) -> None:
    answer = receiver.send("POST", "/Users", okta_user("Test.User@okta.local", externalId="00u1"))
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/scim+json"
    assert answer.headers["location"] == made["meta"]["location"]
    assert answer.headers["location"].endswith(f"/scim/v2/Users/{made['id']}")
    assert answer.headers["etag"] == made["meta"]["version"] == 'W/"1"'
    assert made["userName"] == "Test.User@okta.local"
    assert made["active"] is True
    assert "password" not in made
    assert "groups" not in made
    assert receiver.client.get(f"/Users/{made['id']}").json() == made


def test_a_body_without_schemas_is_a_user_all_the_same(receiver: Served) -> None:
    body = okta_user("bare@example.com")
    del body["schemas"]
    made = receiver.send("POST", "/Users", body)
    assert (made.status_code, made.json()["schemas"]) == (201, [CORE])
    put = receiver.send("PUT", f"/Users/{made.json()['id']}", body | {"title": "Chief"})
    assert (put.status_code, put.json()["title"]) == (200, "Chief")


def test_a_second_create_is_a_conflict_whatever_the_case(receiver: Served) -> None:
    receiver.create("a@example.com", externalId="00u1")
    for again in (okta_user("A@EXAMPLE.com"), okta_user("b@example.com", externalId="00u1")):
        answer = receiver.send("POST", "/Users", again)
        assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")
    assert receiver.client.get("/Users").json()["totalResults"] == 1


def test_okta_s_existence_check_finds_one_or_none(receiver: Served) -> None:
    made = receiver.create("a@example.com")
    receiver.create("b@example.com")
    found = receiver.find('userName eq "A@example.COM"')
    assert (found["totalResults"], found["itemsPerPage"], found["startIndex"]) == (1, 1, 1)
    assert found["Resources"] == [made]
    nobody = receiver.find('userName eq "nobody@example.com"')
    assert (nobody["totalResults"], nobody["Resources"]) == (0, [])


def test_a_put_replaces_what_scim_carries_and_keeps_what_it_does_not(receiver: Served) -> None:
    made = receiver.create("a@example.com", externalId="00u1", title="Engineer", nickName="A")
    body = okta_user("a@example.com", displayName="New")
    del body["active"]
    answer = receiver.send("PUT", f"/Users/{made['id']}", body | {"title": None})
    after = answer.json()
    assert answer.status_code == 200
    assert after["displayName"] == "New"
    assert "title" not in after
    assert "nickName" not in after
    assert (after["active"], after["externalId"], after["id"]) == (True, "00u1", made["id"])
    assert (after["meta"]["version"], after["meta"]["created"]) == ('W/"2"', made["meta"]["created"])
    assert after["meta"]["lastModified"] > made["meta"]["lastModified"]


def test_a_put_of_the_server_s_own_body_changes_nothing(receiver: Served) -> None:
    made = receiver.create(
        "a@example.com", externalId="00u1", **{ENTERPRISE: {"department": "R", "manager": {"value": "m"}}}
    )
    answer = receiver.send("PUT", f"/Users/{made['id']}", made | {"groups": []})
    assert (answer.status_code, answer.json()) == (200, made)


def test_a_put_without_active_leaves_the_inactive_inactive(receiver: Served) -> None:
    made = receiver.create("a@example.com", externalId="00u1")
    assert receiver.send("PATCH", f"/Users/{made['id']}", deactivation()).json()["active"] is False
    body = okta_user("a@example.com", displayName="New")
    del body["active"]
    after = receiver.send("PUT", f"/Users/{made['id']}", body).json()
    assert (after["active"], after["displayName"]) == (False, "New")


@pytest.mark.parametrize("style", ["oin", "wizard"])
def test_a_person_leaves_and_comes_back_under_the_same_id(receiver: Served, style: str) -> None:
    made = receiver.create("a@example.com", externalId="00u1")
    url = f"/Users/{made['id']}"
    leave = ("PATCH", url, deactivation()) if style == "oin" else ("PUT", url, made | {"active": False})
    assert receiver.send(*leave).status_code == 200
    assert receiver.client.get(url).json()["active"] is False
    back = receiver.send("POST", "/Users", okta_user("a@example.com", externalId="00u1"))
    assert (back.status_code, back.json()["id"], back.json()["active"]) == (201, made["id"], True)


def test_a_put_to_an_unknown_id_creates_nothing(receiver: Served) -> None:
    url = "/Users/00000000-0000-4000-8000-000000000000"
    assert receiver.send("PUT", url, okta_user("a@example.com")).status_code == 404
    assert receiver.send("PATCH", url, deactivation()).status_code == 404
    assert receiver.send("DELETE", url).status_code == 404
    assert receiver.client.get("/Users").json()["totalResults"] == 0


def test_the_deleted_are_gone_for_scim_and_revived_by_their_external_id(receiver: Served) -> None:
    made = receiver.create("a@example.com", externalId="00u1")
    url = f"/Users/{made['id']}"
    gone = receiver.send("DELETE", url)
    assert (gone.status_code, gone.content) == (204, b"")
    assert receiver.client.get(url).status_code == 404
    assert receiver.send("PUT", url, made).status_code == 404
    assert receiver.send("DELETE", url).status_code == 404
    assert receiver.find('userName eq "a@example.com"')["totalResults"] == 0
    assert receiver.find('externalId eq "00u1"')["totalResults"] == 0
    assert receiver.find(f'id eq "{made["id"]}"')["totalResults"] == 0
    assert receiver.find('userName sw "a"')["totalResults"] == 0
    assert receiver.client.get("/Users").json()["totalResults"] == 0
    back = receiver.send("POST", "/Users", okta_user("a@example.com", externalId="00u1"))
    assert (back.status_code, back.json()["id"]) == (201, made["id"])


def test_pages_hold_everybody_once_while_people_come_and_go(receiver: Served) -> None:
    made = [receiver.create(f"u{n}@example.com")["id"] for n in range(7)]
    first = receiver.client.get("/Users?startIndex=1&count=3").json()
    receiver.create("new@example.com")
    receiver.send("PATCH", f"/Users/{made[0]}", deactivation())
    rest = [receiver.client.get(f"/Users?startIndex={start}&count=3").json() for start in (4, 7, 10)]
    seen = [user["id"] for page in (first, *rest) for user in page["Resources"]]
    assert seen[:7] == made
    assert len(seen) == len(set(seen)) == 8
    assert [page["itemsPerPage"] for page in rest] == [3, 2, 0]
    assert rest[-1] | {"schemas": []} == {
        "schemas": [],
        "totalResults": 8,
        "startIndex": 10,
        "itemsPerPage": 0,
        "Resources": [],
    }


@pytest.mark.parametrize(
    ("query", "start", "size"),
    [
        ("", 1, 3),
        ("count=0", 1, 0),
        ("count=-5", 1, 0),
        ("startIndex=0&count=1", 1, 1),
        ("startIndex=-3&count=2", 1, 2),
        ("COUNT=2&STARTINDEX=2", 2, 2),
        ("count=1000000000", 1, 3),
        ("count=99999999999999999999", 1, 3),
        ("count=" + "9" * 5000, 1, 3),
        ("count=-99999999999999999999", 1, 0),
        ("startIndex=000000000000000000000002", 2, 2),
        ("startIndex=99999999999999999999999", 10**18, 0),
        ("startIndex=999999999999999999", 999999999999999999, 0),
    ],
)
def test_odd_pages(receiver: Served, query: str, start: int, size: int) -> None:
    for n in range(3):
        receiver.create(f"u{n}@example.com")
    page = receiver.client.get(f"/Users?{query}").json()
    assert (page["startIndex"], page["itemsPerPage"], len(page["Resources"]), page["totalResults"]) == (
        start,
        size,
        size,
        3,
    )


@pytest.mark.parametrize(
    "query", ["count=%D9%A1%D9%A0", "count=1.5", "count=", "startIndex=1e3", "count=1&count=2", "filter=%FF", "filter="]
)
def test_what_cannot_be_a_page_is_refused(receiver: Served, query: str) -> None:
    answer = receiver.client.get(f"/Users?{query}")
    assert (answer.status_code, answer.json()["schemas"]) == (400, [ERROR])


def test_projections_apply_to_every_answer(receiver: Served) -> None:
    answer = receiver.send("POST", "/Users?attributes=userName", okta_user("a@example.com"))
    assert answer.json().keys() == {"schemas", "id", "userName"}
    url = f"/Users/{answer.json()['id']}"
    assert receiver.client.get(f"{url}?excludedAttributes=meta,emails").json().keys().isdisjoint({"meta", "emails"})
    listed = receiver.client.get("/Users?attributes=emails.value").json()["Resources"]
    assert listed[0].keys() == {"schemas", "id", "emails"}
    assert listed[0]["emails"] == [{"value": "a@example.com"}]
    assert receiver.client.get(f"{url}?attributes=id&excludedAttributes=meta").status_code == 400


def test_search_by_post_is_the_search_by_get(receiver: Served) -> None:
    for n in range(3):
        receiver.create(f"u{n}@example.com")
    wish = {"filter": 'userName sw "u"', "startIndex": 2, "count": 1, "attributes": ["userName"]}
    for path in ("/Users/.search", "/.search"):
        page = receiver.send("POST", path, wish).json()
        assert (page["totalResults"], page["startIndex"]) == (3, 2)
        assert [user["userName"] for user in page["Resources"]] == ["u1@example.com"]
    assert receiver.send("POST", "/.search", {"filter": 'foo eq "x"'}).json()["scimType"] == "invalidFilter"
    assert receiver.send("POST", "/.search", {"count": "5"}).status_code == 400
    assert receiver.send("POST", "/.search", {"count": 10**30}).json()["itemsPerPage"] == 3
    assert receiver.send("GET", "/.search").headers["allow"] == "POST"
    assert not [row for row in receiver.journal() if row[0] == "refused"]


def test_etags_guard_against_lost_updates_and_save_bodies(receiver: Served) -> None:
    made = receiver.create("a@example.com", externalId="00u1")
    url, tag = f"/Users/{made['id']}", made["meta"]["version"]
    assert receiver.send("GET", url, If_None_Match=tag).status_code == 304
    assert receiver.send("GET", url, If_None_Match='W/"0", "1"').status_code == 304
    changed = receiver.send("PUT", url, made | {"title": "x"}, If_Match=tag)
    assert changed.status_code == 200
    for method, body in (("PUT", made), ("PATCH", deactivation()), ("DELETE", None)):
        for stale in (tag, 'W/"stale-version"'):
            late = receiver.send(method, url, body, If_Match=stale)
            assert (late.status_code, late.json()["schemas"]) == (412, [ERROR])
    assert receiver.send("GET", url, If_None_Match=tag).json() == changed.json()
    assert (
        receiver.send("PATCH", url, patch({"op": "add", "path": "title", "value": "y"}), If_Match="*").status_code
        == 200
    )
    assert receiver.send("PUT", f"{url}x", made, If_Match=tag).status_code == 404


def test_a_refused_patch_changes_nothing_and_names_the_attribute(receiver: Served) -> None:
    made = receiver.create("a@example.com", externalId="00u1")
    url = f"/Users/{made['id']}"
    answer = receiver.send(
        "PATCH",
        url,
        patch({"op": "replace", "path": "title", "value": "x"}, {"op": "replace", "path": "emails", "value": "x"}),
    )
    assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidValue")
    assert "emails" in answer.json()["detail"]
    assert receiver.client.get(url).json() == made


def test_every_write_leaves_one_journal_row_with_its_request_id(receiver: Served) -> None:
    made = receiver.send("POST", "/Users", okta_user("a@example.com", externalId="00u1"))
    url = f"/Users/{made.json()['id']}"
    unknown = "/Users/00000000-0000-4000-8000-000000000000"
    attempts = [
        made,
        receiver.send("POST", "/Users", okta_user("a@example.com")),
        receiver.send("POST", "/Users", {"userName": "b@example.com"}),
        receiver.send("POST", "/Users", okta_user("no e-mail")),
        receiver.send("PATCH", url, patch({"op": "move"})),
        receiver.send("PATCH", url, patch({"op": "replace", "path": "title", "value": 5})),
        receiver.send("PUT", unknown, okta_user("c@example.com")),
        receiver.send("PUT", url, made.json(), If_Match='W/"9"'),
        receiver.send("POST", "/Groups", {"displayName": "x"}),
        receiver.send("PATCH", url, deactivation()),
        receiver.send("DELETE", url),
    ]
    expected = [(answer.headers["x-request-id"], "applied" if answer.is_success else "refused") for answer in attempts]
    assert [(row[2], row[0]) for row in receiver.journal()] == expected
    assert len({request_id for request_id, _ in expected}) == len(attempts)


def test_what_was_sent_is_in_no_refusal(receiver: Served) -> None:
    body = okta_user("secret-name", password="1mz050nq-SECRET", title={"secret": 1})
    answer = receiver.send("POST", "/Users", body)
    assert answer.status_code == 400
    for text in (answer.text, *(row[3] for row in receiver.journal())):
        assert "1mz050nq" not in text
        assert "secret" not in text.lower()


def test_opshelm_s_rules_are_named_in_the_answer(receiver: Served) -> None:
    no_email = receiver.send("POST", "/Users", okta_user("alice"))
    assert (no_email.status_code, no_email.json()["scimType"]) == (400, "invalidValue")
    assert "format Email" in no_email.json()["detail"]
    other = receiver.send(
        "POST", "/Users", okta_user("a@example.com") | {"emails": [{"value": "b@example.com", "primary": True}]}
    )
    assert other.status_code == 400
    assert "primary e-mail" in other.json()["detail"]


def test_a_tombstone_rename_passes_together_with_the_deactivation(receiver: Served) -> None:
    made = receiver.create("a@example.com", externalId="00u1")
    answer = receiver.send(
        "PATCH",
        f"/Users/{made['id']}",
        patch({"op": "replace", "value": {"active": False, "userName": "283405f5 a".replace(" ", "")}}),
    )
    assert (answer.status_code, answer.json()["active"]) == (200, False)


def test_a_push_that_does_not_speak_of_active_does_not_end_a_suspended_persons_ownership(
    sqlite_receiver: Served,
) -> None:
    """Only the policy made the account inactive, so the role waits for the person; a push that says so ends it."""
    receiver = sqlite_receiver
    made = receiver.create("a@example.com", externalId="00u1")
    url = f"/Users/{made['id']}"
    suspended = WriteContext(actor="test", source=Source.CLI, suspended=True)
    change = AccountChange(
        made["id"], lambda before: replace(before, active=False, suspended=True, role=Role.OWNER), suspended
    )
    receiver.directory.change(change, datetime.now(UTC)).result()
    silent = okta_user("a@example.com", title="Put")
    del silent["active"]
    for method, body in (
        ("PUT", silent),
        ("PATCH", patch({"op": "replace", "path": "title", "value": "Patched"})),
        ("PATCH", patch({"op": "replace", "value": {"nickName": "P"}})),
    ):
        assert receiver.send(method, url, body).json()["active"] is False
        user = receiver.directory.get(made["id"])
        assert user is not None
        assert (user.suspended, user.role) == (True, Role.OWNER), body
    for method, body in (("PUT", silent | {"active": False}), ("PATCH", deactivation())):
        assert receiver.send(method, url, body).json()["active"] is False
        user = receiver.directory.get(made["id"])
        assert user is not None
        assert (user.suspended, user.role) == (False, Role.MEMBER), body


def test_a_local_account_is_not_deleted_over_scim(receiver: Served) -> None:
    from agent.directory.port import Draft
    from agent.model.users import MultiValue, Profile

    draft = Draft(user_name="local@example.com", profile=Profile(emails=(MultiValue(value="local@example.com"),)))
    context = WriteContext(actor="operator", source=Source.CLI)
    local = receiver.directory.create(draft, context, datetime.now(UTC)).result().user
    assert receiver.send("DELETE", f"/Users/{local.id}").status_code == 403
    assert receiver.send("PATCH", f"/Users/{local.id}", deactivation()).status_code == 409
    taken = receiver.send("POST", "/Users", okta_user("local@example.com", externalId="00uATTACK"))
    assert (taken.status_code, taken.json()["scimType"]) == (409, "uniqueness")
    assert receiver.directory.get(local.id) == local


def test_fifty_creates_at_once_make_one_user(receiver: Served) -> None:
    import random
    from concurrent.futures import ThreadPoolExecutor

    name = "racing.name@example.com"
    bodies = [okta_user("".join(random.choice((c.upper(), c)) for c in name)) for _ in range(50)]
    with ThreadPoolExecutor(10) as pool:
        statuses = sorted(
            answer.status_code for answer in pool.map(lambda body: receiver.send("POST", "/Users", body), bodies)
        )
    assert statuses == [201] + [409] * 49
    assert receiver.client.get("/Users").json()["totalResults"] == 1
