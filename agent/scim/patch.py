"""PATCH (RFC 7644 §3.5.2): from a body to a pure function from the account as it is to what it should be.

Okta sends one form, a replace of ``active``; it is read here. scim2-models carries out every other one, on a plain copy of
the user, and what comes out is read as strictly as the body of a PUT.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from msgspec import UNSET, Struct
from msgspec.structs import replace

from agent.model.attributes import Attribute
from agent.model.mapping import as_text
from agent.model.users import ENTERPRISE_URN, LISTS, DirectoryUser, Profile
from agent.scim import body, render
from agent.scim.errors import ScimRefused, invalid_path, invalid_syntax, invalid_value, mutability, no_target
from agent.scim.schema import CORE_URN, resolve

MAX_OPERATIONS = 100
#: Operations times values; a unit takes up to half a millisecond of the processor.
MAX_WORK = 2000
#: Names in the objects of one PATCH, each of which is looked for in the schema, and characters of a path, as of a filter.
MAX_NAMES = 4000
MAX_PATH = 2048
#: Who is meant is never guessed from what is no text.
_NAMES = ("userName", "externalId")
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
    #: Attributes of text for which it has a list or an object; they stay as they are, as with agent.scim.body.
    no_text: tuple[str, ...]

    def __call__(self, user: DirectoryUser) -> PatchResult: ...


def switch(value: Mapping[str, Any]) -> PatchOperation | None:
    """Okta's own form, a replace of ``active``; None for any other, which takes a while to be read and to be worked out."""
    match value:
        case {"Operations": [{"op": "replace", "value": {"active": bool(wanted), **other}, **more}]} if (
            not other | more
        ):
            # As Okta spells it; any other spelling comes to the same below.
            return _Switch(wanted, ())
    found = [v for k, v in value.items() if k.lower() == "operations"]
    if len(found) != 1 or not isinstance(found[0], list) or len(found[0]) != 1:
        return None
    active = _switch(_operations(value, []))
    return None if active is None else _Switch(active, ())


def read(value: Mapping[str, Any]) -> PatchOperation:
    no_text: list[str] = []
    operations = _operations(value, no_text)
    active = _switch(operations)
    if active is not None or not operations:
        return _Switch(active, tuple(no_text))
    _require_little(sum(map(_steps, operations)), sum(map(_values, operations)))
    from agent.scim import library

    return _Patched(library.read_patch(operations), operations, tuple(no_text))


class _Switch:
    """Nothing but ``active``; None: nothing at all."""

    def __init__(self, active: bool | None, no_text: tuple[str, ...]) -> None:
        self.active = active
        self.says_active = active is not None
        self.no_text = no_text

    def __call__(self, user: DirectoryUser) -> PatchResult:
        active = user.active if self.active is None else self.active
        return PatchResult(user_name=user.user_name, profile=user.profile, active=active, okta_id=user.okta_id)


class _Patched:
    def __init__(self, patch: Any, operations: list[dict[str, Any]], no_text: tuple[str, ...]) -> None:
        self.patch = patch
        self.no_text = no_text
        self._count, self._values = sum(map(_steps, operations)), sum(map(_values, operations))
        self.says_active = any(map(_says_active, operations))
        self._says_managers_name = any(map(_says_managers_name, operations))

    def __call__(self, user: DirectoryUser) -> PatchResult:
        _require_little(self._count, self._values + sum(len(getattr(user.profile, name)) for name in LISTS))
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


def _steps(operation: Mapping[str, Any]) -> int:
    """One, and one more for each name of an object that chooses values by a filter."""
    value = operation.get("value")
    names = value if isinstance(value, dict) and "path" not in operation else ()
    return 1 + sum("[" in name for name in names)


def _require_few_names(values: Iterable[Any]) -> None:
    """Before anything of them is looked at."""
    names = 0
    left = list(values)
    while left:
        value = left.pop()
        if isinstance(value, dict):
            names += len(value)
            left += value.values()
            if names > MAX_NAMES or any(len(name) > MAX_PATH for name in value):
                raise ScimRefused(
                    f"The objects of one PATCH may have {MAX_NAMES} names of {MAX_PATH} characters. Send fewer at once.",
                    "tooMany",
                )


