"""Which attribute of Okta's app profile goes where in a directory profile. Pure; names (userName, e-mail) are compared apart.

Both sides are projected on the same paths, as a JSON list with a value or null for each, so that a string comparison finds
the few pairs that may differ. A profile key that is absent is not compared; null or "" means cleared: the list can't tell
these two, so ``Projected.unsaid`` keeps what was not said, one bit for each path.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import astuple

from agent.model.attributes import Attribute
from agent.model.okta import AppUser
from agent.model.paths import EMAIL_PATH, Path, UnknownPath, parse
from agent.model.structs import decoder
from agent.model.users import ENTERPRISE_URN, PROFILE, Profile, identity_key


def _okta_keys(attributes: Iterable[Attribute], within: str = "") -> Iterator[tuple[str, str]]:
    """Each key of Okta's default app profile, with the path that it goes to."""
    for attribute in attributes:
        path = within + attribute.name + ("[primary eq true]" if attribute.multi else "")
        if attribute.okta == "":
            continue
        if attribute.subs and attribute.okta is None:
            yield from _okta_keys(attribute.subs, path + (":" if attribute.name == ENTERPRISE_URN else "."))
        else:
            yield attribute.okta or attribute.name, f"{path}.value" if attribute.multi else path


#: Okta's SCIM app profile. Its own schema sends phone and address to the one marked primary. givenName leads, since it does
#: so in the projections that are stored.
DEFAULT: dict[str, str] = {"givenName": "name.givenName", **dict(_okta_keys(PROFILE))}

#: Okta's own attribute for it; never mapped, only compared with the user name.
_EMAIL = "email"
#: Changes with the form of a projection; a migration then empties account.mapping_hash, so that stored ones are rebuilt.
_FORM = 3

_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_decode = decoder(list[str | None])
_texts = decoder(dict[str, str])
_loosely = decoder(dict[str, Any] | None)

Values = tuple[str | None, ...]


class Projected(Struct, frozen=True, gc=False):
    """What Okta wants of one person."""

    #: As ``Mapping.project`` gives it for the directory's side.
    mapped: str
    #: Bit n: Okta's profile doesn't have the attribute of the n-th path, which is not compared.
    unsaid: int
    #: Okta's own e-mail attribute; None where the profile has none, or no text.
    email: str | None
    #: Attributes whose value is a list or an object, which no text attribute takes: they are left as they are.
    no_text: tuple[str, ...] = ()


class Kept(NamedTuple):
    """What a directory keeps of a profile, where that isn't all of it: names as ``covers`` takes them."""

    #: What it doesn't keep.
    not_these: frozenset[str] = frozenset()
    #: What it keeps in a spelling of its own: case, blanks and the signs between a number's digits are not compared.
    respelled: frozenset[str] = frozenset()
    #: Of both, what is to be tried once more.
    due: frozenset[str] = frozenset()

    @property
    def asking(self) -> "Kept":
        """As if nothing were known of what is due and not kept."""
        return Kept(self.not_these - self.due, self.respelled)


EVERYTHING = Kept()


class _Part(NamedTuple):
    """One attribute of a directory profile that holds several values, and which most people have none of."""

    head: str
    read: Callable[[Any], Values]
    nothing: Values


