"""Every write: names are unique, versions are checked, the journal has it, and what is compared follows the mapping."""

from concurrent.futures import Future
from typing import Any

import msgspec
import pytest
from sqlalchemy import select, text

from agent.model.codes import ActionKind, RefusalCode, Source
from agent.model.errors import NotFound, Refused, StoreError, VersionConflict
from agent.model.users import MultiValue, Name
from agent.settings import ReceiverSettings
from agent.store.tables import user_emails
from support.place import Place, action, after_of, assert_whole, draft, okta_id


class TestIdentities:
    def test_userNames_are_compared_by_key_and_kept_as_written(self, world: Place) -> None:
        made = world.post("Pat@Example.com").user
        assert world.refused(lambda: world.post("pat@example.COM")) is RefusalCode.UNIQUENESS
        assert world.directory.find(user_name_key="pat@example.com") == made
        assert made.user_name == "Pat@Example.com"

    def test_a_rename_to_a_taken_name_is_uniqueness(self, world: Place) -> None:
        one, two = world.managed(2)
        assert world.refused(lambda: world.change(one, user_name=two.user_name)) is RefusalCode.UNIQUENESS

    def test_an_inactive_account_keeps_its_name(self, world: Place) -> None:
        one, two = world.managed(2)
        world.act(two, active=False)
        assert world.refused(lambda: world.change(one, user_name=two.user_name)) is RefusalCode.UNIQUENESS

    def test_an_externalId_is_bound_once(self, world: Place) -> None:
        user, other = world.managed()[0], world.post("pat@example.com").user
        assert world.refused(lambda: world.change(other, okta_id=user.okta_id)) is RefusalCode.UNIQUENESS

    def test_the_primary_email_of_an_active_account_is_not_taken(self, world: Place) -> None:
        loose = world.with_settings(receiver=ReceiverSettings(username_is_email=False))
        one, two = loose.managed(2)
        taken = (MultiValue(value=two.user_name.upper(), primary=True),)
        assert loose.refused(lambda: loose.change(one, emails=taken)) is RefusalCode.EMAIL_TAKEN
        loose.act(two, active=False)
        assert loose.change(one, emails=taken).changed
        assert loose.refused(lambda: loose.change(two, active=True)) is RefusalCode.EMAIL_TAKEN
        # Okta's admins have a task to retry; operators have not.
        for source, next_step in ((Source.PUSH, "retry the task"), (Source.CLI, "try again")):
            with pytest.raises(Refused, match=next_step):
                loose.change(two, active=True, source=source)

    def test_a_secondary_email_may_be_shared(self, world: Place) -> None:
        one, two = world.managed(2)
        shared = (MultiValue(value=one.user_name, primary=True), MultiValue(value=two.user_name))
        assert world.change(one, emails=shared).changed

    def test_many_equal_posts_at_once_make_one_account(self, world: Place) -> None:
        futures = [
            world.directory.create(draft("pat@example.com", okta=okta_id(1)), world.context(), world.now)
            for _ in range(20)
        ]
        outcomes = [future.exception(20) for future in futures]
        assert outcomes.count(None) == 1
        assert_whole(world.store)


