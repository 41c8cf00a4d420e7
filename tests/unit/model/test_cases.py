"""Design's case table, row by row, in its order."""

import pytest

from agent.model.codes import ActionKind, FindingCode
from agent.model.desired import DesiredRow, Wanted
from agent.model.paths import EMAIL_PATH
from agent.model.plan import Change
from agent.model.users import Origin
from support.pairs import MAPPING, OKTA_ID, account, plan, short, want

OTHER = "00u" + "2" * 17
ANN, BOB = "ann@example.com", "bob@example.com"


def test_row_1_nothing_in_the_directory_is_a_create_with_all_that_okta_maps() -> None:
    [action] = plan([want(mapped='{"name.givenName":"Ann"}')], []).actions
    assert action.kind is ActionKind.CREATE
    assert {path: change.after for path, change in action.changes.items()} == {
        "userName": ANN,
        "active": True,
        "externalId": OKTA_ID,
        EMAIL_PATH: ANN,
        "name.givenName": "Ann",
    }


@pytest.mark.parametrize("name", [ANN, "ANN@Example.com", " ann@example.com"])
def test_row_2_linked_active_equal_is_in_step_and_case_is_no_difference(name: str) -> None:
    outlined = plan([want(name)], [account(okta_id=OKTA_ID)])
    assert (outlined.actions, outlined.findings) == ((), ())


def test_row_3_only_the_attributes_that_differ_are_updated() -> None:
    have = account(okta_id=OKTA_ID, mapped='{"title":"Old","name.givenName":"Ann","nickName":"A"}')
    cleared = 1 << MAPPING.paths.index("nickName")
    [action] = plan([want(mapped='{"title":"New","name.givenName":"Ann"}', cleared=cleared)], [have]).actions
    assert (action.kind, action.version) == (ActionKind.UPDATE, 3)
    assert action.changes == {"nickName": Change(before="A", after=None), "title": Change(before="Old", after="New")}


def test_row_3_what_okta_does_not_say_is_not_compared() -> None:
    assert plan([want()], [account(okta_id=OKTA_ID, mapped='{"title":"Mine"}')]).actions == ()


def test_row_4_linked_inactive_is_one_reactivation_with_the_update_in_it() -> None:
    have = account(okta_id=OKTA_ID, active=False)
    [action] = plan([want(mapped='{"title":"New"}')], [have]).actions
    assert action.kind is ActionKind.REACTIVATE
    assert set(action.changes) == {"active", "title"}


@pytest.mark.parametrize("owner", [False, True])
def test_row_5_named_by_okta_with_the_same_user_name_is_linked_owners_too(owner: bool) -> None:
    have = account(owner=owner, email="else@example.com") if not owner else account(owner=True)
    link = plan([want(external_id=have.id)], [have]).actions[0]
    assert link.kind is ActionKind.LINK
    assert link.changes == {"externalId": Change(before=None, after=OKTA_ID)}
    assert link.held is None


def test_row_5_an_account_that_a_push_linked_is_bound_whatever_its_name_is_now() -> None:
    have = account(BOB, origin=Origin.LINKED)
    outlined = plan([want(external_id=have.id)], [have])
    assert short(outlined) == [("link", BOB, None), ("update", BOB, None)]


@pytest.mark.parametrize("origin", [Origin.LOCAL, Origin.OKTA])
def test_row_6_same_user_name_and_e_mail_is_linked_and_the_rest_is_a_second_action(origin: Origin) -> None:
    have = account(origin=origin, active=False, mapped='{"title":"Old"}')
    outlined = plan([want(mapped='{"title":"New"}')], [have])
    assert short(outlined) == [("link", ANN, None), ("reactivate", ANN, None)]
    assert outlined.actions[1].needs == (1,)


@pytest.mark.parametrize(
    "have", [account(email="else@example.com"), account(owner=True)], ids=["other e-mail", "owner"]
)
def test_row_7_same_user_name_and_anything_else_needs_a_decision(have) -> None:
    assert short(plan([want()], [have])) == [("link", ANN, "link_needs_decision")]


def test_row_7_a_local_account_that_okta_names_under_another_name_needs_a_decision() -> None:
    have = account(BOB)
    assert short(plan([want(external_id=have.id)], [have])) == [("link", BOB, "link_needs_decision")]


def test_row_8_external_id_and_user_name_that_name_two_accounts_are_a_conflict() -> None:
    named, holder = account(BOB), account(ANN)
    assert short(plan([want(external_id=named.id)], [named, holder])) == [("link", BOB, "identity_conflict")]


