"""Both sides read, and a plan made of it: a sweep of everybody, or a few people directly. Judges and applies nothing.

What judging needs to know besides (counters, windows, who failed lately) is read here too, in one snapshot of the store.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from agent.directory.port import Directory
from agent.model.absence import AbsenceAnswer, Proof, concerns
from agent.model.cases import CurrentAccount, Left, Pair, Want
from agent.model.codes import FindingCode, HeldCode, Source
from agent.model.desired import DesiredRow, Wanted
from agent.model.errors import UsageError
from agent.model.guard import Facts, Grant, ends_access, gives_access, judge, run_limit, source_hold
from agent.model.holds import ChangeKind
from agent.model.okta import Person
from agent.model.plan import Action, Finding, Plan
from agent.model.plan_outline import Besides, outline
from agent.model.times import when
from agent.model.users import DirectoryUser, Role
from agent.okta_org.org import OktaOrg
from agent.reconcile.direct_read import DirectReader, PeopleRead, not_disproved
from agent.reconcile.look_queue import worded
from agent.reconcile.sweeper import SAMPLE, AbsenceProver, Projector, Proofs, Sweeper, answer
from agent.runs.frame import Binding, Progress
from agent.settings import Settings
from agent.store import account as account_row
from agent.store import alarms, compare, plans
from agent.store import holds as register
from agent.store import windows as counters
from agent.store.engine import Connection, Store

if TYPE_CHECKING:
    from agent.reconcile.roles import RoleReader, RolesCompared

#: The alarm that a run raises about a kind of change (agent.model.holds.broad_kind) of which too many failed.
TOO_MANY_FAILED = "failed_actions"
#: After so long one run may try them again.
_PROBE = timedelta(hours=1)
#: A person's failed action waits this long, twice as long after each further one, up to the longest.
_FIRST_WAIT, _LONGEST_WAIT = timedelta(minutes=10), timedelta(hours=24)
_REMEMBER = timedelta(days=7)
#: People between two signs of life.
_TOLD_EVERY = 1000
#: More local accounts than these are counted in one finding.
_NAMED = 20
_OWNERS_UNKNOWN = (
    "OpsHelm shows no roles over SCIM, so nobody can tell whether this is its last owner: set directory.owners to the "
    "owners' userNames"
)
_GONE = (AbsenceAnswer.GONE, AbsenceAnswer.ENDED, AbsenceAnswer.NO_SUCH_USER)
_NOBODY_ASKED = Proof(answer=AbsenceAnswer.NOT_ASKED, detail="the account is protected")


class Comparison(Struct, frozen=True, kw_only=True):
    """What was read of both sides, side by side."""

    #: Used up when a plan is made of it.
    pairs: list[Pair]
    #: Accounts that Okta's app has nobody for, and what asking Okta about each proved.
    absences: Sequence[tuple[CurrentAccount, Proof]]
    findings: tuple[Finding, ...]
    #: Okta user id → when to look again.
    due: dict[str, datetime]
    people: int
    #: What Okta's side was read by; of a sweep, also what was asked for once more.
    projectors: tuple[Projector, ...]
    counts: dict[str, int] = {}
    #: Okta user ids of those who were read directly.
    read: frozenset[str] = frozenset()
    #: None: no sweep.
    swept_at: datetime | None = None
    proofs: Proofs | None = None
    #: None: no group gives roles.
    roles: "RolesCompared | None" = None


class Proposal(Struct, frozen=True, kw_only=True):
    """A plan before the guard, with all that judging and applying need."""

    compared: Comparison
    binding: Binding
    #: What a person has typed or approved.
    grant: Grant
    plan: Plan
    facts: Facts
    #: Okta user id → ``essence`` of what was read, of those whose row may be too old to create or reactivate by.
    wants: dict[str, int]
    #: Okta user id → when Okta was asked, of all whose access would begin or end.
    asked: dict[str, datetime]
    #: The newest push that Okta's answers can know of.
    push_mark: int
    counts: dict[str, int]

    @property
    def source(self) -> Source:
        return Source.SINGLE if self.compared.swept_at is None else Source.SWEEP


class Planner(Struct, frozen=True, kw_only=True):
    store: Store
    directory: Directory
    okta: OktaOrg
    settings: Settings
    projector: Projector
    clock: Callable[[], datetime]

    def sweep(self, binding: Binding, grant: Grant, progress: Progress) -> Comparison:
        """Everybody; whoever the listing left out is asked about one by one."""
        row = self.store.ask(account_row.get)
        page_size = self.settings.reconcile.page_size
        kept = self.directory.kept
        projector = self.projector.within(kept)
        asking = self.projector.within(kept.asking) if kept.due & kept.not_these else projector
        sweeper = Sweeper(okta=self.okta, projector=projector, asking=asking, page_size=page_size, clock=self.clock)
        # First, since Okta's pages are compared as they come.
        listed = self.directory.refresh(progress.step)
        with compare.staging(self.store) as rows:
            swept = sweeper.sweep(rows, row, binding, progress)
            reader = self._roles()
            groups = None if reader is None else reader.groups(listed=True, progress=progress)
            progress.step("comparing")
            with rows.snapshot() as conn:
                account_row.require_mapping(account_row.get(conn), self.projector.mapping)
                pairs = []
                for pair in compare.differing(conn):
                    pairs.append(pair)
                    if len(pairs) % _TOLD_EVERY == 0:
                        progress.step("comparing: people who may differ", len(pairs))
                absent = [account for account in compare.absent(conn) if concerns(account)]
                # For import, never for this run.
                local, first = compare.only_local(conn, _NAMED)
                roles = None if reader is None or groups is None else reader.sweep(conn, groups)
        if reader is not None and roles is not None:
            roles = reader.proven(roles, progress)
        proofs = self._prove(absent, swept.people, grant, progress)
        swept.counts.pop("read")
        if local:
            swept.counts[FindingCode.IMPORT_CANDIDATE.value] = local
        return Comparison(
            pairs=self._readable(pairs)[0],  # the listing's own findings say why not
            absences=proofs.answers,
            findings=(
                *binding.findings,
                *swept.findings,
                *listed,
                *_import_candidates(local, first),
                *(roles.findings if roles is not None else ()),
            ),
            due=swept.due,
            people=swept.people,
            projectors=(projector, asking),
            counts=swept.counts,
            swept_at=swept.started,
            proofs=proofs,
            roles=roles,
        )

    def single(self, found: PeopleRead, binding: Binding) -> Comparison:
        """A few people, read directly."""
        pairs, unread = self._readable(found.pairs)
        reader = self._roles()
        roles = None if reader is None else reader.people(pairs)
        return Comparison(
            pairs=pairs,
            absences=not_disproved(found.absences),
            findings=(*binding.findings, *found.findings, *unread, *(roles.findings if roles is not None else ())),
            due=found.due,
            people=found.people,
            projectors=(self.projector.within(self.directory.kept),),
            read=frozenset((*found.persons, *(account.id for account, _ in found.absences))),
            roles=roles,
        )

    def reader(self) -> DirectReader:
        projector = self.projector.within(self.directory.kept)
        return DirectReader(directory=self.directory, okta=self.okta, projector=projector, clock=self.clock)

    def proposal(
        self, compared: Comparison, binding: Binding, grant: Grant, push_mark: int, scope: tuple[str, ...] = ()
    ) -> Proposal:
        """What would be done about every difference, if nobody held it."""
        pairs, owners = _as_decided(compared.pairs, grant), _owners(compared)
        wants = {pair.want.okta_id: essence(pair.want) for pair in pairs}
        asked = {pair.want.okta_id: pair.want.read_at for pair in pairs}
        outlined = outline(
            pairs,
            compared.absences,
            self.projector.mapping.within(self.directory.kept),
            self.projector.names,
            Besides(
                left=self._left(pairs, compared, grant),
                gives_ids=self.directory.gives_ids,
                roles=() if compared.roles is None else compared.roles.actions,
            ),
        )
        sweep, now, proofs = compared.swept_at is not None, self.clock(), compared.proofs
        with self.store.read() as conn:
            findings = worded(conn, (*compared.findings, *outlined.findings), compared.read)
            facts, population = facts_of(conn, now, sweep=sweep)
        facts = replace(facts, owners=owners)
        if compared.roles is not None:
            facts = compared.roles.known_to(facts)
        counts = {"people": compared.people, **Counter(found.code.value for found in findings), **compared.counts}
        if proofs is not None:
            facts = replace(facts, asked=proofs.asked, disproved=proofs.disproved)
            counts |= {"asked": proofs.asked, "disproved": proofs.disproved}
        # One after the other: in a first run each has everybody.
        concerned = [
            a.okta_id
            for a in outlined.actions
            if a.okta_id and a.okta_id in wants and (gives_access(a) or ends_access(a))
        ]
        wants = {okta_id: wants[okta_id] for okta_id in concerned}
        asked = {okta_id: asked[okta_id] for okta_id in concerned}
        asked |= {proof.okta_id: proof.at for _, proof in compared.absences if proof.okta_id and proof.at}
        plan = Plan(
            actions=self._without_owners(outlined.actions),
            population=population,
            source_size=compared.people if sweep else 0,
            created=now,
            scope=scope,
            findings=findings,
        )
        return Proposal(
            compared=compared,
            binding=binding,
            grant=grant,
            plan=plan,
            facts=facts,
            wants=wants,
            asked=asked,
            push_mark=push_mark,
            counts=counts,
        )

    def require_gone(self, user: DirectoryUser) -> None:
        """UsageError where Okta still has the person of this account, or can't say."""
        if user.okta_id is None:
            return
        account = CurrentAccount.of(user, self.projector.mapping)
        (person,) = self.okta.people([user.okta_id])
        proof = answer(account, person, self.projector, self.clock())
        if proof.answer not in (*_GONE, AbsenceAnswer.UNPROVABLE):
            raise UsageError(
                f"{user.user_name} belongs to the Okta user {user.okta_id}, who has not left: {proof.detail}. Nothing was "
                "changed. If Okta has linked somebody else to this account, unassign them there, and assign them again under "
                "a userName of their own."
            )

    def _roles(self) -> "RoleReader | None":
        """None: no group gives roles. UsageError where this OpsHelm takes none."""
        if not self.settings.roles.owner:
            return None
        from agent.reconcile.roles import RoleReader, require

        require(self.directory)
        return RoleReader(store=self.store, okta=self.okta, settings=self.settings.roles, clock=self.clock)

    def _left(self, pairs: Sequence[Pair], compared: Comparison, grant: Grant) -> dict[str, Left]:
        """Leavers' accounts in whose place somebody new may get one, since an operator or the settings say so.

        Okta is asked about both people. More than a sample waits for the next run.
        """
        everywhere = self.settings.policy.name_reuse == "new_account"
        if not self.directory.gives_ids or not (everywhere or grant.new_accounts):
            return {}
        ending = {account.id for account, _ in compared.absences}
        ending |= {pair.linked.id for pair in pairs if pair.want.wanted is Wanted.INACTIVE and pair.linked is not None}
        found: dict[str, Left] = {}
        for pair in [pair for pair in pairs if pair.want.wanted is Wanted.ACTIVE and not pair.twin]:
            account = pair.foreign
            if account is None or len(found) >= SAMPLE or not (everywhere or account.id in grant.new_accounts):
                continue
            if account.active and account.id not in ending:
                continue  # its person is there
            leaver, new = self.okta.people([account.okta_id or "", pair.want.okta_id])
            proof = answer(account, leaver, self.projector, self.clock())
            if proof.answer in _GONE and not proof.suspended and isinstance(new, Person) and new.app_user is not None:
                found[account.id] = Left(proof=f"{proof.answer.value}: {proof.detail}", assigned=new.app_user.created)
        return found

    def judged(self, proposal: Proposal) -> Plan:
        return judge(proposal.plan, self.settings.guard, proposal.facts, proposal.grant)

    def _readable(self, pairs: Iterable[Pair]) -> tuple[list[Pair], list[Finding]]:
        """Without those whose account is there but can't be read: they aren't new, and are nobody else."""
        kept, findings = [], []
        for one in pairs:
            want, finding = one.want, None
            if one.bound is None:
                finding = self.directory.unreadable(want.user_name, want.okta_id, want.external_id)
            if finding is None:
                kept.append(one)
            else:
                findings.append(finding)
        return kept, findings

    def _prove(self, absent: list[CurrentAccount], people: int, grant: Grant, progress: Progress) -> Proofs:
        to_prove = [account for account in absent if not account.protected]
        at_most = self._ask_at_most(len(to_prove), people, grant)
        prover = AbsenceProver(okta=self.okta, projector=self.projector, limits=self.settings.guard, now=self.clock())
        proofs = prover.prove(to_prove, progress, at_most)
        proofs.answers += [(account, _NOBODY_ASKED) for account in absent if account.protected]
        return proofs

    def _ask_at_most(self, absent: int, people: int, grant: Grant) -> int | None:
        """None: everybody. Where all of it will be held anyway, a sample tells whether the listing is wrong."""
        if not absent:
            return None
        with self.store.read() as conn:
            facts, population = facts_of(conn, self.clock(), sweep=True)
        held, _ = source_hold(people, self.settings.guard, facts)
        if held is not None and held not in grant.lifted:
            return SAMPLE
        if grant.count is not None and absent > grant.count:
            return SAMPLE
        if grant.lifted or grant.approved or facts.announced or facts.announced_for:
            return None
        return SAMPLE if absent > max(SAMPLE, run_limit(population, self.settings.guard)) else None

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


