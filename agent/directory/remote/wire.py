"""One account of the remote in: strict decoding first, then a lenient look at what sloppy servers send. Writes nothing.

Tolerated: numeric ids, numbers where strings belong, booleans as strings, missing ``schemas``, attribute names in another
case, null for anything, control characters that are not escaped. An account that is still not readable is Unreadable, by itself; its page is not.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import astuple, replace

from agent.model.errors import UNDECODABLE, Unreadable
from agent.model.structs import decoder
from agent.model.users import DirectoryUser, Enterprise, Name, Profile
from agent.scim import body
from agent.scim.errors import ScimRefused

#: For accounts that have no ``meta``.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_NAME, _NO_ENTERPRISE = Name(), Enterprise()
#: What the store's columns hold.
MAX_ID = 255
_OWNER = "owner"


class _Meta(Struct, rename="camel", gc=False):
    created: datetime | None = None
    last_modified: datetime | None = None
    version: str | None = None


class RemoteAccount(Profile, frozen=True, kw_only=True, rename="camel", gc=False):
    """One account as the remote has it, its profile's attributes among the others: so it is decoded in one go.

    What is kept of it besides is agent.directory.remote.mirror.Beside.
    """

    id: str
    user_name: str
    active: bool = True
    external_id: str | None = None
    meta: _Meta | None = None
    roles: Any = None

    @property
    def okta_id(self) -> str | None:
        return self.external_id or None

    @property
    def profile(self) -> Profile:
        """A value of its own, as a directory user has it."""
        return Profile(**dict(zip(_PROFILE, astuple(self), strict=False)))

    @property
    def created(self) -> datetime:
        return EPOCH if self.meta is None else _utc(self.meta.created)

    @property
    def updated(self) -> datetime:
        return EPOCH if self.meta is None else _utc(self.meta.last_modified or self.meta.created)

    @property
    def etag(self) -> str | None:
        return None if self.meta is None else self.meta.version

    @property
    def owner(self) -> bool | None:
        """Whether a role is called owner; None where no roles are shown."""
        return any(map(names_owner, self.roles)) if self.roles and isinstance(self.roles, list) else None


class Problem(Struct, frozen=True, kw_only=True):
    """An account of a whole listing that can't be used, or not whole."""

    id: str
    login: str
    detail: str
    #: Another one is the same, or has the same externalId or userName.
    duplicate: bool = False
    #: The userName is what it shares.
    shared: bool = False
    #: Its externalId, as far as it can be told.
    okta_id: str = ""


_PROFILE = Profile.__struct_fields__
_account = decoder(RemoteAccount)
_strict = msgspec.json.Decoder().decode


def loosely(content: bytes) -> Any:
    """JSON with text that msgspec takes for none: half a surrogate pair, a bare control character. DecodeError if it is none."""
    try:
        return json.loads(content, strict=False)
    except (ValueError, RecursionError) as exc:
        raise msgspec.DecodeError("no JSON") from exc


def _any(raw: bytes | msgspec.Raw) -> Any:
    try:
        return _strict(raw)
    except UNDECODABLE:
        return loosely(bytes(raw))


def decode(raw: bytes | msgspec.Raw) -> RemoteAccount:
    """Unreadable where it is no account that the agent could work with."""
    # A NUL is what no database keeps.
    if b"\\u0000" not in bytes(raw):
        try:
            return _checked(_account(raw))
        except UNDECODABLE:
            pass
    return _lenient(raw)


def mirrored(user: DirectoryUser) -> RemoteAccount:
    """An account that was seen before."""
    profile = dict(zip(_PROFILE, astuple(user.profile), strict=True))
    return RemoteAccount(**profile, id=user.id, user_name=user.user_name, active=user.active, external_id=user.okta_id)


def rough_identity(raw: bytes | msgspec.Raw) -> tuple[str, str, str]:
    """Id, userName and externalId of an unreadable account, as far as they can be told."""
    try:
        value = _any(raw)
    except UNDECODABLE:
        return "", "", ""
    names = {key.lower(): item for key, item in value.items()} if isinstance(value, dict) else {}
    user_id, login = (str(names[n]) if isinstance(names.get(n), str | int) else "" for n in ("id", "username"))
    okta_id = names.get("externalid")
    return _shown(user_id), _shown(login), _shown(okta_id) if isinstance(okta_id, str) else ""


def _shown(text: str) -> str:
    """As it can be stored: what no database keeps becomes a question mark."""
    return text.replace("\x00", "?").encode(errors="replace").decode()


def _lenient(raw: bytes | msgspec.Raw) -> RemoteAccount:
    try:
        value = _any(raw)
    except UNDECODABLE as exc:
        raise Unreadable("an account that is no JSON") from exc
    if not isinstance(value, dict):
        raise Unreadable("an account that is no JSON object")
    names = {key.lower(): item for key, item in value.items()}
    meta = names.get("meta")
    meta = {key.lower(): item for key, item in meta.items()} if isinstance(meta, dict) else {}
    try:
        read = body.read(
            {
                key: _switch(item) if key.lower() == "active" else _texts(item)
                for key, item in value.items()
                if item is not None
            }
        )
    except (ScimRefused, msgspec.ValidationError) as exc:
        raise Unreadable(str(exc)) from exc
    if read.no_text:
        raise Unreadable(f"{'.'.join(read.no_text[0])} must be a string")
    return _checked(
        RemoteAccount(
            **{name: getattr(read.profile, name) for name in _PROFILE},
            id=_text(names.get("id")) or "",
            user_name=read.user_name,
            active=read.active is not False,
            external_id=read.okta_id,
            meta=_Meta(
                created=_moment(meta.get("created")),
                last_modified=_moment(meta.get("lastmodified")),
                version=_text(meta.get("version")),
            ),
            roles=names.get("roles"),
        )
    )


def _checked(account: RemoteAccount) -> RemoteAccount:
    """Without parts that hold nothing, such as remotes leave behind when each value in them was removed."""
    user_id, name, okta_id = account.id, account.user_name, account.external_id or ""
    if not user_id or user_id.isspace() or not name or name.isspace():
        raise Unreadable(f"{'userName' if user_id.strip() else 'id'} is missing")
    if len(user_id) > MAX_ID or len(name) > MAX_ID or len(okta_id) > MAX_ID:
        raise Unreadable(f"id, userName or externalId has more than {MAX_ID} characters")
    if account.name == _NO_NAME:
        account = replace(account, name=None)
    if account.enterprise == _NO_ENTERPRISE:
        account = replace(account, enterprise=None)
    return account


def _texts(value: Any) -> Any:
    """Numbers as the strings that they should have been; text that no database keeps refuses the account."""
    if isinstance(value, Mapping):
        return {key: _texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_texts(item) for item in value]
    if isinstance(value, str) and _shown(value) != value:
        raise Unreadable("a value holds a NUL" if "\x00" in value else "a value holds half a surrogate pair")
    return _text(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _switch(value: Any) -> Any:
    """1 and 0 for true and false; anything else is judged as it is."""
    return value == 1 if value in (0, 1) else _texts(value)


def _text(value: Any) -> str | None:
    return None if value is None or isinstance(value, dict | list | bool) else str(value)


def number(value: Any) -> int | None:
    """Also one that came as text."""
    text = value.strip() if isinstance(value, str) else ""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _moment(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _utc(found: datetime | None) -> datetime:
    if found is None:
        return EPOCH
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def names_owner(role: Any) -> bool:
    """One of an account's roles."""
    texts = role.values() if isinstance(role, dict) else (role,)
    return any(isinstance(text, str) and text.casefold() == _OWNER for text in texts)
