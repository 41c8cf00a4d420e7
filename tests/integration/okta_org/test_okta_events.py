from datetime import UTC, datetime

import pytest

from agent.model.errors import OktaRejected, OktaUnreachable, UsageError
from agent.okta_org import UNREADABLE
from support.scripted import Say, links

LOGS = "/api/v1/logs"
SINCE = datetime(2026, 5, 1, tzinfo=UTC)


def event(number: int, **more) -> dict:
    target = [{"id": "00u1", "type": "User", "alternateId": "p1@example.com", "detailEntry": None}]
    return {
        "uuid": f"e{number}",
        "eventType": "application.user_membership.add",
        "published": "2026-05-01T00:00:01.000Z",
        "outcome": {"result": "FAILURE", "reason": "no answer"},
        "target": target,
        "securityContext": {"userBehaviors": [{"x": {}}]},
        **more,
    }


def test_the_log_goes_on_from_its_cursor_even_from_an_empty_page(server, org):
    def answer(asked):
        number = int(asked.target.partition("after=c")[2] or 0)
        body = [event(number)] if number == 0 else []
        return Say(body=body, headers=links(("self", "x"), ("next", f"{server.url}{LOGS}?after=c{number + 1}")))

    server.rule(LOGS, answer)
    events, cursor = org.log_events(since=SINCE, filter='target.id eq "0oa1"', limit=50)
    [found] = events
    assert (found.uuid, found.outcome.result, found.target[0].id) == ("e0", "FAILURE", "00u1")
    events, cursor = org.log_events(cursor=cursor)
    assert events == []
    org.log_events(cursor=cursor)
    assert server.targets()[1:] == [f"{LOGS}?after=c1", f"{LOGS}?after=c2"]
    assert "filter=target.id%20eq%20%220oa1%22" in server.targets()[0]


def test_an_answer_without_a_next_keeps_the_cursor(server, org):
    server.say(LOGS, Say(body=[]))
    cursor = f"{server.url}{LOGS}?after=c1"
    assert org.log_events(cursor=cursor) == ([], cursor)


def test_an_unreadable_event_does_not_cost_the_others(server, org):
    server.say(LOGS, Say(body=[event(1), event(2, target={"id": 5}), event(3, target=None)]))
    events, _ = org.log_events(since=SINCE)
    assert [found.event_type for found in events] == [event(1)["eventType"], UNREADABLE, event(3)["eventType"]]


@pytest.mark.parametrize("cursor", ["https://elsewhere.example/api/v1/logs?after=x", "//elsewhere.example/api/v1/logs"])
def test_a_stored_cursor_that_leads_elsewhere_is_refused(server, org, cursor):
    with pytest.raises(OktaRejected):
        org.log_events(cursor=cursor)
    assert server.asked == []


def test_a_stored_cursor_of_another_listing_is_refused(server, org):
    with pytest.raises(UsageError):
        org.log_events(cursor=f"{server.url}/api/v1/users?after=x")


def test_a_cursor_too_old_is_an_error_that_shows_its_status(server, org):
    server.say(LOGS, Say(400, {"errorCode": "E0000031", "errorSummary": "Invalid since"}))
    with pytest.raises(OktaRejected) as caught:
        org.log_events(since=SINCE)
    assert caught.value.status == 400


def test_a_broken_page_is_no_empty_page(server, org):
    server.rule(LOGS, lambda _asked: Say(200, b""))
    with pytest.raises(OktaUnreachable):
        org.log_events(since=SINCE)
