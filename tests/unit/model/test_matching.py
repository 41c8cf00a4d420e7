"""Each row of the two tables of agent.model.matching, in their order, and what must hold for any two sides."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model.codes import HeldCode
from agent.model.matching import NEW, Apart, Knowledge, Match, MatchClass, MatchKeys, People, importable, match_all
from agent.model.okta import AppUser, Credentials, OktaUser
from agent.model.usernames import NameRules
from agent.model.users import DirectoryUser, MultiValue, Name, Origin, Profile, Role

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def local(login: str = "ann@example.com", first: str = "Ann", last: str = "Lee", **more: Any) -> DirectoryUser:
    email = more.pop("email", login)
    emails = (MultiValue(value=email, primary=True),) if email else ()
    values: dict[str, Any] = {"id": f"id-{login}", "active": True, "created": NOW, "updated": NOW}
    profile = Profile(name=Name(given_name=first, family_name=last), emails=emails)
    return DirectoryUser(user_name=login, profile=profile, **{**values, **more})


def okta(
    login: str = "ann@example.com",
    first: str = "Ann",
    last: str = "Lee",
    *,
    email: str = "",
    status: str = "ACTIVE",
    okta_id: str = "",
) -> OktaUser:
    profile = {"login": login, "email": email or login, "firstName": first, "lastName": last}
    return OktaUser(id=okta_id or f"00u{login}", status=status, profile=profile)


def match(account: DirectoryUser, *users: OktaUser, **known: Any) -> Match:
    return match_all([account], People(users), Knowledge(**known))[0]


# Classes


def test_a_login_that_equals_the_user_name_is_exact() -> None:
    found = match(local("Ann@Example.com"), okta("ann@example.com", "Other", "Name"))
    assert (found.kind, found.okta and found.okta.id, found.held, found.apart) == (
        MatchClass.EXACT,
        "00uann@example.com",
        None,
        None,
    )


def test_the_login_decides_although_another_user_has_the_e_mail() -> None:
    found = match(local(), okta(), okta("boss@example.com", email="ann@example.com"))
    assert found.okta is not None
    assert found.okta.id == "00uann@example.com"


def test_the_primary_e_mail_alone_is_exact_and_apart() -> None:
    found = match(local(), okta("ann@corp.example.com", email="ann@example.com"))
    assert (found.kind, found.apart, found.held) == (MatchClass.EXACT, Apart.EMAIL_ONLY, None)


def test_two_users_with_the_e_mail_are_partial() -> None:
    users = [okta(f"ann{n}@corp.example.com", email="ann@example.com") for n in range(2)]
    found = match(local(), *users)
    assert (found.kind, found.held, len(found.candidates)) == (MatchClass.PARTIAL, HeldCode.PARTIAL_MATCH, 2)


def test_names_that_agree_without_the_address_are_partial() -> None:
    found = match(local(), okta("a.lee@corp.example.com", " ANN", "lee"))
    assert (found.kind, found.held) == (MatchClass.PARTIAL, HeldCode.PARTIAL_MATCH)
    assert "--okta-id 00ua.lee@corp.example.com" in found.held_detail
    assert "--create" in found.held_detail


def test_one_name_that_agrees_is_nobody() -> None:
    assert match(local(last=""), okta("x@example.com", "Ann", "")).kind is MatchClass.NONE


def test_nobody_is_none() -> None:
    found = match(local(), okta("bob@example.com", "Bob", "Lee"))
    assert (found.kind, found.okta, found.held) == (MatchClass.NONE, None, None)


# Apart


def test_an_owner_is_apart() -> None:
    assert match(local(role=Role.OWNER), okta()).apart is Apart.OWNER
    assert match(local(role=Role.OWNER)).apart is Apart.OWNER


# Held


def test_a_protected_account_is_held() -> None:
    found = match(local(protected=True), okta())
    assert (found.held, found.apart) == (HeldCode.PROTECTED, Apart.PROTECTED)


@pytest.mark.parametrize(
    ("login", "email"),
    [("ann", "ann@example.com"), ("ann@example.com", "other@example.com"), ("änn@example.com", "änn@example.com")],
)
def test_a_name_that_opshelm_would_refuse_is_held(login: str, email: str) -> None:
    assert match(local(login, email=email)).held is HeldCode.NAME_INVALID


def test_without_the_rule_only_a_new_okta_login_must_be_an_e_mail() -> None:
    rules = NameRules(is_email=False)
    found = match(local("ann", email="ann@example.com"), okta("ann", email="ann@example.com"), rules=rules)
    assert found.held is None
    assert match(local("ann", email="ann@example.com"), rules=rules).held is HeldCode.NAME_INVALID


def test_an_external_id_of_another_user_is_held() -> None:
    found = match(local(okta_id="00uboss@example.com"), okta(), okta("boss@example.com", "The", "Boss"))
    assert found.held is HeldCode.IDENTITY_CONFLICT
    assert "boss@example.com" in found.held_detail


def test_an_external_id_of_nobody_is_held_and_its_own_is_not() -> None:
    assert match(local(okta_id="00ugone"), okta()).held is HeldCode.IDENTITY_CONFLICT
    assert match(local(okta_id="00uann@example.com"), okta()).held is None


def test_an_okta_user_who_has_the_app_under_another_name_is_held() -> None:
    app_user = AppUser(id="00uann@example.com", credentials=Credentials(user_name="old@example.com"))
    found = match(local(), okta(), app_users={app_user.id: app_user})
    assert found.held is HeldCode.IDENTITY_CONFLICT


@pytest.mark.parametrize("status", ["DEPROVISIONED", "SUSPENDED", "STAGED", "FUTURE", ""])
def test_an_okta_user_who_is_not_live_is_held(status: str) -> None:
    assert match(local(), okta(status=status)).held is HeldCode.OKTA_STATUS


@pytest.mark.parametrize("status", ["ACTIVE", "PROVISIONED", "PASSWORD_EXPIRED", "RECOVERY", "LOCKED_OUT"])
def test_a_live_one_is_not(status: str) -> None:
    assert match(local(), okta(status=status)).held is None


def test_different_primary_e_mails_are_held() -> None:
    assert match(local(), okta(email="a.lee@example.com")).held is HeldCode.LINK_NEEDS_DECISION
    assert match(local(email=""), rules=NameRules(is_email=False)).held is HeldCode.LINK_NEEDS_DECISION


# Two accounts for one Okta user


def test_of_two_accounts_the_one_with_the_login_goes_on() -> None:
    first, second = local(), local("ann@corp.example.com", email="ann@example.com")
    found = match_all([first, second], People([okta()]), Knowledge(rules=NameRules(is_email=False)))
    assert [m.held for m in found] == [None, HeldCode.IDENTITY_CONFLICT]


# What a person, or an import that did not end, has decided


def test_a_named_okta_user_settles_a_partial_match() -> None:
    user = okta("a.lee@corp.example.com", email="ann@example.com", okta_id="00uLee")
    twin = okta("ann2@corp.example.com", email="ann@example.com")
    found = match(local(), user, twin, decisions={"id-ann@example.com": "00uLee"})
    assert (found.kind, found.okta, found.held, found.decided) == (MatchClass.EXACT, user, None, True)


def test_a_named_okta_user_who_does_not_exist_is_held() -> None:
    assert match(local(), decisions={"id-ann@example.com": "00uNobody"}).held is HeldCode.PARTIAL_MATCH


@pytest.mark.parametrize(
    ("status", "held"), [("STAGED", None), ("SUSPENDED", None), ("DEPROVISIONED", HeldCode.OKTA_STATUS)]
)
def test_naming_the_okta_user_settles_what_okta_lets_be_assigned(status: str, held: HeldCode | None) -> None:
    user = okta(status=status, okta_id="00uAnn")
    assert match(local(), user, decisions={"id-ann@example.com": "00uAnn"}).held is held


def test_a_new_one_is_made_beside_a_namesake_but_never_beside_the_login() -> None:
    decisions = {"id-ann@example.com": NEW}
    assert match(local(), okta("a.lee@corp.example.com"), decisions=decisions).kind is MatchClass.NONE
    assert match(local(), okta(), decisions=decisions).kind is MatchClass.EXACT


def test_whom_an_unfinished_import_made_is_not_held_for_being_staged() -> None:
    found = match(local(), okta(status="STAGED"), made={"id-ann@example.com": "00uann@example.com"})
    assert (found.made, found.held) == (True, None)
    assert match(local(), okta(status="STAGED"), made={"id-ann@example.com": "00uOther"}).held is HeldCode.OKTA_STATUS


# Candidates


@pytest.mark.parametrize(
    ("changes", "candidate"),
    [
        ({}, True),
        ({"origin": Origin.OKTA}, True),
        ({"okta_id": "00u1"}, True),
        ({"active": False}, False),
        ({"hidden": True}, False),
        ({"origin": Origin.LINKED}, False),
        ({"origin": Origin.OKTA, "okta_id": "00u1"}, False),
    ],
)
def test_only_active_accounts_that_okta_does_not_manage_are_candidates(
    changes: dict[str, Any], candidate: bool
) -> None:
    assert importable(local(**changes)) is candidate


NAMES = st.sampled_from(["Ann", "ann", "Bob", ""])
LOGINS = st.sampled_from(["ann@example.com", "ANN@example.com", "bob@example.com", "cy@example.com"])
STATUS = st.sampled_from(["ACTIVE", "STAGED", "SUSPENDED", "DEPROVISIONED", "PROVISIONED"])
USERS = st.lists(st.tuples(LOGINS, NAMES, NAMES, LOGINS, STATUS), max_size=5, unique_by=lambda t: t[0].lower())
ACCOUNTS = st.lists(st.tuples(LOGINS, NAMES, NAMES), max_size=4, unique_by=lambda t: t[0].lower())


@given(USERS, ACCOUNTS)
def test_nobody_is_brought_in_twice_and_no_login_is_made_twice(users: list[Any], accounts: list[Any]) -> None:
    people = [okta(login, first, last, email=email, status=status) for login, first, last, email, status in users]
    locals_ = [local(login, first, last) for login, first, last in accounts]
    found = match_all(locals_, People(people), Knowledge())
    free = [m for m in found if m.held is None]
    chosen = [m.okta.id for m in free if m.okta]
    assert len(chosen) == len(set(chosen))
    assert all(m.kind in (MatchClass.EXACT, MatchClass.NONE) for m in free)
    logins = {str(user.profile["login"]).lower() for user in people}
    assert not logins & {m.account.user_name.lower() for m in free if m.kind is MatchClass.NONE}
    assert all(
        user.status in ("ACTIVE", "PROVISIONED") for user in people for m in free if m.okta and m.okta.id == user.id
    )


@given(USERS, ACCOUNTS)
def test_whom_the_keys_leave_out_changes_no_match(users: list[Any], accounts: list[Any]) -> None:
    people = [okta(login, first, last, email=email, status=status) for login, first, last, email, status in users]
    locals_ = [local(login, first, last) for login, first, last in accounts]
    keys = MatchKeys(locals_)
    few = [user for user in people if keys.fit(user)]
    assert match_all(locals_, People(few), Knowledge()) == match_all(locals_, People(people), Knowledge())
