"""Every error that the agent raises on purpose. Knows exit codes; knows nothing of HTTP frameworks or databases.

::

    AgentError                    1   something went wrong; nothing was changed beyond what is journalled
    ├── UsageError                2   the command line asked for something that makes no sense
    │   ├── Unaddressable         2   no address of Okta's can name it: it is no id that Okta gave
    │   ├── ConfigError           2   the configuration is wrong; lists every problem at once
    │   └── NoDatabase            2   there is no database where the settings say, and this command makes none
    ├── StoreError                1   the agent's own database
    │   ├── StoreUnavailable      1   soft: locked, full, unreachable; try again later
    │   │   ├── DiskFull          1   soft: the disk under the database is full
    │   │   └── OtherMapping      2   soft: the database has another mapping than this process's settings
    │   ├── TooSlow               1   a statement with a time of its own ran out of it
    │   ├── SchemaTooNew          1   a newer program has migrated this database
    │   ├── LeaseHeld             1   soft: another agent is at work
    │   └── FenceLost             1   this process held the lease once and lost it: it must not write
    ├── OktaError                 1   Okta's Management API
    │   ├── OktaUnreachable       1   soft: no answer, or none that can be read, after all retries
    │   ├── OktaThrottled         1   soft: still 429 after waiting
    │   ├── OktaDenied            1   401 or 403: the credentials or their scopes
    │   ├── OktaNotFound          1   404
    │   └── OktaRejected          1   any other 4xx
    ├── DirectoryError            1   the OpsHelm side
    │   ├── NotFound              1   no such account
    │   ├── VersionConflict       1   soft: the account changed since it was read
    │   ├── DirectoryUnavailable  1   soft: a remote OpsHelm is down or unreadable
    │   │   ├── KeyRefused        1   soft: it refuses the agent's key
    │   │   ├── AnswerLost        1   soft: a write was sent, and whether it was done is not known
    │   │   ├── NotDone           1   soft: it said that it did, and a read shows that it did not
    │   │   └── ListingUnreliable 1   soft: its listing contradicts itself; what is missing in it proves nothing
    │   ├── Unreadable            1   one account of the remote is not what SCIM says; the others are
    │   └── Refused               1   a rule forbids this write; nothing was changed but its journal row
    │       └── RemoteRefused     1   the rule is the remote OpsHelm's own
    ├── CalledOff                 1   soft: somebody has rejected the plan, or paused, while it was carried out
    ├── Frozen                    1   this run may change nothing; says why
    └── HeldBack                  4   the guard holds it; a person decides
"""

from typing import ClassVar

import msgspec

from agent.model.codes import HeldCode, RefusalCode

#: What JSON that can't be read raises; broken UTF-8 is an error of its own.
UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError)


class AgentError(Exception):
    """Base of all. ``detail`` is one line for an operator: what, numbers, effect, next step; never a secret."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    #: The daemon logs, counts and tries again at the next tick.
    soft: ClassVar[bool] = False

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class UsageError(AgentError):
    code = "usage"
    exit_code = 2


class Unaddressable(UsageError):
    """Of one person; the others can be read."""


class ConfigError(UsageError):
    """``problems`` are lines such as ``config/agent.toml:12 okta.tokn: unknown key``; never a value."""

    code = "config"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class NoDatabase(UsageError):
    code = "no_database"


class NoSessions(ConfigError):
    """A pooler between the agent and PostgreSQL shares sessions."""


class StoreError(AgentError):
    code = "store"


class StoreUnavailable(StoreError):
    code = "store_unavailable"
    soft = True


class DiskFull(StoreUnavailable):
    code = "disk_full"


class OtherMapping(StoreUnavailable):
    code = "other_mapping"
    exit_code = 2


class TooSlow(StoreError):
    code = "too_slow"


class SchemaTooNew(StoreError):
    code = "schema_too_new"


class LeaseHeld(StoreError):
    code = "lease_held"
    soft = True


class FenceLost(StoreError):
    code = "fence_lost"


class OktaError(AgentError):
    """``status`` is the HTTP status (0: no answer), ``okta_code`` such as E0000007 or ""."""

    code = "okta"

    def __init__(self, detail: str, *, status: int = 0, okta_code: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.okta_code = okta_code


class OktaUnreachable(OktaError):
    """``maybe_done``: the call was a write whose answer was lost, so Okta may have done it; look before you try again."""

    code = "okta_unreachable"
    soft = True

    def __init__(self, detail: str, *, status: int = 0, okta_code: str = "", maybe_done: bool = False) -> None:
        super().__init__(detail, status=status, okta_code=okta_code)
        self.maybe_done = maybe_done


class OktaThrottled(OktaError):
    code = "okta_throttled"
    soft = True


class OktaDenied(OktaError):
    code = "okta_denied"


class OktaNotFound(OktaError):
    code = "okta_not_found"


class OktaRejected(OktaError):
    code = "okta_rejected"


class DirectoryError(AgentError):
    code = "directory"


class NotFound(DirectoryError):
    code = "not_found"


class VersionConflict(DirectoryError):
    code = "version_conflict"
    soft = True


class DirectoryUnavailable(DirectoryError):
    code = "directory_unavailable"
    soft = True


class KeyRefused(DirectoryUnavailable):
    code = "key_refused"


class AnswerLost(DirectoryUnavailable):
    code = "answer_lost"


class NotDone(DirectoryUnavailable):
    code = "not_done"


class ListingUnreliable(DirectoryUnavailable):
    code = "listing_unreliable"


class Unreadable(DirectoryError):
    code = "unreadable"


class Refused(DirectoryError):
    """``reason`` says which rule; ``retry_after`` (seconds) is set where waiting helps (429)."""

    code = "refused"

    def __init__(self, reason: RefusalCode, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.retry_after = retry_after


class RemoteRefused(Refused):
    """The remote OpsHelm's own no, which is handed on as it is: its status, scimType and words."""

    code = "remote_refused"

    def __init__(self, status: int, detail: str, scim_type: str | None) -> None:
        super().__init__(RefusalCode.INVALID_VALUE, detail)
        self.status = status
        self.scim_type = scim_type


class CalledOff(AgentError):
    code = "called_off"
    soft = True

    def __init__(self) -> None:
        super().__init__("The plan was rejected, or applies were paused, meanwhile. Nothing was changed.")


class Frozen(AgentError):
    code = "frozen"


class HeldBack(AgentError):
    code = "held"
    exit_code = 4

    def __init__(self, reason: HeldCode, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
