"""Okta's side of a sweep: the app's users, each as a row to compare, page by page into the staging rows.

A listing is complete, or an error: nothing in between.
The status lists are read first and joined while the pages come; the app is asked once more at the end, since a listing of
an app that went away in between is none. Whoever the list left out is asked about one by
one. Reads Okta, writes staging rows. Compares nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from datetime import datetime, timedelta

from msgspec import UNSET, Struct, UnsetType, field
from msgspec.structs import replace

from agent.model.absence import AbsenceAnswer, Proof
from agent.model.cases import CurrentAccount, Want
from agent.model.codes import FindingCode
from agent.model.desired import ASSIGNED, Desired, DesiredRow, DesiredRules, Wanted, desire, user_status
from agent.model.errors import UNDECODABLE, Frozen, OktaRejected, Unaddressable
from agent.model.guard import GuardLimits, is_disproved
from agent.model.mapping import Kept, Mapping
from agent.model.okta import NO_PROFILE, UNREADABLE, AppUser, Person
from agent.model.plan import Finding
from agent.model.times import when
from agent.model.usernames import MAX_LENGTH, NameRules
from agent.model.users import MAX_KEY, identity_key
from agent.okta_org.org import OktaOrg
from agent.runs.frame import Binding, Progress, usable_app
from agent.settings import Settings
from agent.store.account import Account
from agent.store.compare import Content, Staging
from agent.store.engine import crash_point

#: People asked about where all is held anyway: a minute of Okta's default limit for one token.
SAMPLE = 50
#: Statuses that change what is wanted of an assigned person; all others are live. DEPROVISIONED comes by its time.
STATUS_LISTS = ("SUSPENDED", "STAGED", "ACTIVATING")
#: Okta may not know the word; then nobody has it.
_TRANSITIONAL = "ACTIVATING"
#: Deprovisioned people are looked for this far back.
FIRST_LOOK_BACK = timedelta(days=30)
OVERLAP = timedelta(days=1)
#: More findings of one kind than this are only counted.
LISTED_FINDINGS = 10_000


class Projector(Struct, frozen=True, kw_only=True):
    """One app user as a row to compare: what is wanted, by which row of the table, and what is worth reporting. No IO."""

    mapping: Mapping
    rules: DesiredRules
    names: NameRules

    @classmethod
    def of(cls, settings: Settings) -> "Projector":
        reconcile = settings.reconcile
        return cls(
            mapping=Mapping(settings.mapping),
            rules=DesiredRules(settle=reconcile.settle, syncing=reconcile.syncing, suspended=settings.policy.suspended),
            names=settings.receiver.names,
        )

    def within(self, kept: Kept) -> "Projector":
        """The same, for a directory that keeps so much."""
        return replace(self, mapping=self.mapping.within(kept))

    def listed(
        self, app_user: AppUser, statuses: MappingOf[str, str], now: datetime
    ) -> tuple[Want, Desired, Finding | None]:
        """A row of a sweep. Who is on none of the status lists is live."""
        return self._project(app_user, statuses.get(app_user.id, "ACTIVE"), now)

    def usual(self, page: Sequence[AppUser], statuses: MappingOf[str, str]) -> list[Content | None]:
        """What the accounts of those hold who are like nearly all, and of whom ``listed`` would say no more; None: it may."""
        if not self.names.is_email:
            return [None] * len(page)
        found: list[Content | None] = []
        has_email = self.mapping.has_email
        # One loop without a call of our own for each: these are nearly all of an org.
        for app_user, one in zip(page, self.mapping.project_page(page) or map(self._simple, page), strict=True):
            user_name = app_user.user_name
            if (
                one is None
                or app_user.id in statuses
                or app_user.status not in ASSIGNED
                or app_user.sync_state == "SYNCING"
                or len(user_name) > MAX_LENGTH
                or one[1] not in (user_name, None, UNSET)
            ):
                found.append(None)
            else:
                key = identity_key(user_name)
                found.append((app_user.id, key, key if has_email else "", one[0]))
        return found

    def _simple(self, app_user: AppUser) -> tuple[str, str | UnsetType | None] | None:
        try:
            projected = self.mapping.project_wanted(app_user)
        except UNDECODABLE:
            return None
        return None if projected.no_text else (projected.mapped, projected.email)

    def read(self, person: Person, now: datetime) -> tuple[Want, Desired, Finding | None] | None:
        """A direct read; None where the person has no app user."""
        if person.app_user is None:
            return None
        return self._project(person.app_user, user_status(person.okta_user), now)

    def absent(self, person: Person, now: datetime) -> Desired:
        return desire(person.app_user, user_status(person.okta_user), now, self.rules)

    def _project(self, app_user: AppUser, status: str, now: datetime) -> tuple[Want, Desired, Finding | None]:
        try:
            projected = self.mapping.project_wanted(app_user)
        except UNDECODABLE:
            app_user = replace(app_user, status=UNREADABLE, profile=NO_PROFILE)
            projected = self.mapping.project_wanted(app_user)
        user_name = app_user.user_name
        key = identity_key(user_name)
        if len(user_name) > MAX_LENGTH or len(key.encode()) > MAX_KEY:
            # No account can have it, so nobody is made, renamed or ended by it.
            app_user = replace(app_user, status=UNREADABLE)
        wanted = desire(app_user, status, now, self.rules)
        email, email_key = user_name, key
        finding = None
        given = projected.email
        if given is not None and given != user_name:
            given_key = identity_key(given)
            if not self.names.is_email:
                email, email_key = given, given_key
            elif given_key and given_key != key:
                detail = f"Okta's profile.email is {given}; OpsHelm's e-mail follows the userName"
                finding = _finding(FindingCode.EMAIL_DIFFERS, app_user, detail)
        elif not self.names.is_email and given is None:
            email, email_key = "", ""
        if not self.mapping.has_email:
            email_key = ""
        want = Want(
            okta_id=app_user.id,
            external_id=app_user.external_id or None,
            user_name=user_name,
            user_name_key=key,
            email=email,
            email_key=email_key,
            wanted=wanted.wanted,
            row=wanted.row,
            mapped=projected.mapped,
            unsaid=projected.unsaid,
            read_at=now,
            sync_error=app_user.sync_state == "ERROR",
        )
        if projected.no_text:
            detail = f"lists where OpsHelm keeps text are left as they are here: {', '.join(projected.no_text)}"
            finding = _finding(FindingCode.NO_TEXT, app_user, detail)
        if wanted.finding is not None:
            finding = _finding(wanted.finding, app_user, wanted.detail)
        return want, wanted, finding


def _finding(code: FindingCode, app_user: AppUser, detail: str) -> Finding:
    return Finding(code=code, login=app_user.user_name or app_user.id, detail=detail, okta_id=app_user.id)


class Sweep(Struct, kw_only=True):
    """What a complete listing was."""

    started: datetime
    people: int = 0
    findings: list[Finding] = []
    counts: Counter[str] = field(default_factory=Counter)
    #: Okta user id → when to look again (pending, syncing).
    due: dict[str, datetime] = {}
    #: Somebody is wanted to have what the directory didn't keep the last time.
    asked: bool = False


class Sweeper(Struct, frozen=True, kw_only=True):
    okta: OktaOrg
    projector: Projector
    #: Wants what is to be tried once more, too; for one person.
    asking: Projector
    page_size: int
    clock: Callable[[], datetime]

    def sweep(self, staging: Staging, account: Account, binding: Binding, progress: Progress) -> Sweep:
        started = self.clock()
        progress.step("reading statuses")
        statuses = self._statuses(account, started)
        found = Sweep(started=started)
        for page in self.okta.app_user_pages(self.page_size, self.projector.mapping.profile):
            self._add(staging, page, statuses, found)
            crash_point("sweep.page")
            found.counts["read"] += len(page)
            progress.step(f"reading people{self._budget()}", found.counts["read"])
        if usable_app(self.okta).id != binding.app.id:
            raise Frozen("The app changed while it was listed. Nothing was changed; the next run lists again.")
        found.people = staging.close_people()
        twice = found.counts["read"] - found.people
        if twice:
            detail = f"{twice} people were listed twice: the list changed while it was read"
            found.findings.append(Finding(code=FindingCode.DUPLICATE_LISTED, login="", detail=detail))
        return found

    def _add(self, staging: Staging, page: list[AppUser], statuses: dict[str, str], found: Sweep) -> None:
        now = self.clock()
        seen: list[str] = []
        rows: list[Want] = []
        told = found.asked or self.asking is self.projector
        usual = self.projector.usual(page, statuses) if told else [None] * len(page)
        for app_user, content in zip(page, usual, strict=True):
            if content is not None and staging.is_held(content, app_user.external_id or None):
                seen.append(app_user.id)
                continue
            want, desired, finding = self.projector.listed(app_user, statuses, now)
            if not found.asked and self.asking is not self.projector and want.wanted is Wanted.ACTIVE:
                more, _, _ = self.asking.listed(app_user, statuses, now)
                # Of somebody whose account shows it as Okta has it nothing is written, so nothing would be learnt.
                held = staging.is_held(
                    (want.okta_id, want.user_name_key, more.email_key, more.mapped), app_user.external_id or None
                )
                found.asked = (more.mapped, more.email_key) != (want.mapped, want.email_key) and not held
                want = more
            rows.append(want)
            if finding is not None:
                found.counts[finding.code.value] += 1
                if found.counts[finding.code.value] <= LISTED_FINDINGS:
                    found.findings.append(finding)
            if desired.due is not None:
                found.due[want.okta_id] = desired.due
        staging.add_in_step(seen, now)
        staging.add_people(rows)

    def _statuses(self, account: Account, now: datetime) -> dict[str, str]:
        found: dict[str, str] = {}
        for status in STATUS_LISTS:
            try:
                for page in self.okta.users_with_status_pages(status):
                    found.update((user.id, user_status(user)) for user in page)
            except OktaRejected:
                if status != _TRANSITIONAL:
                    raise
        since = account.last_good_sweep - OVERLAP if account.last_good_sweep else now - FIRST_LOOK_BACK
        for page in self.okta.users_deprovisioned_since(since):
            found.update((user.id, user_status(user)) for user in page)
        return found

    def _budget(self) -> str:
        """How much of Okta's limit is used, for the progress line."""
        budget = self.okta.budget().get("apps")
        if budget is None or budget.limit is None or budget.remaining is None:
            return ""
        return f" (Okta budget {budget.remaining}/{budget.limit})"


