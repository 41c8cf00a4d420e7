"""Updates and links of a run go together: what the mirror is sure of costs one call or none, and all else is read as ever."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from agent.directory.port import Draft, WriteContext, Written
from agent.directory.remote.unfinished import GRACE
from agent.model.codes import Source
from agent.model.users import DirectoryUser
from agent.settings import Settings
from agent.store.journal import Signature
from support.remotes import QUICK, Held
from support.sloppy import Body, Call, Reply, Sloppy, error
from support.world import World

Hook = Callable[[Sloppy, Call], Reply | None]


def drift(world: World, sloppy: Sloppy, **values: Any) -> list[str]:
    """Everybody's account is changed at the remote; answers their ids."""
    ids = [world.account(person["login"]).id for person in world.people()]
    for user_id in ids:
        sloppy.users[user_id] |= {"title": "Drifted", **values}
        meta = sloppy.users[user_id]["meta"]
        sloppy.users[user_id]["meta"] = meta | {"version": f'W/"{int(meta["version"][3:-1]) + 1}"'}
    sloppy.calls.clear()
    return ids


def forget_everybody(world: World) -> None:
    """As before the agent's first look at that remote."""
    for table in ("mirror", "user_emails", "users", "departed"):
        world.sql(f"delete from {table}")
    world.sql("update account set managed_active = 0, active_owners = 0, visible = 0")


def reads(sloppy: Sloppy) -> int:
    """Of single accounts."""
    return sum(call.method == "GET" and call.path.startswith("/Users/") for call in sloppy.calls)


def drifted(sloppy: Sloppy, ids: list[str]) -> int:
    return sum(sloppy.users[user_id].get("title") == "Drifted" for user_id in ids)


def listed_otherwise(shown: Callable[[Body], Body]) -> Hook:
    """What a list shows of an account."""

    def hook(server: Sloppy, call: Call) -> Reply | None:
        if call.method != "GET" or call.path != "/Users":
            return None
        body = json.loads(server.apply(call).content)
        return Reply(200, body | {"Resources": [shown(user) for user in body["Resources"]]})

    return hook


def answered_otherwise(shown: Callable[[Body], Body]) -> Hook:
    """What the answer to a change shows of the account."""
    return lambda server, call: Reply(200, shown(json.loads(server.apply(call).content))) if call.writes else None


def test_a_repair_costs_one_call(world: World, sloppy: Sloppy) -> None:
    ids = drift(world, sloppy)
    assert world.reconcile().outcome.value == "applied"
    assert (drifted(sloppy, ids), reads(sloppy), sloppy.count("PATCH")) == (0, 0, len(ids))
    assert all("if-match" in call.headers for call in sloppy.calls if call.method == "PATCH")
    assert world.reconcile().outcome.value == "in_step"


def test_a_link_that_the_list_shows_costs_none(world: World, sloppy: Sloppy) -> None:
    people = len(world.people())
    forget_everybody(world)
    sloppy.calls.clear()
    report = world.reconcile()
    assert (report.outcome.value, report.counts["link"]) == ("applied", people)
    assert {(call.method, call.path) for call in sloppy.calls} <= {("GET", "/Users"), ("GET", "/ServiceProviderConfig")}
    assert world.sql("select count(*) from users where origin = 'linked'").scalar_one() == people
    assert world.reconcile().outcome.value == "in_step"


def test_an_external_id_that_only_a_read_by_id_shows_is_not_overwritten(world: World, sloppy: Sloppy) -> None:
    ids = [world.account(person["login"]).id for person in world.people()]
    forget_everybody(world)
    for user_id in ids:
        sloppy.users[user_id]["externalId"] = f"other-{user_id}"
    sloppy.scripted = listed_otherwise(lambda user: {k: v for k, v in user.items() if k != "externalId"})
    report = world.reconcile()
    assert report.counts["stale"] == len(ids)
    assert [sloppy.users[user_id]["externalId"] for user_id in ids] == [f"other-{user_id}" for user_id in ids]


