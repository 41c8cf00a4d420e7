"""F-14 at a remote: an agent that stood still in the middle of a call, and what its late call may still do.

==================================  ==================================================================================
where it stands still               what its late call does
==================================  ==================================================================================
before its last look                nothing: the lease is another's by then
between its last look and the       at a remote with ETags nothing: 412, and the account is read and judged anew;
network                             at one without it is applied: the window that is left, which the next run closes
==================================  ==================================================================================
"""

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from agent.directory.port import Draft, WriteContext, Written
from agent.model.codes import Source
from agent.model.errors import FenceLost
from agent.model.users import DirectoryUser
from agent.store import intents, lease
from support.forks import Warm
from support.remote_company import LEAVER, RemoteCompany, remote_company
from support.remotes import Remote
from support.sloppy import KEY, Call, Reply, Sloppy, sloppy_server
from support.standstill import stopped_between_transactions
from support.world import World, open_world


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[RemoteCompany]:
    with remote_company(tmp_path_factory.mktemp("company"), warm) as made:
        yield made


@pytest.mark.slow
def test_f14_an_agent_that_was_frozen_in_a_call_sends_nothing_once_another_has_the_lease(
    company: RemoteCompany, tmp_path: Path
) -> None:
    """SIGSTOP while the remote asks it to come again; another agent's run; SIGCONT."""
    case = company.case(tmp_path)
    frozen: list[int] = []

    def freeze(_: Sloppy, call: Call) -> Reply | None:
        if not call.writes or frozen:
            return None
        stopped_between_transactions(pid, case.url)
        frozen.append(pid)
        return Reply(429, **{"Retry-After": "0"})

    case.server.scripted = freeze
    pid = case.start("reconcile", "--apply", "--output", "json")
    while not frozen:
        assert Path(f"/proc/{pid}").exists()
    before = len(case.server.calls)
    other = case.apply()
    # The frozen one's call may still arrive: its account is left alone, all else is done.
    assert (other.code, case.open_intents()) == (5, 1), other.out + other.err
    writes = sum(call.writes for call in case.server.calls[before:])
    assert writes == 2
    before = len(case.server.calls)
    os.kill(pid, signal.SIGCONT)
    assert company.warm.reap(pid) == 1
    assert [call for call in case.server.calls[before:] if call.writes] == []
    assert case.open_intents() == 1
    case.server.scripted = None
    case.later()
    # As after a failure: the person is tried again later than at once.
    done = case.run("reconcile", "--apply", "--user", case.user(LEAVER)["userName"], "--output", "json")
    assert done.code in (0, 4), done.out + done.err
    assert case.open_intents() == 0
    case.is_whole()


class Standstill(httpx.BaseTransport):
    """Stops the call between the agent's last look and the network, once, and lets others act meanwhile."""

    def __init__(self, world: World, meanwhile: Any) -> None:
        self.meanwhile = meanwhile
        self.done = False
        transport = world.directory.transport
        self.route, transport.route = transport.route, self

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "GET" and not self.done:
            self.done = True
            self.meanwhile()
        return self.route.handle_request(request)


@pytest.fixture
def server() -> Iterator[Sloppy]:
    with sloppy_server() as found:
        yield found


@pytest.fixture
def world(server: Sloppy, tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path, remote=Remote(server.url, KEY), users=3) as found:
        found.first_run()
        yield found
        found.remote.client.close()


def change(world: World, user: DirectoryUser, fence: int, title: str) -> Written:
    context = WriteContext(actor="late", source=Source.SWEEP, fence=fence)

    def wanted(before: DirectoryUser) -> Draft:
        profile = replace(before.profile, title=title)
        return Draft(user_name=before.user_name, profile=profile, active=before.active)

    return world.directory.modify(user.id, wanted, context, world.now()).result(30)


@pytest.mark.parametrize("etags", [True, False])
def test_a_call_that_stood_still_after_its_last_look_is_refused_where_there_are_etags(
    world: World, server: Sloppy, etags: bool
) -> None:
    user = world.account(world.people()[0]["login"])
    if not etags:
        server.shape_user = lambda shown: shown | {"meta": {"resourceType": "User"}}
        server.scripted = _without_etags
    # Its heart beats every third of an hour.
    mine = lease.acquire(world.store, lease.RECONCILE, "frozen", timedelta(hours=1))
    assert mine is not None

    def meanwhile() -> None:
        other = lease.acquire(world.store, lease.RECONCILE, "other", timedelta(seconds=0.2), lease.Patience(seconds=5))
        assert other is not None
        other.release()
        version = f'W/"{len(server.calls)}"'
        server.users[user.id] |= {"title": "Chief", "meta": {"resourceType": "User", "version": version}}

    Standstill(world, meanwhile)
    if etags:
        with pytest.raises(FenceLost):
            change(world, user, mine.fence, "Clerk")
        assert server.users[user.id]["title"] == "Chief"
    else:
        change(world, user, mine.fence, "Clerk")
        assert server.users[user.id]["title"] == "Clerk"
    with world.store.read() as conn:
        assert intents.open_intents(conn) == []
    if etags:
        return
    # What Okta wants is put right by the next sweep, once the agent's own write no longer outweighs the list.
    wanted = world.people()[0]["expected"]["title"]
    world.ahead = timedelta(hours=1)
    assert world.reconcile().outcome == "applied"
    assert server.users[user.id]["title"] == wanted


def _without_etags(server: Sloppy, call: Call) -> Reply | None:
    call.headers.pop("if-match", None)
    reply = server.apply(call)
    reply.headers.pop("ETag", None)
    return reply
