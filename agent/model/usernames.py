"""What a userName and a primary e-mail may look like. Pure; does not know who else has the name (agent.directory).

=====================================  ======================================================================
rule                                   when it applies
=====================================  ======================================================================
not blank, at most 255 characters      always; and at most 1,024 bytes in the form that it is compared in
no control, format or separator signs  always: they hide in lists, logs and mail headers; so does any white space
ASCII only                             ``ascii_only``, where the result is active
an e-mail address                      ``is_email``, where the result is active
equal to the primary e-mail (by key)   ``is_email``, where the result is active
=====================================  ======================================================================

An inactive account may carry any name: identity providers rename leavers to tombstones in the request that deactivates.
"""

import re
import unicodedata

from msgspec import Struct

from agent.model.codes import RefusalCode
from agent.model.users import MAX_KEY, identity_key

MAX_LENGTH = 255
#: Any Unicode "other" (control, format, surrogate, private, unassigned) or separator.
_HIDDEN = ("C", "Z")
#: Deliberately plain: one @, something on both sides, no quotes or brackets. Single-label domains are real (intranets).
_EMAIL = re.compile(r"[^@\s\"(),:;<>\[\]\\]+@[^@\s\"(),:;<>\[\]\\.]+(?:\.[^@\s\"(),:;<>\[\]\\.]+)*")
_PLAIN = re.compile(r"[!-~]+")

NameProblem = tuple[RefusalCode, str]


class NameRules(Struct, frozen=True, kw_only=True):
    """receiver.username_is_email and receiver.ascii_usernames."""

    is_email: bool = True
    ascii_only: bool = True


def problem(user_name: str, primary_email: str | None, rules: NameRules, *, active: bool = True) -> NameProblem | None:
    """The first rule that the name breaks, as code and detail; None where it breaks none."""
    found = form_problem(user_name, rules, active=active)
    return found or email_problem(user_name, primary_email, rules, active=active)


def form_problem(user_name: str, rules: NameRules, *, active: bool) -> NameProblem | None:
    """The rules that the name alone can break."""
    if not user_name.strip():
        return RefusalCode.BLANK, "userName is required and must not be blank."
    wrong = _invalid(user_name, rules, active=active)
    return (RefusalCode.INVALID_USER_NAME, f"userName {wrong}") if wrong else None


def _invalid(user_name: str, rules: NameRules, *, active: bool) -> str:
    if len(user_name) > MAX_LENGTH:
        return f"has {len(user_name)} characters; the limit is {MAX_LENGTH}."
    if not _PLAIN.fullmatch(user_name):
        size = len(identity_key(user_name).encode(errors="replace"))
        if size > MAX_KEY:
            return f"has {size} bytes, as it is compared; the limit is {MAX_KEY}."
        hidden = next((c for c in user_name if unicodedata.category(c)[0] in _HIDDEN), None)
        if hidden is not None:
            return f"holds the character U+{ord(hidden):04X}, which can't be seen."
        if active and rules.ascii_only:
            return (
                "holds characters outside ASCII, which can look like others. "
                "OpsHelm takes them only with receiver.ascii_usernames = false."
            )
    if active and rules.is_email and not _EMAIL.fullmatch(user_name):
        return "is no e-mail address. OpsHelm needs the application username format Email."
    return ""


def email_problem(user_name: str, primary_email: str | None, rules: NameRules, *, active: bool) -> NameProblem | None:
    """The rule about the name and the primary e-mail together."""
    if active and rules.is_email and identity_key(primary_email or "") != identity_key(user_name):
        return RefusalCode.EMAIL_NOT_USER_NAME, (
            "The primary e-mail must equal the userName. OpsHelm needs the application username format Email."
        )
    return None
