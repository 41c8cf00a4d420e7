"""The System Log as it is polled, and event hooks: verification, secret, retry, storms."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from agent.simulator import SimulatedOrg

ADD = "application.user_membership.add"


class Receiver:
    """A hook's endpoint. ``statuses`` are answered one by one, then 204; ``echo`` answers the challenge."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.secrets: list[str | None] = []
        self.statuses: list[int] = []
        self.echo: Callable[[str], str] = lambda challenge: challenge
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                challenge = self.headers["x-okta-verification-challenge"]
                self.answer(200, json.dumps({"verification": owner.echo(challenge)}).encode())

            def do_POST(self) -> None:
                owner.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                owner.secrets.append(self.headers["Authorization"])
                self.answer(owner.statuses.pop(0) if owner.statuses else 204, b"")

            def answer(self, status: int, content: bytes) -> None:
                self.send_response(status)
                if status != 204:
                    self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/hooks/okta"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def events(self) -> list[dict[str, Any]]:
        return [event for body in self.bodies for event in body["data"]["events"]]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


def make_hook(org: SimulatedOrg, url: str, *items: str) -> str:
    config = {"uri": url, "authScheme": {"type": "HEADER", "key": "Authorization", "value": "hush"}}
    body = {
        "name": "agent",
        "events": {"type": "EVENT_TYPE", "items": list(items or (ADD,))},
        "channel": {"type": "HTTP", "version": "1.0.0", "config": config},
    }
    made = org.api("POST", "/eventHooks", body)
    assert "hush" not in json.dumps(made), "the secret is never echoed"
    return str(made["id"])


def verify(org: SimulatedOrg, hook: str) -> Any:
    return org.api("POST", f"/eventHooks/{hook}/lifecycle/verify")


def reassign_somebody(org: SimulatedOrg) -> str:
    okta_id = str(org.state()[0]["okta_id"])
    if org.state()[0]["app_user"]:
        org.api("DELETE", f"/apps/{org.app_id}/users/{okta_id}")
    org.api("POST", f"/apps/{org.app_id}/users", {"id": okta_id})
    return okta_id


def test_a_verified_hook_gets_its_events_with_the_secret_verbatim(org: SimulatedOrg, receiver: Receiver) -> None:
    hook = make_hook(org, receiver.url)
    reassign_somebody(org)
    org.wait_idle()
    assert receiver.bodies == [], "nothing before the verification"
    assert verify(org, hook)["verificationStatus"] == "VERIFIED"
    okta_id = reassign_somebody(org)
    org.wait_idle()
    assert [event["eventType"] for event in receiver.events()] == [ADD]
    targets = {target["type"]: target["id"] for target in receiver.events()[0]["target"]}
    assert targets == {"AppUser": f"0ua{okta_id[3:]}", "AppInstance": org.app_id, "User": okta_id}
    assert receiver.secrets == ["hush"]
    assert receiver.bodies[0]["eventType"] == "com.okta.event_hook"
    assert receiver.bodies[0]["source"].endswith(f"/api/v1/eventHooks/{hook}")
    logged = org.api("GET", f'/logs?filter=eventType eq "{ADD}"&sortOrder=DESCENDING&limit=1')[0]
    assert receiver.events()[0] == logged


def test_a_wrong_answer_to_the_challenge_leaves_the_hook_unverified(org: SimulatedOrg, receiver: Receiver) -> None:
    receiver.echo = lambda _: "something else"
    hook = make_hook(org, receiver.url)
    with pytest.raises(httpx.HTTPStatusError) as refused:
        verify(org, hook)
    assert refused.value.response.json()["errorCode"] == "E0000001"
    assert org.api("GET", f"/eventHooks/{hook}")["verificationStatus"] == "UNVERIFIED"


@pytest.mark.parametrize(("status", "deliveries"), [(503, 2), (400, 1), (204, 1)])
def test_a_delivery_is_retried_once_and_only_after_a_5xx(
    org: SimulatedOrg, receiver: Receiver, status: int, deliveries: int
) -> None:
    verify(org, make_hook(org, receiver.url))
    receiver.statuses = [status] * 5
    reassign_somebody(org)
    org.wait_idle()
    assert len(receiver.bodies) == deliveries
    assert len({body["eventId"] for body in receiver.bodies}) == 1


