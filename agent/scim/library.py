"""Everything that scim2-models does for us: the filter grammar and the PATCH semantics, bound to the users that we have.

Importing this module takes most of a second, so nothing imports it before it is needed; a daemon does so at its start
(``warm_up``), in a thread. No scim2-models object leaves this module.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from scim2_models import Attribute as LibraryAttribute
from scim2_models import (
    CaseExact,
    Context,
    Extension,
    InvalidFilterException,
    Mutability,
    PatchOp,
    PatchOperation,
    Path,
    Required,
    Resource,
    Schema,
    SCIMException,
    ScimFilter,
    ScimPolicy,
    Uniqueness,
)
from scim2_models.path import AttrPath, Comparison, FilterNode, LogicalExpr, LogicalOperator, ValuePath
from scim2_models.path import Not as LibraryNot
from scim2_models.path import Present as LibraryPresent

from agent.model.attributes import Attribute
from agent.model.users import ENTERPRISE_URN
from agent.scim.errors import ScimRefused, invalid_filter, invalid_path, mutability
from agent.scim.schema import CORE, CORE_URN, ENTERPRISE, EXTERNAL_ID, Target, resolve
from agent.scim.terms import Both, Compare, Either, Filter, Not, Op, Present, Select, Value


def _bound(attribute: Attribute) -> LibraryAttribute:
    """References as plain strings: the agent keeps what Okta sent."""
    return LibraryAttribute(
        name=attribute.name,
        type=LibraryAttribute.Type("string" if attribute.kind == "reference" else attribute.kind),
        multi_valued=attribute.multi,
        required=Required(attribute.required),
        case_exact=CaseExact(attribute.case_exact),
        mutability=Mutability(attribute.mutability),
        uniqueness=Uniqueness(attribute.uniqueness),
        sub_attributes=[_bound(sub) for sub in attribute.subs] or None,
    )


def _schema(urn: str, name: str, attributes: Iterable[Attribute]) -> Schema:
    return Schema(id=urn, name=name, attributes=[_bound(attribute) for attribute in attributes])


#: What users have, as models of scim2-models. externalId is theirs already, of every resource.
EnterpriseModel = Extension.from_schema(_schema(ENTERPRISE_URN, "Enterprise", ENTERPRISE.subs))
UserModel: type[Resource[Any]] = Resource.from_schema(
    _schema(CORE_URN, "User", (attribute for attribute in CORE if attribute is not EXTERNAL_ID))
).__class_getitem__(EnterpriseModel)

#: What clients that are not Okta send (Entra): removes with a value, unknown attributes. A replace of a value that isn't
#: there is noTarget (RFC 7644 §3.5.2.3) …
POLICY = ScimPolicy(unknown=ScimPolicy.Unknown.ignore, remove_value_as_filter=ScimPolicy.RemoveValue.apply)
#: … and an add makes it.
_ADDING = POLICY.model_copy(update={"unmatched_path_filter": ScimPolicy.UnmatchedPathFilter.create})
_FILTER = ScimFilter.__class_getitem__(UserModel)
_PATH = Path.__class_getitem__(UserModel)
_PATCH: type[PatchOp[Resource[Any]]] = PatchOp.__class_getitem__(UserModel)


def warm_up() -> None:
    """Build what the first filter and the first PATCH would build."""
    parse_filter('title eq "x" and emails[type eq "work"]')
    read_patch([{"op": "replace", "path": "title", "value": "x"}])


def parse_filter(text: str) -> Filter:
    try:
        bound = _FILTER(text)
        return _convert(bound.ast, None)
    except SCIMException as exc:
        raise invalid_filter(f"The filter can't be read: {_detail(exc)}.") from exc


def _convert(node: FilterNode, parent: Target | None) -> Filter:
    match node:
        case Comparison():
            return _comparison(node, parent)
        case LibraryPresent():
            return Present(_target(node.attr_path, parent))
        case LibraryNot():
            return Not(_convert(node.expr, parent))
        case LogicalExpr():
            terms = tuple(_convert(term, parent) for term in node.terms)
            return Both(terms) if node.op is LogicalOperator.and_ else Either(terms)
        case ValuePath():
            target = _target(node.attr_path, parent)
            if not target.attribute.multi:
                raise invalid_filter(f"{target} holds one value; there is nothing to select from.")
            return Select(target, _convert(node.val_filter, target))
    raise invalid_filter("The filter can't be read.")


def _target(path: AttrPath, parent: Target | None) -> Target:
    if parent is None:
        target = resolve(str(path))
    else:
        sub = None if path.uri or path.sub_attr else parent.attribute.sub(path.attr)
        target = None if sub is None else Target(parent.attribute, sub)
    if target is None or str(target) in ("meta.location", "meta.version") or target.attribute.name == ENTERPRISE_URN:
        raise invalid_filter(f"Users can't be filtered by {path}.")
    return target


def _comparison(node: Comparison, parent: Target | None) -> Compare:
    target = _target(node.attr_path, parent)
    if target.sub is None and target.attribute.multi:
        value = target.attribute.sub("value")
        target = target if value is None else Target(target.attribute, value)
    if target.leaf.kind == "complex":
        raise invalid_filter(f"{target} has parts; compare one of them.")
    op: Op = node.op.value
    value_ = node.value
    if op in ("co", "sw", "ew") and (not isinstance(value_, str) or target.leaf.kind in ("boolean", "dateTime")):
        raise invalid_filter(f"{op} compares strings; {target} or its value is none.")
    if op in ("gt", "ge", "lt", "le") and (value_ is None or target.leaf.kind == "boolean"):
        raise invalid_filter(f"{op} needs an order; {target} or its value has none.")
    return Compare(target, op, _coerced(target, value_))


def _coerced(target: Target, value: Any) -> Value:
    """The value in the type of its attribute."""
    if value is None:
        return None
    if target.leaf.kind == "dateTime" and isinstance(value, str):
        return _moment(target, value)
    if target.leaf.kind == "boolean":
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if isinstance(value, bool):
            return value
    elif isinstance(value, str):
        return value
    raise invalid_filter(f"{target} is compared with a value of another type.")


def _moment(target: Target, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise invalid_filter(f"{target} is compared with something that is no time.") from exc
    if moment.tzinfo is None:
        raise invalid_filter(f"{target} is compared with a time without its zone.")
    return moment


def _detail(exc: SCIMException) -> str:
    """The library's words without the input or a web address, and with attributes named as SCIM does."""
    cause = exc.__cause__
    if isinstance(cause, ValidationError):
        return _first(cause)
    return re.sub(r"'(\w+)'", lambda name: f"'{_camel(name[1])}'", str(exc.detail or exc).rstrip("."))


