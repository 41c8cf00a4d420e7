"""Somebody in the directory whom no listing of Okta's showed. Pure: what Okta said of that one person is given.

===============================================  =======================================================
the account, and what Okta said                  action
===============================================  =======================================================
local                                            nothing
protected                                        nothing; finding
managed; no app user (404)                       deactivate
managed; an explicit end                         deactivate
managed; it has an app user after all            nothing; the listing was wrong (finding, counted)
managed; a status that says nothing              nothing; finding
managed; no Okta id, and none by login           held absence_not_provable
local with an Okta id of this org                adopt as linked, then as above
local with an Okta id that this org hasn't       nothing; finding unknown_owner
===============================================  =======================================================

Inactive accounts are not asked about, but for those that are inactive only because of a suspension.
"""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from agent.model.cases import Case, CaseRow, CurrentAccount, adoption, deactivation
from agent.model.codes import FindingCode, HeldCode
from agent.model.okta import is_okta_id
from agent.model.plan import Finding
from agent.model.users import Origin


class AbsenceAnswer(StrEnum):
    """What asking Okta about one person proved."""

    #: 404, with the app still answering 200.
    GONE = "not_assigned"
    #: An explicit status that means inactive.
    ENDED = "ended"
    #: Assigned and wanted after all.
    PRESENT = "present"
    #: A status that decides nothing.
    UNDECIDED = "undecided"
    #: No Okta id is kept and no Okta user has the login.
    UNPROVABLE = "unprovable"
    #: The org has no such Okta user.
    NO_SUCH_USER = "no_such_user"
    #: The run is held in any case; nobody was asked.
    NOT_ASKED = "not_asked"


class Proof(Struct, frozen=True, kw_only=True):
    answer: AbsenceAnswer
    #: For people: "404 at 2026-03-01 12:03:11Z", "the app user is INACTIVE".
    detail: str
    okta_id: str | None = None
    #: Ended only by policy.suspended.
    suspended: bool = False
    #: When Okta was asked; None: it wasn't.
    at: datetime | None = None


def concerns(account: CurrentAccount) -> bool:
    """Is the absence of this account's person worth asking about?"""
    if not account.active and not account.suspended:
        return False
    return account.managed or (account.origin is Origin.LOCAL and is_okta_id(account.okta_id))


def classify_absent(account: CurrentAccount, proof: Proof) -> Case:
    if not concerns(account):
        return Case(row=CaseRow.NOTHING)
    if account.protected:
        return _found(
            CaseRow.PROTECTED, FindingCode.PROTECTED, account, "not assigned in Okta; the account is protected"
        )
    match proof.answer:
        case AbsenceAnswer.PRESENT:
            detail = f"missing from the listing, but Okta has the person: {proof.detail}"
            return _found(CaseRow.NOTHING, FindingCode.ABSENCE_DISPROVED, account, detail)
        case AbsenceAnswer.UNDECIDED:
            return _found(CaseRow.LEAVE, FindingCode.LEFT_ALONE, account, proof.detail)
    if not account.managed and proof.answer in (AbsenceAnswer.NO_SUCH_USER, AbsenceAnswer.UNPROVABLE):
        detail = f"the org has no Okta user {account.okta_id}; users deactivate {account.user_name} ends it"
        return _found(CaseRow.NOTHING, FindingCode.UNKNOWN_OWNER, account, detail)
    okta_id = proof.okta_id or account.okta_id
    action = deactivation(account, okta_id, f"{proof.answer.value}: {proof.detail}", suspended=proof.suspended)
    if proof.answer is AbsenceAnswer.UNPROVABLE:
        action = replace(action, held=HeldCode.ABSENCE_NOT_PROVABLE, held_detail=proof.detail, proof=None)
    elif proof.answer is AbsenceAnswer.NOT_ASKED:
        action = replace(action, proof=None)
    first = () if account.managed or not okta_id else (adoption(account, okta_id),)
    return Case(row=CaseRow.DEACTIVATE, actions=(*first, action))


def _found(row: CaseRow, code: FindingCode, account: CurrentAccount, detail: str) -> Case:
    finding = Finding(
        code=code, login=account.user_name, detail=detail, directory_id=account.id, okta_id=account.okta_id
    )
    return Case(row=row, findings=(finding,))