def _values(operation: Mapping[str, Any]) -> int:
    """Values of lists that it brings."""
    value = operation.get("value")
    parts = [value, *value.values()] if isinstance(value, dict) else [value]
    return sum(len(part) for part in parts if isinstance(part, list))


def _require_little(operations: int, values: int) -> None:
    """Each operation looks at every value of the account, its own and those of the ones before it."""
    if operations * values > MAX_WORK:
        raise ScimRefused(
            f"{operations} operations on {values} values are more than one PATCH may ask for ({MAX_WORK} together). "
            "Send fewer at once, or the whole user by PUT.",
            "tooMany",
        )


def _operations(value: Mapping[str, Any], no_text: list[str]) -> list[dict[str, Any]]:
    found = [v for k, v in value.items() if k.lower() == "operations"]
    if len(found) != 1 or not isinstance(found[0], list) or not found[0]:
        raise invalid_syntax("Operations must be one list with at least one operation.")
    if len(found[0]) > MAX_OPERATIONS:
        raise ScimRefused(f"{len(found[0])} operations; the limit is {MAX_OPERATIONS}.", "tooMany")
    _require_few_names(operation for operation in found[0] if isinstance(operation, dict))
    operations = [_operation(operation, no_text) for operation in found[0]]
    return [operation for operation in operations if operation.get("value") is not UNSET]


def _operation(value: Any, no_text: list[str]) -> dict[str, Any]:
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
    if path is not None and len(path) > MAX_PATH:
        raise invalid_path(f"path is longer than {MAX_PATH} characters.")
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
        parts["value"] = (
            _pathless(parts["value"], no_text) if not path else _value(parts["value"], _leaf(path), no_text)
        )
    return parts


def _pathless(value: Mapping[str, Any], no_text: list[str]) -> Any:
    """Its keys are paths; what only the server sets is left out."""
    mine = {key: item for key, item in value.items() if key.lower() not in ("id", "meta")}
    clean = {key: _value(item, _leaf(key), no_text) for key, item in mine.items()}
    kept = {key: item for key, item in clean.items() if item is not UNSET}
    return kept if kept or not clean else UNSET


def _value(value: Any, attribute: Attribute | None, no_text: list[str]) -> Any:
    """The value as scim2-models takes it: a manager is an object, text is text. UNSET: nothing that can be kept."""
    if attribute is None or attribute.name in _NAMES:
        return value
    if attribute.name == "manager" and isinstance(value, str):
        value = {"value": value}
    if value == "" and (attribute.multi or attribute.kind == "boolean") and not attribute.required:
        return None
    if attribute.multi and isinstance(value, list):
        before = len(no_text)
        values = [_parts(item, attribute, no_text) for item in value]
        # Which of the values it would have been can't be told for sure, so all of them stay.
        return values if len(no_text) == before else UNSET
    if attribute.subs:
        return _parts(value, attribute, no_text)
    if attribute.kind == "boolean":
        return value
    text = as_text(value)
    if text is UNSET:
        no_text.append(attribute.name)
    return text


def _parts(value: Any, attribute: Attribute, no_text: list[str]) -> Any:
    if not isinstance(value, dict):
        return value
    clean = {key: _value(item, attribute.sub(key), no_text) for key, item in value.items()}
    kept = {key: item for key, item in clean.items() if item is not UNSET}
    return kept if kept or not clean else UNSET


def _leaf(path: str) -> Attribute | None:
    """What a path names in the end; None where users have no such attribute."""
    head, bracket, rest = path.partition("[")
    target = resolve(head.rstrip())
    if target is None:
        return None
    part = rest.rpartition("]")[2].lstrip(".") if bracket else ""
    return target.attribute.sub(part) if part else target.leaf


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
