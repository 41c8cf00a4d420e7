"""What every directory does, whichever it is: the embedded one, a second receiver of ours, and servers that others wrote."""

from concurrent.futures import wait
from datetime import timedelta

import pytest

from agent.model.codes import ActionKind, RefusalCode, Source
from agent.model.errors import FenceLost, NotFound, Refused, VersionConflict
from agent.model.paths import EMAIL_PATH
from agent.model.plan import Action
from agent.model.users import Enterprise, Manager, MultiValue, Origin, Role
from agent.scim.filter import parse
from agent.store import brakes, lease, windows
from support.place import OWNERS, Place, action, draft, okta_id

EMAIL_OF_NEW = {EMAIL_PATH: "new@example.com"}


def test_a_created_account_is_found_by_id_name_and_okta_id(place: Place) -> None:
    made = place.post("Ann@example.com", okta=okta_id(1), title="Clerk")
    assert made.created
    user = made.user
    assert (user.active, user.okta_id, user.origin, user.role) == (True, okta_id(1), Origin.OKTA, Role.MEMBER)
    assert user.profile.title == "Clerk"
    assert place.get(user) == user
    assert place.directory.find(user_name_key="ann@example.com") == user
    assert place.directory.find(okta_id=okta_id(1)) == user
    assert place.directory.find(user_name_key="nobody@example.com") is None
    assert place.directory.find(okta_id=okta_id(9)) is None
    assert place.directory.get("no-such-id") is None


def test_a_name_and_an_okta_id_are_given_once(place: Place) -> None:
    place.post("ann@example.com", okta=okta_id(1))
    for name, okta in (
        ("ANN@example.com", okta_id(2)),
        ("ann@example.com", okta_id(1)),
        ("new@example.com", okta_id(1)),
    ):
        with pytest.raises(Refused) as caught:
            place.post(name, okta=okta)
        assert caught.value.reason is RefusalCode.UNIQUENESS
    assert sum(len(page) for page in place.directory.everyone()) == 1


def test_a_change_touches_what_it_names_and_nothing_else(place: Place) -> None:
    phones = (MultiValue(value="+1 555 0100", type="work"), MultiValue(value="+1 555 0199", type="mobile"))
    user = place.post("ann@example.com", okta=okta_id(1), title="Clerk", phone_numbers=phones).user
    changed = place.change(user, title="Chief", nick_name="Annie", version=user.version)
    assert changed.changed
    after = place.get(user)
    assert changed.user == after
    assert (after.profile.title, after.profile.nick_name) == ("Chief", "Annie")
    assert after.version != user.version
    assert after.profile.phone_numbers == phones
    assert (after.profile.name, after.user_name, after.active) == (user.profile.name, user.user_name, True)


def test_values_are_cleared_and_lists_replaced(place: Place) -> None:
    enterprise = Enterprise(department="Tour", cost_center="7", manager=Manager(value="m1"))
    user = place.post("ann@example.com", okta=okta_id(1), title="Clerk", enterprise=enterprise).user
    phones = (MultiValue(value="+1 555 0111", type="work"),)
    place.change(user, title=None, phone_numbers=phones, enterprise=Enterprise(department="Sales"))
    profile = place.get(user).profile
    assert (profile.title, profile.phone_numbers, profile.enterprise) == (None, phones, Enterprise(department="Sales"))
    place.change(user, phone_numbers=())
    assert place.get(user).profile.phone_numbers == ()


def test_what_is_so_already_is_not_written(place: Place) -> None:
    user = place.post("ann@example.com", okta=okta_id(1)).user
    rows = len(place.verbs("applied"))
    again = place.change(user, active=True)
    assert not again.changed
    assert again.user.version == user.version
    assert len(place.verbs("applied")) == rows