class Mapping:
    """The default with ``overrides`` (attribute → path, "" stops comparing it); raises ValueError for what is no path."""

    def __init__(self, overrides: MappingOf[str, str] | None = None, kept: Kept = EVERYTHING) -> None:
        merged = {**DEFAULT, **(overrides or {})}
        by_path = {path: attribute for attribute, path in merged.items() if path}
        if EMAIL_PATH in by_path:
            raise UnknownPath(f"{EMAIL_PATH!r} follows the user name; it can't be mapped")
        groups = _grouped(map(parse, by_path))
        single = groups.pop(((), None), [])
        self._parts = [_part(paths) for paths in groups.values()]
        self._single = len(single)
        self._heads = _reading([*(path.leaf for path in single), *(part.head for part in self._parts)])
        #: In the order of a projection.
        self.paths: tuple[str, ...] = tuple(path.text for paths in (single, *groups.values()) for path in paths)
        self._attributes = [by_path[path] for path in self.paths]
        names = list(dict.fromkeys((*self._attributes, _EMAIL)))
        self._email = names.index(_EMAIL)
        #: What is read of a profile, for whoever decodes more than that at once.
        self.profile: type[Struct] = msgspec.defstruct(
            "AppProfile",
            [
                (f"v{n}", str | None | UnsetType, msgspec.field(default=UNSET, name=name))
                for n, name in enumerate(names)
            ],
            frozen=True,
            gc=False,
        )
        # Of a kind that no other thread knows yet, made of text alone.
        self._strictly = msgspec.json.Decoder(self.profile | None).decode
        self._names = names
        self._nothing = (UNSET,) * len(names)
        #: Path → attribute, as JSON; what the database keeps, to tell how another one differs.
        self.text = _encode(dict(zip(self.paths, self._attributes, strict=True))).decode()
        #: Another one is another mapping, for which users.mapped must be rebuilt.
        self.hash = hashlib.sha256(_encode([_FORM, self.text])).hexdigest()
        self._overrides = overrides
        self._kept = kept
        self._left_out = self._bits(kept.not_these)
        self._respelled = frozenset(self._bits(kept.respelled))

    @property
    def has_email(self) -> bool:
        """Whether the directory keeps the primary e-mail."""
        return not any(covers(name, EMAIL_PATH) for name in self._kept.not_these)

    def within(self, kept: Kept) -> "Mapping":
        """The same one, which wants no more than a directory keeps."""
        return Mapping(self._overrides, kept) if kept != EVERYTHING else self

    def sources(self, name: str) -> list[str]:
        """The attributes of Okta's app profile that go to this one."""
        return [self._attributes[bit] for bit in self._bits({name})]

    def _bits(self, names: Iterable[str]) -> tuple[int, ...]:
        return tuple(n for n, path in enumerate(self.paths) if any(covers(name, path) for name in names))

    def project(self, profile: Profile) -> str:
        """What the directory has."""
        found = self._heads(profile)
        at = self._single
        values = [*found[:at]]
        for _, read, nothing in self._parts:
            values += read(part) if (part := found[at]) else nothing
            at += 1
        return _text(values)

    def project_wanted(self, app_user: AppUser) -> Projected:
        """What Okta wants. Raises msgspec's errors and UnicodeDecodeError where the profile is no JSON object."""
        values, no_text = self._read(app_user.profile)
        email = values[self._email]
        email = email if isinstance(email, str) else None
        values = values[: len(self.paths)]
        if self._left_out:
            said = list(values)
            for bit in self._left_out:
                said[bit] = UNSET
            values = tuple(said)
        try:
            return Projected(_text(values), 0, email, no_text)
        except TypeError:
            # One that is not said can't be encoded. Most orgs say all, so that this is not asked beforehand.
            unsaid = sum(1 << bit for bit, value in enumerate(values) if value is UNSET)
            mapped = _text(tuple(None if value is UNSET else value for value in values))
            return Projected(mapped, unsaid, email, no_text)

    def project_page(self, app_users: Sequence[AppUser]) -> list[tuple[str, str | UnsetType | None]] | None:
        """``mapped`` and Okta's e-mail of each at once, in a third of the time; None where somebody's profile isn't like nearly all:
        read as ``profile``, with all that is mapped said, and nothing of it empty.
        """
        profiles: list[Any] = [app_user.profile for app_user in app_users]
        if self._left_out or {*map(type, profiles)} != {self.profile}:
            return None
        values = [astuple(profile) for profile in profiles]
        try:
            lines = _encode_lines([one[: len(self.paths)] for one in values]).decode()
        except TypeError:
            return None
        if '""' in lines:
            return None
        # Behind the last line there is an empty one.
        return list(zip(lines.split("\n"), map(itemgetter(self._email), values), strict=False))

    def differences(self, current: str, wanted: str, unsaid: int) -> dict[str, tuple[str | None, str | None]]:
        """Path → (before, after), of two projections."""
        found = {
            path: (have, want)
            for bit, (path, have, want) in enumerate(zip(self.paths, _decode(current), _decode(wanted), strict=True))
            if have != want
            and not (want is None and unsaid >> bit & 1)
            and not (bit in self._respelled and respelled(path, have, want))
        }
        return dict(sorted(found.items()))

    def values(self, projection: str) -> dict[str, str]:
        """What is set in a projection, by path."""
        pairs = zip(self.paths, _decode(projection), strict=True)
        return {path: value for path, value in pairs if value is not None}

    def _read(self, profile: msgspec.Raw | Struct | None) -> tuple[tuple[Any, ...], tuple[str, ...]]:
        try:
            found = self._strictly(profile) if isinstance(profile, msgspec.Raw) else profile
        except msgspec.ValidationError:
            loose = _loosely(profile) or {}  # type: ignore[arg-type]
            no_text = sorted(name for name in self._attributes if isinstance(loose.get(name), list | dict))
            return tuple(as_text(loose.get(name, UNSET)) for name in self._names), tuple(no_text)
        return (self._nothing if found is None else astuple(found)), ()


