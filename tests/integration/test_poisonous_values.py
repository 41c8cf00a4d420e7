"""One odd value harms its own person: the others are pushed, swept and applied as if it weren't there. On both databases."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.model.codes import FindingCode, HeldCode
from agent.settings import Settings
from agent.store import attention
from agent.store.journal import Signature
from support.receiver import PATCH_OP, Served, okta_user, served
from support.world import World, open_world

#: 18 characters of each, in the form that names are compared in.
SWELLING = "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}"


@pytest.fixture
def receiver(database_url: str) -> Iterator[Served]:
    with served(database_url, receiver={"ascii_usernames": False}) as running:
        yield running


@pytest.fixture
def w(tmp_path: Path, database_url: str) -> Iterator[World]:
    with open_world(tmp_path, users=6, url=database_url, reconcile={"page_size": 3}) as made:
        made.first_run()
        yield made


def emails(*values: str) -> list[dict[str, Any]]:
    return [{"value": value, "primary": not n} for n, value in enumerate(values)]


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"externalId": "me"}, "externalId"),
        ({"externalId": "."}, "externalId"),
        ({"externalId": ".."}, "externalId"),
        ({"externalId": "x" * 256}, "externalId"),
        ({"name": {"givenName": "A\x00B"}}, "name.givenName"),
        ({"emails": emails("a@example.com", "x" * 3000 + "@example.com")}, "emails.value"),
        ({"emails": emails("a@example.com", *(f"a{n}@example.com" for n in range(10_000)))}, "emails"),
        ({"addresses": [{"locality": "x", "type": str(n)} for n in range(101)]}, "addresses"),
        ({"phoneNumbers": [{"value": str(n)} for n in range(101)]}, "phoneNumbers"),
        ({"title": "x" * 8193}, "title"),
    ],
)
def test_a_push_of_it_is_refused_with_its_name_and_the_next_one_is_taken(
    receiver: Served, said: dict[str, Any], named: str
) -> None:
    made = receiver.create("b@example.com")
    posted = receiver.send("POST", "/Users", okta_user("a@example.com", **said))
    assert (posted.status_code, posted.json()["scimType"]) == (400, "invalidValue")
    assert named in posted.json()["detail"]
    operations = [{"op": "replace", "value": said}]
    if "emails" in said:
        said = {"emails": [{"value": "b@example.com", "primary": True}, *said["emails"][1:]]}
        operations = [{"op": "replace", "path": "emails", "value": said["emails"]}]
    patched = receiver.send("PATCH", f"/Users/{made['id']}", {"schemas": [PATCH_OP], "Operations": operations})
    assert patched.status_code == 400, patched.text
    assert receiver.send("POST", "/Users", okta_user("c@example.com")).status_code == 201


def test_half_a_surrogate_pair_is_refused_with_its_name(receiver: Served) -> None:
    raw = b'{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"a@example.com","title":"\\ud800"}'
    answer = receiver.client.post("/Users", content=raw, headers={"Content-Type": "application/scim+json"})
    assert (answer.status_code, "title" in answer.json()["detail"]) == (400, True)


def test_a_name_that_grows_where_it_is_compared_is_refused(receiver: Served) -> None:
    answer = receiver.send("POST", "/Users", okta_user(SWELLING * 100 + "@example.com"))
    assert (answer.status_code, "userName" in answer.json()["detail"]) == (400, True)


def test_who_was_too_large_already_can_still_be_deactivated(database_url: str) -> None:
    many = emails("a@example.com", *(f"a{n}@example.com" for n in range(200)))
    with served(database_url, receiver={"max_values": 1000}) as receiver:
        made = receiver.create("a@example.com", emails=many)
        receiver.create("b@example.com")
        receiver.directory.renew(Settings(), Signature(actor="test", source="test", at=datetime.now(UTC)))
        off = {"schemas": [PATCH_OP], "Operations": [{"op": "replace", "value": {"active": False}}]}
        assert receiver.send("PATCH", f"/Users/{made['id']}", off).status_code == 200


@pytest.mark.parametrize("odd", ["me", "x" * 64, "HR 4711", "..", "00u1"])
def test_an_id_that_okta_never_gave_is_never_asked_about(w: World, odd: str) -> None:
    """``me`` is the token's owner, and anything else could be somebody's short login."""
    account = w.local("odd@example.com")
    w.sql("UPDATE users SET origin = 'linked', okta_id = :odd WHERE id = :id", odd=odd, id=account.id)
    w.sql("UPDATE account SET managed_active = managed_active + 1")
    person = w.take()
    w.org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Captain"}})
    report = w.reconcile()
    assert w.account(person["login"]).profile.title == "Captain"
    [action] = [action for action in report.plan.plan.actions if action.login == "odd@example.com"]
    assert (action.held, w.account("odd@example.com").active) == (HeldCode.ABSENCE_NOT_PROVABLE, True)


@pytest.mark.parametrize("others", [0, 1])
def test_a_look_at_an_id_that_okta_never_gave_is_over_at_once(w: World, others: int) -> None:
    """It was made anew every two seconds, and the daemon said that it isn't ready."""
    account, now = w.local("odd@example.com"), w.now()
    w.sql("UPDATE users SET origin = 'linked', okta_id = 'HR 4711' WHERE id = :id", id=account.id)
    named = {"okta_id": "HR 4711", "directory_id": account.id, "not_before": now, "now": now}
    w.store.write(lambda conn: attention.add(conn, reason=attention.CONFIRM_REUSE, **named))
    people = [w.take()["okta_id"] for _ in range(others)]
    w.store.write(lambda conn: attention.add_events(conn, people, now))
    w.reconciler.look(apply=True)
    with w.store.read() as conn:
        assert attention.waiting(conn) == 0


@pytest.mark.parametrize(
    "poison",
    [
        {"profile": {"givenName": "A\x00B"}},
        {"credentials": {"userName": "x" * 3000 + "@example.com"}},
        {"credentials": {"userName": "\x00@example.com"}},
    ],
)
def test_what_okta_says_of_one_person_is_reported_and_the_sweep_goes_on(w: World, poison: dict[str, Any]) -> None:
    odd, other = w.take(), w.take()
    w.org.set_app_user(odd["okta_id"], **poison)
    w.org.api("POST", f"/users/{other['okta_id']}", {"profile": {"title": "Captain"}})
    report = w.reconcile()
    assert report.outcome == "applied", report
    assert FindingCode.LEFT_ALONE in w.findings_for(report, odd["okta_id"])
    assert (w.account(odd["login"]).active, w.account(other["login"]).profile.title) == (True, "Captain")
