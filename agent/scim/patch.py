"""PATCH (RFC 7644 §3.5.2): from a body to a pure function from the account as it is to what it should be.

Okta sends one form, a replace of ``active``; it is read here. scim2-models carries out every other one, on a plain copy of
the user, and what comes out is read as strictly as the body of a PUT.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from agent.model.users import ENTERPRISE_URN, DirectoryUser, Profile
from agent.scim import body, render
from agent.scim.errors import ScimRefused, invalid_path, invalid_syntax, invalid_value, mutability, no_target
from agent.scim.schema import CORE_URN, resolve

MAX_OPERATIONS = 100
_OPS = ("add", "replace", "remove")


class PatchResult(Struct, frozen=True, kw_only=True):
    user_name: str
    profile: Profile
    active: bool
    okta_id: str | None


class PatchOperation(Protocol):
    """What a PATCH does to an account; pure."""

    #: Whether it says anything about ``active``.
    says_active: bool

    def __call__(self, user: DirectoryUser) -> PatchResult: ...


def read(value: Mapping[str, Any]) -> PatchOperation:
    operations = _operations(value)
    active = _switch(operations)
    if active is not None:
        return _Switch(active)
    from agent.scim import library

    return _Patched(library.read_patch(operations), operations)


class _Switch:
    """Nothing but ``active``."""

    says_active = True

    def __init__(self, active: bool) -> None:
        self.active = active

    def __call__(self, user: DirectoryUser) -> PatchResult:
        return PatchResult(user_name=user.user_name, profile=user.profile, active=self.active, okta_id=user.okta_id)


class _Patched:
    def __init__(self, patch: Any, operations: list[dict[str, Any]]) -> None:
        self.patch = patch
        self.says_active = any(map(_says_active, operations))
        self._says_managers_name = any(map(_says_managers_name, operations))

    def __call__(self, user: DirectoryUser) -> PatchResult:
        from agent.scim import library

        after = body.read(library.apply_patch(self.patch, render.plain(user)))
        if not after.user_name or after.active is None:
            raise mutability("userName and active can't be removed.")
        if user.okta_id is not None and after.okta_id is None:
            raise mutability("externalId can't be removed; it binds the account to its Okta user.")
        profile = after.profile if self._says_managers_name else _without_former_manager(user.profile, after.profile)
        return PatchResult(user_name=after.user_name, profile=profile, active=after.active, okta_id=after.okta_id)


def _without_former_manager(before: Profile, after: Profile) -> Profile:
    """Another id is another person: what the account says of the former one goes, unless the PATCH says it too."""
    if before.enterprise is None or after.enterprise is None:
        return after
    old, new = before.enterprise.manager, after.enterprise.manager
    if old is None or new is None or new.value in (None, old.value):
        return after
    new = replace(
        new,
        display_name=None if new.display_name == old.display_name else new.display_name,
        ref=None if new.ref == old.ref else new.ref,
    )
    return replace(after, enterprise=replace(after.enterprise, manager=new))


def _operations(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = [v for k, v in value.items() if k.lower() == "operations"]
    if len(found) != 1 or not isinstance(found[0], list) or not found[0]:
        raise invalid_syntax("Operations must be one list with at least one operation.")
    if len(found[0]) > MAX_OPERATIONS:
        raise ScimRefused(f"{len(found[0])} operations; the limit is {MAX_OPERATIONS}.", "tooMany")
    return [_operation(operation) for operation in found[0]]


def _operation(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid_syntax("Each operation must be an object.")
    parts = {key.lower(): item for key, item in value.items() if key.lower() in ("op", "path", "value")}
    op = parts.get("op")
    op = op.lower() if isinstance(op, str) else op
    if op not in _OPS:
        raise invalid_syntax("Each operation needs an op: add, replace or remove.")
    path = parts.get("path")
    if path is not None and not isinstance(path, str):
        raise invalid_path("path must be a string.")
    if op == "remove" and not path:
        raise no_target("A remove needs a path.")
    if op != "remove" and "value" not in parts:
        raise invalid_value(f"{op} needs a value.")
    if not path and op != "remove" and not isinstance(parts["value"], dict):
        raise invalid_value("Without a path, value must be an object.")
    parts["op"] = op
    if op == "remove" and path and _is_single(path):
        # A value says which ones of many to remove; of a single one there is nothing to choose.
        parts.pop("value", None)
    if not path:
        parts.pop("path", None)
    if "value" in parts:
        parts["value"] = _value(parts["value"], path)
    return parts


def _value(value: Any, path: str | None) -> Any:
    """The value as scim2-models takes it: a manager is an object, and what only the server sets is left out."""
    if path and _names_manager(path):
        return {"value": value} if isinstance(value, str) else value
    if not isinstance(value, dict):
        return value
    clean = {}
    for key, item in value.items():
        if not path and key.lower() in ("id", "meta"):
            continue
        if isinstance(item, str) and _names_manager(key):
            clean[key] = {"value": item}
        elif key.lower() == ENTERPRISE_URN.lower():
            clean[key] = _value(item, key)
        else:
            clean[key] = item
    return clean


def _is_single(path: str) -> bool:
    target = resolve(path)
    return target is not None and not target.attribute.multi


def _names_manager(path: str) -> bool:
    return path.lower() in ("manager", f"{ENTERPRISE_URN}:manager".lower())


def _says_managers_name(operation: Mapping[str, Any]) -> bool:
    """Whether it says the manager's name itself."""
    path, value = operation.get("path", ""), operation.get("value")
    if path.lower().endswith("manager.displayname"):
        return True
    if not isinstance(value, dict):
        return False
    if _names_manager(path):
        return any(key.lower() == "displayname" for key in value)
    return any(_says_managers_name({"path": key, "value": item}) for key, item in value.items())


def _says_active(operation: Mapping[str, Any]) -> bool:
    paths = [operation["path"]] if "path" in operation else list(operation["value"])
    return any(path.lower().removeprefix(CORE_URN.lower() + ":") == "active" for path in paths)


def _switch(operations: list[dict[str, Any]]) -> bool | None:
    """What a PATCH of ``active`` alone sets it to; None for every other PATCH."""
    if len(operations) != 1 or operations[0]["op"] == "remove":
        return None
    path, value = operations[0].get("path"), operations[0]["value"]
    if path is None:
        if len(value) != 1:
            return None
        ((path, value),) = value.items()
    if path.lower() != "active":
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise invalid_value("active must be true or false.")