def test_an_account_that_is_gone_stops_no_other_one(world: World, sloppy: Sloppy) -> None:
    ids = drift(world, sloppy)

    def gone(server: Sloppy, call: Call) -> None:
        if call.writes:
            server.users.pop(ids[2], None)

    sloppy.scripted = gone
    report = world.reconcile()
    assert (report.counts["done"], report.counts["stale"]) == (len(ids) - 1, 1)


@pytest.mark.parametrize("etags", [True, False])
def test_a_yes_that_did_nothing_is_no_success(world: World, sloppy: Sloppy, etags: bool) -> None:
    if not etags:
        sloppy.shape_user = lambda user: {k: v for k, v in user.items() if k != "meta"}
    ids = drift(world, sloppy)
    sloppy.scripted = lambda server, call: (
        Reply(200, server.users[ids[3]]) if call.method == "PATCH" and call.path.endswith(ids[3]) else None
    )
    report = world.reconcile()
    assert (report.counts["done"], report.counts["failed"]) == (len(ids) - 1, 1)
    assert drifted(sloppy, ids) == 1
    errors = world.sql("select error from actions where state = 'failed'").scalars().all()
    assert ["said that it had made the change" in error for error in errors] == [True]


@pytest.mark.parametrize(
    "lie",
    [
        lambda user: user | {"userName": "somebody@example.org", "active": False},
        lambda user: user | {"roles": [{"value": "owner"}]},
        lambda user: {k: v for k, v in user.items() if k != "emails"},
        lambda user: {k: v for k, v in user.items() if k != "active"},
        lambda user: {k: v for k, v in user.items() if k != "meta"},
        lambda _: {},
    ],
    ids=["another name, inactive", "an owner", "no e-mails", "no active", "no version", "nothing"],
)
def test_an_answer_that_shows_anything_else_proves_nothing(
    world: World, sloppy: Sloppy, lie: Callable[[Body], Body]
) -> None:
    ids = drift(world, sloppy)
    kept = world.sql("select managed_active, active_owners from account").one()
    sloppy.scripted = answered_otherwise(lie)
    assert world.reconcile().outcome.value == "applied"
    assert (drifted(sloppy, ids), reads(sloppy)) == (0, len(ids))
    verbs = world.sql("select distinct verb from journal where kind = 'applied'")
    assert "deactivate" not in verbs.scalars().all()
    assert world.sql("select managed_active, active_owners from account").one() == kept
    sloppy.scripted = None
    assert world.reconcile().outcome.value == "in_step"


def test_what_somebody_changes_between_the_list_and_the_call_is_kept(world: World, sloppy: Sloppy) -> None:
    ids = drift(world, sloppy)

    def meanwhile(server: Sloppy, call: Call) -> Reply | None:
        user = server.users[ids[0]]
        if call.method == "PATCH" and "nickName" not in user:
            server.users[ids[0]] |= {"nickName": "Annie", "meta": user["meta"] | {"version": 'W/"90"'}}
        return None

    sloppy.scripted = meanwhile
    assert world.reconcile().outcome.value == "applied"
    assert (drifted(sloppy, ids), sloppy.users[ids[0]].get("nickName")) == (0, "Annie")


def test_a_remote_whose_lists_show_other_versions_than_its_writes_want_is_read_first(
    world: World, sloppy: Sloppy
) -> None:
    sloppy.scripted = listed_otherwise(lambda user: user | {"meta": user["meta"] | {"version": "abc"}})
    for refused in (True, False):
        ids = drift(world, sloppy)
        world.ahead += timedelta(minutes=30)
        assert world.reconcile().outcome.value == "applied"
        assert (drifted(sloppy, ids), sloppy.count("PATCH") > len(ids)) == (0, refused)