@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_row_9_an_account_of_another_okta_user_is_name_reuse(active: bool, named: bool) -> None:
    have = account(okta_id=OTHER, active=active)
    outlined = plan([want(external_id=have.id if named else None)], [have])
    assert short(outlined) == [("link", ANN, "name_reuse")]
    assert outlined.actions[0].changes == {"externalId": Change(before=OTHER, after=OKTA_ID)}


def test_row_9_under_another_name_it_is_a_changed_external_id() -> None:
    have = account(BOB, okta_id=OTHER)
    assert short(plan([want(external_id=have.id)], [have])) == [("link", BOB, "external_id_changed")]


def test_row_10_two_app_users_with_one_name_are_both_held() -> None:
    outlined = plan([want(), want("ANN@example.com", okta_id=OTHER)], [account(okta_id=OKTA_ID)])
    assert sorted(short(outlined)) == [
        ("create", "ANN@example.com", "identity_conflict"),
        ("update", ANN, "identity_conflict"),
    ]


def test_row_10_a_twin_that_has_left_is_none() -> None:
    gone = want(wanted=Wanted.INACTIVE, okta_id=OTHER, row=DesiredRow.APP_USER_ENDED)
    assert plan([want(), gone], [account(okta_id=OKTA_ID)]).actions == ()


def test_row_11_a_rename_to_a_free_name_is_an_update_of_name_and_e_mail() -> None:
    [action] = plan([want("ann.new@example.com")], [account(okta_id=OKTA_ID)]).actions
    assert action.kind is ActionKind.UPDATE
    assert set(action.changes) == {"userName", EMAIL_PATH}


def test_row_12_a_ring_of_renames_is_one_action_and_other_attributes_follow() -> None:
    ann, bob = account(ANN, okta_id=OKTA_ID), account(BOB, okta_id=OTHER, mapped='{"title":"Old"}')
    outlined = plan([want(BOB), want(ANN, okta_id=OTHER, mapped='{"title":"New"}')], [ann, bob])
    assert short(outlined) == [("rename_cycle", ANN, None), ("update", BOB, None)]
    assert outlined.actions[0].cycle == ((ann.id, 3, BOB), (bob.id, 3, ANN))
    assert set(outlined.actions[1].changes) == {"title"}
    assert outlined.actions[1].needs == (1,)


@pytest.mark.parametrize(
    "holder", [account(BOB), account(BOB, okta_id=OTHER), account(BOB, okta_id=OTHER, active=False)]
)
def test_row_13_a_new_name_that_somebody_keeps_is_taken(holder) -> None:
    assert short(plan([want(BOB)], [account(okta_id=OKTA_ID), holder])) == [("update", ANN, "name_taken")]


@pytest.mark.parametrize("name", ["ann", "änn@example.com", "ann\u200b@example.com"])
def test_row_13_an_invalid_new_name_is_held(name: str) -> None:
    assert short(plan([want(name)], [account(okta_id=OKTA_ID)])) == [("update", ANN, "name_invalid")]
    assert short(plan([want(name)], [])) == [("create", name, "name_invalid")]


@pytest.mark.parametrize("changed", [{"name": "new@example.com"}, {"name": ANN, "email": "new@example.com"}])
def test_row_14_the_identity_of_an_owner_is_held(changed) -> None:
    have = account(okta_id=OKTA_ID, owner=True)
    assert short(plan([want(**changed)], [have])) == [("update", ANN, "owner_identity")]


def test_row_14_an_owners_other_attributes_are_updated() -> None:
    have = account(okta_id=OKTA_ID, owner=True)
    assert short(plan([want(mapped='{"title":"New"}')], [have])) == [("update", ANN, None)]


@pytest.mark.parametrize("accounts", [[], [account(okta_id=OKTA_ID, active=False)], [account()]])
def test_row_15_pending_is_nothing_yet(accounts) -> None:
    assert plan([want("other@example.com", Wanted.PENDING)], accounts).actions == ()


def test_row_16_inactive_and_linked_active_is_a_deactivation() -> None:
    [action] = plan([want(wanted=Wanted.INACTIVE, row=DesiredRow.APP_USER_ENDED)], [account(okta_id=OKTA_ID)]).actions
    assert (action.kind, action.proof, action.suspended) == (ActionKind.DEACTIVATE, "app_user_ended", False)


def test_row_16_suspension_is_remembered_as_the_only_reason() -> None:
    left = want(wanted=Wanted.INACTIVE, row=DesiredRow.SUSPENDED)
    [action] = plan([left], [account(okta_id=OKTA_ID)]).actions
    assert action.suspended
    assert plan([left], [account(okta_id=OKTA_ID, active=False, suspended=True)]).actions == ()