def test_a_version_that_moved_is_a_conflict(place: Place) -> None:
    user = place.post("ann@example.com", okta=okta_id(1)).user
    place.change(user, title="Clerk")
    with pytest.raises(VersionConflict):
        place.change(user, title="Chief", version=user.version)
    assert place.get(user).profile.title == "Clerk"


def test_an_account_that_is_not_there_is_not_found(place: Place) -> None:
    user = place.post("ann@example.com", okta=okta_id(1)).user
    from msgspec.structs import replace

    with pytest.raises(NotFound):
        place.change(replace(user, id="no-such-id"), title="Clerk")


def test_a_rename_frees_the_old_name(place: Place) -> None:
    user = place.post("ann@example.com", okta=okta_id(1)).user
    place.change(user, user_name="ann.lee@example.com")
    assert place.directory.find(user_name_key="ann@example.com") is None
    found = place.directory.find(user_name_key="ann.lee@example.com")
    assert found is not None
    assert (found.id, found.email_key) == (user.id, "ann.lee@example.com")


def test_who_comes_back_gets_the_old_account_as_member(place: Place) -> None:
    user = place.post("ann@example.com", okta=okta_id(1)).user
    gone = place.change(user, active=False).user
    assert (gone.active, gone.deactivated) == (False, place.now)
    back = place.post("ann.new@example.com", okta=okta_id(1))
    assert back.created
    assert (back.user.id, back.user.active, back.user.user_name) == (user.id, True, "ann.new@example.com")
    assert place.get(user).deactivated is None


def test_a_removed_account_is_inactive_and_hidden_but_still_there(place: Place) -> None:
    user = place.post("ann@example.com", okta=okta_id(1)).user
    place.post("bob@example.com", okta=okta_id(2))
    place.directory.remove(user.id, place.context(), place.now).result(30)
    kept = place.get(user)
    assert (kept.active, kept.hidden) == (False, True)
    shown = place.directory.search(None, 1, 100)
    assert (shown.total, [u.user_name for u in shown.users]) == (1, ["bob@example.com"])
    assert sum(map(len, place.directory.everyone())) == 2


def test_everyone_is_listed_once_over_many_pages(place: Place) -> None:
    names = {f"person{n}@example.com" for n in range(30)}
    for n, name in enumerate(sorted(names)):
        place.post(name, okta=okta_id(n))
    listed = [user for page in place.directory.everyone() for user in page]
    assert len(listed) == 30
    assert {user.user_name for user in listed} == names
    assert all(user == place.get(user) for user in listed[:3])
    first, second = place.directory.search(None, 1, 20), place.directory.search(None, 21, 20)
    assert (first.total, len(first.users), len(second.users)) == (30, 20, 10)
    assert {user.user_name for page in (first, second) for user in page.users} == names


def test_a_search_answers_who_fits(place: Place) -> None:
    place.post("ann@example.com", okta=okta_id(1), title="Clerk")
    place.post("bob@example.com", okta=okta_id(2), title="Chief")
    for text in ('userName eq "BOB@example.com"', f'externalId eq "{okta_id(2)}"', 'title sw "Ch" and active eq true'):
        found = place.directory.search(parse(text), 1, 10)
        assert [user.user_name for user in found.users] == ["bob@example.com"], text
        assert found.total == 1


def test_a_push_links_a_local_account_and_may_not_end_or_rename_it(place: Place) -> None:
    user = place.local("loc@example.com")
    assert not user.managed
    for changes in ({"active": False}, {"user_name": "other@example.com"}):
        with pytest.raises(Refused) as caught:
            place.change(user, **changes)
        assert caught.value.reason is RefusalCode.LOCAL_ACCOUNT
    with pytest.raises(Refused) as caught:
        place.change(user, source=Source.SWEEP, title="Clerk")
    assert caught.value.reason is RefusalCode.LOCAL_ACCOUNT
    assert place.get(user) == user
    linked = place.change(user, okta_id=okta_id(1), title="Clerk").user
    assert (linked.origin, linked.okta_id, linked.managed, linked.profile.title) == (
        Origin.LINKED,
        okta_id(1),
        True,
        "Clerk",
    )
    assert place.directory.find(okta_id=okta_id(1)) == place.get(user) == linked


