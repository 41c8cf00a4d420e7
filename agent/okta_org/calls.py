"""Every call of Okta's API that the agent knows: its path, rate-limit bucket, scope, and how its body becomes the model; and which
page of a listing comes next. No IO, no okta import.

Buckets follow Okta's published table: everything under an app shares one, the app itself has its own, and so on.

One person that can't be read doesn't cost the page. Whoever can't be read keeps the names by which others find them (id,
externalId, userName or login) and gets the status ``UNREADABLE``, which no table knows: they are left alone and reported, and
never look absent. So does whoever has a NUL or half a surrogate pair anywhere: no database keeps these, and msgspec gives a
whole page up for the latter.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from agent.model.errors import UNDECODABLE, OktaRejected, Unaddressable, UsageError
from agent.model.okta import UNREADABLE, App, AppGroup, AppUser, Credentials, EventHook, LogEvent, OktaGroup, OktaUser
from agent.model.structs import decoder

T = TypeVar("T")
Decode = Callable[[bytes], T]

#: An escape that may stand for what is no text; half of a whole pair too, so that it only says where to look closer.
_ESCAPED = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_object = decoder(dict[str, Any])
_raws = decoder(list[msgspec.Raw])

#: Okta's largest page of users when a filter or a search is given.
USERS_PER_PAGE = 200
#: More groups of one name than this are too many to choose from in any case.
GROUPS_PER_PAGE = 200
#: Characters with which a login is searched for instead of being asked for by its address.
_UNADDRESSABLE = frozenset("/?#%+ ;\\")


#: Header names in lower case; every value of a repeated header, in order.
Headers = Mapping[str, Sequence[str]]
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    #: What the call does, to end the sentence "Okta refused to …".
    what: str
    #: From the org's root on, with its query.
    path: str
    #: Which of Okta's rate limits it counts against.
    bucket: str
    #: The OAuth scope that it needs.
    scope: str
    decode: Decode[T]
    method: str = "GET"
    body: Any = None
    #: False for the one endpoint that everybody may read: no credential is sent there.
    signed: bool = True

    @property
    def reads(self) -> bool:
        return self.method == "GET"


@dataclass(frozen=True, kw_only=True)
class OktaAnswer:
    """Any answer at all, whatever its status."""

    status: int
    headers: Headers = field(default_factory=dict)
    body: bytes = b""
    #: Absolute addresses of the Link headers with rel="next".
    next: tuple[str, ...] = ()

    def header(self, name: str) -> str:
        return next(iter(self.headers.get(name, ())), "")


@dataclass(frozen=True, kw_only=True)
class Reply(Generic[T]):
    """An answer with a 2xx status that could be read."""

    value: T
    next: tuple[str, ...]


# From a body to the model


def nothing(_body: bytes) -> None:
    """For calls whose answer says all by its status."""


def anything(body: bytes) -> dict[str, Any]:
    return _object(body)


def one(kind: type[T]) -> Decode[T]:
    return decoder(kind)


def person(kind: type[T], salvage: Callable[[dict[str, Any]], T]) -> Decode[T]:
    """Decode one object; what breaks the model's types, or is no text, comes back salvaged."""
    strict = decoder(kind)

    def decode(body: bytes) -> T:
        if _holds_no_text(body):
            return _loose(strict, salvage, _parsed(body))
        try:
            return strict(body)
        except msgspec.ValidationError:
            return salvage(anything(body))

    return decode


def page(kind: type[T], salvage: Callable[[dict[str, Any]], T]) -> Decode[list[T]]:
    """Decode a page whole; only if that fails, element by element."""
    whole = decoder(list[kind])  # type: ignore[valid-type]
    strict = decoder(kind)
    single = person(kind, salvage)

    def decode(body: bytes) -> list[T]:
        if _holds_no_text(body):
            found = _parsed(body)
            if not isinstance(found, list):
                raise msgspec.ValidationError("the page is no list")
            return [_loose(strict, salvage, element) for element in found]
        try:
            return whole(body)
        except msgspec.ValidationError:
            return [single(bytes(raw)) for raw in _raws(body)]

    return decode


def _holds_no_text(body: bytes) -> bool:
    """It may: then it is looked at closer. Most pages have no escape at all, and finding that out is quicker."""
    # One sign is found ten times as fast as two.
    return b"\\" in body and b"\\u" in body and _ESCAPED.search(body) is not None


