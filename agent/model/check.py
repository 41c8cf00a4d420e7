"""One check's answer. Knows nothing of what is checked."""

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct


class CheckState(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(Struct, frozen=True, kw_only=True):
    name: str
    state: CheckState
    detail: str
    #: What to do about it; empty where nothing is to be done.
    fix: str = ""


def ok(name: str, detail: str) -> Check:
    return Check(name=name, state=CheckState.OK, detail=detail)


def warn(name: str, detail: str, fix: str) -> Check:
    return Check(name=name, state=CheckState.WARN, detail=detail, fix=fix)


def fail(name: str, detail: str, fix: str) -> Check:
    return Check(name=name, state=CheckState.FAIL, detail=detail, fix=fix)


def failed(checks: Iterable[Check]) -> bool:
    return any(check.state is CheckState.FAIL for check in checks)