def deviations(ours: str, theirs: str) -> list[str]:
    """How the first of two ``Mapping.text`` differs from the second, in words."""
    here, there = _texts(ours), _texts(theirs)
    return [
        f"{path} is compared with {there.get(path, 'nothing')} there, with {here.get(path, 'nothing')} here"
        for path in sorted(here.keys() | there.keys())
        if here.get(path) != there.get(path)
    ]


def covers(name: str, path: str) -> bool:
    """Whether an attribute (title, name.middleName, phoneNumbers, an extension, or one of an extension after a colon) holds
    this path's value.
    """
    return path == name or (path.startswith(name) and path[len(name)] in ".:[")


def respelled(name: str, one: str | None, other: str | None) -> bool:
    """Whether two values differ in case, blanks or, in a number, the signs between the digits alone."""
    if one is None or other is None:
        return False
    dropped = r"[^\w+]" if name.startswith("phoneNumbers") else r"\s"
    first, second = (re.sub(dropped, "", identity_key(text)) for text in (one, other))
    return first == second


def apply(profile: Profile, values: MappingOf[str, Any]) -> Profile:
    """The profile with these paths set (None clears); everything else is left as it is."""
    for path, value in values.items():
        profile = parse(path).set(profile, value)
    return profile


def _grouped(paths: Iterable[Path]) -> dict[tuple[tuple[str, ...], str | None], list[Path]]:
    """By what their values are in."""
    groups: dict[tuple[tuple[str, ...], str | None], list[Path]] = {}
    for path in paths:
        groups.setdefault((path.within, path.which), []).append(path)
    return groups


def _part(paths: Sequence[Path]) -> _Part:
    head, *deeper = paths[0].within
    nothing = (None,) * len(paths)
    read = _reading([path.leaf for path in paths])
    step = paths[0].pick or (attrgetter(*deeper) if deeper else None)
    if step is None:
        return _Part(head, read, nothing)

    def read_deeper(part: Any) -> Values:
        inner = step(part)
        return read(inner) if inner else nothing

    return _Part(head, read_deeper, nothing)


def _reading(leaves: Sequence[str]) -> Callable[[Any], Values]:
    if not leaves:
        return lambda _: ()
    get: Callable[[Any], Any] = attrgetter(*leaves)
    # Of a single name, attrgetter gives no tuple.
    return get if len(leaves) > 1 else lambda part: (get(part),)


def _text(values: Sequence[str | None]) -> str:
    text = _encode(values).decode()
    # Looked for in text: in bytes, Python tries it as a number first, which costs as much as the encoding.
    if '""' in text and "" in values:
        text = _encode([value or None for value in values]).decode()
    return text


def as_text(value: Any) -> Any:
    """What a text attribute keeps of it: numbers and truth values as text, of a list or an object nothing (UNSET).

    Pushes and sweeps both ask here, so that they never disagree.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return UNSET
    return value if value is None or value is UNSET else str(value)
