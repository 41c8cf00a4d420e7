"""One person, both sides: what to do. Pure: takes what the compare statement found, gives actions, held actions, findings.

Pairs are joined by the link first (``bound``: the account holds this Okta user id; ``named``: the app user's externalId
is the account's id), then by userName key (``holder``). Never by e-mail alone. ``CaseRow`` names the rows in this order:

=====================  ==================================================  ==========================================
Okta wants             the directory has                                   action
=====================  ==================================================  ==========================================
active                 nothing                                             create
active                 linked, active, equal                               in step
active                 linked, active, differs                             update
active                 linked, inactive                                    reactivate
active                 named, not yet bound, same userName key             link, owners too
active                 unbound, same userName and e-mail key,              link; what it still needs is a
                       no owner, not protected                             second action
active                 unbound, same userName, anything else               held link_needs_decision
active                 externalId names one, userName another              held identity_conflict
active                 bound to a different Okta user id                   held name_reuse; create in its place, where
                                                                           that person is gone and a person said so
active, twins          any                                                 both held identity_conflict
active, renamed, free  linked                                              update
active, cycle          linked                                              one rename_cycle (``agent.model.plan``)
active, taken/invalid  linked                                              held name_taken, name_invalid
identity of an owner   linked                                              held owner_identity
pending                any                                                 nothing yet
inactive               linked, active                                      deactivate
inactive               local, active, same userName                        nothing; finding left_but_local
inactive               nothing, or inactive                                nothing
absent (``absence``)   see agent.model.absence
any                    protected                                           nothing; finding
leave alone            any                                                 nothing, counted and listed
=====================  ==================================================  ==========================================
"""

import re
from collections.abc import Mapping as MappingOf
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from agent.model import usernames
from agent.model.codes import ActionKind, FindingCode, HeldCode
from agent.model.desired import DesiredRow, Wanted
from agent.model.mapping import Mapping
from agent.model.paths import EMAIL_PATH
from agent.model.plan import Action, Change, Finding, Names
from agent.model.usernames import NameRules
from agent.model.users import DirectoryUser, Origin, Role, identity_key, is_managed

#: An id that this agent can have given.
_ID = re.compile(r"[A-Za-z0-9._-]{1,36}")


class CaseRow(StrEnum):
    CREATE = "not_in_directory"
    IN_STEP = "in_step"
    UPDATE = "differs"
    REACTIVATE = "linked_inactive"
    LINK_NAMED = "named_by_okta"
    LINK_SAME = "same_name_and_email"
    LINK_DECISION = "same_name_only"
    CONFLICT = "two_accounts_claimed"
    OTHER_OKTA_ID = "bound_to_another"
    TWINS = "one_name_twice_in_okta"
    RENAME = "renamed"
    CYCLE = "renamed_in_a_cycle"
    TAKEN = "new_name_taken_or_invalid"
    OWNER = "identity_of_an_owner"
    PENDING = "pending"
    DEACTIVATE = "left"
    LEFT_BUT_LOCAL = "left_but_local"
    NOTHING = "nothing_to_do"
    PROTECTED = "protected"
    LEAVE = "leave_alone"


class Want(Struct, frozen=True, kw_only=True, gc=False):
    """The Okta side of a pair: one app user, projected."""

    okta_id: str
    external_id: str | None
    user_name: str
    user_name_key: str
    email: str
    email_key: str
    wanted: Wanted
    row: DesiredRow
    mapped: str
    #: model.mapping.Projected.unsaid.
    unsaid: int
    read_at: datetime
    #: Okta's own last push went wrong.
    sync_error: bool = False

    @property
    def names_somebody(self) -> bool:
        return self.wanted in (Wanted.ACTIVE, Wanted.KEEP)


