"""What the remote says of itself: what it can do (ServiceProviderConfig, RFC 7643 §5, RFC 9865), and which attributes it has
(Schemas and ResourceTypes, §6 and §7). Read leniently; tries nothing out.

A remote without one, or with a broken one, is taken to filter and page by index; PATCH is tried, and PUT used once it turned
out not to work.
"""

import threading
import time
from typing import Any, NamedTuple

import structlog
from msgspec import Struct

from agent.directory.remote import wire
from agent.directory.remote.patience import Unusable
from agent.directory.remote.transport import RemoteAnswer, Transport
from agent.model.users import ENTERPRISE_URN, PROFILE
from agent.scim.schema import CORE_URN

log = structlog.get_logger("agent.directory.remote")

#: What a person's access hangs on.
_ACCESS = ("userName", "active")


class Provider(Struct, frozen=True, kw_only=True):
    #: False: the remote has no ServiceProviderConfig, or none that can be read.
    announced: bool = False
    patch: bool = True
    etag: bool = False
    #: The most that a page may hold; None: not said.
    max_results: int | None = None
    cursor: bool = False
    #: Why nothing is announced, where it isn't just missing.
    problem: str = ""

    def page_size(self, wanted: int) -> int:
        return min(wanted, self.max_results) if self.max_results else wanted


class Shape(NamedTuple):
    """Attributes of a profile that the remote lists as its clients' to write, and those that it doesn't. All empty: not said."""

    listed: frozenset[str] = frozenset()
    unlisted: frozenset[str] = frozenset()
    #: Of userName and active, what the remote lists as not to be changed.
    fixed: frozenset[str] = frozenset()


class Discovery:
    """Asked for once in the life of the process; a broken one again after a while. Thread-safe."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._asking = threading.Lock()
        self._found: Provider | None = None
        self._asked = 0.0

    def __call__(self) -> Provider:
        with self._asking:
            if self._found is None or (
                self._found.problem and time.monotonic() - self._asked >= self._transport.pace.assumed
            ):
                self._found = self._ask()
                self._asked = time.monotonic()
            return self._found

    def shape(self) -> Shape:
        """Asked for each time."""
        return shape(self._resources("/Schemas", 0.0), self._resources("/ResourceTypes", 0.0))

    def no_roles(self) -> str:
        """Why a role can't be given there; "" where the User's schema has roles that are not read-only. Asked for each time."""
        pause = self._transport.pace.nonsense
        found = [
            *self._resources(f"/Schemas/{CORE_URN}", pause, alone=True),
            *self._resources("/Schemas", pause, alone=True),
        ]
        if _schema(found, CORE_URN) is None:
            return "the remote OpsHelm doesn't say whether it takes roles: it has no /Schemas with the User in it"
        roles = _attributes(found, CORE_URN).get("roles")
        if roles is None:
            return "the remote OpsHelm takes no roles over SCIM: its schema of the User has none"
        if _mutability(roles) != "readwrite":
            return "the remote OpsHelm shows roles over SCIM, but takes none: they are read-only in its schema"
        return ""

    def _resources(self, path: str, with_nonsense: float, *, alone: bool = False) -> list[dict[str, Any]]:
        """Those of a list; ``alone``: or one that stands there without. None where they can't be had."""
        try:
            answer = self._transport.read(path, with_nonsense=with_nonsense)
        except Unusable:
            return []
        value = _object(answer.json()) if answer.ok else {}
        found = value.get("resources", [value] if alone else None)
        return [_object(one) for one in found] if isinstance(found, list) else []

    def _ask(self) -> Provider:
        try:
            return read(self._transport.read("/ServiceProviderConfig", with_nonsense=self._transport.pace.nonsense))
        except Unusable as exc:
            # Whether the remote is down shows in what is asked for next.
            log.warning("remote OpsHelm: its ServiceProviderConfig can't be used", problem=exc.problem)
            return Provider(problem=exc.problem)


def read(answer: RemoteAnswer) -> Provider:
    value = {key.lower(): item for key, item in answer.json().items()}
    if not answer.ok or not value.keys() & {"patch", "filter", "etag", "bulk", "sort"}:
        return Provider()
    pagination = _object(value.get("pagination"))
    found = _object(value.get("filter"))
    sizes = [wire.number(most) for most in (pagination.get("maxpagesize"), found.get("maxresults"))]
    return Provider(
        announced=True,
        patch=_supported(value, "patch"),
        etag=_supported(value, "etag"),
        max_results=min((size for size in sizes if size and size > 0), default=None),
        cursor=_true(pagination.get("cursor")),
    )


def shape(schemas: list[dict[str, Any]], types: list[dict[str, Any]]) -> Shape:
    core, enterprise = _attributes(schemas, CORE_URN), _attributes(schemas, ENTERPRISE_URN)
    if "username" not in core:
        core = {}
    mine = next((one for one in types if str(one.get("schema", "")).lower() == CORE_URN.lower()), None)
    listed, unlisted = set[str](), set[str]()
    for attribute in PROFILE:
        if attribute.name == ENTERPRISE_URN and (mine or core):
            has = _extends(mine) if mine else bool(enterprise)
            subs, joint = enterprise, ":"
        elif attribute.name != ENTERPRISE_URN and core:
            spec = core.get(attribute.name.lower())
            has = _is_writable(spec)
            subs, joint = _named((spec or {}).get("subattributes")), "."
        else:
            continue
        (listed if has else unlisted).add(attribute.name)
        for sub in attribute.subs if has and subs and not attribute.multi else ():
            kept = _is_writable(subs.get(sub.name.lower()))
            (listed if kept else unlisted).add(f"{attribute.name}{joint}{sub.name}")
    fixed = {name for name in _ACCESS if _mutability(core.get(name.lower())) in ("readonly", "immutable")}
    return Shape(frozenset(listed), frozenset(unlisted), frozenset(fixed))


def _is_writable(spec: dict[str, Any] | None) -> bool:
    return spec is not None and _mutability(spec) != "readonly"


def _mutability(spec: dict[str, Any] | None) -> str:
    return str((spec or {}).get("mutability", "readWrite")).lower()


def _attributes(schemas: list[dict[str, Any]], urn: str) -> dict[str, dict[str, Any]]:
    return _named((_schema(schemas, urn) or {}).get("attributes"))


def _schema(schemas: list[dict[str, Any]], urn: str) -> dict[str, Any] | None:
    return next((one for one in schemas if str(one.get("id", "")).lower() == urn.lower()), None)


def _named(attributes: Any) -> dict[str, dict[str, Any]]:
    specs = [_object(one) for one in attributes] if isinstance(attributes, list) else []
    return {str(one.get("name", "")).lower(): one for one in specs}


def _extends(resource_type: dict[str, Any]) -> bool:
    extensions = resource_type.get("schemaextensions")
    found = [_object(one).get("schema") for one in extensions] if isinstance(extensions, list) else []
    return any(isinstance(urn, str) and urn.lower() == ENTERPRISE_URN.lower() for urn in found)


def _object(value: Any) -> dict[str, Any]:
    return {str(key).lower(): item for key, item in value.items()} if isinstance(value, dict) else {}


def _supported(value: dict[str, Any], name: str) -> bool:
    return _true(_object(value.get(name)).get("supported"))


def _true(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")