def test_accounts_without_a_version_in_the_list_are_read_first(world: World, sloppy: Sloppy) -> None:
    ids = drift(world, sloppy)
    sloppy.scripted = listed_otherwise(lambda user: {k: v for k, v in user.items() if k != "meta"})
    assert world.reconcile().outcome.value == "applied"
    assert (drifted(sloppy, ids), reads(sloppy)) == (0, 2 * len(ids))
    assert all("if-match" in call.headers for call in sloppy.calls if call.method == "PATCH")


def test_so_are_those_of_a_remote_that_announces_no_versions(world: World, sloppy: Sloppy) -> None:
    sloppy.config["etag"]["supported"] = False
    world.restart()
    ids = drift(world, sloppy)
    assert world.reconcile().outcome.value == "applied"
    assert (drifted(sloppy, ids), reads(sloppy)) == (0, 2 * len(ids))


@pytest.mark.parametrize("announced", [True, False], ids=["says so", "shows it"])
def test_what_a_list_does_not_show_survives_a_put(world: World, sloppy: Sloppy, announced: bool) -> None:
    ids = drift(world, sloppy, shoeSize=43)

    def hook(server: Sloppy, call: Call) -> Reply | None:
        if call.method == "PATCH":
            return error(501)
        return listed_otherwise(lambda user: {k: v for k, v in user.items() if k != "shoeSize"})(server, call)

    sloppy.scripted = hook
    if announced:
        sloppy.config["patch"]["supported"] = False
    world.restart()
    assert world.reconcile().outcome.value == "applied"
    assert drifted(sloppy, ids) == 0
    assert [sloppy.users[user_id].get("shoeSize") for user_id in ids] == [43] * len(ids)
    tried = world.sql("select count(*) from journal where kind = 'failed'").scalar_one()
    assert tried == (0 if announced else 1)


def test_a_list_of_values_that_is_replaced_is_read_whole_first(world: World, sloppy: Sloppy) -> None:
    phones = [{"value": "+1 1", "primary": True}, {"value": "+1 2", "type": "home", "label": "mother"}]
    ids = drift(world, sloppy, phoneNumbers=phones)

    def without_labels(user: Body) -> Body:
        shown = [{k: v for k, v in phone.items() if k != "label"} for phone in user.get("phoneNumbers", ())]
        return user | {"phoneNumbers": shown}

    sloppy.scripted = listed_otherwise(without_labels)
    assert world.reconcile().outcome.value == "applied"
    assert drifted(sloppy, ids) == 0
    for user_id in ids:
        labels = {phone["value"]: phone.get("label") for phone in sloppy.users[user_id]["phoneNumbers"]}
        assert (labels["+1 2"], "+1 1" in labels) == ("mother", False)


def one_call_at_a_time(world: World) -> None:
    world.restart(directory={"concurrency": 1})


def test_what_was_sent_is_read_back_though_the_remote_says_no_more_what_it_can_do(world: World, sloppy: Sloppy) -> None:
    sloppy.config = {}
    world.restart(replace(QUICK, assumed=0.0))
    world.directory.transport.most_patience = 0.0
    ids = drift(world, sloppy)

    def hook(server: Sloppy, call: Call) -> Reply | None:
        if call.path == "/ServiceProviderConfig":
            return Reply(429, {}, Retry_After="40") if server.count("PATCH") == len(ids) else error(500)
        return None

    sloppy.scripted = hook
    assert world.reconcile().outcome.value == "applied"
    assert drifted(sloppy, ids) == 0
    assert world.sql("select count(*) from intents where state = 'open'").scalar_one() == 0


# Others, meanwhile


def push(world: World, user_id: str, nick_name: str) -> "Future[Written]":
    def wanted(before: DirectoryUser) -> Draft:
        profile = replace(before.profile, nick_name=nick_name)
        return Draft(user_name=before.user_name, profile=profile, active=before.active)

    context = WriteContext(actor="key", source=Source.PUSH)
    return world.directory.modify(user_id, wanted, context, world.now())