def _parsed(body: bytes) -> Any:
    """As the standard library reads it, half surrogate pairs too."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise msgspec.DecodeError("no JSON") from exc


def _loose(strict: Callable[[bytes], T], salvage: Callable[[dict[str, Any]], T], value: Any) -> T:
    if not isinstance(value, dict):
        raise msgspec.ValidationError("an element of the page is no object")
    text = _readable(value)
    if text == value:
        try:
            return strict(json.dumps(value).encode())
        except msgspec.ValidationError:
            pass
    return salvage(text)


def _readable(value: Any) -> Any:
    """With a sign in the place of what is no text."""
    if isinstance(value, str):
        return _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        return {_readable(key): _readable(item) for key, item in value.items()}
    return [_readable(item) for item in value] if isinstance(value, list) else value


def _salvaged_app_user(loose: dict[str, Any]) -> AppUser:
    credentials = loose.get("credentials")
    user_name = _text(credentials.get("userName")) if isinstance(credentials, dict) else None
    return AppUser(
        id=_name(loose, "id"),
        external_id=_text(loose.get("externalId")),
        status=UNREADABLE,
        credentials=Credentials(user_name=user_name),
    )


def _salvaged_user(loose: dict[str, Any]) -> OktaUser:
    profile = loose.get("profile")
    return OktaUser(id=_name(loose, "id"), status=UNREADABLE, profile=profile if isinstance(profile, dict) else {})


def _salvaged_event(loose: dict[str, Any]) -> LogEvent:
    return LogEvent(uuid=_name(loose, "uuid"), event_type=UNREADABLE)


def _name(loose: dict[str, Any], key: str) -> str:
    """Without it nobody could be told apart from an absent person, so the page itself is unreadable."""
    value = loose.get(key)
    if isinstance(value, str) and value:
        return value
    raise msgspec.ValidationError(f"an element of the page has no {key}")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


_app_user = person(AppUser, _salvaged_app_user)
_app_users = page(AppUser, _salvaged_app_user)


#: Of an app user, what no sweep looks at: a third of the time that a page takes is in these. So a time in there that is none is
#: passed over; a direct read, which comes before access begins or ends, leaves such a person alone.
_UNREAD = ("scope", "created", "status_changed", "last_sync", "embedded")


def _app_users_with(profile: type[Struct]) -> Decode[list[AppUser]]:
    # Under a name that Okta has nothing for.
    unread = [(name, None, msgspec.field(default=None, name=f"-{name}")) for name in _UNREAD]
    kind = msgspec.defstruct(
        "ListedAppUser",
        [("profile", profile | None, None), *unread],
        bases=(AppUser,),
        frozen=True,
        kw_only=True,
        gc=False,
    )
    # No other thread knows this kind yet, and what it is made of is ready.
    whole = msgspec.json.Decoder(list[kind]).decode  # type: ignore[valid-type]

    def decode(body: bytes) -> list[AppUser]:
        if not _holds_no_text(body):
            try:
                return whole(body)
            except UNDECODABLE:
                pass  # somebody's profile holds something else
        return _app_users(body)

    return decode


_user = person(OktaUser, _salvaged_user)
_users = page(OktaUser, _salvaged_user)
_events = page(LogEvent, _salvaged_event)
_app_groups = one(list[AppGroup])
_group = one(OktaGroup)
_groups = one(list[OktaGroup])
_app = one(App)
_event_hook = one(EventHook)
_event_hooks = one(list[EventHook])


# The calls


def org() -> Call[dict[str, Any]]:
    return Call(
        what="say which org it is",
        path="/.well-known/okta-organization",
        bucket="well-known",
        scope="",
        decode=anything,
        signed=False,
    )


def app(app_id: str) -> Call[App]:
    return Call(
        what="read the app",
        path=f"/api/v1/apps/{segment(app_id)}",
        bucket="apps/{id}",
        scope="okta.apps.read",
        decode=_app,
    )


def app_schema(app_id: str) -> Call[dict[str, Any]]:
    return Call(
        what="read the app's user schema",
        path=f"/api/v1/meta/schemas/apps/{segment(app_id)}/default",
        bucket="other",
        scope="okta.schemas.read",
        decode=anything,
    )


def app_users(app_id: str, limit: int, profile: type[Struct] | None = None) -> Call[list[AppUser]]:
    """``profile``: what a page's profiles are decoded as together with it, where all of them fit."""
    return Call(
        what="list the app's users",
        path=f"/api/v1/apps/{segment(app_id)}/users?limit={limit}",
        bucket="apps",
        scope="okta.apps.read",
        decode=_app_users if profile is None else _app_users_with(profile),
    )


def app_user(app_id: str, okta_id: str) -> Call[AppUser]:
    return Call(
        what="read one app user",
        path=f"/api/v1/apps/{segment(app_id)}/users/{segment(okta_id)}?expand=user",
        bucket="apps",
        scope="okta.apps.read",
        decode=_app_user,
    )


