"""Who may change which account: local, managed, protected, bound, owners. One test for each rule of design's case table."""

import pytest

from agent.directory.rules import AccountChange
from agent.model.codes import RefusalCode, Source
from agent.model.errors import NotFound
from agent.model.users import MultiValue, Origin, Role
from agent.settings import PolicySettings, ReceiverSettings
from support.place import Place, after_of, okta_id


class TestPushOnALocalAccount:
    def test_links_it(self, world: Place) -> None:
        user = world.local()
        linked = world.change(user, title="Lead").user
        assert (linked.origin, linked.okta_id, linked.managed) == (Origin.LINKED, None, True)
        assert (world.last().verb, world.last().reason) == ("link", "linked by push")

    def test_links_an_owner_who_stays_owner(self, world: Place) -> None:
        owner = world.local(role=Role.OWNER)
        linked = world.change(owner, okta_id=okta_id(7)).user
        assert (linked.role, linked.okta_id, linked.origin) == (Role.OWNER, okta_id(7), Origin.LINKED)

    def test_links_even_where_nothing_else_changes(self, world: Place) -> None:
        user = world.local()
        assert world.change(user).changed
        assert world.get(user).origin is Origin.LINKED

    @pytest.mark.parametrize(
        "change",
        [
            {"user_name": "other@example.com"},
            {"emails": (MultiValue(value="other@example.com", primary=True),)},
            {"active": False},
        ],
    )
    def test_must_keep_userName_email_and_active(self, world: Place, change: dict[str, object]) -> None:
        loose = world.with_settings(receiver=ReceiverSettings(username_is_email=False))
        user = loose.local()
        assert loose.refused(lambda: loose.change(user, **change)) is RefusalCode.LOCAL_ACCOUNT
        assert loose.get(user) == user

    def test_that_deactivates_asks_the_reconciler_to_look(self, world: Place) -> None:
        user = world.local()
        world.refused(lambda: world.change(user, active=False))
        assert world.attention() == [("local_deactivate", user.id)]

    def test_a_difference_in_case_alone_links(self, world: Place) -> None:
        user = world.local("Pat@Example.com")
        assert world.change(user, user_name="pat@example.com").user.managed

    def test_can_not_delete_it(self, world: Place) -> None:
        user = world.local()
        assert world.refused(lambda: world.delete(user)) is RefusalCode.LOCAL_ACCOUNT
        assert world.get(user) == user


class TestReconcileOnALocalAccount:
    @pytest.mark.parametrize("source", [Source.SWEEP, Source.SINGLE, Source.IMPORT])
    def test_is_refused(self, world: Place, source: Source) -> None:
        user = world.local()
        for change in ({"title": "Lead"}, {"active": False}, {"okta_id": okta_id(7), "title": "Lead"}):
            assert world.refused(lambda c=change: world.change(user, source=source, **c)) is RefusalCode.LOCAL_ACCOUNT
        assert world.get(user) == user

    def test_may_link_it_and_change_nothing_else(self, world: Place) -> None:
        user = world.local()
        linked = world.change(user, source=Source.SWEEP, okta_id=okta_id(7)).user
        assert (linked.okta_id, linked.origin, linked.profile) == (okta_id(7), Origin.LINKED, user.profile)

    def test_adopts_an_unconfirmed_externalId(self, world: Place) -> None:
        user = world.local(okta_id=okta_id(7))
        assert not user.managed
        assert world.change(user, source=Source.SWEEP, okta_id=okta_id(7)).user.managed

    def test_an_unbound_account_of_a_push_counts_as_local(self, world: Place) -> None:
        user = world.post("pat@example.com").user
        assert world.refused(lambda: world.change(user, source=Source.SWEEP, title="x")) is RefusalCode.LOCAL_ACCOUNT
        assert world.change(user, title="x").changed, "pushes may change it"
        assert world.change(user, active=False).changed, "and deactivate it"


class TestBinding:
    def test_a_push_with_another_externalId_is_name_reuse(self, world: Place) -> None:
        (user,) = world.managed()
        assert world.refused(lambda: world.change(user, okta_id=okta_id(99))) is RefusalCode.NAME_REUSE
        assert world.get(user) == user

    def test_a_push_with_its_own_or_no_externalId_passes(self, world: Place) -> None:
        (user,) = world.managed()
        assert world.change(user, okta_id=user.okta_id, title="a").changed
        assert world.change(user, title="b").user.okta_id == user.okta_id

    def test_a_push_binds_what_was_unbound(self, world: Place) -> None:
        user = world.post("pat@example.com").user
        bound = world.change(user, okta_id=okta_id(7)).user
        assert (bound.okta_id, bound.origin, bound.managed) == (okta_id(7), Origin.OKTA, True)

    def test_reconcile_may_change_it_only_where_a_person_approved(self, world: Place) -> None:
        (user,) = world.managed()
        change = {"source": Source.SWEEP, "okta_id": okta_id(99)}
        assert world.refused(lambda: world.change(user, **change)) is RefusalCode.NAME_REUSE
        assert world.change(user, exempt=True, **change).user.okta_id == okta_id(99)

    def test_a_push_on_an_inactive_bound_account_is_confirmed_with_okta(self, world: Place) -> None:
        renamed, back, unbound = (*world.managed(2, active=False), world.post("free@example.com", active=False).user)
        world.change(renamed, title="Lead")
        world.change(back, active=True)
        world.change(unbound, active=True)
        assert set(world.attention()) == {("confirm_reuse", renamed.id), ("confirm_reuse", back.id)}

    def test_a_push_that_changes_nothing_is_not_confirmed(self, world: Place) -> None:
        (user,) = world.managed(active=False)
        assert not world.change(user).changed
        assert world.attention() == []


