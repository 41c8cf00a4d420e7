"""Reads both sides and makes a plan: a sweep of everybody, or a few people directly. Judges with the guard, applies nothing."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from agent.directory.port import Directory
from agent.model import limits as windows
from agent.model.absence import AbsenceAnswer, Proof, concerns
from agent.model.cases import CurrentAccount, Pair, Want
from agent.model.codes import ActionKind, FindingCode, HeldCode, Source
from agent.model.guard import Facts, Grant, ends_access, judge, source_hold
from agent.model.plan import Action, Finding, Plan
from agent.model.plan_outline import Outline, outline
from agent.model.users import Role
from agent.okta_org.org import OktaOrg
from agent.reconcile import guard_facts as gathered
from agent.reconcile.absence_proof import SAMPLE, Proofs, prove
from agent.reconcile.candidates import NAMED, import_candidates
from agent.reconcile.direct_read import Asked, PeopleRead, SingleReader, not_disproved
from agent.reconcile.event_queue import worded
from agent.reconcile.projector import Projector
from agent.reconcile.sweeper import Sweeper
from agent.runs.frame import Progress
from agent.runs.preflight import Binding
from agent.settings import Settings
from agent.store import account as account_row
from agent.store import compare, imports, staging
from agent.store.engine import Connection, Store

_OWNERS_UNKNOWN = (
    "OpsHelm shows no roles over SCIM, so nobody can tell whether this is its last owner: set directory.owners to the "
    "owners' userNames"
)
_NOBODY_ASKED = Proof(answer=AbsenceAnswer.NOT_ASKED, detail="the account is protected")


class Proposal(Struct, frozen=True, kw_only=True):
    """A plan before the guard, with all that judging and applying need."""

    plan: Plan
    facts: Facts
    source: Source
    #: Okta user id → what was read, of those whose row may be too old to create or reactivate by.
    wants: dict[str, Want]
    #: Okta user id → when to look again.
    due: dict[str, datetime]
    counts: dict[str, int]
    #: When the listing began, and how many people it saw; None for a single reconcile.
    swept_at: datetime | None = None


class Planner(Struct, frozen=True, kw_only=True):
    store: Store
    directory: Directory
    okta: OktaOrg
    settings: Settings
    projector: Projector
    clock: Callable[[], datetime]

    def sweep(self, binding: Binding, grant: Grant, progress: Progress) -> Proposal:
        with self.store.read() as conn:
            row = account_row.get(conn)
        sweeper = Sweeper(
            okta=self.okta, projector=self.projector, page_size=self.settings.reconcile.page_size, clock=self.clock
        )
        with staging.opened(self.store) as rows:
            swept = sweeper.sweep(rows, row, binding, progress)
            listed = self.directory.stage(rows, self.projector.mapping, progress.step)
            progress.step("comparing")
            with rows.snapshot() as conn:
                candidates, absent, (local, importable) = self._compare(conn)
        proofs = self._prove(absent, swept.people, grant, progress)
        # Said by the listing's own findings.
        candidates, _ = self._readable(candidates)
        outlined = outline(candidates, proofs.answers, self.projector.mapping, self.projector.names)
        with self.store.read() as conn:
            findings = worded(conn, (*binding.findings, *swept.findings, *listed, *outlined.findings, *importable))
        counts = {"people": swept.people, **_findings(findings), **swept.counts}
        counts.pop("read")
        if local:
            counts[FindingCode.IMPORT_CANDIDATE.value] = local
        return self._draft(
            outlined,
            candidates,
            [account for account, _ in proofs.answers],
            findings,
            swept.due,
            counts,
            people=swept.people,
            swept_at=swept.started,
            proofs=proofs,
        )

    def single(self, asked: Asked, binding: Binding, scope: tuple[str, ...], progress: Progress) -> Proposal:
        progress.step("reading people")
        return self.single_of(self.read(asked), binding, scope)

    def read(self, asked: Asked) -> PeopleRead:
        reader = SingleReader(directory=self.directory, okta=self.okta, projector=self.projector, clock=self.clock)
        return reader.read(asked)

    def single_of(self, found: PeopleRead, binding: Binding, scope: tuple[str, ...]) -> Proposal:
        absences = not_disproved(found.absences)
        candidates, unread = self._readable(found.candidates)
        outlined = outline(candidates, absences, self.projector.mapping, self.projector.names)
        with self.store.read() as conn:
            findings = worded(conn, (*binding.findings, *found.findings, *unread, *outlined.findings), found.persons)
        counts = {"people": found.people, **_findings(findings)}
        accounts = [account for account, _ in absences]
        return self._draft(outlined, candidates, accounts, findings, found.due, counts, scope=scope)

    def judged(self, draft: Proposal, grant: Grant) -> Plan:
        return judge(draft.plan, self.settings.guard, draft.facts, grant)

    def _readable(self, candidates: list[Pair]) -> tuple[list[Pair], list[Finding]]:
        """Without those whose account is there but can't be read: they aren't new, and are nobody else."""
        kept, findings = [], []
        for one in candidates:
            want = one.want
            finding = None
            if one.bound is None:
                finding = self.directory.unreadable(want.user_name, want.okta_id, want.external_id)
            if finding is None:
                kept.append(one)
            else:
                findings.append(finding)
        return kept, findings

    def _compare(self, conn: Connection) -> tuple[list[Pair], list[CurrentAccount], tuple[int, tuple[Finding, ...]]]:
        """Pairs that may need something, whoever may have left, and local accounts that Okta's app doesn't have."""
        relation = self.directory.relation
        candidates = list(compare.differing(conn, relation))
        absent = [account for account in compare.absent(conn, relation) if concerns(account)]
        # For import, never for this run.
        total, first = imports.candidates(conn, NAMED, relation)
        return candidates, absent, (total, import_candidates(total, first))

    def _prove(self, absent: list[CurrentAccount], people: int, grant: Grant, progress: Progress) -> Proofs:
        guard = self.settings.guard
        to_prove = [account for account in absent if not account.protected]
        answers = prove(
            to_prove,
            self.okta,
            self.projector,
            guard,
            self.clock(),
            progress,
            at_most=self._ask_at_most(len(to_prove), people, grant),
        )
        answers.answers += [(account, _NOBODY_ASKED) for account in absent if account.protected]
        return answers

    def _ask_at_most(self, absent: int, people: int, grant: Grant) -> int | None:
        """None: everybody. Where all of it will be held anyway, a sample tells whether the listing is wrong."""
        with self.store.read() as conn:
            facts, population = gathered.gather(conn, self.clock(), sweep=True)
        held, _ = source_hold(people, self.settings.guard, facts)
        if held is not None and held not in grant.lifted:
            return SAMPLE
        if grant.count is not None and absent > grant.count:
            return SAMPLE
        if grant.lifted or grant.approved or facts.announced or facts.announced_for:
            return None
        return SAMPLE if absent > max(SAMPLE, windows.run_limit(population, self.settings.guard)) else None

    def _without_owners(self, actions: tuple[Action, ...]) -> tuple[Action, ...]:
        """Where nobody can tell who the owners are, no deactivation is let go: it might be the last one's."""
        if self.directory.owners_known:
            return actions
        return tuple(
            replace(action, held=HeldCode.OWNERS_UNKNOWN, held_detail=_OWNERS_UNKNOWN)
            if action.held is None and ends_access(action)
            else action
            for action in actions
        )

    def _draft(
        self,
        outlined: Outline,
        candidates: list[Pair],
        accounts: list[CurrentAccount],
        findings: tuple[Finding, ...],
        due: dict[str, datetime],
        counts: dict[str, int],
        *,
        scope: tuple[str, ...] = (),
        people: int = 0,
        swept_at: datetime | None = None,
        proofs: Proofs | None = None,
    ) -> Proposal:
        sweep = swept_at is not None
        now = self.clock()
        with self.store.read() as conn:
            facts, population = gathered.gather(conn, now, sweep=sweep, owners=_owners(candidates, accounts))
        if proofs is not None:
            facts = replace(facts, asked=proofs.asked, disproved=proofs.disproved)
            counts = {**counts, "asked": proofs.asked, "disproved": proofs.disproved}
        wanted = {a.okta_id for a in outlined.actions if a.kind in (ActionKind.CREATE, ActionKind.REACTIVATE)}
        plan = Plan(
            actions=self._without_owners(outlined.actions),
            population=population,
            source_size=people,
            created=now,
            scope=scope,
            findings=findings,
        )
        return Proposal(
            plan=plan,
            facts=facts,
            source=Source.SWEEP if sweep else Source.SINGLE,
            wants={c.want.okta_id: c.want for c in candidates if c.want.okta_id in wanted},
            due=due,
            counts=counts,
            swept_at=swept_at,
        )


def _owners(candidates: Iterable[Pair], accounts: Iterable[CurrentAccount]) -> frozenset[str]:
    sides = [side for c in candidates for side in (c.bound, c.named, c.holder) if side is not None]
    return frozenset(a.id for a in (*sides, *accounts) if a.active and a.role is Role.OWNER)


def _findings(findings: Iterable[Finding]) -> dict[str, int]:
    return dict(Counter(finding.code.value for finding in findings))