def replace_settings(settings: Settings, **directory: Any) -> Settings:
    changed = settings.directory.model_copy(update=directory)
    return settings.model_copy(update={"directory": changed})


def run_beside(world: World) -> tuple[threading.Thread, list[str]]:
    outcomes: list[str] = []
    run = threading.Thread(target=lambda: outcomes.append(world.reconcile().outcome.value))
    run.start()
    return run, outcomes


def test_more_pushes_than_threads_on_accounts_of_a_wave_wait_for_it_and_hold_nothing_up(
    world: World, sloppy: Sloppy
) -> None:
    ids = drift(world, sloppy)
    held = Held(world.directory, lambda method, *_: method == "PATCH")
    run, outcomes = run_beside(world)
    held.wait()
    pushes = [push(world, user_id, f"Nick {user_id}") for user_id in ids for _ in range(2)]
    assert len(pushes) > world.directory.concurrency
    assert not any(one.done() for one in pushes)
    held.release()
    for one in pushes:
        one.result(30)
    run.join(30)
    assert (outcomes, drifted(sloppy, ids)) == (["applied"], 0)
    assert [sloppy.users[user_id]["nickName"] for user_id in ids] == [f"Nick {user_id}" for user_id in ids]


def test_settings_that_are_renewed_under_a_wave_change_nothing_for_what_is_under_way(
    world: World, sloppy: Sloppy
) -> None:
    ids = drift(world, sloppy)
    held = Held(world.directory, lambda method, _, __: method == "PATCH")
    run, outcomes = run_beside(world)
    held.wait()
    directory = replace_settings(world.settings, timeout=timedelta(seconds=20))
    before = world.directory.transport
    by = Signature(actor="test", source="test", at=world.now())
    renewal = threading.Thread(target=world.directory.renew, args=(directory, by))
    renewal.start()
    while renewal.is_alive() and world.directory.transport is before:
        renewal.join(0.01)
    # By way of the new settings, on an account that the wave is at.
    pushed = push(world, ids[0], "Nick")
    held.release()
    for thread in (run, renewal):
        thread.join(30)
    assert pushed.result(30).user.profile.nick_name == "Nick"
    assert (outcomes, drifted(sloppy, ids)) == (["applied"], 0)


def test_a_wave_goes_on_without_the_account_that_a_push_is_at_and_comes_back_to_it(
    world: World, sloppy: Sloppy
) -> None:
    ids = drift(world, sloppy)
    pushing = threading.Event()

    def is_push(method: str, path: str, _: object) -> bool:
        return method == "PATCH" and path.endswith(ids[1]) and not pushing.is_set()

    held = Held(world.directory, is_push)
    pushed = push(world, ids[1], "Nick")
    held.wait()
    pushing.set()
    run, outcomes = run_beside(world)
    others = [user_id for user_id in ids if user_id != ids[1]]
    while drifted(sloppy, others):
        run.join(0.01)
    assert drifted(sloppy, [ids[1]]) == 1
    held.release()
    pushed.result(30)
    run.join(30)
    assert sloppy.users[ids[1]]["nickName"] == "Nick"
    # The push was quicker: what the run planned is no longer the difference, and the next one repairs it.
    world.ahead += timedelta(minutes=30)
    world.reconcile()
    assert (outcomes, drifted(sloppy, ids)) == (["applied"], 0)


def test_an_account_with_a_call_of_another_process_in_doubt_waits_and_the_others_do_not(
    world: World, sloppy: Sloppy
) -> None:
    ids = drift(world, sloppy)
    beside = world.beside()
    beside.transport.most_patience = 0.0

    def lost(server: Sloppy, call: Call) -> Reply | None:
        # Neither the call nor the look for it is answered.
        return Reply(200, {}, cut=0) if call.path.endswith(ids[0]) else None

    context = WriteContext(actor="key", source=Source.PUSH)

    def wanted(before: DirectoryUser) -> Draft:
        sloppy.scripted = lost
        return Draft(user_name=before.user_name, profile=before.profile, active=False)

    with pytest.raises(Exception, match="not known"):
        beside.modify(ids[0], wanted, context, world.now()).result(30)
    sloppy.scripted = None
    report = world.reconcile()
    beside.close()
    assert (report.counts["done"], drifted(sloppy, ids)) == (len(ids) - 1, 1)


