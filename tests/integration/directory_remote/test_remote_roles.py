"""Okta's groups give roles at a remote OpsHelm, where its schema has them; elsewhere the run says why not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.directory.remote.mirror import LAG
from agent.model.errors import UsageError
from agent.runs.stored_plans import PlanDecision
from agent.store import intents
from support.remotes import Remote
from support.sloppy import CORE, KEY, Call, Reply, Sloppy
from support.world import OWNER, RAISED, World, open_world

GROUP = "OpsHelm Owners"
ROLES = {"owner": (GROUP,)}
OWNS = {"value": "owner"}


def with_roles(server: Sloppy, call: Call) -> Reply | None:
    if not call.path.startswith("/Schemas"):
        return None
    schema = {"id": CORE, "attributes": [{"name": "userName"}, {"name": "roles", "mutability": "readWrite"}]}
    return Reply(200, {"Resources": [schema]} if call.path == "/Schemas" else schema)


@contextmanager
def world(folder: Path, remote: Remote, *members: int, **more: Any) -> Iterator[World]:
    """Everybody is there and linked, and these are in the group."""
    with open_world(folder, users=5, remote=remote, **more) as w:
        w.org.set_group(GROUP, members=[w.people()[n]["login"] for n in members])
        w.first_run()
        w.ahead += LAG + timedelta(minutes=1)
        w.configure(guard=RAISED, roles=ROLES, **more)
        yield w


@pytest.fixture
def sloppy_world(tmp_path: Path, sloppy: Sloppy) -> Iterator[World]:
    sloppy.add(OWNER, roles=[OWNS])
    sloppy.scripted = with_roles
    remote = Remote(sloppy.url, KEY)
    with remote.client, world(tmp_path, remote, 0, 1) as w:
        yield w


def approved(w: World) -> None:
    plan = w.reconcile().plan
    assert plan is not None
    assert w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True)).outcome == "applied"


def owners(raw: list[dict[str, Any]]) -> set[str]:
    return {
        user["userName"] for user in raw if OWNS["value"] in [role.get("value") for role in user.get("roles") or []]
    }


def test_a_real_server_s_roles_follow_the_group(tmp_path: Path, scim2_remote: Remote) -> None:
    scim2_remote.post(OWNER, roles=[OWNS])

    def there() -> set[str]:
        return owners(scim2_remote.client.get("/Users?count=100").json()["Resources"])

    with world(tmp_path, scim2_remote, 0, 1) as w:
        approved(w)
        logins = [person["login"] for person in w.people()]
        assert there() == {OWNER, *logins[:2]}
        w.org.set_group(GROUP, members=[logins[1], logins[2]])
        assert w.reconcile().outcome == "applied"
        assert there() == {OWNER, *logins[1:3]}
        assert w.reconcile().outcome == "in_step"


@pytest.mark.parametrize("patch", [True, False])
def test_other_roles_of_the_account_stay(sloppy_world: World, sloppy: Sloppy, patch: bool) -> None:
    sloppy.config = {**sloppy.config, "patch": {"supported": patch}}
    login = sloppy_world.people()[0]["login"]
    (raw,) = [user for user in sloppy.users.values() if user["userName"] == login]
    raw["roles"] = [{"value": "billing", "display": "Billing"}]
    approved(sloppy_world)
    assert raw["roles"] == [{"value": "billing", "display": "Billing"}, OWNS]
    sloppy_world.org.set_group(GROUP, members=[])
    sloppy_world.reconcile()
    assert raw["roles"] == [{"value": "billing", "display": "Billing"}]


def test_the_last_owner_of_a_remote_stays(sloppy_world: World, sloppy: Sloppy) -> None:
    approved(sloppy_world)
    (boss,) = [user for user in sloppy.users.values() if user["userName"] == OWNER]
    boss["roles"] = []
    sloppy_world.org.set_group(GROUP, members=[])
    report = sloppy_world.reconcile()
    assert report.outcome == "held"
    assert len(owners(list(sloppy.users.values()))) == 1
    with sloppy_world.store.read() as conn:
        assert conn.exec_driver_sql("SELECT active_owners FROM account").scalar_one() == 1


def test_a_demotion_in_doubt_counts_as_made_until_it_is_read_back(sloppy_world: World, sloppy: Sloppy) -> None:
    approved(sloppy_world)
    login = sloppy_world.people()[0]["login"]

    def lost(server: Sloppy, call: Call) -> Reply | None:
        if not call.writes:
            return with_roles(server, call) or (Reply(503) if server.count("PATCH") > before else None)
        server.apply(call)
        return Reply(cut=0)

    before = sloppy.count("PATCH")
    sloppy.scripted = lost
    sloppy_world.org.set_group(GROUP, members=[sloppy_world.people()[1]["login"]])
    sloppy_world.reconcile()
    with sloppy_world.store.read() as conn:
        (doubt,) = intents.open_intents(conn)
        assert doubt.ends_owner
        assert conn.exec_driver_sql("SELECT active_owners FROM account").scalar_one() == 2
    sloppy.scripted = with_roles
    assert sloppy_world.reconcile().outcome in ("applied", "in_step")
    assert login not in owners(list(sloppy.users.values()))
    with sloppy_world.store.read() as conn:
        assert intents.open_intents(conn) == []
        assert conn.exec_driver_sql("SELECT active_owners FROM account").scalar_one() == 2


def read_only(server: Sloppy, call: Call) -> Reply | None:
    reply = with_roles(server, call)
    return reply and Reply(raw=reply.content.replace(b"readWrite", b"readOnly"))


def none_in_it(server: Sloppy, call: Call) -> Reply | None:
    reply = with_roles(server, call)
    return reply and Reply(raw=reply.content.replace(b'"roles"', b'"nickName"'))


@pytest.mark.parametrize(
    ("schemas", "why"), [(None, "no /Schemas"), (read_only, "read-only"), (none_in_it, "takes no roles over SCIM")]
)
def test_where_roles_can_not_be_given_every_run_says_why(
    tmp_path: Path, sloppy: Sloppy, schemas: Callable[[Sloppy, Call], Reply | None] | None, why: str
) -> None:
    sloppy.add(OWNER, roles=[OWNS])
    sloppy.scripted = schemas
    remote = Remote(sloppy.url, KEY)
    with remote.client, world(tmp_path, remote, 0) as w:
        with pytest.raises(UsageError, match=why) as refused:
            w.reconcile()
        assert refused.value.exit_code == 2
        assert owners(list(sloppy.users.values())) == {OWNER}