class CurrentAccount(Struct, frozen=True, kw_only=True, gc=False):
    """The directory side of a pair: the columns that decide."""

    id: str
    user_name: str
    user_name_key: str
    email_key: str
    okta_id: str | None
    origin: Origin
    protected: bool
    active: bool
    suspended: bool
    role: Role
    mapped: str
    version: int

    @classmethod
    def of(cls, user: DirectoryUser, mapping: Mapping) -> "CurrentAccount":
        return cls(
            id=user.id,
            user_name=user.user_name,
            user_name_key=user.user_name_key,
            email_key=user.email_key,
            okta_id=user.okta_id,
            origin=user.origin,
            protected=user.protected,
            active=user.active,
            suspended=user.suspended,
            role=user.role,
            mapped=mapping.project(user.profile),
            version=user.version,
        )

    @property
    def managed(self) -> bool:
        return is_managed(self.origin, self.okta_id)


class Pair(Struct, frozen=True, kw_only=True):
    want: Want
    bound: CurrentAccount | None = None
    named: CurrentAccount | None = None
    holder: CurrentAccount | None = None
    #: Another app user that is wanted has the same userName key.
    twin: bool = False

    @property
    def foreign(self) -> CurrentAccount | None:
        """The account that Okta's externalId or else the userName names, where it is another Okta user's."""
        if self.linked is not None:
            return None
        side = self.named or self.holder
        return side if side is not None and side.okta_id not in (None, self.want.okta_id) else None

    @property
    def linked(self) -> CurrentAccount | None:
        """The account that certainly is this person's: bound, or managed and named and not bound to anybody."""
        if self.bound is not None:
            return self.bound
        if self.named is not None and self.named.okta_id is None and self.named.managed:
            return self.named
        return None


class Left(Struct, frozen=True, kw_only=True):
    """Why an account's person is gone, and since when Okta has the new one assigned."""

    proof: str
    assigned: datetime | None


class Case(Struct, frozen=True, kw_only=True):
    row: CaseRow
    actions: tuple[Action, ...] = ()
    findings: tuple[Finding, ...] = ()