class Proofs(Struct, kw_only=True):
    """What asking about each of them proved."""

    answers: list[tuple[CurrentAccount, Proof]]
    asked: int = 0
    disproved: int = 0


class AbsenceProver(Struct, frozen=True, kw_only=True):
    """Asks Okta about people whom a listing left out, one by one. Decides nothing but what each answer proves.

    Asking stops as soon as the listing is known to be wrong. Where the run is held in any case only a sample is asked, since
    10,000 questions take hours of Okta's limits; who was not asked is asked before anything is done to them.
    """

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
    desired = projector.absent(person, now)
    found, detail = _answer(person, desired, now)
    suspended = found is AbsenceAnswer.ENDED and desired.row is DesiredRow.SUSPENDED
    return Proof(answer=found, detail=detail, okta_id=person.okta_id, suspended=suspended, at=now)


def _answer(person: Person, desired: Desired, now: datetime) -> tuple[AbsenceAnswer, str]:
    if desired.wanted is Wanted.INACTIVE:
        return AbsenceAnswer.ENDED, f"Okta says {desired.row.value} at {when(now)}"
    if person.app_user is not None:
        return AbsenceAnswer.PRESENT, f"its app user is {person.app_user.status}"
    if desired.wanted is Wanted.LEAVE:
        return AbsenceAnswer.UNDECIDED, desired.detail
    if person.okta_user is None:
        return AbsenceAnswer.NO_SUCH_USER, f"404 for the Okta user at {when(now)}"
    return AbsenceAnswer.GONE, f"404 for the app user at {when(now)}"
