"""The import as pages need it: one look at both sides, kept until the next one, and one thing at a time on a desk of its own.

A look at a large org takes minutes, so no request waits for it. What was found is in this process alone, without the accounts'
profiles; what is to be done is a stored plan, as on the command line. Knows no page.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from msgspec import Struct

from agent.dashboard.desk import Desk, DeskWork, EndedWork
from agent.imports import Importer
from agent.imports.planner import Choice
from agent.imports.survey import Survey
from agent.model.errors import UsageError
from agent.model.matching import Match, MatchClass
from agent.model.okta import OktaUser
from agent.runs.frame import Progress, RunReport
from agent.store.journal import Signature


class OktaCandidate(Struct, frozen=True, kw_only=True):
    """An Okta user who might be the same person."""

    id: str
    login: str
    name: str
    status: str


class AccountToImport(Struct, frozen=True, kw_only=True):
    """One account that Okta's app doesn't know, and who it is in Okta."""

    directory_id: str
    login: str
    kind: MatchClass
    reason: str
    #: Why classes leave it out; "" where they don't.
    apart: str
    held: str
    held_detail: str
    #: Whom the match names, first; empty where there is nobody.
    candidates: tuple[OktaCandidate, ...]

    @property
    def confirmable(self) -> bool:
        """With its class."""
        return not self.apart and not self.held


class Review(Struct, frozen=True, kw_only=True):
    """What one look has found."""

    at: datetime
    accounts: tuple[AccountToImport, ...]
    #: Assigned, and not linked by Okta yet; managed ones without the app.
    linking: int
    unassigned: int

    def of(self, kind: MatchClass) -> list[AccountToImport]:
        return [account for account in self.accounts if account.kind is kind]

    def counts(self) -> dict[MatchClass, tuple[int, int]]:
        """Of each class: how many, and how many of them are confirmed with it."""
        all_of = Counter(account.kind for account in self.accounts)
        ready = Counter(account.kind for account in self.accounts if account.confirmable)
        return {kind: (all_of[kind], ready[kind]) for kind in MatchClass}


class ImportDesk:
    """One for each process. ``importer`` answers None where there is no [okta]."""

    def __init__(self, importer: Callable[[], Importer | None], clock: Callable[[], datetime]) -> None:
        self._importer, self._clock = importer, clock
        self._desk, self._lock = Desk(), threading.Lock()
        #: What is under way, or was done last.
        self.work: DeskWork | None = None
        self.review: Review | None = None
        #: What was found before is gone.
        self.begun = clock()

    @property
    def busy(self) -> bool:
        return self.work is not None and self.work.ended is None

    def close(self) -> None:
        """What is under way ends first: it stops at the next account, as every apply does."""
        self._desk.close()

    def look(self) -> None:
        """Sort every account anew."""

        def work(importer: Importer, progress: Progress) -> None:
            self.review = _reviewed(importer.survey(progress), self._clock())

        self._begin("Looking at both sides", work)

    def plan(self, choice: Choice, by: Signature) -> None:
        """Make and store a plan; nothing is written to Okta."""
        who = {"actor": by.actor, "trigger": by.source}
        self._begin("Making the plan", lambda importer, say: importer.plan(choice, **who, progress=say))

    def apply(self, plan_id: int, by: Signature) -> None:
        """Carry a stored plan out."""
        who = {"actor": by.actor, "trigger": by.source}
        self._begin(
            f"Carrying out plan {plan_id}", lambda importer, say: importer.apply(plan_id, **who, wait=0, progress=say)
        )

    def _begin(self, what: str, work: Callable[[Importer, Progress], RunReport | None]) -> None:
        importer = self._importer()
        if importer is None:
            raise UsageError("There is no Okta to import into: set okta.org_url, okta.app_id and the credentials.")
        with self._lock:
            if self.work is not None and self.busy:
                raise UsageError(f"{self.work.what} is under way; wait for its end. Nothing was begun.")
            self.work = self._desk.begin(what, "/imports", lambda say: EndedWork(report=work(importer, say)))


def choice_of(kind: MatchClass | None, chosen: Iterable[tuple[str, str]]) -> Choice:
    """A whole class, or these accounts: directory id and an Okta user's id, "new", or "" for what their match says."""
    if kind is not None:
        return Choice(classes=frozenset({kind}))
    named = dict(chosen)
    if not named:
        raise UsageError("Nobody was chosen. Nothing was done.")
    return Choice(named=named)


def _reviewed(survey: Survey, now: datetime) -> Review:
    accounts = sorted((_account(match) for match in survey.matches), key=lambda account: account.login)
    return Review(at=now, accounts=tuple(accounts), linking=len(survey.assigned), unassigned=len(survey.unassigned))


def _account(match: Match) -> AccountToImport:
    return AccountToImport(
        directory_id=match.account.id,
        login=match.account.user_name,
        kind=match.kind,
        reason=match.reason,
        apart=match.apart.value if match.apart else "",
        held=match.held.value if match.held else "",
        held_detail=match.held_detail,
        candidates=_candidates(match.okta, match.candidates),
    )


def _candidates(named: OktaUser | None, others: Sequence[OktaUser]) -> tuple[OktaCandidate, ...]:
    found = {user.id: user for user in (*((named,) if named else ()), *others)}
    return tuple(
        OktaCandidate(
            id=user.id,
            login=str(user.profile.get("login") or ""),
            name=" ".join(str(user.profile.get(key) or "") for key in ("firstName", "lastName")).strip(),
            status=user.status or "",
        )
        for user in found.values()
    )
