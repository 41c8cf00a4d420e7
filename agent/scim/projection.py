"""``attributes`` and ``excludedAttributes`` (RFC 7644 §3.9): what of a rendered user is shown. Names that users don't have
ask for nothing; ``id`` and ``schemas`` are always shown.
"""

from typing import Any

import msgspec
from msgspec import Struct

from agent.model.users import ENTERPRISE_URN
from agent.scim.errors import invalid_value
from agent.scim.schema import Target, resolve

_ALWAYS = ("schemas", "id")


class Projection(Struct, frozen=True):
    targets: tuple[Target, ...]
    exclude: bool

    def apply(self, rendered: bytes) -> bytes:
        user: dict[str, Any] = msgspec.json.decode(rendered)
        shown = self._without(user) if self.exclude else self._only(user)
        return msgspec.json.encode(shown)

    def _only(self, user: dict[str, Any]) -> dict[str, Any]:
        shown = {name: user[name] for name in _ALWAYS}
        for target in self.targets:
            source, into = user, shown
            if target.extension:
                source = user.get(ENTERPRISE_URN, {})
                if target.attribute.name in source:
                    into = shown.setdefault(ENTERPRISE_URN, {})
            name = target.attribute.name
            if name not in source:
                continue
            if target.sub is None:
                into[name] = source[name]
            else:
                into[name] = _merged(into.get(name), source[name], target.sub.name)
        return shown

    def _without(self, user: dict[str, Any]) -> dict[str, Any]:
        for target in self.targets:
            source = user.get(ENTERPRISE_URN, {}) if target.extension else user
            name = target.attribute.name
            if name in _ALWAYS or name not in source:
                continue
            if target.sub is None:
                del source[name]
                continue
            for part in source[name] if target.attribute.multi else (source[name],):
                part.pop(target.sub.name, None)
        return user


def _merged(shown: Any, source: Any, sub: str) -> Any:
    """What is shown already, and one sub-attribute more."""
    if isinstance(source, list):
        shown = shown or [{} for _ in source]
        return [_merged(part, item, sub) for part, item in zip(shown, source, strict=True)]
    return (shown or {}) | ({sub: source[sub]} if sub in source else {})


def read(attributes: str | None, excluded: str | None) -> Projection | None:
    if attributes and excluded:
        raise invalid_value("Give attributes or excludedAttributes, not both.")
    text = attributes or excluded
    if not text:
        return None
    targets = (resolve(part.strip()) for part in text.split(","))
    return Projection(tuple(target for target in targets if target is not None), not attributes)