def test_a_bound_account_keeps_its_okta_id(place: Place) -> None:
    user = place.post("ann@example.com", okta=okta_id(1)).user
    with pytest.raises(Refused) as caught:
        place.change(user, okta_id=okta_id(2))
    assert caught.value.reason is RefusalCode.NAME_REUSE
    assert place.get(user).okta_id == okta_id(1)


def test_whether_an_inactive_account_is_still_its_persons_is_asked_of_okta_when_it_is_pushed_to(place: Place) -> None:
    active, inactive = place.managed(2)
    inactive = place.act(inactive, active=False)
    place.change(active, title="Lead")
    place.change(inactive, title="Lead")
    assert place.attention() == [("confirm_reuse", inactive.id)]


def test_an_operator_links_unlinks_and_protects(place: Place) -> None:
    user = place.local("loc@example.com")
    acts = place.acts()
    assert acts.link(user.id, "00uOPERATOR").managed
    assert place.get(user).okta_id == "00uOPERATOR"
    protected = acts.protect(user.id, protected=True)
    assert protected.protected
    with pytest.raises(Refused) as caught:
        place.change(user, title="Clerk")
    assert caught.value.reason is RefusalCode.PROTECTED
    acts.protect(user.id, protected=False)
    acts.unlink(user.id)
    free = place.get(user)
    assert (free.okta_id, free.origin, free.managed) == (None, Origin.LOCAL, False)
    assert place.directory.find(okta_id="00uOPERATOR") is None


def test_the_last_active_owner_stays(place: Place) -> None:
    first, second = (place.owner(name) for name in OWNERS)
    assert (first.role, second.role) == (Role.OWNER, Role.OWNER)
    assert not place.change(first, active=False).user.active
    with pytest.raises(Refused) as caught:
        place.change(second, active=False)
    assert caught.value.reason is RefusalCode.LAST_OWNER
    assert place.get(second).active


def test_of_two_last_owners_at_once_one_stays(place: Place) -> None:
    calls = [place.begin_change(place.owner(name), active=False) for name in OWNERS]
    wait(calls)
    errors = [call.exception() for call in calls]
    assert sorted(isinstance(error, Refused) for error in errors) == [False, True]
    active = [place.directory.find(user_name_key=name) for name in OWNERS]
    assert sorted(user is not None and user.active for user in active) == [False, True]


def test_a_burst_of_pushed_deactivations_is_held(guarded_place: Place) -> None:
    place = guarded_place
    people = [place.post(f"person{n}@example.com", okta=okta_id(n)).user for n in range(20)]
    for user in people[:3]:
        place.change(user, active=False)
    held = people[3:6]
    for user in held:
        with pytest.raises(Refused) as caught:
            place.change(user, active=False)
        assert (caught.value.reason, caught.value.retry_after) == (RefusalCode.PUSH_BURST, 300)
    assert all(place.get(user).active for user in held)
    with place.store.read() as conn:
        assert windows.counts(conn, place.now).last_hour == 3
        assert {push.directory_id for push in brakes.refused_pushes(conn)} == {user.id for user in held}


def test_who_lost_the_lease_writes_nothing(place: Place) -> None:
    user = place.post("ann@example.com", okta=okta_id(1)).user
    held = lease.acquire(place.store, lease.RECONCILE, "a", timedelta(seconds=60))
    assert held is not None
    place.change(user, source=Source.SWEEP, title="Clerk", fence=held.fence)
    held.release()
    with pytest.raises(FenceLost):
        place.change(user, source=Source.SWEEP, title="Chief", fence=held.fence)
    assert place.get(user).profile.title == "Clerk"