class Classifier(Struct, frozen=True, kw_only=True):
    mapping: Mapping
    rules: NameRules
    #: Which renames can happen; from a first pass over all candidates.
    names: Names
    #: Accounts whose person has left Okta, and in whose place somebody new may get one.
    left: MappingOf[str, Left] = {}
    gives_ids: bool = True

    def classify(self, pair: Pair) -> Case:
        want = pair.want
        if want.wanted is Wanted.LEAVE:
            return Case(row=CaseRow.LEAVE)
        if want.wanted is Wanted.PENDING:
            return Case(row=CaseRow.PENDING)
        if want.wanted is Wanted.INACTIVE:
            return _inactive(pair)
        if pair.twin:
            return self._twin(pair)
        account = pair.linked
        if account is not None:
            return self._linked(pair, account)
        return Case(row=CaseRow.NOTHING) if want.wanted is Wanted.KEEP else self._unbound(pair)

    def _unbound(self, pair: Pair) -> Case:
        """Nothing in the directory is certainly this person's."""
        want, named, holder = pair.want, pair.named, pair.holder
        if named is not None and named.origin is Origin.RELEASED:
            named = None  # it is nobody's any more, but couldn't get another id
        if named is not None and named.okta_id is not None:
            return self._other_okta_id(pair, named)
        if named is not None and holder is not None and holder.id != named.id:
            detail = f"Okta's externalId names {named.user_name}, its userName {holder.user_name}: two accounts"
            return _held(pair, CaseRow.CONFLICT, ActionKind.LINK, named, HeldCode.IDENTITY_CONFLICT, detail)
        if named is not None:
            if named.user_name_key == want.user_name_key:
                return self._link(pair, named, CaseRow.LINK_NAMED)
            detail = f"Okta's externalId names the local account {named.user_name}, under another userName"
            return _held(pair, CaseRow.LINK_DECISION, ActionKind.LINK, named, HeldCode.LINK_NEEDS_DECISION, detail)
        if holder is None or self.names.frees(holder.id):
            return self._create(pair, want.external_id if pair.named is None else None)
        if holder.okta_id is not None:
            return self._other_okta_id(pair, holder)
        if holder.protected:
            return _protected(pair, holder)
        if holder.role is not Role.OWNER and holder.email_key == identity_key(want.email):
            return self._link(pair, holder, CaseRow.LINK_SAME)
        why = (
            "it is an owner's" if holder.role is Role.OWNER else f"its primary e-mail is {holder.email_key or 'empty'}"
        )
        detail = f"the account {holder.user_name} has this userName, but {why}: users link {holder.user_name} --okta-id {want.okta_id}"
        return _held(pair, CaseRow.LINK_DECISION, ActionKind.LINK, holder, HeldCode.LINK_NEEDS_DECISION, detail)

    def _other_okta_id(self, pair: Pair, account: CurrentAccount) -> Case:
        left = self.left.get(account.id)
        if left is None or account.protected:
            return _other_okta_id(pair, account)
        case = self._create(pair, account.id)
        (action,) = case.actions
        action = replace(action, directory_id=account.id, version=account.version, rule=CaseRow.OTHER_OKTA_ID.value)
        return _case(pair, CaseRow.OTHER_OKTA_ID, replace(action, proof=left.proof, assigned=left.assigned))

    def _create(self, pair: Pair, account_id: str | None) -> Case:
        """``account_id``: what Okta pushes to already."""
        want = pair.want
        values: dict[str, str | bool] = {"userName": want.user_name, "active": True, "externalId": want.okta_id}
        if account_id is not None and self.gives_ids and _ID.fullmatch(account_id):
            values["id"] = account_id
        if want.email_key:
            values[EMAIL_PATH] = want.email
        values.update(self.mapping.values(want.mapped))
        changes = {path: _new(value) for path, value in values.items()}
        action = _action(ActionKind.CREATE, want, None, changes, CaseRow.CREATE)
        wrong = self._name_problem(want)
        if wrong:
            return _case(pair, CaseRow.TAKEN, _hold(action, HeldCode.NAME_INVALID, wrong))
        return _case(pair, CaseRow.CREATE, action)

    def _link(self, pair: Pair, account: CurrentAccount, row: CaseRow) -> Case:
        if account.protected:
            return _protected(pair, account)
        link = _link_action(pair.want, account, row)
        return _case(pair, row, link, *self._rest(pair, account))

    def _rest(self, pair: Pair, account: CurrentAccount) -> tuple[Action, ...]:
        """What a linked account still needs: nothing, an update or a reactivation."""
        want = pair.want
        changes = self._changes(want, account)
        kind, row = ActionKind.UPDATE, CaseRow.UPDATE
        if not account.active and want.wanted is Wanted.ACTIVE:
            kind, row = ActionKind.REACTIVATE, CaseRow.REACTIVATE
            changes = {"active": Change(before=False, after=True), **changes}
        if not changes:
            return ()
        renamed = "userName" in changes
        row = CaseRow.RENAME if renamed else row
        action = _action(kind, want, account, changes, row)
        identity = renamed or EMAIL_PATH in changes
        if identity and account.role is Role.OWNER:
            detail = f"would change the userName or e-mail of the owner {account.user_name}"
            return (_hold(action, HeldCode.OWNER_IDENTITY, detail, CaseRow.OWNER),)
        wrong = self._name_problem(want) if identity or kind is ActionKind.REACTIVATE else ""
        if wrong:
            return (_hold(action, HeldCode.NAME_INVALID, wrong, CaseRow.TAKEN),)
        if renamed and self.names.blocked(account.id):
            detail = f"{want.user_name} is the userName of another account that keeps it"
            return (_hold(action, HeldCode.NAME_TAKEN, detail, CaseRow.TAKEN),)
        if renamed and self.names.in_cycle(account.id):
            return self._besides_cycle(action)
        return (action,)

    def _besides_cycle(self, action: Action) -> tuple[Action, ...]:
        """The cycle's own action brings userName and e-mail; this one the rest."""
        rest = {path: change for path, change in action.changes.items() if path not in ("userName", EMAIL_PATH)}
        return (replace(action, changes=rest, rule=CaseRow.UPDATE.value),) if rest else ()

    def _linked(self, pair: Pair, account: CurrentAccount) -> Case:
        if account.protected:
            rest = self._rest(pair, account)
            return _protected(pair, account) if rest else Case(row=CaseRow.PROTECTED)
        first = () if account.okta_id and account.managed else (_link_action(pair.want, account, CaseRow.LINK_NAMED),)
        if pair.want.wanted is Wanted.KEEP:
            first = ()
        actions = (*first, *self._rest(pair, account))
        if not actions:
            cycled = self.names.in_cycle(account.id)
            return Case(row=CaseRow.CYCLE if cycled else CaseRow.IN_STEP)
        return _case(pair, CaseRow(actions[-1].rule), *actions)

    def _twin(self, pair: Pair) -> Case:
        account = pair.linked
        kind = ActionKind.UPDATE if account else ActionKind.CREATE
        changes = self._changes(pair.want, account) if account else {}
        action = _action(kind, pair.want, account, changes, CaseRow.TWINS)
        detail = f"two people in Okta have the userName {pair.want.user_name}"
        return _case(pair, CaseRow.TWINS, _hold(action, HeldCode.IDENTITY_CONFLICT, detail))

    def _changes(self, want: Want, account: CurrentAccount) -> dict[str, Change]:
        """Only what differs; userName and e-mail by key."""
        changes: dict[str, Change] = {}
        if want.user_name_key != account.user_name_key:
            changes["userName"] = Change(before=account.user_name, after=want.user_name)
        if want.email_key and want.email_key != account.email_key:
            changes[EMAIL_PATH] = Change(before=account.email_key or None, after=want.email)
        if want.mapped != account.mapped:
            pairs = self.mapping.differences(account.mapped, want.mapped, want.unsaid)
            changes.update({path: Change(before=before, after=after) for path, (before, after) in pairs.items()})
        return changes

    def _name_problem(self, want: Want) -> str:
        found = usernames.problem(want.user_name, want.email, self.rules)
        return found[1] if found else ""


