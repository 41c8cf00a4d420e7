"""Errors as answers: which rule or fault has which status. Words come from whoever refused; no traceback leaves here.

=========================================================  =====================================================
refused by                                                 answer
=========================================================  =====================================================
uniqueness, an e-mail that is taken                        409 uniqueness
another owner of the name, a rule about the account        409
a local account                                            409; 403 for a DELETE
a limit on deactivations                                   429 with Retry-After: Okta comes back by itself
a value                                                    400 invalidValue
SCIM's own rules about bodies, paths and filters           400 with that rule's scimType
a remote OpsHelm's own rule                                its status, scimType and words
no such user (for SCIM)                                    404
a lost race with If-Match                                  412
a filter that takes too long                               400 tooMany
the database, a remote OpsHelm or a lack of memory, now    429 with Retry-After: 60 (Okta retries nothing else)
=========================================================  =====================================================
"""

from agent.model.codes import RefusalCode
from agent.model.errors import (
    AnswerLost,
    DirectoryUnavailable,
    DiskFull,
    KeyRefused,
    NotDone,
    NotFound,
    OtherMapping,
    Refused,
    RemoteRefused,
    StoreUnavailable,
    TooSlow,
    Unreadable,
    VersionConflict,
)
from agent.scim.errors import ScimRefused, error_body

#: What can't be done just now is worth another try after this many seconds.
RETRY_AFTER = 60
#: A limit opens again bit by bit.
RETRY_LIMIT = 300

_STATUSES: dict[RefusalCode, tuple[int, str | None]] = {
    RefusalCode.UNIQUENESS: (409, "uniqueness"),
    RefusalCode.EMAIL_TAKEN: (409, "uniqueness"),
    # POST's way of saying that the name is somebody's; clients look for this word on a 409.
    RefusalCode.NAME_REUSE: (409, "uniqueness"),
    RefusalCode.PROTECTED: (409, None),
    RefusalCode.LAST_OWNER: (409, None),
    RefusalCode.OWNER_IDENTITY: (409, None),
    RefusalCode.LOCAL_ACCOUNT: (409, None),
    RefusalCode.REJECTED: (409, None),
    RefusalCode.BLOCKED: (409, None),
    RefusalCode.WAITS: (409, None),
    RefusalCode.MOVED: (409, None),
    RefusalCode.PUSH_BURST: (429, None),
    RefusalCode.DEACTIVATIONS_24H: (429, None),
    RefusalCode.OWNERS_UNKNOWN: (429, None),
    RefusalCode.INVALID_USER_NAME: (400, "invalidValue"),
    RefusalCode.EMAIL_NOT_USER_NAME: (400, "invalidValue"),
    RefusalCode.INVALID_VALUE: (400, "invalidValue"),
    RefusalCode.BLANK: (400, "invalidValue"),
    RefusalCode.HIDDEN: (404, None),
}
NO_MEMORY = "OpsHelm's agent has no memory left just now; please try again later."
NO_SUCH_USER = "There is no such user."


class ScimError(Exception):
    """What a request is answered with when it is refused. ``detail`` never holds a value; Okta shows it to its admins."""

    def __init__(
        self, status: int, detail: str, scim_type: str | None = None, *, retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.scim_type = scim_type
        self.retry_after = retry_after
        #: For a 405: what is allowed instead.
        self.allow: tuple[str, ...] = ()
        #: The journal knows of it already, or is not to.
        self.journalled = False

    @property
    def body(self) -> bytes:
        return error_body(self.status, self.detail, self.scim_type)


def translate(exc: Exception, method: str) -> ScimError | None:
    """The SCIM error for an error of the layers below; None for one that nobody foresaw."""
    match exc:
        case ScimError():
            return exc
        case ScimRefused():
            return ScimError(400, exc.detail, exc.scim_type)
        case RemoteRefused():
            return ScimError(exc.status, exc.detail, exc.scim_type)
        case Refused():
            status, scim_type = _STATUSES[exc.reason]
            if exc.reason is RefusalCode.LOCAL_ACCOUNT and method == "DELETE":
                status = 403
            retry = (exc.retry_after or RETRY_LIMIT) if status == 429 else None
            return ScimError(status, exc.detail, scim_type, retry_after=retry)
        case NotFound():
            return ScimError(404, NO_SUCH_USER)
        case VersionConflict():
            return ScimError(412, "The user has changed since that version; read it again.")
        case TooSlow():
            return ScimError(
                400,
                "The filter takes longer to look for than receiver.search_time allows. Ask for less of it, or by userName, "
                "externalId or id.",
                "tooMany",
            )
        case OtherMapping():
            return unavailable("OpsHelm's agent has another mapping in its settings than in its database.")
        case DiskFull():
            return unavailable("The disk under the database of OpsHelm's agent is full.")
        case StoreUnavailable():
            return unavailable("OpsHelm's agent can't reach its database just now.")
        case AnswerLost() | NotDone():
            # Something may have been changed: the directory looks again before it sends anything more.
            return ScimError(429, exc.detail, retry_after=RETRY_AFTER)
        case KeyRefused():
            return unavailable(
                "OpsHelm refuses the key of its own agent (401). An OpsHelm operator gives the agent a valid one "
                "(OPSHELM_DIRECTORY__API_KEY); the key in Okta is not the cause."
            )
        case DirectoryUnavailable():
            return unavailable("OpsHelm can't be reached just now, or fails at what its agent asks.")
        case MemoryError():
            # It may have been the answer that no longer fitted: this says nothing of what was changed.
            return ScimError(429, NO_MEMORY, retry_after=RETRY_AFTER)
        case Unreadable():
            return ScimError(409, exc.detail)
    return None


def unavailable(what: str) -> ScimError:
    return ScimError(429, f"{what} Nothing was changed; please try again later.", retry_after=RETRY_AFTER)
