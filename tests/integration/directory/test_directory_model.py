"""Random pushes, reconciles, operators and deletes against a plain model of the rules; what must hold, holds after each."""

from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import delete, update

from agent.model.codes import Source
from agent.model.errors import NotFound, Refused
from agent.model.users import DirectoryUser, Role
from agent.settings import DatabaseSettings, Settings
from agent.store.engine import Store
from agent.store.tables import account, metadata
from support.place import ROOMY, Place, assert_whole, okta_id

NAMES = [f"p{n}@example.com" for n in range(5)]
IDS = [None, *(okta_id(n) for n in range(4))]


class Directory(RuleBasedStateMachine):
    """``known`` is what the accounts must look like, by id; ``writes`` how many changes the journal must hold."""

    url = ""

    @initialize()
    def open(self) -> None:
        self.store = Store.open(DatabaseSettings(url=self.url))
        self.store.write(_empty)
        self.world = Place(self.store, Settings(guard=ROOMY))
        self.known: dict[str, DirectoryUser] = {}
        self.writes = 0
        keeper = self.world.local("keeper@example.com", role=Role.OWNER)
        self._keep(keeper)

    def teardown(self) -> None:
        self.store.close()

    def _keep(self, user: DirectoryUser) -> None:
        before = self.known.get(user.id)
        assert user.version == (1 if before is None else before.version + 1)
        self.known[user.id] = user
        self.writes += 1
        # The limits have tests of their own.
        self.world.later(hours=25)

    def _names(self, *, but: str = "") -> set[str]:
        return {user.user_name_key for user in self.known.values() if user.id != but}

    def _okta_ids(self, *, but: str = "") -> set[str | None]:
        return {user.okta_id for user in self.known.values() if user.id != but} - {None}

    @staticmethod
    def _any(data: Any, users: list[DirectoryUser]) -> DirectoryUser:
        # By its place: ids are random, and a test must be able to run again.
        return users[data.draw(st.integers(0, len(users) - 1))]

    def _last_owner(self, user: DirectoryUser) -> bool:
        owners = [u for u in self.known.values() if u.active and u.role is Role.OWNER]
        return owners == [user]

    @rule(name=st.sampled_from(NAMES), okta=st.sampled_from(IDS))
    def post(self, name: str, okta: str | None) -> None:
        by_id = next((u for u in self.known.values() if okta is not None and u.okta_id == okta), None)
        by_name = next((u for u in self.known.values() if u.user_name_key == name), None)
        if by_id is not None:
            passes = not by_id.active and by_name in (None, by_id)
        elif by_name is not None:
            passes = by_name.hidden and by_name.okta_id is None and okta is None
        else:
            passes = True
        try:
            made = self.world.post(name, okta=okta)
        except Refused:
            assert not passes
            return
        assert passes
        target = by_id or by_name
        assert made.user.id == (target.id if target else made.user.id)
        assert (made.user.active, made.user.role, made.user.hidden) == (True, Role.MEMBER, False)
        self._keep(made.user)

    @precondition(lambda self: self.known)
    @rule(
        data=st.data(),
        name=st.sampled_from([None, *NAMES]),
        okta=st.sampled_from(IDS),
        active=st.sampled_from([None, True, False]),
        source=st.sampled_from([Source.PUSH, Source.SWEEP]),
    )
    def modify(self, data: Any, name: str | None, okta: str | None, active: bool | None, source: Source) -> None:
        user = self._any(data, list(self.known.values()))
        changes: dict[str, Any] = {"okta_id": okta}
        if name is not None:
            changes["user_name"] = name
        if active is not None:
            changes["active"] = active
        wanted_active = user.active if active is None else active
        try:
            written = self.world.change(user, source=source, **changes)
        except NotFound:
            assert user.hidden
            assert source is Source.PUSH
            return
        except Refused:
            assert self._may_be_refused(user, name, okta, wanted_active, source)
            return
        after = written.user
        assert after.active is wanted_active
        assert after.user_name_key == (name or user.user_name_key)
        assert after.user_name_key not in self._names(but=user.id)
        assert after.okta_id not in self._okta_ids(but=user.id)
        assert user.okta_id in (None, after.okta_id)
        assert not (self._last_owner(user) and not after.active)
        if not after.active:
            assert after.role is Role.MEMBER
        if written.changed:
            self._keep(after)
        else:
            assert after == user

    def _may_be_refused(
        self, user: DirectoryUser, name: str | None, okta: str | None, active: bool, source: Source
    ) -> bool:
        renames = name is not None and name != user.user_name_key
        return any(
            (
                okta is not None and user.okta_id not in (None, okta),
                okta in self._okta_ids(but=user.id),
                renames and name in self._names(but=user.id),
                renames and user.role is Role.OWNER,
                not active and self._last_owner(user),
                not user.managed and (source is Source.SWEEP or user.origin.value == "local"),
            )
        )

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def remove(self, data: Any) -> None:
        user = self._any(data, list(self.known.values()))
        try:
            gone = self.world.delete(user).user
        except NotFound:
            assert user.hidden
            return
        except Refused:
            assert user.origin.value == "local" or self._last_owner(user)
            return
        assert (gone.active, gone.hidden, gone.role) == (False, True, Role.MEMBER)
        self._keep(gone)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), role=st.sampled_from(list(Role)))
    def change_role(self, data: Any, role: Role) -> None:
        active = [u for u in self.known.values() if u.active and u.role is not role]
        if not active:
            return
        user = self._any(data, active)
        try:
            self._keep(self.world.act(user, role=role))
        except Refused:
            assert self._last_owner(user)

    @invariant()
    def what_is_stored_is_what_was_answered(self) -> None:
        if not hasattr(self, "known"):
            return
        assert_whole(self.store)
        for user in self.known.values():
            assert self.world.get(user) == user
        assert len(self.world.journal("applied")) == self.writes
        assert any(u.active and u.role is Role.OWNER for u in self.known.values())


def _empty(conn: Any) -> None:
    for table in reversed(metadata.sorted_tables):
        if table is not account:
            conn.execute(delete(table))
    conn.execute(update(account).values(managed_active=0, active_owners=0, visible=0))


def test_the_directory_keeps_the_rules(database: DatabaseSettings) -> None:
    machine = type("Here", (Directory,), {"url": database.url})
    few = database.url.startswith("postgresql")
    machine.TestCase.settings = settings(
        max_examples=8 if few else 15,
        stateful_step_count=20,
        deadline=None,
        # Shrinking takes minutes with a real database; the steps of a failure are few enough to read.
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    machine.TestCase().runTest()