class TestNames:
    @pytest.mark.parametrize(
        ("name", "code"),
        [
            ("pat", RefusalCode.INVALID_USER_NAME),
            ("p\u0430t@example.com", RefusalCode.INVALID_USER_NAME),
            ("pat\u200b@example.com", RefusalCode.INVALID_USER_NAME),
            (" ", RefusalCode.BLANK),
        ],
    )
    def test_a_bad_name_is_refused(self, world: Place, name: str, code: RefusalCode) -> None:
        assert world.refused(lambda: world.post(name)) is code

    def test_an_email_that_differs_is_refused(self, world: Place) -> None:
        (user,) = world.managed()
        other = (MultiValue(value="other@example.com", primary=True),)
        assert world.refused(lambda: world.change(user, emails=other)) is RefusalCode.EMAIL_NOT_USER_NAME

    def test_an_inactive_account_may_carry_any_name(self, world: Place) -> None:
        (user,) = world.managed()
        assert world.change(user, user_name="gone-17", active=False).user.user_name == "gone-17"

    @pytest.mark.parametrize(
        "changes",
        [
            {"name": Name(given_name="Ada", family_name="Byron")},
            {"name": None},
            {"display_name": "Ada B."},
            {"title": "Lead"},
        ],
    )
    def test_a_change_of_details_is_in_all_that_is_searched_and_shown(
        self, world: Place, changes: dict[str, Any]
    ) -> None:
        user = world.post("a@example.com", name=Name(given_name="Pat", family_name="Lee"), display_name="Pat Lee").user
        assert world.change(user, **changes).changed
        assert_whole(world.store)

    def test_what_was_wrong_before_does_not_stop_other_changes(self, world: Place) -> None:
        loose = world.with_settings(receiver=ReceiverSettings(username_is_email=False))
        user = loose.post("pat").user
        assert world.change(user, title="Lead").changed


class TestVersions:
    def test_each_change_counts_one(self, world: Place) -> None:
        (user,) = world.managed()
        assert [world.change(user, title=title).user.version for title in ("a", "b", "b")] == [2, 3, 3]

    def test_a_stale_version_is_a_conflict_and_changes_nothing(self, world: Place) -> None:
        (user,) = world.managed()
        world.change(user, title="a")
        with pytest.raises(VersionConflict):
            world.change(user, version=1, title="b")
        assert world.get(user).profile.title == "a"
        assert world.change(user, version=2, title="b").changed

    def test_of_many_changes_at_one_version_one_wins(self, world: Place) -> None:
        (user,) = world.managed()
        futures: list[Future] = [
            world.directory.modify(
                user.id, lambda b, n=n: draft(b.user_name, title=str(n)), world.context(), world.now, expected_version=1
            )
            for n in range(10)
        ]
        assert sum(future.exception(20) is None for future in futures) == 1

    def test_times_never_go_back(self, world: Place) -> None:
        (user,) = world.managed()
        world.later(days=-1)
        changed = world.change(user, title="a").user
        assert changed.updated > user.updated
        assert changed.created == user.created


class TestJournal:
    def test_has_the_account_before_and_after(self, world: Place) -> None:
        (user,) = world.managed()
        world.change(user, title="Lead")
        row = world.last()
        assert (row.kind, row.verb, row.actor, row.source) == ("applied", "update", "tester", "push")
        assert "title" not in msgspec.json.decode(row.before)
        assert after_of(row)["title"] == "Lead"
        assert (row.directory_id, row.okta_id) == (user.id, user.okta_id)

    def test_a_refused_attempt_has_its_row_and_changes_nothing(self, world: Place) -> None:
        (user,) = world.managed()
        world.refused(lambda: world.post(user.user_name))
        row = world.last()
        assert (row.kind, row.verb) == ("refused", "create")
        assert row.reason.startswith("uniqueness: ")
        assert_whole(world.store)

    def test_without_its_row_the_change_does_not_happen(self, world: Place) -> None:
        (user,) = world.managed()
        world.store.write(lambda conn: conn.execute(text("ALTER TABLE journal RENAME TO hidden")).close())
        try:
            with pytest.raises(StoreError):
                world.change(user, title="Lead")
            assert world.get(user) == user
        finally:
            world.store.write(lambda conn: conn.execute(text("ALTER TABLE hidden RENAME TO journal")).close())

    @pytest.mark.parametrize(
        ("fields", "verb"),
        [
            ({"active": False}, "deactivate"),
            ({"protected": True}, "protect"),
            ({"okta_id": None}, "unlink"),
            ({"user_name": "new@example.com"}, "update"),
        ],
    )
    def test_says_what_was_done(self, world: Place, fields: dict, verb: str) -> None:
        (user,) = world.managed()
        if "user_name" in fields:
            world.change(user, **fields)
        else:
            world.act(user, **fields)
        assert world.last().verb == verb