def essence(want: Want) -> int:
    """Equal in this process where as much is wanted; all of it would be a first run's largest part."""
    return hash((want.wanted, want.user_name_key, want.email_key, want.mapped, want.unsaid))


def _as_decided(pairs: list[Pair], grant: Grant) -> list[Pair]:
    """Who is to get an account by a person's word doesn't wait for Okta's own push, which can't make it."""
    if not grant.new_accounts:
        return pairs
    return [
        replace(pair, want=replace(pair.want, wanted=Wanted.ACTIVE))
        if (account := pair.foreign) is not None
        and account.id in grant.new_accounts
        and (pair.want.wanted is Wanted.PENDING or pair.want.row is DesiredRow.SYNCING)
        else pair
        for pair in pairs
    ]


def _owners(compared: Comparison) -> frozenset[str]:
    sides = [side for pair in compared.pairs for side in (pair.bound, pair.named, pair.holder) if side is not None]
    accounts = (*sides, *(account for account, _ in compared.absences))
    return frozenset(account.id for account in accounts if account.active and account.role is Role.OWNER)


def _import_candidates(total: int, first: Sequence[compare.LocalAccount]) -> tuple[Finding, ...]:
    """Local accounts that Okta's app doesn't have: named while they are few. To bring them in is a person's to ask for."""
    code = FindingCode.IMPORT_CANDIDATE
    if total > _NAMED:
        detail = f"{total:,} local OpsHelm accounts are unknown to Okta's app. Look at them: opshelm-agent import list"
        return (Finding(code=code, login="", detail=detail),)
    return tuple(Finding(code=code, login=one.user_name, directory_id=one.id, detail=_candidate(one)) for one in first)