def test_every_change_and_every_refusal_has_its_journal_row(place: Place) -> None:
    user = place.post("ann@example.com", okta=okta_id(1)).user
    place.change(user, title="Clerk")
    place.change(user, active=False)
    place.change(user, active=True)
    with pytest.raises(Refused):
        place.directory.create(draft("ann@example.com", okta=okta_id(2)), place.context(), place.now).result(30)
    assert place.verbs("applied") == ["create", "update", "deactivate", "reactivate"]
    assert place.verbs("refused") == ["create"]


def test_the_actions_of_a_plan_are_carried_out_each_with_its_own_end(place: Place) -> None:
    moved = place.post("moved@example.com", okta=okta_id(1)).user
    person = place.post("ann@example.com", okta=okta_id(2)).user
    actions = (
        action(1, ActionKind.CREATE, "new@example.com", okta=okta_id(3), userName="new@example.com", **EMAIL_OF_NEW),
        action(2, ActionKind.UPDATE, "ann@example.com", of=person, title="Chief"),
        action(3, ActionKind.DEACTIVATE, "ann@example.com", of=person, active=False, needs=(2,)),
        action(4, ActionKind.UPDATE, "moved@example.com", of=moved, title="Late"),
        action(5, ActionKind.UPDATE, "moved@example.com", of=moved, nickName="Later", needs=(4,)),
    )
    place.change(moved, title="Quicker")
    plan_id = place.plan(actions)
    assert place.carry_out(plan_id, actions) == {1: "done", 2: "done", 3: "done", 4: "stale", 5: "stale"}
    assert place.states(plan_id) == {1: "done", 2: "done", 3: "done", 4: "stale", 5: "stale"}
    made = place.directory.find(okta_id=okta_id(3))
    assert made is not None
    assert (made.user_name, made.managed, made.active) == ("new@example.com", True, True)
    after = place.get(person)
    assert (after.profile.title, after.active) == ("Chief", False)
    assert place.get(moved).profile.title == "Quicker"


def test_what_a_rule_refuses_is_held_and_the_rest_is_carried_out(place: Place) -> None:
    owner = place.owner(OWNERS[0])
    person = place.post("ann@example.com", okta=okta_id(2)).user
    actions = (
        action(1, ActionKind.DEACTIVATE, owner.user_name, of=owner, active=False),
        action(2, ActionKind.DEACTIVATE, person.user_name, of=person, active=False),
    )
    plan_id = place.plan(actions)
    assert place.carry_out(plan_id, actions) == {1: "held", 2: "done"}
    assert place.states(plan_id) == {1: "held", 2: "done"}
    assert place.get(owner).active
    assert not place.get(person).active


def test_names_that_wait_for_each_other_change_hands(place: Place) -> None:
    ann = place.post("ann@example.com", okta=okta_id(1)).user
    bob = place.post("bob@example.com", okta=okta_id(2)).user
    ring = Action(
        n=1,
        kind=ActionKind.RENAME_CYCLE,
        login=ann.user_name,
        directory_id=ann.id,
        okta_id=ann.okta_id,
        cycle=((ann.id, ann.version, "bob@example.com"), (bob.id, bob.version, "ann@example.com")),
    )
    plan_id = place.plan((ring,))
    assert place.carry_out(plan_id, (ring,)) == {1: "done"}
    assert place.get(ann).user_name == "bob@example.com"
    assert place.get(bob).user_name == "ann@example.com"


def test_a_create_that_meets_an_account_made_meanwhile_is_stale(place: Place) -> None:
    new = action(1, ActionKind.CREATE, "new@example.com", okta=okta_id(3), userName="new@example.com", **EMAIL_OF_NEW)
    plan_id = place.plan((new,))
    local = place.local("new@example.com")
    assert place.carry_out(plan_id, (new,)) == {1: "stale"}
    assert place.get(local) == local
    assert place.directory.find(okta_id=okta_id(3)) is None
