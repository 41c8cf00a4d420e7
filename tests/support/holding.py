"""Okta, a receiver that it pushes to, and the agent, on either database; and the agent's commands on them."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any

import httpx
import pytest

from agent.cli.root import run
from agent.directory.port import Draft, WriteContext, Written
from agent.model.holds import ChangeKind, Hold
from agent.okta_org.org import OktaOrg
from agent.receiver.app import build
from agent.reconcile import RunReport
from agent.settings import DatabaseSettings, OktaSettings
from agent.simulator.server import SimulatedOrg
from agent.store import attention, brakes, holds, keys
from agent.store.engine import Store
from agent.store.journal import Signature
from support.receiver import PATCH_OP, okta_user, running
from support.remotes import Remote
from support.world import World


class ByItsClock:
    """The world's directory for its receiver: a push comes at the world's time."""

    def __init__(self, w: World) -> None:
        self._w = w

    def __getattr__(self, name: str) -> Any:
        return getattr(self._w.directory, name)

    def create(self, draft: Draft, context: WriteContext, now: datetime) -> Future[Written]:
        return self._w.directory.create(draft, context, self._w.now())

    def modify(
        self, user_id: str, change: Callable[[Any], Draft], context: WriteContext, now: datetime, **more: Any
    ) -> Future[Written]:
        return self._w.directory.modify(user_id, change, context, self._w.now(), **more)


class HoldWorld(World):
    """Whose pushes arrive unless ``lost``; ``event`` is Okta's word that something happened to a person."""

    client: httpx.Client

    def lost(self) -> None:
        self.org.wait_idle()
        self.org.provisioning(mode="off")

    def heard(self) -> None:
        self.org.provisioning(mode="on")

    def unassign(self, *people: dict[str, Any]) -> None:
        for person in people:
            self.org.api("DELETE", f"/apps/{self.org.app_id}/users/{person['okta_id']}")
        self.org.wait_idle()

    def assign(self, *people: dict[str, Any]) -> None:
        for person in people:
            self.org.api("POST", f"/apps/{self.org.app_id}/users", {"id": person["okta_id"]})
        self.org.wait_idle()

    def retitle(self, person: dict[str, Any], title: str = "Captain") -> None:
        self.org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": title}})
        self.org.wait_idle()

    def event(self, *people: dict[str, Any]) -> RunReport | None:
        ids, now = [person["okta_id"] for person in people], self.now()
        self.store.write(lambda conn: attention.add_events(conn, ids, now))
        return self.reconciler.look(apply=True)

    def active(self, *people: dict[str, Any]) -> list[bool]:
        return [self.account(person["login"]).active for person in people]

    def push(self, person: dict[str, Any], *, how: str = "PATCH", **values: Any) -> httpx.Response:
        """One of Okta's pushes that arrives late, or by another form: PATCH, PUT with what a GET answers, or POST.

        The account is that of the person's ``id``, where it is told, else of their login.
        """
        if how == "POST":
            body = okta_user(person["login"], externalId=person["okta_id"]) | values
            return self.client.post("/Users", json=body)
        path = f"/Users/{person.get('id') or self.account(person['login']).id}"
        if how == "PUT":
            return self.client.put(path, json=self.client.get(path).json() | values)
        operations = [{"op": "replace", "value": values}]
        return self.client.patch(path, json={"schemas": [PATCH_OP], "Operations": operations})

    def open_holds(self, *people: dict[str, Any], kind: ChangeKind = ChangeKind.DEACTIVATE) -> list[Hold]:
        with self.store.read() as conn:
            found = holds.open_holds(conn)
        names = {person["okta_id"] for person in people}
        return [h for h in found if h.kind is kind and (not people or h.okta_id in names)]

    def by(self, reason: str = "") -> Signature:
        return Signature(actor="operator", source="cli", at=self.now(), reason=reason)

    def reject(self, *people: dict[str, Any], kind: ChangeKind = ChangeKind.DEACTIVATE) -> None:
        chosen, by = self.open_holds(*people, kind=kind), self.by("wrong group")
        assert len(chosen) == len(people)
        self.store.write(lambda conn: brakes.reject_holds(conn, by, chosen))

    def decisions(self) -> list[tuple[str, str | None]]:
        """Verb and account of every row that an operator's decision left."""
        verbs = ("hold approve", "hold reject", "hold lift", "block", "guard reject", "plan reject", "plan approve")
        with self.store.read() as conn:
            rows = conn.exec_driver_sql("SELECT verb, directory_id FROM journal ORDER BY id").fetchall()
        return [(row[0], row[1]) for row in rows if row[0] in verbs]


@contextmanager
def hold_world(
    url: str, users: int = 40, style: str = "oin", remote: Remote | None = None, **sections: Any
) -> Iterator[HoldWorld]:
    """Everybody in Okta has an account, at the ``remote`` where there is one, and the pins are set."""
    with ExitStack() as stack:
        org = stack.enter_context(
            SimulatedOrg.start(users=users, seed=3, rate_window=1.0, time_scale=0.001, app_style=style)
        )
        settings = OktaSettings(org_url=org.url, app_id=org.app_id, api_token=org.token, budget_share=1)
        okta = stack.enter_context(OktaOrg.connect(settings))
        store = Store.open(DatabaseSettings(url=url))
        stack.callback(store.close)
        made = HoldWorld(org, okta, store, remote=remote, **sections)
        stack.callback(made.close)
        _, made.key = store.write(lambda conn: keys.create(conn, made.by(), name="okta"))
        address = stack.enter_context(running(build(ByItsClock(made), store, made.settings)))
        made.client = httpx.Client(
            base_url=f"{address}/scim/v2", headers={"Authorization": f"Bearer {made.key}"}, timeout=30
        )
        stack.callback(made.client.close)
        org.provisioning(mode="off", scim_url=str(made.client.base_url), scim_key=made.key)
        made.first_run()
        org.provisioning(mode="on", push_waiting=True)
        org.wait_idle()
        yield made


class Commands:
    """The agent's commands on a world's database; each answers its exit code, stdout and stderr."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *args: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        code = run(args)
        return code, *self._capsys.readouterr()

    def line(self, text: str) -> tuple[int, str, str]:
        """A command as a text names it."""
        return self(*text.removeprefix("opshelm-agent ").split())

    def document(self, *args: str) -> Any:
        code, out, err = self("--output", "json", *args)
        assert code in (0, 2, 4), (out, err)
        return json.loads(out)


Make = Callable[..., HoldWorld]
CommandsOf = Callable[[World], Commands]