class TestProtected:
    @pytest.mark.parametrize("source", [Source.PUSH, Source.SWEEP, Source.SINGLE])
    def test_no_change_but_an_operator_s(self, world: Place, source: Source) -> None:
        (user,) = world.managed(protected=True)
        for change in ({"title": "x"}, {"active": False}, {"user_name": "other@example.com"}):
            assert world.refused(lambda c=change: world.change(user, source=source, **c)) is RefusalCode.PROTECTED
        assert world.act(user, protected=False).protected is False

    def test_a_push_that_changes_nothing_passes(self, world: Place) -> None:
        (user,) = world.managed(protected=True)
        assert not world.change(user).changed

    def test_is_not_deleted(self, world: Place) -> None:
        (user,) = world.managed(protected=True)
        assert world.refused(lambda: world.delete(user)) is RefusalCode.PROTECTED


class TestOwnerIdentity:
    def test_a_push_does_not_change_it(self, world: Place) -> None:
        (user,) = world.managed(role=Role.OWNER)
        assert world.refused(lambda: world.change(user, user_name="new@example.com")) is RefusalCode.OWNER_IDENTITY
        assert world.change(user, user_name=user.user_name.upper()).changed, "case alone is no change of identity"

    def test_a_push_changes_it_where_the_policy_allows(self, world: Place) -> None:
        (user,) = world.managed(role=Role.OWNER)
        loose = world.with_settings(policy=PolicySettings(owner_identity="allow"))
        assert loose.change(user, user_name="new@example.com").user.role is Role.OWNER

    def test_reconcile_changes_it_only_where_a_person_approved(self, world: Place) -> None:
        (user,) = world.managed(role=Role.OWNER)
        change = {"source": Source.SWEEP, "user_name": "new@example.com"}
        loose = world.with_settings(policy=PolicySettings(owner_identity="allow"))
        assert loose.refused(lambda: loose.change(user, **change)) is RefusalCode.OWNER_IDENTITY
        assert world.change(user, exempt=True, **change).changed

    def test_a_member_s_changes(self, world: Place) -> None:
        (user,) = world.managed()
        assert world.change(user, user_name="new@example.com").user.user_name == "new@example.com"

    @pytest.mark.parametrize("source", [Source.PUSH, Source.SWEEP, Source.SINGLE, Source.IMPORT])
    def test_the_role_never_comes_from_okta(self, world: Place, source: Source) -> None:
        from msgspec.structs import replace

        (user,) = world.managed()
        owner = AccountChange(user.id, lambda b: replace(b, role=Role.OWNER), world.context(source))
        promote = world.directory.change(owner, world.now)
        assert world.refused(lambda: promote.result(60)) is RefusalCode.INVALID_VALUE


class TestDeactivating:
    def test_ends_ownership_and_the_journal_keeps_the_former_role(self, world: Place) -> None:
        owner, _ = world.managed(2, role=Role.OWNER)
        gone = world.change(owner, active=False).user
        assert (gone.role, gone.active, gone.deactivated) == (Role.MEMBER, False, world.now)
        assert '"role":"owner"' in world.last().before

    def test_who_returns_is_a_member(self, world: Place) -> None:
        owner, _ = world.managed(2, role=Role.OWNER)
        world.change(owner, active=False)
        back = world.change(owner, active=True).user
        assert (back.role, back.active, back.deactivated) == (Role.MEMBER, True, None)

    def test_for_a_suspension_alone_keeps_the_role(self, world: Place) -> None:
        owner, _ = world.managed(2, role=Role.OWNER)
        off = world.change(owner, source=Source.SWEEP, active=False, suspended=True).user
        assert (off.role, off.suspended, off.active) == (Role.OWNER, True, False)
        back = world.change(owner, source=Source.SWEEP, active=True).user
        assert (back.role, back.suspended, back.active) == (Role.OWNER, False, True)

    @pytest.mark.parametrize("source", [Source.PUSH, Source.SWEEP])
    def test_another_reason_ends_a_suspended_owner_s_role(self, world: Place, source: Source) -> None:
        owner, _ = world.managed(2, role=Role.OWNER)
        world.change(owner, source=Source.SWEEP, active=False, suspended=True)
        ended = world.change(owner, source=source, active=False).user
        assert (ended.role, ended.suspended) == (Role.MEMBER, False)

    def test_a_push_that_does_not_speak_of_active_is_no_other_reason(self, world: Place) -> None:
        owner, _ = world.managed(2, role=Role.OWNER)
        world.change(owner, source=Source.SWEEP, active=False, suspended=True)
        assert world.change(owner, title="x", active_said=False).user.role is Role.OWNER

    def test_what_is_inactive_already_changes_nothing(self, world: Place) -> None:
        (user,) = world.managed(active=False)
        before = len(world.journal())
        assert not world.change(user, active=False).changed
        assert len(world.journal()) == before


