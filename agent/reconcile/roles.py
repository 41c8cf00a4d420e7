"""Okta's groups of roles.owner: what they are, who is in them, and whose role would change. Applies and judges nothing.

=========================================  =====================================================================
an entry of roles.owner                    then
=========================================  =====================================================================
a name, met for the first time             the one group that has it, from now on by its id
a name that no group or several have       a finding; it gives nothing, and nobody is demoted
an id, or a name that was met              that group, whatever its name is by now; another name is a finding, of an id once
the group is gone, or is Everyone          as a name that no group has
its members can't be listed whole          the same
nobody is in it                            a finding
=========================================  =====================================================================

A listing alone demotes nobody: whoever it doesn't have is asked for one by one, as a single look asks in any case. More than a
sample waits for the next run. What was learnt of a name is kept (store/roles.py), by dry runs too: it changes no account.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from agent.directory.port import Directory
from agent.model.cases import Pair
from agent.model.codes import ActionState, FindingCode, HeldCode
from agent.model.desired import Wanted
from agent.model.errors import AgentError, OktaError, UsageError
from agent.model.guard import Facts, gives_access
from agent.model.holds import Decision
from agent.model.okta import is_group_id
from agent.model.plan import Action, Finding, Plan
from agent.model.roles import RoleAccount, Standing, role_action, wanted
from agent.model.users import Role
from agent.okta_org.org import OktaOrg
from agent.runs.frame import Progress
from agent.settings import RoleSettings
from agent.store import account as account_row
from agent.store import alarms, attention, holds
from agent.store import roles as kept
from agent.store.engine import Connection, Store
from agent.store.journal import Signature
from agent.store.plans import StoredPlan
from agent.store.roles import RoleGroup

#: Until then an apply has given the access that a role needs.
_SOON = timedelta(seconds=30)
#: Demotions that are proven in one run; each costs a call.
SAMPLE = 50
#: Raised by a sweep of which a group could not give roles; where no group is to give any, the reconciler ends it.
ALARM = "role_group"
_BUILT_IN = "BUILT_IN"


class GroupsRead(Struct, frozen=True, kw_only=True):
    """The groups as Okta has them now, in the order of the settings."""

    groups: tuple[RoleGroup, ...]
    #: By entry of the settings: why it gives nothing, or what to look at.
    problems: dict[str, Finding] = {}
    #: Every entry is a group, and every group was read whole.
    whole: bool = True
    #: Okta user id → the first group that has them.
    members: dict[str, tuple[str, str]] = {}

    @property
    def names(self) -> dict[str, str]:
        return {group.group_id: group.name for group in self.groups}


class RolesCompared(Struct, frozen=True, kw_only=True):
    """Whose role would change, and what judging and applying need to know."""

    actions: tuple[Action, ...] = ()
    findings: tuple[Finding, ...] = ()
    #: Active owners who would become members.
    owners: frozenset[str] = frozenset()
    #: Account → the group that stands behind its owner role.
    behind: dict[str, str] = {}
    #: Okta user ids of those who are in one of the groups.
    named: frozenset[str] = frozenset()
    #: Everybody was looked at; else only those of a single look.
    everybody: bool = False
    #: Every group could be read, so that nobody who should change is missing here.
    whole: bool = True
    #: A person has let these groups give roles before.
    seen: bool = True
    #: Made owners, and made members, by groups within the last hour.
    lately: tuple[int, int] = (0, 0)
    #: Okta user id → for people: the role, and by which row.
    said: dict[str, str] = {}

    def known_to(self, facts: Facts) -> Facts:
        """The facts with what the guard needs to know of it."""
        promoted, demoted = self.lately
        owners = facts.owners | self.owners
        return replace(facts, owners=owners, roles_seen=self.seen, promoted=promoted, demoted=demoted)


class RoleReader(Struct, frozen=True, kw_only=True):
    store: Store
    okta: OktaOrg
    settings: RoleSettings
    clock: Callable[[], datetime]

    def groups(self, *, listed: bool, keep: bool = True, progress: Progress | None = None) -> GroupsRead:
        """What the entries mean, and whom they have. ``listed`` False: without their members. ``keep``: what names mean."""
        before = self.store.ask(kept.known)
        found: list[RoleGroup] = []
        problems: dict[str, Finding] = {}
        members: dict[str, tuple[str, str]] = {}
        whole = True
        for asked in dict.fromkeys(self.settings.owner):
            try:
                group = self._meant(asked, before.get(asked))
                known = before.get(asked)
                if known is not None and known.name != group.name:
                    problems[asked] = _renamed(known, group)
                if listed:
                    mine = list(self.okta.group_members(group.group_id))
                    if not mine:
                        problems[asked] = _problem(asked, f"nobody is in the group {group.name} ({group.group_id})")
                    for okta_id in mine:
                        members.setdefault(okta_id, (group.group_id, group.name))
                    if progress is not None:
                        progress.step("reading the groups of roles.owner", len(members))
                found.append(group)
            except (OktaError, _NoGroup) as error:
                whole = False
                problems[asked] = _problem(
                    asked, f"{error.detail.rstrip('.')}. Nobody is demoted until that is put right"
                )
        if keep:
            self._keep(found, before)
        return GroupsRead(groups=tuple(found), problems=problems, whole=whole, members=members)

    def _meant(self, asked: str, known: RoleGroup | None) -> RoleGroup:
        """As Okta calls it now; _NoGroup, or an OktaError."""
        group_id = known.group_id if known is not None else asked if is_group_id(asked) else None
        if group_id is not None:
            group = self.okta.group(group_id)
            if group is None:
                called = f"{asked} ({group_id})" if group_id != asked else asked
                raise _NoGroup(f"Okta has no group {called} any more. If another one is meant, name its id")
        else:
            several = self.okta.groups_named(asked)
            if len(several) != 1:
                ids = ", ".join(one.id for one in several)
                raise _NoGroup(
                    f"{len(several)} groups are called {asked} ({ids}): name one id"
                    if several
                    else f"Okta has no group {asked}"
                )
            (group,) = several
        if group.type == _BUILT_IN:
            raise _NoGroup(f"{asked} is a group of everybody in Okta, and can't give a role")
        name = group.profile.name.replace("\x00", "\N{REPLACEMENT CHARACTER}")
        return RoleGroup(asked=asked, group_id=group.id, name=name, approved=known.approved if known else "")

    def _keep(self, found: Sequence[RoleGroup], before: Mapping[str, RoleGroup]) -> None:
        new = [
            one
            for one in found
            if one.asked not in before or (is_group_id(one.asked) and one.name != before[one.asked].name)
        ]
        if new or not before.keys() <= set(self.settings.owner):
            self.store.write(lambda conn: kept.keep(conn, new, self.settings.owner))

    def would_own(self, read: GroupsRead) -> tuple[int, int]:
        """How many of those with access the groups name, and how many there are; protected and local accounts left out."""
        with self.store.read() as conn:
            named = [one for one in kept.of_people(conn, list(read.members)) if one.touched and one.active]
            return len(named), account_row.get(conn).managed_active

    # A sweep

    def sweep(self, conn: Connection, read: GroupsRead) -> RolesCompared:
        """``conn``: the snapshot in which the sweep's rows are. Nobody is proven to be gone yet."""
        owners = kept.owners(conn)
        candidates = kept.members(conn, list(read.members))
        assigned = kept.wanted_active(conn, [one.okta_id for one in candidates if one.okta_id is not None])
        lately = kept.lately(conn, self.clock())

        def standing(account: RoleAccount) -> Standing:
            okta_id = account.okta_id or ""
            return Standing(group=read.members.get(okta_id), whole=read.whole, assigned=okta_id in assigned)

        pairs = [(account, standing(account)) for account in (*owners, *candidates)]
        return replace(
            self._compared(pairs, read, kept.known(conn)),
            everybody=True,
            named=frozenset(read.members),
            lately=lately,
            findings=tuple(read.problems.values()),
        )

    def proven(self, found: RolesCompared, progress: Progress) -> RolesCompared:
        """Without those whom Okta, asked directly, has in a group after all, or says nothing of."""
        groups = {group.group_id for group in self._known()}
        stays: list[Action] = []
        findings: list[Finding] = []
        whole, asked, to_ask = found.whole, 0, sum(action.demotes for action in found.actions)
        for action in found.actions:
            if not action.demotes:
                stays.append(action)
            elif asked < SAMPLE:
                asked += 1
                progress.step("asking Okta about owners in no group", asked, to_ask)
                gone, finding = self._in_none(action, groups)
                whole &= gone is not None
                stays += [action] if gone else []
                findings += [finding] if finding is not None else []
            else:
                whole = False
        return replace(found, actions=tuple(stays), findings=(*found.findings, *findings), whole=whole)

    def _in_none(self, action: Action, groups: Collection[str]) -> tuple[bool | None, Finding | None]:
        """Whether Okta says so of this very person, None: it says nothing. Who is no Okta user any more loses access, not a role."""
        try:
            theirs = self.okta.groups_of_user(action.okta_id or "")
        except OktaError as error:
            return None, _of(action, f"keeps the owner role: {error.detail}")
        if theirs is not None and not theirs.isdisjoint(groups):
            return False, _of(action, "is in a group of roles.owner after all: its list of members was wrong")
        return theirs is not None, None

    # A few people

    def people(self, pairs: Sequence[Pair]) -> RolesCompared:
        """Each person's own groups are asked for; the groups themselves only where somebody would lose the role."""
        read = GroupsRead(groups=self._known(), whole=True)
        if len(read.groups) < len(set(self.settings.owner)):
            read = self.groups(listed=False)
        bound = {pair.want.okta_id: pair for pair in pairs if pair.bound is not None}
        with self.store.read() as conn:
            accounts = kept.of_people(conn, list(bound))
            known, lately = kept.known(conn), kept.lately(conn, self.clock())
        found, problems = self._looked(accounts, bound, read)
        compared = self._compared(found, read, known)
        if any(action.demotes for action in compared.actions) and read.whole:
            again = self.groups(listed=False)
            compared = self._compared([(a, replace(s, whole=s.whole and again.whole)) for a, s in found], again, known)
            problems += again.problems.values()
        named = frozenset(account.okta_id or "" for account, okta in found if okta.group is not None)
        return replace(compared, lately=lately, named=named, findings=(*read.problems.values(), *problems))

    def _looked(
        self, accounts: Iterable[RoleAccount], bound: Mapping[str, Pair], read: GroupsRead
    ) -> tuple[list[tuple[RoleAccount, Standing]], list[Finding]]:
        found: list[tuple[RoleAccount, Standing]] = []
        problems: list[Finding] = []
        for account in accounts:
            okta_id, whole = account.okta_id or "", read.whole
            theirs: frozenset[str] | None = frozenset()
            try:
                theirs = self.okta.groups_of_user(okta_id) if account.touched else theirs
            except OktaError as error:
                problems.append(_problem(account.user_name, f"its groups are not known: {error.detail}", okta_id))
                theirs = None
            group = next(((g.group_id, g.name) for g in read.groups if theirs and g.group_id in theirs), None)
            assigned = bound[okta_id].want.wanted is Wanted.ACTIVE
            found.append((account, Standing(group=group, whole=whole and theirs is not None, assigned=assigned)))
        return found, problems

    # Both

    def _known(self) -> tuple[RoleGroup, ...]:
        known = self.store.ask(kept.known)
        return tuple(known[asked] for asked in dict.fromkeys(self.settings.owner) if asked in known)

    def _compared(
        self, pairs: Sequence[tuple[RoleAccount, Standing]], read: GroupsRead, known: Mapping[str, RoleGroup]
    ) -> RolesCompared:
        manage, names = self.settings.manage, read.names
        actions = [role_action(account, okta, manage, names) for account, okta in pairs]
        seen = [group.asked in known and known[group.asked].seen(manage) for group in read.groups]
        behind = {
            account.id: okta.group[0]
            for account, okta in pairs
            if okta.group is not None and account.touched and account.role is Role.OWNER
        }
        said = {}
        for account, okta in pairs:
            role, row = wanted(account, okta, manage)
            by = f", by the Okta group {okta.group[1]} ({okta.group[0]})" if okta.group else ""
            said[account.okta_id or ""] = f"{row.value}: wanted {role.value}{by}"
        return RolesCompared(
            actions=tuple(action for action in actions if action is not None),
            owners=frozenset(account.id for account, _ in pairs if account.active and account.role is Role.OWNER),
            behind=behind if all(seen) else {},
            whole=all(okta.whole for _, okta in pairs) and read.whole,
            seen=all(seen),
            said=said,
        )