def wants_rename(pair: Pair, rules: NameRules) -> bool:
    """First pass: a linked account whose userName shall change and, as far as this person goes, may."""
    account = pair.linked
    if account is None or not pair.want.names_somebody or pair.twin or account.protected or account.role is Role.OWNER:
        return False
    if account.user_name_key == pair.want.user_name_key:
        return False
    return not usernames.problem(pair.want.user_name, pair.want.email, rules)


def _inactive(pair: Pair) -> Case:
    account = pair.linked or pair.named
    if account is None or (account.okta_id not in (None, pair.want.okta_id)):
        account = pair.holder
    if account is None or account.okta_id not in (None, pair.want.okta_id):
        return Case(row=CaseRow.NOTHING)
    ended = not account.active and not (account.suspended and pair.want.row is not DesiredRow.SUSPENDED)
    if ended:
        return Case(row=CaseRow.NOTHING)
    if account.protected:
        return _protected(pair, account)
    if account is not pair.linked:
        detail = f"left in Okta ({pair.want.row.value}), but the account is local and stays active"
        finding = _finding(FindingCode.LEFT_BUT_LOCAL, pair.want, account, detail)
        return Case(row=CaseRow.LEFT_BUT_LOCAL, findings=(finding,))
    first = () if account.managed else (_link_action(pair.want, account, CaseRow.LINK_NAMED),)
    suspended = pair.want.row is DesiredRow.SUSPENDED
    return _case(
        pair,
        CaseRow.DEACTIVATE,
        *first,
        deactivation(account, pair.want.okta_id, pair.want.row.value, suspended=suspended),
    )