def test_an_inactive_hook_gets_nothing(org: SimulatedOrg, receiver: Receiver) -> None:
    hook = make_hook(org, receiver.url)
    verify(org, hook)
    org.api("POST", f"/eventHooks/{hook}/lifecycle/deactivate")
    reassign_somebody(org)
    org.wait_idle()
    assert receiver.bodies == []


def test_a_type_that_no_hook_may_have_is_refused(org: SimulatedOrg) -> None:
    with pytest.raises(httpx.HTTPStatusError):
        make_hook(org, "https://example.com/h", "application.user_membership.provision")


def test_a_storm_reaches_the_log_and_the_hook_doubled_and_shuffled(org: SimulatedOrg, receiver: Receiver) -> None:
    types = ["application.user_membership.add", "application.user_membership.update", "user.lifecycle.suspend"]
    verify(org, make_hook(org, receiver.url, *types))
    before = org.state()
    made = org.events(count=300, duplicate=0.5, shuffle=True)
    org.wait_idle()
    logged = org.api("GET", "/logs?limit=1000")
    assert len(logged) == made["events"] > 400
    assert len({event["uuid"] for event in logged}) == 300
    wanted = [event["uuid"] for event in logged if event["eventType"] in types]
    assert sorted(event["uuid"] for event in receiver.events()) == sorted(wanted)
    assert org.state() == before, "a storm changes nobody"


def poll(client: httpx.Client, url: str) -> tuple[list[str], str]:
    """Event types of one page, and its ``next``; a poll always has one."""
    answer = client.get(url)
    answer.raise_for_status()
    following = [link[1:].partition(">")[0] for link in answer.headers.get_list("link") if 'rel="next"' in link]
    assert len(following) == 1
    return [event["eventType"] for event in answer.json()], following[0]


def test_polling_always_has_a_next_and_misses_nothing(org: SimulatedOrg) -> None:
    with httpx.Client(base_url=f"{org.url}/api/v1", headers={"Authorization": f"SSWS {org.token}"}) as client:
        seen, url = poll(client, "/logs?limit=2")
        assert seen == []
        seen, url = poll(client, url)
        assert seen == []
        reassign_somebody(org)
        okta_id = org.state()[0]["okta_id"]
        org.api("POST", f"/users/{okta_id}/lifecycle/suspend")
        first, url = poll(client, url)
        assert first == ["application.user_membership.remove", ADD]
        rest, url = poll(client, url)
        assert rest == ["user.lifecycle.suspend"]
        assert poll(client, url)[0] == []


def test_a_filtered_poll_passes_over_what_it_does_not_want(org: SimulatedOrg) -> None:
    with httpx.Client(base_url=f"{org.url}/api/v1", headers={"Authorization": f"SSWS {org.token}"}) as client:
        wanted = f'target.id eq "{org.app_id}" and eventType sw "application.user_membership.a"'
        _, url = poll(client, str(httpx.URL("/logs", params={"filter": wanted})))
        reassign_somebody(org)
        org.api("POST", f"/users/{org.state()[1]['okta_id']}/lifecycle/suspend")
        seen, url = poll(client, url)
        assert seen == [ADD]
        assert poll(client, url)[0] == []


def test_a_bounded_request_ends(org: SimulatedOrg) -> None:
    reassign_somebody(org)
    headers = {"Authorization": f"SSWS {org.token}"}
    query = {"since": "2026-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}
    since = httpx.get(f"{org.url}/api/v1/logs", params={**query, "since": _recent()}, headers=headers)
    assert [event["eventType"] for event in since.json()] == ["application.user_membership.remove", ADD]
    assert [link for link in since.headers.get_list("link") if "next" in link] == []
    both = httpx.get(f"{org.url}/api/v1/logs", params={"since": _recent(), "after": "000u0"}, headers=headers)
    assert both.status_code == 400


def _recent() -> str:
    from datetime import UTC, datetime, timedelta

    return (datetime.now(UTC) - timedelta(hours=1)).isoformat()
