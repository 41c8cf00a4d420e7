"""Ask Okta about people whom a listing left out, one by one. Decides nothing but what each answer proves.

Asking stops as soon as the listing is known to be wrong. Where the run is held in any case only a sample is asked, since
10,000 questions take hours of Okta's limits; who was not asked is asked before anything is done to them.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from msgspec import Struct

from agent.model.absence import AbsenceAnswer, Proof
from agent.model.cases import CurrentAccount
from agent.model.desired import DesiredRow, Wanted
from agent.model.errors import Unaddressable
from agent.model.guard import GuardLimits, is_disproved
from agent.model.okta import Person
from agent.okta_org.org import OktaOrg
from agent.reconcile.sweeper import Projector
from agent.runs.frame import Progress

#: A minute of Okta's default limit for one token.
SAMPLE = 50


class Proofs(Struct, kw_only=True):
    answers: list[tuple[CurrentAccount, Proof]]
    asked: int = 0
    disproved: int = 0


class AbsenceProver(Struct, frozen=True, kw_only=True):
    okta: OktaOrg
    projector: Projector
    limits: GuardLimits
    now: datetime

    def prove(self, accounts: Sequence[CurrentAccount], progress: Progress, at_most: int | None) -> Proofs:
        """``at_most``: ask no more than a sample, the rest is NOT_ASKED; None: everybody."""
        to_ask = list(accounts[:at_most])
        found = Proofs(answers=[])
        for account, person in self._answers(to_ask):
            proof = answer(account, person, self.projector, self.now)
            found.answers.append((account, proof))
            found.asked += 1
            found.disproved += proof.answer is AbsenceAnswer.PRESENT
            progress.step("asking Okta about missing people", found.asked, len(to_ask))
            # Certain already, whatever the rest would say.
            if is_disproved(len(to_ask), found.disproved, self.limits):
                break
        rest = Proof(answer=AbsenceAnswer.NOT_ASKED, detail="not asked yet: the run is held")
        found.answers += [(account, rest) for account in accounts[found.asked :]]
        return found

    def _answers(
        self, accounts: Sequence[CurrentAccount]
    ) -> Iterator[tuple[CurrentAccount, Person | Unaddressable | None]]:
        """None: no Okta id is kept, and no Okta user has the login."""
        people = self.okta.people([a.okta_id for a in accounts if a.okta_id is not None])
        for account in accounts:
            if account.okta_id is not None:
                yield account, next(people)
                continue
            user = self.okta.user(account.user_name)
            yield account, None if user is None else self.okta.person(user.id)


def answer(
    account: CurrentAccount, person: Person | Unaddressable | None, projector: Projector, now: datetime
) -> Proof:
    if isinstance(person, Unaddressable):
        return Proof(answer=AbsenceAnswer.UNPROVABLE, detail=person.detail)
    if person is None:
        detail = f"no Okta id is kept for {account.user_name}, and no Okta user has this login"
        return Proof(answer=AbsenceAnswer.UNPROVABLE, detail=detail)
    okta_id = person.okta_id
    desired = projector.absent(person, now)
    if desired.wanted is Wanted.INACTIVE:
        detail = f"Okta says {desired.row.value} at {now:%H:%M:%S} UTC"
        return Proof(
            answer=AbsenceAnswer.ENDED, detail=detail, okta_id=okta_id, suspended=desired.row is DesiredRow.SUSPENDED
        )
    if person.app_user is not None:
        return Proof(answer=AbsenceAnswer.PRESENT, detail=f"its app user is {person.app_user.status}", okta_id=okta_id)
    if desired.wanted is Wanted.LEAVE:
        return Proof(answer=AbsenceAnswer.UNDECIDED, detail=desired.detail, okta_id=okta_id)
    if person.okta_user is None:
        return Proof(
            answer=AbsenceAnswer.NO_SUCH_USER, detail=f"404 for the Okta user at {now:%H:%M:%S} UTC", okta_id=okta_id
        )
    return Proof(answer=AbsenceAnswer.GONE, detail=f"404 for the app user at {now:%H:%M:%S} UTC", okta_id=okta_id)
