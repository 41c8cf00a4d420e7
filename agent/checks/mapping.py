"""Does the agent compare each attribute where Okta sends it? The app's user schema against the mapping. Pure.

Okta's schema names the place in a SCIM body in its own notation (``phoneNumbers.^[primary==true].value`` in a namespace);
the mapping has SCIM paths. Attributes that Okta sends and the agent does not compare are only counted.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from agent.model.check import Check, ok, warn
from agent.model.mapping import DEFAULT
from agent.model.users import ENTERPRISE_URN

_CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
_MANY = re.compile(r"(\w+)\.\^\[(\w+)==(?:'([^']*)'|\"([^\"]*)\"|(true|false))\](?:\.(\w+))?")
#: What text can be made of; a list or an object is left out, by push and sweep alike.
_PLAIN = frozenset({"string", "number", "integer", "boolean"})
#: Compared apart from the mapping, or not a value of its own.
_APART = frozenset({"userName", "email", "emailType"})


class _Place(Struct, frozen=True):
    """Where Okta says that an attribute goes."""

    path: str
    #: None where the schema doesn't say: Okta leaves such an attribute out of what it sends.
    namespace: str | None
    type: str


def check(schema: Mapping[str, Any], overrides: Mapping[str, str]) -> Check:
    mapping = {name: path for name, path in {**DEFAULT, **overrides}.items() if path}
    places = dict(_places(schema))
    found = {name: places[name] for name in sorted(mapping.keys() & places.keys())}
    wrong = [
        f"{name} goes to {place.path} in Okta and is compared with {mapping[name]}"
        for name, place in found.items()
        if place.path != mapping[name]
    ]
    wrong += [
        f"{name} is not in the app's profile" for name in sorted(overrides) if overrides[name] and name not in places
    ]
    wrong += [
        f"{name} has no external namespace, so Okta doesn't send it"
        for name, place in found.items()
        if place.namespace is None
    ]
    wrong += [
        f"{name} is of type {place.type} in Okta; OpsHelm keeps text there, so neither push nor sweep takes it"
        for name, place in found.items()
        if place.type not in _PLAIN
    ]
    if wrong:
        return warn(
            "mapping",
            "; ".join(wrong),
            "correct [mapping], or the attribute in Okta: Directory > Profile Editor > the app",
        )
    others = sorted(name for name in places if name not in mapping and name not in _APART and not name.endswith("Type"))
    texts = [name for name, place in found.items() if place.type != "string"]
    more = f"; kept as text: {', '.join(texts)}" if texts else ""
    more += f"; not compared: {', '.join(others)}" if others else ""
    return ok("mapping", f"{len(found)} attributes are compared where Okta sends them{more}")


def _places(schema: Mapping[str, Any]) -> Iterator[tuple[str, _Place]]:
    for part in (schema.get("definitions") or {}).values():
        properties = part.get("properties") if isinstance(part, dict) else None
        for name, one in (properties or {}).items():
            external = one.get("externalName") if isinstance(one, dict) else None
            if isinstance(external, str) and external:
                namespace = str(one.get("externalNamespace") or "") or None
                yield name, _Place(scim_path(external, namespace or ""), namespace, str(one.get("type") or "string"))


def scim_path(external: str, namespace: str) -> str:
    """Okta's notation as a SCIM path; what it can't mean stays as it is, and then fits no path."""
    found = _MANY.fullmatch(external)
    if found is not None:
        attribute, key, single, double, switch, sub = found.groups()
        text = single if single is not None else double
        value = switch if text is None else f'"{text}"'
        external = f"{attribute}[{key} eq {value}]" + (f".{sub}" if sub else "")
    if namespace in ("", _CORE):
        return external
    return f"{ENTERPRISE_URN}:{external}" if namespace == ENTERPRISE_URN else f"{namespace}:{external}"