def user(id_or_login: str) -> Call[OktaUser]:
    return Call(
        what="read one Okta user",
        path=f"/api/v1/users/{segment(id_or_login)}",
        bucket="GET users/{id}",
        scope="okta.users.read",
        decode=_user,
    )


def whoami() -> Call[OktaUser]:
    return Call(
        what="say whose token this is",
        path="/api/v1/users/me",
        bucket="GET users/{id}",
        scope="okta.users.read.self",
        decode=_user,
    )


def users(*, filter: str = "", search: str = "") -> Call[list[OktaUser]]:  # noqa: A002 - Okta's own names
    query = {"filter": filter} if filter else {"search": search}
    return Call(
        what="list Okta users",
        path="/api/v1/users?" + urlencode({**query, "limit": USERS_PER_PAGE}, quote_via=quote),
        bucket="users",
        scope="okta.users.read",
        decode=_users,
    )


def users_with_status(status: str) -> Call[list[OktaUser]]:
    return users(filter=equals("status", status))


def users_deprovisioned_since(since: datetime) -> Call[list[OktaUser]]:
    return users(filter=f'{equals("status", "DEPROVISIONED")} and lastUpdated gt "{moment(since)}"')


def log_events(since: datetime | None, filter: str, limit: int) -> Call[list[LogEvent]]:  # noqa: A002
    """Without ``until`` and ascending Okta orders by persistence, so that a later page holds what came late."""
    query = {"since": moment(since) if since else "", "filter": filter, "limit": limit, "sortOrder": "ASCENDING"}
    return Call(
        what="read the System Log",
        path="/api/v1/logs?" + urlencode({k: v for k, v in query.items() if v}, quote_via=quote),
        bucket="logs",
        scope="okta.logs.read",
        decode=_events,
    )


def continued(call: Call[T], path: str) -> Call[T]:
    """The same call at another cursor; a cursor of another endpoint is refused."""
    if urlsplit(path).path != urlsplit(call.path).path:
        raise UsageError(f"The cursor belongs to another listing than the one asked to {call.what}.")
    return replace(call, path=path)


def create_user(profile: dict[str, Any], *, activate: bool, groups: tuple[str, ...]) -> Call[OktaUser]:
    body: dict[str, Any] = {"profile": profile}
    if groups:
        body["groupIds"] = list(groups)
    return Call(
        method="POST",
        what="create the Okta user",
        path=f"/api/v1/users?activate={'true' if activate else 'false'}",
        body=body,
        bucket="users",
        scope="okta.users.manage" + (" and okta.groups.manage" if groups else ""),
        decode=_user,
    )


def activate_user(okta_id: str, *, send_email: bool) -> Call[None]:
    return Call(
        method="POST",
        what="activate the Okta user",
        path=f"/api/v1/users/{segment(okta_id)}/lifecycle/activate?sendEmail={'true' if send_email else 'false'}",
        bucket="other",
        scope="okta.users.manage",
        decode=nothing,
    )


def assign(app_id: str, okta_id: str, user_name: str, profile: dict[str, Any] | None) -> Call[AppUser]:
    body: dict[str, Any] = {"id": okta_id, "scope": "USER", "credentials": {"userName": user_name}}
    if profile:
        body["profile"] = profile
    return Call(
        method="POST",
        what="assign the Okta user to the app",
        path=f"/api/v1/apps/{segment(app_id)}/users",
        body=body,
        bucket="apps",
        scope="okta.apps.manage",
        decode=_app_user,
    )


def unassign(app_id: str, okta_id: str) -> Call[None]:
    return Call(
        method="DELETE",
        what="take the app away from the Okta user",
        path=f"/api/v1/apps/{segment(app_id)}/users/{segment(okta_id)}",
        bucket="apps",
        scope="okta.apps.manage",
        decode=nothing,
    )


def add_to_group(group_id: str, okta_id: str) -> Call[None]:
    return Call(
        method="PUT",
        what="add the Okta user to the group",
        path=f"/api/v1/groups/{segment(group_id)}/users/{segment(okta_id)}",
        bucket="groups/{id}",
        scope="okta.groups.manage",
        decode=nothing,
    )


def app_groups(app_id: str) -> Call[list[AppGroup]]:
    return Call(
        what="list the groups that are assigned to the app",
        path=f"/api/v1/apps/{segment(app_id)}/groups?limit=200&expand=group",
        bucket="apps",
        scope="okta.apps.read",
        decode=_app_groups,
    )


def group_members(group_id: str) -> Call[list[OktaUser]]:
    return Call(
        what="list the members of the group",
        path=f"/api/v1/groups/{segment(group_id)}/users?limit=1000",
        bucket="groups/{id}",
        scope="okta.groups.read",
        decode=_users,
    )


