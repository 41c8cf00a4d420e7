"""The few ways in which Okta is written to: refused, done, or unknown, and never sent twice."""

import pytest
from test_okta_listing import person

from agent.model.errors import OktaDenied, OktaRejected, OktaUnreachable
from support.scripted import APP, Say, okta_error

PROFILE = {"login": "p1@example.com", "email": "p1@example.com", "firstName": "P", "lastName": None}
USER = {"id": "00u1", "status": "STAGED", "profile": PROFILE}
USERS = "/api/v1/users"
APP_USERS = f"/api/v1/apps/{APP}/users"

WRITES = {
    "create": (USERS, lambda org: org.create_user(PROFILE, activate=False)),
    "assign": (APP_USERS, lambda org: org.assign("00u1", "p1@example.com")),
    "activate": (f"{USERS}/00u1/lifecycle/activate", lambda org: org.activate_user("00u1")),
    "group": ("/api/v1/groups/00g1/users/00u1", lambda org: org.add_to_group("00g1", "00u1")),
    "hook": ("/api/v1/eventHooks", lambda org: org.create_event_hook("https://x.example", "s", ["a"], "n")),
    "verify": ("/api/v1/eventHooks/who1/lifecycle/verify", lambda org: org.verify_event_hook("who1")),
}

every_write = pytest.mark.parametrize(("path", "write"), WRITES.values(), ids=WRITES)


def test_a_user_is_created_staged_unless_asked_for_otherwise(server, org):
    server.say(f"{USERS}?activate=false", Say(200, USER))
    server.say(f"{USERS}?activate=true", Say(201, {**USER, "status": "ACTIVE"}))
    assert org.create_user(PROFILE, activate=False).status == "STAGED"
    assert org.create_user(PROFILE, activate=True, groups=["00g1"]).status == "ACTIVE"
    first, second = server.asked
    assert first.json() == {"profile": PROFILE}  # the null arrives: an attribute can be cleared
    assert second.json() == {"profile": PROFILE, "groupIds": ["00g1"]}


def test_assigning_names_the_user_and_the_username(server, org):
    server.say(APP_USERS, Say(200, person(1, status="STAGED", externalId=None)))
    found = org.assign("00u1", "p1@example.com")
    assert (found.status, found.external_id) == ("STAGED", None)
    assert server.asked[0].json() == {"id": "00u1", "scope": "USER", "credentials": {"userName": "p1@example.com"}}


def test_activating_and_adding_to_a_group_need_no_body_in_the_answer(server, org):
    server.say(f"{USERS}/00u1/lifecycle/activate?sendEmail=false", Say(200, b"{}"))
    server.say("/api/v1/groups/00g1/users/00u1", Say(204))
    org.activate_user("00u1", send_email=False)
    org.add_to_group("00g1", "00u1")
    assert [asked.method for asked in server.asked] == ["POST", "PUT"]


def test_a_hook_is_made_with_its_secret_and_verified(server, org):
    hook = {"id": "who1", "name": "n", "status": "ACTIVE", "verificationStatus": "UNVERIFIED"}
    channel = {"channel": {"config": {"uri": "https://x.example/h"}}, "events": {"items": ["a"]}}
    server.say("/api/v1/eventHooks", Say(200, {**hook, **channel}), Say(200, [{**hook, **channel}]))
    server.say("/api/v1/eventHooks/who1/lifecycle/verify", Say(200, {**hook, "verificationStatus": "VERIFIED"}))
    assert org.create_event_hook("https://x.example/h", "hush", ["a"], "n").verification_status == "UNVERIFIED"
    config = server.asked[0].json()["channel"]["config"]
    assert config["authScheme"] == {"type": "HEADER", "key": "Authorization", "value": "hush"}
    assert org.event_hooks()[0].channel.config.uri == "https://x.example/h"
    assert org.verify_event_hook("who1").verification_status == "VERIFIED"


@every_write
@pytest.mark.parametrize(
    "lost",
    [Say(500), Say(502, b"<html>", json=False), Say(504), Say(hang_up=True), Say(200, b'{"id":"0', cut_after=4)],
    ids=["500", "502", "504", "hung up", "cut"],
)
def test_a_lost_answer_may_mean_done_and_is_not_sent_again(server, org, waits, path, write, lost):
    server.say(path, lost)
    with pytest.raises(OktaUnreachable) as caught:
        write(org)
    assert caught.value.maybe_done
    assert len(server.asked) == 1
    assert waits == []


@pytest.mark.parametrize("write", [WRITES["create"][1], WRITES["assign"][1]])
def test_a_success_that_cannot_be_read_may_mean_done(server, org, write):
    server.rule(USERS, lambda _asked: Say(200, b""))
    server.rule(APP_USERS, lambda _asked: Say(200, b""))
    with pytest.raises(OktaUnreachable) as caught:
        write(org)
    assert caught.value.maybe_done
    assert len(server.asked) == 1


@every_write
def test_a_429_means_not_done_and_is_sent_again_later(server, org, waits, path, write):
    good = Say(200, USER) if path != APP_USERS else Say(200, person(1))
    server.say(path, Say(429, okta_error("E0000047"), headers=[("Retry-After", "9")]), good)
    write(org)
    assert len(server.asked) == 2
    assert waits == [9.5]


@every_write
def test_a_refusal_is_told_apart_and_carries_oktas_code(server, org, path, write):
    server.say(path, Say(400, okta_error("E0000001", "Api validation failed: x", "x: bad")))
    with pytest.raises(OktaRejected, match="x: bad") as caught:
        write(org)
    assert caught.value.okta_code == "E0000001"


def test_a_connection_never_made_proves_that_nothing_was_done(connect, server):
    from support.scripted import Scripted

    gone = Scripted()
    gone.close()
    org = connect(org_url=gone.url)
    with pytest.raises(OktaUnreachable) as caught:
        org.create_user(PROFILE, activate=False)
    assert not caught.value.maybe_done


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            400,
            okta_error(
                "E0000001",
                "Api validation failed: login",
                "login: An object with this field already exists in the current organization",
            ),
            "has a user with this login",
        ),
        (
            403,
            okta_error(
                "E0000075",
                "Cannot modify the firstName attribute because it has a field mapping and profile push is enabled.",
            ),
            "change the Okta user instead",
        ),
        (403, okta_error("E0000046", "Deactivate application for user forbidden."), "out of the group"),
        (
            403,
            okta_error("E0000023", "Operation failed because user profile is mastered under another system"),
            "change it there",
        ),
        (409, okta_error("E0000112", "still being activated"), "try again in a minute"),
    ],
)
def test_what_okta_masters_or_forbids_is_explained(server, org, status, body, words):
    server.say(APP_USERS, Say(status, body))
    with pytest.raises(OktaRejected, match=words):
        org.assign("00u1", "p1@example.com", {"x": 1})


def test_a_right_that_is_missing_is_named(server, org):
    server.say(USERS, Say(403, okta_error("E0000006", "You do not have permission")))
    with pytest.raises(OktaDenied, match=r"okta\.users\.manage and okta\.groups\.manage"):
        org.create_user(PROFILE, activate=False, groups=["00g1"])