class _NoGroup(AgentError):
    """An entry of roles.owner that is no group."""


def require(directory: Directory) -> None:
    """UsageError where this OpsHelm takes no roles."""
    problem = directory.no_roles
    if problem:
        raise UsageError(
            f"roles.owner names Okta groups, but {problem}. Nothing was changed. Leave roles.owner empty, and give roles in OpsHelm."
        )


def approve(
    conn: Connection, by: Signature, stored: StoredPlan, let_go: Collection[int], settings: RoleSettings
) -> None:
    """Whoever lets all first roles of a plan go has let the groups give roles; whoever picks some of them only these."""
    waits = (ActionState.PENDING, ActionState.HELD)
    first = {a.n for a in stored.plan.actions if a.held is HeldCode.FIRST_ROLES and a.state in waits}
    if first and first <= set(let_go):
        kept.approve(conn, by, settings.owner, settings.manage)


def approve_holds(conn: Connection, by: Signature, settings: RoleSettings) -> None:
    """The same where people are let go hold by hold, and nobody is left who waits for it."""
    first = [hold for hold in holds.open_holds(conn) if hold.code is HeldCode.FIRST_ROLES]
    if all(hold.decision is not Decision.WAITING for hold in first):
        kept.approve(conn, replace(by, reason="its holds were approved"), settings.owner, settings.manage)


