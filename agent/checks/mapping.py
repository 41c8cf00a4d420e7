"""Does the agent compare each attribute where Okta sends it? The app's user schema against the mapping. Pure.

Okta's schema names the place in a SCIM body in its own notation (``phoneNumbers.^[primary==true].value`` in a namespace);
the mapping has SCIM paths. Attributes that Okta sends and the agent does not compare are only counted.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from agent.checks.check import Check, ok, warn
from agent.model.mapping import DEFAULT
from agent.model.users import ENTERPRISE_URN

_CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
_MANY = re.compile(r"(\w+)\.\^\[(\w+)==(?:'([^']*)'|\"([^\"]*)\"|(true|false))\](?:\.(\w+))?")
#: Compared apart from the mapping, or not a value of its own.
_APART = frozenset({"userName", "email", "emailType"})


def check(schema: Mapping[str, Any], overrides: Mapping[str, str]) -> Check:
    mapping = {name: path for name, path in {**DEFAULT, **overrides}.items() if path}
    places = dict(_places(schema))
    wrong = [
        f"{name} goes to {places[name]} in Okta and is compared with {path}"
        for name, path in sorted(mapping.items())
        if name in places and places[name] != path
    ]
    unknown = [
        f"{name} is not in the app's profile" for name in sorted(overrides) if overrides[name] and name not in places
    ]
    if wrong or unknown:
        return warn(
            "mapping",
            "; ".join([*wrong, *unknown]),
            "correct [mapping], or the attribute in Okta: Directory > Profile Editor > the app",
        )
    others = sorted(name for name in places if name not in mapping and name not in _APART and not name.endswith("Type"))
    more = f"; not compared: {', '.join(others)}" if others else ""
    return ok("mapping", f"{len(places.keys() & mapping.keys())} attributes are compared where Okta sends them{more}")


def _places(schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for part in (schema.get("definitions") or {}).values():
        properties = part.get("properties") if isinstance(part, dict) else None
        for name, one in (properties or {}).items():
            external = one.get("externalName") if isinstance(one, dict) else None
            if isinstance(external, str) and external:
                yield name, scim_path(external, str(one.get("externalNamespace") or ""))


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
