"""Whatever happens in whatever order, kills and lost answers among it, the mirror is the remote after one listing, and every call has its end."""

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import text

from agent.directory.backend import Backend
from agent.directory.remote.mirror import LAG
from agent.directory.remote.unfinished import GRACE
from agent.model.codes import ActionKind, Source
from agent.model.errors import AgentError, FenceLost
from agent.store import account, intents
from agent.store.engine import Store
from support.place import Place, action, draft, okta_id, remote_place
from support.remotes import Remote
from support.sloppy import KEY, Body, Call, Reply, Sloppy, error

PEOPLE, STEPS = 5, 25
#: A hundred sequences on the two databases; every run of the tests has these.
SHORT, SEEDS = 5, 50
#: Around each call, where the agent is killed, or where somebody else comes in between.
POINTS = ("call.intended", "call.answered", "call.read", "wave.called")


def without_version(user: Body) -> Body:
    return {**user, "meta": {"resourceType": "User"}}


class Killed(BaseException):
    """Nothing in the agent catches it, as nothing could catch its end."""


class Life:
    """A remote, what its people and Okta do, and what goes wrong meanwhile; drawn from one seed."""

    def __init__(self, place: Place, sloppy: Sloppy, seed: int) -> None:
        self.place, self.sloppy, self.draw = place, sloppy, random.Random(seed)
        self.down = False
        #: Where the agent is killed next, and where something else happens meanwhile; "" while it is left alone.
        self.killed_at = self.met_at = ""
        #: Whom an operator has blocked, by externalId.
        self.blocked: set[str] = set()
        self.wrong: list[Call] = []
        sloppy.scripted = self.trouble
        place.directory.transport.most_patience = 0.0
        #: The same agent's other process.
        self.beside = place.beside()
        self.beside.transport.most_patience = 0.0
        if self.draw.random() < 0.3:
            sloppy.config["etag"]["supported"] = False
            sloppy.shape_user = without_version
        sloppy.config["patch"]["supported"] = self.draw.random() < 0.8
        sloppy.filters = self.draw.random() < 0.8

    def trouble(self, server: Sloppy, call: Call) -> Reply | None:
        self.wrong += [call] if self.gives_access_to_the_blocked(call) else []
        if self.down:
            return Reply(cut=0)
        if not call.writes:
            return None
        match self.draw.randrange(8):
            case 0:  # done, and the answer is lost
                server.apply(call)
                return Reply(cut=0)
            case 1:  # done, and nobody can be asked about it
                server.apply(call)
                self.down = True
                return Reply(cut=0)
            case 2:  # not done, and nobody can be asked
                self.down = True
                return Reply(cut=0)
            case 3:
                return error(503)
            case 4:
                return error(412)
            case _:
                return None

    def gives_access_to_the_blocked(self, call: Call) -> bool:
        user = self.sloppy.users.get(call.path.removeprefix("/Users/"), call.body | {"active": False})
        said = [one["value"] for one in call.body.get("Operations", ()) if one["path"] == "active"]
        active = bool(said and said[0]) or call.body.get("active", False)
        return call.writes and active and not user["active"] and user.get("externalId") in self.blocked

    def step(self) -> None:
        acts: list[Callable[[], object]] = [
            self.post,
            self.post,
            self.title,
            self.title,
            self.rename,
            lambda: self.change(active=False),
            lambda: self.change(active=True),
            self.remove,
            self.somebody_there,
            self.somebody_there,
            self.gone_there,
            self.listed,
            self.restarted,
            self.time_passes,
            self.time_passes,
            self.block,
            self.unblock,
            self.together,
            self.together,
        ]
        if self.draw.random() < 0.1:
            self.killed_at = self.draw.choice(POINTS)
        elif self.draw.random() < 0.2:
            self.met_at = self.draw.choice(POINTS)
        try:
            self.draw.choice(acts)()
        except AgentError as error:
            # Nobody here has a lease that could be lost.
            assert not isinstance(error, FenceLost)
        except Killed:
            self.restarted()
        finally:
            self.down = self.down and self.draw.random() < 0.3

    def point(self, name: str) -> None:
        """Passed by the agent around each call."""
        if name == self.killed_at:
            self.killed_at = ""
            raise Killed
        if name == self.met_at:
            self.met_at = ""
            self.draw.choice([self.somebody_there, self.gone_there, self.other_process, self.stands_still])()

    def somebody(self) -> str | None:
        return self.draw.choice(sorted(self.sloppy.users)) if self.sloppy.users else None

    def post(self) -> None:
        number = self.draw.randrange(PEOPLE)
        source = self.draw.choice([Source.PUSH, Source.SWEEP])
        self.place.post(f"p{number}@example.com", okta=okta_id(number), source=source)

    def change(self, **changes: object) -> None:
        user = self.place.directory.get(self.somebody() or "")
        if user is not None:
            source = self.draw.choice([Source.PUSH, Source.SWEEP])
            self.place.change(user, source=source, **changes)

    def title(self) -> None:
        self.change(title=f"Title {self.draw.randrange(9)}")

    def together(self) -> None:
        """Updates of a run, as the mirror has the accounts."""
        kept = [user for page in Backend.everyone(self.place.directory) for user in page]
        chosen = self.draw.sample(kept, min(3, len(kept)))
        title = f"Wave {self.draw.randrange(9)}"
        wave = [action(n, ActionKind.UPDATE, u.user_name, of=u, title=title) for n, u in enumerate(chosen, 1)]
        if wave:
            self.place.carry_out(self.place.plan(wave), wave)

    def rename(self) -> None:
        self.change(user_name=f"p{self.draw.randrange(2 * PEOPLE)}@example.com")

    def remove(self) -> None:
        user = self.place.directory.get(self.somebody() or "")
        if user is not None:
            self.place.delete(user)

    def somebody_there(self) -> None:
        user_id = self.somebody()
        if user_id is None:
            self.sloppy.add(f"p{self.draw.randrange(PEOPLE)}@example.com")
            return
        taken = {user["userName"] for user in self.sloppy.users.values()}
        names = [f"p{n}@example.com" for n in range(2 * PEOPLE) if f"p{n}@example.com" not in taken]
        change = self.draw.choice([{"title": "By hand"}, {"active": False}, {"active": True}, {"userName": names[0]}])
        number = self.draw.randrange(10**6)
        self.sloppy.users[user_id] |= change | {"meta": {"version": f'W/"x{number}"'}}

    def gone_there(self) -> None:
        if self.draw.random() < 0.4 and (user_id := self.somebody()) is not None:
            del self.sloppy.users[user_id]

    def listed(self) -> None:
        for _ in self.place.directory.everyone():
            pass

    def other_process(self) -> None:
        """Reads back, lists, or writes to whomever."""
        with suppress(AgentError):
            match self.draw.randrange(3):
                case 0:
                    self.beside.read_back(self.place.now)
                case 1:
                    self.beside.refresh(lambda *_: None)
                case _:
                    number = self.draw.randrange(PEOPLE)
                    posted = draft(f"p{number}@example.com", okta=okta_id(number))
                    self.beside.create(posted, self.place.context(), self.place.now).result(30)

    def stands_still(self) -> None:
        """For so long that the other process gives up what this one is at."""
        self.place.now += GRACE + timedelta(seconds=1)
        self.other_process()

    def block(self) -> None:
        user = self.place.directory.get(self.somebody() or "")
        if user is not None and user.okta_id is not None:
            self.place.acts().deactivate(user.id)
            self.blocked.add(user.okta_id)

    def unblock(self) -> None:
        user = self.place.directory.get(self.somebody() or "")
        if user is not None:
            self.blocked.discard(user.okta_id or "")
            self.place.acts().reactivate(user.id)

    def restarted(self) -> None:
        self.place.restart()
        self.place.directory.transport.most_patience = 0.0
        self.place.directory.read_back(self.place.now)

    def time_passes(self) -> None:
        self.place.now += timedelta(minutes=self.draw.randrange(8))