def test_row_16_another_reason_ends_the_kept_role_of_a_suspended_account() -> None:
    have = account(okta_id=OKTA_ID, active=False, suspended=True)
    [action] = plan([want(wanted=Wanted.INACTIVE, row=DesiredRow.DEPROVISIONED)], [have]).actions
    assert action.changes == {"suspended": Change(before=True, after=False)}


def test_row_17_inactive_and_local_is_only_reported() -> None:
    outlined = plan([want(wanted=Wanted.INACTIVE, row=DesiredRow.APP_USER_ENDED)], [account()])
    assert outlined.actions == ()
    assert [f.code for f in outlined.findings] == [FindingCode.LEFT_BUT_LOCAL]


@pytest.mark.parametrize("accounts", [[], [account(okta_id=OKTA_ID, active=False)], [account(active=False)]])
def test_row_18_inactive_and_nothing_or_inactive_is_nothing(accounts) -> None:
    outlined = plan([want(wanted=Wanted.INACTIVE, row=DesiredRow.APP_USER_ENDED)], accounts)
    assert (outlined.actions, outlined.findings) == ((), ())


@pytest.mark.parametrize("wanted", [Wanted.ACTIVE, Wanted.INACTIVE])
def test_row_22_a_protected_account_is_only_reported(wanted: Wanted) -> None:
    row = DesiredRow.LIVE if wanted is Wanted.ACTIVE else DesiredRow.APP_USER_ENDED
    have = account(okta_id=OKTA_ID, protected=True, mapped='{"title":"Old"}')
    outlined = plan([want(wanted=wanted, row=row, mapped='{"title":"New"}')], [have])
    assert outlined.actions == ()
    assert [f.code for f in outlined.findings] == [FindingCode.PROTECTED]


def test_row_22_a_protected_local_account_is_not_linked() -> None:
    assert plan([want()], [account(protected=True)]).actions == ()


@pytest.mark.parametrize("accounts", [[], [account(okta_id=OKTA_ID)], [account(okta_id=OKTA_ID, active=False)]])
def test_row_23_leave_alone_is_nothing(accounts) -> None:
    outlined = plan([want("new@example.com", Wanted.LEAVE, row=DesiredRow.UNKNOWN_USER)], accounts)
    assert (outlined.actions, outlined.findings) == ((), ())


@pytest.mark.parametrize("active", [True, False])
def test_suspended_and_kept_changes_attributes_and_never_the_switch(active: bool) -> None:
    have = account(okta_id=OKTA_ID, active=active)
    outlined = plan([want(wanted=Wanted.KEEP, row=DesiredRow.SUSPENDED, mapped='{"title":"New"}')], [have])
    assert short(outlined) == [("update", ANN, None)]
    assert plan([want(wanted=Wanted.KEEP, row=DesiredRow.SUSPENDED)], []).actions == ()
    assert plan([want(wanted=Wanted.KEEP, row=DesiredRow.SUSPENDED)], [account()]).actions == ()


def test_a_name_that_is_given_up_in_the_same_plan_is_free_for_a_new_hire() -> None:
    leaving = account(ANN, okta_id=OTHER)
    outlined = plan([want(ANN), want("ann.married@example.com", okta_id=OTHER)], [leaving])
    assert short(outlined) == [("update", ANN, None), ("create", ANN, None)]
    assert outlined.actions[1].needs == (1,)


def test_an_account_that_two_people_claim_goes_to_neither() -> None:
    have = account(BOB)
    wants = [want(BOB), want("x@example.com", okta_id=OTHER, external_id=have.id)]
    assert {held for _, _, held in short(plan(wants, [have]))} == {"identity_conflict", "link_needs_decision"}


def test_an_externalid_that_came_from_elsewhere_is_adopted_when_okta_lists_it() -> None:
    have = account(okta_id=OKTA_ID, origin=Origin.LOCAL)
    [action] = plan([want()], [have]).actions
    assert (action.kind, action.changes) == (ActionKind.LINK, {"origin": Change(before="local", after="linked")})


def test_a_failed_push_explains_the_drift() -> None:
    outlined = plan([want(mapped='{"title":"New"}', sync_error=True)], [account(okta_id=OKTA_ID)])
    assert [f.code for f in outlined.findings] == [FindingCode.SYNC_ERROR]
    assert plan([want(sync_error=True)], [account(okta_id=OKTA_ID)]).findings == ()