class TestDelete:
    def test_deactivates_and_hides(self, world: Place) -> None:
        (user,) = world.managed()
        gone = world.delete(user).user
        assert (gone.active, gone.hidden) == (False, True)
        assert world.last().verb == "remove"
        with pytest.raises(NotFound):
            world.change(user, title="x")
        with pytest.raises(NotFound):
            world.delete(user)
        assert world.directory.search(None, 1, 10).total == 0
        assert sum(map(len, world.directory.everyone())) == 1

    def test_what_is_hidden_is_reactivated_by_the_reconciler(self, world: Place) -> None:
        (user,) = world.managed()
        world.delete(user)
        back = world.change(user, source=Source.SWEEP, active=True).user
        assert (back.active, back.hidden) == (True, False)


class TestPost:
    def test_makes_a_member(self, world: Place) -> None:
        made = world.post("pat@example.com", okta=okta_id(1))
        assert made.created
        assert (made.user.role, made.user.origin, made.user.managed) == (Role.MEMBER, Origin.OKTA, True)
        assert after_of(world.last())["userName"] == "pat@example.com"

    @pytest.mark.parametrize(
        ("name", "okta"), [("pat@example.com", okta_id(2)), ("PAT@example.com", None), ("new@example.com", okta_id(1))]
    )
    def test_a_clash_with_an_active_account_is_uniqueness(self, world: Place, name: str, okta: str | None) -> None:
        world.post("pat@example.com", okta=okta_id(1))
        assert world.refused(lambda: world.post(name, okta=okta)) is RefusalCode.UNIQUENESS

    def test_revives_the_inactive_account_with_its_externalId(self, world: Place) -> None:
        user = world.post("pat@example.com", okta=okta_id(1)).user
        world.act(user, active=False)
        back = world.post("pat@example.com", okta=okta_id(1), title="Lead")
        assert back.created
        assert (back.user.id, back.user.active, back.user.profile.title) == (user.id, True, "Lead")
        assert world.last().verb == "reactivate"
        assert world.attention() == [], "Okta has said who it means"

    def test_revives_and_renames_where_the_name_is_free(self, world: Place) -> None:
        user = world.post("pat@example.com", okta=okta_id(1)).user
        world.act(user, active=False)
        assert world.post("new@example.com", okta=okta_id(1)).user.user_name == "new@example.com"

    def test_does_not_take_somebody_else_s_name_while_reviving(self, world: Place) -> None:
        user = world.post("pat@example.com", okta=okta_id(1)).user
        world.act(user, active=False)
        world.post("taken@example.com", okta=okta_id(2))
        assert world.refused(lambda: world.post("taken@example.com", okta=okta_id(1))) is RefusalCode.UNIQUENESS

    def test_does_not_revive_another_person_s_account(self, world: Place) -> None:
        user = world.post("pat@example.com", okta=okta_id(1)).user
        world.act(user, active=False)
        assert world.refused(lambda: world.post("pat@example.com", okta=okta_id(2))) is RefusalCode.UNIQUENESS
        assert world.refused(lambda: world.post("pat@example.com")) is RefusalCode.UNIQUENESS

    def test_revives_what_was_deleted_with_the_same_externalId(self, world: Place) -> None:
        user = world.post("pat@example.com", okta=okta_id(1)).user
        world.delete(user)
        back = world.post("pat@example.com", okta=okta_id(1)).user
        assert (back.id, back.hidden, back.active) == (user.id, False, True)

    def test_revives_what_was_deleted_with_none_on_both_sides(self, world: Place) -> None:
        user = world.post("pat@example.com").user
        world.delete(user)
        assert world.refused(lambda: world.post("pat@example.com", okta=okta_id(1))) is RefusalCode.UNIQUENESS
        assert world.post("pat@example.com").user.id == user.id

    def test_revives_a_suspended_owner_as_member(self, world: Place) -> None:
        world.local(role=Role.OWNER)
        user = world.post("pat@example.com", okta=okta_id(1)).user
        world.act(user, role=Role.OWNER)
        world.change(user, source=Source.SWEEP, active=False, suspended=True)
        assert world.post("pat@example.com", okta=okta_id(1)).user.role is Role.MEMBER

    def test_does_not_revive_a_protected_account(self, world: Place) -> None:
        user = world.post("pat@example.com", okta=okta_id(1)).user
        world.act(user, active=False, protected=True)
        assert world.refused(lambda: world.post("pat@example.com", okta=okta_id(1))) is RefusalCode.PROTECTED