class TestReads:
    def test_an_account_comes_back_as_it_was_written(self, world: Place) -> None:
        from agent.model.users import Address, Enterprise, Manager, Name

        full = {
            "name": Name(given_name="Zoë", family_name="Ω"),
            "display_name": "Zoë",
            "phone_numbers": (MultiValue(value="1", type="work", primary=True),),
            "addresses": (Address(locality="Köln"),),
            "enterprise": Enterprise(department="Ops", manager=Manager(value="m-1")),
        }
        made = world.post("pat@example.com", okta=okta_id(1), **full).user
        assert world.get(made) == made
        assert made.profile.name == full["name"]

    def test_nobody_is_found_by_another_identity(self, world: Place) -> None:
        (user,) = world.managed()
        assert user.okta_id is not None
        assert world.directory.get(user.okta_id) is None
        assert world.directory.find(okta_id=user.id) is None
        assert world.directory.find(user_name_key=user.okta_id) is None
        with pytest.raises(TypeError):
            world.directory.find()

    def test_pages_are_stable_and_counted(self, world: Place) -> None:
        made = [user.id for user in world.managed(7)]
        pages = [world.directory.search(None, start, 3) for start in (1, 4, 7, 8)]
        assert [page.total for page in pages] == [7] * 4
        assert [[user.id for user in page.users] for page in pages] == [made[:3], made[3:6], made[6:], []]
        assert world.directory.search(None, -5, 2).users == world.directory.search(None, 1, 2).users
        assert list(world.directory.search(None, 1, -1).users) == []

    def test_everyone_has_hidden_ones_too(self, world: Place) -> None:
        one, _ = world.managed(2)
        world.delete(one)
        assert len([user for page in world.directory.everyone() for user in page]) == 2

    def test_emails_are_kept_for_filters(self, world: Place) -> None:
        (user,) = world.managed()
        world.change(user, emails=(MultiValue(value=user.user_name, primary=True), MultiValue(value="B@x.example")))
        with world.store.read() as conn:
            keys = conn.execute(select(user_emails.c.value_key).order_by(user_emails.c.position)).scalars()
            assert list(keys) == [user.user_name, "b@x.example"]

    def test_who_is_not_there_is_not_found(self, world: Place) -> None:
        assert world.directory.get("nobody") is None
        with pytest.raises(NotFound):
            world.directory.remove("nobody", world.context(Source.CLI), world.now).result(60)


class TestManyFixes:
    def test_of_a_batch_each_is_judged_and_written_as_if_it_were_alone(self, world: Place) -> None:
        """More than are worth a read together; one account twice, one that moved, one protected, one that is off in between."""
        people = world.managed(40)
        moved, protected, off, twice = people[:4]
        world.change(moved, title="Pushed")
        world.act(protected, protected=True)
        protected = world.get(protected)
        people[1] = protected
        titles = [
            action(n, ActionKind.UPDATE, user.user_name, of=user, title=f"Title {n}")
            for n, user in enumerate(people, 1)
        ]
        again = action(41, ActionKind.UPDATE, twice.user_name, of=twice, locale="de-DE")
        ends = action(42, ActionKind.DEACTIVATE, off.user_name, of=off, active=False)
        last = action(43, ActionKind.UPDATE, off.user_name, of=off, locale="de-DE")
        actions = [*titles, again, ends, last]
        ended = world.carry_out(world.plan(actions), actions)
        assert {n for n, state in ended.items() if state != "done"} == {1, 2}
        assert {ended[1], ended[2]} == {"stale"}
        now = [world.get(user).profile.title for user in people]
        assert now == ["Pushed", None, *(f"Title {n}" for n in range(3, 41))]
        assert (world.get(twice).profile.locale, world.get(twice).version) == ("de-DE", twice.version + 2)
        assert (world.get(off).active, world.get(off).version) == (False, off.version + 3)
        assert_whole(world.store)