def _first(exc: ValidationError) -> str:
    error = exc.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ".".join(_camel(str(part)) for part in error["loc"] if not str(part).startswith("function-"))
    # What follows is the name of a Python class.
    words = str(error["msg"]).partition(" or instance of ")[0]
    return f"{path}: {words}" if path else words


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.title() for part in tail)


def read_patch(operations: list[dict[str, Any]]) -> PatchOp[Resource[Any]]:
    """Operations whose form is right already (agent.scim.patch), bound to what users have."""
    for operation in operations:
        if operation.get("path") is not None:
            _require_writable(operation["path"], operation["op"])
    try:
        return _PATCH.model_validate(
            {"Operations": operations}, scim_ctx=Context.RESOURCE_PATCH_REQUEST, scim_policy=POLICY
        )
    except ValidationError as exc:
        raise _refused(exc) from exc
    except SCIMException as exc:
        raise _refused(exc) from exc


def _require_writable(text: str, op: str) -> None:
    """An explicit path must name something that users have and SCIM may write."""
    try:
        path = _PATH(text)
    except SCIMException as exc:
        raise invalid_path(f"The path can't be read: {_detail(exc)}.") from exc
    head = text.partition("[")[0].rstrip()
    if head.lower() == "schemas" or head.lower() == CORE_URN.lower():
        return
    target = resolve(head)
    if target is None or (path.model is None and path.resolve() is None):
        raise invalid_path(
            f"Users have no attribute {head}." if target is None else "Users have no such sub-attribute."
        )
    if target.attribute.mutability == "readOnly":
        raise mutability(f"{target} is set by the server.")
    if op == "remove" and (target.attribute.required or target.attribute.mutability == "immutable"):
        raise mutability(f"{target} can't be removed.")


def apply_patch(patch: PatchOp[Resource[Any]], value: dict[str, Any]) -> dict[str, Any]:
    """The user as a plain object after the PATCH."""
    user = UserModel.model_validate(value, scim_policy=POLICY)
    try:
        for operation in patch.operations or ():
            policy = _ADDING if operation.op == PatchOperation.Op.add else POLICY
            patch.model_copy(update={"operations": [operation]}).patch(user, scim_policy=policy)
    except (SCIMException, ValidationError) as exc:
        raise _refused(exc) from exc
    after: dict[str, Any] = user.model_dump(scim_policy=POLICY)
    return after


def _refused(exc: SCIMException | ValidationError) -> ScimRefused:
    if isinstance(exc, InvalidFilterException):
        return invalid_path(f"The path selects by what can't be compared: {_detail(exc)}.")
    if isinstance(exc, SCIMException):
        return ScimRefused(f"The PATCH can't be applied: {_detail(exc)}.", exc.scim_type)
    error = exc.errors(include_url=False, include_input=False)[0]
    context = error.get("ctx", {})
    scim_type = context.get("scim_type") if str(error["type"]).startswith("scim_") else "invalidValue"
    return ScimRefused(f"The PATCH can't be read: {_first(exc)}.", scim_type)
