"""The closed lists of codes that plans, findings and refusals carry. Documented in docs/codes.md."""

from enum import StrEnum


class ActionKind(StrEnum):
    """One step of a plan towards the directory, or (the last three) towards Okta."""

    CREATE = "create"
    UPDATE = "update"
    REACTIVATE = "reactivate"
    DEACTIVATE = "deactivate"
    LINK = "link"
    #: An Okta group gives the owner role, or gives it no more.
    ROLE = "role"
    #: Renames that wait for each other (A↔B), done in one transaction through temporary names.
    RENAME_CYCLE = "rename_cycle"
    OKTA_CREATE = "okta_create"
    OKTA_ASSIGN = "okta_assign"
    #: An import's assignment is taken back.
    OKTA_UNASSIGN = "okta_unassign"


#: What is done in Okta.
IN_OKTA = frozenset({ActionKind.OKTA_CREATE, ActionKind.OKTA_ASSIGN, ActionKind.OKTA_UNASSIGN})


class ActionState(StrEnum):
    """pending → sent → done, or stale / failed / held; ``rejected`` by an operator."""

    PENDING = "pending"
    SENT = "sent"
    DONE = "done"
    STALE = "stale"
    FAILED = "failed"
    HELD = "held"
    REJECTED = "rejected"


class PlanStatus(StrEnum):
    #: Stored by a dry run or waiting for its apply.
    READY = "ready"
    #: Some or all of it waits for a person.
    HELD = "held"
    APPLIED = "applied"
    REJECTED = "rejected"
    EXPIRED = "expired"
    #: Replaced by a newer plan, or everything in it has moved.
    STALE = "stale"


#: Plans on which nobody has decided yet, and the states of actions which nobody has let go or refused.
OPEN_PLANS = (PlanStatus.READY, PlanStatus.HELD)
UNDECIDED = (ActionState.PENDING, ActionState.HELD)


class HeldCode(StrEnum):
    """Why the guard held a run or an action."""

    # runs
    FIRST_RUN = "first_run"
    EMPTY_SOURCE = "empty_source"
    SOURCE_DROP = "source_drop"
    FAILED_ACTIONS = "failed_actions"
    #: The listing left out people whom Okta, asked directly, still has: it was wrong.
    ABSENCE_DISPROVED = "absence_disproved"
    DISTRUST = "distrust"
    # classes of actions
    DEACTIVATIONS_PER_RUN = "deactivations_per_run"
    DEACTIVATIONS_24H = "deactivations_24h"
    IDENTITY_CHANGES = "identity_changes"
    CREATES_PER_RUN = "creates_per_run"
    PUSH_BURST = "push_burst"
    #: Groups give roles for the first time, or a group that never did: a person looks at who would get which.
    FIRST_ROLES = "first_roles"
    PROMOTIONS_PER_RUN = "promotions_per_run"
    DEMOTIONS_PER_RUN = "demotions_per_run"
    COUNT_EXCEEDED = "count_exceeded"
    # single actions
    LINK_NEEDS_DECISION = "link_needs_decision"
    IDENTITY_CONFLICT = "identity_conflict"
    NAME_REUSE = "name_reuse"
    NAME_TAKEN = "name_taken"
    NAME_INVALID = "name_invalid"
    OWNER_IDENTITY = "owner_identity"
    LAST_OWNER = "last_owner"
    EXTERNAL_ID_CHANGED = "external_id_changed"
    ABSENCE_NOT_PROVABLE = "absence_not_provable"
    OWNERS_UNKNOWN = "owners_unknown"
    REJECTED = "rejected"
    #: An operator ended this access, or made the account local: it stays so until they say otherwise.
    BLOCKED = "blocked"
    #: An operator took back what a run or a push did; it isn't done again until Okta wants something else.
    UNDONE = "undone"
    # on the way into Okta
    #: Names agree and the address doesn't, or several Okta users fit: is it the same person?
    PARTIAL_MATCH = "partial_match"
    #: The Okta user is DEPROVISIONED, SUSPENDED, STAGED or in no known state.
    OKTA_STATUS = "okta_status"
    #: A protected account would refuse the push that links it.
    PROTECTED = "protected"
    #: It failed at the last tries; tried again after 10 min, doubling to 24 h.
    FAILING = "failing"


#: Actions held by what an operator has decided: they wait for nobody.
SAID_NO = (HeldCode.BLOCKED, HeldCode.REJECTED, HeldCode.UNDONE)


class FindingCode(StrEnum):
    """What a run noticed and did not act on."""

    LEFT_BUT_LOCAL = "left_but_local"
    LOCAL_DEACTIVATE = "local_deactivate"
    UNKNOWN_OWNER = "unknown_owner"
    PROTECTED = "protected"
    EMAIL_DIFFERS = "email_differs"
    SUSPENDED_KEPT = "suspended_kept"
    LEFT_ALONE = "left_alone"
    SYNCING = "syncing"
    SYNCING_TOO_LONG = "syncing_too_long"
    PENDING = "pending"
    SYNC_ERROR = "sync_error"
    ABSENCE_DISPROVED = "absence_disproved"
    APP_LABEL_CHANGED = "app_label_changed"
    IMPORT_CANDIDATE = "import_candidate"
    #: An undo leaves this account alone: somebody has changed it since.
    CHANGED_SINCE = "changed_since"
    #: What no undo can take back, with the way by hand.
    NOT_UNDONE = "not_undone"
    #: A group of roles.owner is not there, ambiguous, empty or unreadable: it demotes nobody.
    ROLE_GROUP = "role_group"
    ROLE_GROUP_RENAMED = "role_group_renamed"
    DUPLICATE_LISTED = "duplicate_listed"
    UNREADABLE = "unreadable"
    NO_TEXT = "no_text"
    #: A remote OpsHelm doesn't keep an attribute, or not as it is written.
    NOT_KEPT = "not_kept"


class RefusalCode(StrEnum):
    """Which rule refused a write; the SCIM surface turns it into a status (agent.receiver)."""

    UNIQUENESS = "uniqueness"  # 409 scimType uniqueness
    NAME_REUSE = "name_reuse"  # 409
    PROTECTED = "protected"  # 409
    LAST_OWNER = "last_owner"  # 409
    OWNER_IDENTITY = "owner_identity"  # 409
    LOCAL_ACCOUNT = "local_account"  # 409; DELETE 403
    REJECTED = "rejected"  # 409: an operator said no (holds reject)
    BLOCKED = "blocked"  # 409: an operator's block
    #: It waits for a person, and what asked is no word of Okta's.
    WAITS = "waits"
    #: Okta has pushed about the account since the run read it.
    MOVED = "moved"
    PUSH_BURST = "push_burst"  # 429
    DEACTIVATIONS_24H = "deactivations_24h"  # 429
    INVALID_USER_NAME = "invalid_user_name"  # 400 invalidValue
    EMAIL_NOT_USER_NAME = "email_not_user_name"  # 400 invalidValue
    EMAIL_TAKEN = "email_taken"  # 409 uniqueness
    INVALID_VALUE = "invalid_value"  # 400 invalidValue
    BLANK = "blank"  # 400 invalidValue: a required attribute is missing
    OWNERS_UNKNOWN = "owners_unknown"  # 429: nobody knows who the owners of a remote OpsHelm are
    HIDDEN = "hidden"  # 404 to SCIM


class Source(StrEnum):
    """Where a write comes from; decides which limits it fills."""

    PUSH = "push"
    SWEEP = "sweep"
    SINGLE = "single"
    IMPORT = "import"
    CLI = "cli"
    DASHBOARD = "dashboard"