@pytest.mark.parametrize(
    "seed", [*range(SHORT), *(pytest.param(n, marks=pytest.mark.slow) for n in range(SHORT, SEEDS))]
)
def test_after_one_listing_the_mirror_is_the_remote(
    store: Store, sloppy: Sloppy, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with remote_place(store, Remote(sloppy.url, KEY)) as place:
        life = Life(place, sloppy, seed)
        for module in ("caller", "outbox"):
            monkeypatch.setattr(f"agent.directory.remote.{module}.crash_point", life.point)
        for _ in range(STEPS):
            life.step()
        sloppy.scripted, life.killed_at, life.met_at = None, "", ""
        life.beside.close()
        assert life.wrong == []
        place.now += LAG + GRACE
        assert place.directory.read_back(place.now) == 0
        # What was read back just now outweighs a list for a while.
        place.now += LAG + timedelta(seconds=1)
        # Who sends twice makes two of one person.
        people = [user["externalId"] for user in sloppy.users.values() if "externalId" in user]
        assert len(people) == len(set(people))
        mirrored = {user.id: user for page in place.directory.everyone() for user in page}
        assert {user_id: (user.user_name, user.active, user.profile.title) for user_id, user in mirrored.items()} == {
            user_id: (user["userName"], user["active"], user.get("title")) for user_id, user in sloppy.users.items()
        }
        with store.read() as conn:
            assert intents.open_intents(conn) == []
            row = account.get(conn)
            ended = "select count(*) from deactivations"
            verbs = "select count(*) from journal where kind = 'applied' and verb in ('deactivate', 'remove') "
            counted, made = (conn.execute(text(query)).scalar_one() for query in (ended, verbs))
        assert row.managed_active == sum(user.managed and user.active for user in mirrored.values())
        assert row.visible == sum(not user.hidden for user in mirrored.values())
        # A removal of one that was inactive already ends nothing.
        assert counted <= made
        place.remote.client.close()
