"""The table of agent.model.absence, row by row."""

import pytest

from agent.model.absence import AbsenceAnswer, Proof, classify_absent, concerns
from agent.model.codes import ActionKind, FindingCode, HeldCode
from agent.model.users import Origin
from support.pairs import OKTA_ID, account

MANAGED = account(okta_id=OKTA_ID)
ELSEWHERE = account(okta_id=OKTA_ID, origin=Origin.LOCAL)


def proof(answer: AbsenceAnswer, **more: object) -> Proof:
    return Proof(answer=answer, detail="as Okta said", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "have",
    [
        account(),
        account(origin=Origin.OKTA),
        account(okta_id="legacy-7", origin=Origin.LOCAL),
        account(okta_id=OKTA_ID, active=False),
    ],
)
def test_local_and_inactive_accounts_are_nobodys_business(have) -> None:
    assert not concerns(have)
    assert classify_absent(have, proof(AbsenceAnswer.GONE)).actions == ()


def test_protected_accounts_are_only_reported() -> None:
    case = classify_absent(account(okta_id=OKTA_ID, protected=True), proof(AbsenceAnswer.GONE))
    assert (case.actions, [f.code for f in case.findings]) == ((), [FindingCode.PROTECTED])


@pytest.mark.parametrize("answer", [AbsenceAnswer.GONE, AbsenceAnswer.ENDED, AbsenceAnswer.NO_SUCH_USER])
def test_proven_absence_of_a_managed_account_is_a_deactivation_that_names_its_proof(answer: AbsenceAnswer) -> None:
    [action] = classify_absent(MANAGED, proof(answer)).actions
    assert (action.kind, action.proof, action.held) == (ActionKind.DEACTIVATE, f"{answer.value}: as Okta said", None)


def test_a_disproved_absence_is_reported_and_nothing_is_done() -> None:
    case = classify_absent(MANAGED, proof(AbsenceAnswer.PRESENT))
    assert (case.actions, [f.code for f in case.findings]) == ((), [FindingCode.ABSENCE_DISPROVED])


def test_a_status_that_says_nothing_is_left_alone() -> None:
    case = classify_absent(MANAGED, proof(AbsenceAnswer.UNDECIDED))
    assert (case.actions, [f.code for f in case.findings]) == ((), [FindingCode.LEFT_ALONE])


def test_without_an_okta_id_and_a_login_that_okta_knows_it_is_held() -> None:
    [action] = classify_absent(account(origin=Origin.LINKED), proof(AbsenceAnswer.UNPROVABLE)).actions
    assert (action.held, action.proof) == (HeldCode.ABSENCE_NOT_PROVABLE, None)


def test_an_externalid_of_this_org_is_adopted_and_then_deactivated() -> None:
    actions = classify_absent(ELSEWHERE, proof(AbsenceAnswer.GONE)).actions
    assert [a.kind for a in actions] == [ActionKind.LINK, ActionKind.DEACTIVATE]


def test_an_externalid_that_this_org_does_not_know_is_a_finding() -> None:
    case = classify_absent(ELSEWHERE, proof(AbsenceAnswer.NO_SUCH_USER))
    assert (case.actions, [f.code for f in case.findings]) == ((), [FindingCode.UNKNOWN_OWNER])


def test_who_was_not_asked_has_no_proof() -> None:
    [action] = classify_absent(MANAGED, proof(AbsenceAnswer.NOT_ASKED)).actions
    assert action.proof is None


def test_an_account_that_was_only_suspended_loses_its_kept_role() -> None:
    [action] = classify_absent(
        account(okta_id=OKTA_ID, active=False, suspended=True), proof(AbsenceAnswer.GONE)
    ).actions
    assert set(action.changes) == {"suspended"}
