"""Okta, a receiver that it pushes to, and the agent, on either database; and the agent's commands on them."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from agent.cli.root import run
from agent.model.holds import ChangeKind, Hold
from agent.okta_org.org import OktaOrg
from agent.reconcile import RunReport
from agent.settings import OktaSettings
from agent.simulator.server import SimulatedOrg
from agent.store import attention, brakes, holds
from agent.store.journal import Signature
from support.receiver import PATCH_OP, okta_user, served
from support.world import World


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
        """One of Okta's pushes that arrives late, or by another form: PATCH, PUT with what a GET answers, or POST."""
        if how == "POST":
            body = okta_user(person["login"], externalId=person["okta_id"]) | values
            return self.client.post("/Users", json=body)
        path = f"/Users/{self.account(person['login']).id}"
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
def hold_world(url: str, users: int = 40, style: str = "oin", **sections: Any) -> Iterator[HoldWorld]:
    """Everybody in Okta has an account, and the pins are set."""
    with ExitStack() as stack:
        org = stack.enter_context(
            SimulatedOrg.start(users=users, seed=3, rate_window=1.0, time_scale=0.001, app_style=style)
        )
        settings = OktaSettings(org_url=org.url, app_id=org.app_id, api_token=org.token, budget_share=1)
        okta = stack.enter_context(OktaOrg.connect(settings))
        receiver = stack.enter_context(served(url, **sections))
        org.provisioning(mode="off", scim_url=receiver.url, scim_key=receiver.key)
        made = HoldWorld(org, okta, receiver.store, **sections)
        made.key = receiver.key
        made.client = httpx.Client(
            base_url=receiver.url, headers={"Authorization": f"Bearer {receiver.key}"}, timeout=30
        )
        stack.callback(made.client.close)
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