def test_an_account_that_can_not_be_written_just_now_keeps_no_push_for_another_one_waiting(
    world: World, sloppy: Sloppy
) -> None:
    world.restart(replace(QUICK, brief=0.1))
    ids = drift(world, sloppy)
    busy = threading.Event()
    busy.set()

    def hook(_: Sloppy, call: Call) -> Reply | None:
        return error(503) if busy.is_set() and call.method == "PATCH" and call.path.endswith(ids[0]) else None

    sloppy.scripted = hook
    run, outcomes = run_beside(world)
    while run.is_alive() and drifted(sloppy, ids) > 1:
        run.join(0.01)
    # It ends only once these have been answered.
    for user_id in ids[1:]:
        assert push(world, user_id, "Nick").result(30).changed
    busy.clear()
    run.join(60)
    assert (outcomes, drifted(sloppy, ids)) == (["applied"], 0)


def test_a_change_of_a_wave_that_fails_at_the_remote_is_sent_once_more_as_any_other(
    world: World, sloppy: Sloppy
) -> None:
    ids = drift(world, sloppy)

    def is_broken(call: Call) -> bool:
        return call.method == "PATCH" and call.path.endswith(ids[0])

    sloppy.scripted = lambda _, call: error(500) if is_broken(call) else None
    report = world.reconcile()
    assert (report.counts["done"], report.counts["failed"]) == (len(ids) - 1, 1)
    assert sum(map(is_broken, sloppy.calls)) == 2


def test_a_call_that_still_waits_when_another_process_gives_it_up_stops_no_run(world: World, sloppy: Sloppy) -> None:
    one_call_at_a_time(world)
    drift(world, sloppy)
    world.reconcile()
    world.ahead += timedelta(minutes=30)
    ids = drift(world, sloppy)
    first: list[str] = []

    def is_first(method: str, path: str, _: object) -> bool:
        first.extend([path] if method == "PATCH" and not first else [])
        return method == "PATCH" and path == first[0]

    held = Held(world.directory, is_first)
    run, outcomes = run_beside(world)
    held.wait()
    transport = world.directory.transport
    transport.pace = replace(transport.pace, late=0.0)
    other = next(user_id for user_id in ids if not first[0].endswith(user_id))
    beside = world.beside()
    now = world.now() + GRACE + timedelta(seconds=1)
    context = WriteContext(actor="key", source=Source.PUSH)

    def wanted(before: DirectoryUser) -> Draft:
        profile = replace(before.profile, nick_name="Nick")
        return Draft(user_name=before.user_name, profile=profile, active=before.active)

    assert beside.modify(other, wanted, context, now).result(30).changed
    held.release()
    run.join(60)
    beside.close()
    assert (outcomes, drifted(sloppy, [i for i in ids if i != other])) == (["applied"], 0)
    assert sloppy.users[other]["nickName"] == "Nick"


def test_at_a_remote_without_versions_nobody_is_overwritten_who_changed_something_while_others_were_called(
    world: World, sloppy: Sloppy
) -> None:
    one_call_at_a_time(world)
    sloppy.shape_user = lambda user: {k: v for k, v in user.items() if k != "meta"}
    ids = drift(world, sloppy)
    changed: list[str] = []

    def hook(server: Sloppy, call: Call) -> None:
        if call.method == "PATCH" and not changed:
            changed.append(next(user_id for user_id in ids if not call.path.endswith(user_id)))
            server.users[changed[0]]["title"] = "Changed by somebody"

    sloppy.scripted = hook
    report = world.reconcile()
    assert (report.counts["stale"], sloppy.users[changed[0]]["title"]) == (1, "Changed by somebody")