def _candidate(one: compare.LocalAccount) -> str:
    unknown = "Okta's app doesn't know this local account"
    if one.protected:
        return f"{unknown}. It is protected: the push that links it would be refused, so it stays as it is."
    return f"{unknown}. Bring it in: opshelm-agent import plan --user {one.user_name}"


# What the guard needs to know


def facts_of(conn: Connection, now: datetime, *, sweep: bool) -> tuple[Facts, int]:
    """The facts, and the population that limits are counted from."""
    row = account_row.get(conn)
    counts = counters.counts(conn, now)
    allowances = counters.open_allowances(conn, now)
    facts = Facts(
        sweep=sweep,
        pinned=row.pinned,
        managed_active=row.managed_active,
        active_owners=row.active_owners,
        day=counts.last_day,
        hour=counts.last_hour,
        last_good_people=row.last_good_people,
        distrust=row.distrust or "",
        quarantine=_quarantine(conn, now),
        holds={(hold.subject, hold.kind): hold for hold in register.open_holds(conn)},
        now=now,
        announced=sum(a.count - a.used for a in allowances if a.directory_id is None),
        announced_for=frozenset(a.directory_id for a in allowances if a.directory_id is not None),
        failing=dict(_failing(conn, now)),
    )
    return facts, counts.population


def _quarantine(conn: Connection, now: datetime) -> dict[ChangeKind, str]:
    return {
        ChangeKind(alarm.subject): f"{alarm.detail} Tried again after {when(alarm.last_seen + _PROBE)}"
        for alarm in alarms.open_alarms(conn)
        if alarm.code == TOO_MANY_FAILED and alarm.last_seen <= now < alarm.last_seen + _PROBE
    }


def _failing(conn: Connection, now: datetime) -> Iterable[tuple[tuple[str, ChangeKind], str]]:
    for person in plans.failed_people(conn, now - _REMEMBER):
        again = person.last + min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(person.times - 1, 10))
        # What a clock dated later than now, before it was set back, puts off nothing.
        if person.last <= now < again:
            yield (
                (person.person, person.kind),
                f"failed {person.times} times in a row ({person.error}); tried again after {when(again)}",
            )