def group(group_id: str) -> Call[OktaGroup]:
    return Call(
        what="read the group",
        path=f"/api/v1/groups/{segment(group_id)}",
        bucket="groups/{id}",
        scope="okta.groups.read",
        decode=_group,
    )


def groups_named(name: str) -> Call[list[OktaGroup]]:
    """Okta's own search, which minds no case; it may lag behind a group that was just made."""
    query = urlencode({"search": equals("profile.name", name), "limit": GROUPS_PER_PAGE}, quote_via=quote)
    return Call(
        what="look for the group",
        path=f"/api/v1/groups?{query}",
        bucket="groups",
        scope="okta.groups.read",
        decode=_groups,
    )


def groups_of_user(okta_id: str) -> Call[list[OktaGroup]]:
    return Call(
        what="list the groups of one Okta user",
        path=f"/api/v1/users/{segment(okta_id)}/groups",
        bucket="other",
        scope="okta.users.read",
        decode=_groups,
    )


def event_hooks() -> Call[list[EventHook]]:
    return Call(
        what="list the event hooks",
        path="/api/v1/eventHooks",
        bucket="other",
        scope="okta.eventHooks.read",
        decode=_event_hooks,
    )


def create_event_hook(url: str, secret: str, events: tuple[str, ...], name: str) -> Call[EventHook]:
    config = {"uri": url, "authScheme": {"type": "HEADER", "key": "Authorization", "value": secret}}
    return Call(
        method="POST",
        what="create the event hook",
        path="/api/v1/eventHooks",
        body={
            "name": name,
            "events": {"type": "EVENT_TYPE", "items": list(events)},
            "channel": {"type": "HTTP", "version": "1.0.0", "config": config},
        },
        bucket="other",
        scope="okta.eventHooks.manage",
        decode=_event_hook,
    )


def verify_event_hook(hook_id: str) -> Call[EventHook]:
    return Call(
        method="POST",
        what="verify the event hook",
        path=f"/api/v1/eventHooks/{segment(hook_id)}/lifecycle/verify",
        bucket="other",
        scope="okta.eventHooks.manage",
        decode=_event_hook,
    )


def equals(attribute: str, value: str) -> str:
    """A term of Okta's filters and searches; quotes in the value can't end it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{attribute} eq "{escaped}"'


def moment(at: datetime) -> str:
    if at.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def addressable(value: str) -> bool:
    """Whether a path can name it. Okta answers 404 or 405 to some characters, however they are encoded.

    These would reach another endpoint: "" lists everybody, "me" is the token's owner.
    """
    return value not in ("", ".", "..", "me") and _UNADDRESSABLE.isdisjoint(value)


def segment(value: str) -> str:
    """One segment of a path."""
    if not addressable(value):
        raise Unaddressable(f'"{value}" is not an id of Okta.')
    return quote(value, safe="")


# Which page is next


class Trail:
    """The cursors of one listing, first to last. Refuses what would make it wrong or send the token elsewhere."""

    def __init__(self, org_url: str, first: Call[Any]) -> None:
        self._org_url = org_url
        self._path = urlsplit(first.path).path
        self._seen = {first.path}

    def following(self, call: Call[T], links: tuple[str, ...]) -> Call[T] | None:
        """The call for the next page; None when this was the last one."""
        if not links:
            return None
        if len(set(links)) > 1:
            raise OktaRejected(f"Okta named several next pages when asked to {call.what}: the listing is not complete.")
        path = on_this_org(self._org_url, links[0], call)
        if urlsplit(path).path != self._path:
            raise OktaRejected(f"Okta's next page leads to another listing when asked to {call.what}; not followed.")
        if path in self._seen:
            raise OktaRejected(
                f"Okta's paging runs in a circle when asked to {call.what}: the listing is not complete."
            )
        self._seen.add(path)
        return replace(call, path=path)


def on_this_org(org_url: str, address: str, call: Call[Any]) -> str:
    """The address from the org's root on; an address on another host would carry the token there."""
    target, org = urlsplit(address), urlsplit(org_url)
    if _origin(target) != _origin(org):
        raise OktaRejected(
            f"Okta's next page is on another host ({target.hostname}) when asked to {call.what}; not followed. "
            f"Is okta.org_url the address that Okta calls itself?"
        )
    return f"{target.path}?{target.query}" if target.query else target.path


def _origin(url: SplitResult) -> tuple[str, str, int | None]:
    return url.scheme, (url.hostname or "").lower(), url.port or _DEFAULT_PORTS.get(url.scheme)
