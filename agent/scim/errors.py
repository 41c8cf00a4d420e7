"""SCIM errors (RFC 7644 §3.12) as exceptions and as bodies. Which of them has which status is the receiver's to say."""

import msgspec

from agent.model.codes import RefusalCode
from agent.model.errors import Refused

ERROR_URN = "urn:ietf:params:scim:api:messages:2.0:Error"


class _Body(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    schemas: tuple[str]
    status: str
    scim_type: str | None = None
    detail: str = ""


class ScimRefused(Refused):
    """A request that SCIM's own rules refuse. ``detail`` names the attribute, never a value; Okta shows it to its admins.

    It is a Refused, so that a ``change`` handed to Directory.modify may raise it.
    """

    code = "scim"

    def __init__(self, detail: str, scim_type: str | None) -> None:
        super().__init__(RefusalCode.INVALID_VALUE, detail)
        #: RFC 7644 table 9.
        self.scim_type = scim_type


def error_body(status: int, detail: str, scim_type: str | None = None) -> bytes:
    return msgspec.json.encode(_Body((ERROR_URN,), str(status), scim_type, detail))


def invalid_syntax(detail: str) -> ScimRefused:
    return ScimRefused(detail, "invalidSyntax")


def invalid_value(detail: str) -> ScimRefused:
    return ScimRefused(detail, "invalidValue")


def invalid_path(detail: str) -> ScimRefused:
    return ScimRefused(detail, "invalidPath")


def invalid_filter(detail: str) -> ScimRefused:
    return ScimRefused(detail, "invalidFilter")


def mutability(detail: str) -> ScimRefused:
    return ScimRefused(detail, "mutability")


def no_target(detail: str) -> ScimRefused:
    return ScimRefused(detail, "noTarget")
