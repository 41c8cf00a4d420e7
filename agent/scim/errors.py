"""SCIM errors (RFC 7644 §3.12) as exceptions and as bodies. Knows statuses; does not know which rule maps to which."""

import msgspec

from agent.model.codes import RefusalCode
from agent.model.errors import Refused

ERROR_URN = "urn:ietf:params:scim:api:messages:2.0:Error"


class _Body(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    schemas: tuple[str]
    status: str
    scim_type: str | None = None
    detail: str = ""


class ScimError(Refused):
    """A request that SCIM's own rules refuse. ``detail`` names the attribute, never a value; Okta shows it to its admins.

    It is a Refused, so that a ``change`` handed to Directory.modify may raise it.
    """

    code = "scim"

    def __init__(
        self, status: int, detail: str, scim_type: str | None = None, *, retry_after: int | None = None
    ) -> None:
        super().__init__(RefusalCode.INVALID_VALUE, detail, retry_after=retry_after)
        self.status = status
        self.scim_type = scim_type
        #: For a 405: what is allowed instead.
        self.allow: tuple[str, ...] = ()
        #: The journal knows of it already, or is not to.
        self.journalled = False

    @property
    def body(self) -> bytes:
        return error_body(self.status, self.detail, self.scim_type)


def error_body(status: int, detail: str, scim_type: str | None = None) -> bytes:
    return msgspec.json.encode(_Body((ERROR_URN,), str(status), scim_type, detail))


def invalid_syntax(detail: str) -> ScimError:
    return ScimError(400, detail, "invalidSyntax")


def invalid_value(detail: str) -> ScimError:
    return ScimError(400, detail, "invalidValue")


def invalid_path(detail: str) -> ScimError:
    return ScimError(400, detail, "invalidPath")


def invalid_filter(detail: str) -> ScimError:
    return ScimError(400, detail, "invalidFilter")


def mutability(detail: str) -> ScimError:
    return ScimError(400, detail, "mutability")


def no_target(detail: str) -> ScimError:
    return ScimError(400, detail, "noTarget")
