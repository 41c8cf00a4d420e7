"""Several calls of a run at once: what one of them meets is no matter of the others, nor of whoever pushes meanwhile."""

import threading
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from agent.directory.port import Draft, WriteContext
from agent.directory.remote.directory import RemoteDirectory
from agent.model.codes import Source
from agent.model.users import DirectoryUser
from agent.reconcile import RunReport
from agent.store import account
from support.remotes import Held
from support.sloppy import Call, Sloppy
from support.world import World


def ids(world: World, count: int) -> list[str]:
    return [world.account(person["login"]).id for person in world.people()[:count]]


def states(world: World) -> list[str]:
    """Of the newest plan's actions."""
    rows = world.sql("select state from actions where plan_id = (select max(plan_id) from actions) order by n")
    return [row[0] for row in rows]


def managed_active(world: World) -> int:
    with world.store.read() as conn:
        return account.get(conn).managed_active


def one_call_at_a_time(world: World) -> RemoteDirectory:
    """For the run, so that its second call begins when the first one has ended; answers another process's directory."""
    world.restart(directory={"concurrency": 1})
    return world.beside()


def second(method: str) -> Callable[[str, str, object], bool]:
    """For ``Held``: the second call of this method."""
    calls: list[str] = []

    def held(called: str, path: str, _: object) -> bool:
        calls.extend([path] if called == method else [])
        return called == method and len(calls) == 2

    return held


def test_an_etag_that_no_header_can_carry_is_not_sent_back(world: World, sloppy: Sloppy) -> None:
    people = ids(world, 4)
    for user_id in people:
        sloppy.users[user_id]["title"] = "Drifted"
    sloppy.shape_user = lambda user: user | {"meta": user["meta"] | {"version": 'W/"\xe9"'}}
    assert world.reconcile().outcome.value == "applied"
    assert [sloppy.users[user_id].get("title") == "Drifted" for user_id in people] == [False] * 4
    assert not any("if-match" in call.headers for call in sloppy.calls if call.method == "PATCH")


def test_what_others_of_a_wave_did_is_kept_when_one_meets_what_nobody_foresaw(world: World, sloppy: Sloppy) -> None:
    people = ids(world, 4)
    for user_id in people:
        sloppy.users[user_id]["title"] = "Drifted"
    transport = world.directory.transport
    route = transport.route

    def broken(request: httpx.Request) -> httpx.Response:
        if request.method == "PATCH" and request.url.path.endswith(people[1]):
            raise ZeroDivisionError("a defect")
        return route.handle_request(request)

    transport.route = httpx.MockTransport(broken)
    with pytest.raises(ZeroDivisionError):
        world.reconcile()
    assert sorted(states(world)) == ["done", "done", "done", "sent"]
    transport.route = route
    world.ahead += timedelta(minutes=10)
    assert world.reconcile().outcome.value == "applied"
    assert sloppy.users[people[1]]["title"] != "Drifted"
    assert world.reconcile().outcome.value == "in_step"


def test_an_account_that_a_run_makes_belongs_to_okta_for_whoever_pushes_before_the_run_goes_on(
    world: World, sloppy: Sloppy
) -> None:
    """Okta links and deactivates a person between two creates of one wave; both are counted, and stay."""
    names = [person["login"] for person in world.people()[:2]]
    for name in names:
        del sloppy.users[world.account(name).id]
    beside = one_call_at_a_time(world)
    held, reports = Held(world.directory, second("POST")), list[RunReport]()
    run = threading.Thread(target=lambda: reports.append(world.reconcile()))
    run.start()
    held.wait()
    made = next(user for user in sloppy.users.values() if user["userName"] in names)
    context = WriteContext(actor="key", source=Source.PUSH)

    def push(active: bool) -> DirectoryUser:
        def wanted(before: DirectoryUser) -> Draft:
            assert before.managed
            return Draft(user_name=before.user_name, profile=before.profile, active=active, okta_id=before.okta_id)

        return beside.modify(made["id"], wanted, context, world.now()).result(30).user

    assert [push(True).active, push(False).active] == [True, False]
    held.release()
    run.join(30)
    beside.close()
    assert reports[0].outcome.value == "applied"
    truth = sum(bool(u["active"]) for u in sloppy.users.values() if u.get("externalId"))
    assert (made["active"], managed_active(world)) == (False, truth)
    assert world.accounts()[made["userName"]].active is False
    assert managed_active(world) == truth


def test_a_reactivation_of_a_wave_is_counted_while_another_is_still_under_way(world: World, sloppy: Sloppy) -> None:
    """So that a list that is read meanwhile counts it once."""
    for user_id in ids(world, 2):
        sloppy.users[user_id]["active"] = False
    beside = one_call_at_a_time(world)
    held = Held(world.directory, second("PATCH"))
    run = threading.Thread(target=world.reconcile)
    run.start()
    held.wait()
    for _ in beside.everyone():
        pass
    held.release()
    run.join(30)
    beside.close()
    assert managed_active(world) == sum(bool(u["active"]) for u in sloppy.users.values() if u.get("externalId"))


def test_a_call_is_as_old_as_itself_and_not_as_its_run(
    world: World, sloppy: Sloppy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else another process would give up the last calls of a long run as soon as they are made."""
    for person in world.people()[:2]:
        del sloppy.users[world.account(person["login"]).id]
    one_call_at_a_time(world).close()
    newest = "select coalesce(max(id), 0) from intents"
    before = world.sql(newest).scalar_one()
    passed = timedelta()

    def ten_minutes_a_post(_: Sloppy, call: Call) -> None:
        nonlocal passed
        passed += timedelta(minutes=10 if call.method == "POST" else 0)

    sloppy.scripted = ten_minutes_a_post
    monkeypatch.setattr("agent.directory.remote.batches.ticking", lambda now: lambda: now + passed)
    assert world.reconcile().outcome.value == "applied"
    first, second_one = world.sql(f"select at from intents where id > {before} order by id").scalars()
    assert (second_one - first) / 1_000_000 > 590
