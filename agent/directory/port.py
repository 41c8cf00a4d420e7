"""The OpsHelm side as everything above sees it. Two backends fulfil it: sql (embedded) and remote (SCIM over httpx).

Nothing above but bootstrap knows which one it is: what a backend can't do is a value here. Writes answer a Future, so that
the receiver can await a group commit and the reconciler can wait for it; the Future raises Refused, NotFound,
VersionConflict, StoreUnavailable or DirectoryUnavailable.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from msgspec import Struct

from agent.model.codes import ActionState, HeldCode, Source
from agent.model.holds import ChangeKind
from agent.model.mapping import Kept
from agent.model.plan import Action, Finding
from agent.model.undo import Past
from agent.model.users import DirectoryUser, Name, Profile, Role, ShownUser

if TYPE_CHECKING:
    from agent.settings import Settings
    from agent.store.engine import Store
    from agent.store.journal import Signature

#: Told what is being read, and how much of it so far.
Step = Callable[[str, int], None]


class Draft(Struct, frozen=True, kw_only=True):
    """What a create or a change wants an account to be. ``okta_id`` None: not said."""

    user_name: str
    profile: Profile
    active: bool = True
    okta_id: str | None = None
    #: False: the request doesn't mention ``active`` (which then repeats what the account has).
    active_said: bool = True
    #: Of an account to be made: the id that Okta pushes to already, where the directory can give one.
    id: str | None = None


class Ruling(Struct, frozen=True, kw_only=True):
    """An operator's word that goes with a write: from now on nobody makes this kind of change of the account, or may again."""

    kind: ChangeKind
    blocks: bool
    #: When the block ends by itself.
    until: datetime | None = None


class Undone(Struct, frozen=True, kw_only=True):
    """An operator's word that goes with a write: what it takes back isn't done again, until Okta wants something else."""

    #: Kind of change → what was wanted; empty: an undo is taken back, and nothing is held by it any more.
    wishes: dict[ChangeKind, str]


#: What one account alone has.
Identity = Literal["id", "user_name_key", "okta_id"]


class WriteContext(Struct, frozen=True, kw_only=True):
    """Who writes, why, and what that may do. Every write carries one; it ends in the journal."""

    #: "key:3 okta-prod", "run 81", "operator root@host"; never a secret.
    actor: str
    source: Source
    request_id: str = ""
    run_id: int | None = None
    plan_id: int | None = None
    action_n: int | None = None
    reason: str = ""
    #: Approved or announced: doesn't fill the guard's windows and isn't stopped by them.
    exempt: bool = False
    #: Fencing number of the lease that the run holds; checked in the write's own transaction.
    fence: int | None = None
    #: Deactivation because of policy.suspended alone: the role is kept.
    suspended: bool = False
    #: A run's view of Okta: the newest push that it can know of. None: the write is no run's.
    push_mark: int | None = None
    #: A role by Okta's groups: id of the group that gives it, or gave it ("": none did). It is the operator's standing decision.
    by_group: str | None = None
    ruling: Ruling | None = None
    undone: Undone | None = None
    #: A push to an account whose userName Okta has just looked for, as it does before it links somebody to it.
    links: bool = False
    #: False: a push that leaves ``active`` out, which may come late: it is no word about whose access is to end.
    says_active: bool = True


class Written(Struct, frozen=True, kw_only=True):
    """``changed`` False: the account already was as wanted; nothing was written, not even the version."""

    user: DirectoryUser
    changed: bool
    created: bool = False


class Page(Struct, frozen=True, kw_only=True):
    """``next``: where the page behind it begins, if it was read by place; None: there is none."""

    total: int
    users: Sequence[ShownUser]
    next: int | None = None


class Ended(Struct, frozen=True, kw_only=True):
    """What became of one action of a plan. ``n`` is its number."""

    n: int
    state: ActionState
    error: str = ""
    held: HeldCode | None = None

    @classmethod
    def after(cls, n: int, first: int) -> "Ended":
        """The end of one whose first step, ``first``, was not done."""
        return cls(n=n, state=ActionState.STALE, error=f"action {first}, which must come first, was not done")


class PlanStep(Struct, frozen=True, kw_only=True):
    """The part of a run that a write is."""

    run_id: int
    plan_id: int
    n: int
    fence: int


#: Who writes an action, why, and what that may do.
ContextOf = Callable[[Action], WriteContext]


class Batches(Protocol):
    """Carries a plan's actions out, some at a time, each with its state; one object for one apply.

    ``size``: a run looks whether it is to stop after so many. ``write`` raises where the store is down or the lease lost;
    what a rule refused, what moved and what failed is told action by action. What has no end in the answer was not done, since
    somebody rejected the plan or paused applies meanwhile.
    """

    size: int

    def write(self, plan_id: int, actions: Sequence[Action], context_of: ContextOf, now: datetime) -> list[Ended]: ...