def deactivation(account: CurrentAccount, okta_id: str | None, proof: str, *, suspended: bool = False) -> Action:
    """``suspended``: for no other reason than policy.suspended. An inactive suspended account only loses its role."""
    if account.active:
        changes = {"active": Change(before=True, after=False)}
    else:
        changes = {"suspended": Change(before=True, after=False)}
    action = of_account(ActionKind.DEACTIVATE, account, okta_id or account.okta_id, changes, CaseRow.DEACTIVATE)
    return replace(action, proof=proof, suspended=suspended)


def adoption(account: CurrentAccount, okta_id: str) -> Action:
    """The account's externalId turned out to be an Okta user id of this org."""
    changes = {"origin": Change(before=account.origin.value, after=Origin.LINKED.value)}
    return of_account(ActionKind.LINK, account, okta_id, changes, CaseRow.LINK_NAMED)


@lru_cache(maxsize=1024)
def _new(value: str | bool) -> Change:
    """Departments, time zones and the like are the same for many."""
    return Change(before=None, after=value)


def _link_action(want: Want, account: CurrentAccount, row: CaseRow) -> Action:
    if account.okta_id == want.okta_id:
        return adoption(account, want.okta_id)
    return _action(ActionKind.LINK, want, account, {"externalId": Change(before=None, after=want.okta_id)}, row)


def _other_okta_id(pair: Pair, account: CurrentAccount) -> Case:
    same_name = account.user_name_key == pair.want.user_name_key
    code = HeldCode.NAME_REUSE if same_name else HeldCode.EXTERNAL_ID_CHANGED
    detail = (
        f"the account {account.user_name} belongs to the Okta user {account.okta_id}, not to {pair.want.okta_id}. Another "
        f"person, and the first one has left: opshelm-agent users release-name {account.user_name}. The same one: "
        f"opshelm-agent users link {account.user_name} --okta-id {pair.want.okta_id}"
    )
    return _held(pair, CaseRow.OTHER_OKTA_ID, ActionKind.LINK, account, code, detail)


def _protected(pair: Pair, account: CurrentAccount) -> Case:
    finding = _finding(
        FindingCode.PROTECTED, pair.want, account, "differs from Okta; the account is protected and left as it is"
    )
    return Case(row=CaseRow.PROTECTED, findings=(finding,))


def _held(pair: Pair, row: CaseRow, kind: ActionKind, account: CurrentAccount, code: HeldCode, detail: str) -> Case:
    changes = {"externalId": Change(before=account.okta_id, after=pair.want.okta_id)}
    return _case(pair, row, _hold(_action(kind, pair.want, account, changes, row), code, detail))


def _case(pair: Pair, row: CaseRow, *actions: Action) -> Case:
    if not pair.want.sync_error or not actions:
        return Case(row=row, actions=actions)
    finding = _finding(
        FindingCode.SYNC_ERROR, pair.want, pair.linked, "Okta's own push failed; see Tasks in the Admin Console"
    )
    return Case(row=row, actions=actions, findings=(finding,))


def _action(
    kind: ActionKind, want: Want, account: CurrentAccount | None, changes: dict[str, Change], row: CaseRow
) -> Action:
    if account is not None:
        return of_account(kind, account, want.okta_id, changes, row)
    return Action(n=0, kind=kind, login=want.user_name, okta_id=want.okta_id, changes=changes, rule=row.value)


def of_account(
    kind: ActionKind, account: CurrentAccount, okta_id: str | None, changes: dict[str, Change], row: CaseRow
) -> Action:
    """One step for an account that is there."""
    return Action(
        n=0,
        kind=kind,
        login=account.user_name,
        directory_id=account.id,
        okta_id=okta_id,
        changes=changes,
        rule=row.value,
        version=account.version,
    )


def _hold(action: Action, code: HeldCode, detail: str, row: CaseRow | None = None) -> Action:
    return replace(action, held=code, held_detail=detail, rule=row.value if row else action.rule)


def _finding(code: FindingCode, want: Want, account: CurrentAccount | None, detail: str) -> Finding:
    login = account.user_name if account else want.user_name
    return Finding(
        code=code, login=login, detail=detail, directory_id=account.id if account else None, okta_id=want.okta_id
    )
