"""200 changes of groups, people and owners at random: never without an active owner, never a role that the table doesn't give.

The table is docs/roles.md's, kept here once more and by other means: the simulated org says who is in which group, and this file
remembers behind whose role a group stands. Looks are sweeps, single looks and what the System Log names, in any order; some of
the groups' listings fail.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from agent.model.errors import Refused
from agent.model.users import DirectoryUser, Role
from agent.reconcile.system_log import SystemLogReader
from agent.runs.stored_plans import PlanDecision
from support.world import RAISED, World, open_world

CHANGES = 200
GROUPS = ("Owners", "More owners")
GUARD = {**RAISED, "promotions_cap": 10_000, "demotions_cap": 10_000}


class Play:
    """``behind``: accounts behind whose owner role a group stands for certain, ``perhaps``: or may stand. ``manage``: as the setting."""

    def __init__(self, w: World, draw: random.Random, manage: str) -> None:
        self.w, self.draw, self.manage = w, draw, manage
        self.people = [str(person["okta_id"]) for person in w.people()]
        self.groups = [w.org.set_group(name, members=[w.people()[n]["login"]]) for n, name in enumerate(GROUPS)]
        w.org.set_group(GROUPS[1], rule='user.department == "Board"')
        self.away: set[str] = set()
        self.behind: set[str] = set()
        self.perhaps: set[str] = set()
        self.unread = False
        #: By runs.
        self.promoted = self.demoted = 0

    # What Okta and OpsHelm say

    def in_group(self) -> set[str]:
        return {str(user["id"]) for group in self.groups for user in self.w.org.api("GET", f"/groups/{group}/users")}

    def accounts(self) -> dict[str, DirectoryUser]:
        return {user.okta_id: user for user in self.w.accounts().values() if user.okta_id}

    def has_access(self, okta_id: str) -> bool:
        """Assigned, and the Okta user is live."""
        status = self.w.org.api("GET", f"/users/{okta_id}")["status"]
        return okta_id not in self.away and status == "ACTIVE"

    # Changes

    def change(self) -> str:
        """One of them, of one person; answers whom."""
        okta_id = self.draw.choice(self.people)
        acts: list[tuple[int, Callable[[str], None]]] = [
            (6, self.join),
            (6, self.leave),
            (2, self.board),
            (2, self.assign),
            (1, self.suspend),
            (3, self.by_hand),
            (2, self.empty),
            (1, self.protect),
            (1, self.rename),
        ]
        weights, choices = zip(*acts, strict=True)
        self.draw.choices(choices, weights)[0](okta_id)
        return okta_id

    def join(self, okta_id: str) -> None:
        self.w.org.api("PUT", f"/groups/{self.draw.choice(self.groups)}/users/{okta_id}")

    def leave(self, okta_id: str) -> None:
        mine = [g for g in self.groups if okta_id in {u["id"] for u in self.w.org.api("GET", f"/groups/{g}/users")}]
        for group in mine:
            self.w.org.api("DELETE", f"/groups/{group}/users/{okta_id}")

    def board(self, okta_id: str) -> None:
        self.w.org.api("POST", f"/users/{okta_id}", {"profile": {"department": self.draw.choice(["Board", "Docks"])}})

    def assign(self, okta_id: str) -> None:
        if self.away:
            back = self.away.pop()
            self.w.org.api("POST", f"/apps/{self.w.org.app_id}/users", {"id": back})
            self.w.ahead += self.w.settings.reconcile.settle * 2
        else:
            self.w.org.api("DELETE", f"/apps/{self.w.org.app_id}/users/{okta_id}")
            self.away.add(okta_id)

    def suspend(self, okta_id: str) -> None:
        verb = "unsuspend" if self.w.org.api("GET", f"/users/{okta_id}")["status"] == "SUSPENDED" else "suspend"
        self.w.org.api("POST", f"/users/{okta_id}/lifecycle/{verb}")

    def by_hand(self, okta_id: str) -> None:
        who = self.draw.choice([*self.accounts().values(), self.w.account("boss@example.org")])
        role = Role.MEMBER if who.role is Role.OWNER else Role.OWNER
        if not who.active:
            return
        with suppress(Refused):
            self.w.acts().set_role(who.id, role)
            self.behind.discard(who.id)
            self.perhaps.discard(who.id)

    def empty(self, okta_id: str) -> None:
        """Whoever is owner by hand is it no more, as far as that can be, and nobody is in a group."""
        for member in self.in_group():
            self.leave(member)
        for user in [user for user in self.w.accounts().values() if user.role is Role.OWNER and user.active]:
            if user.id not in self.perhaps:
                with suppress(Refused):
                    self.w.acts().set_role(user.id, Role.MEMBER)

    def protect(self, okta_id: str) -> None:
        user = self.accounts().get(okta_id)
        if user is not None:
            self.w.acts().protect(user.id, protected=not user.protected)

    def rename(self, okta_id: str) -> None:
        name = f"Renamed {self.draw.random()}"
        self.w.org.api("PUT", f"/groups/{self.draw.choice(self.groups)}", {"profile": {"name": name}})

    # Looks

    def look(self, okta_id: str, log: SystemLogReader) -> None:
        before, named = self.accounts(), self.in_group()
        kind = self.draw.choice(["sweep", "sweep", "single", "events", "unread"])
        self.unread = False
        if kind == "unread":
            failing = self.draw.choice(
                [{"status": 403}, {"status": 404}, {"cut_after": 1}, {"status": 200, "body": []}]
            )
            self.w.org.faults({"path": "/api/v1/groups/*/users", "times": None, **failing})
            # A list that looks whole and has nobody demotes whoever Okta, asked directly, has in no group.
            self.unread = failing.get("status") != 200
        if kind == "single":
            # Whoever is nobody's in Okta and has no account is not there to be asked for.
            if okta_id in self.accounts():
                self.w.reconcile(self.accounts()[okta_id].user_name)
        elif kind == "events":
            self.w.ahead += timedelta(minutes=1)
            log.poll()
            self.w.reconciler.look(apply=True)
        else:
            self.w.reconcile()
        self.w.org.faults()
        self.moved_rightly(before, named)
        if kind == "sweep":
            self.w.reconcile()  # who was reactivated is active now
            self.as_the_table_says(named)

    def moved_rightly(self, before: dict[str, DirectoryUser], named: set[str]) -> None:
        for okta_id, after in self.accounts().items():
            was = before.get(okta_id)
            if after.role is Role.OWNER and okta_id in named:
                self.perhaps.add(after.id)
            if was is None or was.role is after.role:
                continue
            assert not after.protected, after
            if after.role is Role.OWNER:
                assert okta_id in named, after
                self.behind.add(after.id)
                self.promoted += 1
            else:
                self.behind.discard(after.id)
                if after.active:
                    assert not self.unread, after
                    assert okta_id not in named, after
                    assert after.id in self.perhaps or self.manage == "all", "an owner by hand"
                    self.demoted += 1
                self.perhaps.discard(after.id)

    def as_the_table_says(self, named: set[str]) -> None:
        accounts = self.accounts()
        owners = [user for user in self.w.accounts().values() if user.active and user.role is Role.OWNER]
        for okta_id in self.people:
            user = accounts[okta_id]
            owns = user.role is Role.OWNER
            if user.protected:
                continue
            if okta_id in named:
                assert owns or not (self.has_access(okta_id) and user.active), user
            elif user.active and owns and (user.id in self.behind or self.manage == "all"):
                assert owners == [user], user
            if not user.active:
                assert not owns, user
            # From now on a group stands behind an owner who is in one.
            if owns and okta_id in named:
                self.behind.add(user.id)
            elif not owns:
                self.behind.discard(user.id)

    def owners(self) -> int:
        return sum(user.active and user.role is Role.OWNER for user in self.w.accounts().values())


@pytest.fixture
def w(tmp_path: Path, database_url: str) -> Iterator[World]:
    with open_world(tmp_path, users=8, url=database_url, retries=0, window=1) as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "manage"), [(1, "mapped"), (2, "all")])
def test_roles_follow_the_table_through_200_changes(w: World, seed: int, manage: str) -> None:
    w.local("boss@example.org", owner=True)
    w.first_run()
    play = Play(w, random.Random(seed), manage)
    w.configure(guard=GUARD, roles={"owner": tuple(play.groups), "manage": manage})
    plan = w.reconcile().plan
    assert plan is not None
    w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True))
    play.moved_rightly({u.okta_id or "": u for u in w.accounts().values() if u.role is Role.MEMBER}, play.in_group())
    play.perhaps |= {user.id for user in play.accounts().values() if user.role is Role.OWNER}
    play.behind |= {user.id for okta_id, user in play.accounts().items() if user.role is Role.OWNER}
    log = SystemLogReader(w.store, w.okta, w.settings, w.now)
    log.poll()
    for _ in range(CHANGES):
        okta_id = play.change()
        assert play.owners() >= 1
        play.look(okta_id, log)
        assert play.owners() >= 1
    assert min(play.promoted, play.demoted) >= 10, "too little happened"