class Acts(Protocol):
    """What one operator does, for one reason. UsageError: what can't be, or can't be done with this backend."""

    def add(self, login: str, *, owner: bool = False, name: Name | None = None) -> DirectoryUser: ...

    def set_values(self, user_id: str, values: dict[str, str | None]) -> DirectoryUser:
        """Of a local account: SCIM path → value; None clears it."""
        ...

    def rename(self, user_id: str, login: str) -> DirectoryUser:
        """Of a local account; the primary e-mail goes along where it was the userName."""
        ...

    def set_role(self, user_id: str, role: Role) -> DirectoryUser: ...

    def deactivate(self, user_id: str, *, until: datetime | None = None) -> DirectoryUser:
        """It is a block: no path gives the access back before ``until``, or ``reactivate``."""
        ...

    def reactivate(self, user_id: str) -> DirectoryUser: ...

    def link(self, user_id: str, okta_id: str) -> DirectoryUser: ...

    def unlink(self, user_id: str) -> DirectoryUser: ...

    def release_name(self, user_id: str) -> DirectoryUser:
        """Of an inactive account: it steps aside under another name, and another id where the directory can give one."""
        ...

    def protect(self, user_id: str, *, protected: bool) -> DirectoryUser: ...

    def restore(self, past: Past, step: PlanStep, undone: Undone) -> bool:
        """Take back what was done to one account, where it is still as that left it; True: it was so before already.

        Raises VersionConflict where somebody has changed it since.
        """
        ...

    def restore_together(self, ring: Sequence[tuple[Past, PlanStep, Undone]]) -> None:
        """The same of accounts each of which has the name that another one had: all or none. Only where ``sets_roles``."""
        ...

    def handover(self, successor: str, leaver: str) -> tuple[DirectoryUser, DirectoryUser]: ...


class Shortfall(Struct, frozen=True, kw_only=True):
    """What a remote OpsHelm was tried with and does otherwise than SCIM says. ``detail``: that, and what follows from it."""

    #: "listing", "search" or "schemas".
    line: str
    detail: str
    fix: str
    #: Sweeps, or pushes, can't work with it.
    fails: bool = False


class RemoteFacts(Struct, frozen=True, kw_only=True):
    """What a remote OpsHelm shows of itself. ``problem``: why it announces nothing, where that isn't just missing."""

    host: str
    accounts: int
    shortfalls: tuple[Shortfall, ...]
    announced: bool
    problem: str
    patch: bool
    etag: bool
    cursor: bool
    certificate_ends: datetime | None
    #: From then on it is time to renew the certificate.
    certificate_due: datetime | None
    #: directory.owners, and how many of these have no account there; None: they can't be searched for.
    owners: tuple[str, ...]
    owners_missing: int | None
    #: What it doesn't keep of an account, a sentence each.
    not_kept: tuple[str, ...] = ()


class Directory(Protocol):
    """Thread-safe. ``store`` is the agent's own database, beside it."""

    store: "Store"
    #: The agent's own: it sets roles, and changes several accounts at once.
    sets_roles: bool
    #: Reads may wait for a network; the receiver then uses its thread pool.
    reads_block: bool
    #: An account can be made under a given id, and get another one.
    gives_ids: bool

    @property
    def no_roles(self) -> str:
        """Why no role can be given or taken here; "" where that can be done."""
        ...

    @property
    def kept(self) -> Kept:
        """What it keeps of a profile, as far as is known; may ask."""
        ...

    @property
    def owners_known(self) -> bool:
        """False: nobody can tell who the last owner is, so deactivations are held."""
        ...

    # Reads

    def get(self, user_id: str) -> DirectoryUser | None: ...

    def find(self, *, user_name_key: str | None = None, okta_id: str | None = None) -> DirectoryUser | None: ...

    def show(self, by: Identity, value: str) -> ShownUser | None:
        """As SCIM shows it, for whoever changes nothing; None for a hidden account too. The profile is not decoded."""
        ...

    def search(self, where: Any | None, start_index: int, count: int) -> Page:
        """One page in the stable order. ``where`` is an agent.scim.filter expression or None for all."""
        ...

    def search_after(self, where: Any | None, after: int, count: int) -> Page:
        """The page behind the place ``after`` (0: the start), however far in."""
        ...

    def everyone(self) -> Iterator[Sequence[DirectoryUser]]:
        """All accounts, page by page, hidden ones too."""
        ...

    def several(self, ids: Sequence[str]) -> list[DirectoryUser]:
        """These of the accounts that ``users`` shows, in their order; whoever has gone meanwhile is left out."""
        ...

    def refresh(self, step: Step) -> tuple[Finding, ...]:
        """Make ``users`` show everybody as a sweep is to compare them; answers what can't be used of them."""
        ...

    def unreadable(self, user_name: str, okta_id: str, directory_id: str | None) -> Finding | None:
        """Why this person's account is neither compared nor made: it is there, and can't be read."""
        ...

    # Writes

    def create(self, draft: Draft, context: WriteContext, now: datetime) -> "Future[Written]":
        """A POST: makes the account, or reactivates or revives one as design says; ``created`` tells."""
        ...

    def modify(
        self,
        user_id: str,
        change: Callable[[DirectoryUser], Draft],
        context: WriteContext,
        now: datetime,
        *,
        expected_version: int | None = None,
    ) -> "Future[Written]":
        """Read, let ``change`` say what it should be, check, write. ``change`` is pure; it may raise Refused.

        ``change`` runs again on fresh data where a race was lost; with ``expected_version`` that is VersionConflict.
        """
        ...

    def remove(
        self, user_id: str, context: WriteContext, now: datetime, *, expected_version: int | None = None
    ) -> "Future[Written]":
        """A SCIM DELETE: deactivate and hide."""
        ...

    def batches(self) -> Batches: ...

    def operator(self, *, actor: str, reason: str, now: datetime, source: Source = Source.CLI) -> Acts: ...

    def read_back(self, now: datetime) -> int:
        """What became of writes whose answer was lost; answers how many are still in doubt. First thing of a run."""
        ...

    def facts(self, patience: float) -> RemoteFacts | None:
        """For ``check``, on a directory of its own: it makes this one impatient (seconds). None: there is no remote."""
        ...

    def renew(self, settings: "Settings", by: "Signature", taken: Callable[[], None] = lambda: None) -> None:
        """Take changed settings on; what is under way ends with the old ones. Their mapping becomes the database's.

        ``taken`` is called when they hold, before what may take minutes: the accounts' rows by the new mapping.
        """
        ...

    def close(self) -> None: ...