def note(conn: Connection, compared: RolesCompared, plan: Plan, now: datetime, *, apply: bool) -> None:
    """Alarms about groups and the last owner; and, in an apply, which owners a group stands behind from now on."""
    for action in plan.actions:
        if action.demotes and action.held is HeldCode.LAST_OWNER:
            alarms.raise_alarm(conn, "last_owner", action.directory_id or "", action.held_detail, now)
        if apply and action.held is None and gives_access(action) and action.okta_id in compared.named:
            # Their role comes with the next look: by then they have their access.
            attention.add(conn, reason=attention.ROLE, okta_id=action.okta_id, not_before=now + _SOON, now=now)
    if not compared.everybody:
        return
    problems = {
        found.login: found.detail
        for found in compared.findings
        if found.code is FindingCode.ROLE_GROUP and not found.okta_id
    }
    for asked, detail in problems.items():
        alarms.raise_alarm(conn, ALARM, asked, f"roles.owner: {detail}", now)
    for alarm in alarms.open_alarms(conn):
        if alarm.code == ALARM and alarm.subject not in problems:
            alarms.clear(conn, ALARM, alarm.subject, now)
    if apply and compared.whole:
        kept.adopt(conn, compared.behind, now)


def _renamed(known: RoleGroup, group: RoleGroup) -> Finding:
    detail = (
        f"the group {known.group_id} was called {known.name} when it was named in roles.owner; now it is {group.name}. It gives "
        "roles as before"
    )
    return Finding(code=FindingCode.ROLE_GROUP_RENAMED, login=known.asked, detail=detail)


def _problem(asked: str, detail: str, okta_id: str | None = None) -> Finding:
    return Finding(code=FindingCode.ROLE_GROUP, login=asked, detail=detail, okta_id=okta_id)


def _of(action: Action, detail: str) -> Finding:
    return replace(_problem(action.login, detail, action.okta_id), directory_id=action.directory_id)
